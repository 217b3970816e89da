"""Words: how a note's text becomes tokens that spaCy's matchers can compare.

Two forms of every word are kept beside the document: its norm, which terms match on (lower case, plural folded, US
spelling, typos in long words mended), and the word as written, which acronyms match on. Every character of the text
belongs to a token, hyphens and spaces to the word before them, so "flexion-extension", "flexion / extension" and a
phrase broken over two lines all match the term "flexion extension", and offsets stay those of the note.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from spacy.tokens import Doc
from spacy.vocab import Vocab

_WORD = re.compile(r"[^\W\d_]+(?:['’][a-z]+)?|\d+(?:\.\d+)?|[^\w\s]|_", re.UNICODE)
_CLINGS = frozenset("-/_‐‑‒–—−")

# One character each, so that offsets do not move.
_SAME_LENGTH = {
    **dict.fromkeys(map(ord, "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u202f\u3000"), " "),
    **dict.fromkeys(map(ord, "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad\u202a\u202b\u202c\u202d\u202e"), " "),
    **dict.fromkeys(map(ord, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0b\x0c\x0e\x0f\x1a\x1b\x7f"), " "),
    **dict.fromkeys(map(ord, "‐‑‒–—−\u2011"), "-"),
    **dict.fromkeys(map(ord, "‘’ʼ´`"), "'"),
    **dict.fromkeys(map(ord, "“”„"), '"'),
    ord("\t"): " ",
    ord("•"): "*",
    ord("·"): "*",
    ord("●"): "*",
}


def plain(text: str) -> str:
    """`text` with odd spaces, dashes, quotes and line ends made plain, every offset kept."""
    text = text.translate(_SAME_LENGTH)
    return text.replace("\r\n", " \n").replace("\r", "\n")


def lowered(text: str) -> str:
    """`text` in lower case, every offset kept."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c if len(c.lower()) > 1 else c.lower() for c in text)


def words(text: str) -> Iterator[tuple[str, int, int]]:
    """The words of `text` with their offsets: runs of letters, numbers, single marks."""
    for match in _WORD.finditer(text):
        yield match.group(), match.start(), match.end()


_BRITISH = (
    (re.compile(r"^oe(?=d|s)"), "e"),
    (re.compile(r"aem"), "em"),
    (re.compile(r"aesth"), "esth"),
    (re.compile(r"paed"), "ped"),
    (re.compile(r"^(tum|col|behavi|lab|harb|rig|vap|hum)our"), r"\1or"),
    (re.compile(r"isation$"), "ization"),
    (re.compile(r"(?<=[aeo]l)ised$"), "ized"),
    (re.compile(r"^(fib|cent)re"), r"\1er"),
    (re.compile(r"^(leuk|an)ae"), r"\1e"),
    (re.compile(r"rrhoea$"), "rrhea"),
)
_MAYBE_BRITISH = re.compile(r"^oe|ae|our|isation$|ised$|^(?:fib|cent)re|oea$")


@lru_cache(maxsize=50_000)
def fold(word: str) -> str:
    """`word` in lower case, US spelling, singular."""
    low = word.lower().replace("’", "'")
    if "'" in low:
        low = low.removesuffix("'s")
    if len(low) < 4 or not low.isalpha():
        return low
    if _MAYBE_BRITISH.search(low):
        for pattern, us in _BRITISH:
            low = pattern.sub(us, low)
    if low.endswith("ae") and len(low) > 6:
        return low[:-1]
    if low.endswith("oses") and len(low) > 6:
        return low[:-2] + "is"
    if low.endswith("ies") and len(low) > 5:
        return low[:-3] + "y"
    if low.endswith(("sses", "shes", "ches", "xes")):
        return low[:-2]
    if low.endswith("s") and not low.endswith(("ss", "us", "is", "as", "os")) and len(low) > 4:
        return low[:-1]
    return low


def _letters(word: str) -> int:
    """The letters of `word` as bits: one edit changes at most two of them."""
    bits = 0
    for letter in word:
        bits |= 1 << ord(letter) % 61
    return bits


def edit_distance(a: str, b: str, limit: int) -> int:
    """Edit distance with swaps of neighbours counted once; `limit` + 1 when it is larger."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if before and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
        before, last = last, row
    return last[-1]


def slips(word: str) -> Iterator[str]:
    """How a hurried hand writes `word`: two neighbours swapped, a letter left out or doubled; the first is right."""
    for i in range(1, len(word)):
        yield word[:i] + word[i + 1 : i + 2] + word[i] + word[i + 2 :]
        yield word[:i] + word[i + 1 :]
        yield word[:i] + word[i] + word[i:]


class Speller:
    """Gives every word its normal form: folded, and mended when it is a long known word with a typo.

    A word of 7 letters or more forgives one edit, of 10 or more two; the first letter must be right, and words in
    `keep` (real words that look like a typo of another) are left alone. `others` are known too, and no typo is
    mended to one of them: ordinary words ("cleared") have too many neighbours. `short` are words of fewer letters of
    which only slips are mended ("thceal", "bulgge"): another letter would make another word of most.
    """

    def __init__(
        self,
        vocabulary: Iterable[str],
        others: Iterable[str] = (),
        *,
        keep: Iterable[str] = (),
        short: Iterable[str] = (),
    ) -> None:
        vocabulary = frozenset(vocabulary)
        self._known = vocabulary | frozenset(others)
        self._keep = frozenset(fold(w) for w in keep)
        self._long: dict[tuple[str, int], list[tuple[str, int]]] = {}  # first letter, length → words, their letters
        for word in vocabulary:
            if len(word) >= 7 and word.isalpha():
                self._long.setdefault((word[0], len(word)), []).append((word, _letters(word)))
        self._slips = {slip: word for word in sorted(short) for slip in slips(word) if slip not in self._keep}
        self._cache: dict[str, str] = {}

    def __call__(self, word: str) -> str:
        """The normal form of one word."""
        found = self._cache.get(word)
        if found is None:
            if len(self._cache) > 200_000:
                self._cache.clear()
            found = self._cache[word] = self._look_up(word)
        return found

    def all(self, written: Iterable[str]) -> list[str]:
        """The normal form of each of some words."""
        known = self._cache.get
        return [known(word) or self(word) for word in written]

    def _look_up(self, word: str) -> str:
        norm = fold(word)
        if norm not in self._known and norm in self._slips:
            return self._slips[norm]
        if norm in self._known or len(norm) < 7 or not norm.isalpha() or norm in self._keep:
            return norm
        letters = _letters(norm)
        best: tuple[int, str] | None = None
        for length in range(len(norm) - 2, len(norm) + 3):
            limit = 2 if min(length, len(norm)) >= 10 else 1
            for candidate, others in self._long.get((norm[0], length), ()):
                if (letters ^ others).bit_count() > 2 * limit:
                    continue
                distance = edit_distance(norm, candidate, limit)
                if distance <= limit and (best is None or (distance, candidate) < best):
                    best = (distance, candidate)
        return best[1] if best else norm


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a text, by number: their two forms and where they stand.

    `norms` and `words` are the two forms; `starts` and `ends` the offsets of the word without what clings to it;
    `opens` the words that open a sentence, `numbers` those that are numbers; `edges` where the stretches of text that belong to each word begin, with
    the end of the last.
    """

    text: str = field(repr=False)
    norms: Sequence[str] = field(repr=False)
    words: Sequence[str] = field(repr=False)
    starts: Sequence[int]
    ends: Sequence[int]
    opens: frozenset[int]
    edges: Sequence[int]
    numbers: frozenset[int]

    def __len__(self) -> int:
        return len(self.words)

    def across(self, start: int, end: int) -> tuple[int, int] | None:
        """The words that the characters from `start` to `end` lie in, as spaCy's `char_span` expands to them."""
        if end > self.edges[-1]:
            return None
        first = bisect_right(self.edges, start) - 1
        if start == self.edges[first + 1] - 1 > self.edges[first] and self.text[start] == " ":
            first += 1  # the space after a word is no part of it
        return first, bisect_right(self.edges, end - 1)


class Tokenizer:
    """spaCy's tokenizer slot: text → Doc, with its Words in `doc.user_data["words"]`.

    Reading needs only the Words (`cut`), and to build a Doc takes longer than to find them.
    """

    def __init__(self, vocab: Vocab, speller: Speller) -> None:
        self.vocab = vocab
        self.speller = speller

    def __call__(self, text: str, sentence_starts: Iterable[int] = ()) -> Doc:
        """Tokenize `text`; `sentence_starts` are character offsets where a sentence begins."""
        cut = self.cut(text, sentence_starts)
        pieces, spaces = [], []
        for start, end in pairwise(cut.edges):
            has_space = text[end - 1] == " " and end - start > 1
            pieces.append(text[start : end - has_space])
            spaces.append(has_space)
        doc = Doc(self.vocab, words=pieces, spaces=spaces, sent_starts=[i in cut.opens for i in range(len(cut))])
        doc.user_data["words"] = cut
        return doc

    def cut(self, text: str, sentence_starts: Iterable[int] = ()) -> Words:
        """The words of `text`."""
        found: list[tuple[str, int, int]] = []
        for match in _WORD.finditer(text):
            start, end = match.span()
            word = text[start:end]
            # A hyphen or slash between two words clings to the first; one before a word ("-fracture") stands alone.
            if end - start == 1 and word in _CLINGS and found and found[-1][2] == start and text[end : end + 1].strip():
                before = found[-1][0]
                if before[-1].isalnum() or before[-1] in _CLINGS:
                    continue
            found.append((word, start, end))
        if not found and text:
            found.append((text, 0, len(text)))
        begins = set(sentence_starts)
        starts = [start for _, start, _ in found]
        return Words(
            text=text,
            norms=self.speller.all(word for word, _, _ in found),
            words=[word for word, _, _ in found],
            starts=starts,
            ends=[end for _, _, end in found],
            opens=frozenset(i for i, start in enumerate(starts) if i == 0 or start in begins),
            edges=[0, *starts[1:], len(text)] if found else [0],
            numbers=frozenset(i for i, (word, _, _) in enumerate(found) if word[0].isdecimal()),
        )
