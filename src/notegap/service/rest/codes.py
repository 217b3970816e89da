"""Codes as /v1/codes tells of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from notegap.icd10cm import Code, CodeSet, Instruction, normalize
from notegap.model import Checklist, Knowledge


def codes_found(text: str, limit: int, codes: CodeSet, knowledge: Knowledge) -> dict[str, Any]:
    """The codes for `text`; without text, those that have a checklist."""
    if text.strip():
        found = list(codes.search(text, limit=limit + 1))
    else:
        names = dict.fromkeys(code for checklist in knowledge.checklists for code in checklist.codes)
        found = [code for name in names if (code := codes.get(name)) is not None]
    return {
        "code_set": codes.release,
        "codes": [_name(code, knowledge) for code in found[:limit]],
        "more": len(found) > limit,
    }


def code_details(code: str, codes: CodeSet, knowledge: Knowledge) -> dict[str, Any] | None:
    """What is known of a code, None when there is none. Raises UsageError for what is not shaped like one."""
    found = codes.get(normalize(code))
    if found is None:
        return None
    name = found.code
    checklist = knowledge.checklist(name)
    return {
        "code_set": codes.release,
        "code": name,
        "title": found.title,
        "billable": found.billable,
        "needs_seventh": found.needs_seventh,
        "seventh": dict(found.seventh),
        "problem": codes.problem(name),
        "parent": found.parent,
        "children": list(found.children),
        "includes": _instructions(codes.inclusion_terms(name)),
        "excludes1": _instructions(codes.excludes1(name)),
        "excludes2": _instructions(codes.excludes2(name)),
        "code_first": _instructions(codes.code_first(name)),
        "use_additional": _instructions(codes.use_additional(name)),
        "code_also": _instructions(codes.code_also(name)),
        "checklist": _checklist(checklist) if checklist is not None else None,
    }


def _name(code: Code, knowledge: Knowledge) -> dict[str, Any]:
    return {
        "code": code.code,
        "title": code.title,
        "billable": code.billable,
        "checklist": knowledge.checklist(code.code) is not None,
    }


def _instructions(instructions: Iterable[Instruction]) -> list[dict[str, Any]]:
    return [{"text": each.text, "codes": list(each.codes), "at": each.at} for each in dict.fromkeys(instructions)]


def _checklist(checklist: Checklist) -> dict[str, Any]:
    requirements = [
        {
            "id": item.id,
            "kind": "requirement",
            "severity": item.severity.value,
            "message": item.message,
            "ask": item.ask,
            "why": item.why,
            "basis": list(item.basis),
            "codes": list(item.codes),
        }
        for item in checklist.requires
    ]
    alerts = [
        {
            "id": item.id,
            "kind": "alert",
            "alert": item.alert.value,
            "message": item.message,
            "why": item.why,
            "basis": list(item.basis),
            "codes": list(item.codes),
        }
        for item in checklist.alerts
    ]
    return {
        "id": checklist.id,
        "title": checklist.title,
        "why": checklist.why,
        "source": checklist.source,
        "items": [*requirements, *alerts],
    }
