"""Where answers wait that are to be fetched later: batches, and answers kept for a request that may come again.

A shelf is an SQLite database: in memory for one process, in a private temporary folder for several that serve one
address. Either is gone when the service stops, and what lies there expires much sooner.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

IN_MEMORY = ":memory:"

_TABLES = """
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY, owner TEXT, tenant TEXT, process INTEGER, notes INTEGER, done INTEGER DEFAULT 0,
    gaps INTEGER DEFAULT 0, complete INTEGER DEFAULT 0, unchecked INTEGER DEFAULT 0, failed INTEGER DEFAULT 0,
    expires REAL, problem TEXT DEFAULT ''
);
CREATE TABLE IF NOT EXISTS lines (batch TEXT, number INTEGER, line TEXT, PRIMARY KEY (batch, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    owner TEXT, key TEXT, sent BLOB, status INTEGER, headers TEXT, body BLOB, expires REAL, PRIMARY KEY (owner, key)
);
"""


class Shelf:
    """A small database that several threads, and by its file several processes, may use."""

    def __init__(self, path: str = IN_MEMORY) -> None:
        self._lock = threading.RLock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        if path != IN_MEMORY:
            self._database.execute("PRAGMA journal_mode=WAL")
        # It need not outlive a crash of the machine; what is deleted is to be gone.
        self._database.executescript(f"PRAGMA synchronous=OFF; PRAGMA secure_delete=ON; {_TABLES}")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """All that is done inside is done, or none of it."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """What `sql` gives."""
        with self._lock:
            return self._database.execute(sql, values).fetchall()

    def change(self, sql: str, values: Sequence[object] = ()) -> int:
        """Do what `sql` says; how many rows it changed."""
        with self._lock:
            return self._database.execute(sql, values).rowcount

    def close(self) -> None:
        """Leave; what was in memory is gone."""
        with self._lock:
            self._database.close()
