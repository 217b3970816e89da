"""What an audit found, counted: rates with their intervals, by code, item, provider, department and month.

A copy of a note counts once. Groups too small to be told are told together, or not at all (`audit.suppress`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from notegap.audit.base import rows_of
from notegap.audit.suppress import Rate, Told, tell

if TYPE_CHECKING:
    import duckdb

SMALL = 10
"""Groups of fewer notes than this are not told, unless asked otherwise."""

NOT_STATED = "not stated"
GROUPS = ("provider", "department", "month")
"""What notes are grouped by, beside their codes and items."""
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
    """What an audit found. `small` is the size below which a group is not told.

    `beside`: of provider, department and month those that rows of a worklist may tell together, so that no cell of them
    holds one group alone that is not told.
    """

    counts: Counts
    small: int
    gaps: Rate
    by_code: Told
    by_item: Told
    by_provider: Told
    by_department: Told
    by_month: Told
    beside: tuple[str, ...]
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
    told = {group: _groups(connection, group, small) for group in GROUPS}
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
        by_provider=told["provider"],
        by_department=told["department"],
        by_month=told["month"],
        beside=_beside(connection, told),
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


def _rates(connection: duckdb.DuckDBPyConnection, group: str) -> list[Rate]:
    """The rates of the notes of each provider, department or month, in order of name."""
    return [
        Rate(row[group] or NOT_STATED, row["with_gaps"], row["checked"])
        for row in rows_of(connection, f"SELECT * FROM by_{group} ORDER BY {group}")
    ]


def _groups(connection: duckdb.DuckDBPyConnection, group: str, small: int) -> Told:
    """The providers, departments or months that are told, where the two other tables are told too."""
    circles = (_circles(connection, group, other, small) for other in GROUPS if other != group)
    return tell(_rates(connection, group), small, *circles)


def _circles(connection: duckdb.DuckDBPyConnection, group: str, other: str, small: int) -> dict[str, str]:
    """For each provider (department, month) its circle: as the providers of some departments who work in no other.

    A circle has the same total in both tables, so that what one of them leaves out must not come out of the other. One
    of fewer notes than `small` is told in neither, and so belongs to the next larger: less it, that is not told either.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    # In the same order for both tables, so that both have the same circles.
    sides = sorted((group, other))
    pairs = rows_of(
        connection,
        f"""SELECT {", ".join(sides)}, count(*) AS notes FROM counted WHERE items > 0
        GROUP BY {", ".join(sides)} ORDER BY ALL""",
    )
    nodes = {
        node: number for number, node in enumerate(dict.fromkeys((side, row[side]) for row in pairs for side in sides))
    }
    ends = [[nodes[side, row[side]] for row in pairs] for side in sides]
    graph = coo_array(([1] * len(pairs), ends), shape=(len(nodes), len(nodes)))
    _, circles = connected_components(graph, directed=False) if nodes else (0, [])
    notes: dict[int, int] = defaultdict(int)
    for row in pairs:
        notes[int(circles[nodes[group, row[group]]])] += row["notes"]
    merged: list[list[int]] = []
    together = small
    for circle, number in sorted(notes.items(), key=lambda pair: (pair[1], pair[0])):
        if together >= small:
            merged.append([])
            together = 0
        merged[-1].append(circle)
        together += number
    if together < small and len(merged) > 1:
        merged[-2].extend(merged.pop())
    names = {circle: str(place) for place, some in enumerate(merged) for circle in some}
    return {
        value or NOT_STATED: names[int(circles[number])] for (side, value), number in nodes.items() if side == group
    }


def _beside(connection: duckdb.DuckDBPyConnection, told: Mapping[str, Told]) -> tuple[str, ...]:
    """The groups that the worklist's rows may tell beside the provider: see `Summary.beside`."""
    cells = rows_of(connection, f"SELECT DISTINCT {', '.join(GROUPS)} FROM counted WHERE items > 0")
    beside: tuple[str, ...] = GROUPS[:1]
    for group in GROUPS[1:]:
        if not _singles_out(cells, (*beside, group), told):
            beside = (*beside, group)
    return beside


def _singles_out(cells: Sequence[Mapping[str, str]], shown: Sequence[str], told: Mapping[str, Told]) -> bool:
    """Whether rows that tell all of `shown` would leave one group alone that is not told: one provider in a month."""
    for group in shown:
        others = [name for name in shown if name != group]
        hidden: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for cell in cells:
            named = {name: cell[name] or NOT_STATED for name in shown}
            if named[group] not in told[group].names:
                at = tuple(named[name] if named[name] in told[name].names else "" for name in others)
                hidden[at].add(named[group])
        # Where no group is told, rows tell no more than the other tables do.
        if told[group].names and any(len(alone) == 1 for alone in hidden.values()):
            return True
    return False


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
