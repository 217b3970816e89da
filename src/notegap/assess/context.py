"""What an item of a checklist is decided from: one note's mentions seen from one code and its checklist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeVar

from notegap.icd10cm import CodeSet
from notegap.model import REGIONS, Assertion, Checklist, Coding, Expr, Mention, Note, Setting, Status

AFFIRMED = frozenset({Assertion.AFFIRMED})
"""The assertions an expression accepts unless an item says otherwise."""

Key = TypeVar("Key")

Decided = Mapping[str, tuple[Status, tuple[Mention, ...]]]
"""The items decided so far: status and the mentions that decided it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything an expression or a named check may look at.

    `condition` are the checklist's condition mentions in any assertion; `condition_regions` the regions they are
    tied to; `code_regions` those of the code being checked
    (several regions may share a code: M99.23 is lumbar and lumbosacral), empty when the code has none; `area` the
    regions of the condition, or of the code where the note does not place it, and those next
    to them. `claim` is None when no claim was given. `decided` grows from item to item, `known` are the expressions
    evaluated so far: none comes out differently later, since an item that is decided stays so.
    """

    checklist: Checklist
    code: str
    mentions: tuple[Mention, ...]
    by_sentence: Mapping[int, Sequence[Mention]]
    by_concept: Mapping[str, Sequence[Mention]]
    codes: CodeSet
    coding: Coding
    claim: tuple[str, ...] | None
    setting: Setting = Setting.OUTPATIENT
    condition: tuple[Mention, ...] = ()
    condition_regions: frozenset[str] = frozenset()
    code_regions: frozenset[str] = frozenset()
    area: frozenset[str] = frozenset()
    decided: Decided
    known: dict[tuple[int, frozenset[Assertion]], tuple[Expr, tuple[bool, tuple[Mention, ...]]]] = field(
        default_factory=dict
    )

    @property
    def on_claim(self) -> tuple[str, ...]:
        """The claim's codes, none when no claim was given."""
        return self.claim or ()


def _grouped(mentions: Sequence[Mention], key: Callable[[Mention], Key]) -> Mapping[Key, Sequence[Mention]]:
    """`mentions` by their `key`: looking only there keeps a long note from costing the square of its length."""
    found: dict[Key, list[Mention]] = {}
    for mention in mentions:
        found.setdefault(key(mention), []).append(mention)
    return found


FINAL = frozenset({"assessment", "assessment_plan", "impression", "postop_diagnosis"})
"""The sections in which a provider concludes; a preoperative or differential diagnosis is no conclusion."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one note tells, in text order and found quickly; the same for every checklist it is seen from."""

    mentions: tuple[Mention, ...]
    by_sentence: Mapping[int, Sequence[Mention]]
    by_concept: Mapping[str, Sequence[Mention]]


def told(mentions: Sequence[Mention], setting: Setting = Setting.OUTPATIENT) -> Told:
    """`mentions` as they count in `setting`."""
    counted = established(mentions, setting)
    return Told(counted, _grouped(counted, lambda m: m.sentence), _grouped(counted, lambda m: m.concept))


def established(mentions: Sequence[Mention], setting: Setting) -> tuple[Mention, ...]:
    """`mentions` as they count: an inpatient's final diagnosis counts although it is hedged (Guidelines II.H).

    A hedge in the course, the films or the examination is no final diagnosis and stays one; in a note without
    headings nothing tells them apart, and it counts.
    """
    if setting is Setting.OUTPATIENT:
        return tuple(mentions)
    return tuple(
        replace(mention, assertion=Assertion.AFFIRMED)
        if mention.assertion is Assertion.UNCERTAIN and is_final(mention, setting)
        else mention
        for mention in mentions
    )


def is_final(mention: Mention, setting: Setting) -> bool:
    """Whether a hedge of `mention` counts as the diagnosis: an inpatient's, where the provider concludes."""
    return setting is Setting.INPATIENT and (mention.section in FINAL or not mention.section)


def regions_of(mention: Mention) -> frozenset[str]:
    """The regions `mention` is tied to; a region mention is tied to the region it names."""
    if mention.concept == "region":
        return frozenset((*mention.at, mention.value))
    return frozenset(mention.at)


def regions_of_condition(condition: Sequence[Mention]) -> frozenset[str]:
    """Where the condition is: where it is affirmed or suspected, else the area that was assessed for it.

    A denial counts only when nothing better is there: "lumbar instability, the neck is stable" is about the
    lumbar spine. What is only planned, or a relative's, is nowhere in this patient.
    """
    for assertions in ((Assertion.AFFIRMED, Assertion.UNCERTAIN), (Assertion.NEGATED, Assertion.HISTORICAL)):
        regions = frozenset(r for m in condition if m.assertion in assertions for r in regions_of(m))
        if regions:
            return regions
    return frozenset()


# The pain of a joint is felt, and its motion tested, in the parts next to it: the neck for the junction below it, the
# low back for the sacroiliac joint.
_BESIDE = frozenset({("lumbar", "sacral"), *pairwise(REGIONS)})


def area_of(regions: frozenset[str]) -> frozenset[str]:
    """`regions` and those next to them."""
    return regions | {b if a in regions else a for a, b in _BESIDE if a in regions or b in regions}


def dotted(code: str) -> str:
    """`code` as the tabular writes it: upper-case, a dot after the third character."""
    plain = code.strip().upper().replace(".", "")
    return plain if len(plain) <= 3 else f"{plain[:3]}.{plain[3:]}"


def claim_of(note: Note) -> tuple[str, ...] | None:
    """The claim's codes as the tabular writes them, None when no claim was given."""
    return None if note.claim_codes is None else tuple(dotted(code) for code in note.claim_codes if code.strip())
