"""The report as JSON: the published, versioned shape of contract/REPORT.md.

Fields may be added, none changes its meaning. `json_report` gives it indented, `jsonl_report` on one line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

import notegap
from notegap.model import (
    SCHEMA_VERSION,
    AlertKind,
    CodeCheck,
    Evidence,
    Finding,
    Mention,
    Metadata,
    Note,
    Report,
    Severity,
    Status,
    Suggestion,
)
from notegap.report.page import Page, suggestions

_METADATA = tuple(part.name for part in fields(Metadata))


def json_report(report: Report, page: Page) -> str:
    """The report as an indented JSON object. `page` is there for the other formats' sake."""
    return indented(as_dict(report))


def jsonl_report(report: Report, page: Page) -> str:
    """The report as a JSON object on one line."""
    return one_line(as_dict(report))


def one_line(value: object) -> str:
    """Any JSON value on one line, also for readers that take U+2028 for a line end."""
    return _one_line(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def one_line_fast(value: object) -> str:
    """As `one_line`, in a third of its time: for what is written by the hundred thousand."""
    from pydantic_core import PydanticSerializationError, to_json  # not for whoever prints one report

    try:
        return _one_line(to_json(value).decode())
    except PydanticSerializationError:
        return one_line(value)


def _one_line(text: str) -> str:
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085") + "\n"


def as_dict(report: Report) -> dict[str, Any]:
    """The report in its published shape, as plain dicts and lists."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": report.note.id,
        "notegap": notegap.__version__,
        "code_set": report.code_set,
        "setting": report.note.setting.value,
        "date_of_service": report.note.date_of_service,
        "codes_from": report.codes_from,
        "mentions": [mention_as_dict(mention) for mention in report.mentions],
        "checks": [_check(check) for check in report.checks],
        "suggestions": [_suggestion(suggestion) for suggestion in report.suggestions],
        "points_to": [
            {"code": pointer.code, "title": pointer.title, "evidence": _evidence(pointer.evidence)}
            for pointer in report.points_to
        ],
    } | metadata_as_dict(report.note)


def report_of(published: Mapping[str, Any], note: Note) -> Report:
    """The codes and findings of a published report as a Report again: what SARIF prints. It has no mentions."""
    return Report(
        note=note,
        code_set=published["code_set"],
        codes_from=published["codes_from"],
        mentions=(),
        checks=tuple(_check_of(check) for check in published["checks"]),
    )


def _check_of(check: Mapping[str, Any]) -> CodeCheck:
    return CodeCheck(
        code=check["code"],
        title=check["title"],
        valid=check["valid"],
        billable=check["billable"],
        findings=tuple(_finding_of(finding) for finding in check["findings"]),
        suggested_codes=tuple(check["suggested_codes"]),
    )


def _finding_of(finding: Mapping[str, Any]) -> Finding:
    return Finding(
        id=finding["id"],
        kind=finding["kind"],
        status=Status(finding["status"]),
        message=finding["message"],
        ask=finding.get("ask", ""),
        severity=Severity(finding["severity"]) if "severity" in finding else None,
        alert=AlertKind(finding["alert"]) if "alert" in finding else None,
        basis=tuple(finding["basis"]),
        evidence=tuple(Evidence(quote["start"], quote["end"], quote["text"]) for quote in finding["evidence"]),
        codes=tuple(finding["codes"]),
        why=finding["why"],
        place=finding["place"],
    )


def json_error(note_id: str, message: str, where: str) -> str:
    """What stands in the place of a report that could not be made, indented."""
    return indented(_error(note_id, message, where))


def jsonl_error(note_id: str, message: str, where: str) -> str:
    """What stands in the place of a report that could not be made, on one line."""
    return one_line(_error(note_id, message, where))


def json_mentions(note: Note, mentions: Iterable[Mention], page: Page) -> str:
    """What was read in a note, indented."""
    return indented(mentions_as_dict(note, mentions))


def jsonl_mentions(note: Note, mentions: Iterable[Mention], page: Page) -> str:
    """What was read in a note, on one line."""
    return one_line(mentions_as_dict(note, mentions))


def mentions_as_dict(note: Note, mentions: Iterable[Mention]) -> dict[str, Any]:
    """What was read in a note, in its published shape."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": note.id,
        "notegap": notegap.__version__,
        "mentions": [mention_as_dict(mention) for mention in mentions],
    } | metadata_as_dict(note)


def mention_as_dict(mention: Mention) -> dict[str, Any]:
    """One mention in its published shape."""
    return {
        "concept": mention.concept,
        "value": mention.value,
        "assertion": mention.assertion.value,
        "start": mention.start,
        "end": mention.end,
        "text": mention.text,
        "section": mention.section,
        "at": [*mention.at],
        "levels": [*mention.levels],
        "seen_on": [*mention.seen_on],
        "due_to": [*mention.due_to],
        "beside": [*mention.beside],
        "qualities": [*mention.qualities],
    }


def indented(value: object) -> str:
    """Any JSON value, indented."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _error(note_id: str, message: str, where: str) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, "id": note_id, "error": {"message": message, "where": where}}


def metadata_as_dict(note: Note) -> dict[str, Any]:
    """What the file said of the note, and where each part of the text stood in it, where it said anything."""
    said = {name: value for name in _METADATA if (value := getattr(note.metadata, name))}
    return ({"metadata": said} if said else {}) | (
        {"parts": [asdict(part) for part in note.parts]} if note.parts else {}
    )


def _check(check: CodeCheck) -> dict[str, Any]:
    return {
        "code": check.code,
        "title": check.title,
        "valid": check.valid,
        "billable": check.billable,
        "findings": [_finding(finding) for finding in check.findings],
        "suggested_codes": list(check.suggested_codes),
        "suggested_because": [
            {"code": code, "findings": [finding.id for finding in because]} for code, because in suggestions(check)
        ],
        "summary": {
            "met": check.met,
            "open": check.open,
            "raised": check.raised,
            "complete": check.complete,
        },
    }


def _suggestion(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "concept": suggestion.concept,
        "start": suggestion.start,
        "end": suggestion.end,
        "text": suggestion.text,
        "code": suggestion.code,
        "title": suggestion.title,
        "alias": suggestion.alias,
        "score": suggestion.score,
        "findings": list(suggestion.findings),
    }


def _evidence(evidence: Iterable[Evidence]) -> list[dict[str, Any]]:
    return [{"start": each.start, "end": each.end, "text": each.text} for each in evidence]


def _finding(finding: Finding) -> dict[str, Any]:
    shape: dict[str, Any] = {"id": finding.id, "kind": finding.kind}
    if finding.severity is not None:
        shape["severity"] = finding.severity.value
    if finding.alert is not None:
        shape["alert"] = finding.alert.value
    shape |= {"status": finding.status.value, "message": finding.message}
    if finding.kind == "requirement":
        shape["ask"] = finding.ask
    return shape | {
        "basis": list(finding.basis),
        "why": finding.why,
        "place": finding.place,
        "evidence": _evidence(finding.evidence),
        "codes": list(finding.codes),
    }
