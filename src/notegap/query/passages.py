"""The stretch of a note that is quoted for a mention: its sentence, so that the reader sees what is said of it."""

from __future__ import annotations

import re

_LONGEST = 30
"""Words a quote has at most; a run-on dictation has no end of sentence for pages."""

_AROUND = 10
"""Words kept on each side of a mention in a longer sentence."""

_BEFORE = 40
"""Words kept before a mention that something before it denies or doubts."""

_REACH = 2_000
"""Characters on each side in which the sentence's ends are looked for."""

_WRAPPED = 60
"""A line as long as this ends where it was wrapped, not where its sentence does, unless a stop closes it."""

# A stop before a space, an empty line, or a line's end.
_END = re.compile(r"[.!?](?=\s)|\n\s*\n|\n|\r(?!\n)")
_GOES_ON = re.compile(r"\s*[a-z]")
_WORD = re.compile(r"\S+")


def passage(text: str, start: int, end: int, *, from_start: bool = False) -> tuple[int, int]:
    """The offsets of the sentence around `text[start:end]`, shortened when it is very long.

    `from_start`: the beginning is kept, since what denies or doubts a mention stands before it ("Denies a, b and c").
    """
    first, last = _sentence(text, start, end)
    words = [word.span() for word in _WORD.finditer(text, first, last)]
    if len(words) <= _LONGEST:
        return first, last
    inside = [number for number, (begin, stop) in enumerate(words) if begin < end and start < stop]
    left = max(0, inside[0] - (_BEFORE if from_start else _AROUND))
    right = min(len(words) - 1, inside[-1] + _AROUND)
    return min(words[left][0], start), max(words[right][1], end)


def _sentence(text: str, start: int, end: int) -> tuple[int, int]:
    first = max(0, start - _REACH)
    last = min(len(text), end + _REACH)
    for stop in _END.finditer(text, first, last):
        if not _ends(text, stop):
            continue
        if stop.end() <= start:
            first = stop.end()
        elif stop.end() > end:
            last = stop.end()
            break
    while first < start and not _says(text[first]):
        first += 1
    while last > end and text[last - 1].isspace():
        last -= 1
    return first, last


def _ends(text: str, stop: re.Match[str]) -> bool:
    """Whether a sentence ends here: at a line's end only where the next line does not go on with it."""
    if stop[0] != "\n":
        return True
    if _GOES_ON.match(text, stop.end()):
        return False
    length = stop.start() - (text.rfind("\n", 0, stop.start()) + 1)
    return length < _WRAPPED or text[max(0, stop.start() - 3) : stop.start()].rstrip()[-1:] in (".", ":", ";", "!", "?")


def _says(char: str) -> bool:
    """Whether a quote may begin with `char`: no space, no bullet."""
    return not char.isspace() and char not in "-*•·–—#>"
