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
    r",\s+(?:and|but|with|while|then|so)?\s*(?:he|she|they|patient|the\s+patient|there|it|this|these|i|we|his|her|pain|mri|ct|x-?rays?|exam|positive|mild|moderate|severe|known|chronic|stable)\b",
    re.IGNORECASE,
)
# "1) esophagitis s/p biopsy 2) hernia"
_NEXT_ITEM = re.compile(r"(?:^|\s)\(?\d{1,2}\)\s")

# Said of an event, "history of" puts it in the past; said of a lasting condition it does not (LABELS 20).
_EVENTS = frozenset(
    {
        "finding/fracture", "finding/compression_fracture", "finding/ligament_tear", "finding/dislocation", "finding/discitis",
        "finding/osteomyelitis", "finding/fluid_collection", "disease/malignancy", "disease/lymphoma", "disease/multiple_myeloma",
        "disease/tuberculosis", "disease/brucellosis", "disease/typhoid", "disease/other_infection", "neuro/cauda_equina",
    }
)  # fmt: skip
_GONE = re.compile(r"\b(?:resolved|healed|cured|used to)\b", re.IGNORECASE)
_TOLD = frozenset({"hpi", "past_medical", "chief_complaint", "ros", "social_history", "course", "medications", "treatment"})
_DONE = re.compile(r"^(?:was |were |being |been )?(?:prescribed|started|ordered|given|recommended|referred|requested|offered)", re.IGNORECASE)
_RESULT_AFTER = re.compile(
    r"^(?:\s?scans?|\s?films?|\s?studies|\s?images|\s?reports?|\s?results?|\s?findings?|\s?of the [a-z ]{3,24}?|\s?done|\s?today|\s?obtained|\s?from [\w/, ]{3,20})*,?\s*(?:today\s)?(?:(?:did|does|do)(?: not|n't)?\s)?"
    r"(?:show|reveal|demonstrat|findings|results|was normal|were normal|is normal|unremarkable|was read|were read|read as|report(?:ed)? (?:as|show)|confirm|suggest|negative|was negative|were negative|was unremarkable|were unremarkable|(?:was|were) reviewed)",
    re.IGNORECASE,
)
_RESULT_BEFORE = re.compile(r"\b(?:review(?:ed|ing)?(?: of)?|on|per|by|following|recent|results of|examination and)\s+(?:(?:the|his|her|their|outside|recent|prior|patient's|today's|own|a)\s+)*$", re.IGNORECASE)
_WEAKLY_PAST = re.compile(r"^(?:underwent|undergone|had an?)$", re.IGNORECASE)
_ORDERABLE = frozenset({"treatment", "imaging", "surgery", "procedure", "electrodiagnostic"})
# Where something is, or how it was looked at: a denial in the sentence is not of these.
_HAD = re.compile(r"\b(?:had|failed|after|completed|tried|following|underwent|despite)\b[^.;:\n]{0,45}$", re.IGNORECASE)
_PLAIN = frozenset({"region", "level", "nerve_site", "canal_named", "study_named", "body_site"})
_RECENT = re.compile(r"\b(?:minutes?|hours?|hrs?|days?|nights?|weeks?|wks?)\s+(?:ago|earlier|before|back|prior|previously)\b", re.IGNORECASE)
_LONG_REACH = 7
"""Words after which a negation without any comma no longer crosses a verb (dictation without punctuation)."""
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
        if reach.cue.says == Assertion.HISTORICAL and _NEXT_ITEM.search(between):
            return True
        comma = between.rfind(",")
        if comma < 0:
            # Run-on dictation: "no fall strength is full my diagnosis is hypertrophy".
            words = between.split()
            return reach.cue.says == Assertion.NEGATED and len(words) > _LONG_REACH and bool(_VERB.search(between))
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
    risk: bool = False,
    base: Assertion | None = None,
) -> Assertion | None:
    """The assertion of `raw`; None when nothing should be said of it (a family history that is denied).

    `risk`: the sentence names the risks of a procedure (LABELS 21).
    `base` is what the words themselves say: "sensation intact" is a negated deficit before any cue.
    """
    if raw.concept == "imaging":
        if _has_result(text, raw):
            return Assertion.AFFIRMED
        reaches = [r for r in reaches if _about_study(text, raw, r)]
    if raw.concept == "mechanism":
        if any(r.cue.says == "hypothetical" for r in reaches):
            return None  # a mechanism that only might come about brought nothing about
        reaches = [r for r in reaches if _about_mechanism(text, raw, r)]
    if raw.concept == "treatment" and sentence.section in _TOLD:
        reaches = [r for r in reaches if not (r.cue.says == "hypothetical" and _DONE.match(text[r.start : r.end]))]
    if raw.concept == "treatment":
        reaches = [r for r in reaches if not _was_trial(text, r)]
    says = {reach.cue.says for reach in reaches}
    normal = base is Assertion.NEGATED
    section_default = defaults.get(sentence.section, {}).get(raw.concept)
    if "family" in says or section_default is Assertion.FAMILY:
        return None if "negated" in says else Assertion.FAMILY
    if raw.concept in _PLAIN:
        return Assertion.AFFIRMED
    if raw.concept == "treatment" and sentence.section == "allergies":
        return None
    if raw.concept in _ORDERABLE and "uncertain" in says and "negated" not in says:
        return Assertion.HYPOTHETICAL
    if risk and raw.concept in ("finding", "neuro", "disease", "surgery"):
        return Assertion.HYPOTHETICAL
    if "hypothetical" in says and "affirmed" not in says and raw.concept != "ligament":
        return _planned(raw, reaches, says)
    if normal:
        if any(_undoes(text, raw, reach) for reach in reaches):
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
        told = [r for r in reaches if r.cue.says == "historical" and not _GONE.search(text[r.start : r.end])]
        past = bool(told)
        if section_default is Assertion.AFFIRMED:
            past = any(not _WEAKLY_PAST.match(text[r.start : r.end]) for r in told)
        return _surgery(past=past, sentence=sentence, default=section_default, operative=operative, says=says)
    if raw.concept == "treatment" and past:
        past = False  # a drug or therapy once tried counts as tried (LABELS 16)
    if past and _is_past(text, raw, reaches):
        return Assertion.HISTORICAL
    if raw.key in _EVENTS and raw.concept == "disease" and sentence.section in ("past_medical", "past_surgical"):
        return Assertion.HISTORICAL
    if "affirmed" in says:
        return Assertion.AFFIRMED
    return section_default or Assertion.AFFIRMED


def _was_trial(text: str, reach: Reach) -> bool:
    """Whether "trial of" tells of one that is over: "he had therapy and a trial of naproxen"."""
    return text[reach.start : reach.end].lower() == "trial of" and bool(_HAD.search(text[max(0, reach.start - 60) : reach.start]))


def _about_study(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a cue speaks of the study being done, not of what it shows ("x-rays were normal", "MRI suggests")."""
    if reach.cue.says == Assertion.UNCERTAIN:
        return False
    near = len(text[reach.end : raw.start].split()) if reach.end <= raw.start else len(text[raw.end : reach.start].split())
    if reach.cue.says == Assertion.NEGATED:
        return reach.end <= raw.start and near <= 3
    if reach.cue.says == Assertion.HYPOTHETICAL:
        word = text[reach.start : reach.end].lower()
        return bool(reach.cue.concepts) and "discuss" not in word and "referred" not in word
    return True


def _has_result(text: str, raw: Raw) -> bool:
    """Whether the words around a study tell what it showed, so that it was done."""
    after, before = text[raw.end : raw.end + 70], text[max(0, raw.start - 40) : raw.start]
    return bool(_RESULT_AFTER.match(after) or _RESULT_BEFORE.search(before))


def _about_mechanism(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a cue denies or hedges the event itself ("no injury"), not something about it ("did not walk after the
    accident", "no other injury")."""
    if reach.cue.says not in (Assertion.NEGATED, Assertion.UNCERTAIN):
        return True
    if reach.start >= raw.end:
        return True
    gap = text[reach.end : raw.start]
    return len(gap.split()) <= 6 and not re.search(r"\b(?:other|after|following|since|head|prior to|before)\b", gap, re.IGNORECASE)


def _planned(raw: Raw, reaches: Sequence[Reach], says: set[str]) -> Assertion:
    """A plan that is denied is denied ("no need for surgery"), a hedge next to the word outweighs a plan far from it."""
    ahead = [r for r in reaches if r.end <= raw.start]
    plan = max((r.start for r in ahead if r.cue.says == "hypothetical"), default=raw.start)
    if raw.concept in _ORDERABLE and any(r.cue.says == "negated" and r.start <= plan for r in ahead):
        return Assertion.NEGATED
    nearest = max(ahead, key=lambda r: r.end, default=None)
    if nearest is not None and nearest.cue.says == "uncertain" and raw.concept not in _ORDERABLE:
        return Assertion.UNCERTAIN
    return Assertion.HYPOTHETICAL


def _undoes(text: str, raw: Raw, reach: Reach) -> bool:
    """Whether a denial stands right before the word that says normal: "not intact", "no longer well preserved".

    One farther off denies something else: "no spurs, foramina open".
    """
    if reach.cue.says != Assertion.NEGATED or reach.cue.direction == "backward" or reach.end > raw.start:
        return False
    between = text[reach.end : raw.start]
    return len(between.split()) <= 2 and not re.search(r"[,;:]", between)


def _is_past(text: str, raw: Raw, reaches: Sequence[Reach]) -> bool:
    if raw.key in _EVENTS:
        told = [r for r in reaches if r.cue.says == "historical"]
        if told and all(_RECENT.search(text[max(0, r.start - 12) : r.end + 1]) for r in told):
            return False  # "two hours ago" is now
        return not any(
            r.start >= raw.end and re.search(r"\b(?:diagnosed|onset|began|started|since)\b", text[raw.end : r.start], re.IGNORECASE)
            for r in reaches
        )
    if raw.concept in ("imaging", "mechanism", "region", "level", "ligament", "course"):
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
