"""The audit as a workbook: the worklist first, then what was counted. Written a row at a time, whatever its length."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import notegap
from notegap.audit.base import streamed
from notegap.audit.summary import Summary
from notegap.audit.suppress import Rate, Told
from notegap.audit.table import cannot_write, encodable
from notegap.errors import NotegapError
from notegap.notes.text import printable

if TYPE_CHECKING:
    import duckdb
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

MOST_ROWS = 1_048_576
"""Rows of a sheet; Excel opens no more."""

_LONGEST_CELL = 32_767
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# The same audit gives the same file.
_MADE = datetime(2000, 1, 1)

_WORKLIST = {
    "Priority": ("priority", 8),
    "For": ("for_whom", 9),
    "Note": ("note_id", 22),
    "Source": ("source", 22),
    "Row": ("row", 8),
    "Provider": ("provider", 20),
    "Clinic": ("department", 18),
    "Date": ("date", 11),
    "Code": ("code", 9),
    "Item": ("item", 22),
    "Status": ("status", 13),
    "Question": ("ask", 60),
    "Severity": ("severity", 13),
    "Alert": ("alert", 11),
    "On the claim": ("claimed", 11),
}
_CHANGE = {"Since the baseline": ("change", 16)}
_RATE = ("with gaps", "of", "rate", "from (95 %)", "to (95 %)")


def write_workbook(
    connection: duckdb.DuckDBPyConnection,
    summary: Summary,
    path: Path,
    *,
    asked: Path,
    work: Path,
    say: Callable[[str], None],
) -> None:
    """Write the workbook of an audit."""
    import xlsxwriter
    from xlsxwriter.exceptions import XlsxWriterException

    settings = {
        "constant_memory": True,
        "tmpdir": str(work),
        # Words of a file are words, whatever they begin with.
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "default_date_format": "yyyy-mm-dd",
    }
    try:
        book = xlsxwriter.Workbook(str(path), settings)
        book.set_properties(
            {"title": "Documentation audit", "author": f"notegap {notegap.__version__}", "created": _MADE}
        )
        left_out = _Book(book).write(connection, summary)
        book.close()
    except OSError as error:
        raise cannot_write(asked, error) from None
    except XlsxWriterException as error:
        # It wraps the system's error in its own.
        system = error.__cause__ or error.__context__ or (error.args[0] if error.args else None)
        if isinstance(system, OSError):
            raise cannot_write(asked, system) from None
        raise NotegapError(f"{printable(str(asked))}: cannot be written ({type(error).__name__})") from None
    if left_out:
        say(
            f"{printable(str(asked))}: a sheet has room for {MOST_ROWS - 1} rows; {left_out} rows of the worklist, "
            "those that can wait longest, are not in it (a .parquet, .csv or .duckdb file has them all)"
        )


class _Book:
    """The sheets of the workbook."""

    def __init__(self, book: Workbook) -> None:
        self._book = book
        self._head: Format = book.add_format(
            {"bold": True, "bg_color": "#E3EEFB", "bottom": 1, "text_wrap": True, "valign": "top"}
        )
        self._share: Format = book.add_format({"num_format": "0.0%"})
        self._bold: Format = book.add_format({"bold": True})
        self._wrap: Format = book.add_format({"text_wrap": True, "valign": "top"})

    def write(self, connection: duckdb.DuckDBPyConnection, summary: Summary) -> int:
        """Write every sheet; how many rows of the worklist had no room."""
        worklist = self._book.add_worksheet("Worklist")
        about = self._book.add_worksheet("About")
        written, left_out = self._worklist(worklist, connection, with_change=summary.changes is not None)
        self._about(about, summary, written, left_out)
        self._rates("By code", "Code", summary.by_code, "Title")
        self._rates("By item", "Item", summary.by_item, "Question")
        self._rates("By provider", "Provider", summary.by_provider)
        self._rates("By clinic", "Clinic or department", summary.by_department)
        self._rates("By month", "Month", summary.by_month)
        self._numbers("Conflicts", ("Conflict", "Notes", "Kind"), summary.conflicts)
        self._numbers("Other alerts", ("Alert", "Notes", "Kind"), summary.routes)
        self._claims(summary)
        if summary.changes is not None:
            self._changes(connection, summary)
        if summary.failures:
            sheet = self._sheet("Not read", {"Reason": 80, "Notes": 10})
            for number, (reason, notes) in enumerate(summary.failures, start=1):
                _put(sheet, number, (reason, notes))
        worklist.activate()
        return left_out

    def _worklist(
        self, sheet: Worksheet, connection: duckdb.DuckDBPyConnection, *, with_change: bool
    ) -> tuple[int, int]:
        shown = {**_WORKLIST, **(_CHANGE if with_change else {})}
        self._start(sheet, {name: width for name, (_, width) in shown.items()})
        sheet.freeze_panes(1, 3)
        names = ", ".join(f'"{column}"' for column, _ in shown.values())
        number = 0
        query = f'SELECT {names} FROM worklist ORDER BY priority, for_whom DESC, kind DESC, "row", code, item'
        for number, values in enumerate(streamed(connection, query), start=1):
            if number < MOST_ROWS:
                _put(sheet, number, values)
        written = min(number, MOST_ROWS - 1)
        sheet.autofilter(0, 0, max(written, 1), len(shown) - 1)
        return written, number - written

    def _about(self, sheet: Worksheet, summary: Summary, written: int, left_out: int) -> None:
        counts = summary.counts
        sheet.set_column(0, 0, 44)
        sheet.set_column(1, 1, 90, self._wrap)
        rows: list[tuple[Any, ...]] = [
            ("Documentation audit", ""),
            ("Rows read from the input", counts.rows),
            ("Could not be read or analyzed", counts.failed),
            ("Exact copies of an earlier note, counted with it", counts.copies),
            ("Nearly copies, counted", counts.near_copies),
            ("Notes that count", counts.distinct),
            ("of these, without a code to check", counts.without_code),
            ("of these, checked against a checklist", counts.checked),
            ("of these, with at least one gap", counts.with_gaps),
            ("of these, without any open item", counts.complete),
            ("Dates of the notes", f"{counts.first_date} to {counts.last_date}" if counts.first_date else "not stated"),
            ("Code set", ", ".join(summary.code_sets)),
            ("notegap", ", ".join(summary.versions)),
            ("Rules", ", ".join(summary.rules)),
            (
                "Rows of the worklist",
                f"{written} in this workbook" + (f"; {left_out} more had no room" if left_out else ""),
            ),
            (
                "Priority",
                "1: what the code needs, or what speaks against it. 2: what its circumstances need. 3: can wait.",
            ),
            ("For", "provider: a question for the note's author. coder: a code to look at, no question."),
            (
                "Small groups",
                f"Groups of fewer than {summary.small} notes are told together in the sheets of rates, with others "
                "where their number could be worked out. The worklist names every note and provider: it is for sending "
                "queries, not for passing on.",
            ),
            ("Rates", "The share that has gaps, with its 95 % interval (Wilson). A copy of a note counts once."),
        ]
        for number, row in enumerate(rows):
            sheet.write_string(number, 0, _clean(str(row[0])), self._bold)
            if isinstance(row[1], int):
                sheet.write_number(number, 1, row[1], self._wrap)
            else:
                sheet.write_string(number, 1, _clean(row[1]), self._wrap)

    def _rates(self, name: str, group: str, told: Told, detail: str = "") -> None:
        sheet = self._sheet(name, {group: 34, **dict.fromkeys(_RATE, 12), **({detail: 70} if detail else {})})
        for number, rate in enumerate(_all(told), start=1):
            sheet.write_string(number, 0, _clean(rate.name))
            sheet.write_number(number, 1, rate.part)
            sheet.write_number(number, 2, rate.whole)
            for column, share in enumerate((rate.share, *rate.interval), start=3):
                sheet.write_number(number, column, share, self._share)
            if detail:
                sheet.write_string(number, 6, _clean(rate.detail))

    def _numbers(self, name: str, head: Sequence[str], told: Told) -> None:
        sheet = self._sheet(name, dict(zip(head, (34, 10, 14), strict=True)))
        for number, rate in enumerate(_all(told), start=1):
            _put(sheet, number, (rate.name, rate.whole, rate.detail))

    def _claims(self, summary: Summary) -> None:
        sheet = self._sheet("Claims", {"Codes of notes with a known claim": 48, "Number": 10, "of": 10, "share": 10})
        number = 0
        for rate in (*summary.claims, *summary.funnel):
            number += 1
            _put(sheet, number, (rate.name, rate.part, rate.whole))
            sheet.write_number(number, 3, rate.share, self._share)
        lists = (
            ("Claimed, with open items", summary.unsupported),
            ("Claimed, not checked: --check-claims checks them", summary.not_checked),
            ("Documented, not claimed", summary.unclaimed),
        )
        for title, told in lists:
            if told is summary.not_checked and not summary.counts.claims_unchecked:
                continue
            number += 2
            sheet.write_string(number, 0, title, self._bold)
            for rate in _all(told):
                number += 1
                _put(sheet, number, (f"{rate.name} {rate.detail}".strip(), rate.whole))

    def _changes(self, connection: duckdb.DuckDBPyConnection, summary: Summary) -> None:
        assert summary.changes is not None
        columns = {
            "What became of it": ("fate", 18), "Note": ("note_id", 22), "Source": ("source", 22),
            "Provider": ("provider", 20), "Clinic": ("department", 18), "Date": ("date", 11), "Code": ("code", 9),
            "Item": ("item", 22), "Was": ("status_then", 13),
        }  # fmt: skip
        sheet = self._sheet("Gone", {name: width for name, (_, width) in columns.items()})
        names = ", ".join(column for column, _ in columns.values())
        number = 0
        for number, values in enumerate(
            streamed(connection, f"SELECT {names} FROM gone ORDER BY note_id, finding_id"),
            start=1,
        ):
            if number >= MOST_ROWS:
                break
            _put(sheet, number, values)
        sheet.autofilter(0, 0, max(number, 1), len(columns) - 1)
        changes = summary.changes
        sheet = self._sheet("Changes", {"Open items since the baseline": 60, "Number": 10})
        rows: Iterable[tuple[str, int]] = [
            ("new", changes.new),
            ("of these, of notes that the baseline does not have", changes.new_notes),
            ("unchanged", changes.unchanged),
            *((f"gone, now {fate.replace('_', ' ')}", number) for fate, number in changes.gone.items()),
            ("of notes that are not in this audit", changes.not_audited),
        ]
        for place, row in enumerate(rows, start=1):
            _put(sheet, place, row)
        if not changes.same_rules:
            sheet.write_string(7 + len(changes.gone), 0, "The baseline was made with other rules.", self._bold)

    def _sheet(self, name: str, widths: dict[str, int]) -> Worksheet:
        sheet = self._book.add_worksheet(name)
        self._start(sheet, widths)
        sheet.freeze_panes(1, 1)
        return sheet

    def _start(self, sheet: Worksheet, widths: dict[str, int]) -> None:
        sheet.set_landscape()
        sheet.fit_to_pages(1, 0)
        sheet.repeat_rows(0)
        for column, (title, width) in enumerate(widths.items()):
            sheet.set_column(column, column, width)
            sheet.write_string(0, column, title, self._head)


def _all(told: Told) -> Iterable[Rate]:
    return (*told.groups, told.rest) if told.rest is not None else told.groups


def _put(sheet: Worksheet, number: int, values: Sequence[Any]) -> None:
    for column, value in enumerate(values):
        if isinstance(value, bool):
            sheet.write_string(number, column, "yes" if value else "no")
        elif isinstance(value, int | float):
            sheet.write_number(number, column, value)
        elif value:
            sheet.write_string(number, column, _clean(value))


def _clean(text: str) -> str:
    """Text that a cell can hold."""
    return _NOT_XML.sub("\ufffd", encodable(text))[:_LONGEST_CELL]
