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
_ALL, _LINE, _CLAUSE = range(3)
"""How far a match of a pattern goes at most."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """What a word or mark tells: the groups some letters of which it holds, as bits, and the patterns these open.

    Patterns stand apart by how far they go.
    """

    groups: int
    opens: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class Patterns:
    """Regular expressions with their labels, on lower-cased text, by the letters they need.

    One that cannot match a full stop or a line end is tried clause by clause or line by line, which spares most of
    most notes. Letters that lie across words are looked for by the longest of their pieces first. So what a stretch
    may match follows from its words one by one, and what each word holds is remembered: notes use the same few
    thousand words.
    """

    def __init__(self, rules: Iterable[tuple[str, str]]) -> None:
        self._rules = sorted(((label, text, _reach(text)) for label, text in rules), key=lambda rule: rule[2])
        self._always: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._needs: list[int] = []  # of each pattern: its groups as bits
        self._across: list[list[tuple[str, ...]]] = []  # of each pattern: its groups with letters across words
        self._opened_by: dict[int, list[int]] = {}  # the most telling group of patterns → the patterns
        groups: dict[frozenset[str], int] = {}
        for number, (_, pattern, reach) in enumerate(self._rules):
            asked = needed(pattern)
            pieces = [tuple(map(_piece, group)) for group in asked]
            bits = [1 << groups.setdefault(frozenset(group), len(groups)) for group in pieces]
            self._needs.append(sum(set(bits)))
            # To look for the whole of them is worth its time where all lie across words.
            self._across.append(
                [whole for whole, group in zip(asked, pieces, strict=True) if not set(whole) & set(group)]
            )
            if bits:
                self._opened_by.setdefault(bits[0], []).append(number)
            else:
                self._always[reach].append(number)
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
        self._nothing = self._held(())

    def compile(self) -> None:
        """Compile every pattern now, not when a note first holds its letters."""
        for _, pattern, _ in self._rules:
            regex(pattern)

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """(label, start, end) of every match in `text` that is not empty."""
        for number, start, end in sorted(self._worth_trying(text)):
            label, pattern, _ = self._rules[number]
            for match in regex(pattern).finditer(text, start, end):
                if match.end() > match.start():
                    yield label, match.start(), match.end()

    def _worth_trying(self, text: str) -> list[tuple[int, int, int]]:
        """(pattern, start, end): where in `text` a pattern may match."""
        tries: list[tuple[int, int, int]] = []
        spaced = _NO_WORD.sub(" ", text)
        marks = [(mark, held) for mark, held in self._marks if mark in text]
        of_word = self._words.get
        everything: set[_Held] = set()
        line_at = 0
        for line in text.split("\n"):
            in_line: set[_Held] = set()
            at = line_at
            for clause in line.split("."):
                end = at + len(clause)
                here = {of_word(word) or self._learn(word) for word in spaced[at:end].split()}
                here.update([held for mark, held in marks if mark in clause])
                here.discard(self._nothing)
                self._try(_CLAUSE, here, spaced, at, end, tries)
                in_line.update(here)
                at = end + 1
            end = line_at + len(line)
            in_line.update([held for mark, held in marks if mark == "." and mark in line])
            self._try(_LINE, in_line, spaced, line_at, end, tries)
            everything.update(in_line)
            line_at = end + 1
        self._try(_ALL, everything, spaced, 0, len(text), tries)
        return tries

    def _try(
        self, reach: int, here: set[_Held], spaced: str, start: int, end: int, tries: list[tuple[int, int, int]]
    ) -> None:
        """Add the patterns of `reach` that may match from `start` to `end`, where `here` is held."""
        if start == end:
            return
        groups = 0
        opened: set[int] = set()
        for held in here:
            groups |= held.groups
            opened.update(held.opens[reach])
        lacking = ~groups
        needs = self._needs
        stretch = f" {spaced[start:end]} "
        tries += [
            (number, start, end)
            for number in opened
            if not needs[number] & lacking and _holds(stretch, self._across[number])
        ]
        tries += [(number, start, end) for number in self._always[reach]]

    def _learn(self, word: str) -> _Held:
        if len(self._words) >= _MOST_WORDS:
            self._words.clear()
        held = self._look_up(f" {word} ")
        self._words[word] = held = held if held.groups else self._nothing
        return held

    def _look_up(self, spaced: str) -> _Held:
        bits = [bits for piece, bits in self._short if piece in spaced]
        for gram in _grams(spaced) & self._by_gram.keys():
            bits += [bits for piece, bits in self._by_gram[gram] if piece in spaced]
        return self._held(bits)

    def _held(self, bits: Iterable[int]) -> _Held:
        groups = reduce(or_, bits, 0)
        opens: tuple[list[int], list[int], list[int]] = ([], [], [])
        left = groups & self._openers
        while left:
            for number in self._opened_by[left & -left]:
                opens[self._rules[number][2]].append(number)
            left &= left - 1
        return _Held(groups, (tuple(opens[_ALL]), tuple(opens[_LINE]), tuple(opens[_CLAUSE])))


def _reach(text: str) -> int:
    """How far a match of the regular expression `text` goes at most."""
    return _CLAUSE if within_clause(text) else _LINE if within_line(text) else _ALL


def _holds(stretch: str, groups: Iterable[Sequence[str]]) -> bool:
    """Whether `stretch` holds some letters of each of `groups`."""
    for group in groups:
        for letters in group:
            if letters in stretch:
                break
        else:
            return False
    return True


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
