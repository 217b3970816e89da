"""What an audit writes beside its reports: the flat table, and what is made of it, all files whole or none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import notegap
from notegap.audit.out.csv import CsvLines, CsvSink
from notegap.audit.rows import AuditedNote, flat_rows
from notegap.audit.summary import SMALL
from notegap.audit.table import (
    CHANGE,
    ROWS_AT_ONCE,
    TABLE_VERSION,
    TEXT_AT_ONCE,
    Columns,
    ParquetSink,
    Shape,
    need,
    row_groups,
    writing_to,
)
from notegap.errors import UsageError
from notegap.notes.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from notegap.audit.baseline import Baseline
    from notegap.audit.summary import Changes, Summary

FORMATS = ("parquet", "csv", "xlsx", "duckdb", "html")
"""What can be written beside reports; a file's suffix names it."""

_NEEDED: Mapping[str, tuple[str, ...]] = {
    "parquet": ("pyarrow",),
    "csv": (),
    "xlsx": ("pyarrow", "duckdb", "xlsxwriter"),
    "duckdb": ("pyarrow", "duckdb"),
    "html": ("pyarrow", "duckdb", "matplotlib"),
}
_FROM_ROWS = frozenset({"parquet", "csv"})


class Writer(Protocol):
    """Takes the notes of an audit in order; its files are there once it is closed."""

    def add(self, note: AuditedNote) -> None:
        """Take one more note."""

    def close(self) -> None:
        """Write the rest, and give every file its name."""


class Sink(Protocol):
    """Takes rows of the flat table, some at a time."""

    def write(self, rows: Columns) -> None:
        """Write some rows."""

    def end(self, metadata: Mapping[str, str]) -> None:
        """Write what is known at the end and close the file."""

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOptions:
    """How an audit is written.

    `with_text`: whether words of the notes may be in it. `small`: groups of fewer notes are not told. `baseline`: an
    earlier audit to compare with, as Parquet. `say` is told what a person at the terminal should know.
    """

    with_text: bool = False
    small: int = SMALL
    baseline: Path | None = None
    say: Callable[[str], None] = lambda _message: None


def format_of(out: Path) -> str | None:
    """The format a file's suffix names, None when it names none of these."""
    suffix = out.suffix.lower().removeprefix(".")
    return suffix if suffix in FORMATS else None


class TableWriter:
    """Writes the flat table, and what is made of it, into files; `put`, if given, gets it as CSV too.

    A file appears under its name only when all are whole; when anything fails, none does. Used as a context manager it
    closes at the end, and after an error leaves nothing behind.
    """

    def __init__(
        self,
        outs: Sequence[Path],
        options: OutOptions | None = None,
        *,
        put: Callable[[str], None] | None = None,
    ) -> None:
        self._options = options or OutOptions()
        self._outs = [_Out(out, *_resolved(out)) for out in outs]
        for out in self._outs:
            need(*_NEEDED[out.format], what=f"{printable(out.asked.name)}")
        self._shape = Shape(with_text=self._options.with_text, with_change=self._options.baseline is not None)
        self._rows: dict[str, list[Any]] = {name: [] for name in self._shape.columns}
        self._text = 0
        self._rules = ""
        self._closed = False
        self._sinks: list[Sink] = []
        self._lines = CsvLines(put, self._shape) if put is not None else None
        self._baseline: Baseline | None = None
        self._work: Path | None = None
        self._table: Path | None = None
        self._unlabelled: tuple[Path, ParquetSink] | None = None
        try:
            self._open()
        except BaseException:
            self.discard()
            raise

    def _open(self) -> None:
        derived = [out for out in self._outs if out.format not in _FROM_ROWS]
        if derived or self._options.baseline is not None:
            self._make_room()
        if self._options.baseline is not None and self._work is not None:
            from notegap.audit.baseline import Baseline

            self._baseline = Baseline(self._options.baseline, self._work / "baseline.duckdb")
            # What is gone is known once all rows are: until then they wait here.
            waiting = self._work / "unlabelled.parquet"
            asked = self._outs[0].asked if self._outs else waiting
            shape = Shape(with_text=self._options.with_text)
            self._unlabelled = waiting, ParquetSink(waiting, shape, asked=asked)
        for out in self._outs:
            if out.format == "parquet":
                self._sinks.append(ParquetSink(out.partial, self._shape, asked=out.asked))
                self._table = out.partial
            elif out.format == "csv":
                self._sinks.append(CsvSink(out.partial, self._shape, asked=out.asked))
        if self._work is not None and self._table is None:
            self._table = self._work / "table.parquet"
            asked = self._outs[0].asked if self._outs else self._table
            self._sinks.append(ParquetSink(self._table, self._shape, asked=asked))

    def _make_room(self) -> None:
        """A folder for what is needed until the end, beside the first file, where there has to be room anyway.

        Its name is always the same: what a killed run left is cleared by the next. It is hidden: an audit of the
        folder it stands in does not read it.
        """
        if not self._outs:
            self._work = Path(tempfile.mkdtemp(prefix="notegap-"))
            return
        beside = self._outs[0].target
        work = beside.with_name(f".{beside.name}.work")
        with writing_to(work):
            if work.exists():
                shutil.rmtree(work)
            work.mkdir()
        self._work = work

    def add(self, note: AuditedNote) -> None:
        """Take one more note."""
        self._rules = self._rules or note.rules
        columns = self._rows
        for row in flat_rows(note, with_text=self._shape.with_text):
            for name, value in row.items():
                columns[name].append(value)
            if self._shape.with_text:
                self._text += len(row["text"])
        if len(columns["row"]) >= ROWS_AT_ONCE or self._text >= TEXT_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if not self._rows["row"]:
            return
        if self._unlabelled is not None:
            self._unlabelled[1].write(self._rows)
        else:
            self._pass_on(self._rows)
        self._rows = {name: [] for name in self._shape.columns}
        self._text = 0

    def _pass_on(self, rows: Columns) -> None:
        for sink in self._sinks:
            sink.write(rows)
        if self._lines is not None:
            self._lines.write(rows)

    def _label(self) -> None:
        """Pass the rows that waited on, each with what changed, as many at a time as came at a time."""
        if self._unlabelled is None or self._baseline is None:
            return
        waited, sink = self._unlabelled
        sink.end({})
        self._unlabelled = None
        self._baseline.settle(waited)
        for rows in row_groups(waited):
            self._pass_on({**rows, CHANGE: self._baseline.label(rows)})

    def close(self) -> None:
        """Write the rest, make what is made of the table, and give every file its name."""
        if self._closed:
            return
        try:
            self._finish()
        except BaseException:
            self.discard()
            raise
        self._closed = True
        self._clear()

    def _finish(self) -> None:
        self._flush()
        self._label()
        metadata = {"notegap.rules": self._rules}
        if self._options.baseline is not None:
            metadata["notegap.baseline"] = self._options.baseline.name
        for sink in self._sinks:
            sink.end(metadata)
        self._sinks = []
        if self._baseline is not None:
            self._baseline.close()
            self._baseline = None
        if self._work is not None and self._table is not None:
            self._derive(self._work, self._table)
        for out in self._outs:
            with writing_to(out.asked):
                out.partial.replace(out.target)

    def _derive(self, work: Path, table: Path) -> None:
        """What is made of the whole table: the database, and what is counted in it."""
        from notegap.audit.base import build, connected, refusing
        from notegap.audit.baseline import compare
        from notegap.audit.summary import summarize

        databases = [out for out in self._outs if out.format == "duckdb"]
        place = databases[0].partial if databases else work / "audit.duckdb"
        shown = databases[0].asked if databases else self._outs[0].asked if self._outs else place
        with suppress(FileNotFoundError):
            place.unlink()
        with connected(place) as connection, refusing(shown):
            build(connection, table, copy=bool(databases), with_change=self._shape.with_change)
            changes = None
            if self._options.baseline is not None:
                changes = compare(connection, self._options.baseline)
                self._tell(changes)
            if databases or any(out.format in ("xlsx", "html") for out in self._outs):
                summary = summarize(connection, small=self._options.small, changes=changes)
                self._describe(connection, summary)
                self._write_summaries(connection, summary, work)
            connection.execute("CHECKPOINT")
        for out in databases[1:]:
            with writing_to(out.asked):
                shutil.copyfile(place, out.partial)

    def _describe(self, connection: duckdb.DuckDBPyConnection, summary: Summary) -> None:
        """What the database says of itself."""
        said = {
            "notegap": notegap.__version__,
            "table": TABLE_VERSION,
            "rules": ", ".join(summary.rules),
            "code_set": ", ".join(summary.code_sets),
            "baseline": self._options.baseline.name if self._options.baseline is not None else "",
        }
        connection.execute("CREATE TABLE audit (name VARCHAR, value VARCHAR)")
        connection.executemany("INSERT INTO audit VALUES (?, ?)", [list(pair) for pair in said.items()])

    def _write_summaries(self, connection: duckdb.DuckDBPyConnection, summary: Summary, work: Path) -> None:
        whole = tuple(out.asked.name for out in self._outs if out.format != "html")
        for out in self._outs:
            if out.format == "xlsx":
                from notegap.audit.out.xlsx import write_workbook

                write_workbook(connection, summary, out.partial, asked=out.asked, work=work, say=self._options.say)
            elif out.format == "html":
                from notegap.audit.out.html import audit_page

                with writing_to(out.asked):
                    out.partial.write_text(
                        audit_page(connection, summary, whole=whole), encoding="utf-8", errors="replace", newline="\n"
                    )

    def _tell(self, changes: Changes) -> None:
        self._options.say(str(changes))
        if not changes.same_rules:
            self._options.say(
                f"the baseline was made with other rules ({', '.join(changes.rules) or 'none named'}): "
                "an item may be new or gone because of that"
            )

    def discard(self) -> None:
        """Leave nothing behind."""
        self._closed = True
        for sink in self._sinks:
            sink.abandon()
        self._sinks = []
        if self._unlabelled is not None:
            self._unlabelled[1].abandon()
            self._unlabelled = None
        if self._baseline is not None:
            self._baseline.close()
            self._baseline = None
        for out in self._outs:
            with suppress(OSError):
                out.partial.unlink()
        self._clear()

    def _clear(self) -> None:
        if self._work is not None:
            shutil.rmtree(self._work, ignore_errors=True)
        for out in self._outs:
            if out.format == "duckdb":
                for left in (f"{out.partial}.wal", f"{out.partial}.spill"):
                    with suppress(OSError):
                        Path(left).unlink()
                    shutil.rmtree(left, ignore_errors=True)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()


@dataclass(frozen=True, slots=True)
class _Out:
    """A file that was asked for, where it comes to stand, what it is called until it is whole, its format."""

    asked: Path
    target: Path
    partial: Path
    format: str


def _resolved(out: Path) -> tuple[Path, Path, str]:
    known = format_of(out)
    if known is None:
        raise UsageError(f"{printable(str(out))}: its name ends in none of .{', .'.join(FORMATS)}")
    if out.exists() and not out.is_file():
        raise UsageError(f"{printable(str(out))}: is no file")
    target = out.resolve()
    return target, target.with_name(f"{target.name}.partial"), known


@contextmanager
def csv_lines(put: Callable[[str], None], options: OutOptions | None = None) -> Iterator[Writer]:
    """A writer of the flat table as CSV to `put`, such as what prints to standard output."""
    with TableWriter((), options, put=put) as writer:
        yield writer
