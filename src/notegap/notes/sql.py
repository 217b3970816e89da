"""A query over a DuckDB file, or over any database that SQLAlchemy has a URL for → notes, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from notegap.errors import NoteError
from notegap.model import Note
from notegap.notes.document import RowError
from notegap.notes.table import Saying, read_values, refuse_columns, unsaid_of
from notegap.notes.text import NoteOptions, no_such, printable

IN_MEMORY = ":memory:"
"""The database that is none: a query over files that it names itself."""

_ROWS = 256


def read_query(database: str, query: str, options: NoteOptions, say: Saying = unsaid_of) -> Iterator[Note | RowError]:
    """The notes a query gives; its columns are those of other tables. `database` is a URL or a DuckDB file."""
    rows = _from_url(database, query) if "://" in database else _from_duckdb(database, query)
    name = name_of(database)
    lower = [str(column).lower() for column in next(rows)]
    refuse_columns(lower, f"{name}: the query", options)
    mapped = {field: column.lower() for field, column in options.columns.items()}
    for number, values in enumerate(rows, start=1):
        row = dict(zip(lower, values, strict=True))
        row |= {field: row.get(column) for field, column in mapped.items()}
        yield read_values(row, f"{name}:{number}", options, say)


def name_of(database: str) -> str:
    """What a database is called where its rows are told: never with a password."""
    if "://" not in database:
        return printable(Path(database).name) if database != IN_MEMORY else "query"
    return "database"


def _from_duckdb(database: str, query: str) -> Iterator[Sequence[object]]:
    name = name_of(database)
    if database != IN_MEMORY and not Path(database).is_file():
        raise no_such(Path(database), printable(database), "database file")
    duckdb = _package("duckdb", name)
    try:
        with duckdb.connect(database, read_only=database != IN_MEMORY) as connection:
            connection.execute("SET enable_progress_bar = false")  # it would be written to standard output
            found = connection.execute(query)
            if not found.description:
                raise NoteError(f"{name}: the query gives no rows; it has to be a SELECT")
            yield [column[0] for column in found.description]
            while rows := found.fetchmany(_ROWS):
                yield from rows
    except (duckdb.ParserException, duckdb.CatalogException, duckdb.BinderException) as error:
        # These are about the query; others may hold a value.
        problem = f"{name}: {str(error).splitlines()[0]}"
    except duckdb.Error as error:
        problem = f"{name}: the query failed ({type(error).__name__})"
    else:
        return
    raise NoteError(problem)


def _from_url(url: str, query: str) -> Iterator[Sequence[object]]:
    sqlalchemy = _package("sqlalchemy", "database")
    try:
        place = sqlalchemy.make_url(url)
        if place.drivername in ("postgresql", "postgres"):
            # Of the drivers there are, the one that comes with notegap.
            place = place.set(drivername="postgresql+psycopg")
        # Without a pool the connection is gone when it has been read.
        engine = sqlalchemy.create_engine(place, poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            streaming = connection.execution_options(stream_results=True, max_row_buffer=_ROWS)
            found = streaming.execute(sqlalchemy.text(query))
            if not found.returns_rows:
                raise NoteError("database: the query gives no rows; it has to be a SELECT")
            yield list(found.keys())
            for rows in found.partitions(_ROWS):
                yield from (tuple(row) for row in rows)
    except ModuleNotFoundError as error:
        problem = f"database: its URL needs the package {error.name}"
    except sqlalchemy.exc.SQLAlchemyError as error:
        # SQLAlchemy's own sentence holds the query, and the driver's may hold a value or a password.
        cause = getattr(error, "orig", None) or error
        problem = f"database: the query failed ({type(cause).__name__})"
    else:
        return
    raise NoteError(problem)


def _package(module: str, where: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name
    raise NoteError(f"{where}: reading it needs the package {missing}: pip install 'notegap[audit]'")
