"""What of a query words alone cannot judge: named checks that the rules in patterns/query_rules/ use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from notegap.model import REGIONS, RulePart
from notegap.query.parts import Part, QueryParts

_WORD = re.compile(r"\w[\w'’.-]*")
_LAST = re.compile(r"(?:clinically )?(?:none|not |no |yes|other|unable|undetermined|cannot|unknown)\b", re.IGNORECASE)
_EMPHASIS = re.compile(r"\*\*(?=\S)[^*\n]+\*\*|(?<!\w)__(?=\S)[^_\n]+__(?!\w)|<(b|strong|mark|u)>[^<\n]*</\1>")
_LEVEL = re.compile(r"\b([CTLS])(\d{1,2})\b")
_SPINE = "CTLS"

Span = tuple[Part, int, int]
"""A stretch of a part."""


def length(query: QueryParts, part: RulePart) -> Iterator[Span]:
    """More words than `most`: the first word too many to the end."""
    words = [(piece, word) for piece in query.of("anywhere") for word in _WORD.finditer(piece.text)]
    if query.asks and len(words) > part.most:
        piece, word = words[part.most]
        yield piece, word.start(), word.end()


def one_question(query: QueryParts, part: RulePart) -> Iterator[Span]:
    """Every question after the first."""
    asked = [(piece, *span) for piece in query.of("question") for span in _questions(piece)]
    yield from asked[1:]


def option_order(query: QueryParts, part: RulePart) -> Iterator[Span]:
    """The first option out of alphabetical order and of that of the spine, or after the open ones."""
    options = query.of("option")
    named = [option for option in options if not _LAST.match(option.text)]
    tail = False
    for option in options:
        if _LAST.match(option.text):
            tail = tail or not re.match(r"(?:yes|no)\b", option.text, re.IGNORECASE)
        elif tail:
            yield option, 0, len(option.text)
            return
    places = [_place(option.text) for option in named]
    if all(place is not None for place in places):
        keys: list[tuple[float, str]] = [(place if place is not None else 0.0, "") for place in places]
        if keys == sorted(keys):
            return
    words = [option.text.casefold() for option in named]
    for number in range(1, len(words)):
        if words[number] < words[number - 1]:
            yield named[number], 0, len(named[number].text)
            return


def option_support(query: QueryParts, part: RulePart) -> Iterator[Span]:
    """An option of JSON that names no indicator supporting it; of text, only a person can tell."""
    for option in query.of("option"):
        if option.supported is False and not _LAST.match(option.text):
            yield option, 0, len(option.text)


def emphasis(query: QueryParts, part: RulePart) -> Iterator[Span]:
    """A stretch of the question in bold, or an option set off in bold or in capitals when the others are not."""
    for question in query.of("question"):
        for bold in _EMPHASIS.finditer(question.text):
            yield question, bold.start(), bold.end()
    options = query.of("option")
    for option in options:
        loud = _is_loud(option.text) and not all(_is_loud(other.text) for other in options)
        if loud or _EMPHASIS.search(option.text) is not None:
            yield option, 0, len(option.text)


def undocumented_title(query: QueryParts, part: RulePart) -> Iterator[Span]:
    """A diagnosis in the title that no quote of the record holds."""
    for title in query.of("title"):
        yield from _undocumented(title, query, part)


def undocumented_yes_no(query: QueryParts, part: RulePart) -> Iterator[Span]:
    """A diagnosis that a yes/no question asks about and no quote of the record holds."""
    if query.asks_yes_no:
        for question in query.of("question"):
            yield from _undocumented(question, query, part)


CHECKS: Mapping[str, Callable[[QueryParts, RulePart], Iterator[Span]]] = MappingProxyType(
    {
        "length": length,
        "one_question": one_question,
        "option_order": option_order,
        "option_support": option_support,
        "emphasis": emphasis,
        "undocumented_title": undocumented_title,
        "undocumented_yes_no": undocumented_yes_no,
    }
)
"""The name a rule uses → the check."""


def _undocumented(piece: Part, query: QueryParts, part: RulePart) -> Iterator[Span]:
    quoted = " ".join(told.text for told in (*query.of("quote"), *query.of("indicator"))).casefold()
    for stem in part.words:
        found = re.search(rf"\b{re.escape(stem)}\w*", piece.text, re.IGNORECASE)
        if found is not None and stem.casefold() not in quoted:
            yield piece, found.start(), found.end()


def _questions(piece: Part) -> Iterator[tuple[int, int]]:
    start = 0
    for match in re.finditer(r"\?", piece.text):
        yield start, match.end()
        start = match.end() + len(piece.text[match.end() :]) - len(piece.text[match.end() :].lstrip())


def _is_loud(text: str) -> bool:
    letters = [char for char in text if char.isalpha()]
    return len(letters) > 4 and all(char.isupper() for char in letters)


def _place(option: str) -> float | None:
    """Where on the spine an option is, from head to tail; None when it names no place."""
    level = _LEVEL.search(option)
    if level is not None:
        return _SPINE.index(level[1]) * 100 + int(level[2])
    name = re.sub(r"[\s-]+", "_", option.casefold())
    # Longer names first: "lumbosacral" is not "sacral", "thoracolumbar" not "lumbar".
    for region in sorted(REGIONS, key=len, reverse=True):
        if region in name:
            return REGIONS.index(region) * 1000
    return None
