"""The query a gap calls for and the judge of any query: what is asked, in which order, and what is never said.

The exact text of every template's query, and what each rule finds, stand in patterns/ as examples (test_patterns.py).
"""

from __future__ import annotations

import io
import itertools
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from notegap import cli
from notegap.analyzer import Analyzer
from notegap.errors import KnowledgeError, NoteError
from notegap.knowledge import load_knowledge, load_query_rules, read_directory
from notegap.model import Changes, FormKind, Knowledge, Note, Report
from notegap.query import (
    FORMATS,
    Query,
    Sheet,
    Waiver,
    compose,
    compose_sheet,
    lint,
    load_waivers,
    markdown_query,
    text_query,
)
from notegap.query.compose import MOST_WORDS
from notegap.query.passages import passage
from notegap.query.text import count_words

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "sample_notes"
INDEX = tomllib.loads((SAMPLES / "samples.toml").read_text(encoding="utf-8"))
CODES = ("M24.28", "M43.20", "M43.22", "M49.88", "M53.2X6", "M53.2X9", "M99.24")
RULES = load_query_rules()
TODAY = date(2026, 11, 25)
BARE = "Assessment: Spinal instability."


@pytest.fixture(scope="module")
def ask(analyzer: Analyzer) -> Callable[..., Sheet]:
    """The sheet of queries for a note and its codes."""

    def sheet(text: str, *codes: str, waivers: tuple[Waiver, ...] = (), note_id: str = "n", **more: Any) -> Sheet:
        note = Note(id=note_id, text=text, codes=codes, **more)
        return compose_sheet(analyzer.analyze(note), analyzer.knowledge, waivers, today=TODAY, shown=None)

    return sheet


Ask = Callable[..., Sheet]


@pytest.fixture(scope="module")
def generated(analyzer: Analyzer) -> list[tuple[Report, Sheet]]:
    """The queries for every sample note checked for every family."""
    found = []
    for name in INDEX:
        text = (SAMPLES / f"{name}.txt").read_text(encoding="utf-8")
        report = analyzer.analyze(Note(id=name, text=text, codes=CODES))
        found.append((report, compose_sheet(report, analyzer.knowledge, today=TODAY, shown=None)))
    return found


def queries_of(generated: list[tuple[Report, Sheet]]) -> Iterator[tuple[Report, Query]]:
    for report, sheet in generated:
        for query in sheet.queries:
            yield report, query


# ── every generated query ───────────────────────────────────────────────────────────────────────


def test_every_generated_query_passes_lint(generated: list[tuple[Report, Sheet]]) -> None:
    asked = list(queries_of(generated))
    assert len(asked) > 50
    assert {query.template for _, query in asked} >= {"region", "cause", "imaging", "treatment", "assessment"}
    wrong = {
        (fault.rule, fault.says, query.template)
        for _, query in asked
        for text in (text_query(query), markdown_query(query))
        for fault in lint(text, RULES).faults
    }
    assert wrong == set()


@pytest.mark.parametrize("format_", ["text", "markdown", "json"])
def test_lint_finds_every_query_of_a_sheet_again(generated: list[tuple[Report, Sheet]], format_: str) -> None:
    for _, sheet in generated:
        verdict = lint(FORMATS[format_](sheet), RULES)
        assert (verdict.queries, verdict.faults) == (len(sheet.queries), ())


def test_every_quote_stands_in_the_note_and_every_query_is_short(generated: list[tuple[Report, Sheet]]) -> None:
    for report, query in queries_of(generated):
        assert query.indicators
        assert count_words(query) <= MOST_WORDS
        spans = [(indicator.start, indicator.end) for indicator in query.indicators]
        assert spans == sorted(spans)
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))
        for indicator in query.indicators:
            assert report.note.text[indicator.start : indicator.end] == indicator.quote
            assert report.note.text.count("\n", 0, indicator.start) + 1 == indicator.line


def test_every_option_is_supported_and_the_open_ones_are_last(generated: list[tuple[Report, Sheet]]) -> None:
    for _, query in queries_of(generated):
        if query.kind is FormKind.OPEN:
            assert query.options == ()
            continue
        *offered, other, unable = query.options
        assert (other.text, unable.text) == ("Other (please specify)", "Unable to determine")
        assert offered
        for option in offered:
            assert option.supported_by
            assert set(option.supported_by) <= set(range(1, len(query.indicators) + 1))


def test_a_query_ranks_by_what_its_answer_changes(generated: list[tuple[Report, Sheet]]) -> None:
    order = list(Changes)
    for _, sheet in generated:
        ranks = [order.index(query.changes) for query in sheet.queries]
        assert ranks == sorted(ranks)


def test_each_gap_is_asked_once_or_told_why_not(generated: list[tuple[Report, Sheet]]) -> None:
    silent = {"procedure-support", "electrodiagnostic-support", "follow-up"}
    for report, sheet in generated:
        asked = [finding for query in sheet.queries for finding in query.findings]
        told = [*asked, *(unasked.finding for unasked in sheet.unasked)]
        assert len(told) == len(set(told))
        gaps = {f.id for check in report.checks for f in check.findings if f.status.is_gap and f.item not in silent}
        assert gaps <= set(told)


def test_the_same_note_gives_the_same_queries(analyzer: Analyzer, generated: list[tuple[Report, Sheet]]) -> None:
    report, sheet = generated[0]
    again = compose_sheet(analyzer.analyze(report.note), analyzer.knowledge, today=TODAY, shown=None)
    for print_ in FORMATS.values():
        assert print_(again) == print_(sheet)


def test_every_requirement_has_a_template_or_is_left_out_on_purpose() -> None:
    knowledge = load_knowledge()
    asked = {item.item for template in knowledge.query_templates for item in template.items}
    every = {f"{checklist.id}/{item.id}" for checklist in knowledge.checklists for item in checklist.requires}
    assert every - asked == {"M24.28/procedure-support", "M99.2/electrodiagnostic-support", "M53.2/follow-up"}


# ── what is asked ───────────────────────────────────────────────────────────────────────────────


def test_no_diagnosis_is_presumed(ask: Ask) -> None:
    sheet = ask("HPI: Low back pain for six weeks.\n", "M53.2X6")
    assert {query.template for query in sheet.queries} & {"region", "cause", "imaging", "plan"} == set()
    assert ("M53.2X6/imaging", "waits for instability") in [(u.finding, u.why) for u in sheet.unasked]


def test_what_the_note_denies_is_not_asked_again(ask: Ask) -> None:
    sheet = ask("Assessment: Low back pain. There is no lumbar instability.", "M53.2X6")
    assert "assessment" not in {query.template for query in sheet.queries}


def test_a_note_on_a_knee_is_asked_nothing_about_the_spine(ask: Ask) -> None:
    text = (
        "HPI: Left knee pain since a twist in 2019, unstable on stairs. Tried physical therapy and a brace.\n"
        "Exam: Lachman positive. Sensation intact.\n"
        "Imaging: MRI of the left knee shows a chronic ACL tear, subluxation of the patella.\n"
        "Assessment: Chronic laxity of the anterior cruciate ligament, instability of the left knee.\n"
    )
    assert ask(text, *CODES).queries == ()


def test_a_relatives_disease_is_no_indicator(ask: Ask) -> None:
    sheet = ask("FH: Mother has spinal stenosis.\nAssessment: Possible subluxation of the sacrum.", "M99.24")
    assert {i.quote for query in sheet.queries for i in query.indicators} == {
        "Assessment: Possible subluxation of the sacrum."
    }


def test_one_question_for_two_codes_of_a_family(ask: Ask) -> None:
    sheet = ask(BARE, "M53.2X6", "M53.2X9")
    region = [query for query in sheet.queries if query.template == "region"]
    assert [query.findings for query in region] == [("M53.2X6/region", "M53.2X9/region")]


def test_facts_that_speak_against_are_shown(ask: Ask) -> None:
    text = "Imaging: No subluxation at L4-5.\nAssessment: Instability of L4-5."
    sheet = ask(text, "M53.2X6")
    (query,) = [query for query in sheet.queries if query.template == "imaging"]
    assert [indicator.quote for indicator in query.indicators if indicator.contrary] == [
        "Imaging: No subluxation at L4-5."
    ]


def test_a_quote_with_a_code_or_money_in_it_is_cut_to_the_fact(ask: Ask) -> None:
    text = "Assessment: M53.2X9 spinal instability, the payer wants it, DRG $400 at stake."
    sheet = ask(text, "M53.2X9")
    assert sheet.queries
    for query in sheet.queries:
        assert [indicator.quote for indicator in query.indicators] == ["spinal instability"]
        assert lint(text_query(query), RULES).faults == ()


def test_nothing_in_the_note_nothing_to_ask(ask: Ask) -> None:
    sheet = ask("The patient was seen.", "M53.2X6")
    assert sheet.queries == ()
    assert FORMATS["text"](sheet) == "There is nothing to ask the provider.\n"
    assert "item" not in json.loads(FORMATS["fhir"](sheet))


def test_a_code_without_a_checklist_asks_nothing(ask: Ask) -> None:
    assert ask(BARE, "E11.9").queries == ()


def test_yes_or_no_only_for_a_documented_link(ask: Ask) -> None:
    sheet = ask("Assessment: Sacral canal stenosis associated with subluxation of S1 on S2.", "M99.24")
    (query,) = [query for query in sheet.queries if query.kind is FormKind.YES_NO]
    assert query.reason == "cause_effect"
    assert [option.text for option in query.options[:2]] == ["Yes", "No"]


def test_date_of_service_is_told(ask: Ask) -> None:
    sheet = ask(BARE, "M53.2X9", date_of_service="2026-03-02")
    assert "Clinical indicators (note of 2026-03-02)" in text_query(sheet.queries[0])


@pytest.mark.parametrize(
    ("text", "quote", "from_start"),
    [
        ("One. Two words here. Three.", "Two words here.", False),
        ("- bullet words\n- other", "bullet words", False),
        ("Heading\nsoft words\nwrap here.\nNext", "Heading\nsoft words\nwrap here.", False),
        ("Dose 2.5 mg words daily", "Dose 2.5 mg words daily", False),
        ("Mother has\nwords.", "Mother has\nwords.", False),
        ("No sign of anything in this line that is as long as a page at\nL4 words. Next", None, False),
        ("HPI: pain\nExam: words", "Exam: words", False),
        (
            " ".join(["a"] * 60 + ["words"] + ["b"] * 60),
            " ".join(["a"] * 10 + ["words"] + ["b"] * 10),
            False,
        ),
        ("No " + "x " * 38 + "words " + "y " * 60, "No " + "x " * 38 + "words " + "y " * 9 + "y", True),
    ],
)
def test_the_stretch_that_is_quoted(text: str, quote: str | None, from_start: bool) -> None:
    at = text.index("words")
    start, end = passage(text, at, at + 5, from_start=from_start)
    assert text[start:end] == (text.removesuffix(" Next") if quote is None else quote)


# ── waivers ─────────────────────────────────────────────────────────────────────────────────────


def waiver(**changed: Any) -> Waiver:
    usual = Waiver(id="M53.2X9/region", note="n", reason="Asked by phone.", author="A. Coder", expires=TODAY)
    return replace(usual, **changed)


@pytest.mark.parametrize(
    ("given", "applies"),
    [
        (waiver(), True),
        (waiver(note="all"), True),
        (waiver(note="other"), False),
        (waiver(id="M53.2X6/region"), False),
        (waiver(expires=date(2026, 11, 24)), False),
    ],
    ids=["this note, last day", "all notes", "another note", "another code", "expired"],
)
def test_a_waived_item_is_not_asked(ask: Ask, given: Waiver, applies: bool) -> None:
    sheet = ask(BARE, "M53.2X9", waivers=(given,))
    assert ("region" not in {query.template for query in sheet.queries}) == applies
    assert [finding for finding, _ in sheet.waived] == (["M53.2X9/region"] if applies else [])
    assert bool(sheet.expired) == (given.expires < TODAY)
    shown = json.loads(FORMATS["json"](sheet))
    assert [waived["reason"] for waived in shown["waived"]] == (["Asked by phone."] if applies else [])


def test_compose_alone_heeds_expiry(analyzer: Analyzer) -> None:
    report = analyzer.analyze(Note(id="n", text=BARE, codes=("M53.2X9",)))
    for day, waived in ((TODAY, True), (date(2026, 11, 26), False)):
        queries = compose(report, analyzer.knowledge, (waiver(),), today=day)
        assert ("region" not in {query.template for query in queries}) == waived


WHOLE = "{id: M24.28/region, note: all, reason: r, author: a, expires: 2027-01-01}"


def test_the_waiver_of_the_readme_holds(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(waivers:\n(?:.*\n)*?)```\n", readme)
    (tmp_path / "w.yaml").write_text(block, encoding="utf-8")
    (waived,) = load_waivers(tmp_path / "w.yaml", load_knowledge())
    assert (waived.id, waived.note, waived.expires) == ("M53.2X7/plan", "all", date(2027, 6, 30))


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{id: M24.28/region, note: all, author: a, expires: 2027-01-01}", "w.yaml:2: 'reason' is missing"),
        (WHOLE.replace("reason: r", "reason: ''"), "w.yaml:2: 'reason' is empty"),
        (WHOLE.replace("region", "regoin"), "w.yaml:2: unknown item of M24.28 'regoin', did you mean 'region'?"),
        (WHOLE.replace("M24.28", "E11.9"), "w.yaml:2: no checklist covers E11.9"),
        (WHOLE.replace("M24.28/region", "region"), "w.yaml:2: 'region' is no finding's id"),
        (WHOLE.replace("2027-01-01", "soon"), "w.yaml:2: 'soon' is no date"),
        (WHOLE.replace("author: a", "autor: a"), "w.yaml:2: unknown key 'autor', did you mean 'author'?"),
        ("[", "this is not YAML"),
    ],
)
def test_a_waiver_that_is_wrong_is_told_with_its_line(tmp_path: Path, written: str, message: str) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(f"waivers:\n  - {written}\n")
    with pytest.raises(KnowledgeError, match=re.escape(message)):
        load_waivers(path, load_knowledge())


# ── formats ─────────────────────────────────────────────────────────────────────────────────────


HOSTILE = (
    "Assessment: Spinal instability <script>alert(1)</script> **bold** [x](http://e.org) "
    '`code` "q" \u202eevil \x1b[31m \U0001f600.'
)


def test_markup_in_a_note_is_shown_not_interpreted(ask: Ask) -> None:
    sheet = ask(HOSTILE, "M53.2X9")
    quote = sheet.queries[0].indicators[0].quote
    assert quote == HOSTILE
    markdown = FORMATS["markdown"](sheet)
    assert re.search(r"(?<!\\)<script|(?<!\\)\]\(|(?<!\\)`", markdown) is None
    assert "\\*\\*bold\\*\\*" in markdown
    for format_ in ("text", "markdown", "fhir"):
        assert not re.search("[\x1b\u202e]", FORMATS[format_](sheet)), format_
    assert json.loads(FORMATS["json"](sheet))["queries"][0]["indicators"][0]["quote"] == quote


def test_json_holds_what_is_known_of_a_query(ask: Ask) -> None:
    sheet = replace(ask(BARE, "M53.2X9"), shown=3)
    shown = json.loads(FORMATS["json"](sheet))
    assert shown["schema_version"] == 1
    assert len(shown["queries"]) == 3
    assert len(shown["folded"]) == len(sheet.queries) - 3
    first = shown["queries"][0]
    assert first["findings"] == ["M53.2X9/region"]
    assert first["indicators"][0]["section"] == "assessment"


LINK = re.compile(r"[A-Za-z0-9.-]+")


def check_item(item: dict[str, Any], seen: set[str], questions: set[str]) -> None:
    """The invariants of Questionnaire.item in FHIR R4 (que-1 to que-12) that its fields can break."""
    assert set(item) <= {"linkId", "text", "type", "enableWhen", "required", "repeats", "answerOption", "item"}
    assert LINK.fullmatch(item["linkId"])
    assert item["linkId"] not in seen  # que-2
    seen.add(item["linkId"])
    assert item["type"] in {"group", "display", "choice", "text", "string"}
    assert (item["type"] == "group") <= bool(item.get("item"))  # que-1
    if item["type"] == "display":
        assert set(item) == {"linkId", "text", "type"}  # que-1, que-6, que-9
    assert ("answerOption" in item) <= (item["type"] == "choice")  # que-5
    assert all(set(option) == {"valueString"} for option in item.get("answerOption", ()))
    for when in item.get("enableWhen", ()):
        assert set(when) == {"question", "operator", "answerString"}
        assert when["question"] in questions
    questions.add(item["linkId"])
    for value in item.values():
        assert value not in ("", [], {})
    for child in item.get("item", ()):
        check_item(child, seen, questions)


def test_fhir_is_a_questionnaire_of_r4(generated: list[tuple[Report, Sheet]]) -> None:
    for _, sheet in generated:
        questionnaire = json.loads(FORMATS["fhir"](sheet))
        assert questionnaire["resourceType"] == "Questionnaire"
        assert questionnaire["status"] == "draft"
        groups = questionnaire.get("item", [])
        assert len(groups) == len(sheet.queries)
        seen: set[str] = set()
        for group in groups:
            check_item(group, seen, set())


def test_what_a_provider_reads_names_no_code_and_no_finding(generated: list[tuple[Report, Sheet]]) -> None:
    for _, sheet in generated:
        for format_ in ("text", "markdown", "fhir"):
            assert re.search(r"[A-Z]\d[0-9A-Z]\.\d|M53|M24|M49|M43|M99", FORMATS[format_](sheet)) is None


# ── lint ────────────────────────────────────────────────────────────────────────────────────────


def test_the_rules_are_q01_to_q20_and_each_says_what_is_judged_and_what_is_not() -> None:
    assert [rule.id for rule in RULES] == [f"Q{number:02}" for number in range(1, 21)]
    judged = {rule.id for rule in RULES if rule.parts}
    assert {rule.id for rule in RULES} - judged == {"Q08", "Q10", "Q12", "Q13", "Q15", "Q17", "Q18"}
    assert all(rule.parts or rule.person for rule in RULES)
    assert all(rule.examples for rule in RULES if rule.parts)


VENDOR = """\
Dear Dr. Jones,

# Query: Heart failure specificity (MCC opportunity)
Would you agree that the patient has **acute heart failure (I50.21)**? This will improve the DRG.
1. Acute heart failure
2. Chronic
"""


def test_a_vendors_query_is_judged_with_line_span_and_why() -> None:
    verdict = lint(VENDOR, RULES, where="vendor.md")
    assert verdict.queries == 1
    assert [(fault.rule, fault.text) for fault in verdict.faults] == [
        ("Q05", "failure"),
        ("Q05", "specificity"),
        ("Q03", "MCC"),
        ("Q05", "opportunity"),
        ("Q01", "Would you agree that the patient has **acute heart failure (I50.21)**?"),
        ("Q04", "Would you agree"),
        ("Q06", "Would you agree that the patient has **acute heart failure (I50.21)**?"),
        ("Q06", "Would you agree that the patient has **acute heart failure (I50.21)**?"),
        ("Q04", "**acute heart failure (I50.21)**"),
        ("Q07", "I50.21"),
        ("Q03", "DRG"),
    ]
    for fault in verdict.faults:
        assert VENDOR[fault.start : fault.end] == fault.text
        assert fault.why


def test_a_compliant_query_of_a_vendor_is_clean() -> None:
    text = (
        "Dr. Smith,\n\nClinical indicators: WBC 18, Temp 39.1, lactate 3.2\n\n"
        "Please clarify the diagnosis treated with the antibiotic:\n"
        "- Localized infection\n- Sepsis\n- Other: ____\n- Unable to determine\n\nThank you,\nJane Doe, RN\n"
    )
    verdict = lint(text, RULES)
    assert (verdict.queries, verdict.faults) == (1, ())


def test_options_of_a_word_processor_are_options() -> None:
    text = (
        'Query: Present on admission\n\nThe discharge summary states: "stage 3 pressure ulcer of sacrum."\n\n'
        "Was the pressure ulcer present on admission?\n"
        "o Yes\no No\no Other (please explain)\no Clinically undetermined\n"
    )
    assert lint(text, RULES).faults == ()


def test_code_or_money_added_to_our_query_is_found(ask: Ask) -> None:
    text = text_query(ask(BARE, "M53.2X9").queries[0])
    assert lint(text, RULES).faults == ()
    for added, rules in (
        ("M43.26", {"Q07"}),
        ("We need a more specific code.", {"Q04", "Q07"}),
        ("The payer asks.", {"Q03"}),
    ):
        assert {fault.rule for fault in lint(f"{text}{added}\n", RULES).faults} == rules


def test_the_name_of_the_file_is_judged() -> None:
    faults = lint('- "Slip." (imaging)\nWhere?\n', RULES, where="out/DRG_payer-query.txt").faults
    assert [(fault.rule, fault.text, fault.path) for fault in faults] == [
        ("Q03", "payer", "file name"),
        ("Q03", "DRG", "file name"),
    ]


def test_several_queries_in_one_file(ask: Ask) -> None:
    text = FORMATS["text"](ask(BARE, "M53.2X9"))
    broken = text.replace("In which part", "Please document: in which part")
    verdict = lint(broken, RULES)
    assert [(fault.rule, broken.count("\n", 0, fault.start)) for fault in verdict.faults] == [("Q04", 8)]


def test_options_of_json_without_support(ask: Ask) -> None:
    sheet = json.loads(FORMATS["json"](ask("Exam: Gait normal.\nAssessment: Possible instability of L4-5.", "M53.2X6")))
    for option in sheet["queries"][0]["options"]:
        option["supported_by"] = []
    faults = lint(json.dumps(sheet), RULES).faults
    assert {(fault.rule, fault.path) for fault in faults} == {
        ("Q06", "queries[0].options[0].text"),
        ("Q06", "queries[0].options[1].text"),
    }


@pytest.mark.parametrize(
    "text", ["{", '[{"a": 1}]', '{"queries": 3}', '{"queries": [1]}', '{"resourceType": "Questionnaire"}']
)
def test_other_json_is_refused_without_quoting_it(text: str) -> None:
    with pytest.raises(NoteError, match=r"^x\.json: "):
        lint(text, RULES, where="x.json")


@pytest.mark.parametrize(
    "text",
    [
        "?" * 5000,
        "[ ] " * 5000,
        "“" * 5000,
        "- \n" * 5000,
        "*" * 9999,
        "_ " * 5000,
        "please clarify " * 2000,
        "a." * 9999,
    ],
)
def test_strange_text_is_judged_and_soon(text: str) -> None:
    lint(text, RULES)


# ── knowledge ───────────────────────────────────────────────────────────────────────────────────


TEMPLATE = """\
id: mine
title: "Clarification requested: spinal region"
trigger: specificity
items:
  - {item: M24.28/region}
indicators: [condition]
forms:
  - {kind: choice, of: region, labels: {lumbar: Lumbar}}
examples:
  - {name: a, code: M24.28, note: Lax., query: x}
  - {name: b, code: M24.28, note: Lax., silent: true}
"""
RULE = """\
id: Q03
title: t
why: w
finds:
  - {forbid: [money], in: [own], says: s}
good: [fine]
bad: [{text: money, found: [money]}]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trigger: specificity", "trigger: specifity", "queries/x.yaml:3: unknown trigger 'specifity', did you mean"),
        ("indicators:", "indicator:", "queries/x.yaml:6: unknown key 'indicator', did you mean 'indicators'?"),
        (
            "M24.28/region}",
            "M24.28/regoin}",
            "queries/x.yaml:5: unknown item of M24.28 'regoin', did you mean 'region'?",
        ),
        ("M24.28/region}", "M24.29/region}", "queries/x.yaml:5: unknown checklist 'M24.29', did you mean 'M24.28'?"),
        ("M24.28/region}", "region}", "queries/x.yaml:5: 'region' is no item of a checklist"),
        ("M24.28/region}", "M24.28/region, after: nothing}", "queries/x.yaml:5: unknown item of M24.28 'nothing'"),
        (
            "M24.28/region}",
            "M24.28/opll}",
            "queries/x.yaml:5: M24.28/opll is an alert, which has no question of its own",
        ),
        ("M24.28/region}", "M24.28/region, ask: Where}", "queries/x.yaml:5: an 'ask' is a question"),
        ("M24.28/region}", "M24.28/region, ask: M43.2?}", "queries/x.yaml:5: 'M43.2' is a code"),
        ("[condition]", "[condition, findng]", "queries/x.yaml:6: unknown concept 'findng', did you mean 'finding'?"),
        ("lumbar: Lumbar", "lumber: Lumbar", "queries/x.yaml:8: unknown region value 'lumber', did you mean 'lumbar'?"),
        ("of: region", "choices: [a]", "queries/x.yaml:8: fixed choices need 'when'"),
        (
            "of: region, labels: {lumbar: Lumbar}",
            "when: uncertain, choices: [b, a]",
            "queries/x.yaml:8: list them in the",
        ),
        (
            "kind: choice, of: region, labels: {lumbar: Lumbar}",
            "kind: yes_no, ask: Is it?",
            "it introduces nothing new",
        ),
        (", silent: true", ", query: y", "queries/x.yaml:1: no example is silent"),
        (", query: x", ", silent: true", "queries/x.yaml:1: no example shows the query"),
        (", query: x", "", "queries/x.yaml:10: an example has either 'query', its exact text, or 'silent: true'"),
    ],
)
def test_a_template_that_is_wrong_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    # Ours asks for M24.28/region too: a template of the same id takes its place.
    written = TEMPLATE.replace("id: mine", "id: region")
    assert old in written
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries/x.yaml").write_text(written.replace(old, new))
    with pytest.raises(KnowledgeError) as caught:
        load_knowledge([tmp_path])
    assert message in str(caught.value)


def test_a_template_takes_the_place_of_ours_by_its_id_or_its_items(tmp_path: Path) -> None:
    (tmp_path / "queries").mkdir()
    for id_, expected in (("region", [("region", 1)]), ("mine", [("mine", 1), ("region", 4)])):
        (tmp_path / "queries/x.yaml").write_text(TEMPLATE.replace("id: mine", f"id: {id_}"))
        templates = load_knowledge([tmp_path / "queries" / ".."] if id_ == "mine" else [tmp_path]).query_templates
        assert [(t.id, len(t.items)) for t in templates if t.id in ("mine", "region")] == expected


def test_two_templates_for_one_item_are_refused(tmp_path: Path) -> None:
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries/x.yaml").write_text(TEMPLATE)
    (tmp_path / "queries/y.yaml").write_text(TEMPLATE.replace("id: mine", "id: other"))
    with pytest.raises(KnowledgeError, match=r"y\.yaml:5: M24\.28/region is already asked for at .*x\.yaml:5"):
        load_knowledge([tmp_path])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id: Q03", "id: 3", "query_rules/x.yaml:1: '3' is no id of a rule (like Q03)"),
        ("forbid: [money]", "forbid: ['(']", "query_rules/x.yaml:5: this regular expression is wrong"),
        ("forbid: [money]", "check: lenght", "query_rules/x.yaml:5: unknown check 'lenght', did you mean 'length'?"),
        ("forbid: [money], ", "", "query_rules/x.yaml:5: say one of 'forbid', 'need' and 'check'"),
        ("in: [own], ", "", "query_rules/x.yaml:5: 'in' is missing"),
        ("in: [own]", "in: [body]", "query_rules/x.yaml:5: unknown part of a query 'body'"),
        ("forbid: [money]", "need: [money]", "query_rules/x.yaml:5: 'when' goes together with 'need'"),
        ("good: [fine]\n", "", "query_rules/x.yaml:1: 'good' goes together with 'finds'"),
        ("says: s", "says: s, say: t", "query_rules/x.yaml:5: unknown key 'say', did you mean 'says'?"),
    ],
)
def test_a_rule_that_is_wrong_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in RULE
    (tmp_path / "query_rules").mkdir()
    (tmp_path / "query_rules/x.yaml").write_text(RULE.replace(old, new))
    with pytest.raises(KnowledgeError) as caught:
        read_directory(tmp_path)
    assert message in str(caught.value)


def test_a_checklist_without_templates_is_asked_for_with_its_own_questions(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n# checklists/M46.1.yaml\n((?:.*\n)*?)```\n", text)
    (tmp_path / "checklists").mkdir()
    (tmp_path / "checklists/M46.1.yaml").write_text(block, encoding="utf-8")
    knowledge: Knowledge = load_knowledge([tmp_path])
    report = Analyzer(knowledge).analyze(Note(id="n", text="Assessment: sacroiliitis.", codes=("M46.1",)))
    queries = compose(report, knowledge)
    assert [(query.findings, query.question) for query in queries] == [
        (("M46.1/imaging",), "What imaging was done, and what did it show?")
    ]
    assert lint(text_query(queries[0]), RULES).faults == ()


# ── the command line ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


@pytest.fixture
def notegap(
    analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., Run]:
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: analyzer)

    def run(*arguments: str | Path, stdin: str = "") -> Run:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = cli.main([str(argument) for argument in arguments])
        captured = capfdbinary.readouterr()
        return Run(code, captured.out.decode(), captured.err.decode())

    return run


Notegap = Callable[..., Run]


def test_the_first_three_are_shown_and_the_rest_is_folded(notegap: Notegap) -> None:
    run = notegap("query", "-", "--code", "M53.2X9", stdin=BARE)
    assert run.code == cli.GAPS
    assert re.findall(r"^Query (\d) of (\d)$", run.out, re.MULTILINE) == [("1", "3"), ("2", "3"), ("3", "3")]
    assert re.fullmatch(r"notegap: \d+ more queries can wait; --all shows every one\n", run.err)
    every = notegap("query", "-", "--code", "M53.2X9", "--all", stdin=BARE)
    assert every.out.count("Clarification requested") > 3
    assert every.err == ""


@pytest.mark.parametrize(
    ("arguments", "stdin", "code"),
    [
        (("query", "-", "--code", "M53.2X9"), BARE, 1),
        (("query", "note", "-", "--code", "M53.2X9"), BARE, 1),
        (("query", "--code", "M53.2X9"), BARE, 1),
        (("query", "-", "--code", "M24.28"), "Seen.", 0),
        (("query", "-"), "Seen.", 3),
        (("query", "-"), "", 3),
        (("query", "/nowhere.txt"), "", 2),
        (("query", "-", "--waivers", "/nowhere.yaml"), BARE, 2),
        (("query", "-", "--format", "sarif"), BARE, 2),
        (("query", "lint", "-"), 'Clinical indicators\n- "Slip."\nWhere is it?\n', 0),
        (("query", "lint"), 'Clinical indicators\n- "Slip."\nWhere is it? DRG.\n', 1),
        (("query", "lint", "-"), "{", 2),
        (("query", "lint", "/nowhere.txt"), "", 2),
        (("query", "lint", "-"), "Hello.", 3),
        (("query", "lint", "-"), "", 3),
        (("query", "--help"), "", 0),
    ],
)
def test_exit_codes(notegap: Notegap, arguments: tuple[str, ...], stdin: str, code: int) -> None:
    assert notegap(*arguments, stdin=stdin).code == code


@pytest.mark.parametrize("format_", ["text", "markdown", "json"])
def test_what_query_writes_lint_accepts(notegap: Notegap, format_: str) -> None:
    written = notegap("query", "-", "--code", "M53.2X9", "--format", format_, stdin=BARE).out
    run = notegap("query", "lint", "-", stdin=written)
    assert (run.code, run.out) == (0, "stdin: 3 queries, no findings\n")


def test_lint_of_several_files(notegap: Notegap, tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text('Clinical indicators\n- "Slip."\nWhere is it?\n')
    (tmp_path / "bad.txt").write_text('Clinical indicators\n- "Slip."\nWhere is it? The DRG is low.\n')
    run = notegap("query", "lint", tmp_path / "good.txt", tmp_path / "bad.txt")
    assert run.code == 1
    assert f"{tmp_path}/good.txt: 1 query, no findings\n" in run.out
    assert f"{tmp_path}/bad.txt:3:18: Q03 A term of payment or an amount of money is mentioned.\n  'DRG'\n" in run.out
    first, second = json.loads(
        notegap("query", "lint", tmp_path / "good.txt", tmp_path / "bad.txt", "--format", "json").out
    )
    assert first["findings"] == []
    assert [(f["rule"], f["line"], f["start"], f["end"], f["text"]) for f in second["findings"]] == [
        ("Q03", 3, 47, 50, "DRG")
    ]
    assert notegap("query", "lint", tmp_path / "good.txt", tmp_path / "gone.txt").code == 2


def test_waivers_are_told(notegap: Notegap, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(
        "waivers:\n"
        "  - {id: M53.2X9/region, note: all, reason: Secret., author: A. Coder, expires: 9999-12-31}\n"
        "  - {id: M53.2X9/imaging, note: stdin, reason: Secret., author: A. Coder, expires: 2020-01-01}\n"
    )
    run = notegap("query", "-", "--code", "M53.2X9", "--all", "--waivers", path, stdin=BARE)
    assert run.err == (
        f"notegap: {path}:3: the waiver of M53.2X9/imaging expired on 2020-01-01; it is not applied\n"
        "notegap: M53.2X9/region is not asked for: waived by A. Coder until 9999-12-31\n"
    )
    assert "spinal region" not in run.out
    assert "findings that support the assessment" in run.out


def test_a_waiver_without_a_reason_is_an_error(notegap: Notegap, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("waivers:\n  - {id: M53.2X9/region, note: all, author: A. Coder, expires: 2027-01-01}\n")
    run = notegap("query", "-", "--code", "M53.2X9", "--waivers", path, stdin=BARE)
    assert run == Run(2, "", f"notegap: {path}:2: 'reason' is missing\n")


CANARY = "Quetzalcoatlus"


@pytest.mark.parametrize("arguments", [("query", "-", "--code", "M53.2X9"), ("query", "-"), ("query", "lint", "-")])
@pytest.mark.parametrize(
    "text", [f"Assessment: {CANARY} spinal instability.", f"{CANARY}", f'{{"{CANARY}": 1', CANARY + "?"]
)
def test_no_word_of_a_note_reaches_standard_error(notegap: Notegap, arguments: tuple[str, ...], text: str) -> None:
    assert CANARY not in notegap(*arguments, stdin=text).err


def test_no_word_of_a_note_is_in_a_repr(ask: Ask) -> None:
    sheet = ask(f"Assessment: {CANARY} spinal instability.", "M53.2X9")
    assert CANARY in text_query(sheet.queries[0])
    verdict = lint(f"Does {CANARY} have sepsis?", RULES)
    assert verdict.faults
    for thing in (sheet, sheet.queries[0], sheet.queries[0].indicators[0], verdict, verdict.faults[0]):
        assert CANARY not in repr(thing)
