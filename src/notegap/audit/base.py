"""An audit's flat table as a DuckDB database: the tables and views that every summary counts with.

What a rate counts is defined here once: the .duckdb file, the sheets, the HTML report and the trends all read these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from notegap.audit.table import need
from notegap.errors import NotegapError, UsageError
from notegap.model import Status
from notegap.notes.text import printable

if TYPE_CHECKING:
    import duckdb

MEMORY = "256MB"
"""What DuckDB may hold in memory; what is more goes to a temporary folder beside the database."""

GAPS = ", ".join(f"'{status.value}'" for status in Status if status.is_gap)
OPEN = f"(status IN ({GAPS}) OR status = '{Status.RAISED.value}')"
"""SQL: the item is open, a gap or a raised alert."""

_MONTH = "CASE WHEN regexp_matches(date, '^[0-9]{4}-[0-9]{2}') THEN left(date, 7) ELSE '' END"
_APPLIES = "kind = 'requirement' AND status <> 'not_applicable'"
_IS_GAP = f"kind = 'requirement' AND status IN ({GAPS})"

PRIORITY = """CASE WHEN severity = 'required' OR alert = 'conflict' THEN 1
  WHEN severity = 'conditional' OR alert IN ('route', 'sequencing') THEN 2 ELSE 3 END"""
"""SQL: 1 for what the code needs or what speaks against it, 2 for what its circumstances need, 3 for what can wait."""

TABLES = {
    "notes": f"""
        SELECT "row", any_value(note_id) AS note_id, any_value(source) AS source, any_value(note_hash) AS note_hash,
            any_value(provider) AS provider, any_value(encounter) AS encounter, any_value(department) AS department,
            any_value(date) AS date, any_value({_MONTH}) AS month, any_value(setting) AS setting,
            any_value(outcome) AS outcome, any_value(error) AS error, any_value(duplicate_of) AS duplicate_of,
            any_value(near_duplicate_of) AS near_duplicate_of, any_value(similarity) AS similarity,
            bool_or(claimed IS NOT NULL) AS claim_known,
            count(*) FILTER ({_APPLIES}) AS items, count(*) FILTER ({_IS_GAP}) AS gaps,
            count(*) FILTER (status = 'raised') AS alerts, count(*) FILTER (kind = 'documented') AS not_claimed
        FROM findings GROUP BY "row" """,
    "checks": f"""
        SELECT "row", code, left(code, 3) AS category, max(title) AS title, bool_or(valid) AS valid,
            bool_or(billable) AS billable, bool_or(complete) AS complete, bool_or(claimed) AS claimed,
            bool_or(documented) AS documented, bool_or(kind = 'documented') AS not_claimed,
            bool_and(kind IN ('documented', 'claimed')) AS unchecked,
            bool_or(status = 'not_checked') AS not_checked,
            coalesce(bool_or(kind = 'requirement' OR NOT (valid AND billable)), false) AS judged,
            count(*) FILTER ({_APPLIES}) AS items, count(*) FILTER ({_IS_GAP}) AS gaps,
            count(*) FILTER (status = 'raised') AS alerts
        FROM findings WHERE code <> '' AND duplicate_of IS NULL GROUP BY "row", code""",
}
"""One row for each note; one for each note and code, of the notes that count. `not_claimed`: the facts point to it and
the claim does not carry it; `unchecked`: it was not checked, `not_checked`: though it is claimed and can be judged;
`judged`: it has a checklist, or cannot be reported."""

VIEWS = {
    "worklist": f"""
        SELECT {PRIORITY} AS priority, note_id, source, "row", provider, department, date, {_MONTH} AS month, code,
            title, item, finding_id, kind, severity, alert, status, ask, claimed,
            CASE WHEN kind = 'requirement' OR alert = 'conflict' THEN 'provider' ELSE 'coder' END AS for_whom {{change}}
        FROM findings WHERE duplicate_of IS NULL AND ({OPEN} OR kind = 'documented')""",
    "documented": """
        SELECT * FROM checks WHERE documented AND NOT (unchecked AND not_claimed AND title = '' AND EXISTS (
            SELECT 1 FROM checks AS member WHERE member."row" = checks."row" AND member.documented
                AND member.title <> '' AND starts_with(member.code, checks.code)))""",
    "counted": "SELECT * FROM notes WHERE duplicate_of IS NULL AND outcome <> 'failed'",
    "by_code": """
        SELECT code, any_value(category) AS category, any_value(title) AS title, count(*) AS checked,
            count(*) FILTER (gaps > 0) AS with_gaps, count(*) FILTER (alerts > 0) AS with_alerts
        FROM checks WHERE items > 0 GROUP BY code""",
    "by_item": f"""
        SELECT left(code, 3) AS category, item, mode(severity) AS severity, min(ask) AS ask, count(*) AS applied,
            count(*) FILTER (status IN ({GAPS})) AS open
        FROM findings WHERE duplicate_of IS NULL AND {_APPLIES} GROUP BY left(code, 3), item""",
    **{
        f"by_{group}": f"""
        SELECT {group}, count(*) AS checked, count(*) FILTER (gaps > 0) AS with_gaps
        FROM counted WHERE items > 0 GROUP BY {group}"""
        for group in ("provider", "department", "month")
    },
    "alerts": """
        SELECT left(code, 3) AS category, item, alert, count(DISTINCT "row") AS notes
        FROM findings WHERE duplicate_of IS NULL AND status = 'raised' GROUP BY left(code, 3), item, alert""",
    "claimed_without_support": """
        SELECT code, any_value(title) AS title, count(*) AS claimed, count(*) FILTER (NOT complete) AS unsupported,
            count(*) FILTER (NOT complete AND NOT (valid AND billable)) AS not_billable,
            count(*) FILTER (NOT complete AND NOT documented) AS not_documented
        FROM checks WHERE claimed AND judged GROUP BY code""",
    "claimed_not_checked": """
        SELECT code, any_value(title) AS title, count(*) AS notes
        FROM checks WHERE not_checked GROUP BY code""",
    "documented_not_claimed": """
        SELECT code, any_value(title) AS title, count(*) AS notes
        FROM checks WHERE not_claimed GROUP BY code""",
    "failures": "SELECT error, count(*) AS notes FROM notes WHERE outcome = 'failed' GROUP BY error",
}
"""What each rate counts. A copy of a note counts once: only `duplicate_of IS NULL` does."""


@contextmanager
def connected(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB database in a file, with bounded memory and nothing fetched from anywhere."""
    need("duckdb", what="this output")
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY,
        "threads": 2,
        "temp_directory": f"{path}.spill",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
    }
    with refusing(path):
        connection = duckdb.connect(str(path), config=settings)
    try:
        with refusing(path):
            # A tree on standard error belongs to no one.
            connection.execute("SET enable_progress_bar = false")
            yield connection
    finally:
        with refusing(path):
            connection.close()


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Make a `NotegapError` of what DuckDB refuses, with no word of what was in the table."""
    import duckdb

    try:
        yield
    except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.FatalException) as error:
        full = any(words in str(error) for words in ("No space left", "max_temp_directory_size", "Could not write"))
        why = "no space left on device" if full else type(error).__name__
        raise NotegapError(f"{printable(str(path))}: cannot be written ({why})") from None


def build(connection: duckdb.DuckDBPyConnection, table: Path, *, copy: bool, with_change: bool) -> None:
    """The tables and views over the flat table in a Parquet file, which `copy` takes into the database."""
    kind = "TABLE" if copy else "VIEW"
    connection.execute(f"CREATE {kind} findings AS SELECT * FROM read_parquet({literal(str(table))})")
    define(connection, with_change=with_change)


def define(connection: duckdb.DuckDBPyConnection, *, with_change: bool) -> None:
    """The tables and views over `findings`."""
    for name, query in TABLES.items():
        connection.execute(f"CREATE TABLE {name} AS {query}")
    for name, query in VIEWS.items():
        connection.execute(f"CREATE VIEW {name} AS {query.replace('{change}', ', change' if with_change else '')}")


def rows_of(connection: duckdb.DuckDBPyConnection, query: str, *given: Any) -> list[dict[str, Any]]:
    """The rows of a small answer."""
    cursor = connection.execute(query, list(given))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def streamed(connection: duckdb.DuckDBPyConnection, query: str, at_once: int = 10_000) -> Iterator[Sequence[Any]]:
    """The rows of an answer of any length, a bounded number of them in memory."""
    cursor = connection.cursor()
    cursor.execute(query)
    while rows := cursor.fetchmany(at_once):
        yield from rows


def literal(text: str) -> str:
    """Text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def check_audit(connection: duckdb.DuckDBPyConnection, path: Path, relation: str, needed: Sequence[str]) -> None:
    """Raise `UsageError` when what is read as an audit lacks a column that one has."""
    import duckdb

    try:
        found = {name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}
    except duckdb.Error as error:
        raise UsageError(f"{printable(str(path))}: cannot be read as an audit ({type(error).__name__})") from None
    lacking = [name for name in needed if name not in found]
    if lacking:
        raise UsageError(f"{printable(str(path))}: is not the table of an audit, it has no column {lacking[0]}")
