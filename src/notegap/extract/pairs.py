"""Pairs: a part and what is said of it, in one sentence, make a fact ("exit canals encroached bilaterally").

Each thing said looks for the parts it can be said of: the nearest group on its left or right, whichever the grammar
between favours, and every part listed with it ("hypertrophy of the facet joints and ligamenta flava").
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from notegap.extract.pipeline import Raw
from notegap.model import Assertion, Knowledge

MAX_WORDS = 14
"""Words allowed between a part and what is said of it."""

_LISTING = re.compile(
    r"^[\s,/&()-]*(?:(?:and|or|nor|as well as|plus|with|of|the|both|its|their|right|left|rt|lt|bilateral(?:ly)?|b/l|anterior|posterior|upper|lower|"
    r"mild|moderate|severe|mildly|moderately|adjacent|adjoining|surrounding|associated|joints?|spinal|also|either|neither|any|no|significant|"
    r"underlying|corresponding|respective|exiting|traversing|descending|central|neural|to|pin ?prick|light touch|in|at|levels?|level's|nerve|"
    r"[ctls]\d{1,2}(?:\s?[-/]\s?[ctls]?\d{1,2})?)\b[\s,/&()-]*){0,7}$",
)
_OF = re.compile(
    r"^\s*(?:of|in|to|on|upon|at|within|involving|affecting|across|along|about|around|over|into|against|for|from|through|between)\b",
)
_COPULA = re.compile(
    r"\b(?:is|are|was|were|be|been|being|appears?|appeared|remains?|remained|seems?|looks?|measures?|shows?|showed|demonstrates?|demonstrated|"
    r"with|has|have|had|exhibits?|reveals?|revealed|noted|found|seen|reads?|becomes?|became)\b|[:=]",
)
_BARRIER = re.compile(
    r"[;]|\b(?:but|however|although|though|whereas|while|except|until)\b|\bno evidence\b|\band (?:this|these|it|there|he|she)\b"
    r"|\band (?:the|a|an|his|her) (?:\w+ ){1,3}?(?:is|are|was|were|shows?|has|have|causes?|caused)\b",
)
# "and" alone joins two things said; it does not say the second of the part before it.
_JOINS = re.compile(r"^\s*(?:,\s*)?(?:and|&|plus|or|with)\s*$")
_BE = re.compile(r"\b(?:is|are|was|were|be|been|being|appears?|remains?)\b[\w\s]{0,30}$")
_WHERE = re.compile(r"^\s*(?:in|at|within|inside|along|near|by)\b")


# A sign of presence or absence. It stands for the word it touches, before a word ("pain, (-) SLR") or after ("SLR (-)").
_SIGN = re.compile(r"\([-+]\)|\(neg\)|[-+] ?ve|[-+]|neg(?:ative)?|pos(?:itive)?")
_FIRST = re.compile(r"(?:^|[,;:.(\n*]|\b(?:and|or|but|with))\s*$")
_ITS_WORD = re.compile(
    r"\s?(?!(?:bilat\w*|b/?l|for|in|on|at|to|of|or|and|throughout|today|[lrb]|left|right|both|x|test|sign)\b)[a-z]",
)


@dataclass(frozen=True, slots=True)
class Said:
    """A fact made of a part and what is said of it."""

    concept: str
    value: str
    part: Raw
    change: Raw
    assertion: Assertion | None

    @property
    def start(self) -> int:
        """Where the fact begins in the note."""
        return min(self.part.start, self.change.start)

    @property
    def end(self) -> int:
        """Where the fact ends in the note."""
        return max(self.part.end, self.change.end)


class PairRules:
    """All `pairs` of the knowledge, indexed by what is said."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._rules: dict[str, dict[str, list[tuple[str, str, Assertion | None]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for concept in knowledge.concepts.values():
            for value in concept.values.values():
                for pair in value.pairs:
                    for says in pair.says:
                        for part in pair.part:
                            self._rules[says][part].append((concept.name, value.name, pair.assertion))
        self.parts: frozenset[str] = frozenset(p for rules in self._rules.values() for p in rules)
        self._part_concepts = frozenset({"part", *(p.removesuffix("/*") for p in self.parts if p.endswith("/*"))})
        self.says: frozenset[str] = frozenset(self._rules)

    def of(self, change: Raw, part: Raw) -> Sequence[tuple[str, str, Assertion | None]]:
        """What the pair means: (concept, value, assertion) for each rule that names it."""
        rules: Mapping[str, list[tuple[str, str, Assertion | None]]] = self._rules.get(change.key, {})
        return [*rules.get(part.key, ()), *rules.get(f"{part.concept}/*", ())]

    def is_part(self, raw: Raw) -> bool:
        """Whether anything can be said of it."""
        return raw.concept in self._part_concepts or raw.key in self.parts

    def find(self, text: str, spans: Iterable[Raw]) -> list[Said]:
        """The facts that the spans of one sentence make."""
        spans = sorted(spans, key=lambda r: (r.start, -r.end))
        parts = [r for r in spans if self.is_part(r)]
        changes = [r for r in spans if r.key in self.says]
        if not parts or not changes:
            return []
        groups = _groups(text, parts, changes)
        out: list[Said] = []
        for change in changes:
            out.extend(s for s in self._said(text, change, groups) if not _signed(text, change, s.part, changes))
        return _unique(out)

    def _said(self, text: str, change: Raw, groups: list[list[Raw]]) -> list[Said]:
        best: tuple[float, list[Raw]] | None = None
        elsewhere: float | None = None  # how near a part of another region of the body is
        for group in groups:
            members = [p for p in group if not _overlap(p, change) or _one_word(p, change)]
            fits = [p for p in members if self.of(change, p)]
            if not fits and not all(p.value.startswith("other_") for p in members):
                continue
            cost = _cost(text, change, members) if members else None
            if cost is None:
                continue
            if not fits:
                elsewhere = cost if elsewhere is None else min(cost, elsewhere)
            elif best is None or cost < best[0]:
                best = (cost, fits)
        if best is None:
            return []
        # "sensation is decreased over the foot" is said of sensation; "the meniscus is torn, the discs not" of the knee.
        near = elsewhere is not None and elsewhere < best[0]
        return [
            Said(concept, value, part, change, assertion)
            for part in best[1]
            for concept, value, assertion in self.of(change, part)
            if not (near and concept == "finding")
        ]


_SIGNS = frozenset({"change/positive", "change/negative"})


def is_sign(words: str) -> bool:
    """Whether `words` are a sign of presence or absence and nothing more."""
    return _SIGN.fullmatch(words) is not None


def leads(text: str, start: int, end: int) -> bool:
    """Whether the sign at `start` to `end` ("(-)", "+", "neg") stands first in its entry, before the word it is of."""
    return bool(
        _SIGN.fullmatch(text, start, end)
        and _FIRST.search(text, max(0, start - 12), start)
        and _ITS_WORD.match(text, end)
    )


def _signed(text: str, change: Raw, part: Raw, changes: Sequence[Raw]) -> bool:
    """Whether `part` has its own sign and `change` is the sign of the next entry: "SLR -ve, stenosis +ve", "SLR, (+) FABER"."""
    if change.key in _SIGNS and part.end <= change.start and leads(text, change.start, change.end):
        return True
    return change.key in _SIGNS and any(
        c.key in _SIGNS and part.end <= c.start < c.end <= change.start and "," in text[c.end : change.start]
        for c in changes
    )


def _one_word(a: Raw, b: Raw) -> bool:
    """Whether one word names the part and says what is said of it: "nonradiating", "SILT"."""
    return (a.start, a.end) == (b.start, b.end)


def _overlap(a: Raw, b: Raw) -> bool:
    return a.start < b.end and b.start < a.end


def _groups(text: str, parts: Sequence[Raw], changes: Sequence[Raw]) -> list[list[Raw]]:
    """Parts listed together: only listing words between them, and nothing said in between."""
    groups: list[list[Raw]] = []
    for part in parts:
        if groups:
            last = max(groups[-1], key=lambda r: r.end)
            between = text[last.end : part.start]
            interrupted = any(last.end <= c.start and c.end <= part.start for c in changes)
            listed = not interrupted and _LISTING.match(between) and not _has_own(text, groups[-1], part, changes)
            if part.start < last.end or listed:
                groups[-1].append(part)
                continue
        groups.append([part])
    return groups


def _has_own(text: str, group: Sequence[Raw], part: Raw, changes: Sequence[Raw]) -> bool:
    """Whether `group` is what a change before it is said of, and `part` has a change of its own right behind it.

    As in "degeneration of the facet with ligamentum flavum hypertrophy".
    """
    first = min(p.start for p in group)
    governed = any(c.end <= first and first - c.end < 40 and _OF.match(text[c.end : first]) for c in changes)
    return governed and any(0 <= c.start - part.end <= 2 and not text[part.end : c.start].strip() for c in changes)


def _cost(text: str, change: Raw, members: Sequence[Raw]) -> float | None:
    """How far `change` is from a group of parts, in grammar: less is nearer, None is out of reach."""
    if any(_one_word(p, change) for p in members):
        return 0.0
    left = [p for p in members if p.end <= change.start]
    right = [p for p in members if p.start >= change.end]
    found: list[float | None] = []
    if left:
        between = text[max(p.end for p in left) : change.start]
        found.append(_left_cost(between))
    # "The root is compressed in the foramen": what follows "in" is the place, no second thing compressed.
    said = text[change.start : change.end]
    if right and said.endswith("ed") and _WHERE.match(text[change.end : min(p.start for p in right)]):
        right = right if not _BE.search(text[max(0, change.start - 40) : change.start]) else []
    if right:
        between = text[change.end : min(p.start for p in right)]
        word = text[change.start : change.end].rstrip("s")
        found.append(
            _right_cost(between, active=word.endswith("ing") or text[change.start : change.end].endswith("es"))
        )
    costs = [cost for cost in found if cost is not None]
    return min(costs) if costs else None


def _left_cost(between: str) -> float | None:
    n = len(between.split())
    if n > MAX_WORDS or _BARRIER.search(between):
        return None
    commas = between.count(",")
    if _JOINS.match(between):
        return 4.0
    if n <= 1 and not commas:
        return 1.0 + 0.1 * n
    if _COPULA.search(between):
        return 2.0 + 0.1 * n + 0.5 * commas
    return 3.0 + 0.2 * n + 1.5 * commas


def _right_cost(between: str, *, active: bool) -> float | None:
    n = len(between.split())
    if n > MAX_WORDS or _BARRIER.search(between):
        return None
    commas = between.count(",")
    if _OF.match(between):
        return 0.5 + 0.1 * n + commas
    if active:
        return 0.8 + 0.1 * n + commas
    if n == 0:
        return 1.2
    if n <= 2 and not commas:
        return 1.8 + 0.2 * n
    return 3.5 + 0.25 * n + 1.5 * commas


def _unique(said: Sequence[Said]) -> list[Said]:
    seen: dict[tuple[str, str, int, int], Said] = {}
    for fact in said:
        seen.setdefault((fact.concept, fact.value, fact.start, fact.end), fact)
    return list(seen.values())
