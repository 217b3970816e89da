"""Where an audit is written: reports by `reports`, the flat table and what is made of it by the package `out`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from notegap.audit.rows import AuditedNote

if TYPE_CHECKING:
    from notegap.audit.out import OutOptions


class Writer(Protocol):
    """Takes the notes of an audit in order, one at a time, and keeps no more of them in memory than it must."""

    def add(self, note: AuditedNote) -> None:
        """Write one note."""

    def close(self) -> None:
        """Write what comes last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """What was asked of every output alike. `snippets`: a format that can do without the note's words may carry some.

    `baseline` is the table of an earlier audit to compare with; a provider with fewer notes than `small_number` is not
    shown alone.
    """

    with_text: bool = False
    snippets: bool = False
    baseline: Path | None = None
    small_number: int = 10


REPORTS = ("jsonl", "json", "sarif")
"""The formats in which whole reports are written."""
TABLES = ("parquet", "csv", "xlsx", "duckdb", "html")
"""The formats that are made of the flat table."""

Telling = Callable[[str], None]


def open_tables(outs: Sequence[Path], options: WriterOptions, tell: Telling) -> AbstractContextManager[Writer]:
    """What writes the flat table into files of `TABLES`, each of which appears only once all are whole."""
    from notegap.audit.out import TableWriter

    return TableWriter(outs, _out_options(options, tell))


def print_table(put: Telling, options: WriterOptions, tell: Telling) -> AbstractContextManager[Writer]:
    """What writes the flat table as CSV to `put`."""
    from notegap.audit.out import csv_lines

    return csv_lines(put, _out_options(options, tell))


def _out_options(options: WriterOptions, tell: Telling) -> OutOptions:
    from notegap.audit.out import OutOptions

    return OutOptions(with_text=options.with_text, small=options.small_number, baseline=options.baseline, say=tell)
