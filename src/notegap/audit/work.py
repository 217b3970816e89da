"""Where notes are analyzed: in this process, or in several that each build the pipeline once.

A note that takes too long or whose process dies is given up; the notes around it are not.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, TypeVar

from pebble import ProcessExpired, ProcessFuture, ProcessPool

from notegap.audit.bare import packed
from notegap.audit.near import signature
from notegap.errors import NotegapError, crash_site
from notegap.garbage import keep_what_lasts
from notegap.model import Note, Report
from notegap.notes.document import RowError
from notegap.notes.inputs import Elsewhere, FileRows, read_file_rows
from notegap.notes.limit import TooLongError, time_limit
from notegap.notes.text import NoteOptions
from notegap.report.json import as_dict, one_line_fast


class Analyzes(Protocol):
    """What reads a note: an Analyzer, or a stand-in."""

    def analyze(self, note: Note) -> Report:
        """The report of a note."""


_T = TypeVar("_T")
Build = Callable[[], Analyzes]
"""Makes an analyzer; a function that another process can import, or a `functools.partial` of one."""

_SHORTEST, _LONGEST = 1.0, 10.0  # seconds from the alarm inside a process until it is killed
_AHEAD = 16  # notes a worker may have waiting
_WARM = Note(id="", text="Low back pain. MRI of the lumbar spine: stenosis at L4-L5.", codes=("M24.28",))


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a note: its packed report and its signature, or why there is none; `line` is it printed on one."""

    report: bytes = field(default=b"", repr=False)
    signature: bytes = field(default=b"", repr=False)
    error: str = ""
    line: str = field(default="", repr=False)


Result = Callable[[], Done]
"""Waits for what comes of a note."""


class Workers(Protocol):
    """Takes notes and gives what comes of each."""

    @property
    def ahead(self) -> int:
        """How many may wait."""

    def start(self, note: Note) -> Result:
        """Begin with a note."""


def analyzed(note: Note, analyzer: Analyzes, timeout: float | None) -> Done:
    """What comes of a note, and never an exception that is about it."""
    try:
        with time_limit(timeout):
            report = as_dict(analyzer.analyze(note))
            return Done(packed(report, note), signature(note.text), line=one_line_fast(report))
    except TooLongError:
        return Done(error=_too_long(timeout))
    except Exception as error:  # noqa: BLE001 - one note nobody foresaw must not lose the thousands after it
        return Done(error=problem_of(error))


def problem_of(error: Exception) -> str:
    """Why a note has no report, without a word of it: for whoever reads on behind it."""
    match error:
        case NotegapError():
            return str(error)
        case MemoryError():
            return "there is not enough memory for this note"
    return f"notegap broke on this note: {crash_site(error)}"


@dataclass(frozen=True, slots=True)
class Here:
    """One note at a time in this process, none before its result is waited for."""

    analyzer: Analyzes
    timeout: float | None
    ahead: int = 0

    def start(self, note: Note) -> Result:
        """Begin when the result is waited for."""
        return lambda: analyzed(note, self.analyzer, self.timeout)


class Pool:
    """Several processes. Used as a context manager: leaving it stops them, at once when an error is on its way."""

    def __init__(self, build: Build, workers: int, timeout: float | None) -> None:
        self._timeout = timeout
        self.ahead = _AHEAD * workers
        # Libraries of linear algebra would start a thread for each core in each process.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
        # A fork would carry this process's threads' locks and open databases with it.
        self._pool = ProcessPool(
            workers,
            initializer=_prepare,
            initargs=(build, timeout),
            context=multiprocessing.get_context("spawn"),
        )

    def start(self, note: Note) -> Result:
        """Put a note in the queue."""
        future = self._schedule(_work, note)
        return lambda: self._result(future)

    def read(self, path: str, own: str, where: str, options: NoteOptions) -> Elsewhere:
        """Read a file in one of them: one that takes for ever, or all memory, costs no other."""
        future = self._schedule(read_file_rows, path, own, where, options, self._timeout)
        return lambda: self._file_rows(future, own, where)

    def _file_rows(self, future: ProcessFuture[FileRows], own: str, where: str) -> FileRows:
        try:
            return future.result()
        except TimeoutError:
            problem = _too_long(self._timeout)
        except ProcessExpired as expired:
            problem = f"the process that read it died ({_death(expired.exitcode)})"
        except BrokenProcessPool:
            raise _broken() from None
        except Exception as error:  # noqa: BLE001 - one file nobody foresaw must not lose the thousands after it
            problem = f"notegap broke on this file: {crash_site(error)}"
        return FileRows(((own, RowError(own, where, problem)),))

    def _schedule(self, function: Callable[..., _T], *arguments: object) -> ProcessFuture[_T]:
        limit = None if self._timeout is None else self._timeout + min(max(self._timeout, _SHORTEST), _LONGEST)
        try:
            return self._pool.schedule(function, args=arguments, timeout=limit)
        except (RuntimeError, BrokenProcessPool):
            raise _broken() from None

    def _result(self, future: ProcessFuture[Done]) -> Done:
        try:
            return future.result()
        except TimeoutError:
            return Done(error=_too_long(self._timeout))
        except ProcessExpired as expired:
            return Done(error=f"the process that read it died ({_death(expired.exitcode)})")
        except BrokenProcessPool:
            raise _broken() from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._pool.close()  # type: ignore[no-untyped-call]
        else:
            self._pool.stop()  # type: ignore[no-untyped-call]
        self._pool.join()


def _broken() -> NotegapError:
    return NotegapError("the processes that read notes do not start, or die at once; fewer --workers need less memory")


def _too_long(timeout: float | None) -> str:
    return f"took longer than {timeout:g} seconds and was stopped; --timeout gives it more"


def _death(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


# ── inside a worker ─────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class _Worker:
    analyzer: Analyzes | None = None
    timeout: float | None = None


_WORKER = _Worker()
"""What a process builds once, for all notes it is given."""


def prepared(build: Build) -> Analyzes:
    """An analyzer for a process that does nothing else than analyze: quiet, and as quick with its first note."""
    # A library's warning or log line may quote what it was given.
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    analyzer = warm(build())
    keep_what_lasts()
    return analyzer


def warm(analyzer: Analyzes) -> Analyzes:
    """`analyzer` once all is built that a first note calls for: no note's time goes to that."""
    analyzed(_WARM, analyzer, None)
    return analyzer


def _prepare(build: Build, timeout: float | None) -> None:
    _WORKER.analyzer, _WORKER.timeout = prepared(build), timeout


def _work(note: Note) -> Done:
    assert _WORKER.analyzer is not None
    return analyzed(note, _WORKER.analyzer, _WORKER.timeout)
