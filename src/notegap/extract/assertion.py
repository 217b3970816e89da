"""Assertion: how each span stands, from the cues that reach it, its section and the kind of note.

ConText says which cues reach a span within its sentence; here a cue that crosses the clause it belongs to is dropped
("no fracture, osteoporosis noted"), the strongest that is left decides, and where none is left the section does.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from notegap.extract.boundaries import Sentence
from notegap.extract.pipeline import Raw, Reach
from notegap.model import Assertion

_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|shows?|showed|demonstrates?|reveals?|revealed|noted|present|seen|remains?|persists?|reports?|complains?|admits|"
    r"suggests?|measures?|consistent|includ(?:es?|ing))\b",
    re.IGNORECASE,
)
_LIST_WORD = re.compile(r"\b(?:or|nor|any)\b", re.IGNORECASE)
_NEW_SUBJECT = re.compile(
    r",\s+(?:and|but|with|while|then|so)?\s*(?:he|she|they|patient|the patient|there|it|this|these|i|we|his|her|pain|mri|ct|x-?rays?|exam|positive|mild|moderate|severe|known|chronic|stable)\b",
    re.IGNORECASE,
)

# Said of an event, "history of" puts it in the past; said of a lasting condition it does not (LABELS 20).
_EVENTS = frozenset(
    {
        "finding/fracture", "finding/compression_fracture", "finding/ligament_tear", "finding/dislocation", "finding/discitis",
        "finding/osteomyelitis", "finding/fluid_collection", "disease/malignancy", "disease/lymphoma", "disease/multiple_myeloma",
        "disease/tuberculosis", "disease/brucellosis", "disease/typhoid", "disease/other_infection", "neuro/cauda_equina",
    }
)  # fmt: skip
_GONE = re.compile(r"\b(?:resolved|healed|cured|used to)\b", re.IGNORECASE)
_WEAKLY_PAST = re.compile(r"^(?:underwent|undergone|had an?)$", re.IGNORECASE)
_ORDERABLE = frozenset({"treatment", "imaging", "surgery", "procedure", "electrodiagnostic"})
_FLIP = {Assertion.NEGATED: Assertion.AFFIRMED, Assertion.AFFIRMED: Assertion.NEGATED}


def reaching(text: str, raw: Raw, stops: Sequence[tuple[int, int]]) -> list[Reach]:
    """The cues that ConText lets reach `raw` and that its clause lets through.

    `stops` are the offsets of the terminating cues in text order. medspaCy 1.3.1 applies only the first of them: its
    overlap test is false when a scope lies inside the sentence.
    """
    out = []
    for reach in raw.reaches:
        cue = reach.cue
        low, high = (reach.end, raw.start) if reach.end <= raw.start else (raw.end, reach.start)
        first = bisect_left(stops, (low, 0))
        if first < len(stops) and stops[first][1] <= high:
            continue
        if cue.concepts and raw.concept not in cue.concepts:
            continue
        if raw.concept in cue.not_concepts:
            continue
        if cue.says in (Assertion.NEGATED, Assertion.UNCERTAIN, Assertion.HISTORICAL, Assertion.AFFIRMED) and _cut_off(text, raw, reach):
            continue
        if cue.says == Assertion.HYPOTHETICAL and reach.start >= raw.end and _cut_off(text, raw, reach):
            continue
        out.append(reach)
    return out


def _cut_off(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a clause ends between the cue and the span."""
    if reach.end <= raw.start:
        between = text[reach.end : raw.start]
        if "\n\n" in between or _NEW_SUBJECT.search(between + text[raw.start : raw.end + 1]):
            return True
        comma = between.rfind(",")
        if comma < 0:
            return False
        if reach.cue.says == Assertion.HISTORICAL:
            return bool(_VERB.search(between))
        # A comma starts a new clause when what follows has a verb of its own and is no list ("no A, B or C is seen").
        tail = re.split(r"[,;.\n]", text[raw.start : raw.start + 160])[0]
        segment = between[comma + 1 :] + tail
        verb = _VERB.search(segment)
        return bool(verb) and not _LIST_WORD.search(segment) and not _LIST_WORD.search(text[reach.start : reach.end])
    between = text[raw.end : reach.start]
    if reach.start >= raw.end:
        if between.count(",") and not re.match(r"^[\s,\w/-]*(?:,|\bor\b|\band\b)[\s\w/-]*(?:,|\bor\b|\band\b|\bis\b|\bare\b|\bwas\b|\bwere\b)[\s\w/-]*$", between):
            return len(between.split()) > 3
        return reach.cue.says != Assertion.NEGATED and bool(re.search(r"[;:]|\bwith\b|\bbut\b|\band\b.*\b(?:is|are|was)\b", between))
    return False


def stand(
    text: str,
    raw: Raw,
    reaches: Sequence[Reach],
    sentence: Sentence,
    defaults: Mapping[str, Mapping[str, Assertion]],
    *,
    operative: bool,
    base: Assertion | None = None,
) -> Assertion | None:
    """The assertion of `raw`; None when nothing should be said of it (a family history that is denied).

    `base` is what the words themselves say: "sensation intact" is a negated deficit before any cue.
    """
    if raw.concept == "imaging":
        reaches = [r for r in reaches if _about_study(text, raw, r)]
    says = {reach.cue.says for reach in reaches}
    normal = base is Assertion.NEGATED
    section_default = defaults.get(sentence.section, {}).get(raw.concept)
    if "family" in says or section_default is Assertion.FAMILY:
        return None if "negated" in says else Assertion.FAMILY
    if raw.concept in ("region", "level"):
        return Assertion.AFFIRMED
    if raw.concept == "treatment" and sentence.section == "allergies":
        return None
    if raw.concept in _ORDERABLE and "uncertain" in says and "negated" not in says:
        return Assertion.HYPOTHETICAL
    if "hypothetical" in says and "affirmed" not in says and raw.concept not in ("mechanism", "ligament"):
        return Assertion.HYPOTHETICAL
    if normal:
        if "negated" in says and not _only_backward_normal(reaches):
            return Assertion.AFFIRMED
        return Assertion.UNCERTAIN if "uncertain" in says else Assertion.NEGATED
    if "negated" in says:
        return Assertion.NEGATED
    if "uncertain" in says:
        return Assertion.UNCERTAIN
    if base is not None:
        return base
    past = "historical" in says
    if raw.concept == "surgery":
        told = [r for r in reaches if r.cue.says == "historical"]
        if section_default is Assertion.AFFIRMED:
            past = any(not _WEAKLY_PAST.match(text[r.start : r.end]) for r in told)
        return _surgery(past=past, sentence=sentence, default=section_default, operative=operative, says=says)
    if raw.concept == "treatment" and past:
        past = False  # a drug or therapy once tried counts as tried (LABELS 16)
    if past and _is_past(text, raw, reaches):
        return Assertion.HISTORICAL
    if "affirmed" in says:
        return Assertion.AFFIRMED
    return section_default or Assertion.AFFIRMED


def _about_study(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a cue speaks of the study being done, not of what it shows ("x-rays were normal", "MRI suggests")."""
    if reach.cue.says == Assertion.UNCERTAIN:
        return False
    near = len(text[reach.end : raw.start].split()) if reach.end <= raw.start else len(text[raw.end : reach.start].split())
    if reach.cue.says == Assertion.NEGATED:
        return reach.end <= raw.start and near <= 3
    if reach.cue.says == Assertion.HYPOTHETICAL:
        word = text[reach.start : reach.end].lower()
        return bool(reach.cue.concepts) and not word.startswith(("discuss", "explain"))
    return True


def _only_backward_normal(reaches: Sequence[Reach]) -> bool:
    return all(r.cue.direction == "backward" for r in reaches if r.cue.says == "negated")


def _is_past(text: str, raw: Raw, reaches: Sequence[Reach]) -> bool:
    if raw.key in _EVENTS:
        return True
    if raw.concept in ("imaging", "mechanism", "region", "level", "ligament"):
        return False
    return any(
        r.cue.says == "historical" and _GONE.search(text[r.start : r.end]) is not None for r in reaches
    )


def _surgery(
    *, past: bool, sentence: Sentence, default: Assertion | None, operative: bool, says: set[str]
) -> Assertion:
    """An operation is this one in its own report or under "Procedure", else one of the past unless planned."""
    if past or default is Assertion.HISTORICAL:
        return Assertion.HISTORICAL
    if default is not None and "affirmed" not in says:
        return default
    if operative or sentence.section in ("procedure", "operation"):
        return Assertion.AFFIRMED
    return Assertion.HISTORICAL
