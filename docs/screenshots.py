"""The pictures in this folder, taken of the page as it is: `make screenshots`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page

from browser import chromium, served
from notegap import Analyzer

DOCS = Path(__file__).resolve().parent
NOTE = (DOCS.parent / "sample_notes" / "prolotherapy_template.txt").read_text(encoding="utf-8")
OTHER = (DOCS.parent / "sample_notes" / "possible_lumbosacral_instability.txt").read_text(encoding="utf-8")


def opened(
    browser: Browser, address: str, *, note: str, code: str, scheme: Literal["light", "dark"], width: int
) -> Page:
    """The page with a note and its report."""
    page = browser.new_page(viewport={"width": width, "height": 860}, color_scheme=scheme, reduced_motion="reduce")
    page.goto(address)
    page.click("#code")
    page.keyboard.type(code)
    page.locator("#code-list [role=option]", has_text=code).first.wait_for()
    page.keyboard.press("Enter")
    page.fill("#note", note)
    page.locator(".check").wait_for()
    page.locator("body[data-state=fresh]").wait_for()
    return page


def main() -> None:
    """Take them all."""
    with served(Analyzer()) as (address, _), chromium() as browser:
        page = opened(browser, address, note=NOTE, code="M24.28", scheme="light", width=1280)
        page.locator("#item-M24-28-ligament .head").hover()
        page.screenshot(path=DOCS / "page.png")
        page = opened(browser, address, note=NOTE, code="M24.28", scheme="dark", width=1280)
        page.locator("#item-M24-28-disorder .head").hover()
        page.screenshot(path=DOCS / "page-dark.png")
        page = opened(browser, address, note=OTHER, code="M24.28", scheme="light", width=1440)
        page.locator("[data-compare]").first.click()
        page.locator(".comparison").wait_for()
        page.mouse.move(2, 2)
        page.screenshot(path=DOCS / "compare.png")
        page = opened(browser, address, note=OTHER, code="M53.2X7", scheme="light", width=400)
        page.screenshot(path=DOCS / "phone.png", full_page=True, clip={"x": 0, "y": 0, "width": 400, "height": 1200})


if __name__ == "__main__":
    main()
