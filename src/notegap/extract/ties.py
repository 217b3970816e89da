"""Ties: which region and levels a mention belongs to, how it was found, and what the note names as its cause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from notegap.extract.boundaries import Layout
from notegap.extract.kind import Kind
from notegap.extract.pipeline import Raw
from notegap.extract.refine.level import region_of
from notegap.model import REGIONS, Assertion


@dataclass(slots=True)
class Fact:
    """A mention in the making. `key` is the name rules use for it: concept/value."""

    concept: str
    value: str
    start: int
    end: int
    assertion: Assertion
    sentence: int
    at: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    seen_on: tuple[str, ...] = ()
    due_to: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    heading: bool = False
    components: tuple[Raw, ...] = field(default=())
    key: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = f"{self.concept}/{self.value}"


@dataclass(frozen=True, slots=True)
class Place:
    """A place named in the note: one or more levels, or a region."""

    start: int
    end: int
    levels: tuple[str, ...]
    regions: tuple[str, ...]
    heading: bool
    sentence: int


_AT = re.compile(
    r"(?:\b(?:at|of|in|from|involving|across|to|over|within|on|level|levels|between|for|noticeably|especially|worst|worse|mainly|particularly|left|right|bilaterally|bilateral|both)\b|[(@:,])\s*(?:the\s+|both\s+|level\s+of\s+|level\s+)?$",
)
_LISTED = re.compile(
    r"^[\s,/&()-]*(?:(?:and|or|as well as|plus|to a lesser (?:extent|degree) (?:at|in)?|also|at|the|in|level|levels|upper|lower|mid|spines?|regions?|vertebra[el]?|noticeably|especially|mainly|worst|worse|lesser|extent)\b[\s,/&()-]*){0,5}$",
)


def places(spans: Sequence[Raw]) -> list[Place]:
    """Every level and region of the note, in text order."""
    out = []
    for raw in spans:
        if raw.concept == "level":
            regions = tuple(dict.fromkeys(region_of(level) for level in raw.levels))
            out.append(Place(raw.start, raw.end, raw.levels, regions, raw.heading, raw.sentence))
        elif raw.concept == "region" and raw.value in REGIONS:
            out.append(Place(raw.start, raw.end, (), (raw.value,), raw.heading, raw.sentence))
    return out


def tie_places(text: str, facts: Sequence[Fact], found: Sequence[Place], layout: Layout, kind: Kind) -> None:
    """Set `at` and `levels` of every fact: sentence first, then its label, its heading, the study, the only region."""
    by_sentence: dict[int, list[Place]] = {}
    for place in found:
        by_sentence.setdefault(place.sentence, []).append(place)
    title = _study_place(found, layout)
    inherited = _inherited(text, found, layout, report=bool(kind.study and title))
    every = {r for p in found for r in p.regions}
    told: dict[int, list[Fact]] = {}
    for fact in facts:
        if fact.concept in ("finding", "surgery"):
            told.setdefault(fact.sentence, []).append(fact)
    for fact in facts:
        here = by_sentence.get(fact.sentence, [])
        chosen = _nearest(text, fact, here, told.get(fact.sentence, ())) if here else []
        if not chosen:
            chosen = inherited.get(fact.sentence, [])
        if (
            not chosen
            and (kind.study or layout.sentences[fact.sentence].section in ("imaging", "impression", "technique"))
            and title
        ):
            chosen = title
        if not chosen and len(every) == 1 and fact.concept != "disease":
            fact.at = tuple(every)
            continue
        levels = [level for place in chosen for level in place.levels]
        regions = [r for place in chosen for r in place.regions]
        fact.levels = tuple(dict.fromkeys(levels))
        fact.at = tuple(sorted(set(regions), key=REGIONS.index))


def _gap(text: str, fact: Fact, place: Place) -> tuple[int, str]:
    if place.end <= fact.start:
        between = text[place.end : fact.start]
    elif place.start >= fact.end:
        between = text[fact.end : place.start]
    else:
        return 0, ""
    return len(between.split()), between


def _nearest(text: str, fact: Fact, here: Sequence[Place], others: Sequence[Fact]) -> list[Place]:
    """The places of the fact's own sentence that it belongs to: the nearest group, and all of a listing.

    `others` are the findings and operations of the sentence, the fact itself among them.
    """
    groups: list[list[Place]] = []
    for place in here:
        if groups and _LISTED.match(text[groups[-1][-1].end : place.start]):
            groups[-1].append(place)
        else:
            groups.append([place])
    if len(groups) == 1 or len(others) <= 1:
        return (
            [p for g in groups for p in g]
            if len(others) <= 1 and _one_clause(text, fact, groups)
            else groups[0]
            if len(groups) == 1
            else _best(text, fact, groups)
        )
    return _best(text, fact, groups)


def _one_clause(text: str, fact: Fact, groups: Sequence[Sequence[Place]]) -> bool:
    start = min(fact.start, groups[0][0].start)
    end = max(fact.end, groups[-1][-1].end)
    return ";" not in text[start:end] and end - start < 240


def _best(text: str, fact: Fact, groups: Sequence[list[Place]]) -> list[Place]:
    best: tuple[float, list[Place]] | None = None
    for group in groups:
        nearest = min(group, key=lambda p: _gap(text, fact, p)[0])
        n, between = _gap(text, fact, nearest)
        cost = float(n)
        if nearest.end <= fact.start and _WHERE.match(between):
            return [nearest]  # "worst at L4-5, where the canal is narrow"
        if nearest.start >= fact.end:
            introduced = not between.strip() or _AT.search(text[max(fact.end, group[0].start - 24) : group[0].start])
            cost += -2.0 if introduced else 2.5
        elif nearest.end <= fact.start:
            cost += -0.5
        cost += (
            4.0 * between.count(";") + 1.0 * between.count(",") + 3.0 * len(re.findall(r"\bbut\b|\bwith no\b", between))
        )
        if best is None or cost < best[0]:
            best = (cost, group)
    return _finer(best[1], groups) if best else []


def _finer(group: list[Place], groups: Sequence[list[Place]]) -> list[Place]:
    """The levels that the sentence names within the region chosen, if it names them once: "cervical fusion C5-6"."""
    regions = {r for p in group for r in p.regions}
    levels = [g for g in groups if g is not group and any(p.levels for p in g)]
    if any(p.levels for p in group) or len(levels) != 1 or not {r for p in levels[0] for r in p.regions} <= regions:
        return group
    return levels[0]


_WHERE = re.compile(r"^[\s,]*(?:levels?[\s,]*)?(?:where|at which)\b")
# A line of a report that goes on with the line before it, and one that speaks of the whole study.
_GOES_ON = re.compile(
    r"^[\W_]*(?:[a-z]+ly )?(?:[a-z]+ing\b|with\b|and\b|which\b|causing|this\b|these\b|it\b|there is also|also\b|resulting|results?\b|associated\b|plus\b)",
)
_WHOLE = re.compile(
    r"^[\W_]*(?:(?:there (?:is|are)|rest of|the|otherwise|remaining)\s+)*(?:no\b|nil\b|without|normal|adequate|multi-?level|multiple|features?\b|spinal canal|(?:the )?(?:bony )?spinal|diffuse multi|"
    r"de[ns]?h?ydrat\w+|d[ei]s+i[cs]+at\w+|degenerat\w+|loss of|straighten\w*|mild scolio\w*|scolio\w*|rest\b|other\b|unremarkable|intact|preserved)",
)


def _inherited(text: str, found: Sequence[Place], layout: Layout, *, report: bool) -> dict[int, list[Place]]:
    """The places a sentence without its own inherits: its line's label or heading, or the level opened before it."""
    out: dict[int, list[Place]] = {}
    by_sentence: dict[int, list[Place]] = {}
    for place in found:
        by_sentence.setdefault(place.sentence, []).append(place)
    current: list[Place] = []
    current_section: tuple[str, int] | None = None
    labelled, line = False, -1  # whether `current` is a label ("L4-5:"); the line read last
    for number, sentence in enumerate(layout.sentences):
        here = by_sentence.get(number, [])
        is_heading = sentence.heading >= 0 and layout.headings[sentence.heading].start == sentence.start
        if is_heading:
            current = list(here)
            labelled = bool(here)
            current_section = (sentence.section, sentence.heading)
            continue
        if current_section is not None and (sentence.section, sentence.heading) != current_section:
            current = []
        current_section = (sentence.section, sentence.heading)
        body = text[sentence.start : sentence.end]
        if "\n\n" in text[max(0, sentence.start - 2) : sentence.start]:
            current = [p for p in current if p.heading]
        lead = [p for p in here if len(text[sentence.start : p.start].split()) <= 3]
        if (
            report
            and not here
            and sentence.line != line
            and not labelled
            and _WHOLE.match(body)
            and not _GOES_ON.match(body)
        ):
            current = []  # in a report a line of its own that names no level is said of the study
        line = sentence.line
        if current and not here:
            out[number] = current
        if lead and len(body.split()) > 1:
            current = lead
            labelled = text[lead[-1].end : lead[-1].end + 3].strip().startswith((":", "-", "="))
        elif here:
            current, labelled = here, False
    return out


def _study_place(found: Sequence[Place], layout: Layout) -> list[Place]:
    """The region in the title of the study: the first heading, or the first line."""
    first = [p for p in found if p.heading and not p.levels]
    if first:
        return first[:1]
    return [p for p in found if p.sentence == 0 and not p.levels][:1]


# ── how it was found ────────────────────────────────────────────────────────────────────────────


def tie_sources(text: str, facts: Sequence[Fact], layout: Layout, kind: Kind) -> None:
    """Set `seen_on`: the imaging named in the sentence, else the section's, else the study's, else the one running."""
    images = [f for f in facts if f.concept == "imaging" and f.assertion is Assertion.AFFIRMED]
    by_sentence: dict[int, list[Fact]] = {}
    for image in images:
        by_sentence.setdefault(image.sentence, []).append(image)
    running: tuple[str, ...] = ()
    labelled = -1  # the label that names a picture: "Standing films today: …" within an examination
    last: tuple[str, int] | None = None
    per_sentence: dict[int, tuple[str, ...]] = {}
    for number, sentence in enumerate(layout.sentences):
        here = by_sentence.get(number, [])
        if last is not None and (
            sentence.section != last[0] or "\n\n" in text[max(0, sentence.start - 2) : sentence.start]
        ):
            running = ()
        last = (sentence.section, sentence.heading)
        if here:
            running = tuple(dict.fromkeys(f.value for f in here))
            labelled = sentence.heading if any(f.heading for f in here) else -1
        source: tuple[str, ...] = ()
        if sentence.section in ("operation",) or (
            kind.operative and sentence.section in ("procedure", "postop_diagnosis")
        ):
            source = ("operation",)
        elif here:
            source = running
        elif sentence.section in ("imaging", "impression", "technique", "exam_study") and (running or kind.study):
            source = running or (kind.study,)
        elif kind.study and sentence.section not in ("indication", "hpi", "plan"):
            source = (kind.study,)
        elif sentence.section == "exam":
            source = running if running and sentence.heading == labelled >= 0 else ("exam",)
        elif running and sentence.section in ("hpi", "", "imaging"):
            source = running
        per_sentence[number] = source
    for fact in facts:
        if fact.concept != "imaging":
            fact.seen_on = per_sentence.get(fact.sentence, ())


# ── what causes what ────────────────────────────────────────────────────────────────────────────

_EFFECT_FIRST = re.compile(
    r"\b(?:due to|secondary to|caused by|because of|as a (?:result|consequence|complication|manifestation) of|resulting from|result of|consequence of|attribut(?:ed|able|ing)\b[^.;]{0,20}? to|"
    r"owing to|on the basis of|on account of|related to|produced by|explained by|driven by|arising from|stemming from|stems from|comes from|ascribed to|"
    r"brought about by|brought on by|induced by|manifestation of|complicating|complication of|of mixed origin|following|after|traced to|put down to|the product of|from|by|2/2|d/t|"
    r"in keeping with known|of \w+ origin)\b",
)
_CAUSE_FIRST = re.compile(
    r"\b(?:caus(?:es|ed|ing)|produc(?:es|ed|ing)|result(?:s|ed|ing)? in|lead(?:s|ing)? to|led to|giv(?:es|en|ing) rise to|gave rise to|with (?:resultant|resulting|consequent|secondary)|"
    r"contribut(?:es|ed|ing)|(?:is|are|was|were) responsible for|account(?:s|ed|ing)? for|explain(?:s|ed|ing)?|has narrowed|have narrowed|narrow(?:s|ing)|compress(?:es|ing)|encroach(?:es|ing)|pinch(?:es|ed|ing)|"
    r"effac(?:es|ing)|indent(?:s|ing)|creat(?:es|ed|ing)|generat(?:es|ed|ing)|bring(?:s|ing)? about|the cause of|thereby|and hence|consequently|crowd(?:s|ing)|clos(?:es|ing) (?:down|off)|closing|"
    r"reduc(?:es|ed|ing)|tak(?:es|ing) away|encroached|squeez(?:es|ed|ing)|obliterat(?:es|ing))\b",
)
_BESIDE = re.compile(
    r"\b(?:associated with|accompanied by|along with|together with|in association with|in combination with|alongside|coexist\w*|concomitant|in (?:a|an|the) (?:patient|setting|context)|in conjunction with)\b",
)
_ADJECTIVE = re.compile(r"(?:ic|ous|al|ar)$")
# Between the adjective and its noun stand other adjectives, no person and no joining word: "diabetic patient with kyphosis".
_OF_ONE_NAME = re.compile(
    r"\s(?:(?:insufficiency|compression|fragility|pathologic(?:al)?|vertebral|spinal|sacral|lumbar|thoracic|cervical|wedge|burst)\s){0,2}$",
)
_CAUSES = frozenset({"finding", "disease", "mechanism", "surgery", "ligament", "disorder", "course"})
_EFFECTS = frozenset({"finding", "neuro", "disorder", "ligament"})


def tie_causes(text: str, facts: Sequence[Fact]) -> None:
    """Set `due_to` and `beside` within each sentence, by the words between cause and effect."""
    by_sentence: dict[int, list[Fact]] = {}
    for fact in facts:
        if fact.concept in _CAUSES | _EFFECTS:
            by_sentence.setdefault(fact.sentence, []).append(fact)
    for group in by_sentence.values():
        for effect in group:
            if effect.concept not in _EFFECTS:
                continue
            due, beside = [], []
            for cause in group:
                if cause is effect or cause.concept not in _CAUSES or cause.key == effect.key:
                    continue
                relation = _relation(text, effect, cause)
                if relation == "due":
                    due.append(cause.key)
                elif relation == "beside":
                    beside.append(cause.key)
            effect.due_to = tuple(dict.fromkeys([*effect.due_to, *due]))
            effect.beside = tuple(dict.fromkeys([*effect.beside, *beside]))


def _relation(text: str, effect: Fact, cause: Fact) -> str:
    if effect.end <= cause.start:
        between = text[effect.end : cause.start]
        if len(between) > 160 or ";" in between:
            return ""
        match = _EFFECT_FIRST.search(between)
        if match and not _CAUSE_FIRST.search(between[: match.start()]):
            return "due" if len(between[match.end() :].split()) <= 12 else ""
        return "beside" if _BESIDE.search(between) else ""
    if cause.end <= effect.start:
        between = text[cause.end : effect.start]
        if len(between) > 200 or ";" in between:
            return ""
        joined = between + text[effect.start : effect.end]
        if _CAUSE_FIRST.search(joined) and not _EFFECT_FIRST.search(between):
            return "due"
        # "Osteoporotic insufficiency fracture": the adjective names the cause.
        if (
            cause.concept == "disease"
            and _ADJECTIVE.search(text[cause.start : cause.end])
            and _OF_ONE_NAME.match(between)
        ):
            return "due"
        return "beside" if _BESIDE.search(between) else ""
    return "due" if cause.concept in ("disease", "mechanism") and effect.concept in ("finding", "disorder") else ""


# ── adjectives ──────────────────────────────────────────────────────────────────────────────────


def tie_qualities(text: str, facts: Sequence[Fact], spans: Sequence[Raw]) -> None:
    """Set `qualities`: the adjectives within the fact, or beside it in its own phrase."""
    by_sentence: dict[int, list[Raw]] = {}
    for raw in spans:
        if raw.concept == "quality":
            by_sentence.setdefault(raw.sentence, []).append(raw)
    for fact in facts:
        found = []
        for raw in by_sentence.get(fact.sentence, ()):
            if raw.start >= fact.start and raw.end <= fact.end:
                found.append(raw.value)
                continue
            between = text[raw.end : fact.start] if raw.end <= fact.start else text[fact.end : raw.start]
            reach = 6 if raw.end <= fact.start else 5
            if (
                len(between.split()) <= reach
                and not re.search(r"[;:]|\b(?:but|no|without|and no)\b", between)
                and between.count(",") <= 1
            ):
                found.append(raw.value)
        fact.qualities = tuple(dict.fromkeys(found))
