"""Finding regular expressions in a note: each is tried only where the letters stand that its every match holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from notegap.knowledge.terms import needed, one_line, regex

_GRAM = 3
_LINE = re.compile(r"[^\n]+")


class Patterns:
    """Regular expressions with their labels, on lower-cased text.

    One that cannot match a line end is tried line by line, which spares most lines of most notes.
    """

    def __init__(self, rules: Iterable[tuple[str, str]]) -> None:
        lined: list[tuple[str, str]] = []
        whole: list[tuple[str, str]] = []
        for label, pattern in rules:
            (lined if one_line(pattern) else whole).append((label, pattern))
        self._lined = _Sieve(lined)
        self._whole = _Sieve(whole)

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """(label, start, end) of every match in `text` that is not empty."""
        yield from self._whole.find(text, 0, len(text))
        for line in _LINE.finditer(text):
            yield from self._lined.find(text, line.start(), line.end())


class _Sieve:
    """Patterns by the letters they need."""

    def __init__(self, rules: Iterable[tuple[str, str]]) -> None:
        self._rules = list(rules)
        self._always: list[int] = []
        self._opened_by: dict[str, list[int]] = {}  # letters of the most telling group → its patterns
        self._others: list[tuple[frozenset[str], ...]] = []
        by_gram: dict[str, set[str]] = {}
        for number, (_, pattern) in enumerate(self._rules):
            groups = needed(pattern)
            self._others.append(tuple(map(frozenset, groups[1:])))
            if not groups:
                self._always.append(number)
            for letters in groups[0] if groups else ():
                self._opened_by.setdefault(letters, []).append(number)
            for group in groups:
                for letters in group:
                    by_gram.setdefault(letters[:_GRAM], set()).add(letters)
        self._by_gram = {gram: tuple(letters) for gram, letters in by_gram.items() if len(gram) == _GRAM}
        self._short = tuple(letters for gram, every in by_gram.items() if len(gram) < _GRAM for letters in every)

    def find(self, text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
        """The matches within `text[start:end]`."""
        for number in self._worth_trying(text[start:end]):
            label, pattern = self._rules[number]
            for match in regex(pattern).finditer(text, start, end):
                if match.end() > match.start():
                    yield label, match.start(), match.end()

    def _worth_trying(self, text: str) -> list[int]:
        """The patterns all of whose letters stand in `text`."""
        grams = {text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)}
        held = {letters for gram in grams & self._by_gram.keys() for letters in self._by_gram[gram] if letters in text}
        held.update(letters for letters in self._short if letters in text)
        opened = {number for letters in held for number in self._opened_by.get(letters, ())}
        others = self._others
        fit = [number for number in opened if not any(group.isdisjoint(held) for group in others[number])]
        return sorted([*self._always, *fit])
