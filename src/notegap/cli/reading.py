"""Files that were named → the notes in them; what comes of each is printed, and the worst decides the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from notegap.cli.base import BROKEN, COMPLETE, GAPS, NOTHING_READ, complain
from notegap.errors import EmptyNoteError, NoteError, UsageError
from notegap.model import Note
from notegap.notes.document import RowError
from notegap.notes.files import read_file
from notegap.notes.text import STDIN, NoteOptions, printable
from notegap.report.sink import Pieces, output

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Read:
    """One note that was read, or why it was not, and where it stands; `empty` when nothing is there to be read."""

    where: str
    row: Note | RowError
    empty: bool = False


def sources_of(files: tuple[str, ...], out: Path | None) -> tuple[str, ...]:
    """The files to read; standard input when none is given and something is piped into it."""
    if not files:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("No note is given: name a file, or pipe one in with `-`.")
        return (STDIN,)
    if files.count(STDIN) > 1:
        raise UsageError("Standard input (-) is given twice; it can be read once.")
    for file in files:
        refuse_overwriting(file, out)
    return files


def refuse_overwriting(source: str, out: Path | None) -> None:
    """Raise `UsageError` when what is to be read would be written over."""
    with suppress(OSError, ValueError):
        if out is not None and source != STDIN and out.exists() and out.samefile(source):
            raise UsageError(f"--out {printable(str(out))}: is the file that is read; it would be lost.")


def where_of(source: str) -> str:
    """How a file is named in what is told."""
    return "stdin" if source == STDIN else printable(source)


def read_all(sources: tuple[str, ...], options: NoteOptions) -> list[Read]:
    """The notes of all files. What was remarked of them is told at once."""
    return [one for source in sources for one in _read(source, options)]


def _read(source: str, options: NoteOptions) -> list[Read]:
    where = where_of(source)
    try:
        rows = list(read_file(source, options, say=lambda remark: complain(f"{where}: {remark}")))
    except NoteError as error:
        message = str(error)
        for prefix in (where, "standard input"):
            if message.startswith(f"{prefix}: "):
                name = "stdin" if source == STDIN else printable(Path(source).name)
                row = RowError(name, where, message[len(prefix) + 2 :])
                return [Read(prefix, row, empty=isinstance(error, EmptyNoteError))]
        # What was given for a file's name may be a note, and is not repeated.
        return [Read("", RowError("", "", message))]
    if len(rows) == 1:
        return [Read(where, rows[0])]
    return [Read(f"{where}#{number}", row) for number, row in enumerate(rows, start=1)]


def is_any_read(read: Sequence[Read]) -> bool:
    """Whether there is a note among them."""
    return any(isinstance(one.row, Note) for one in read)


def refuse_all(read: Sequence[Read]) -> int:
    """Tell why none was read; the exit code."""
    for one in read:
        if isinstance(one.row, RowError):
            _tell(one, one.row)
    return NOTHING_READ if all(one.empty for one in read) else BROKEN


def print_each(
    read: Sequence[Read],
    outcomes: Iterable[_T | RowError],
    printed: Callable[[Read, _T], tuple[str, int]],
    *,
    out: Path | None,
    format_: str,
    in_place: bool = True,
) -> int:
    """Print what came of each note; the exit code.

    `printed` gives what one outcome looks like and its exit code. What went wrong is told on standard error and,
    where a program reads, `in_place` of what would have been printed.
    """
    codes = set()
    with output(out) as write:
        pieces = Pieces(write, format_, many=len(read) > 1)
        for one, outcome in zip(read, outcomes, strict=True):
            if isinstance(outcome, RowError):
                codes.add(BROKEN)
                _tell(one, outcome)
                if in_place and format_ not in ("text", "html"):
                    pieces.add(_error(outcome, format_))
            else:
                piece, code = printed(one, outcome)
                pieces.add(piece)
                codes.add(code)
        pieces.end()
    return next(code for code in (BROKEN, GAPS, COMPLETE, NOTHING_READ) if code in codes)


def _tell(one: Read, error: RowError) -> None:
    complain(": ".join(filter(None, (one.where, error.message))))


def _error(error: RowError, format_: str) -> str:
    from notegap.report.json import json_error, jsonl_error
    from notegap.report.sarif import sarif_error

    printer = {"json": json_error, "jsonl": jsonl_error, "sarif": sarif_error}[format_]
    return printer(error.id, error.message, error.where)
