"""One audited note, and the flat table every tabular output is: one row for each finding of each note.

The same rows go to Parquet, CSV, a DuckDB file and Spark, so that what one counts the other counts too. No word of a
note is in them unless asked for: messages and questions are the checklists', places and quotes stay out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from notegap.icd10cm import load
from notegap.model import Note
from notegap.notes.document import RowError

NOT_CLAIMED = "not_claimed"
"""The status of a code that the note's facts point to and its claim does not carry."""
DOCUMENTED = "documented"
"""The kind of the rows with that status."""
NOT_CHECKED, NO_CHECKLIST = "not_checked", "no_checklist"
"""The statuses of a code of the claim that was not checked: though it can be judged, or as nothing judges it."""
CLAIMED = "claimed"
"""The kind of the rows with those statuses."""

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "note_id": "string",
        "source": "string",
        "row": "int64",
        "note_hash": "string",
        "provider": "string",
        "encounter": "string",
        "department": "string",
        "date": "string",
        "setting": "string",
        "codes_from": "string",
        "outcome": "string",
        "error": "string",
        "duplicate_of": "int64",
        "near_duplicate_of": "int64",
        "similarity": "double",
        "code": "string",
        "title": "string",
        "valid": "bool",
        "billable": "bool",
        "complete": "bool",
        "claimed": "bool",
        "documented": "bool",
        "kind": "string",
        "item": "string",
        "finding_id": "string",
        "severity": "string",
        "status": "string",
        "alert": "string",
        "ask": "string",
        "codes": "list<string>",
        "code_set": "string",
        "notegap": "string",
        "rules": "string",
    }
)
"""The columns of the flat table and their types, as Arrow names them. Text is "" where nothing is known, never null.

`claimed`: the code is on the claim, null where no claim is known (false where there is a claim, and no code);
`documented`: the note's facts point to the code.
"""

TEXT_COLUMNS: Mapping[str, str] = MappingProxyType({"quotes": "list<string>", "text": "string"})
"""The columns that come after those with --with-text: they hold words of the note."""


def columns(*, with_text: bool = False) -> Mapping[str, str]:
    """The columns of the flat table."""
    return MappingProxyType({**COLUMNS, **TEXT_COLUMNS}) if with_text else COLUMNS


class Outcome(StrEnum):
    """What became of a note: checked, without a code to check, or not analyzed at all."""

    CHECKED = "checked"
    UNCHECKED = "unchecked"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedNote:
    """One row of an audit's input and what came of it.

    `row` counts from 1 over all inputs; `source` is the file it came from, `note_hash` the SHA-256 of its text, "" when
    there is none. `provider`, `encounter`, `department` and `date` are "" where the input said nothing; `claim_codes`
    is None when it gave no claim; `claims_unchecked` are those of them that can be judged and were not checked, which
    nothing is known of. `duplicate_of` is the row of the first note with the same text of which the same was
    asked, which is counted in its stead; `near_duplicate_of` that of the first note whose words are nearly the same,
    and `similarity` how nearly. `error` and `where` tell of a note that failed, and no word of it. `report` is the
    published report, quotes included, None for a note that failed; `text` is there only for outputs that
    need it; what they write of it is asked of them.
    """

    row: int
    source: str
    id: str
    outcome: Outcome
    rules: str
    note_hash: str = ""
    provider: str = field(default="", repr=False)
    encounter: str = ""
    department: str = ""
    date: str = ""
    setting: str = ""
    claim_codes: tuple[str, ...] | None = None
    claims_unchecked: tuple[str, ...] = ()
    duplicate_of: int | None = None
    near_duplicate_of: int | None = None
    similarity: float | None = None
    error: str = ""
    where: str = ""
    report: Mapping[str, Any] | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)

    @property
    def has_gaps(self) -> bool:
        """Whether any code checked has a gap or a raised alert, or is not valid."""
        checks = self.report["checks"] if self.report is not None else ()
        return any(not check["summary"]["complete"] for check in checks)


def from_report(
    note: Note,
    report: Mapping[str, Any],
    *,
    row: int,
    source: str,
    rules: str,
    duplicate_of: int | None = None,
    near_duplicate_of: int | None = None,
    similarity: float | None = None,
    note_hash: str = "",
    with_text: bool = False,
    judged: Callable[[str], bool] = lambda _code: False,
) -> AuditedNote:
    """A note and its published report (`report.json.as_dict`) as a row of the audit; `note_hash` where it is known.

    `judged` tells of a code whether a check of it says if a note supports it.
    """
    checked = {check["code"] for check in report["checks"]}
    return AuditedNote(
        row=row,
        source=source,
        id=note.id,
        outcome=Outcome.CHECKED if report["checks"] else Outcome.UNCHECKED,
        rules=rules,
        duplicate_of=duplicate_of,
        near_duplicate_of=near_duplicate_of,
        similarity=similarity,
        report=report,
        text=note.text if with_text else None,
        claims_unchecked=tuple(
            code for code in dict.fromkeys(note.claim_codes or ()) if code not in checked and judged(code)
        ),
        **_known(note, note_hash),
    )


def from_error(error: RowError, note: Note | None = None, *, row: int, source: str, rules: str) -> AuditedNote:
    """A row that could not be read (`note` is None) or a note that could not be analyzed."""
    return AuditedNote(
        row=row,
        source=source,
        id=error.id,
        outcome=Outcome.FAILED,
        rules=rules,
        error=error.message,
        where=error.where,
        **({} if note is None else _known(note)),
    )


def hash_of(text: str) -> str:
    """The `note_hash` of a text."""
    # A text with half of a surrogate pair cannot be analyzed, but it can be told from others.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _known(note: Note, note_hash: str = "") -> dict[str, Any]:
    return {
        "note_hash": note_hash or hash_of(note.text),
        "provider": note.metadata.provider,
        "encounter": note.metadata.encounter,
        "department": note.metadata.department,
        "date": note.metadata.date or note.date_of_service or "",
        "setting": note.setting.value,
        "claim_codes": note.claim_codes,
    }


def flat_rows(note: AuditedNote, *, with_text: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of the flat table for one note, each with every column; a note without findings has one, without code.

    The findings of its codes come first, in the report's order, then the codes of its claim that were not checked, then
    those its facts point to that its claim does not carry. Quotes and text only `with_text`, which they need.
    """
    found = False
    for found_row in _found(note, with_text=with_text):
        found = True
        yield found_row
    if not found:
        known = note.report is not None and note.claim_codes is not None
        yield _row(note, {"claimed": False} if known else {}, (), with_text=with_text)


def _found(note: AuditedNote, *, with_text: bool) -> Iterator[dict[str, Any]]:
    if note.report is None:
        return
    for check in note.report["checks"]:
        said = {name: check[name] for name in ("code", "title", "valid", "billable")}
        said["complete"] = check["summary"]["complete"]
        said["claimed"] = None if note.claim_codes is None else check["code"] in note.claim_codes
        said["documented"] = any(_answers(check["code"], pointer) for pointer in note.report["points_to"])
        if not check["findings"]:
            yield _row(note, said, (), with_text=with_text)
        for finding in check["findings"]:
            told = {name: finding.get(name, "") for name in ("kind", "severity", "status", "alert", "ask")}
            told["item"] = finding["id"].partition("/")[2]
            told["finding_id"], told["codes"] = finding["id"], list(finding["codes"])
            yield _row(note, said | told, finding["evidence"], with_text=with_text)
    for code in unchecked_claims(note):
        pointer = next((each for each in note.report["points_to"] if _answers(code, each)), None)
        known = load().get(code)
        said = {
            "code": code,
            "title": known.title if known is not None else "",
            "claimed": True,
            "documented": pointer is not None,
            "kind": CLAIMED,
            "item": "not-checked",
            "finding_id": f"{code}/not-checked",
            "status": NOT_CHECKED if code in note.claims_unchecked else NO_CHECKLIST,
        }
        yield _row(note, said, pointer["evidence"] if pointer is not None else (), with_text=with_text)
    for pointer in unclaimed(note):
        code = pointer["code"]
        said = {
            "code": code,
            "title": pointer["title"],
            "claimed": False,
            "documented": True,
            "kind": DOCUMENTED,
            "item": "not-claimed",
            "finding_id": f"{code}/not-claimed",
            "status": NOT_CLAIMED,
        }
        yield _row(note, said, pointer["evidence"], with_text=with_text)


def unchecked_claims(note: AuditedNote) -> tuple[str, ...]:
    """The codes of a note's claim that were not checked."""
    if note.report is None or note.claim_codes is None:
        return ()
    checked = {check["code"] for check in note.report["checks"]}
    return tuple(code for code in dict.fromkeys(note.claim_codes) if code not in checked)


def unclaimed(note: AuditedNote) -> Iterator[Mapping[str, Any]]:
    """What the facts of a note point to and its claim does not carry; nothing where no claim is known.

    A pointer without a title is a family: any of its codes on the claim answers it.
    """
    if note.report is None or note.claim_codes is None:
        return
    for pointer in note.report["points_to"]:
        if not any(_answers(claimed, pointer) for claimed in note.claim_codes):
            yield pointer


def _answers(claimed: str, pointer: Mapping[str, Any]) -> bool:
    return claimed == pointer["code"] or (not pointer["title"] and claimed.startswith(pointer["code"]))


def _row(note: AuditedNote, said: Mapping[str, Any], evidence: Any, *, with_text: bool) -> dict[str, Any]:
    report = note.report or {}
    row: dict[str, Any] = {
        "note_id": note.id,
        "source": note.source,
        "row": note.row,
        "note_hash": note.note_hash,
        "provider": note.provider,
        "encounter": note.encounter,
        "department": note.department,
        "date": note.date,
        "setting": note.setting,
        "codes_from": report.get("codes_from", ""),
        "outcome": note.outcome.value,
        "error": note.error,
        "duplicate_of": note.duplicate_of,
        "near_duplicate_of": note.near_duplicate_of,
        "similarity": note.similarity,
        "code": "",
        "title": "",
        "valid": None,
        "billable": None,
        "complete": None,
        "claimed": None,
        "documented": None,
        "kind": "",
        "item": "",
        "finding_id": "",
        "severity": "",
        "status": "",
        "alert": "",
        "ask": "",
        "codes": [],
        "code_set": report.get("code_set", ""),
        "notegap": report.get("notegap", ""),
        "rules": note.rules,
    }
    row |= said
    if with_text:
        row["quotes"] = [quote["text"] for quote in evidence]
        row["text"] = note.text or ""
    return row
