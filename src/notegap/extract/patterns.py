"""Finding regular expressions in a note: each is tried only where the letters stand that its every match holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from notegap.knowledge.terms import Letters, needed, one_line, regex

_GRAM = 3
_NO_WORD = re.compile(r"\W")


class Patterns:
    """Regular expressions with their labels, on lower-cased text.

    One that cannot match a line end is tried line by line, which spares most lines of most notes.
    """

    def __init__(self, rules: Iterable[tuple[str, str]]) -> None:
        self._rules = [(label, pattern, needed(pattern), one_line(pattern)) for label, pattern in rules]
        self._always = [number for number, (_, _, groups, _) in enumerate(self._rules) if not groups]
        self._opened_by: dict[str, list[int]] = {}  # letters of the most telling group → its patterns
        every: set[str] = set()
        for number, (_, _, groups, _) in enumerate(self._rules):
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

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """(label, start, end) of every match in `text` that is not empty."""
        lines: list[tuple[int, int]] = []
        at = 0
        for line in text.split("\n"):
            lines.append((at, at + len(line)))
            at += len(line) + 1
        where = self._lines_with([text[start:end] for start, end in lines])
        opened = {number for letters in where for number in self._opened_by.get(letters, ())}
        for number in sorted([*self._always, *opened]):
            label, pattern, groups, by_line = self._rules[number]
            for start, end in _stretches(groups, where, lines) if by_line else _whole(groups, where, text):
                for match in regex(pattern).finditer(text, start, end):
                    if match.end() > match.start():
                        yield label, match.start(), match.end()

    def _lines_with(self, lines: Sequence[str]) -> dict[str, int]:
        """The letters that may stand in `lines`, each with the lines as bits: none that does stand there is left out."""
        grams: dict[str, int] = {}
        where: dict[str, int] = {}
        for number, line in enumerate(lines):
            bit = 1 << number
            spaced = f" {_NO_WORD.sub(' ', line)} "
            for gram in _grams(spaced):
                grams[gram] = grams.get(gram, 0) | bit
            for letters in (*(s for s in self._short if s in spaced), *(m for m in self._marks if m in line)):
                where[letters] = where.get(letters, 0) | bit
        for gram in grams.keys() & self._by_gram.keys():
            places = grams[gram]
            for letters, first, last in self._by_gram[gram]:
                if both := places & grams.get(first, 0) & grams.get(last, 0):
                    where[letters] = both
        return where


def _grams(text: str) -> set[str]:
    return {text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)}


def _stretches(
    groups: Sequence[Letters], where: dict[str, int], lines: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """The lines that hold some of the letters of each of `groups`."""
    places = (1 << len(lines)) - 1
    for group in groups:
        here = 0
        for letters in group:
            here |= where.get(letters, 0)
        places &= here
        if not places:
            return
    for number, line in enumerate(lines):
        if places >> number & 1:
            yield line


def _whole(groups: Sequence[Letters], where: dict[str, int], text: str) -> Iterator[tuple[int, int]]:
    """All of `text`, when it holds some of the letters of each of `groups`."""
    if all(any(letters in where for letters in group) for group in groups):
        yield 0, len(text)
