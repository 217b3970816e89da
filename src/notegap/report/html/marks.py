"""The note as it is marked: which stretch of it is which fact, how that stands, and what it decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from notegap.model import FACTS, Assertion, Evidence, Mention, Report

STANDS: Mapping[Assertion, str] = {
    Assertion.AFFIRMED: "stated",
    Assertion.NEGATED: "denied",
    Assertion.UNCERTAIN: "uncertain",
    Assertion.HYPOTHETICAL: "planned or conditional",
    Assertion.HISTORICAL: "past",
    Assertion.FAMILY: "another person's",
}
"""How a mention stands, in a reader's words."""

SIGNS: Mapping[Assertion, str] = {
    Assertion.AFFIRMED: "",
    Assertion.NEGATED: "no",
    Assertion.UNCERTAIN: "?",
    Assertion.HYPOTHETICAL: "if",
    Assertion.HISTORICAL: "past",
    Assertion.FAMILY: "kin",
}
"""What is written over a mention, so that its colour is never the only sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Every mention of one value that stands in one way. `key` is what its marks carry."""

    key: str
    concept: str
    value: str
    assertion: Assertion
    where: tuple[str, ...]
    mentions: tuple[Mention, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Look:
    """How a mark looks, what it says when asked, and the keys of the items and facts that rest on it."""

    classes: str
    sign: str
    title: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of the note that looks one way. Marks follow one another and never overlap."""

    start: int
    end: int
    look: Look


def facts_of(report: Report) -> tuple[Fact, ...]:
    """What was read in the note, by concept, each value once for every way it stands."""
    groups: dict[tuple[str, str, Assertion], list[Mention]] = {}
    for mention in report.mentions:
        groups.setdefault((mention.concept, mention.value, mention.assertion), []).append(mention)
    ordered = sorted(groups.items(), key=lambda group: (FACTS.index(group[0][0]), group[1][0].start))
    return tuple(
        Fact(
            key=f"{concept}/{value}/{assertion.value}",
            concept=concept,
            value=value,
            assertion=assertion,
            where=tuple(
                dict.fromkeys(spoken(place) for mention in mentions for place in (*mention.levels, *mention.at))
            ),
            mentions=tuple(mentions),
        )
        for (concept, value, assertion), mentions in ordered
    )


def marks_of(report: Report) -> tuple[Mark, ...]:
    """The marks of a note in text order: its mentions, and the evidence that is no published mention."""
    spans = [*_evidence(report), *((m.start, m.end, m, "") for m in report.mentions)]
    edges = sorted({edge for start, end, *_ in spans for edge in (start, end)})
    opening: dict[int, list[tuple[int, int, Mention | None, str]]] = {}
    for span in spans:
        opening.setdefault(span[0], []).append(span)
    marks: list[Mark] = []
    active: list[tuple[int, int, Mention | None, str]] = []
    for start, end in pairwise(edges):
        active = [span for span in active if span[1] > start] + opening.get(start, [])
        if active:
            marks.append(Mark(start, end, _look(active, start)))
    return tuple(marks)


def describe(mention: Mention) -> str:
    """A mention in words: "finding: ligament laxity, stated; L4-L5, lumbar; seen on mri"."""
    ties = [", ".join(spoken(place) for place in (*mention.levels, *mention.at))]
    for words, values in (
        ("seen on", mention.seen_on),
        ("due to", mention.due_to),
        ("beside", mention.beside),
        ("", mention.qualities),
    ):
        if values:
            ties.append(f"{words} {', '.join(spoken(value) for value in values)}".strip())
    said = f"{spoken(mention.concept)}: {spoken(mention.value)}, {STANDS[mention.assertion]}"
    return "; ".join(filter(None, [said, *ties]))


def spoken(name: str) -> str:
    """A name of the vocabulary as one reads it: "finding/canal_stenosis" is "canal stenosis"."""
    return name.rpartition("/")[2].replace("_", " ")


def _evidence(report: Report) -> Iterator[tuple[int, int, Mention | None, str]]:
    for check in report.checks:
        for finding in check.findings:
            yield from ((e.start, e.end, None, finding.id) for e in finding.evidence)
    for pointer in report.points_to:
        yield from ((e.start, e.end, None, pointer_key(pointer.code)) for e in pointer.evidence)


def pointer_key(code: str) -> str:
    """The key of the evidence that points to `code`."""
    return f"points-to/{code}"


def _look(active: Sequence[tuple[int, int, Mention | None, str]], start: int) -> Look:
    mentions = [mention for _, _, mention, _ in active if mention is not None]
    decides = [key for *_, key in active if key]
    read = [f"{mention.key}/{mention.assertion.value}" for mention in mentions]
    keys = tuple(dict.fromkeys((*decides, *read)))
    if not mentions:
        return Look("evidence", "", "", keys)
    # Of those that overlap, the shortest says most of this stretch: the level inside "laxity at L4-5".
    top = min(mentions, key=lambda mention: mention.end - mention.start)
    sign = SIGNS[top.assertion] if top.start == start else ""
    classes = f"c-{top.concept} a-{top.assertion.value}"
    return Look(classes, sign, " · ".join(dict.fromkeys(describe(mention) for mention in mentions)), keys)


def quotes(evidence: Sequence[Evidence], most: int) -> tuple[Sequence[Evidence], int]:
    """The first `most` pieces of evidence, and how many more there are."""
    return evidence[:most], max(0, len(evidence) - most)
