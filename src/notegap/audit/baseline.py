"""An audit beside the one before: which open items are new, unchanged, gone.

An item is known again by the note's id and the finding's, `note-17` and `M24.28/region`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from notegap.audit.base import OPEN, check_audit, connected, literal, rows_of
from notegap.audit.summary import Changes
from notegap.audit.table import Columns, need
from notegap.errors import UsageError
from notegap.notes.text import printable

if TYPE_CHECKING:
    import duckdb

NEW, UNCHANGED, GONE = "new", "unchanged", "gone"

_NEEDED = (
    "note_id", "source", "provider", "department", "date", "outcome", "duplicate_of", "code", "item", "kind",
    "finding_id", "status", "rules",
)  # fmt: skip


class Baseline:
    """The open items of an earlier audit, in a database of their own, so that they take no memory."""

    def __init__(self, path: Path, scratch: Path) -> None:
        need("pyarrow", "duckdb", what="--baseline")
        if not path.is_file():
            raise UsageError(f"{printable(str(path))}: there is no such audit to compare with")
        self.path = path
        self._relation = relation_of(path)
        self._opened = connected(scratch)
        self._connection = self._opened.__enter__()
        try:
            check_audit(self._connection, path, self._relation, _NEEDED)
            # An item that was open only in a copy was not counted: it can be known again, but not be gone.
            self._connection.execute(
                f"""CREATE TABLE open_then AS SELECT note_id, finding_id, bool_or(duplicate_of IS NULL) AS counted
                FROM {self._relation} WHERE {OPEN} GROUP BY note_id, finding_id"""
            )
        except BaseException:
            self.close()
            raise

    def settle(self, table: Path) -> None:
        """Find what is gone in the whole table of this audit: of notes with the same id, any may have the item open."""
        self._connection.execute(
            f"""CREATE TABLE gone_now AS SELECT note_id, finding_id,
                min("row") FILTER (duplicate_of IS NULL) AS "row"
            FROM {relation_of(table)} JOIN open_then USING (note_id, finding_id) WHERE counted
            GROUP BY note_id, finding_id HAVING NOT bool_or({OPEN}) AND bool_or(duplicate_of IS NULL)"""
        )

    def label(self, rows: Columns) -> list[str]:
        """What changed, for each of some rows of the flat table, once it is settled; nothing of a copy.

        What is gone stands in one row, however many notes have the id.
        """
        import pyarrow as pa

        from notegap.audit.table import encodable

        def texts(name: str) -> pa.Array:
            return pa.array([encodable(value) for value in rows[name]], type=pa.string())

        here = pa.table(
            {
                "place": pa.array(range(len(rows["row"])), type=pa.int64()),
                "row": pa.array(rows["row"], type=pa.int64()),
                "copy": pa.array([first is not None for first in rows["duplicate_of"]], type=pa.bool_()),
                "note_id": texts("note_id"),
                "finding_id": texts("finding_id"),
                "status": texts("status"),
            }
        )
        self._connection.register("here", here)
        answer = self._connection.execute(
            f"""
            SELECT CASE WHEN copy THEN '' WHEN {OPEN} AND was.note_id IS NOT NULL THEN '{UNCHANGED}'
                WHEN {OPEN} THEN '{NEW}' WHEN gone_now.note_id IS NOT NULL THEN '{GONE}' ELSE '' END
            FROM here LEFT JOIN open_then AS was
                ON here.note_id = was.note_id AND here.finding_id = was.finding_id
            LEFT JOIN gone_now ON here.note_id = gone_now.note_id AND here.finding_id = gone_now.finding_id
                AND here."row" = gone_now."row"
            ORDER BY place"""
        ).fetchall()
        self._connection.unregister("here")
        return [change for (change,) in answer]

    def close(self) -> None:
        """Let go of the database."""
        self._opened.__exit__(None, None, None)


def relation_of(path: Path) -> str:
    """SQL: the flat table in a Parquet file."""
    return f"read_parquet({literal(str(path))})"


def compare(connection: duckdb.DuckDBPyConnection, path: Path) -> Changes:
    """What changed since the audit in `path`; leaves the table `gone`, one row for each item that is no longer open.

    `fate` there: "met", "not_applicable" or "clear" as the item stands now, "not_asked" when it is no item of the note
    any more, or of a copy alone, "not_audited" when the note is not in this audit or failed in it.
    """
    then = relation_of(path)
    connection.execute(
        f"""
        CREATE TABLE gone AS
        WITH before AS (
            SELECT note_id, finding_id, any_value(source) AS source, any_value(provider) AS provider,
                any_value(department) AS department, any_value(date) AS date, any_value(code) AS code,
                any_value(item) AS item, any_value(status) AS status_then
            FROM {then} WHERE duplicate_of IS NULL AND {OPEN} GROUP BY note_id, finding_id),
        open_now AS (SELECT DISTINCT note_id, finding_id FROM findings WHERE {OPEN}),
        now AS (SELECT note_id, finding_id, arg_min(status, "row") AS status FROM findings
            WHERE finding_id <> '' AND duplicate_of IS NULL GROUP BY ALL),
        known AS (SELECT DISTINCT note_id FROM notes WHERE outcome <> 'failed')
        SELECT before.*, CASE WHEN known.note_id IS NULL THEN 'not_audited'
            ELSE coalesce(now.status, 'not_asked') END AS fate
        FROM before ANTI JOIN open_now USING (note_id, finding_id)
            LEFT JOIN now USING (note_id, finding_id) LEFT JOIN known USING (note_id)"""
    )
    (now,) = rows_of(
        connection,
        f"""
        SELECT count(*) FILTER (change = '{NEW}') AS new, count(*) FILTER (change = '{UNCHANGED}') AS unchanged,
            count(*) FILTER (change = '{NEW}' AND note_id NOT IN (SELECT note_id FROM {then})) AS new_notes
        FROM findings WHERE duplicate_of IS NULL AND {OPEN}""",
    )
    fates = {
        row["fate"]: row["items"]
        for row in rows_of(connection, "SELECT fate, count(*) AS items FROM gone GROUP BY fate")
    }
    rules = _rules(connection, then)
    return Changes(
        new=now["new"],
        new_notes=now["new_notes"],
        unchanged=now["unchanged"],
        gone={fate: number for fate, number in sorted(fates.items()) if fate != "not_audited"},
        not_audited=fates.get("not_audited", 0),
        rules=rules,
        same_rules=rules == _rules(connection, "findings"),
        items=tuple(
            (f"{row['category']} {row['item']}", row["new"], row["gone"], row["unchanged"])
            for row in rows_of(connection, _BY_ITEM)
        ),
    )


def _rules(connection: duckdb.DuckDBPyConnection, relation: str) -> tuple[str, ...]:
    rows: list[dict[str, Any]] = rows_of(
        connection,
        f"SELECT DISTINCT rules FROM {relation} WHERE rules <> '' ORDER BY 1",
    )
    return tuple(row["rules"] for row in rows)


_BY_ITEM = f"""
    SELECT category, item, sum(new)::BIGINT AS new, sum(gone)::BIGINT AS gone, sum(unchanged)::BIGINT AS unchanged
    FROM (
        SELECT left(code, 3) AS category, item, (change = '{NEW}')::INT AS new, 0 AS gone,
            (change = '{UNCHANGED}')::INT AS unchanged
        FROM findings WHERE duplicate_of IS NULL AND {OPEN}
        UNION ALL
        SELECT left(code, 3), item, 0, 1, 0 FROM gone WHERE fate <> 'not_audited')
    GROUP BY category, item ORDER BY new DESC, category, item"""
