"""What an audit has found so far, kept so that one that was stopped goes on where it was.

A ledger is an SQLite file. Its key is a hash of a note's text, of what was asked of it and of the rules it was checked
by; what is kept is the report without a word of the note. The words are put back from the note, which is read again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from notegap.errors import NotegapError
from notegap.model import Note
from notegap.notes.text import printable

_VERSION = 1
_APPLICATION = 0x6E676C31  # "ngl1"
_SECONDS, _REPORTS = 1.0, 50
"""What a crash can cost at most: the reports of so long, or so many."""
_TABLES = """
CREATE TABLE IF NOT EXISTS reports (key BLOB PRIMARY KEY, report BLOB, signature BLOB);
"""
_AGAIN = "make room and run the same command again, which goes on from here"


class Ledger:
    """The reports of one audit by their notes' keys; with no path, in a temporary file that is gone with the run."""

    def __init__(self, path: Path | None = None, *, fresh: bool = False) -> None:
        self._name = "the folder for temporary files" if path is None else printable(str(path))
        self._path = path
        if path is not None:
            with self._telling():
                _prepare(path, fresh=fresh)
        with self._telling():
            self._database = sqlite3.connect("" if path is None else path, isolation_level=None, timeout=0)
            try:
                self._open()
            except BaseException:
                self._database.close()
                raise
        self._kept_at, self._unkept = time.monotonic(), 0

    def _open(self) -> None:
        run = self._database.execute
        (application,) = run("PRAGMA application_id").fetchone()
        (tables,) = run("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION:
            raise NotegapError(f"{self._name}: is no ledger of notegap; name another file with --ledger")
        # One audit at a time: the lock is held until the ledger is closed.
        run("PRAGMA locking_mode=EXCLUSIVE")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=NORMAL")
        run(f"PRAGMA application_id={_APPLICATION}")
        run(f"PRAGMA user_version={_VERSION}")
        run(_TABLES)
        run("BEGIN IMMEDIATE")

    def __contains__(self, key: bytes) -> bool:
        with self._telling():
            return self._database.execute("SELECT 1 FROM reports WHERE key = ?", (key,)).fetchone() is not None

    def __getitem__(self, key: bytes) -> tuple[bytes, bytes]:
        """The report, as `packed` made it, and the signature kept for a key that is there."""
        with self._telling():
            report, signature = self._database.execute(
                "SELECT report, signature FROM reports WHERE key = ?", (key,)
            ).fetchone()
        return report, signature

    def put(self, key: bytes, report: bytes, signature: bytes) -> None:
        """Keep a report; it is safe from a crash soon after."""
        with self._telling():
            self._database.execute("INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", (key, report, signature))
            self._unkept += 1
            if self._unkept >= _REPORTS or time.monotonic() - self._kept_at > _SECONDS:
                self.keep()

    def keep(self) -> None:
        """Make what was put safe from a crash."""
        with self._telling():
            self._database.execute("COMMIT")
            self._kept_at, self._unkept = time.monotonic(), 0
            self._database.execute("BEGIN IMMEDIATE")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep everything and let go of the file; of two errors the first is told."""
        try:
            with self._telling():
                self._database.execute("COMMIT")
        except NotegapError:
            if kind is None:
                raise
        finally:
            # What closing has to say was said above.
            with suppress(sqlite3.Error):
                self._database.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell what SQLite and the system say with the file's name; none of it holds a word of a note."""
        try:
            yield
        except sqlite3.Error as error:
            problem = self._problem(error)
        except OSError as error:
            problem = f"{self._name}: cannot be written ({(error.strerror or type(error).__name__).lower()})"
        else:
            return
        raise NotegapError(problem)

    def _problem(self, error: sqlite3.Error) -> str:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{self._name}: another audit is at work with it; name another file with --ledger"
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return f"{self._name}: is damaged or no ledger of notegap; --fresh begins it anew"
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return f"{self._name}: cannot be written, the disk seems to be full; {_AGAIN}"
        return f"{self._name}: cannot be written ({str(error).lower()})"


def _prepare(path: Path, *, fresh: bool) -> None:
    """Make the file, readable by its owner alone; what is there already must be a file."""
    if path.exists() and not path.is_file():
        raise NotegapError(f"{printable(str(path))}: is no file; name another with --ledger")
    if fresh:
        _refuse_another(path)
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal")):
            name.unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(0o600)


def _refuse_another(path: Path) -> None:
    """Raise before a file is removed that is something else than a ledger."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        head = file.read(100)
        # The application's number stands at offset 68.
        ours = head.startswith(b"SQLite format 3\0") and head[68:72] == _APPLICATION.to_bytes(4, "big")
        if head and not ours:
            raise NotegapError(f"{printable(str(path))}: is no ledger of notegap; it is left alone")


def key_of(note: Note, note_hash: str, rules: str) -> bytes:
    """What tells a note and what is asked of it from any other.

    The date of service is not in it: it picks the release of the code set, and there is one; a text that is carried
    forward to another day is the same.
    """
    claim = None if note.claim_codes is None else list(note.claim_codes)
    asked = json.dumps([_VERSION, rules, note_hash, list(note.codes), claim, note.setting.value])
    return hashlib.sha256(asked.encode()).digest()
