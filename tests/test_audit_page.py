"""The audit report in a real browser: read, pointed into, printed, by eye and by ear; and what it must not tell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from audits import audited, check, finding, report, simple, year
from browser import CHROMIUM, chromium
from notegap.audit.out import OutOptions, TableWriter
from notegap.audit.rows import AuditedNote
from notegap.audit.trends import compare_audits, trends_html

MONEY = re.compile(
    r"\b(reimburs|revenue|payment|payer|denial|money|dollar|financ|upgrade|upcod|DRG|HCC|RAF|CC/MCC)", re.I
)
LEADING = re.compile(
    r"\b(please document|don.t you agree|would you agree|should be documented|consider documenting)", re.I
)

browser_only = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)"
)


def page_of(folder: Path, notes: Iterator[AuditedNote] | list[AuditedNote], *more: str, **options: Any) -> Path:
    out = folder / "audit.html"
    with TableWriter([out, *(folder / name for name in more)], OutOptions(**options)) as writer:
        for note in notes:
            writer.add(note)
    return out


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a year, with a baseline."""
    folder = tmp_path_factory.mktemp("page")
    with TableWriter([folder / "last.parquet"]) as writer:
        for note in year(500):
            writer.add(note)
    return page_of(folder, year(700, better=0.3), "audit.xlsx", baseline=folder / "last.parquet")


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with few rows: axe looks at each."""
    folder = tmp_path_factory.mktemp("short")
    notes = [note for note in year(90) if note.row % 3 or not note.has_gaps]
    with TableWriter([folder / "last.parquet"]) as writer:
        for note in notes:
            writer.add(note)
    return page_of(folder, notes[20:], baseline=folder / "last.parquet", small=3)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    with chromium() as started:
        yield started


def opened(browser: Browser, file: Path, *, width: int = 1280, scheme: Any = "light", media: Any = None) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce")
    page.goto(file.as_uri())
    if media:
        page.emulate_media(media=media)
    return page


# ── in a browser ────────────────────────────────────────────────────────────────────────────────


@browser_only
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 400)])
def test_it_is_accessible(browser: Browser, short: Path, scheme: str, width: int) -> None:
    page = opened(browser, short, scheme=scheme, width=width)
    results = Axe().run(page)
    assert not results.response["violations"], results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") == width


@browser_only
def test_it_asks_for_nothing_and_its_policy_holds(browser: Browser, file: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(file.as_uri())
    page.locator("#by-item-more summary").click()
    assert asked == [file.as_uri()]
    assert said == []
    # No style attribute anywhere: the policy would not let it hold.
    assert page.locator("[style]").count() == 0
    assert page.locator("script").count() == 0


@browser_only
def test_each_figure_leads_to_its_rows_alone(browser: Browser, file: Path) -> None:
    page = opened(browser, file)
    rows = page.locator("#worklist .row")
    every = rows.count()
    links = page.locator("a[href^='#rows-']")
    # One of each kind of figure.
    targets = links.evaluate_all("all => all.map(each => each.getAttribute('href'))")
    kinds = {target[6:7]: target for target in reversed(targets)}
    assert set(kinds) == set("cipdmarun")
    for target in kinds.values():
        link = page.locator(f"a[href='{target}']")
        number = int(link.inner_text().split()[0])
        link.click()
        expect(page.locator(".only:visible")).to_have_count(1)
        expect(page.locator("#worklist .row:visible")).to_have_count(number)
        expect(page.locator(".only:visible")).to_be_in_viewport()
        page.locator(".only:visible a").click()
        expect(page.locator("#worklist .row:visible")).to_have_count(every)


@browser_only
def test_by_keys_alone(browser: Browser, file: Path) -> None:
    page = opened(browser, file)
    link = page.locator("#by-provider a[href^='#rows-']").first
    link.focus()
    page.keyboard.press("Enter")
    shown = page.locator(".only:visible")
    expect(shown).to_have_count(1)
    page.keyboard.press("Tab")
    expect(shown.locator("a")).to_be_focused()


@browser_only
def test_print_shows_what_paper_can(browser: Browser, file: Path) -> None:
    page = opened(browser, file, media="print", width=760)
    expect(page.locator("#worklist .row:visible")).to_have_count(100)
    expect(page.get_by_text("Printed are the first 100 rows.")).to_be_visible()
    expect(page.locator("nav.contents")).to_be_hidden()
    expect(page.locator(".chart").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 760


@browser_only
def test_what_is_hostile_stays_text(browser: Browser, tmp_path: Path) -> None:
    evil = (
        "<img src=x onerror=\"document.title='taken'\"></style><script>document.title='taken'</script>$x^2$ {{ 7*7 }}"
    )
    notes = [
        simple(
            row,
            open_=row % 2 == 0,
            id=f"{evil}{row}",
            provider=f"{evil}{row % 2}",
            department=evil,
            date="2026-01-01",
            code=code,
        )
        for row in range(1, 40)
        for code in ["M24.28"]
    ]
    page = opened(browser, page_of(tmp_path, notes))
    assert page.title() == "Documentation audit: notegap"
    assert page.locator("img").count() == 0
    assert evil[:30] in page.locator("#by-provider .chart").inner_html().replace("&lt;", "<").replace(
        "&gt;", ">"
    ).replace("&quot;", '"')
    page.locator("#by-provider a[href^='#rows-']").first.click()
    expect(page.locator(".only:visible")).to_have_count(1)


@browser_only
def test_the_trends_page_is_accessible(browser: Browser, tmp_path: Path) -> None:
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"q{number}.parquet")
        with TableWriter([paths[-1]]) as writer:
            for note in year(200, seed=number, better=0.2 * number):
                writer.add(note)
    file = tmp_path / "trends.html"
    file.write_text(trends_html(compare_audits(paths)), encoding="utf-8")
    for scheme in ("light", "dark"):
        page = opened(browser, file, scheme=scheme)
        results = Axe().run(page)
        assert not results.response["violations"], results.generate_report()
        assert page.locator("[style]").count() == 0


# ── without one ─────────────────────────────────────────────────────────────────────────────────


def parsed(file: Path) -> lxml.html.HtmlElement:
    return lxml.html.document_fromstring(file.read_text(encoding="utf-8"))


def test_every_chart_is_named_and_has_its_table_beside_it(file: Path) -> None:
    root = parsed(file)
    charts = root.xpath("//*[local-name()='svg']")
    assert len(charts) >= 9
    for chart in charts:
        title, description = (root.get_element_by_id(name) for name in chart.get("aria-labelledby").split())
        assert title.text
        assert description.text
        assert chart.xpath("ancestor::section[1]//table//th[@scope='row']")
        assert chart.xpath(".//*[local-name()='text']")
        assert not chart.xpath(".//@style | .//*[local-name()='use'] | .//*[local-name()='image']")
    ids = root.xpath("//@id")
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in root.xpath("//a/@href")} <= set(ids)


def test_it_is_not_about_money_and_leads_no_one(file: Path) -> None:
    text = parsed(file).text_content()
    assert not MONEY.search(text)
    assert not LEADING.search(text)


def test_it_says_what_of_the_worklist_is_elsewhere(tmp_path: Path) -> None:
    notes = [simple(row, open_=True, provider=f"Dr. {row % 3}", date="2026-01-02") for row in range(1, 901)]
    root = parsed(page_of(tmp_path, notes, "audit.xlsx", "audit.csv"))
    assert len(root.xpath("//tr[contains(@class, 'row')][@role]")) == 600 + 0
    says = " ".join(root.get_element_by_id("worklist").text_content().split())
    assert "600 of 900 rows; all of them are in audit.xlsx, audit.csv." in says


def unit() -> Iterator[AuditedNote]:
    """Three providers of one clinic, one of them with few notes; a code, an item and a month with few."""
    sizes = {"Dr. Large": 60, "Dr. Middle": 25, "Dr. Small": 4}
    row = 0
    for provider, notes in sizes.items():
        for number in range(notes):
            row += 1
            few = provider == "Dr. Large" and number < 3
            yield simple(
                row,
                open_=number % 3 == 0,
                provider=provider,
                department="The clinic",
                date="2026-02-14" if provider == "Dr. Small" else "2026-01-05" if row % 2 else "2026-03-05",
                code="M49.81" if few else "M53.2X6" if number % 5 == 0 else "M24.28",
            )


def test_a_small_group_is_not_named_and_cannot_be_worked_out(tmp_path: Path) -> None:
    root = parsed(page_of(tmp_path, unit()))
    text = root.text_content()
    for name in ("Dr. Small", "2026-02", "M49.81", "M49 region"):
        assert name not in text, name
    # Who went with it: the total less the one who is told leaves two.
    assert "Dr. Middle" not in text
    assert "Dr. Large" in text
    rows = root.xpath("//tr[@role='row'][td]")
    said = Counter((row[1].text_content().strip(), row[2].text_content().strip()) for row in rows)
    assert {provider for _, provider in said} == {"Dr. LargeThe clinic", "not toldThe clinic"}
    assert {date for date, _ in said} <= {"2026-01-05", "2026-03-05", "not told"}
    # Those not told are of both: the rows tell neither's number of gaps.
    untold = sum(number for (_, provider), number in said.items() if provider.startswith("not told"))
    assert untold == sum(
        note.has_gaps and note.provider != "Dr. Large" and note.report["checks"][0]["code"] == "M24.28"
        for note in unit()
        if note.report is not None
    )


def test_no_number_of_a_small_group_stands_in_the_page(tmp_path: Path) -> None:
    """A provider with 7 notes among 200 and 93: no cell says 7, and none says what would give it."""
    sizes = {"A": 200, "B": 93, "C": 7}
    notes = [
        simple(row, open_=row % 4 == 0, provider=provider, department="X", date="2026-01-01")
        for row, provider in enumerate((name for name, size in sizes.items() for _ in range(size)), start=1)
    ]
    root = parsed(page_of(tmp_path, notes))
    cells = [cell.text_content() for cell in root.get_element_by_id("by-provider").xpath(".//td")]
    numbers = [word for cell in cells for word in cell.split()]
    assert "7" not in numbers
    assert "200" in numbers
    assert "100" in numbers
    assert "93" not in numbers


def test_alerts_and_pointers_are_in_the_worklist_for_a_coder(tmp_path: Path) -> None:
    from notegap.knowledge import load_knowledge

    checklist = load_knowledge().checklist("M24.28")
    assert checklist is not None
    knee = next(rule for rule in checklist.alerts if rule.alert.value == "route")
    notes = [
        audited(
            row,
            report(f"n{row}", [check("M24.28", [finding("M24.28", knee, "raised"), *_met(checklist)])], ("M53.2X6",)),
            claim_codes=("M24.28",),
        )
        for row in range(1, 15)
    ]
    root = parsed(page_of(tmp_path, notes))
    rows = [" ".join(row.text_content().split()) for row in root.xpath("//tr[@role='row'][td]")]
    assert len(rows) == 28
    assert all(row.endswith("for a coder to look at") for row in rows)
    assert sum("M53.2X6 not claimed" in row for row in rows) == 14


def _met(checklist: Any) -> list[dict[str, Any]]:
    return [finding("M24.28", checklist.requires[0], "met")]
