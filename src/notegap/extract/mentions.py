"""From spans to Mentions: pairs, assertion, ties, and one record for each thing the note says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set

from notegap.extract.assertion import reaching, stand
from notegap.extract.boundaries import Layout, chosen, layout
from notegap.extract.gate import PLACED_PARTS, Gate
from notegap.extract.kind import Kind, kind_of
from notegap.extract.pairs import PairRules
from notegap.extract.pipeline import GIVEN, Pipeline, Raw, Reading, swallowed
from notegap.extract.purpose import is_for_another
from notegap.extract.refine.level import region_of
from notegap.extract.suggest import Suggester, not_his
from notegap.extract.ties import Fact, Place, places, tie_causes, tie_places, tie_qualities, tie_sources
from notegap.extract.words import plain
from notegap.model import Assertion, Knowledge, Mention, Suggestion


class Extractor:
    """Reads notes: built once from `knowledge`, then `mentions(text)` for each note."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._pipeline = Pipeline(knowledge)
        self._pairs = PairRules(knowledge)
        self._reported = frozenset(c.name for c in knowledge.concepts.values() if c.reported)
        self._defaults: Mapping[str, Mapping[str, Assertion]] = {s.name: s.assertions for s in knowledge.sections}
        self._suggester = Suggester()

    def prepare(self) -> None:
        """Do now what is else done when a note first calls for it, for notes that somebody waits for."""
        self._pipeline.prepare()

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """Every fact of the note, in text order. Offsets are into `text` as given."""
        reading = self._pipeline.read(text)
        kind = kind_of(reading.text, reading.layout)
        gate = Gate(reading.text, reading.spans, reading.layout, spinal_study=_spinal_study(reading, kind))
        facts = [*self._stated(reading, kind, gate), *self._paired(reading, kind, gate)]
        facts = _settled(reading.text, _distinct(facts), kind, reading.layout)
        found = places(reading.spans)
        facts += _located(found)
        tie_places(
            reading.text, [f for f in facts if f.concept not in ("region", "level")], found, reading.layout, kind
        )
        tie_sources(reading.text, facts, reading.layout, kind)
        tie_causes(reading.text, facts)
        tie_qualities(reading.text, facts, reading.spans)
        facts.sort(key=lambda f: (f.start, f.end, f.concept, f.value))
        return tuple(self._mention(text, reading, fact) for fact in facts)

    def said_of(self, text: str, spans: Sequence[tuple[int, int]]) -> tuple[frozenset[str], ...]:
        """What the cues and the section of each of `spans` (offsets into `text`) say of it: assertions by name.

        For measuring the cues on conditions that no concept knows; `mentions` weighs them into one assertion.
        """
        reading = self._pipeline.read(text, spans)
        said: list[frozenset[str]] = [frozenset()] * len(spans)
        for raw in reading.spans:
            if raw.concept == GIVEN:
                cues = reaching(reading.text, raw, reading.stops)
                section = reading.layout.sentences[raw.sentence].section
                said[int(raw.value)] = frozenset(c.cue.says for c in cues) | _SECTION_SAYS.get(section, frozenset())
        return tuple(said)

    def suggestions(self, text: str, mentions: Sequence[Mention]) -> tuple[Suggestion, ...]:
        """The stretches of the note that read like the name of a disease and are in none of `mentions`.

        What the note denies, suspects, plans or says of a relative is not among them. Each code once, the likest first.
        """
        taken = [(m.start, m.end) for m in mentions if m.concept in _NAMED]
        even = chosen(plain(text))
        matches = self._suggester.matches(even, layout(even, self._pipeline.section_of), taken)
        spans = [(match.start, match.end) for match in matches]
        said = self.said_of(text, spans) if spans else ()
        kept: dict[str, Suggestion] = {}
        for match, says in zip(matches, said, strict=True):
            if not not_his(says) and (match.code not in kept or kept[match.code].score < match.score):
                kept[match.code] = Suggestion(
                    concept="disease",
                    start=match.start,
                    end=match.end,
                    text=text[match.start : match.end],
                    code=match.code,
                    title=match.title,
                    alias=match.alias,
                    score=match.score,
                )
        return tuple(sorted(kept.values(), key=lambda s: (-s.score, s.code)))

    def _stated(self, reading: Reading, kind: Kind, gate: Gate) -> list[Fact]:
        """The facts whose words name them."""
        out = []
        elsewhere = _elsewhere(reading.spans)
        purposes: dict[int, list[Raw]] = {}
        for_another: set[str] = set()
        for raw in reading.spans:
            if raw.concept in ("unrelated", "part"):
                purposes.setdefault(raw.sentence, []).append(raw)
        for raw in reading.spans:
            if raw.concept not in self._reported or raw.concept == "level":
                continue
            study = raw.concept == "imaging" and raw.key != _OF_ALL_BONES
            if raw.sentence in elsewhere and (study or raw.key == "mechanism/degenerative"):
                continue
            if gate.closed(raw, raw.start, raw.end) or (study and gate.elsewhere(raw.sentence)):
                continue
            sentence = reading.layout.sentences[raw.sentence]
            if raw.concept == "treatment" and is_for_another(
                reading.text, raw, sentence, purposes.get(raw.sentence, ())
            ):
                for_another.add(reading.text[raw.start : raw.end])
                continue
            assertion = self._stand(reading, kind, raw, raw, base=None)
            if raw.concept == "treatment" and assertion is Assertion.HYPOTHETICAL and gate.astray_plan(raw.sentence):
                continue
            if assertion is not None:
                out.append(
                    Fact(raw.concept, raw.value, raw.start, raw.end, assertion, raw.sentence, heading=raw.heading)
                )
        # A list of medications repeats what the history says a drug is for.
        return [f for f in out if not (for_another and _is_listed_again(reading, f, for_another))]

    def _paired(self, reading: Reading, kind: Kind, gate: Gate) -> list[Fact]:
        """The facts made of a part and what is said of it."""
        by_sentence: dict[int, list[Raw]] = {}
        for raw in reading.spans:
            by_sentence.setdefault(raw.sentence, []).append(raw)
        out = []
        for number, spans in by_sentence.items():
            # "GAIT: normal": the heading names the part of which its first sentence speaks.
            label = by_sentence.get(number - 1, []) if _is_heading(reading.layout, number - 1) else []
            spans = [*(r for r in label if self._pairs.is_part(r)), *spans]
            for said in self._pairs.find(reading.text, spans):
                target = Raw(said.concept, said.value, said.start, said.end, number, said.change.reaches)
                if swallowed(target, spans) or gate.closed(target, said.start, said.end):
                    continue
                assertion = self._stand(reading, kind, target, said.change, base=said.assertion)
                if assertion is not None:
                    out.append(
                        Fact(
                            said.concept, said.value, said.start, said.end, assertion, number,
                            components=(said.part, said.change),
                        )
                    )  # fmt: skip
        return out

    def _stand(
        self, reading: Reading, kind: Kind, raw: Raw, anchor: Raw, *, base: Assertion | None
    ) -> Assertion | None:
        probe = Raw(raw.concept, raw.value, anchor.start, anchor.end, raw.sentence, anchor.reaches)
        cues = [
            c
            for c in reaching(reading.text, probe, reading.stops)
            if not (raw.start < c.end and c.start < raw.end) or base is not None or raw is not anchor
        ]
        sentence = reading.layout.sentences[raw.sentence]
        risk = raw.sentence in reading.risks
        return stand(
            reading.text, probe, cues, sentence, self._defaults, operative=kind.operative, risk=risk, base=base
        )

    def _mention(self, text: str, reading: Reading, fact: Fact) -> Mention:
        return Mention(
            concept=fact.concept,
            value=fact.value,
            assertion=fact.assertion,
            start=fact.start,
            end=fact.end,
            text=text[fact.start : fact.end],
            section=reading.layout.sentences[fact.sentence].section if reading.layout.sentences else "",
            at=fact.at,
            levels=fact.levels,
            seen_on=fact.seen_on,
            due_to=fact.due_to,
            beside=fact.beside,
            qualities=fact.qualities,
            sentence=fact.sentence,
        )


_SECTION_SAYS = {
    "family_history": frozenset({"family"}),
    "past_medical": frozenset({"historical"}),
    "past_surgical": frozenset({"historical"}),
    "social_history": frozenset({"historical"}),
    "allergies": frozenset({"historical"}),
}


_OF_ALL_BONES = "imaging/bone_scan"
"""The study that sees the spine wherever the pain is."""

_NAMED = frozenset({"disease", "finding", "neuro"})
"""Concepts whose words are spoken for: no suggestion is made of them."""


def _is_listed_again(reading: Reading, fact: Fact, for_another: Set[str]) -> bool:
    """Whether `fact` is a drug of the list of medications that the note elsewhere says is for something else."""
    return (
        fact.concept == "treatment"
        and reading.layout.sentences[fact.sentence].section == "medications"
        and reading.text[fact.start : fact.end] in for_another
    )


def _elsewhere(spans: Sequence[Raw]) -> frozenset[int]:
    """The sentences about another part of the body that name neither a place nor a finding of the spine."""
    other = {r.sentence for r in spans if r.key.startswith("part/other_")}
    spine = {
        r.sentence
        for r in spans
        if r.concept in ("region", "level", "ligament", "finding") or (r.concept == "part" and r.value in PLACED_PARTS)
    }
    return frozenset(other - spine)


def _is_heading(layout: Layout, number: int) -> bool:
    """Whether sentence `number` is a heading, not a sentence of its body."""
    if not 0 <= number < len(layout.sentences):
        return False
    sentence = layout.sentences[number]
    return sentence.heading >= 0 and layout.headings[sentence.heading].start == sentence.start


def _spinal_study(reading: Reading, kind: Kind) -> bool:
    """Whether the note is the report of a study of the spine: its head names one."""
    return bool(kind.study) and any(r.concept in ("region", "level") and r.start < 240 for r in reading.spans)


def _distinct(facts: Sequence[Fact]) -> list[Fact]:
    """One fact where a phrase and a pair say the same of the same words: the one stated in one phrase."""
    kept: dict[tuple[str, int], list[Fact]] = {}
    for fact in sorted(facts, key=lambda f: (f.key, len(f.components), f.start - f.end)):
        same = kept.setdefault((fact.key, fact.sentence), [])
        if not any(k.start < fact.end and fact.start < k.end and not _both_said(k, fact) for k in same):
            same.append(fact)
    return [fact for same in kept.values() for fact in same]


def _both_said(one: Fact, other: Fact) -> bool:
    """Whether two things are said of one part, and not the same: "reflexes are 2+ at the knees and absent at the ankles"."""
    if not one.components or not other.components or one.assertion is other.assertion:
        return False
    a, b = one.components[1], other.components[1]
    return a.end <= b.start or b.end <= a.start


# Of one place the note says both: the fracture is the compression fracture, or the defect of the pars.
_MORE_SPECIFIC = {"finding/fracture": ("finding/compression_fracture", "finding/spondylolysis")}
_SPECIFIC = frozenset(key for keys in _MORE_SPECIFIC.values() for key in keys)


# A hedge about a symptom, disease or cause that the note states elsewhere takes nothing back from it.
_OUTWEIGHED = {
    ("neuro", Assertion.UNCERTAIN),
    ("disease", Assertion.UNCERTAIN),
    ("mechanism", Assertion.UNCERTAIN),
}


def _another_event(text: str, denied: Fact, facts: Sequence[Fact], layout: Layout) -> bool:
    """Whether the cause that is denied is another than the one stated: "no injury at work, but an accident in May".

    Right after what happened, or in the examination, it is what came of it that is denied ("she was hit; no injury").
    """
    if layout.sentences[denied.sentence].section == "exam" or text[denied.start : denied.end].startswith("post"):
        return False
    return not any(
        f.key == denied.key
        and f.assertion is Assertion.AFFIRMED
        and f.start < denied.start
        and denied.sentence - f.sentence <= 1
        for f in facts
    )


def _settled(text: str, facts: Sequence[Fact], kind: Kind, layout: Layout) -> list[Fact]:
    """Facts without those another makes idle: a plan that the same report carries out, the general beside its kind."""
    sure = {f.key for f in facts if f.assertion is Assertion.AFFIRMED}
    done = {f.key for f in facts if f.assertion is Assertion.AFFIRMED and f.concept in ("surgery", "treatment")}
    named = {f.assertion for f in facts if f.concept == "surgery" and f.value != "other"}
    special_at: dict[tuple[str, int], list[Fact]] = {}
    for fact in facts:
        if fact.key in _SPECIFIC:
            special_at.setdefault((fact.key, fact.sentence), []).append(fact)
    out = []
    for fact in facts:
        if kind.operative and fact.assertion is Assertion.HYPOTHETICAL and fact.key in done:
            continue
        if fact.key in sure and (fact.concept, fact.assertion) in _OUTWEIGHED:
            continue
        denied = fact.concept == "mechanism" and fact.assertion is Assertion.NEGATED
        if denied and fact.key in sure and not _another_event(text, fact, facts, layout):
            continue
        special = [f for key in _MORE_SPECIFIC.get(fact.key, ()) for f in special_at.get((key, fact.sentence), ())]
        if any(f.start < fact.end and fact.start < f.end for f in special):
            continue
        if fact.key == "surgery/other" and _says_nothing_new(text[fact.start : fact.end], fact.assertion, named):
            continue
        out.append(fact)
    return out


_ANY_OPERATION = re.compile(r"\b(?:surger(?:y|ies)|operations?|(?:surgical|operative) \w+)\b")


def _says_nothing_new(words: str, assertion: Assertion, named: Set[Assertion]) -> bool:
    """Whether "surgery" is only the word for an operation the note names elsewhere, or for none ("no spinal surgery")."""
    if assertion is Assertion.NEGATED:
        return True
    if not _ANY_OPERATION.search(words):
        return False
    if assertion is Assertion.HYPOTHETICAL:
        return bool(named & {Assertion.HYPOTHETICAL, Assertion.AFFIRMED})
    return assertion in named


def _located(found: Sequence[Place]) -> list[Fact]:
    """A fact for each level and each region a level gives."""
    out = []
    for place in found:
        where = (place.start, place.end, Assertion.AFFIRMED, place.sentence)
        out += [Fact("level", level, *where, at=(region_of(level),), levels=(level,)) for level in place.levels]
        if place.levels:
            out += [Fact("region", region, *where, at=(region,), levels=place.levels) for region in place.regions]
    return out
