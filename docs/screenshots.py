"""The pictures in this folder, taken of the page as it is: `make screenshots`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page

from audits import year
from browser import chromium, served
from notegap import Analyzer
from notegap.audit.out import TableWriter
from notegap.audit.trends import compare_audits, trends_html

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
        audits(browser)


def audits(browser: Browser) -> None:
    """The audit report and the trends, of years that were made up."""
    with tempfile.TemporaryDirectory() as folder:
        quarters = [Path(folder) / f"{2023 + number}.parquet" for number in range(3)]
        for number, quarter in enumerate(quarters):
            outs = [quarter, quarter.with_suffix(".html"), quarter.with_suffix(".xlsx")]
            with TableWriter(outs if number == 2 else outs[:1]) as writer:
                for note in year(1500, seed=number + 3, better=0.15 * number):
                    date = note.date.replace("2025", str(2023 + number))
                    writer.add(replace(note, date=date, note_hash=f"{number} {note.note_hash}"))
        trends = Path(folder) / "trends.html"
        trends.write_text(trends_html(compare_audits(quarters)), encoding="utf-8")
        page = browser.new_page(viewport={"width": 1200, "height": 980}, reduced_motion="reduce")
        page.goto(quarters[2].with_suffix(".html").as_uri())
        page.screenshot(path=DOCS / "audit.png")
        page.goto(trends.as_uri())
        page.screenshot(path=DOCS / "trends.png")


if __name__ == "__main__":
    main()
