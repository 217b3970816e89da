"""Audits made up for tests, screenshots and benchmarks: notes as the audit hands them on, without reading any."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any

from notegap.audit.rows import AuditedNote, Outcome, hash_of
from notegap.knowledge import load_knowledge
from notegap.model import Alert, Checklist, Knowledge, Requirement

RELEASE = "ICD-10-CM FY2026 (April 2026)"
CODES = {
    "M24.28": "Disorder of ligament, vertebrae",
    "M53.2X6": "Spinal instabilities, lumbar region",
    "M53.2X7": "Spinal instabilities, lumbosacral region",
    "M53.2X2": "Spinal instabilities, cervical region",
    "M43.26": "Fusion of spine, lumbar region",
    "M43.22": "Fusion of spine, cervical region",
    "M99.23": "Subluxation stenosis of neural canal of lumbar region",
    "M49.86": "Spondylopathy in diseases classified elsewhere, lumbar region",
}
PROVIDERS = (
    "Okafor, Ada MD", "Lindqvist, Per DO", "Marchetti, Lucia MD", "Tran, Minh DC", "Haddad, Salma MD",
    "Brandt, Uwe PA-C", "Nakamura, Rei MD", "Osei, Kwame NP", "Castillo, Ines MD",
)  # fmt: skip
CLINICS = ("Spine clinic", "Pain clinic", "Orthopedics", "Chiropractic")


def finding(code: str, rule: Requirement | Alert, status: str) -> dict[str, Any]:
    """A finding in its published shape."""
    shape: dict[str, Any] = {
        "id": f"{code}/{rule.id}",
        "kind": "requirement" if isinstance(rule, Requirement) else "alert",
    }
    if isinstance(rule, Requirement):
        shape |= {"severity": rule.severity.value, "status": status, "message": rule.message, "ask": rule.ask}
    else:
        shape |= {"alert": rule.alert.value, "status": status, "message": rule.message}
    quotes = [] if status in ("missing", "not_applicable", "clear") else [{"start": 0, "end": 6, "text": "SECRET"}]
    return shape | {"basis": list(rule.basis), "why": rule.why, "place": "", "evidence": quotes, "codes": []}


def check(code: str, findings: Sequence[dict[str, Any]], *, valid: bool = True, title: str = "") -> dict[str, Any]:
    """A code's check in its published shape."""
    statuses = [each["status"] for each in findings]
    gaps = sum(status in ("missing", "vague", "uncertain", "refuted") for status in statuses)
    raised = statuses.count("raised")
    return {
        "code": code,
        "title": title or CODES.get(code, ""),
        "valid": valid,
        "billable": valid,
        "findings": list(findings),
        "suggested_codes": [],
        "suggested_because": [],
        "summary": {
            "met": statuses.count("met"),
            "open": gaps,
            "raised": raised,
            "complete": not gaps and not raised and valid,
        },
    }


def report(note_id: str, checks: Sequence[dict[str, Any]], points_to: Sequence[str] = ()) -> dict[str, Any]:
    """A report in its published shape."""
    return {
        "schema_version": 1,
        "id": note_id,
        "notegap": "0.1.0",
        "code_set": RELEASE,
        "setting": "outpatient",
        "date_of_service": None,
        "codes_from": "asked",
        "mentions": [],
        "checks": list(checks),
        "suggestions": [],
        "points_to": [{"code": code, "title": CODES.get(code, ""), "evidence": []} for code in points_to],
    }


def audited(row: int, made: dict[str, Any] | None = None, **more: Any) -> AuditedNote:
    """A note of an audit with what the audit knows of it."""
    known: dict[str, Any] = {
        "row": row,
        "source": "export.csv",
        "id": made["id"] if made is not None else f"note-{row}",
        "outcome": Outcome.FAILED if made is None else Outcome.CHECKED if made["checks"] else Outcome.UNCHECKED,
        "rules": "0123456789ab",
        "note_hash": hash_of(str(row)),
        "setting": "outpatient",
        "report": made,
    }
    return AuditedNote(**{**known, **more})


def simple(row: int, *, open_: bool, code: str = "M24.28", item: str = "region", **more: Any) -> AuditedNote:
    """A note with one code and one item, open or met."""
    status = "missing" if open_ else "met"
    one = {
        "id": f"{code}/{item}", "kind": "requirement", "severity": "required", "status": status, "message": "SECRET",
        "ask": "At which region or level?", "basis": ["seed"], "why": "", "place": "", "evidence": [], "codes": [],
    }  # fmt: skip
    return audited(row, report(more.pop("id", f"note-{row}"), [check(code, [one])]), **more)


def year(notes: int, seed: int = 1, *, better: float = 0.0) -> Iterator[AuditedNote]:
    """A year of notes of nine providers, of whom some write more completely, some rarely; some notes are copies.

    `better` lowers every chance of a gap, as an audit some time later might find.
    """
    checklists = [(code, _checklist(code)) for code in CODES]
    chance = random.Random(seed)
    first = date(2025, 1, 1)
    for row in range(1, notes + 1):
        if chance.random() < 0.012:
            yield audited(row, error="the note is a scanned PDF without text", where=f"row {row}", note_hash="")
            continue
        number = min(int(chance.expovariate(0.42)), len(PROVIDERS) - 1)
        day = first + timedelta(days=int(365 * row / (notes + 1)))
        code, checklist = chance.choices(checklists, weights=(40, 18, 9, 7, 10, 3, 9, 1.5))[0]
        worse = (0.5 + 0.16 * number) * (1 - better)
        rules: tuple[Requirement | Alert, ...] = (*checklist.requires, *checklist.alerts)
        made = check(
            code,
            [finding(code, rule, _status(chance, rule, worse)) for rule in rules],
        )
        claimed = (code,) if chance.random() < 0.82 else ("M54.50",)
        copies: dict[str, Any] = {}
        if row > 20 and chance.random() < 0.06:
            copies = {"duplicate_of": row - chance.randint(3, 15)}
        elif row > 20 and chance.random() < 0.08:
            copies = {
                "near_duplicate_of": row - chance.randint(3, 15),
                "similarity": round(chance.uniform(0.86, 0.99), 2),
            }
        yield audited(
            row,
            report(f"n{row:06d}", [made], (code,) if chance.random() < 0.9 else ()),
            provider=PROVIDERS[number],
            department=CLINICS[number % len(CLINICS)],
            date=day.isoformat(),
            claim_codes=claimed if chance.random() < 0.9 else None,
            **copies,
        )


@cache
def _checklist(code: str) -> Checklist:
    found = _knowledge().checklist(code)
    assert found is not None
    return found


@cache
def _knowledge() -> Knowledge:
    return load_knowledge()


def _status(chance: random.Random, rule: Requirement | Alert, worse: float) -> str:
    weight = (1 + sum(map(ord, rule.id)) % 7) / 14
    if isinstance(rule, Alert):
        return "raised" if chance.random() < weight * 0.08 else "clear"
    if rule.severity.value == "conditional" and chance.random() < 0.75:
        return "not_applicable"
    if chance.random() < weight * worse * 0.7:
        return chance.choices(("missing", "vague", "uncertain", "refuted"), weights=(60, 25, 12, 3))[0]
    return "met"
