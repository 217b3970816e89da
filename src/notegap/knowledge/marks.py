"""The markup of example sentences: `No [canal stenosis](canal_stenosis, negated).`

After the text in brackets come one or more values (several when one stretch states several: `[L4-S1](L4-L5, L5-S1)`),
then the assertion unless it is affirmed, then `exact` when the mention has to start and end where the brackets do.
In models/context.yaml the values are "concept/value".
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

from notegap.knowledge.nodes import Place, nearest
from notegap.model import Assertion

EXACT = "exact"
_MARK = re.compile(r"\[([^\[\]]+)\]\(([^()]*)\)")
_ASSERTIONS = {assertion.value: assertion for assertion in Assertion}


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of an example and what it must be read as; offsets are into the plain sentence."""

    start: int
    end: int
    value: str
    assertion: Assertion
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Marked:
    """An example without its markup, and the marks that were in it."""

    text: str
    marks: tuple[Mark, ...]


def parse_marks(sentence: str, place: Place) -> Marked:
    """Take the markup out of `sentence`; a half-written mark or one without a value is a KnowledgeError."""
    plain: list[str] = []
    marks: list[Mark] = []
    length = position = 0
    for match in _MARK.finditer(sentence):
        before = sentence[position : match.start()]
        _whole(before, place)
        start = length + len(before)
        end = start + len(match[1])
        marks += _marks(match[2], start, end, place)
        plain += (before, match[1])
        length, position = end, match.end()
    rest = sentence[position:]
    _whole(rest, place)
    return Marked("".join((*plain, rest)), tuple(marks))


def check_values(marked: Marked, values: Collection[str], what: str, place: Place) -> None:
    """Refuse a mark whose value is none of `values`."""
    for mark in marked.marks:
        if mark.value not in values:
            is_assertion = not difflib.get_close_matches(mark.value, values) and difflib.get_close_matches(
                mark.value, _ASSERTIONS
            )
            known = _ASSERTIONS if is_assertion else values
            raise place.error(f"unknown {what} '{mark.value}' in an example{nearest(mark.value, known)}")


def _marks(written: str, start: int, end: int, place: Place) -> list[Mark]:
    words = [word.strip() for word in written.split(",")]
    values = [word for i, word in enumerate(words) if i == 0 or (word not in _ASSERTIONS and word != EXACT)]
    assertions = [_ASSERTIONS[word] for word in words[1:] if word in _ASSERTIONS]
    if not all(words):
        raise place.error(f"the mark ({written}) in an example lacks a value")
    if len(assertions) > 1:
        raise place.error(f"the mark ({written}) in an example has two assertions")
    assertion = assertions[0] if assertions else Assertion.AFFIRMED
    return [Mark(start, end, value, assertion, EXACT in words[1:]) for value in values]


def _whole(text: str, place: Place) -> None:
    """Refuse what looks like half a mark."""
    if "](" in text or "] (" in text:
        raise place.error("a mark in an example is not whole; write [text](value) or [text](value, assertion)")
