"""One audited note as rows of the flat table: every column, both sides, no word of the note unless asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from handmade import CHECK, INVALID, NOTE, TEXT, quote, report
from notegap.audit.rows import (
    COLUMNS,
    TEXT_COLUMNS,
    AuditedNote,
    Outcome,
    columns,
    flat_rows,
    from_error,
    from_report,
    hash_of,
)
from notegap.model import Metadata, Note, Pointer
from notegap.notes.document import RowError
from notegap.report.json import as_dict

TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "int64": (int, type(None)),
    "double": (float, type(None)),
    "bool": (bool, type(None)),
    "list<string>": (list,),
}
SAID = Metadata(provider="Dr. A", encounter="e1", date="2026-04-30", department="Spine")


def audited(*, note: Note = NOTE, with_text: bool = False, **more: Any) -> AuditedNote:
    made = report(CHECK, INVALID, note=note)
    pointers = (
        Pointer(code="M54.50", title="Low back pain", evidence=()),
        Pointer(code="M48.061", title="Stenosis", evidence=(quote("stenosis"),)),
        Pointer(code="M24.2", title="", evidence=()),
    )
    published = as_dict(replace(made, points_to=pointers))
    return from_report(note, published, row=3, source="a.csv", rules="r1", with_text=with_text, **more)


def test_a_row_for_each_finding_then_what_was_not_claimed() -> None:
    rows = list(flat_rows(audited(note=replace(NOTE, metadata=SAID), duplicate_of=1)))
    items = [finding.item for check in (CHECK, INVALID) for finding in check.findings]
    assert [row["item"] for row in rows] == [*items, "not-checked", "not-claimed"]
    first = {name: value for name, value in rows[0].items() if value not in (None, "", [])}
    assert first == {
        "note_id": "laxity.txt",
        "source": "a.csv",
        "row": 3,
        "note_hash": hash_of(TEXT),
        "provider": "Dr. A",
        "encounter": "e1",
        "department": "Spine",
        "date": "2026-04-30",
        "setting": "outpatient",
        "codes_from": "asked",
        "outcome": "checked",
        "duplicate_of": 1,
        "code": "M24.28",
        "title": CHECK.title,
        "valid": True,
        "billable": True,
        "complete": False,
        "claimed": True,
        "documented": True,
        "kind": "requirement",
        "item": "disorder",
        "finding_id": "M24.28/disorder",
        "severity": "required",
        "status": "met",
        "ask": "What can you say of the disorder?",
        "code_set": "ICD-10-CM FY2026 (April 2026)",
        "notegap": rows[0]["notegap"],
        "rules": "r1",
    }
    assert (rows[7]["alert"], rows[7]["status"], rows[7]["codes"]) == ("route", "raised", ["M48.061"])
    assert (rows[8]["code"], rows[8]["valid"], rows[8]["claimed"]) == ("M43.29", False, False)
    last = rows[-1]
    assert (last["code"], last["kind"], last["status"], last["claimed"]) == (
        "M48.061",
        "documented",
        "not_claimed",
        False,
    )


@pytest.mark.parametrize("with_text", [False, True])
def test_every_row_has_every_column_in_its_type(with_text: bool) -> None:
    failed = from_error(RowError("n", "a.csv:2", "has no `text`"), row=1, source="a.csv", rules="r1")
    for note in (audited(with_text=with_text), failed):
        for row in flat_rows(note, with_text=with_text):
            assert list(row) == list(columns(with_text=with_text))
            for name, value in row.items():
                assert type(value) in TYPES[columns(with_text=with_text)[name]]


def test_no_word_of_the_note_unless_asked() -> None:
    note = audited(with_text=True)
    assert not set(TEXT_COLUMNS) & set(COLUMNS)
    for secret in ("colleagues", "hypertrophy is possible"):
        assert secret not in repr(note)
        assert secret not in repr(list(flat_rows(audited())))
        assert secret in repr(list(flat_rows(note, with_text=True)))
    assert audited().text is None


def test_without_a_claim_nothing_is_missing_from_it() -> None:
    rows = list(flat_rows(audited(note=replace(NOTE, claim_codes=None))))
    assert {row["kind"] for row in rows} == {"requirement", "alert"}
    assert {row["claimed"] for row in rows} == {None}


def test_notes_without_findings_have_one_row() -> None:
    unchecked = from_report(NOTE, as_dict(report(codes_from="none")), row=1, source="f", rules="r1")
    error = RowError("n", "f:1", "took too long")
    failed = from_error(error, NOTE, row=2, source="f", rules="r1")
    assert (unchecked.outcome, failed.outcome) == (Outcome.UNCHECKED, Outcome.FAILED)
    assert {row["status"] for row in flat_rows(unchecked)} == {"no_checklist"}
    (row,) = flat_rows(replace(unchecked, claim_codes=None))
    assert (row["outcome"], row["code"], row["status"], row["claimed"]) == ("unchecked", "", "", None)
    (row,) = flat_rows(replace(unchecked, claim_codes=()))
    assert (row["outcome"], row["code"], row["status"], row["claimed"]) == ("unchecked", "", "", False)
    (row,) = flat_rows(failed)
    assert (row["outcome"], row["error"], row["note_hash"], row["setting"]) == (
        "failed",
        "took too long",
        hash_of(TEXT),
        "outpatient",
    )


def test_gaps() -> None:
    assert audited().has_gaps
    assert not from_report(NOTE, as_dict(report()), row=1, source="f", rules="r1").has_gaps
    assert not from_error(RowError("", "", ""), row=1, source="f", rules="r1").has_gaps
