"""Finding regular expressions in a note: each is tried only where the letters stand that its every match holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from notegap.knowledge.terms import needed, regex, within_clause, within_line

_GRAM = 3
_MOST_WORDS = 50_000
"""Words remembered at most: a vocabulary, without where any of them was read."""
_NO_WORD = re.compile(r"\W")
_WORD = re.compile(r"\w+")
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


@dataclass(frozen=True, slots=True)
class _Held:
    """What a word or mark tells: the groups some letters of which it holds, as bits, and the patterns these open."""

    groups: int
    opens: tuple[int, ...]


class _Sieve:
    """Patterns of which no match goes beyond a `stretch` of the text, by the letters they need.

    Letters that lie across words are looked for by the longest of their pieces. So what a stretch may match follows
    from its words one by one, and what each word holds is remembered: notes use the same few thousand words.
    """

    def __init__(self, rules: Sequence[tuple[str, str]], stretch: re.Pattern[str]) -> None:
        self._stretch = stretch
        self._rules = rules
        self._always: list[int] = []
        self._needs: list[int] = []  # of each pattern: its groups as bits
        self._opened_by: dict[int, list[int]] = {}  # the most telling group of patterns → the patterns
        groups: dict[frozenset[str], int] = {}
        for number, (_, pattern) in enumerate(rules):
            bits = [1 << groups.setdefault(frozenset(map(_piece, group)), len(groups)) for group in needed(pattern)]
            self._needs.append(sum(set(bits)))
            if bits:
                self._opened_by.setdefault(bits[0], []).append(number)
            else:
                self._always.append(number)
        self._openers = sum(self._opened_by)
        held_by: dict[str, int] = {}  # each piece → the groups it is of
        for group, number in groups.items():
            for piece in group:
                held_by[piece] = held_by.get(piece, 0) | 1 << number
        self._marks = [(mark, self._held([bits])) for mark, bits in sorted(held_by.items()) if _NO_WORD.fullmatch(mark)]
        self._short = [(piece, bits) for piece, bits in held_by.items() if len(piece) < _GRAM]
        # Longer ones are looked up by three consecutive characters, the rarest.
        long = sorted(piece for piece in held_by if len(piece) >= _GRAM)
        often = Counter(gram for piece in long for gram in _grams(piece))
        self._by_gram: dict[str, list[tuple[str, int]]] = {}
        for piece in long:
            rarest = min(_grams(piece), key=lambda gram: (often[gram], gram))
            self._by_gram.setdefault(rarest, []).append((piece, held_by[piece]))
        self._words: dict[str, _Held] = {}

    def worth_trying(self, text: str) -> Iterator[tuple[str, str, int, int]]:
        """(label, pattern, start, end): where in `text` a pattern may match."""
        tries: list[tuple[int, int, int]] = []
        for match in self._stretch.finditer(text):
            start, end = match.span()
            stretch = match.group()
            here = [self._of_word(word) for word in _WORD.findall(stretch)]
            here += [held for mark, held in self._marks if mark in stretch]
            groups = 0
            opened: set[int] = set()
            for held in here:
                groups |= held.groups
                opened.update(held.opens)
            tries += [(number, start, end) for number in opened if self._needs[number] & ~groups == 0]
            tries += [(number, start, end) for number in self._always]
        for number, start, end in sorted(tries):
            yield *self._rules[number], start, end

    def _of_word(self, word: str) -> _Held:
        held = self._words.get(word)
        if held is None:
            if len(self._words) >= _MOST_WORDS:
                self._words.clear()
            held = self._words[word] = self._look_up(f" {word} ")
        return held

    def _look_up(self, spaced: str) -> _Held:
        bits = [bits for piece, bits in self._short if piece in spaced]
        for gram in _grams(spaced) & self._by_gram.keys():
            bits += [bits for piece, bits in self._by_gram[gram] if piece in spaced]
        return self._held(bits)

    def _held(self, bits: Iterable[int]) -> _Held:
        groups = reduce(or_, bits, 0)
        opens: list[int] = []
        left = groups & self._openers
        while left:
            opens += self._opened_by[left & -left]
            left &= left - 1
        return _Held(groups, tuple(opens))


def _piece(letters: str) -> str:
    """The longest piece of `letters` that lies in one word, with spaces for those of its ends that end the word."""
    if _NO_WORD.fullmatch(letters):
        return letters
    pieces = letters.split(" ")
    last = len(pieces) - 1
    spaced = [" " * (i > 0) + piece + " " * (i < last) for i, piece in enumerate(pieces) if piece]
    return max(spaced, key=len)


def _grams(text: str) -> set[str]:
    return {text[i : i + _GRAM] for i in range(len(text) - _GRAM + 1)}
