"""What a run has seen so far: ids, texts, and what texts are like. On disk, so that any number of rows is no matter."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from notegap.audit.near import bands, nearest
from notegap.errors import NotegapError

_TABLES = """
PRAGMA journal_mode=OFF;
PRAGMA synchronous=OFF;
PRAGMA cache_size=-32768;
CREATE TABLE ids (id INTEGER PRIMARY KEY);
CREATE TABLE texts (key BLOB PRIMARY KEY, row INTEGER, error TEXT) WITHOUT ROWID;
CREATE TABLE bands (band INTEGER PRIMARY KEY, row INTEGER);
CREATE TABLE signatures (row INTEGER PRIMARY KEY, signature BLOB);
BEGIN;
"""


class Seen:
    """A temporary database of one run; it has no word of a note and is gone with the run."""

    def __init__(self) -> None:
        # SQLite keeps a database without a name in memory until it is too big for that, then in a temporary file.
        self._database = sqlite3.connect("", isolation_level=None)
        with _telling():
            self._database.executescript(_TABLES)

    def id_again(self, note_id: str) -> bool:
        """Whether a row with this id came before."""
        digest = hashlib.blake2b(note_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return not self._add("INSERT OR IGNORE INTO ids VALUES (?)", int.from_bytes(digest, "little", signed=True))

    def first(self, key: bytes, row: int) -> int:
        """The row that was the first with this key: `row` itself when none came before."""
        if self._add("INSERT OR IGNORE INTO texts VALUES (?, ?, '')", key, row):
            return row
        with _telling():
            (found,) = self._database.execute("SELECT row FROM texts WHERE key = ?", (key,)).fetchone()
        return int(found)

    def fail(self, key: bytes, error: str) -> None:
        """Keep why the note with this key failed, for those that repeat it."""
        self._add("UPDATE texts SET error = ? WHERE key = ?", error, key)

    def failure(self, key: bytes) -> str:
        """Why the note with this key failed; "" when it did not."""
        with _telling():
            (error,) = self._database.execute("SELECT error FROM texts WHERE key = ?", (key,)).fetchone()
        return str(error)

    def near(self, row: int, signed: bytes) -> tuple[int, float] | None:
        """The first earlier row whose note is nearly the same, and how nearly; then this row is one of them too.

        Rows have to come in order. Of the notes with one band only the first is a candidate, else a template that a
        clinic starts every note from would make each a candidate for all.
        """
        places = bands(signed)
        marks = ",".join("?" * len(places))
        found: list[tuple[int, bytes]] = []
        with _telling():
            new = self._database.executemany(
                "INSERT OR IGNORE INTO bands VALUES (?, ?)", [(place, row) for place in places]
            ).rowcount
            # Most notes are like none before; this row has no signature yet, so that it is none of those found.
            if new < len(places):
                found = self._database.execute(
                    f"SELECT DISTINCT row, signature FROM bands JOIN signatures USING (row) WHERE band IN ({marks})",
                    places,
                ).fetchall()
            if new > 0:
                self._add("INSERT INTO signatures VALUES (?, ?)", row, signed)
        return nearest(signed, found)

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def _add(self, sql: str, *values: object) -> bool:
        with _telling():
            return self._database.execute(sql, values).rowcount > 0


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise NotegapError(
            f"the folder for temporary files cannot be written ({_said(error)}); TMPDIR names another"
        ) from None


def _said(error: sqlite3.Error) -> str:
    return str(error).lower()
