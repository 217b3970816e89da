"""The flat table as CSV, which a spreadsheet can open without running anything that is in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from notegap.audit.table import Columns, Shape, writing_to

_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
_LIST_SEPARATOR = ";"


class CsvSink:
    """Writes rows as CSV (RFC 4180) in UTF-8, with a header; lists are joined by ";", truth is true or false."""

    def __init__(self, path: Path, shape: Shape, *, asked: Path) -> None:
        """`asked` is the file that was asked for, which is told when there is no room."""
        self._asked = asked
        with writing_to(asked):
            self._file = path.open("w", encoding="utf-8", errors="replace", newline="")
        self._lines = CsvLines(self._put, shape)

    def write(self, rows: Columns) -> None:
        """Write some rows."""
        self._lines.write(rows)

    def end(self, metadata: Mapping[str, str]) -> None:
        """Close the file. CSV has no place for `metadata`."""
        with writing_to(self._asked):
            self._file.close()

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in."""
        try:
            self._file.close()
        except OSError:
            # The disk that refused the rows refuses the rest too; the file is removed anyway.
            return

    def _put(self, text: str) -> None:
        with writing_to(self._asked):
            self._file.write(text)


class CsvLines:
    """Rows as the text of a CSV file, given to `put` some at a time, the header first."""

    def __init__(self, put: Callable[[str], None], shape: Shape) -> None:
        self._put = put
        self._names = list(shape.columns)
        self._put(lines_of([self._names]))

    def write(self, rows: Columns) -> None:
        """Put some rows."""
        values = zip(*(rows[name] for name in self._names), strict=True)
        self._put(lines_of([[cell(value) for value in row] for row in values]))


def lines_of(rows: list[list[str]]) -> str:
    """Cells as lines of CSV."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def cell(value: Any) -> str:
    """A value as it stands in a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, list):
        return _LIST_SEPARATOR.join(harmless(each) for each in value)
    return str(value)


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe goes before what could begin one."""
    # Spreadsheets look past white space, and a tab or a line end at the start can begin a cell of its own.
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text.startswith(("\t", "\r", "\n")) else text
