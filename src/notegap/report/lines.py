"""Lines of styled text: wrapped to a width, made safe for a terminal, printed with colour codes or without."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from io import StringIO

from rich.console import Console
from rich.text import Text

from notegap.report.page import Page

NARROWEST = 40
"""Columns a page has at least; below, lines are longer than the page."""

_MEASURE = Console(file=StringIO(), width=NARROWEST)


def page_width(page: Page) -> int:
    """The columns lines are wrapped to."""
    return max(page.width, NARROWEST)


def render(lines: Iterable[Text], page: Page) -> str:
    """Lines as one string: with colour codes when the page has colour, without a single one otherwise."""
    if not page.color:
        return "".join(f"{line.plain.rstrip()}\n" for line in lines)
    file = StringIO()
    console = Console(file=file, force_terminal=True, color_system="standard", legacy_windows=False, no_color=False)
    for line in lines:
        line.rstrip()
        console.print(line, soft_wrap=True)
    return file.getvalue()


def wrapped(text: Text, width: int, indent: int) -> Iterator[Text]:
    """`text` in lines of at most `width` columns, all but the first indented by `indent`."""
    end = len(text.wrap(_MEASURE, width)[0].plain.rstrip())
    yield text[:end]
    rest = text[end + _leading_spaces(text.plain[end:]) :] if text.plain[end:].strip() else Text()
    if rest.plain:
        for part in rest.wrap(_MEASURE, width - indent):
            yield Text(" " * indent).append_text(part)


def shown(text: str, most: int | None = None) -> str:
    """Text from outside made safe to print: on one line, characters nobody sees as escapes, its middle cut if long."""
    line = "".join(_visible(char) for char in " ".join(text.split()))
    if most is None or len(line) <= most:
        return line
    half = (most - 3) // 2
    return f"{line[:half].rstrip()} … {line[-half:].lstrip()}"


def position(text: str, offset: int) -> str:
    """The offset as "line:column", both counted from 1."""
    line, column = place(text, offset)
    return f"{line}:{column}"


def place(text: str, offset: int) -> tuple[int, int]:
    """The line and the column of the offset, both counted from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def count(number: int, noun: str) -> str:
    """As one says it: "1 gap", "2 gaps", "no gaps"."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _leading_spaces(text: str) -> int:
    return len(text) - len(text.lstrip())


def _visible(char: str) -> str:
    # Control characters, zero-width and bidirectional marks, lone surrogates: a note must not steer a terminal.
    if unicodedata.category(char) in ("Cc", "Cf", "Cs"):
        return char.encode("unicode_escape").decode("ascii")
    return char
