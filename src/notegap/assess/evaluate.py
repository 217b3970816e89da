"""Whether an expression of a checklist holds for a note, and which mentions say so.

An expression is read under a lens: the assertions a selector accepts unless it names its own. What is looked
for to be absent (`none`) is always read under the lens of what is firm, so a hedge or a denial never hides a fact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import zip_longest
from typing import assert_never

from notegap.assess.checks import CHECKS
from notegap.assess.context import (
    AFFIRMED,
    FINAL,
    Context,
    Told,
    area_of,
    claim_of,
    regions_of,
    regions_of_condition,
)
from notegap.assess.sites import regions_of_code
from notegap.errors import KnowledgeError
from notegap.icd10cm import CodeSet
from notegap.model import (
    AllOf,
    AnyOf,
    Assertion,
    AtLeast,
    Check,
    Checklist,
    Claimed,
    Coding,
    Expr,
    ItemIs,
    Mention,
    NoneOf,
    Note,
    Regions,
    Select,
)

Lens = frozenset[Assertion]
Outcome = tuple[bool, tuple[Mention, ...]]
"""Whether it holds, and the mentions that say so, the most telling first."""

CONDITION = "condition"
"""The concept name by which a selector means the checklist's own condition."""

ANY = "any"
"""The one word that accepts whatever was named: `seen_on: [any]` is "seen on something"."""

FAILS: Outcome = (False, ())

_WHATEVER: Lens = frozenset(Assertion)


def evaluate(expr: Expr, context: Context, lens: Lens = AFFIRMED) -> Outcome:
    """Whether `expr` holds under `lens`, and the mentions that say so."""
    # By identity, which the expression kept beside it holds: to hash one takes longer than to evaluate it.
    key = (id(expr), lens)
    known = context.known.get(key)
    if known is None:
        known = context.known[key] = (expr, _evaluate(expr, context, lens))
    return known[1]


def _evaluate(expr: Expr, context: Context, lens: Lens) -> Outcome:
    match expr:
        case Select():
            found = select(expr, context, lens)
            return bool(found), interleaved((found, _places_of(found, expr, context)))
        case AnyOf(parts):
            return _at_least(1, parts, context, lens)
        case AllOf(parts):
            return _at_least(len(parts), parts, context, lens)
        case AtLeast(number, parts):
            return _at_least(number, parts, context, lens)
        case NoneOf(parts):
            return not any(evaluate(part, context, AFFIRMED)[0] for part in parts), ()
        case ItemIs(item, statuses):
            if item not in context.decided:
                raise KnowledgeError(_unknown("item", item, context.decided, context))
            status, evidence = context.decided[item]
            return (True, evidence) if status in statuses else FAILS
        case Claimed(codes):
            return any(code.startswith(codes) for code in context.on_claim), ()
        case Regions(of, number):
            found = select(of, context, lens)
            regions = {region for mention in found for region in regions_of(mention)}
            return (True, found) if len(regions) >= number else FAILS
        case Check(name):
            if name not in CHECKS:
                raise KnowledgeError(_unknown("check", name, CHECKS, context))
            return CHECKS[name](context)
        case _:
            assert_never(expr)


def select(wanted: Select, context: Context, lens: Lens = AFFIRMED) -> tuple[Mention, ...]:
    """The mentions that fit `wanted`, the provider's conclusions first, then in text order."""
    accepted = lens if wanted.assertion is None else wanted.assertion
    pool = context.condition if wanted.concept == CONDITION else context.by_concept.get(wanted.concept, ())
    found = [
        mention
        for mention in pool
        if (wanted.values is None or mention.value in wanted.values)
        and mention.assertion in accepted
        and _is_wanted(mention, wanted)
        and _is_placed(mention, wanted.at, context)
        and (wanted.same_sentence is None or _shares_sentence(mention, wanted.same_sentence, context))
        and not _shares_sentence(mention, wanted.not_same_sentence, context)
    ]
    return tuple(sorted(found, key=lambda m: (m.section not in FINAL, m.start, m.end)))


def context_of(checklist: Checklist, code: str, told: Told, note: Note, codes: CodeSet, coding: Coding) -> Context:
    """What is `told`, seen from `code`: which mentions are its condition, and where that is.

    The condition is read before its regions are known: an `at: condition` inside it narrows nothing.
    """
    bare = Context(
        checklist=checklist,
        code=code,
        mentions=told.mentions,
        by_sentence=told.by_sentence,
        by_concept=told.by_concept,
        codes=codes,
        coding=coding,
        claim=claim_of(note),
        setting=note.setting,
        code_regions=regions_of_code(checklist, code, codes),
        decided={},
    )
    found = {id(mention): mention for mention in _every_match(checklist.condition, bare, _WHATEVER)}
    condition = tuple(sorted(found.values(), key=lambda m: (m.start, m.end)))
    regions = regions_of_condition(condition)
    return replace(
        bare, condition=condition, condition_regions=regions, area=area_of(regions or bare.code_regions), known={}
    )


def _every_match(expr: Expr, context: Context, lens: Lens) -> Iterable[Mention]:
    match expr:
        case Select():
            return select(expr, context, lens)
        case AnyOf(parts):
            return (mention for part in parts for mention in _every_match(part, context, lens))
        case _:
            return evaluate(expr, context, lens)[1]


def _at_least(number: int, parts: Sequence[Expr], context: Context, lens: Lens) -> Outcome:
    may_fail = len(parts) - number
    told: list[Sequence[Mention]] = []
    for part in parts:
        holds, evidence = evaluate(part, context, lens)
        if holds:
            told.append(evidence)
            continue
        may_fail -= 1
        if may_fail < 0:
            return FAILS
    return True, interleaved(told)


def interleaved(parts: Iterable[Sequence[Mention]]) -> tuple[Mention, ...]:
    """The mentions of every part, distinct, in turns: so that a short list still shows each part."""
    rounds = zip_longest(*parts)
    return tuple({id(mention): mention for turn in rounds for mention in turn if mention is not None}.values())


def _is_wanted(mention: Mention, wanted: Select) -> bool:
    return (
        mention.value not in wanted.not_values
        and (wanted.section is None or mention.section in wanted.section)
        and mention.section not in wanted.not_section
        and (wanted.seen_on is None or _is_any_of(mention.seen_on, wanted.seen_on))
        and (wanted.due_to is None or _is_any_of(mention.due_to, wanted.due_to))
        and not _is_any_of(mention.due_to, wanted.not_due_to)
        and (wanted.beside is None or _is_any_of(mention.beside, wanted.beside))
        and (wanted.qualities is None or _is_any_of(mention.qualities, wanted.qualities))
        and not _is_any_of(mention.qualities, wanted.not_qualities)
        and (wanted.has_region is None or wanted.has_region is bool(regions_of(mention)))
        and (wanted.has_level is None or wanted.has_level is (bool(mention.levels) or mention.concept == "level"))
    )


def _is_any_of(said: Sequence[str], names: frozenset[str]) -> bool:
    """Whether one of `said` is one of `names`; "disease" and "disease/*" cover "disease/paget", "any" covers all."""
    if not names or not said:
        return False
    if ANY in names or not names.isdisjoint(said):
        return True
    concepts = [word.partition("/")[0] for word in said]
    return not names.isdisjoint(concepts) or not names.isdisjoint(f"{concept}/*" for concept in concepts)


def _is_placed(mention: Mention, at: str | tuple[str, ...] | None, context: Context) -> bool:
    regions = regions_of(mention)
    match at:
        case None:
            return True
        case "condition":
            return not regions or not context.condition_regions or bool(regions & context.condition_regions)
        case "area":
            return not regions or not context.area or bool(regions & context.area)
        case "condition_strict":
            return bool(regions & context.condition_regions)
        case "elsewhere":
            return bool(regions and context.condition_regions) and not regions & context.condition_regions
        case "code":
            return not regions or not context.code_regions or bool(regions & context.code_regions)
        case str():
            return at in regions
        case _:
            return not regions.isdisjoint(at)


def _shares_sentence(mention: Mention, names: frozenset[str], context: Context) -> bool:
    """Whether one of `names` stands in the same sentence, stated or under the same cue: "no loss at S1"."""
    return bool(names) and any(
        other is not mention
        and other.assertion in (Assertion.AFFIRMED, Assertion.UNCERTAIN, mention.assertion)
        and _is_any_of((other.key,), names)
        for other in context.by_sentence.get(mention.sentence, ())
    )


def _places_of(found: Sequence[Mention], wanted: Select, context: Context) -> tuple[Mention, ...]:
    """Where a place is asked for, the words that name it: the regions and levels in the sentences of `found`."""
    if not (wanted.has_region or wanted.has_level):
        return ()
    concepts = ("region", "level") if wanted.has_region else ("level",)
    places = {
        place
        for mention in found
        for place in context.by_sentence.get(mention.sentence, ())
        if place.concept in concepts and regions_of(place) & regions_of(mention)
    }
    return tuple(sorted(places, key=lambda m: (m.start, m.end, m.concept, m.value)))


def _unknown(kind: str, name: str, known: Iterable[str], context: Context) -> str:
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    where = context.checklist.file or context.checklist.id
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names) or 'none'}."
    return f"{where}: {kind} {name!r} is unknown or listed later than it is used; {hint}"
