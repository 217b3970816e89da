"""Codes and where in the spine they belong: the site axis, and what an alert suggests for a documented region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from notegap.assess.context import regions_of
from notegap.assess.fits import fits, injury_regions
from notegap.errors import UsageError
from notegap.icd10cm import MULTIPLE, UNSPECIFIED, Code, CodeSet
from notegap.model import REGIONS, Checklist, Coding, Mention

CLAUDICATION_CODES = ("M48.061", "M48.062")
"""Lumbar stenosis without and with neurogenic claudication: the only pair here told apart by a symptom."""

NON_UNION, FUSION_STATUS = "M96.0", "Z98.1"
"""A fusion that did not take is coded as the complication, not as the status."""

FEW = 2
"""A header with no more codes than this is spelt out; with more it is suggested as it stands."""


def code_in(codes: CodeSet, code: str) -> Code | None:
    """The code, or None when there is none such; a claim may carry what is not even shaped like a code."""
    try:
        return codes.get(code)
    except UsageError:
        return None


def is_reportable(code: str, codes: CodeSet) -> bool:
    """Whether `code` exists and is billable."""
    entry = code_in(codes, code)
    return entry is not None and entry.billable


def family_of(checklist: Checklist) -> str:
    """What every code of the checklist starts with: "M53.2X", "M49.8"."""
    written = sorted(code.removesuffix("*") for code in checklist.codes)
    first, last = written[0], written[-1]
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same].rstrip(".")


def site_codes(checklist: Checklist, regions: Iterable[str], codes: CodeSet) -> tuple[str, ...]:
    """The family's codes for `regions`: one each, or the one for several; none given, the one for no known site."""
    return tuple(_at_sites_of(codes.site_axis(family_of(checklist)), regions))


def regions_of_code(checklist: Checklist, code: str, codes: CodeSet) -> frozenset[str]:
    """The regions whose site-specific code is `code`: M99.23 is lumbar and lumbosacral."""
    axis = codes.site_axis(family_of(checklist))
    return frozenset(region for region in REGIONS if axis.get(region) == code)


def suggested(
    stems: Sequence[str],
    cited: Sequence[Mention],
    elsewhere: frozenset[str],
    *,
    at_least: frozenset[str],
    claudication: bool,
    codes: CodeSet,
    coding: Coding,
) -> tuple[str, ...]:
    """The codes `stems` stand for that fit the `cited` mentions, where those are, or `elsewhere` if they have no place.

    A stem that fits no mention is dropped only where another fits; one with a site axis gets the regions' digit, or
    that of the unspecified site, or where its family has none (M99) that of `at_least`; an injury gets the seventh
    character of the initial encounter.
    """
    fitting = {stem: [mention for mention in cited if _fits(mention, stem, coding)] for stem in stems}
    wanted = [stem for stem in stems if fitting[stem]] or stems
    found: list[str] = []
    for stem in wanted:
        regions = _regions_of(fitting[stem]) or _regions_of(cited) or elsewhere
        found += _codes_at(stem, regions, at_least, codes, coding)
    return tuple(dict.fromkeys(code for code in found if not _is_superseded(code, found, claudication=claudication)))


def _fits(mention: Mention, stem: str, coding: Coding) -> bool:
    """Whether `stem` is what `mention`, or what the note names as its cause, is coded with."""
    said = (*mention.qualities, *mention.due_to)
    return any(fits(stem, fact, said, coding) for fact in (mention.key, *mention.due_to))


def _regions_of(mentions: Iterable[Mention]) -> frozenset[str]:
    return frozenset(region for mention in mentions for region in regions_of(mention))


def _codes_at(
    stem: str, regions: frozenset[str], at_least: frozenset[str], codes: CodeSet, coding: Coding
) -> list[str]:
    """The codes of `stem` at `regions`; `stem` itself where it has no site axis."""
    sites = injury_regions(stem, coding)
    if sites and regions and regions.isdisjoint(sites):
        return []
    axis = codes.site_axis(stem)
    # An axis of other body sites (M67.8-, M10.0-) has no digit for a region of the spine.
    if axis.keys().isdisjoint(REGIONS):
        return list(_complete(stem, codes))
    if not regions and UNSPECIFIED not in axis:
        regions = at_least
    at_sites = _at_sites_of(axis, regions) if regions or UNSPECIFIED in axis else [stem]
    return [whole for code in at_sites for whole in _complete(code, codes)]


def _at_sites_of(axis: Mapping[str, str], regions: Iterable[str]) -> list[str]:
    wanted = set(regions)
    placed = list(dict.fromkeys(axis[region] for region in REGIONS if region in wanted and region in axis))
    if len(placed) > 1 and MULTIPLE in axis:
        return [axis[MULTIPLE]]
    return placed if placed or wanted or UNSPECIFIED not in axis else [axis[UNSPECIFIED]]


def _complete(code: str, codes: CodeSet) -> Sequence[str]:
    """`code` with the seventh character of a first encounter where it needs one; a header of few codes spelt out."""
    entry = code_in(codes, code)
    if entry is None or entry.billable:
        return (code,)
    if entry.needs_seventh:
        return tuple(child for child in entry.children if child.endswith("A")) or (code,)
    leaves = codes.leaves(code)
    return leaves if len(leaves) <= FEW else (code,)


def _is_superseded(code: str, found: Sequence[str], *, claudication: bool) -> bool:
    """Whether a code of `found` that says more takes the place of `code`."""
    if code in CLAUDICATION_CODES and set(CLAUDICATION_CODES) <= set(found):
        return (code == CLAUDICATION_CODES[1]) is not claudication
    if code == FUSION_STATUS and NON_UNION in found:
        return True
    return any(other != code and other.startswith(code) for other in found)
