"""What the tabular alone says of any code beside a claim, and of a code that cannot be reported."""

from __future__ import annotations

from collections.abc import Iterable

from notegap.assess.context import claim_of
from notegap.assess.sites import code_in, is_reportable
from notegap.icd10cm import CodeSet
from notegap.model import AlertKind, Finding, Note, Status

INVALID_ITEM = "invalid-code"
EXCLUDES1_ITEM = "excludes1"
CODE_FIRST_ITEM = "code-first"


def coding_findings(code: str, note: Note, codes: CodeSet) -> tuple[Finding, ...]:
    """The alerts of a code no checklist covers: is it a code, what may not stand beside it, what has to precede it."""
    if not is_reportable(code, codes):
        return (invalid_finding(code, (), codes),)
    return (_excludes1(code, note, codes), *_code_first(code, note, codes))


def invalid_finding(code: str, better: Iterable[str], codes: CodeSet) -> Finding:
    """The alert that `code` cannot be reported, with `better` or what it may have meant."""
    return _alert(
        code,
        INVALID_ITEM,
        AlertKind.CONFLICT,
        raised=True,
        message=codes.problem(code) or "",
        why="A claim line with a code that is not in the code set, or is too short, is rejected.",
        codes=tuple(dict.fromkeys(better)) or codes.meant(code),
    )


def _excludes1(code: str, note: Note, codes: CodeSet) -> Finding:
    """Whether the claim carries a code that Excludes1 forbids beside `code`."""
    others = [other for other in claim_of(note) or () if other != code and code_in(codes, other)]
    forbidden = tuple(other for other in others if codes.excludes1_between(code, other))
    return _alert(
        code,
        EXCLUDES1_ITEM,
        AlertKind.CONFLICT,
        raised=bool(forbidden),
        message=(
            f"Excludes1: {', '.join(forbidden)} cannot be reported beside {code}."
            if forbidden
            else f"No code on the claim is excluded beside {code}."
        ),
        why="Excludes1 means never together, unless the two conditions are unrelated (Official Guidelines I.A.12.a).",
        codes=forbidden,
    )


def _code_first(code: str, note: Note, codes: CodeSet) -> tuple[Finding, ...]:
    """For a manifestation, which is never first and never alone: whether the claim puts another code before it."""
    if not codes.is_manifestation(code):
        return ()
    claim = claim_of(note) or ()
    before = claim[: claim.index(code)] if code in claim else claim
    return (
        _alert(
            code,
            CODE_FIRST_ITEM,
            AlertKind.SEQUENCING,
            raised=code in claim and not before,
            message=f"Code first at {code}: the underlying disease is listed before it.",
            why="An etiology goes before its manifestation (Official Guidelines I.A.13).",
            codes=(),
        ),
    )


def _alert(
    code: str, item: str, kind: AlertKind, *, raised: bool, message: str, why: str, codes: tuple[str, ...]
) -> Finding:
    return Finding(
        id=f"{code}/{item}",
        kind="alert",
        status=Status.RAISED if raised else Status.CLEAR,
        message=message,
        alert=kind,
        basis=("tabular",),
        codes=codes if raised else (),
        why=why,
    )
