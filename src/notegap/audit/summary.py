"""What an audit found, counted: rates with their intervals, by code, item, provider, department and month.

A copy of a note counts once. Groups too small to be told are told together, or not at all (`audit.suppress`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from notegap.audit.base import rows_of
from notegap.audit.suppress import Rate, Told, tell

if TYPE_CHECKING:
    import duckdb

SMALL = 10
"""Groups of fewer notes than this are not told, unless asked otherwise."""

NOT_STATED = "not stated"
UNCHECKED_CLAIMS = "claimed, not checked"
"""Claimed codes that can be judged and were not checked."""
OPEN_CLAIMS = "claimed, with open items"
"""Claimed codes with a gap or a raised alert, in all outputs: those of the view `claimed_without_support`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the rows of the input. `distinct` are the notes that count: read, and no copy of one before."""

    rows: int
    failed: int
    copies: int
    near_copies: int
    distinct: int
    without_code: int
    checked: int
    with_gaps: int
    with_alerts: int
    complete: int
    claim_known: int
    claims_unchecked: int
    open_items: int
    first_date: str
    last_date: str

    @property
    def read(self) -> int:
        """The notes that were read."""
        return self.rows - self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What changed since the baseline, in open items: gaps and raised alerts.

    `gone` counts those open then and not open now, by what became of them, of the notes that are in both audits;
    `not_audited` those of notes that are not in this one, or failed in it. `new_notes` of the `new` are of notes that
    the baseline does not have. `rules` are the versions of the rules then, `same_rules` whether they are today's.
    """

    new: int
    new_notes: int
    unchanged: int
    gone: Mapping[str, int]
    not_audited: int
    rules: tuple[str, ...]
    same_rules: bool
    items: tuple[tuple[str, int, int, int], ...] = ()

    def __str__(self) -> str:
        gone = sum(self.gone.values())
        parts = [f"{self.new} new", f"{gone} gone", f"{self.unchanged} unchanged"]
        if self.not_audited:
            parts.append(f"{self.not_audited} of notes that are not in this audit")
        return "open items since the baseline: " + ", ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What an audit found. `small` is the size below which a group is not told."""

    counts: Counts
    small: int
    gaps: Rate
    by_code: Told
    by_item: Told
    by_provider: Told
    by_department: Told
    by_month: Told
    conflicts: Told
    routes: Told
    funnel: tuple[Rate, ...]
    claims: tuple[Rate, ...]
    unsupported: Told
    not_checked: Told
    unclaimed: Told
    failures: tuple[tuple[str, int], ...]
    code_sets: tuple[str, ...]
    rules: tuple[str, ...]
    versions: tuple[str, ...]
    changes: Changes | None = None


def summarize(connection: duckdb.DuckDBPyConnection, *, small: int = SMALL, changes: Changes | None = None) -> Summary:
    """Count what stands in the tables and views of `audit.base`."""
    counts = _counts(connection)
    items = rows_of(connection, "SELECT * FROM by_item ORDER BY open DESC, category, item")
    staff = _staff(connection)
    alerts = rows_of(connection, "SELECT * FROM alerts ORDER BY notes DESC, category, item")
    return Summary(
        counts=counts,
        small=small,
        gaps=Rate("every note checked", counts.with_gaps, counts.checked),
        by_code=tell(
            [
                # The items of a category have its total: codes are also left out within it.
                Rate(row["code"], row["with_gaps"], row["checked"], row["category"], row["title"])
                for row in rows_of(connection, "SELECT * FROM by_code ORDER BY with_gaps DESC, code")
            ],
            small,
        ),
        by_item=tell(
            [
                Rate(item_name(row["category"], row["item"]), row["open"], row["applied"], "", row["ask"])
                for row in items
            ],
            small,
        ),
        # By name: rates of people are not a ranking.
        by_provider=tell(_rates(connection, "provider", staff), small),
        by_department=tell(_rates(connection, "department", staff), small),
        by_month=tell(_rates(connection, "month", {}), small),
        conflicts=_alerts(alerts, ("conflict",), small),
        routes=_alerts(alerts, ("route", "sequencing"), small),
        funnel=_funnel(connection),
        claims=_claims(connection),
        unsupported=_listed(connection, "claimed_without_support", "unsupported", small),
        not_checked=_listed(connection, "claimed_not_checked", "notes", small),
        unclaimed=_listed(connection, "documented_not_claimed", "notes", small),
        failures=tuple(
            (row["error"], row["notes"])
            for row in rows_of(connection, "SELECT * FROM failures ORDER BY notes DESC, error LIMIT 20")
        ),
        code_sets=_different(connection, "code_set"),
        rules=_different(connection, "rules"),
        versions=_different(connection, "notegap"),
        changes=changes,
    )


def _rates(connection: duckdb.DuckDBPyConnection, group: str, within: Mapping[tuple[str, str], str]) -> list[Rate]:
    """The rates of the notes of each provider, department or month, in order of name."""
    return [
        Rate(row[group] or NOT_STATED, row["with_gaps"], row["checked"], within.get((group, row[group]), ""))
        for row in rows_of(connection, f"SELECT * FROM by_{group} ORDER BY {group}")
    ]


def _staff(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str], str]:
    """For each provider and department the circle they belong to: the providers of its departments work in no other.

    A circle has the same total in both tables, so that what one of them leaves out must not come out of the other.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = rows_of(connection, "SELECT DISTINCT provider, department FROM counted WHERE items > 0 ORDER BY ALL")
    nodes = {
        node: number
        for number, node in enumerate(
            dict.fromkeys((group, row[group]) for row in pairs for group in ("provider", "department"))
        )
    }
    ends = [[nodes[group, row[group]] for row in pairs] for group in ("provider", "department")]
    graph = coo_array(([1] * len(pairs), ends), shape=(len(nodes), len(nodes)))
    _, circles = connected_components(graph, directed=False) if nodes else (0, [])
    return {node: str(circles[number]) for node, number in nodes.items()}


def item_name(category: str, item: str) -> str:
    """How an item of the codes of a category is named."""
    return f"{category} {item}"


def _counts(connection: duckdb.DuckDBPyConnection) -> Counts:
    (row,) = rows_of(
        connection,
        """
        SELECT count(*) AS rows, count(*) FILTER (outcome = 'failed') AS failed,
            count(*) FILTER (outcome <> 'failed' AND duplicate_of IS NOT NULL) AS copies,
            count(*) FILTER (counts AND near_duplicate_of IS NOT NULL) AS near_copies,
            count(*) FILTER (counts) AS distinct,
            count(*) FILTER (counts AND outcome = 'unchecked') AS without_code,
            count(*) FILTER (counts AND items > 0) AS checked,
            count(*) FILTER (counts AND items > 0 AND gaps > 0) AS with_gaps,
            count(*) FILTER (counts AND alerts > 0) AS with_alerts,
            count(*) FILTER (counts AND items > 0 AND gaps = 0 AND alerts = 0) AS complete,
            count(*) FILTER (counts AND claim_known) AS claim_known,
            (SELECT count(*) FROM checks WHERE not_checked) AS claims_unchecked,
            coalesce(sum(gaps + alerts) FILTER (counts), 0)::BIGINT AS open_items,
            coalesce(min(date) FILTER (counts AND month <> ''), '') AS first_date,
            coalesce(max(date) FILTER (counts AND month <> ''), '') AS last_date
        FROM (SELECT *, outcome <> 'failed' AND duplicate_of IS NULL AS counts FROM notes)""",
    )
    return Counts(**row)


def _alerts(rows: list[dict[str, object]], kinds: tuple[str, ...], small: int) -> Told:
    """The alerts of some kinds. Each is a group of notes of its own: those it is raised in."""
    rates = []
    for row in rows:
        if row["alert"] in kinds:
            number = int(str(row["notes"]))
            rates.append(Rate(item_name(str(row["category"]), str(row["item"])), number, number, "", str(row["alert"])))
    return tell(rates, small)


def _listed(connection: duckdb.DuckDBPyConnection, view: str, column: str, small: int) -> Told:
    """The codes of a view with the number of notes in `column`, which are groups of notes of their own."""
    rows = rows_of(
        connection,
        f"SELECT code, title, {column} AS notes FROM {view} WHERE {column} > 0 ORDER BY notes DESC, code",
    )
    return tell([Rate(row["code"], row["notes"], row["notes"], "", row["title"]) for row in rows], small)


def _funnel(connection: duckdb.DuckDBPyConnection) -> tuple[Rate, ...]:
    """From documented to coded, in codes of notes: each step counts those of the step before that go on."""
    (row,) = rows_of(
        connection,
        """
        SELECT count(*) AS documented, count(*) FILTER (NOT unchecked AND items > 0) AS checked,
            count(*) FILTER (NOT unchecked AND items > 0 AND complete) AS complete,
            count(*) FILTER (NOT unchecked AND items > 0 AND complete AND claimed) AS coded,
            count(*) FILTER (claimed IS NOT NULL) AS known
        FROM documented""",
    )
    documented = row["documented"]
    steps = [
        Rate("documented", documented, documented, "", "the facts of the note point to the code"),
        Rate("checked", row["checked"], documented, "", "and the code was checked against its checklist"),
        Rate("complete", row["complete"], documented, "", "and no item is open, no alert raised"),
    ]
    if row["known"]:
        steps.append(Rate("coded", row["coded"], documented, "", "and the code is on the claim"))
    return tuple(steps)


def _claims(connection: duckdb.DuckDBPyConnection) -> tuple[Rate, ...]:
    """Both sides, in codes of notes whose claim is known: claimed without support, and documented but not claimed.

    A claimed code that no checklist covers is not judged, unless it cannot be reported at all; of one that was not
    checked nothing is known. What there is none of is left out.
    """
    (row,) = rows_of(
        connection,
        """
        SELECT count(*) FILTER (claimed) AS claimed, count(*) FILTER (claimed AND judged) AS judged,
            count(*) FILTER (claimed AND judged AND complete) AS supported,
            count(*) FILTER (not_checked) AS not_checked,
            count(*) FILTER (claimed AND NOT judged AND NOT not_checked) AS no_checklist,
            (SELECT sum(unsupported) FROM claimed_without_support) AS unsupported,
            (SELECT sum(not_documented) FROM claimed_without_support) AS not_documented,
            (SELECT sum(not_billable) FROM claimed_without_support) AS not_billable,
            (SELECT count(*) FROM documented WHERE claimed IS NOT NULL) AS documented,
            (SELECT count(*) FROM documented WHERE NOT claimed) AS unclaimed
        FROM checks""",
    )
    claimed, judged, documented = row["claimed"], row["judged"], row["documented"]
    rates = (
        Rate("claimed, and complete", row["supported"], judged, "claimed and checked"),
        Rate(OPEN_CLAIMS, int(row["unsupported"] or 0), judged, "claimed and checked"),
        Rate("of these, the facts do not point to it", int(row["not_documented"] or 0), judged, "claimed and checked"),
        Rate("of these, not a valid, billable code", int(row["not_billable"] or 0), judged, "claimed and checked"),
        Rate(UNCHECKED_CLAIMS, row["not_checked"], claimed, "claimed"),
        Rate("claimed, and no checklist covers it", row["no_checklist"], claimed, "claimed"),
        Rate("documented, and not claimed", row["unclaimed"], documented, "documented"),
    )
    return tuple(rate for rate in rates if rate.whole)


def _different(connection: duckdb.DuckDBPyConnection, column: str) -> tuple[str, ...]:
    rows = rows_of(
        connection,
        f"SELECT DISTINCT {column} AS value FROM findings WHERE {column} <> '' ORDER BY 1",
    )
    return tuple(row["value"] for row in rows)
