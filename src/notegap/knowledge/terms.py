r"""The term syntax of patterns/ and models/: one written term becomes the word sequences it stands for.

    a|b              alternatives of one word
    (x)  (x|y z)     optional, one of its alternatives
    [a|b c]          alternatives that may have several words
    ...              a gap: up to three words of the same sentence
    #                any number in digits
    <time>           any word of the list `time` of patterns/words.yaml; put in while reading, like a|b
    \(  \[  \|         the character itself

Alternatives may hold brackets themselves: `[narrowing (of the)|stenosis of] canal`. Words are given back as they
are written; whoever matches them folds case, plurals and spelling.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod

from notegap.errors import KnowledgeError

GAP = "..."
NUMBER = "#"
MAX_EXPANSIONS = 400
"""More sequences than this from one term are a slip of the pen, and slow every note."""

_PIECE = re.compile(r"\.\.\.|…|[()\[\]|]|\s+|(?:\\[()\[\]|]|[^\s()\[\]|…\\])+|\\")
_ESCAPED = re.compile(r"\\([()\[\]|])")
_REGEX_PIECE = re.compile(
    r"([()\[|{}.^$*+?])|([^\\()\[\]{}|.^$*+?]+|\])|\\(?:([^\w\s])|x[\da-fA-F]{2}|u[\da-fA-F]{4}|\d+|.)", re.DOTALL
)
_REPEAT = re.compile(r"(?P<none>[?*]|\{0?,\d*\}|\{0\})[?+]?|(?:\+|\{\d+(?:,\d*)?\})[?+]?")
_GROUP_KIND = re.compile(r"\?(?::|P<\w+>|(?P<not><?!)|<?=)")
_UNUSUAL = re.compile(r"\n|\(\?(?![:=!]|<[=!]|P<\w+>)")
_EDGE, _OPEN = "\x00", "\x01"
"""In letters being gathered: a word's edge, and an end at which the pattern may still ask for one."""
_COMMON = frozenset(
    {"a", "an", "and", "any", "at", "for", "from", "has", "in", "is"}
    | {"no", "not", "of", "on", "or", "the", "to", "was", "with", "without"}
)
"""Words that most notes hold."""
_OUTER_EDGE = re.compile(f"^{_EDGE}(?=\\w)|(?<=\\w){_EDGE}$")
_NO_WORD = re.compile(r"\W")
_SET = re.compile(r"\[(?P<not>\^?)\]?(?P<inside>(?:\\.|[^\]\\])*)\]", re.DOTALL)
_CLOSES = {"(": ")", "[": "]"}

_Sequences = tuple[tuple[str, ...], ...]
_EMPTY: _Sequences = ((),)


def expand(term: str, *, whole: bool = False) -> list[tuple[str, ...]]:
    """Every word sequence `term` stands for, without repeats, in the order written.

    Optional words at either end are left out: they would only make the same match longer. `whole` keeps them, for
    terms that have to be all of what they are matched with (a heading).

    Raises KnowledgeError when brackets do not match, an alternative is empty, nothing but gaps is left, a gap
    stands at either end, or there are more than `MAX_EXPANSIONS` sequences.
    """
    return list(_expand(term, whole))


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of a term: the words that may stand there, and whether none may."""

    words: tuple[str, ...]
    optional: bool


@lru_cache(maxsize=20_000)
def slots(term: str) -> tuple[Slot, ...] | None:
    """The places of a term whose alternatives are all single words; None for terms with longer alternatives.

    A term with many alternatives is matched place by place instead of being written out.
    """
    pieces = _core(_pieces(term), term)
    out: list[Slot] = []
    at = 0
    while at < len(pieces):
        if pieces[at].isspace():
            at += 1
            continue
        optional = pieces[at] == "("
        if pieces[at] in _CLOSES:
            close = _closing(pieces, at)
            if close is None:
                return None
            inner, at = pieces[at + 1 : close], close + 1
        else:
            start = at
            while at < len(pieces) and not pieces[at].isspace() and pieces[at] not in "()[]":
                at += 1
            inner = pieces[start:at]
        if at < len(pieces) and not pieces[at].isspace():
            return None
        words, bars = inner[::2], inner[1::2]
        if not words or any(bar != "|" for bar in bars) or len(inner) % 2 == 0:
            return None
        if any(word in "()[]|" or word.isspace() for word in words) or (len(words) > 1 and GAP in words):
            return None
        out.append(Slot(tuple(_ESCAPED.sub(r"\1", word) for word in words), optional))
    solid = [slot for slot in out if not slot.optional and slot.words != (GAP,)]
    return tuple(out) if solid and out[0].words != (GAP,) and out[-1].words != (GAP,) else None


def count(places: Sequence[Slot]) -> int:
    """How many word sequences `places` stand for."""
    return prod(len(slot.words) + slot.optional for slot in places)


def check_term(term: str) -> None:
    """Raise KnowledgeError when `term` is not written as a term should be (see `expand`)."""
    places = slots(term)
    if places is None or count(places) <= MAX_EXPANSIONS:
        expand(term)


@cache
def regex(text: str) -> re.Pattern[str]:
    """The compiled regular expression `text`. Kept: checking a file and reading notes with it pay for it once."""
    return re.compile(text)


Letters = tuple[str, ...]


def needed(text: str) -> tuple[Letters, ...]:
    """What every match of the regular expression `text` holds: some of the letters of each group; () for nothing sure.

    Looking for them first spares compiling and running most patterns on most notes. The most telling group comes
    first. `text` is matched on lower case; the letters are looked for in that with spaces for all marks and at both
    ends, so " canal" begins a word, and a lone mark in that itself.
    """
    if _UNUSUAL.search(text):
        return ()
    groups = {tuple(dict.fromkeys(map(_settled, group))): None for group in _needed_by_any(text, 0, "")[0]}
    told = sorted((group for group in groups if all(group)), key=_telling, reverse=True)
    return tuple([group for group in told if _telling(group)[0] > 2] or told)


def _settled(letters: str) -> str:
    """`letters` with spaces for the edges of words they start and end at, and for marks; of marks alone the first."""
    letters = _OUTER_EDGE.sub(" ", letters.replace(_OPEN, "")).replace(_EDGE, "")
    return _NO_WORD.sub(" ", letters) if re.search(r"\w", letters) else letters.strip()[:1]


def within_line(text: str) -> bool:
    """Whether the regular expression `text` neither matches a line end nor looks for one."""
    return _keeps_off(text, "\n", r"\\[nsWD]")


def within_clause(text: str) -> bool:
    """Whether the regular expression `text` neither matches a line end or a full stop nor looks for one."""
    return within_line(text) and _keeps_off(text, ".", r"\\[SWD.x]|\.")


def _keeps_off(text: str, mark: str, matching: str) -> bool:
    """Whether nothing in the regular expression `text` concerns `mark`, which the parts `matching` match."""
    for found in _SET.finditer(text):
        inside = found["inside"]
        if bool(found["not"]) != (mark in inside or re.search(matching, inside) is not None):
            return False
    rest = _SET.sub("", text)
    unusual = _UNUSUAL.search(text) or re.search(r"\$|\\[ZA]|\(\?[^)]*\^", rest)
    return unusual is None and mark not in rest.replace("\\.", "") and re.search(matching, rest) is None


def _telling(group: Letters) -> tuple[int, int]:
    """How seldom a note holds one of `group`, roughly."""
    return min(map(_length, group)), -len(group)


@cache
def _length(letters: str) -> int:
    """Twice how many letters; the edge of a word tells as much as one, a lone mark as two, a common word less."""
    letters = letters.replace(_OPEN, "")
    if letters.strip(_EDGE + " ") in _COMMON:
        return 3
    return 4 if len(letters) == 1 and not letters.isalnum() else 2 * len(letters)


def _needed_by_any(text: str, at: int, before: str) -> tuple[list[Letters], int]:
    """What each of the alternatives from `at` to the end of their group needs, and where that end is."""
    branches: list[list[Letters]] = []
    while True:
        groups, at = _needed_by_all(text, at, before)
        branches.append(groups)
        if at == len(text) or text[at] == ")":
            break
        at += 1
    if len(branches) == 1:
        return branches[0], at
    if not all(branches):
        return [], at
    return [tuple(dict.fromkeys(word for groups in branches for word in max(groups, key=_telling)))], at


def _needed_by_all(text: str, at: int, before: str) -> tuple[list[Letters], int]:
    """What the parts from `at` to the next bar or the end of the group need together, and where that is.

    `before` is the edge of a word when one stands before `at`.
    """
    out: list[Letters] = []
    run = before  # letters that stand beside each other in every match
    while (piece := _REGEX_PIECE.match(text, at)) is not None:
        mark, letters, escaped = piece.groups()
        if mark in ("|", ")"):
            break
        at = piece.end()
        inner: list[Letters] = []
        if mark == "(":
            kind = _GROUP_KIND.match(text, at)
            inner, at = _needed_by_any(text, kind.end() if kind else at, _EDGE if run.endswith(_EDGE) else "")
            at += 1
            if kind and kind["not"]:
                inner = []
            elif text.startswith("\\b", at):
                inner = [tuple(word.replace(_OPEN, _EDGE) for word in group) for group in inner]
            elif text[at : at + 1] not in ("", "|", ")"):
                inner = [tuple(word.replace(_OPEN, "") for word in group) for group in inner]
        elif mark == "[":
            at = _set_end(text, at)
        elif piece[0] == "\\b":
            run += _EDGE
            continue
        repeat = _REPEAT.match(text, at)
        if repeat is None and (letters or escaped):
            run += letters or escaped
            continue
        if letters:
            # A repeat is about the last letter only.
            run += letters[:-1]
            escaped = letters[-1]
        if repeat is not None:
            at = repeat.end()
            if repeat["none"]:
                escaped, inner = None, []
        run += escaped or ""
        if run.strip(_EDGE):
            out.append((run,))
        run = ""
        out += inner
    if run.strip(_EDGE):
        out.append((run + _OPEN,))
    return out, at


def _set_end(text: str, at: int) -> int:
    """Just after the `]` that closes the set opened before `at`."""
    at += text.startswith("^", at)
    at += text.startswith("]", at)
    while at < len(text) and text[at] != "]":
        at += 2 if text[at] == "\\" else 1
    return at + 1


@lru_cache(maxsize=20_000)
def _expand(term: str, whole: bool) -> _Sequences:
    pieces = _pieces(term) if whole else _core(_pieces(term), term)
    sequences, end = _parse_sequence(pieces, 0, term, in_bracket=False)
    if end < len(pieces):
        raise KnowledgeError(f"term '{term}': '{pieces[end]}' closes nothing")
    unique = tuple(dict.fromkeys(sequences))
    if len(unique) > MAX_EXPANSIONS:
        raise _explosion(term, len(unique))
    for sequence in unique:
        if not any(word != GAP for word in sequence):
            raise KnowledgeError(
                f"term '{term}': every word is optional, so it would match anything "
                r"(a bracket that is meant itself is written \()"
            )
        if sequence[0] == GAP or sequence[-1] == GAP:
            raise KnowledgeError(f"term '{term}': a gap ({GAP}) has to stand between two words")
    if "\\" not in term:
        return unique
    return tuple(tuple(_ESCAPED.sub(r"\1", word) for word in sequence) for sequence in unique)


def _core(pieces: list[str], term: str) -> list[str]:
    """`pieces` without optional words at either end: where the rest matches, the term matches."""
    while pieces and pieces[0] == "(":
        _, end = _parse_bracket(pieces, 0, term)
        if end >= len(pieces) or pieces[end] != " ":
            break
        pieces = pieces[end + 1 :]
    while pieces and pieces[-1] == ")":
        start = _opening(pieces)
        if start == 0 or pieces[start - 1] != " ":
            break
        _parse_bracket(pieces, start, term)
        pieces = pieces[: start - 1]
    return pieces


def _opening(pieces: list[str]) -> int:
    """Where the bracket that the last piece closes opens; 0 when nothing does."""
    depth = 0
    for place in range(len(pieces) - 1, 0, -1):
        depth += (pieces[place] in _CLOSES.values()) - (pieces[place] in _CLOSES)
        if depth == 0:
            return place
    return 0


def _closing(pieces: list[str], start: int) -> int | None:
    """Where the bracket at `start` closes, None when it does not."""
    depth = 0
    for place in range(start, len(pieces)):
        depth += (pieces[place] in _CLOSES) - (pieces[place] in _CLOSES.values())
        if depth == 0:
            return place
    return None


def _pieces(term: str) -> list[str]:
    """Words, brackets, bars and single spaces; no space at the ends."""
    raw = _PIECE.findall(term.strip())
    if "\\" in raw:
        raise KnowledgeError(f"term '{term}': a backslash stands only before a bracket or a bar; is this a pattern?")
    return [" " if piece.isspace() else GAP if piece == "…" else piece for piece in raw]


def _parse_sequence(pieces: list[str], start: int, term: str, *, in_bracket: bool) -> tuple[_Sequences, int]:
    """Read words until the end, or, inside a bracket, until its `|` or closing bracket."""
    sequences: _Sequences = _EMPTY
    position, empty = start, True
    while position < len(pieces):
        piece = pieces[position]
        if piece in (")", "]") or (piece == "|" and in_bracket):
            break
        if piece == " ":
            position += 1
            continue
        part, position = _parse_word(pieces, position, term, in_bracket=in_bracket)
        _no_glue(pieces, position, term, in_bracket=in_bracket)
        sequences = tuple(left + right for left in sequences for right in part)
        if len(sequences) > MAX_EXPANSIONS * 4:
            raise _explosion(term, len(sequences))
        empty = False
    if empty:
        raise KnowledgeError(f"term '{term}': " + ("an alternative is empty" if in_bracket else "it is empty"))
    return sequences, position


def _parse_word(pieces: list[str], start: int, term: str, *, in_bracket: bool) -> tuple[_Sequences, int]:
    """Read one word, a bracket, or, outside brackets, words joined by `|`."""
    if pieces[start] == "|":
        raise KnowledgeError(f"term '{term}': an alternative is empty")
    if pieces[start] in _CLOSES:
        return _parse_bracket(pieces, start, term)
    alternatives: list[tuple[str, ...]] = [(pieces[start],)]
    position = start + 1
    while not in_bracket and position < len(pieces) and pieces[position] == "|":
        position += 1
        if position == len(pieces) or pieces[position] in (" ", "|", ")", "]"):
            raise KnowledgeError(f"term '{term}': an alternative is empty")
        if pieces[position] in _CLOSES:
            raise KnowledgeError(f"term '{term}': put alternatives of several words in one bracket, [a b|c d]")
        alternatives.append((pieces[position],))
        position += 1
    return tuple(alternatives), position


def _parse_bracket(pieces: list[str], start: int, term: str) -> tuple[_Sequences, int]:
    """Read `(…)` or `[…]` with its alternatives; round ones may also be left out."""
    opening = pieces[start]
    sequences: list[tuple[str, ...]] = [()] if opening == "(" else []
    position = start + 1
    while True:
        alternative, position = _parse_sequence(pieces, position, term, in_bracket=True)
        sequences += alternative
        if position == len(pieces):
            raise KnowledgeError(f"term '{term}': '{opening}' is never closed")
        closing = pieces[position]
        position += 1
        if closing == "|":
            continue
        if closing != _CLOSES[opening]:
            raise KnowledgeError(f"term '{term}': '{opening}' is closed by '{closing}'")
        return tuple(dict.fromkeys(sequences)), position


def _no_glue(pieces: list[str], position: int, term: str, *, in_bracket: bool) -> None:
    """Refuse `word(s)` and `[a b]|c`: a bracket holds words, not letters, and bars join single words outside it."""
    if position == len(pieces) or pieces[position] in (" ", ")", "]"):
        return
    if pieces[position] == "|":
        if in_bracket:
            return
        raise KnowledgeError(f"term '{term}': put alternatives of several words in one bracket, [a b|c d]")
    raise KnowledgeError(
        f"term '{term}': a space has to stand between '{pieces[position - 1]}' and '{pieces[position]}' "
        "(a bracket holds words, not letters)"
    )


def _explosion(term: str, number: int) -> KnowledgeError:
    return KnowledgeError(
        f"term '{term}': stands for {number} or more word sequences, more than {MAX_EXPANSIONS}; "
        "split it, or say it as a pair of a part and a change"
    )
