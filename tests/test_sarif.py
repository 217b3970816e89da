"""SARIF: valid against the schema of 2.1.0, every finding a result in its place, no word of the note unless asked for.

tests/schemas/sarif-2.1.0.json is the schema as Microsoft's jest-sarif 1.0.0-beta.0 carries it (MIT).
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from handmade import CHECK, COMPLETE, INVALID, NOTE, TEXT, report
from notegap.report import FORMATS, Page
from notegap.report.sarif import LOG_END, LOG_START, sarif_error, sarif_run

SCHEMA = json.loads(Path(__file__).with_name("schemas").joinpath("sarif-2.1.0.json").read_text(encoding="utf-8"))


def run_of(printed: str) -> dict[str, Any]:
    log = json.loads(printed)
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    run: dict[str, Any] = log["runs"][0]
    return run


@pytest.mark.parametrize("checks", [(), (CHECK,), (COMPLETE,), (INVALID,), (CHECK, INVALID)])
@pytest.mark.parametrize("snippets", [False, True])
def test_every_report_is_valid(checks: tuple[Any, ...], snippets: bool) -> None:
    run = run_of(FORMATS["sarif"](report(*checks), Page(snippets=snippets)))
    assert [r["ruleId"] for r in run["results"]] == [f.id for check in checks for f in check.findings]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[r["ruleIndex"]]["id"] for r in run["results"]] == [r["ruleId"] for r in run["results"]]


def test_how_a_finding_stands_is_its_kind_and_level() -> None:
    run = run_of(FORMATS["sarif"](report(CHECK), Page()))
    assert [(r["ruleId"], r["kind"], r["level"], r["properties"]["status"]) for r in run["results"]] == [
        ("M24.28/disorder", "pass", "none", "met"),
        ("M24.28/ligament", "fail", "warning", "vague"),
        ("M24.28/region", "pass", "none", "met"),
        ("M24.28/mechanism", "fail", "error", "missing"),
        ("M24.28/basis", "fail", "error", "uncertain"),
        ("M24.28/procedure-support", "notApplicable", "none", "not_applicable"),
        ("M24.28/acute-injury", "pass", "none", "clear"),
        ("M24.28/stenosis", "fail", "warning", "raised"),
    ]
    assert run["properties"]["complete"] == {"M24.28": False}


def test_places_are_code_points_of_the_note() -> None:
    run = run_of(FORMATS["sarif"](report(CHECK), Page()))
    assert run["columnKind"] == "unicodeCodePoints"
    for result, finding in zip(run["results"], CHECK.findings, strict=True):
        regions = [place["physicalLocation"].get("region") for place in result["locations"]]
        if not finding.evidence:
            assert regions == [None]
            continue
        for region, evidence in zip(regions, finding.evidence, strict=True):
            start, end = region["charOffset"], region["charOffset"] + region["charLength"]
            assert TEXT[start:end] == evidence.text
            lines = TEXT.split("\n")
            before = sum(len(line) + 1 for line in lines[: region["startLine"] - 1])
            assert before + region["startColumn"] - 1 == start
            before = sum(len(line) + 1 for line in lines[: region["endLine"] - 1])
            assert before + region["endColumn"] - 1 == end


def test_the_notes_words_are_there_only_when_asked_for() -> None:
    note = replace(NOTE, text=TEXT.replace("canal", "canarybird"))
    quoted = replace(CHECK.findings[0].evidence[0], text="canarybird")
    check = replace(CHECK, findings=(replace(CHECK.findings[0], evidence=(quoted,)), *CHECK.findings[1:]))
    assert "canarybird" not in FORMATS["sarif"](report(check, note=note), Page())
    assert "canarybird" in FORMATS["sarif"](report(check, note=note), Page(snippets=True))


@pytest.mark.parametrize(
    ("source", "uri"),
    [("", "note-1"), ("a b/ü.txt", "a%20b/%C3%BC.txt"), ("C:\\notes\\1.txt", "C%3A/notes/1.txt"), ("\ud800", "%3F")],
)
def test_the_note_is_named_by_a_reference(source: str, uri: str) -> None:
    run = run_of(FORMATS["sarif"](report(CHECK, note=replace(NOTE, id="note-1")), Page(source=source)))
    assert {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]} == {uri}


def test_a_failed_note_is_a_run_that_failed() -> None:
    log = LOG_START + sarif_run(report(COMPLETE), Page()) + ",\n" + sarif_error("n2", "is empty", "row 2") + LOG_END
    run_of(log)
    failed = json.loads(log)["runs"][1]
    assert failed["results"] == []
    assert failed["invocations"] == [
        {
            "executionSuccessful": False,
            "toolExecutionNotifications": [{"level": "error", "message": {"text": "row 2: is empty"}}],
        }
    ]
