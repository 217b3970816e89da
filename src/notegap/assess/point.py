"""The codes a note's facts point to, when nobody said which to check."""

from __future__ import annotations

from collections.abc import Sequence

from notegap.assess.context import AFFIRMED, regions_of
from notegap.assess.evaluate import Lens, context_of, evaluate
from notegap.assess.sites import site_codes
from notegap.icd10cm import CodeSet
from notegap.model import Assertion, Checklist, Coding, Knowledge, Mention, Note


def codes_for(mentions: Sequence[Mention], knowledge: Knowledge, codes: CodeSet) -> tuple[str, ...]:
    """The codes the facts point to, in the order of the checklists, one a documented region.

    Where nothing affirmed points anywhere, what is only suspected does: its gaps are what the note lacks.
    """
    for lens in (AFFIRMED, AFFIRMED | {Assertion.UNCERTAIN}):
        found = [
            code
            for checklist in knowledge.checklists
            for code in _codes_of(checklist, mentions, lens, codes, knowledge.coding)
        ]
        if found:
            return tuple(dict.fromkeys(found))
    return ()


def _codes_of(
    checklist: Checklist, mentions: Sequence[Mention], lens: Lens, codes: CodeSet, coding: Coding
) -> tuple[str, ...]:
    if checklist.points_to is None:
        return ()
    context = context_of(checklist, checklist.id, mentions, Note(id="", text=""), codes, coding)
    holds, evidence = evaluate(checklist.points_to, context, lens)
    if not holds:
        return ()
    told = [mention for mention in (*evidence, *context.condition) if mention.assertion in lens]
    regions = {region for mention in told for region in regions_of(mention)}
    # A family without an unspecified site (M99.2-) is checked as a whole: the region is the first thing it lacks.
    return site_codes(checklist, regions, codes) or site_codes(checklist, (), codes) or (checklist.id,)
