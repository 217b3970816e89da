"""The database: SQLite in a file of its own, or PostgreSQL by a URL. Both give the same answers.

A module that keeps something defines its tables on `METADATA` and calls `Database.ensure` with them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, create_engine, event, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from notegap.config import without_password
from notegap.errors import StoreError, UsageError

METADATA = MetaData()
"""Every table of the service."""

IN_MEMORY = "sqlite://"
"""The URL of a database that is gone when it is closed."""

SCHEMA = 1
"""The version of the tables."""

_SCHEMA = Table("notegap_schema", METADATA, Column("version", Integer, primary_key=True))
# Workers that start together create the tables one after another. Any number that nobody else uses.
_LOCK = 7_262_110_413


def now() -> str:
    """The time as it is kept: UTC, to the microsecond, in an order that is that of the text."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """A moment as it is kept."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Database:
    """A database that is open. What breaks in it is a StoreError without any value that was sent to it."""

    def __init__(self, url: str) -> None:
        self._url = _made(url)
        self.is_postgres = self._url.get_backend_name() == "postgresql"
        self._engine = _postgres(self._url) if self.is_postgres else _sqlite(self._url)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that changes something: all of it is kept, or nothing."""
        with self._guarded(), self._engine.connect() as connection:
            if not self.is_postgres:
                # Locked from the start: a read that later turns into a write could fail in between.
                connection = connection.execution_options(begin="BEGIN IMMEDIATE")
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees the database as it is at one moment."""
        with self._guarded(), self._engine.connect() as connection:
            if self.is_postgres:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def ask(self) -> None:
        """Ask it for next to nothing. Raises StoreError when it is away."""
        with self.read() as connection:
            connection.execute(select(_SCHEMA.c.version))

    def ensure(self, *tables: Table) -> None:
        """Create the tables that are not there yet."""
        with self.write() as connection:
            if self.is_postgres:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            METADATA.create_all(connection, tables=[_SCHEMA, *tables])
            versions = list(connection.scalars(select(_SCHEMA.c.version)))
            if not versions:
                connection.execute(insert(_SCHEMA).values(version=SCHEMA))
            elif versions != [SCHEMA]:
                raise StoreError(
                    f"{self}: was written by another version of notegap (its tables are not of version {SCHEMA})"
                )

    def upsert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        """An insert that can say what to do `on_conflict`."""
        return postgresql.insert(table) if self.is_postgres else sqlite.insert(table)

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def __str__(self) -> str:
        """The URL, without the password."""
        return without_password(self._url.render_as_string(hide_password=True))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            # Its message quotes the statement, and the database's own message may quote what was sent.
            raise StoreError(f"{self}: the database cannot be used ({type(error).__name__})") from None


def _made(url: str) -> URL:
    try:
        made = make_url(url)
    except ArgumentError:
        raise UsageError("'database.url' is no URL; write sqlite:///PATH or postgresql://USER@HOST/NAME") from None
    if made.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return made.set(drivername="postgresql+psycopg")
    if made.drivername == "sqlite":
        return made
    raise UsageError(f"'database.url' is of a kind that is not known: {made.drivername}; use sqlite or postgresql")


def _postgres(url: URL) -> Engine:
    return create_engine(url, hide_parameters=True, pool_pre_ping=True)


def _sqlite(url: URL) -> Engine:
    if url.database:
        _create_private(Path(url.database))
        engine = create_engine(url, hide_parameters=True)
    else:
        # One connection, which is the database.
        from sqlalchemy.pool import QueuePool

        engine = create_engine(
            url,
            hide_parameters=True,
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            connect_args={"check_same_thread": False},
        )

    @event.listens_for(engine, "connect")
    def opened(connection: Any, _record: object) -> None:
        # The driver's own transactions begin too late, and not before a SELECT.
        connection.isolation_level = None
        for pragma in ("busy_timeout = 10000", "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def _create_private(path: Path) -> None:
    """Create the file so that nobody but its owner can read it; SQLite gives its log the same permissions."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: the database cannot be opened ({(error.strerror or 'error').lower()})") from None
