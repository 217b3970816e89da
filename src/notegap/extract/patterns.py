"""Finding regular expressions in a note: each is tried only where the letters stand that its every match holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from notegap.knowledge.terms import Letters, needed, regex, within_clause, within_line

_GRAM = 3
_NO_WORD = re.compile(r"\W")
_CLAUSE = re.compile(r"[^.\n]+")
_LINE = re.compile(r"[^\n]+")
_ALL = re.compile(r".+", re.DOTALL)


class Patterns:
    """Regular expressions with their labels, on lower-cased text.

    One that cannot match a full stop or a line end is tried clause by clause or line by line, which spares most of
    most notes.
    """

    def __init__(self, rules: Iterable[tuple[str, str]]) -> None:
        kinds: dict[re.Pattern[str], list[tuple[str, str]]] = {_ALL: [], _LINE: [], _CLAUSE: []}
        for label, text in rules:
            kinds[_CLAUSE if within_clause(text) else _LINE if within_line(text) else _ALL].append((label, text))
        self._sieves = [_Sieve(of_kind, stretch) for stretch, of_kind in kinds.items()]

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """(label, start, end) of every match in `text` that is not empty."""
        for sieve in self._sieves:
            for label, pattern, start, end in sieve.worth_trying(text):
                for match in regex(pattern).finditer(text, start, end):
                    if match.end() > match.start():
                        yield label, match.start(), match.end()


class _Sieve:
    """Patterns of which no match goes beyond a `stretch` of the text, by the letters they need."""

    def __init__(self, rules: Sequence[tuple[str, str]], stretch: re.Pattern[str]) -> None:
        self._stretch = stretch
        self._rules = [(label, pattern, needed(pattern)) for label, pattern in rules]
        self._always = [number for number, (_, _, groups) in enumerate(self._rules) if not groups]
        self._opened_by: dict[str, list[int]] = {}  # letters of the most telling group → its patterns
        every: set[str] = set()
        for number, (_, _, groups) in enumerate(self._rules):
            for letters in groups[0] if groups else ():
                self._opened_by.setdefault(letters, []).append(number)
            every.update(letters for group in groups for letters in group)
        self._marks = sorted(letters for letters in every if _NO_WORD.fullmatch(letters))
        self._short = sorted(letters for letters in every.difference(self._marks) if len(letters) < _GRAM)
        # Longer ones are looked up by three consecutive characters: the rarest, with the first and the last three.
        long = sorted(every.difference(self._marks, self._short))
        often = Counter(gram for letters in long for gram in _grams(letters))
        self._by_gram: dict[str, list[tuple[str, str, str]]] = {}
        for letters in long:
            rarest = min(_grams(letters), key=lambda gram: (often[gram], gram))
            self._by_gram.setdefault(rarest, []).append((letters, letters[:_GRAM], letters[-_GRAM:]))
        ends = {end for found in self._by_gram.values() for _, first, last in found for end in (first, last)}
        self._grams = frozenset(self._by_gram.keys() | ends)

    def worth_trying(self, text: str) -> Iterator[tuple[str, str, int, int]]:
        """(label, pattern, start, end): where in `text` a pattern may match."""
        stretches = [match.span() for match in self._stretch.finditer(text)]
        where = self._where([text[start:end] for start, end in stretches])
        opened = {number for letters in where for number in self._opened_by.get(letters, ())}
        for number in sorted([*self._always, *opened]):
            label, pattern, groups = self._rules[number]
            places = _holding_all(groups, where, len(stretches))
            while places:
                lowest = places & -places
                yield label, pattern, *stretches[lowest.bit_length() - 1]
                places ^= lowest

    def _where(self, stretches: Sequence[str]) -> dict[str, int]:
        """The letters that may stand in `stretches`, each with those as bits; none that does is left out."""
        grams: dict[str, int] = {}
        where: dict[str, int] = {}
        for number, stretch in enumerate(stretches):
            bit = 1 << number
            spaced = f" {_NO_WORD.sub(' ', stretch)} "
            for gram in _grams(spaced) & self._grams:
                grams[gram] = grams.get(gram, 0) | bit
            for letters in (*(s for s in self._short if s in spaced), *(m for m in self._marks if m in stretch)):
                where[letters] = where.get(letters, 0) | bit
        for gram in grams.keys() & self._by_gram.keys():
            places = grams[gram]
            for letters, first, last in self._by_gram[gram]:
                if here := places & grams.get(first, 0) & grams.get(last, 0):
                    where[letters] = here
        return where


def _grams(text: str) -> set[str]:
    return {text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)}


def _holding_all(groups: Sequence[Letters], where: dict[str, int], count: int) -> int:
    """Of `count` stretches, as bits, those that hold some of the letters of each of `groups`."""
    places = (1 << count) - 1
    for group in groups:
        here = 0
        for letters in group:
            here |= where.get(letters, 0)
        places &= here
        if not places:
            break
    return places
