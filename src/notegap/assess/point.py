"""The codes a note's facts point to, with the facts: what is checked when nobody said which."""

from __future__ import annotations

from collections.abc import Sequence

from notegap.assess.context import AFFIRMED, Told, regions_of, told
from notegap.assess.evaluate import Lens, context_of, evaluate
from notegap.assess.findings import evidence_of
from notegap.assess.sites import site_codes
from notegap.icd10cm import CodeSet
from notegap.model import Assertion, Checklist, Coding, Knowledge, Mention, Note, Pointer


def pointers(mentions: Sequence[Mention], knowledge: Knowledge, codes: CodeSet) -> tuple[Pointer, ...]:
    """The codes the facts point to, in the order of the checklists, one a documented region.

    Where nothing affirmed points anywhere, what is only suspected does: its gaps are what the note lacks.
    """
    known = told(mentions)
    for lens in (AFFIRMED, AFFIRMED | {Assertion.UNCERTAIN}):
        found = [
            pointer
            for checklist in knowledge.checklists
            for pointer in _pointers_of(checklist, known, lens, codes, knowledge.coding)
        ]
        if found:
            return tuple({pointer.code: pointer for pointer in reversed(found)}.values())[::-1]
    return ()


def _pointers_of(checklist: Checklist, known: Told, lens: Lens, codes: CodeSet, coding: Coding) -> tuple[Pointer, ...]:
    if checklist.points_to is None:
        return ()
    context = context_of(checklist, checklist.id, known, Note(id="", text=""), codes, coding)
    holds, evidence = evaluate(checklist.points_to, context, lens)
    if not holds:
        return ()
    saying = [mention for mention in (*evidence, *context.condition) if mention.assertion in lens]
    regions = {region for mention in saying for region in regions_of(mention)}
    # A family without an unspecified site (M99.2-) is checked as a whole: the region is the first thing it lacks.
    found = site_codes(checklist, regions, codes) or site_codes(checklist, (), codes) or (checklist.id,)
    return tuple(
        Pointer(
            code=code, title=codes.title(code), evidence=evidence_of(_of_site(code, saying, checklist, codes) or saying)
        )
        for code in found
    )


def _of_site(code: str, saying: Sequence[Mention], checklist: Checklist, codes: CodeSet) -> list[Mention]:
    """The mentions that are tied to the site of `code`."""
    return [mention for mention in saying if code in site_codes(checklist, regions_of(mention), codes)]
