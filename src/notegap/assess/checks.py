"""The named checks: what the words of a selector cannot express, because it takes the claim or the code set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType

from notegap.assess.context import Context, regions_of
from notegap.assess.fits import is_under
from notegap.assess.sites import code_in, family_of, is_reportable, site_codes
from notegap.icd10cm import OTHER_SITES
from notegap.model import Assertion, Coding, Mention

Found = tuple[bool, tuple[Mention, ...]]

FUSED = frozenset({"finding/ankylosis", "union/fused"})
"""Vertebrae said to have grown together, by whatever cause."""

OTHER_FUSIONS = frozenset(
    {
        "finding/surgical_fusion",
        "finding/pseudarthrosis",
        "finding/congenital_fusion",
        "finding/transitional_vertebra",
        "disease/klippel_feil",
        "surgery/fusion",
    }
)
"""What has its own code beside M43.2-: Excludes1 and 2 at M43 and M43.2."""

SPONDYLITIS = "disease/ankylosing_spondylitis"
OTHER_CAUSES = ("surgery/", "mechanism/postsurgical", "mechanism/congenital", SPONDYLITIS, *OTHER_FUSIONS)
OTHER_ORIGINS = frozenset({"surgical", "postsurgical", "postoperative", "congenital"})
OWN_ORIGINS = frozenset({"spontaneous", "degenerative", "traumatic", "infectious"})
"""Qualities that say where a fusion comes from."""

LOWER_SPINE = frozenset({"lumbar", "lumbosacral", "sacral"})
"""The regions whose roots go to the legs, the bladder and the bowel."""


def invalid_code(context: Context) -> Found:
    """The code checked, or one of its family on the claim, cannot be reported: it does not exist or is too short."""
    family = [code for code in context.on_claim if code[:5] == context.checklist.id[:5]]
    return any(not is_reportable(code, context.codes) for code in (context.code, *family)), ()


def manifestation_first(context: Context) -> Found:
    """A manifestation code of the family is on the claim and no code of its underlying disease stands before it."""
    family = family_of(context.checklist)
    places = [place for place, code in enumerate(context.on_claim) if code.startswith(family)]
    if not places:
        return False, ()
    holds = not any(_is_etiology(code, context) for code in context.on_claim[: places[0]])
    return holds, _etiologies(context) if holds else ()


def etiology_missing(context: Context) -> Found:
    """The claim has codes, and none of them is the underlying disease's."""
    holds = bool(context.claim) and not any(_is_etiology(code, context) for code in context.on_claim)
    return holds, _etiologies(context) if holds else ()


def site_specific(context: Context) -> Found:
    """A fusion that belongs to the family has a region whose own code is neither the one checked nor on the claim."""
    covered = {context.code, *context.on_claim}
    found = tuple(m for m in spontaneous_fusions(context) if not _codes_of(regions_of(m), context) <= covered)
    return bool(found), found


def several_regions_unclaimed(context: Context) -> Found:
    """Two or more regions are fused, in the family's sense, and the claim lacks the code of at least one."""
    found = tuple(mention for mention in spontaneous_fusions(context) if regions_of(mention))
    regions = {region for mention in found for region in regions_of(mention)}
    holds = len(regions) > 1 and not _codes_of(regions, context) <= set(context.on_claim)
    return holds, found if holds else ()


def excludes1_on_claim(context: Context) -> Found:
    """The claim carries a code that Excludes1 forbids beside the code checked."""
    others = [code for code in context.on_claim if code != context.code and code_in(context.codes, code)]
    return any(context.codes.excludes1_between(context.code, code) for code in others), ()


def code_beyond_spine(context: Context) -> Found:
    """The code checked belongs to a region of M99 that is none of the spine's: pelvis, limbs, ribs, abdomen."""
    return context.codes.region_of(context.code) in OTHER_SITES, ()


def site_beyond_spine(context: Context) -> Found:
    """The code checked is such a code, and the note names its region."""
    site = context.codes.region_of(context.code)
    found = tuple(
        mention
        for mention in context.mentions
        if mention.concept == "body_site"
        and mention.value == site
        and site in OTHER_SITES
        and mention.assertion is Assertion.AFFIRMED
    )
    return bool(found), found


def code_of_lower_spine(context: Context) -> Found:
    """The code checked is of a region whose roots go to the legs, bladder and bowel, or of no region of the spine."""
    return not context.code_regions or bool(context.code_regions & LOWER_SPINE), ()


CHECKS: MappingProxyType[str, Callable[[Context], Found]] = MappingProxyType(
    {
        "code_beyond_spine": code_beyond_spine,
        "code_of_lower_spine": code_of_lower_spine,
        "etiology_missing": etiology_missing,
        "excludes1_on_claim": excludes1_on_claim,
        "invalid_code": invalid_code,
        "manifestation_first": manifestation_first,
        "several_regions_unclaimed": several_regions_unclaimed,
        "site_beyond_spine": site_beyond_spine,
        "site_specific": site_specific,
    }
)
"""The checks a checklist may name: `{check: invalid_code}`."""


def spontaneous_fusions(context: Context) -> tuple[Mention, ...]:
    """The condition's affirmed fusions that are neither surgical nor congenital nor ankylosing spondylitis."""
    there = (Assertion.AFFIRMED, Assertion.HISTORICAL)
    others = [m for m in context.mentions if m.key in OTHER_FUSIONS and m.assertion in there]
    spondylitis = any(m.key == SPONDYLITIS and m.assertion is Assertion.AFFIRMED for m in context.mentions)
    return tuple(
        mention
        for mention in context.condition
        if mention.key in FUSED
        and mention.assertion is Assertion.AFFIRMED
        and OTHER_ORIGINS.isdisjoint(mention.qualities)
        and not any(cause.startswith(OTHER_CAUSES) for cause in mention.due_to)
        and (_has_own_origin(mention) or not (spondylitis or any(_is_same_fusion(mention, m) for m in others)))
    )


def is_fusion(mention: Mention) -> bool:
    """Whether `mention` is about vertebrae grown together, by whatever cause, or about their not being so."""
    return mention.concept == "union" or mention.key in FUSED | OTHER_FUSIONS


def _has_own_origin(mention: Mention) -> bool:
    """Whether the note says of this fusion itself that it came about in a way M43.2- stands for."""
    return bool(mention.due_to) or not OWN_ORIGINS.isdisjoint(mention.qualities)


def _is_same_fusion(mention: Mention, other: Mention) -> bool:
    """Whether `mention`, whose origin is not said, may be the fusion `other` speaks of: by level, else by region.

    "Solid fusion C5-6" in a patient with a cervical arthrodesis is that arthrodesis. "Ankylosis" says by itself that
    no surgeon made it: it takes the very level.
    """
    if mention.levels and other.levels:
        return not set(mention.levels).isdisjoint(other.levels)
    if mention.key == "finding/ankylosis":
        return False
    here, there = regions_of(mention), regions_of(other)
    return not here or not there or bool(here & there)


def _codes_of(regions: Iterable[str], context: Context) -> set[str]:
    return {code for region in regions for code in site_codes(context.checklist, (region,), context.codes)}


def _etiologies(context: Context) -> tuple[Mention, ...]:
    """The diseases the note gives as the condition's cause; where it names none, every disease of the patient."""
    named = _named_causes(context)
    diseases = tuple(m for m in context.mentions if m.concept == "disease" and m.assertion is Assertion.AFFIRMED)
    telling = tuple(m for m in diseases if m.key not in context.coding.incidental)
    return tuple(m for m in diseases if m.key in named) or telling or diseases


def _is_etiology(code: str, context: Context) -> bool:
    """Whether `code` is the underlying disease's: the one the note ties to the condition, else one that could be."""
    coding = context.coding
    tied = _named_causes(context)
    diseases = tied | {mention.key for mention in _etiologies(context)}
    if any(is_under(code, coding.facts.get(disease, ())) for disease in diseases):
        return True
    if tied and tied <= coding.facts.keys():
        return False
    common = (
        () if diseases <= coding.incidental else tuple(c for d in coding.incidental for c in coding.facts.get(d, ()))
    )
    could_be = is_under(code, coding.etiologies) and not is_under(code, (*coding.not_etiologies, *common))
    return could_be and code_in(context.codes, code) is not None


def _stems(facts: Iterable[str], coding: Coding) -> tuple[str, ...]:
    return tuple(stem for fact in facts for stem in coding.facts.get(fact, ()))


def _named_causes(context: Context) -> set[str]:
    """The diseases the note names as the condition's cause, as "disease/value"."""
    affirmed = [mention for mention in context.condition if mention.assertion is Assertion.AFFIRMED]
    return {cause for mention in affirmed for cause in mention.due_to if cause.startswith("disease/")}
