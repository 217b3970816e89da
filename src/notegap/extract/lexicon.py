"""Finding terms in a note: one graph of words for all of them, walked once from each word of the note.

It stands inside medspaCy's matchers in the place of spaCy's two: those want each of some 17,000 word sequences built
as a document, which took half of the time of a cold start, and try each token pattern at each word of every note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from notegap.extract.words import Words as Cut
from notegap.knowledge.terms import GAP, NUMBER, expand, slots

GAP_WORDS = 3
"""Words that a gap of a term may hold at most."""
_STOPS = frozenset(".;:?!")
_ANY_NUMBER = "0#"
"""The number of a term, among the words of the graph: no word of a note is written like this."""

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a term: its alternatives, each of one or more words in normal form; none for a gap."""

    alternatives: tuple[Words, ...]
    optional: bool = False


Path = tuple[Place, ...]


def paths(term: str, normal: Callable[[Sequence[str]], Words], *, whole: bool = False) -> Iterator[Path]:
    """The ways to write `term`, its words given their normal form by `normal`; `whole` as in `expand`."""
    places = None if whole else slots(term)
    if places is None:
        for sequence in expand(term, whole=whole):
            yield tuple(Place(_alternatives((word,), normal)) for word in sequence)
    else:
        yield tuple(Place(_alternatives(place.words, normal), place.optional) for place in places)


def literal(words: Iterable[str]) -> Path:
    """The path of exactly these words."""
    return tuple(Place(((word,),)) for word in words)


def _alternatives(words: Words, normal: Callable[[Sequence[str]], Words]) -> tuple[Words, ...]:
    if words == (GAP,):
        return ()
    return tuple(dict.fromkeys((_ANY_NUMBER,) if word == NUMBER else normal((word,)) for word in words))


class _Node:
    """A point within terms: where each next word leads, where any word of the sentence leads, which rules end here.

    Several nodes that one word leads to are joined when a note first has that word there.
    """

    __slots__ = ("any", "ends", "next")

    def __init__(self, ends: Iterable[int] = ()) -> None:
        self.next: dict[str, list[_Node]] = {}
        self.any: list[_Node] = []
        self.ends = list(ends)

    def absorb(self, other: _Node) -> None:
        """Lead also where `other` leads."""
        for word, nodes in other.next.items():
            self.next.setdefault(word, []).extend(nodes)
        self.any.extend(other.any)
        self.ends.extend(other.ends)

    def after(self, word: str) -> _Node | None:
        """Where `word` leads."""
        nodes = self.next.get(word)
        if nodes is None:
            return None
        if len(nodes) > 1:
            nodes = self.next[word] = [_joined(nodes)]
        return nodes[0]

    def after_any(self) -> _Node | None:
        """Where any word leads."""
        if len(self.any) > 1:
            self.any = [_joined(self.any)]
        return self.any[0] if self.any else None


def _joined(nodes: Iterable[_Node]) -> _Node:
    out = _Node()
    for node in nodes:
        out.absorb(node)
    return out


def _before(path: Path, node: _Node) -> _Node:
    """The node from which `path` leads to `node`."""
    for place in reversed(path):
        before = _Node()
        if not place.alternatives:
            before = node
            for _ in range(GAP_WORDS):
                gap = _Node()
                gap.absorb(node)
                gap.any.append(before)
                before = gap
        for words in place.alternatives:
            if not words:
                before.absorb(node)
                continue
            after = node
            for word in reversed(words[1:]):
                between = _Node()
                between.next[word] = [after]
                after = between
            before.next.setdefault(words[0], []).append(after)
        if place.optional:
            before.absorb(node)
        node = before
    return node


class TermMatcher:
    """In the place of spaCy's Matcher: `add` rules, call it with a document of words.Tokenizer or with its words.

    `form` is the one of the two forms of words it compares, "norms" or "words". A match is (rule, start, end) in words
    of the document, and all matches are given, by start, end and rule, in the order they were added.
    """

    def __init__(self, strings: Any, form: str) -> None:
        self._strings = strings
        self._form = form
        self._root = _Node()
        self._rules: list[int] = []

    def add(self, key: str, patterns: Sequence[Sequence[Path]], *, on_match: object = None) -> None:
        """Add the rule named `key`: each of `patterns` is a list of paths."""
        end = _Node([len(self._rules)])
        self._rules.append(self._strings.add(key))
        for path in (path for pattern in patterns for path in pattern):
            self._root.absorb(_before(path, end))

    def __call__(self, doc: Any) -> list[tuple[int, int, int]]:
        """Every match in `doc`, or in the Words of one."""
        cut: Cut = doc if isinstance(doc, Cut) else doc.user_data["words"]
        words = cut.norms if self._form == "norms" else cut.words
        opens = cut.opens
        found: set[tuple[int, int, int]] = set()
        last = len(words)
        numbers = cut.numbers

        def walk(node: _Node | None, start: int, at: int) -> None:
            while node is not None:
                for end in node.ends:
                    found.add((start, at, end))
                if at == last:
                    return
                word = words[at]
                if node.any and word not in _STOPS and at not in opens:
                    walk(node.after_any(), start, at + 1)
                if at in numbers:
                    walk(node.after(_ANY_NUMBER), start, at + 1)
                node = node.after(word) if word in node.next else None
                at += 1

        root = self._root
        for start in sorted(numbers):
            walk(root.after(_ANY_NUMBER), start, start + 1)
        known = root.next
        for start, word in enumerate(words):
            if word in known:
                walk(root.after(word), start, start + 1)
        return [(self._rules[rule], start, end) for start, end, rule in sorted(found)]


def no_matches(_doc: Any) -> list[tuple[int, int, int]]:
    """In the place of a matcher of medspaCy's that has nothing to match."""
    return []
