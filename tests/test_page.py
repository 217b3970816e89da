"""The page in a real browser: what a scribe does with it, by mouse and by keys, on notes of every kind."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from browser import CHROMIUM, chromium, served
from notegap.analyzer import Analyzer
from notegap.model import Finding, Note, Report
from notegap.report import FORMATS
from notegap.report import Page as Paper

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from notes import note as made_up

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium on this machine (Debian: apt install chromium)"
)

SAMPLES = Path(__file__).resolve().parents[1] / "sample_notes"
PROCEDURE = (SAMPLES / "prolotherapy_template.txt").read_text(encoding="utf-8")
STORY = """HPI: 61-year-old with low back pain since a fall in May.
Family history: mother had rheumatoid arthritis.
Imaging: MRI of the lumbar spine shows thickening of the ligamentum flavum at L4-5. No fracture.
Assessment: Possible instability at L4-5. Ligamentous laxity of the lumbar spine.
Plan: physical therapy.
"""
HOSTILE = (
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">\n"
    "Dx \U0001f600\U0001f9b4: Ligamentous laxity \u202eenips rabmul\u202c of the lumbar spine & <b>neck</b>.\n"
    "\u05db\u05d0\u05d1 \u05d2\u05d1 with canal stenosis e\u0301 \U0001f468\u200d\U0001f467 at L4-5.\n"
    "</textarea></div>\"'><svg onload=alert(1)> {{ 7*7 }} laxity of the interspinous ligament\n"
)


# A busy machine takes longer; a test that passes never waits that long.
expect.set_options(timeout=30_000)


class Gated:
    """The analyzer, which waits while its gate is shut, and breaks on the word "crash"."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.codes = analyzer.codes
        self.knowledge = analyzer.knowledge
        self.gate = threading.Event()
        self.gate.set()
        self.read: list[str] = []
        self._analyzer = analyzer

    def another(self) -> Gated:
        """Itself: what it breaks on, and waits for, is the same for a long note."""
        return self

    def analyze(self, note: Note) -> Report:
        """As `Analyzer.analyze`, once the gate is open."""
        self.read.append(note.text)
        self.gate.wait(30)
        if "crash" in note.text:
            raise IndexError(note.text)
        return self._analyzer.analyze(note)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def gated(analyzer: Analyzer) -> Gated:
    """What the served page reads with."""
    return Gated(analyzer)


@pytest.fixture(scope="module")
def address(gated: Gated) -> Iterator[str]:
    """Where the page is."""
    with served(gated) as (url, _):  # type: ignore[arg-type]
        yield url


@pytest.fixture
def context(browser: Browser, address: str) -> Iterator[BrowserContext]:
    """A browser that has stored nothing, and whose pages may use the clipboard."""
    made = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    made.set_default_timeout(30_000)
    made.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    """The page. Nothing it does may break, be refused by its own policy, or ask elsewhere."""
    made = context.new_page()
    wrong: list[str] = []
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on("dialog", lambda dialog: wrong.append(dialog.message))
    made.on("console", lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None)
    made.on("request", lambda asked: None if asked.url.startswith((address, "blob:")) else wrong.append(asked.url))
    made.goto(address)
    yield made
    assert wrong == []


def write(page: Page, text: str, *codes: str) -> None:
    """Put `text` in the note and wait for its report."""
    for code in codes:
        choose(page, code)
    page.fill("#note", text)
    settled(page)


def choose(page: Page, code: str) -> None:
    page.click("#code")
    page.keyboard.type(code)
    page.locator("#code-list [role=option]", has_text=code).first.wait_for()
    page.keyboard.press("Enter")
    expect(page.locator("#code")).to_have_value("")


def settled(page: Page) -> None:
    expect(page.locator("body")).to_have_attribute("data-state", "fresh")


def lit(page: Page) -> list[str]:
    """The text of what is lit in the note, what follows one another joined."""
    script = """() => [...document.querySelectorAll('[data-layer] .mark.lit')].map(
        (mark) => [mark.textContent, mark.previousSibling?.classList?.contains('lit') ?? false])"""
    joined: list[str] = []
    for text, follows in page.evaluate(script):
        if follows:
            joined[-1] += text
        else:
            joined.append(text)
    return joined


def quoted(text: str, finding: Finding) -> list[str]:
    """The evidence of `finding`, what overlaps or touches joined."""
    joined: list[list[int]] = []
    for evidence in finding.evidence:
        if joined and evidence.start <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], evidence.end)
        else:
            joined.append([evidence.start, evidence.end])
    return [text[start:end] for start, end in joined]


def lit_items(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "() => [...document.querySelectorAll('.item.lit')].map((item) => item.dataset.key)"
    )
    return found


def comes_to(page: Page, read: Callable[[Page], list[str]], wanted: Callable[[list[str]], bool]) -> None:
    """Wait until what `read` finds is as `wanted`: what a click or a key does is done after the call comes back."""
    deadline = time.monotonic() + 30
    while not wanted(found := read(page)):
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(20)


def items(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "() => [...document.querySelectorAll('.check .item')].map((item) => item.dataset.key)"
    )
    return found


def open_note(page: Page, offset: int) -> None:
    """Click into the note at `offset` of its text."""
    # A cursor that moves within a fifth of a second after a letter was typed is taken for the typing's.
    page.wait_for_timeout(250)
    where = page.evaluate(
        """(offset) => {
            const walker = document.createTreeWalker(document.querySelector('[data-layer]'), NodeFilter.SHOW_TEXT);
            const lines = document.getElementById('note').value.slice(0, offset).split('\\n').length - 1;
            let left = offset - lines;
            for (let node = walker.nextNode(); node; node = walker.nextNode()) {
                if (left < node.length) {
                    const range = document.createRange();
                    range.setStart(node, left); range.setEnd(node, left + 1);
                    range.startContainer.parentElement.scrollIntoView({ block: 'center' });
                    const box = range.getBoundingClientRect();
                    return [box.left + box.width / 2, box.top + box.height / 2];
                }
                left -= node.length;
            }
        }""",
        offset,
    )
    page.mouse.click(*where)


def aligned(page: Page) -> list[Any]:
    """The marks that do not stand where the text field has their text: asked of the browser, point by point."""
    script = """() => {
        const field = document.getElementById('note'), layer = document.querySelector('[data-layer]'), wrong = [];
        if (field.scrollHeight > layer.offsetHeight + 1) wrong.push(['height', field.scrollHeight, layer.offsetHeight]);
        let offset = 0;
        const marks = [];
        for (const line of layer.children) {
            for (const node of line.childNodes) {
                if (node.nodeType === 1) marks.push([node, offset]);
                offset += node.textContent.length;
            }
            offset += 1;
        }
        const step = Math.max(1, Math.floor(marks.length / 60));
        for (let at = 0; at < marks.length; at += step) {
            const [mark, start] = marks[at];
            mark.scrollIntoView({ block: 'center' });
            const box = mark.getClientRects()[0];
            const found = document.caretPositionFromPoint(box.left + 1, box.top + box.height / 2);
            const near = found?.offsetNode === field && Math.abs(found.offset - start) <= 1;
            if (!near) wrong.push([mark.textContent, start, found?.offset]);
        }
        return wrong;
    }"""
    return list(page.evaluate(script))


def violations(page: Page) -> list[str]:
    """What axe finds against WCAG 2.2 A and AA, and against its best practices."""
    # Style changes are asked for at once, so that no colour is measured on its way to another.
    page.emulate_media(reduced_motion="reduce")
    found = Axe().run(
        page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    )
    return [
        f"{each['id']}: {node['html'][:120]} {node['any'][0]['message'] if node['any'] else ''}"
        for each in found.response["violations"]
        for node in each["nodes"]
    ]


# ── the note and its report ──


def test_paste(page: Page, analyzer: Analyzer) -> None:
    page.evaluate("(text) => navigator.clipboard.writeText(text)", PROCEDURE)
    choose(page, "M24.28")
    page.click("#note")
    page.keyboard.press("Control+V")
    settled(page)
    (check,) = analyzer.analyze(Note(id="n", text=PROCEDURE, codes=("M24.28",))).checks
    gaps = [f.id for f in check.findings if f.status.is_gap]
    raised = [f.id for f in check.findings if f.status.value == "raised"]
    met = [f.id for f in check.findings if f.status.value == "met"]
    assert gaps
    assert met
    assert items(page) == gaps + raised + met
    expect(page.locator(".check .summary")).to_have_text(
        f"Incomplete: {len(gaps)} gaps, no alerts, {len(met)} of {len(met) + len(gaps)} requirements met"
    )
    expect(page.locator("#item-M24-28-ligament .place")).to_have_text(re.compile("belongs in:\\s+assessment"))
    expect(page.locator("#live")).to_have_text(re.compile("^M24.28: Incomplete: "))


def test_the_report_follows_the_text(page: Page) -> None:
    write(page, "Dx: Ligamentous laxity.", "M24.28")
    assert "M24.28/region" in items(page)
    expect(page.locator("#item-M24-28-region .pill")).to_have_text(re.compile("missing"))
    page.click("#note")
    page.keyboard.press("Control+End")
    page.keyboard.type(" of the lumbar spine")
    expect(page.locator("#item-M24-28-region .pill")).to_have_text(re.compile("met"))
    settled(page)
    assert page.locator(".mark", has_text="lumbar").count() == 1
    for _ in range(10):
        page.keyboard.press("Control+Z")
        if page.input_value("#note") == "Dx: Ligamentous laxity.":
            break
    expect(page.locator("#item-M24-28-region .pill")).to_have_text(re.compile("missing"))


def test_marks_move_with_the_text_while_it_is_typed(page: Page, gated: Gated) -> None:
    write(page, STORY)
    before = page.locator(".mark").all_inner_texts()
    gated.gate.clear()
    try:
        page.click("#note")
        page.keyboard.press("Control+Home")
        page.keyboard.type("Seen today.\nWell. ")
        assert page.locator(".mark").all_inner_texts() == before
        assert page.evaluate("() => document.querySelector('[data-layer]').innerText.startsWith('Seen today.')")
        expect(page.locator("#reading")).to_be_visible()
    finally:
        gated.gate.set()
    settled(page)
    assert aligned(page) == []


def test_one_question_at_a_time_and_the_newest_wins(page: Page, gated: Gated) -> None:
    write(page, "Ligamentous laxity.", "M24.28")
    gated.read.clear()
    gated.gate.clear()
    try:
        page.click("#note")
        page.keyboard.press("Control+End")
        page.keyboard.type(" lumbar")
        comes_to(page, lambda _: list(gated.read), bool)
        for word in (" spine", " since", " childhood"):
            page.keyboard.type(word)
            page.wait_for_timeout(200)
        assert len(gated.read) == 1
    finally:
        gated.gate.set()
    settled(page)
    assert gated.read[1:] == ["Ligamentous laxity. lumbar spine since childhood"]
    expect(page.locator("#item-M24-28-region .pill")).to_have_text(re.compile("met"))


def test_a_file_is_opened_or_dropped(page: Page) -> None:
    page.set_input_files(
        "#file", {"name": "visit.txt", "mimeType": "text/plain", "buffer": "Laxité \U0001f600".encode()}
    )
    expect(page.locator("#note")).to_have_value("Laxité \U0001f600")
    page.evaluate(
        """() => { const data = new DataTransfer(); data.items.add(new File(['Ligamentous laxity.'], 'b.txt'));
            document.getElementById('note').dispatchEvent(
                new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true })); }"""
    )
    expect(page.locator("#note")).to_have_value("Ligamentous laxity.")
    page.set_input_files("#file", {"name": "scan.pdf", "mimeType": "text/plain", "buffer": b"%PDF-1.4"})
    expect(page.locator("#done")).to_have_text(re.compile("^Not opened: .*PDF"))
    expect(page.locator("#note")).to_have_value("Ligamentous laxity.")


def test_setting_and_date(page: Page) -> None:
    write(page, STORY, "M53.2X6")
    expect(page.locator("#item-M53-2X6-instability .pill")).to_have_text(re.compile("uncertain"))
    page.select_option("#setting", "inpatient")
    expect(page.locator("#item-M53-2X6-instability .pill")).to_have_text(re.compile("met"))
    page.fill("#date", "2026-05-04")
    expect(page.locator(".report .release")).to_have_text(re.compile("inpatient, date of service 2026-05-04$"))


# ── evidence, both ways ──


def test_an_item_lights_its_evidence(page: Page, analyzer: Analyzer) -> None:
    write(page, STORY, "M24.28")
    (check,) = analyzer.analyze(Note(id="n", text=STORY, codes=("M24.28",))).checks
    for finding in check.findings:
        if not finding.evidence:
            continue
        page.locator(f'.item[data-key="{finding.id}"]').hover()
        comes_to(page, lit, quoted(STORY, finding).__eq__)
        page.mouse.move(2, 2)
        page.locator(f'.item[data-key="{finding.id}"] .head').focus()
        comes_to(page, lit, quoted(STORY, finding).__eq__)


def test_a_mention_lights_what_it_decides(page: Page, analyzer: Analyzer) -> None:
    def of_code(page: Page) -> list[str]:
        return [key for key in lit_items(page) if key.startswith("M24.28")]

    write(page, STORY, "M24.28")
    report = analyzer.analyze(Note(id="n", text=STORY, codes=("M24.28",)))
    places = sorted({(e.start + e.end) // 2 for f in report.checks[0].findings for e in f.evidence})
    assert len(places) > 2
    for offset in places:
        decided = [f.id for f in report.checks[0].findings if any(e.start <= offset < e.end for e in f.evidence)]
        open_note(page, offset)
        expect(page.locator(".asked")).to_have_text(re.compile(f"decides .*{re.escape(decided[0])}"))
        comes_to(page, of_code, sorted(decided, key=items(page).index).__eq__)


def test_the_cursor_keys_light_too_and_typing_does_not(page: Page) -> None:
    write(page, "Dx: Ligamentous laxity.", "M24.28")
    page.focus("#note")
    page.keyboard.press("Control+End")
    page.wait_for_timeout(250)
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    expect(page.locator(".asked")).to_have_text(re.compile("^finding: ligament laxity, stated"))
    comes_to(page, lit_items, bool)
    page.keyboard.type("x")
    expect(page.locator(".asked")).to_have_text("")


def test_pressing_an_item_goes_to_its_evidence_and_a_place_to_its_section(page: Page) -> None:
    text = "Dx: Ligamentous laxity of the lumbar spine.\n" + "Nothing else.\n" * 200
    write(page, text, "M24.28")
    page.evaluate("() => (document.getElementById('paper').scrollTop = 1e6)")
    page.locator("#item-M24-28-disorder .head").click()
    expect(page.locator(".mark.lit").first).to_be_in_viewport()
    page.evaluate("() => (document.getElementById('paper').scrollTop = 1e6)")
    page.locator("#item-M24-28-ligament .place button").click()
    expect(page.locator("#note")).to_be_focused()
    expect(page.locator(".mark").first).to_be_in_viewport()


def test_every_way_of_standing_has_a_sign_beside_its_colour(page: Page) -> None:
    text = "Laxity of ligaments. No fracture. Possible instability. Mother had rheumatoid arthritis. History of fusion."
    write(page, text, "M24.28")
    style = """() => Object.fromEntries([...document.querySelectorAll('[data-layer] .mark')].map((mark) => {
        const style = getComputedStyle(mark);
        const line = [style.textDecorationLine, style.textDecorationStyle, mark.dataset.sign ?? ''];
        return [mark.className.match(/a-(\\w+)/)[1], line];
    }))"""
    said = page.evaluate(style)
    assert said["affirmed"] == ["underline", "solid", ""]
    assert said["negated"] == ["line-through", "solid", "no"]
    assert said["uncertain"] == ["underline", "dotted", "?"]
    assert said["family"][2] == "kin"
    assert said["historical"][2] in ("past", "")
    assert len({tuple(each) for each in said.values()}) == len(said)


# ── codes ──


def test_codes_are_found_by_a_part_of_code_or_title(page: Page) -> None:
    box = page.get_by_role("combobox", name="Codes")
    box.click()
    page.keyboard.type("instab lumbar")
    expect(page.locator("#code-list [role=option]").first).to_have_text(re.compile("^M53.2X6"))
    assert box.get_attribute("aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    active = box.get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("aria-selected") == "true"
    page.keyboard.press("Enter")
    expect(page.locator("#chosen")).to_have_text(re.compile("M53.2X6"))
    assert box.get_attribute("aria-expanded") == "false"
    page.keyboard.press("Backspace")
    expect(page.locator("#chosen li")).to_have_count(0)
    page.keyboard.type("zzzz")
    expect(page.locator("#code-list [role=option]")).to_have_text(
        "No code starts with this or has these words in its title."
    )
    page.keyboard.press("Escape")
    expect(page.locator("#code-list")).to_be_hidden()


def test_a_code_that_does_not_exist_is_checked_as_it_is_written(page: Page) -> None:
    page.click("#code")
    page.keyboard.type("m4329")
    expect(page.get_by_role("option", name="There is no such code")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#chosen")).to_have_text(re.compile("M43.29"))
    page.fill("#note", "Assessment: Fusion of the spine.")
    settled(page)
    expect(page.locator(".check .standing")).to_have_text(re.compile("^not a code of ICD-10-CM"))


def test_a_code_without_a_checklist_does_not_look_complete_beside_another(page: Page) -> None:
    write(page, (SAMPLES / "flavum_run_on_dictation.txt").read_text(encoding="utf-8"), "M24.28")
    page.get_by_role("button", name="Compare M24.28 with M48.061").click()
    row = page.locator(".comparison tr", has_text="Gaps")
    expect(row.locator("td").last).to_have_text("not checked")


def test_without_a_code_those_the_facts_point_to_are_checked_with_why(page: Page) -> None:
    write(page, STORY)
    expect(page.locator(".chosen")).to_have_text(re.compile("^No code was given"))
    pointer = page.locator(".pointers .item").first
    expect(pointer).to_have_text(re.compile("M24.28"))
    pointer.hover()
    comes_to(page, lit, lambda marked: "Ligamentous laxity" in marked)


def test_two_codes_side_by_side_by_one_click(page: Page) -> None:
    write(page, STORY, "M53.2X6")
    page.get_by_role("button", name="Compare M53.2X6 with M24.28").click()
    expect(page.locator(".comparison h2")).to_have_text("M53.2X6 beside M24.28")
    settled(page)
    left, right = page.locator(".check").all()
    boxes = left.bounding_box(), right.bounding_box()
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert (boxes[0]["y"], boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]) == (boxes[1]["y"], True)
    page.get_by_role("button", name="Close the comparison").click()
    expect(page.locator(".check")).to_have_count(1)


def test_a_code_that_is_pointed_to_is_checked_too(page: Page) -> None:
    write(page, STORY, "M53.2X6")
    page.get_by_role("button", name="Check M24.28 too").click()
    expect(page.locator(".check")).to_have_count(2)
    expect(page.locator(".overview li")).to_have_count(2)


# ── taking it away ──


def test_copy(page: Page) -> None:
    write(page, PROCEDURE, "M24.28")
    page.get_by_role("button", name="Copy gaps").click()
    expect(page.locator("#done")).to_have_text("Copied.")
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("M24.28 Disorder of ligament, vertebrae\n- Which ligament or ligaments are affected?")
    page.get_by_role("button", name="Copy queries").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).startsWith('Query 1 of ')")
    page.get_by_role("button", name="Copy report").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('documented')")


def test_download(page: Page, analyzer: Analyzer) -> None:
    write(page, PROCEDURE, "M24.28")
    with page.expect_download() as saved:
        page.get_by_role("button", name="JSON").click()
    assert saved.value.suggested_filename == "note.report.json"
    report = analyzer.analyze(Note(id="note", text=PROCEDURE, codes=("M24.28",)))
    assert json.loads(saved.value.path().read_text("utf-8")) == json.loads(FORMATS["json"](report, Paper()))
    with page.expect_download() as saved:
        page.get_by_role("button", name="HTML").click()
    assert saved.value.path().read_text("utf-8") == FORMATS["html"](report, Paper(source="note"))


def test_print(page: Page) -> None:
    write(page, STORY * 4, "M24.28")
    page.emulate_media(media="print")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    for hidden in (".top", "#note", "#tools", "#open"):
        expect(page.locator(hidden)).to_be_hidden()
    assert page.evaluate(
        "() => { const p = document.getElementById('paper'); return p.scrollHeight <= p.clientHeight + 1; }"
    )
    expect(page.locator("#facts ul")).to_be_visible()
    assert page.pdf().startswith(b"%PDF-")
    assert page.locator("#facts").get_attribute("open") is None


# ── by keys alone, and by those who do not see it ──


def test_everything_by_keys_alone(page: Page) -> None:
    focused = "() => document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the note")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "code"
    page.keyboard.type("M24.28")
    page.locator("#code-list [role=option]").first.wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#chosen li")).to_have_count(1)
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "setting"
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "note":
            break
    page.keyboard.type("Dx: Ligamentous laxity of the lumbar spine.")
    settled(page)
    seen = []
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(focused))
        outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"the focus is not to be seen on {seen[-1]}"
        if seen[-1] == "head":
            break
    assert seen[-1] == "head", seen
    comes_to(page, lit, ["Ligamentous laxity"].__eq__)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#done")).not_to_have_text("")


def test_the_focus_stays_where_it_is_when_the_report_changes(page: Page) -> None:
    write(page, STORY, "M24.28")
    page.locator("#item-M24-28-mechanism .head").focus()
    page.locator("#why-M24-28-mechanism summary").click()
    page.locator("#item-M24-28-mechanism .head").focus()
    page.evaluate(
        """() => { const note = document.getElementById('note'); note.value += ' Naproxen.';
            note.dispatchEvent(new Event('input', { bubbles: true })); }"""
    )
    settled(page)
    expect(page.locator("#item-M24-28-mechanism .head")).to_be_focused()
    assert page.locator("#why-M24-28-mechanism").get_attribute("open") is not None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_stands_in_the_way_of_anyone(page: Page, scheme: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    assert violations(page) == []
    write(page, STORY, "M24.28", "M53.2X6")
    for fold in ("#facts", "#legend"):
        page.locator(f"{fold} > summary").click()
    assert violations(page) == []
    page.locator(".item .head").first.focus()
    comes_to(page, lit_items, bool)
    assert violations(page) == []
    page.click("#code")
    page.keyboard.type("M43")
    page.locator("#code-list [role=option]").first.wait_for()
    page.keyboard.press("ArrowDown")
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    page.locator("[data-compare]").first.click()
    expect(page.locator(".comparison")).to_be_visible()
    settled(page)
    assert violations(page) == []
    page.fill("#note", "crash")
    expect(page.locator("#failure")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("scheme", "lightness"), [("light", range(200, 256)), ("dark", range(60))])
def test_light_and_dark(page: Page, scheme: Any, lightness: range) -> None:
    page.emulate_media(color_scheme=scheme)
    for element in ("html", "#paper"):
        color = page.evaluate(f"() => getComputedStyle(document.querySelector('{element}')).backgroundColor")
        assert all(int(part) in lightness for part in re.findall(r"\d+", color)[:3])


def test_400_pixels(page: Page) -> None:
    page.set_viewport_size({"width": 400, "height": 800})
    write(page, STORY, "M24.28", "M53.2X6", "M43.26")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 400
    wide = """() => [...document.querySelectorAll('body *')].filter((each) => each.getBoundingClientRect().right > 401
        && !each.closest('.unseen, .skip, svg')).map((each) => each.className || each.tagName)"""
    assert page.evaluate(wide) == []
    assert aligned(page) == []


# ── notes of every kind ──


def test_a_note_of_fifty_pages(page: Page) -> None:
    text = "\n\n".join(made_up(number) for number in range(50))
    assert len(text) > 50 * 3_000
    page.evaluate("(text) => navigator.clipboard.writeText(text)", text)
    page.focus("#note")
    page.keyboard.press("Control+V")
    expect(page.locator("body")).to_have_attribute("data-state", "fresh", timeout=120_000)
    assert page.locator(".mark").count() > 1_000
    assert aligned(page) == []
    page.focus("#note")
    page.keyboard.press("Control+End")
    # Breaks at once, so that no other test waits until fifty pages are read again.
    page.keyboard.type(" crash")
    assert page.evaluate("() => document.querySelector('[data-layer]').lastChild.textContent.endsWith(' crash')")
    assert page.locator(".mark").count() > 1_000
    expect(page.locator("#failure")).to_be_visible()


def test_a_hostile_note_is_text(page: Page, analyzer: Analyzer) -> None:
    write(page, HOSTILE, "M24.28")
    assert page.title() == "notegap"
    assert (
        page.locator("#body script, #body img, [data-layer] script, [data-layer] img, #body svg:not(.bar)").count() == 0
    )
    shown = page.evaluate("() => [...document.querySelectorAll('.line')].map((line) => line.textContent).join('\\n')")
    assert shown == HOSTILE
    # The field and the report count an emoji as one or two; the marks stand at the words all the same.
    marks = page.evaluate("() => [...document.querySelectorAll('[data-layer] .mark')].map((mark) => mark.textContent)")
    assert {"lumbar", "L4-5"} <= set(marks)
    (check,) = analyzer.analyze(Note(id="n", text=HOSTILE, codes=("M24.28",))).checks
    (disorder,) = [finding for finding in check.findings if finding.item == "disorder"]
    page.locator("#item-M24-28-disorder").hover()
    comes_to(page, lit, quoted(HOSTILE, disorder).__eq__)


def test_marks_stand_at_their_words_behind_emoji(page: Page) -> None:
    text = (
        "\U0001f600" * 9
        + " Ligamentous laxity \U0001f9b4 of the lumbar\U0001f600 spine.\n\U0001f468\u200d\U0001f467 No fracture."
    )
    write(page, text, "M24.28")
    marks = page.locator("[data-layer] .mark").all_text_contents()
    assert marks == ["Ligamentous", " laxity", "lumbar", "fracture"]
    assert aligned(page) == []


@pytest.mark.parametrize("text", [STORY, HOSTILE, made_up(3), "\n\n \n" + PROCEDURE + "\n\n"])
def test_the_page_and_the_file_mark_the_same(page: Page, analyzer: Analyzer, tmp_path: Path, text: str) -> None:
    marks = """() => [...document.querySelectorAll('[data-layer] .line')].map((line) => [...line.childNodes].map(
        (node) => [node.textContent, node.className, node.dataset?.sign, node.dataset?.keys, node.title]))"""
    write(page, text, "M24.28")
    live = page.evaluate(marks)
    report = analyzer.analyze(Note(id="note", text=text, codes=("M24.28",)))
    (tmp_path / "r.html").write_text(FORMATS["html"](report, Paper()), encoding="utf-8")
    other = page.context.new_page()
    other.goto((tmp_path / "r.html").as_uri())
    assert other.evaluate(marks) == live
    other.close()


# ── what must never be ──


def test_nothing_is_stored(page: Page, context: BrowserContext) -> None:
    write(page, STORY, "M24.28")
    assert context.cookies() == []
    stored = """async () => [localStorage.length, sessionStorage.length, (await indexedDB.databases()).length,
        (await caches.keys()).length, (await navigator.serviceWorker.getRegistrations()).length]"""
    assert page.evaluate(stored) == [0, 0, 0, 0, 0]


def test_the_note_is_gone_when_the_page_is(page: Page, address: str) -> None:
    write(page, STORY, "M24.28")
    page.goto(f"{address}assets/icon.svg")
    page.go_back()
    expect(page.locator("#note")).to_have_value("")
    page.fill("#note", STORY)
    page.reload()
    expect(page.locator("#note")).to_have_value("")
    expect(page.locator(".check")).to_have_count(0)


def test_a_failure_is_loud_and_marks_the_old_report(page: Page) -> None:
    write(page, "Ligamentous laxity.", "M24.28")
    page.fill("#note", "Ligamentous laxity. crash")
    expect(page.get_by_role("alert")).to_have_text(
        re.compile(r"Not checked\.\s+notegap broke; nothing was checked\.\s+The report below is of an older text\.")
    )
    expect(page.locator("body")).to_have_attribute("data-state", "failed")
    assert page.evaluate("() => getComputedStyle(document.querySelector('.check')).borderStyle") == "dashed"
    expect(page.locator("#live")).to_have_text("")
    page.get_by_role("button", name="Copy gaps").click()
    expect(page.locator("#done")).to_have_text("Not copied: notegap broke; nothing was checked.")
    page.fill("#note", "Ligamentous laxity. better")
    settled(page)
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_first_note_that_fails_shows_no_report(page: Page) -> None:
    page.fill("#note", "crash")
    expect(page.get_by_role("alert")).to_contain_text("Not checked.")
    expect(page.locator("#failure-old")).to_be_hidden()
    assert "omplete" not in page.locator("main").inner_text()


def test_a_server_that_is_gone(context: BrowserContext, analyzer: Analyzer) -> None:
    page = context.new_page()
    with served(analyzer) as (url, _):
        page.goto(url)
        write(page, "Ligamentous laxity.", "M24.28")
    page.fill("#note", "Ligamentous laxity of the lumbar spine.")
    expect(page.get_by_role("alert")).to_contain_text("notegap does not answer. Is it still running?")
    expect(page.locator("body")).to_have_attribute("data-state", "failed")


# ── the HTML report ──


@pytest.fixture
def saved(context: BrowserContext, analyzer: Analyzer, tmp_path: Path) -> Iterator[Page]:
    """The hostile note's HTML report, opened as a file."""
    report = analyzer.analyze(Note(id="note", text=HOSTILE + STORY, codes=("M24.28", "M53.2X6")))
    (tmp_path / "report.html").write_text(FORMATS["html"](report, Paper(source="<i>.txt")), encoding="utf-8")
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda said: wrong.append(said.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.endswith("report.html") else wrong.append(asked.url))
    page.goto((tmp_path / "report.html").as_uri())
    yield page
    assert wrong == []


def test_the_file_lights_both_ways(saved: Page) -> None:
    assert saved.title() == "<i>.txt: notegap"
    saved.locator("#item-M24-28-disorder .head").focus()
    comes_to(saved, lit, lambda marked: marked[:1] == ["Ligamentous laxity"])
    saved.locator(".mark", has_text="ligamentum flavum").first.click()
    comes_to(saved, lit_items, lambda keys: "M24.28/ligament" in keys)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_in_the_file_stands_in_the_way(saved: Page, scheme: Any, width: int) -> None:
    saved.set_viewport_size({"width": width, "height": 900})
    saved.emulate_media(color_scheme=scheme)
    saved.locator("#facts > summary").click()
    saved.locator("#legend > summary").click()
    assert violations(saved) == []
    assert saved.evaluate("() => document.documentElement.scrollWidth") <= width
