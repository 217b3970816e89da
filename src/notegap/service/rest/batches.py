"""Batches: many notes are handed over at once and read one after another, behind those that somebody waits for."""

from __future__ import annotations

import io
import json
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException

from notegap.audit import Tally, audit
from notegap.errors import NoteError, StoreError, crash_site
from notegap.model import Note, Report
from notegap.notes.document import RowError
from notegap.notes.table import read_json_lines, read_row
from notegap.notes.text import NoteOptions
from notegap.report.json import jsonl_error, jsonl_report
from notegap.report.page import Page
from notegap.service.guard import LOGGER
from notegap.service.principal import Principal
from notegap.service.put_by import PutBy, Unfinished
from notegap.service.shelf import Shelf

MOST_NOTES = 10_000
MOST_BATCHES = 64
AFTER_FETCHED = 300.0
"""Seconds that results stay after they were fetched: a download that broke off can be repeated."""

Record = Callable[[Report | RowError, Principal], None]

RETRIES = (1.0, 2.0, 4.0, 8.0, 15.0, *[30.0] * 9)
"""Seconds before each further attempt to write down what came of a row: five minutes in all."""

_ENDED = "The process that read this batch has ended; hand the notes over again."
_AWAY = "What notegap keeps could not be reached for minutes; hand the notes over again."
_NO_ROOM = "The results of this batch could not be kept until they are fetched; hand the notes over again."
_COLUMNS = "id, process, notes, done, gaps, complete, unchecked, failed, expires, problem"
_KEPT = "id, owner, tenant, notes, done, gaps, complete, unchecked, failed, expires"
_PIECE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch is."""

    id: str
    process: int
    notes: int
    done: int
    gaps: int
    complete: int
    unchecked: int
    failed: int
    expires: float
    problem: str

    @property
    def state(self) -> str:
        """`failed`: it is not worked on any more, and the notes are gone; `why` tells."""
        if self.done == self.notes:
            return "done"
        return "working" if _lives(self.process) else "failed"

    @property
    def why(self) -> str | None:
        """Why it has failed, if it has."""
        return (self.problem or _ENDED) if self.state == "failed" else None

    def as_dict(self) -> dict[str, Any]:
        """The progress in its published shape."""
        return {
            "id": self.id,
            "state": self.state,
            "notes": self.notes,
            "done": self.done,
            "gaps": self.gaps,
            "complete": self.complete,
            "unchecked": self.unchecked,
            "failed": self.failed,
            "problem": self.why,
            "expires": datetime.fromtimestamp(self.expires, UTC).isoformat(timespec="seconds"),
        }


def rows_of(body: bytes, *, lines: bool, max_bytes: int) -> list[Note | RowError]:
    """The rows of a batch: JSON Lines, or a list of notes. Raises NoteError when it is neither."""
    options = NoteOptions(max_bytes=max_bytes)
    if lines:
        rows: list[Note | RowError] = []
        for row in read_json_lines(io.BytesIO(body), "line", options):
            rows.append(row)
            _refuse_too_many(len(rows))
    else:
        given = _listed(body)
        _refuse_too_many(len(given))
        rows = [read_row(row, f"note:{number}", options) for number, row in enumerate(given, start=1)]
    if not rows:
        raise NoteError("There is no note in this batch.")
    return rows


def _refuse_too_many(number: int) -> None:
    if number > MOST_NOTES:
        raise NoteError(f"A batch has at most {MOST_NOTES:,} notes.")


def _listed(body: bytes) -> list[object]:
    given: object = None
    # Its messages quote what was sent.
    with suppress(ValueError, RecursionError):
        given = json.loads(body)
    if not isinstance(given, list):
        raise NoteError("The batch is not a JSON list of notes.")
    return given


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be read of a batch, and for whom; `first` is the number of the first row."""

    rows: Sequence[Note | RowError] = field(repr=False)
    who: Principal
    first: int = 0


class Batches:
    """The batches of one application. Notes wait in memory only; results on the shelf until they expire."""

    def __init__(
        self,
        shelf: Shelf,
        *,
        analyze: Callable[[Note], Report],
        record: Record,
        seconds: float,
        put_by: PutBy,
    ) -> None:
        """`record` is given what came of each row, and for whom it was read, before it counts as read."""
        self._shelf = shelf
        self._analyze = analyze
        self._record = record
        self._seconds = seconds
        self._put_by = put_by
        self._jobs: dict[str, _Job] = {}
        self._waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._reader: threading.Thread | None = None
        self._starting = threading.Lock()

    def accept(self, rows: Sequence[Note | RowError], owner: str, who: Principal) -> Progress:
        """Take a batch on. Raises StoreError when what comes of it could not be written down now."""
        self._put_by.ask()
        name = secrets.token_urlsafe(16)
        with self._shelf.changing():
            self._forget_expired()
            ((number,),) = self._shelf.rows("SELECT count(*) FROM batches")
            if isinstance(number, int) and number >= MOST_BATCHES:
                raise HTTPException(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "Too many batches are kept: fetch or delete some.",
                    headers={"Retry-After": "60"},
                )
            self._shelf.change(
                "INSERT INTO batches (id, owner, tenant, process, notes, expires) VALUES (?, ?, ?, ?, ?, ?)",
                (name, owner, who.tenant, os.getpid(), len(rows), time.time() + self._seconds),
            )
        self._take_on(name, _Job(rows, who))
        return self.find(name, owner)

    def take_up(self) -> None:
        """Go on with the batches that were put by when the service was stopped."""
        for batch in self._put_by.take():
            row = {**batch.row, "expires": time.time() + batch.seconds}
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            with self._shelf.changing():
                self._shelf.change(
                    f"INSERT INTO batches (process, {names}) VALUES (?, {marks})",  # noqa: S608 - names of ours
                    (os.getpid(), *row.values()),
                )
                for number, line in enumerate(batch.lines):
                    self._shelf.change(
                        "INSERT INTO lines (batch, number, line) VALUES (?, ?, ?)", (batch.id, number, line)
                    )
            if batch.rest and batch.who is not None:
                self._take_on(batch.id, _Job(batch.rest, batch.who, first=len(batch.lines)))

    def _take_on(self, name: str, job: _Job) -> None:
        self._jobs[name] = job
        self._start()
        self._waiting.put(name)

    def find(self, name: str, owner: str) -> Progress:
        """How far a batch is. Someone else's is not there."""
        self._forget_expired()
        found = self._shelf.rows(f"SELECT {_COLUMNS} FROM batches WHERE id = ? AND owner = ?", (name, owner))  # noqa: S608 - names of ours
        if not found:
            raise HTTPException(
                HTTPStatus.NOT_FOUND,
                "There is no such batch; it may have expired, been deleted, or been lost when the service was killed.",
            )
        return Progress(**dict(zip(_COLUMNS.split(", "), found[0], strict=True)))  # type: ignore[arg-type]

    def results(self, name: str, owner: str) -> Iterator[str]:
        """What came of each row, in order, one line each. Raises a conflict when the batch is not done."""
        progress = self.find(name, owner)
        if progress.why is not None:
            raise HTTPException(HTTPStatus.CONFLICT, progress.why)
        if progress.state != "done":
            raise HTTPException(
                HTTPStatus.CONFLICT,
                f"{progress.done:,} of {progress.notes:,} notes are read.",
                headers={"Retry-After": "1"},
            )
        return self._lines(progress)

    def _lines(self, progress: Progress) -> Iterator[str]:
        for first in range(0, progress.notes, _PIECE):
            lines = self._shelf.rows(
                "SELECT line FROM lines WHERE batch = ? AND number >= ? AND number < ? ORDER BY number",
                (progress.id, first, first + _PIECE),
            )
            if len(lines) < min(_PIECE, progress.notes - first):
                # Deleted meanwhile: the download breaks off, so that a part cannot pass for the whole.
                raise ConnectionAbortedError
            yield "".join(str(line) for (line,) in lines)
        self._shelf.change(
            "UPDATE batches SET expires = min(expires, ?) WHERE id = ?", (time.time() + AFTER_FETCHED, progress.id)
        )

    def drop(self, name: str, owner: str) -> None:
        """Delete a batch; what is not read of it stays unread."""
        self.find(name, owner)
        with self._shelf.changing():
            self._delete(name)

    def stop(self) -> None:
        """Stop after the note in hand; what is not read or not fetched is put by where that can be."""
        with self._starting:
            self._stopping.set()
            self._waiting.put(None)
            if self._reader is not None:
                self._reader.join()
        self._forget_expired()
        kept = self._shelf.rows(f"SELECT {_KEPT} FROM batches WHERE process = ?", (os.getpid(),))  # noqa: S608 - names of ours
        if kept and not self._put_by.can:
            for _ in kept:
                LOGGER.warning(
                    "a batch that was handed in is lost, since it is only put by encrypted; set NOTEGAP_DATABASE_KEYS"
                )
            return
        for values in kept:
            row = dict(zip(_KEPT.split(", "), values, strict=True))
            name = str(row["id"])
            lines = self._shelf.rows("SELECT line FROM lines WHERE batch = ? ORDER BY number", (name,))
            job = self._jobs.get(name)
            rest = job.rows[len(lines) - job.first :] if job is not None else ()
            unfinished = Unfinished(
                id=name,
                tenant=str(row["tenant"]),
                seconds=float(str(row["expires"])) - time.time(),
                row=row,
                lines=[str(line) for (line,) in lines],
                rest=rest,
                who=job.who if job is not None else None,
            )
            try:
                self._put_by.put(unfinished)
            except StoreError as error:
                # What else has to be done before it stops is done all the same.
                LOGGER.error("a batch that was handed in is lost: %s", error)

    # ── the thread that reads ──

    def _start(self) -> None:
        with self._starting:
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="batches", daemon=True)
                self._reader.start()

    def _read(self) -> None:
        while (name := self._waiting.get()) is not None and not self._stopping.is_set():
            try:
                self._read_batch(name, self._jobs[name])
            except (sqlite3.Error, StoreError) as error:
                # The disk is full, say: this batch fails, and the next is read.
                LOGGER.error("a batch broke: %s", crash_site(error))
                why = _AWAY if isinstance(error, StoreError) else _NO_ROOM
                with suppress(sqlite3.Error):
                    self._shelf.change("UPDATE batches SET process = 0, problem = ? WHERE id = ?", (why, name))
            if not self._stopping.is_set():
                del self._jobs[name]

    def _read_batch(self, name: str, job: _Job) -> None:
        for number, outcome in enumerate(audit(job.rows, self._analyze), start=job.first):
            if self._stopping.is_set():
                return
            tally = Tally()
            tally.add(outcome)
            if not self._written_down(outcome, job.who):
                return
            if not self._keep(name, number, outcome, tally):
                return

    def _written_down(self, outcome: Report | RowError, who: Principal) -> bool:
        """Write down what came of a row, also when the database is away for a while; False when it is time to stop."""
        for seconds in RETRIES:
            try:
                self._record(outcome, who)
            except StoreError as error:
                LOGGER.warning("a batch waits %g s: %s", seconds, error)
                if self._stopping.wait(seconds):
                    return False
            else:
                return True
        self._record(outcome, who)
        return True

    def _keep(self, name: str, number: int, outcome: Report | RowError, tally: Tally) -> bool:
        """Lay one result on the shelf; False when nobody wants the batch any more."""
        line = (
            jsonl_error(outcome.id, outcome.message, outcome.where)
            if isinstance(outcome, RowError)
            else jsonl_report(outcome, Page())
        )
        with self._shelf.changing():
            wanted = self._shelf.change(
                "UPDATE batches SET done = done + ?, gaps = gaps + ?, complete = complete + ?, "
                "unchecked = unchecked + ?, failed = failed + ?, expires = ? WHERE id = ?",
                (
                    tally.read,
                    tally.gaps,
                    tally.complete,
                    tally.unchecked,
                    tally.failed,
                    time.time() + self._seconds,
                    name,
                ),
            )
            if wanted:
                self._shelf.change("INSERT INTO lines (batch, number, line) VALUES (?, ?, ?)", (name, number, line))
        return bool(wanted)

    def _forget_expired(self) -> None:
        for (name,) in self._shelf.rows("SELECT id FROM batches WHERE expires < ?", (time.time(),)):
            self._delete(str(name))

    def _delete(self, name: str) -> None:
        self._shelf.change("DELETE FROM lines WHERE batch = ?", (name,))
        self._shelf.change("DELETE FROM batches WHERE id = ?", (name,))


def _lives(process: int) -> bool:
    """Whether the process is still there; 0 stands for one that gave up."""
    if not process:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
