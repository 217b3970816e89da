"""Where reports go: standard output or a file, one after another, whole or not at all."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from notegap.errors import NotegapError
from notegap.notes.text import printable
from notegap.report.sarif import LOG_END, LOG_START

_FRAMES = {"json": ("[\n", "\n]\n"), "sarif": (LOG_START, LOG_END)}
"""What opens and closes the whole of many reports; a SARIF log is a whole of one run too."""


class Pieces:
    """Writes reports one after another so that the whole is what the format says: many JSON reports are an array."""

    def __init__(self, write: Callable[[str], None], format_: str, *, many: bool) -> None:
        self._write = write
        self._format = format_
        self._frame = _FRAMES.get(format_) if many or format_ == "sarif" else None
        self._number = 0

    def add(self, piece: str) -> None:
        """Write one report."""
        self._number += 1
        if self._frame is not None:
            self._write((self._frame[0] if self._number == 1 else ",\n") + piece.rstrip("\n"))
        else:
            self._write(("\n\n" if self._format == "text" and self._number > 1 else "") + piece)

    def end(self) -> None:
        """Write what closes the whole."""
        if self._frame is not None:
            self._write(("" if self._number else self._frame[0]) + self._frame[1])


@contextmanager
def output(out: Path | None, *, left_over: Callable[[str], None] | None = None) -> Iterator[Callable[[str], None]]:
    """What writes to `out`, or to standard output when it is None.

    A file appears under its name only once it is whole. With `left_over`, what was written before an error is kept
    beside it and `left_over` is told where; without, it is removed. Raises `NotegapError` when writing fails.
    """
    if out is None:
        yield print_out
    elif out.exists() and not out.is_file():
        # A device or a pipe cannot be replaced by a file, only written to.
        with _written(out, out) as write:
            yield write
    else:
        with _written_whole(out, left_over) as write:
            yield write


def print_out(text: str) -> None:
    """Write to standard output and see that it arrives."""
    if sys.stdout is None:
        raise NotegapError("standard output: is closed")
    try:
        sys.stdout.flush()
        # Bytes: JSON is UTF-8 wherever it is printed, and a note's letters must not stop a report.
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise _cannot_write("standard output", error) from None


def abandon_stdout() -> None:
    """Let nothing more be written, so that Python does not try again at exit and print a traceback."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _written_whole(out: Path, left_over: Callable[[str], None] | None) -> Iterator[Callable[[str], None]]:
    target = out.resolve()
    partial = target.with_name(f"{target.name}.partial")
    whole = False
    try:
        with _written(partial, out) as write:
            yield write
        whole = True
    finally:
        if not whole and left_over is None:
            partial.unlink(missing_ok=True)
        elif not whole and left_over is not None and partial.exists():
            left_over(f"what was written until then is in {printable(str(partial))}")
    try:
        partial.replace(target)
    except OSError as error:
        raise _cannot_write(printable(str(out)), error) from None


@contextmanager
def _written(path: Path, asked: Path) -> Iterator[Callable[[str], None]]:
    name = printable(str(asked))
    try:
        file = path.open("w", encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise _cannot_write(name, error) from None

    def write(text: str) -> None:
        try:
            file.write(text)
            file.flush()
        except OSError as error:
            raise _cannot_write(name, error) from None

    try:
        yield write
    finally:
        _close(file, name)


def _close(file: io.TextIOWrapper, name: str) -> None:
    try:
        file.close()
    except OSError as error:
        raise _cannot_write(name, error) from None


def _cannot_write(name: str, error: OSError) -> NotegapError:
    return NotegapError(f"{name}: cannot be written ({(error.strerror or type(error).__name__).lower()})")
