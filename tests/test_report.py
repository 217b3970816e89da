"""What a report looks like: the published JSON, and the text a person reads, at three widths.

`FIX_GOLDEN=1 pytest tests/test_report.py` rewrites tests/golden; review the diff.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from rich.cells import cell_len

import notegap
from handmade import CHECK, COMPLETE, INVALID, MENTION, NOTE, TEXT, report
from notegap.icd10cm import load
from notegap.model import (
    AllOf,
    AnyOf,
    Assertion,
    AtLeast,
    Check,
    Claimed,
    Expr,
    ItemIs,
    NoneOf,
    Note,
    Regions,
    Select,
    Status,
)
from notegap.report import FORMATS, Page
from notegap.report.explain import describe, explain_code, list_codes
from notegap.report.lines import count, position, shown
from notegap.report.text import tally, text_mentions

GOLDEN = Path(__file__).parent / "golden"
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_text_is_golden(width: int) -> None:
    printed = FORMATS["text"](report(CHECK), Page(width=width))
    file = GOLDEN / f"report_{width}.txt"
    if os.environ.get("FIX_GOLDEN"):
        file.write_text(printed, encoding="utf-8")
    assert printed == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_text_keeps_to_the_width_and_leaves_no_spaces(width: int) -> None:
    for line in FORMATS["text"](report(CHECK, INVALID), Page(width=width)).splitlines():
        assert cell_len(line) <= width
        assert line == line.rstrip()


def test_plain_text_has_no_codes_and_colour_says_the_same() -> None:
    plain = FORMATS["text"](report(CHECK, INVALID), Page(width=80))
    colored = FORMATS["text"](report(CHECK, INVALID), Page(width=80, color=True))
    assert "\x1b" not in plain
    assert "\x1b[" in colored
    assert [line.rstrip() for line in ANSI.sub("", colored).splitlines()] == plain.splitlines()


def test_a_note_cannot_steer_the_terminal() -> None:
    colored = FORMATS["text"](report(CHECK), Page(width=120, color=True))
    assert "\\x1b[31m with \\u200b" in colored
    assert "\x1b[31m with" not in colored
    assert shown("a\tb\r\n c\u202e\ud800") == "a b c\\u202e\\ud800"


def test_gaps_come_first_then_alerts_then_what_is_documented() -> None:
    printed = FORMATS["text"](report(CHECK), Page(width=100))
    order = [
        "vague[",
        "missing[",
        "uncertain[",
        "route[",
        "documented",
        "does not apply",
        "not raised",
        "codes to look",
    ]
    places = [printed.index(word) for word in order]
    assert places == sorted(places)
    assert printed.endswith("3 gaps, 1 alert, 2 of 5 requirements met\n")


def test_the_source_is_shown_where_the_note_is_a_file() -> None:
    assert "--> notes/laxity.txt:2:9: 'ligamentous'" in FORMATS["text"](report(CHECK), Page(source="notes/laxity.txt"))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (report(codes_from="none"), "Nothing was checked: no code was given, none is written in the note, and its"),
        (report(COMPLETE), "no gaps, no alerts, 1 of 1 requirement met"),
        (report(INVALID), "not a code of ICD-10-CM FY2026 (April 2026)"),
        (report(INVALID), "what M43.29 needs was not checked: no checklist covers it"),
        (
            report(CHECK, INVALID),
            "2 codes: 3 gaps, 2 alerts, 2 of 5 requirements met; what M43.29 needs was not checked: no checklist",
        ),
        (report(COMPLETE, codes_from="note"), "valid, billable; written in the note"),
        (report(COMPLETE, codes_from="facts"), "valid, billable; the note's facts point to it"),
    ],
)
def test_what_the_text_says(made: notegap.Report, said: str) -> None:
    assert said in FORMATS["text"](made, Page(width=120))


def test_no_requirement_is_not_all_of_them() -> None:
    assert tally([INVALID]) == "no gaps, 1 alert, 0 of 0 requirements met"
    assert [count(number, "gap") for number in (0, 1, 10)] == ["no gaps", "1 gap", "10 gaps"]


def test_positions_are_counted_from_one() -> None:
    assert [position("ab\r\ncd\n", offset) for offset in (0, 1, 4, 5, 7)] == ["1:1", "1:2", "2:1", "2:2", "3:1"]


def test_long_quotes_lose_their_middle() -> None:
    assert shown("0123456789" * 3, 15) == "012345 … 456789"


# ── JSON ────────────────────────────────────────────────────────────────────────────────────────


def test_json_is_the_published_shape() -> None:
    shape = json.loads(FORMATS["json"](report(CHECK), Page()))
    assert list(shape) == [
        "schema_version", "id", "notegap", "code_set", "setting", "date_of_service", "codes_from", "mentions", "checks",
        "suggestions", "points_to",
    ]  # fmt: skip
    assert shape["schema_version"] == 1
    assert shape["id"] == "laxity.txt"
    assert shape["notegap"] == notegap.__version__
    assert shape["mentions"] == [
        {
            "concept": "finding", "value": "ligament_laxity", "assertion": "affirmed",
            "start": MENTION.start, "end": MENTION.end, "text": "ligamentous laxity", "section": "assessment",
            "at": ["lumbar"], "levels": ["L4-L5"], "seen_on": ["mri"], "due_to": [], "beside": [],
            "qualities": ["chronic"],
        }
    ]  # fmt: skip
    (check,) = shape["checks"]
    assert list(check) == [
        "code", "title", "valid", "billable", "findings", "suggested_codes", "suggested_because", "summary",
    ]  # fmt: skip
    assert check["summary"] == {"met": 2, "open": 3, "raised": 1, "complete": False}
    assert check["suggested_codes"] == ["M48.061"]
    assert check["suggested_because"] == [{"code": "M48.061", "findings": ["M24.28/stenosis"]}]
    ligament, stenosis = check["findings"][1], check["findings"][-1]
    start = TEXT.index("ligamentous")
    assert ligament == {
        "id": "M24.28/ligament", "kind": "requirement", "severity": "recommended", "status": "vague",
        "message": CHECK.findings[1].message, "ask": "What can you say of the ligament?", "basis": ["seed"],
        "why": "Because.", "place": "assessment",
        "evidence": [{"start": start, "end": start + 11, "text": "ligamentous"}], "codes": [],
    }  # fmt: skip
    assert "severity" not in stenosis
    assert "ask" not in stenosis
    assert (stenosis["kind"], stenosis["alert"], stenosis["status"]) == ("alert", "route", "raised")
    assert stenosis["codes"] == ["M48.061"]


def test_json_quotes_are_cut_from_the_text() -> None:
    shape = json.loads(FORMATS["json"](report(CHECK), Page()))
    for finding in shape["checks"][0]["findings"]:
        for evidence in finding["evidence"]:
            assert TEXT[evidence["start"] : evidence["end"]] == evidence["text"]
        decided = finding["status"] not in {Status.MISSING, Status.NOT_APPLICABLE, Status.CLEAR}
        assert bool(finding["evidence"]) == decided


def test_jsonl_is_one_line_of_the_same() -> None:
    note = Note(id="line\u2028end\x85", text=TEXT)
    line = FORMATS["jsonl"](report(CHECK, note=note), Page())
    assert len(line.splitlines()) == 1
    assert json.loads(line) == json.loads(FORMATS["json"](report(CHECK, note=note), Page()))


def test_mentions_as_text() -> None:
    assert text_mentions(NOTE, [MENTION], Page(width=120)) == (
        "laxity.txt\n\n"
        "2:9  finding/ligament_laxity  affirmed  'ligamentous laxity'  lumbar; L4-L5; seen on mri; chronic\n\n"
        "1 mention\n"
    )
    assert text_mentions(NOTE, [], Page()) == "laxity.txt\n\n\nno mentions\n"


# ── explain ─────────────────────────────────────────────────────────────────────────────────────

LAXITY = Select(concept="finding", values=frozenset({"ligament_laxity", "ligament_tear"}), seen_on=frozenset({"mri"}))


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (LAXITY, "finding ligament_laxity or ligament_tear seen on mri"),
        (Select(concept="ligament", not_values=frozenset({"unspecified"})), "ligament but not unspecified"),
        (Select(concept="neuro", assertion=frozenset({Assertion.NEGATED})), "neuro (negated)"),
        (Select(concept="region", at="condition"), "region where the condition is"),
        (Select(concept="finding", at=("sacral", "lumbar")), "finding at lumbar or sacral"),
        (AnyOf((LAXITY, AllOf((Select(concept="imaging"), Check("x"))))),
         "finding ligament_laxity or ligament_tear seen on mri, or (imaging, and the check x says so)"),
        (NoneOf((Select(concept="imaging"), Claimed(("M48.0",)))), "none of: imaging; the claim has M48.0"),
        (AtLeast(2, (Select(concept="imaging"), ItemIs("region", frozenset({Status.MET})))),
         "at least 2 of: imaging; the item region is met"),
        (Regions(Select(concept="finding"), 2), "at least 2 regions in: finding"),
    ],
)  # fmt: skip
def test_rules_are_told_in_words(rule: Expr, words: str) -> None:
    assert describe(rule) == words


def test_a_code_that_does_not_exist_says_what_was_meant() -> None:
    printed = explain_code("M43.29", None, load(), Page(width=100))
    assert "M43.29 does not exist in ICD-10-CM" in printed
    assert "M43.28   Fusion of spine, sacral and sacrococcygeal region" in printed
    assert "In the tabular" not in printed


def test_codes_say_which_may_not_be_reported() -> None:
    assert list_codes(load().search("M48.06"), Page(width=100)).splitlines()[:2] == [
        "  M48.06   Spinal stenosis, lumbar region  (not billable)",
        "  M48.061  Spinal stenosis, lumbar region without neurogenic claudication",
    ]
