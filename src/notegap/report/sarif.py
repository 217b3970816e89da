"""The report as SARIF 2.1.0, what code-scanning viewers and dashboards read: a note is the artifact, an item the rule.

One log holds a run for each note. No word of a note is in it unless the page asks for snippets: messages are ours,
places are numbers. Source: OASIS SARIF 2.1.0 (levels 3.27.10, kinds 3.27.9, regions 3.30).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import notegap
from notegap.model import AlertKind, CodeCheck, Evidence, Finding, Report, Severity, Status
from notegap.report.lines import place
from notegap.report.page import Page

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LOG_START, LOG_END = f'{{"$schema": "{SCHEMA}", "version": "2.1.0", "runs": [\n', "\n]}\n"
FINGERPRINT = "notegap/v1"
"""The name of what identifies a result from run to run; it includes no offset."""

_KINDS = {Status.MET: "pass", Status.CLEAR: "pass", Status.NOT_APPLICABLE: "notApplicable"}
"""The kinds of what is not open; all else is a `fail`, which alone has a level."""
_SETTLED = {
    Status.MET: "Documented.",
    Status.CLEAR: "Nothing in the note raises this.",
    Status.NOT_APPLICABLE: "Does not apply to this note.",
}
_LEVELS = {Severity.REQUIRED: "error", Severity.RECOMMENDED: "warning", Severity.CONDITIONAL: "warning"}


def sarif_report(report: Report, page: Page) -> str:
    """The report as a SARIF log of its own."""
    return LOG_START + sarif_run(report, page) + LOG_END


def sarif_run(report: Report, page: Page) -> str:
    """The run for one report: every item is a rule, every finding a result."""
    findings = [(check, finding) for check in report.checks for finding in check.findings]
    artifact = {"uri": _uri(page.source or report.note.id)}
    return _json(
        {
            "tool": _tool([_rule(check, finding) for check, finding in findings]),
            "invocations": [{"executionSuccessful": True}],
            "columnKind": "unicodeCodePoints",
            "artifacts": [{"location": artifact, "length": len(report.note.text.encode("utf-8", "replace"))}],
            "results": [
                _result(finding, index, artifact, report.note.text, snippets=page.snippets)
                for index, (_, finding) in enumerate(findings)
            ],
            "properties": {
                "noteId": report.note.id,
                "codeSet": report.code_set,
                "codesFrom": report.codes_from,
                "complete": {check.code: check.complete for check in report.checks},
            },
        }
    )


def sarif_error(note_id: str, message: str, where: str) -> str:
    """The run of a note that could not be checked: it failed, and has no result."""
    notification = {"level": "error", "message": {"text": f"{where}: {message}"}}
    return _json(
        {
            "tool": _tool([]),
            "invocations": [{"executionSuccessful": False, "toolExecutionNotifications": [notification]}],
            "results": [],
            "properties": {"noteId": note_id},
        }
    )


def _tool(rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"driver": {"name": "notegap", "version": notegap.__version__, "rules": rules}}


def _rule(check: CodeCheck, finding: Finding) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "id": finding.id,
        "name": "".join(part.capitalize() for part in finding.item.split("-")),
        "shortDescription": {"text": finding.message},
        "defaultConfiguration": {"level": _level(finding)},
        "properties": {"code": check.code, "title": check.title, "basis": list(finding.basis)},
    }
    if finding.why:
        rule["fullDescription"] = {"text": finding.why}
    if finding.ask:
        rule["help"] = {"text": finding.ask}
    return rule


def _result(finding: Finding, index: int, artifact: dict[str, str], text: str, *, snippets: bool) -> dict[str, Any]:
    said = f"{finding.message} {finding.ask}".strip() if finding.is_open else _SETTLED[finding.status]
    where = [_location(artifact, evidence, text, snippets=snippets) for evidence in finding.evidence]
    return {
        "ruleId": finding.id,
        "ruleIndex": index,
        "kind": _KINDS.get(finding.status, "fail"),
        "level": _level(finding) if finding.is_open else "none",
        "message": {"text": said},
        # What is missing has no place of its own: the note as a whole lacks it.
        "locations": where or [{"physicalLocation": {"artifactLocation": artifact}}],
        "partialFingerprints": {FINGERPRINT: finding.id},
        "properties": {"status": finding.status.value, "place": finding.place, "codes": list(finding.codes)},
    }


def _level(finding: Finding) -> str:
    if finding.severity is not None:
        return _LEVELS[finding.severity]
    return "error" if finding.alert is AlertKind.CONFLICT else "warning"


def _location(artifact: dict[str, str], evidence: Evidence, text: str, *, snippets: bool) -> dict[str, Any]:
    (line, column), (last, end) = place(text, evidence.start), place(text, evidence.end)
    region: dict[str, Any] = {
        "startLine": line,
        "startColumn": column,
        "endLine": last,
        "endColumn": end,
        "charOffset": evidence.start,
        "charLength": evidence.end - evidence.start,
    }
    if snippets:
        region["snippet"] = {"text": evidence.text}
    return {"physicalLocation": {"artifactLocation": artifact, "region": region}}


def _uri(name: str) -> str:
    """A file's path or a note's id as a relative reference."""
    return quote(name.replace("\\", "/"), errors="replace") or "note"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, indent=1)
