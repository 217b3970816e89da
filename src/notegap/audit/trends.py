"""Audits compared over time, by item and by provider: rates with their intervals, and what chance alone may explain.

The rates are those of `audit.base`. A change is tested over the audits that tell the group: with two the difference of
two proportions, with more the trend over their order (Cochran-Armitage); as many tests are done at once, `q` is what
p is after Benjamini and Hochberg's correction.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from notegap.audit.base import check_audit, connected, define, literal, rows_of
from notegap.audit.rows import COLUMNS
from notegap.audit.summary import NOT_STATED, SMALL, item_name
from notegap.audit.suppress import Rate, tell
from notegap.audit.table import need
from notegap.errors import UsageError
from notegap.notes.text import printable

if TYPE_CHECKING:
    import duckdb

KINDS: Mapping[str, str] = {"all": "Every note checked", "item": "Items", "provider": "Providers"}

_NEEDED = tuple(COLUMNS)
_FEWEST_EXPECTED = 5
_NEEDED_FOR_TREND = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One audit of those compared: its name, the dates of its notes, the rules it was made with."""

    name: str
    first_date: str
    last_date: str
    checked: int
    rules: tuple[str, ...]
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A group over the audits; a point is None where the audit has none of it, or too few to be told.

    `change` is the last share told less the first, `interval` its 95 % interval (Newcombe's, of Wilson intervals).
    `test` names how p came about, "" where there is nothing to test.
    """

    kind: str
    name: str
    points: tuple[Rate | None, ...]
    change: float | None = None
    interval: tuple[float, float] | None = None
    test: str = ""
    p: float | None = None
    q: float | None = None

    @property
    def told(self) -> tuple[Rate, ...]:
        """The points that are told."""
        return tuple(point for point in self.points if point is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trends:
    """Audits in order, and each group over them. `remarks` say what stands in the way of comparing them."""

    runs: tuple[Run, ...]
    series: tuple[Series, ...]
    small: int
    remarks: tuple[str, ...] = ()

    @property
    def tests(self) -> int:
        """How many groups were tested at once."""
        return sum(series.q is not None for series in self.series)


def compare_audits(paths: Sequence[Path], *, small: int = SMALL) -> Trends:
    """The audits in `paths`, Parquet or DuckDB files, over time."""
    work = Path(tempfile.mkdtemp(prefix="notegap-"))
    try:
        with connected(work / "trends.duckdb") as connection:
            connection.execute("CREATE TABLE main.hashes (audit INTEGER, note UBIGINT)")
            read = [_read(connection, path, number, small) for number, path in enumerate(paths)]
            again = _in_several(connection)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    names = _names(paths)
    read = [(replace(run, name=name), groups) for (run, groups), name in zip(read, names, strict=True)]
    dates = [run.first_date for run, _ in read]
    by_date = all(dates) and len(set(dates)) == len(dates)
    if by_date:
        read.sort(key=lambda pair: pair[0].first_date)
    runs = tuple(run for run, _ in read)
    series = _tested(
        [_series(key, [groups.get(key) for _, groups in read]) for key in _keys([groups for _, groups in read])]
    )
    return Trends(runs=runs, series=series, small=small, remarks=tuple(_remarks(runs, again, by_date=by_date)))


# ── reading an audit ────────────────────────────────────────────────────────────────────────────

_Key = tuple[str, str]


def _read(connection: duckdb.DuckDBPyConnection, path: Path, number: int, small: int) -> tuple[Run, dict[_Key, Rate]]:
    """An audit, and the rate of each of its groups that is told."""
    if not path.is_file():
        raise UsageError(f"{printable(str(path))}: there is no such audit")
    schema = f"audit_{number}"
    relation, attached = _relation(connection, path, number)
    check_audit(connection, path, relation, _NEEDED)
    connection.execute(f"CREATE SCHEMA {schema}")
    connection.execute(f"SET schema = '{schema}'")
    connection.execute(f"CREATE VIEW findings AS SELECT * FROM {relation}")
    define(connection, with_change=False)
    groups = {(kind, rate.name): rate for kind, rate in _groups(connection, small)}
    (said,) = rows_of(
        connection,
        """
        SELECT coalesce(min(date) FILTER (month <> ''), '') AS first_date,
            coalesce(max(date) FILTER (month <> ''), '') AS last_date, count(*) FILTER (items > 0) AS checked
        FROM counted""",
    )
    known = {
        column: tuple(
            row["value"]
            for row in rows_of(
                connection, f"SELECT DISTINCT {column} AS value FROM findings WHERE {column} <> '' ORDER BY 1"
            )
        )
        for column in ("rules", "notegap")
    }
    connection.execute(
        f"INSERT INTO main.hashes SELECT DISTINCT {number}, hash(note_hash) FROM counted WHERE note_hash <> ''"
    )
    connection.execute("SET schema = 'main'")
    connection.execute(f"DROP SCHEMA {schema} CASCADE")
    if attached:
        connection.execute(f"DETACH {attached}")
    return Run(name="", rules=known["rules"], versions=known["notegap"], **said), groups


def _relation(connection: duckdb.DuckDBPyConnection, path: Path, number: int) -> tuple[str, str]:
    """SQL: the flat table in a file, and the name of the database that was attached for it."""
    import duckdb

    if path.suffix.lower() != ".duckdb":
        return f"read_parquet({literal(str(path))})", ""
    name = f"given_{number}"
    try:
        connection.execute(f"ATTACH {literal(str(path))} AS {name} (READ_ONLY)")
    except duckdb.Error as error:
        raise UsageError(f"{printable(str(path))}: cannot be read as an audit ({type(error).__name__})") from None
    return f"{name}.findings", name


def _groups(connection: duckdb.DuckDBPyConnection, small: int) -> Iterator[tuple[str, Rate]]:
    (every,) = rows_of(
        connection, "SELECT count(*) FILTER (gaps > 0) AS part, count(*) AS whole FROM counted WHERE items > 0"
    )
    items = [
        Rate(item_name(row["category"], row["item"]), row["open"], row["applied"], "", row["ask"])
        for row in rows_of(connection, "SELECT * FROM by_item ORDER BY category, item")
    ]
    providers = [
        Rate(row["provider"] or NOT_STATED, row["with_gaps"], row["checked"])
        for row in rows_of(connection, "SELECT * FROM by_provider ORDER BY provider")
    ]
    # All of too few notes would tell of one provider what is not told of the provider.
    for kind, rates in (
        ("all", [Rate("all", every["part"], every["whole"])]),
        ("item", items),
        ("provider", providers),
    ):
        for rate in tell(rates, small).groups:
            yield kind, rate


def _in_several(connection: duckdb.DuckDBPyConnection) -> int:
    (row,) = rows_of(
        connection,
        "SELECT count(*) AS notes FROM (SELECT note FROM main.hashes GROUP BY note HAVING count(DISTINCT audit) > 1)",
    )
    return int(row["notes"])


def _names(paths: Sequence[Path]) -> list[str]:
    """What the audits are called: the files' names, with their folders where two are the same."""
    stems = [path.stem for path in paths]
    return [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True)]


def _remarks(runs: Sequence[Run], again: int, *, by_date: bool) -> Iterator[str]:
    if not by_date and len(runs) > 1:
        yield "the audits stand in the order they were given, as their notes' dates do not tell another"
    if len({run.rules for run in runs}) > 1:
        yield "the audits were made with different rules, and a change may be the rules'; audit the older notes again"
    if again:
        yield (
            f"{again} notes are in more than one audit, while the tests take the audits for independent: "
            "p is then larger than it need be, or smaller where one audit holds another"
        )


# ── comparing ───────────────────────────────────────────────────────────────────────────────────


def _keys(read: Sequence[Mapping[_Key, Rate]]) -> list[_Key]:
    order = list(KINDS)
    return sorted({key for groups in read for key in groups}, key=lambda key: (order.index(key[0]), key[1]))


def _series(key: _Key, points: Sequence[Rate | None]) -> Series:
    kind, name = key
    told = [(place, point) for place, point in enumerate(points) if point is not None]
    if len(told) < 2:
        return Series(kind=kind, name=name, points=tuple(points))
    first, last = told[0][1], told[-1][1]
    test, p = _test([place for place, _ in told], [point for _, point in told])
    return Series(
        kind=kind,
        name=name,
        points=tuple(points),
        change=last.share - first.share,
        interval=difference(first, last),
        test=test,
        p=p,
    )


def difference(first: Rate, last: Rate) -> tuple[float, float]:
    """The 95 % interval of `last`'s share less `first`'s: Newcombe's hybrid score interval (method 10, 1998)."""
    (low_1, high_1), (low_2, high_2) = first.interval, last.interval
    change = last.share - first.share
    down = ((last.share - low_2) ** 2 + (high_1 - first.share) ** 2) ** 0.5
    up = ((high_2 - last.share) ** 2 + (first.share - low_1) ** 2) ** 0.5
    return change - down, change + up


def _test(places: Sequence[int], points: Sequence[Rate]) -> tuple[str, float | None]:
    """Which test fits, and the p of it."""
    import numpy as np
    from scipy import stats

    table = np.array([[point.part, point.whole - point.part] for point in points])
    if not table.sum(axis=0).all():
        return "", None  # every note has the gap, or none: nothing changed
    if stats.contingency.expected_freq(table).min() < _FEWEST_EXPECTED:
        if len(points) < _NEEDED_FOR_TREND:
            return "Fisher's exact test", float(stats.fisher_exact(table).pvalue)
        return "", None
    name = "two proportions" if len(points) < _NEEDED_FOR_TREND else "Cochran-Armitage"
    return name, cochran_armitage(places, points)


def cochran_armitage(places: Sequence[float], points: Sequence[Rate]) -> float:
    """The two-sided p of a linear trend of the shares over `places`; with two of them, that of two proportions."""
    import numpy as np
    from scipy import stats

    table = np.array([[point.part, point.whole - point.part] for point in points])
    scores = np.repeat(np.array(places, dtype=float), 2)
    gap = np.tile([1.0, 0.0], len(points))
    # The statistic is the number of notes times the squared correlation of place and gap.
    covariance = np.cov(scores, gap, fweights=table.ravel(), ddof=0)
    statistic = table.sum() * covariance[0, 1] ** 2 / (covariance[0, 0] * covariance[1, 1])
    return float(stats.chi2.sf(statistic, 1))


def _tested(series: Sequence[Series]) -> tuple[Series, ...]:
    """The series with q: of the groups taken for changed, the share that would be so by chance."""
    from scipy.stats import false_discovery_control

    # All notes are no group among the groups.
    tested = [place for place, one in enumerate(series) if one.p is not None and one.kind != "all"]
    if not tested:
        return tuple(series)
    corrected = false_discovery_control([series[place].p for place in tested], method="bh")
    made = list(series)
    for place, q in zip(tested, corrected, strict=True):
        made[place] = replace(made[place], q=float(q))
    return tuple(made)


# ── printing ────────────────────────────────────────────────────────────────────────────────────


def trends_text(trends: Trends, width: int) -> str:
    """The trends as a table of text."""
    import io

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from notegap.audit.out.charts import percent
    from notegap.report.lines import shown

    file = io.StringIO()
    console = Console(file=file, width=max(width, 60 + 14 * len(trends.runs)), color_system=None, highlight=False)
    for run in trends.runs:
        dates = f"{shown(run.first_date)} to {shown(run.last_date)}" if run.first_date else "no dates"
        rules = ", ".join(map(shown, run.rules)) or "unknown"
        checked = f"{run.checked:,}" if run.checked >= trends.small else f"fewer than {trends.small}"
        line = f"{shown(run.name)}: {dates}, {checked} notes checked, rules {rules}"
        console.print(Text(line), soft_wrap=True)
    for kind, title in KINDS.items():
        rows = [series for series in trends.series if series.kind == kind]
        if not rows:
            continue
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(title), title_justify="left", title_style="")
        table.add_column("gap rate", max_width=34, overflow="fold")
        for run in trends.runs:
            table.add_column(Text(shown(run.name)), justify="right", max_width=16, overflow="fold")
        table.add_column("change (95 %)", justify="right", no_wrap=True)
        table.add_column("q" if kind != "all" else "p", justify="right", no_wrap=True)
        for series in rows:
            points = [
                f"{percent(point.share)} of {point.whole:,}" if point is not None else "–" for point in series.points
            ]
            chance = series.q if kind != "all" else series.p
            table.add_row(
                Text(shown(series.name)),
                *map(Text, points),
                _change(series),
                "" if chance is None else probability(chance),
            )
        console.print()
        console.print(table)
    lines = [
        f"\n–: none, or fewer than {trends.small} notes, or held back with such; q: p after Benjamini-Hochberg over "
        f"{trends.tests} groups",
        *(f"note: {remark}" for remark in trends.remarks),
    ]
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n" + "\n".join(lines) + "\n"


def _change(series: Series) -> str:
    if series.change is None or series.interval is None:
        return ""
    return f"{points_of(series.change)} ({points_of(series.interval[0])} to {points_of(series.interval[1])})"


def points_of(change: float) -> str:
    """A difference of shares in percentage points, signed."""
    return f"{change * 100:+.1f}"


def probability(value: float) -> str:
    """A p or q as one says it."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def trends_json(trends: Trends) -> str:
    """The trends as JSON."""
    import json

    return json.dumps(as_dict(trends), ensure_ascii=False, indent=2) + "\n"


def as_dict(trends: Trends) -> dict[str, Any]:
    """The trends in their published shape."""
    from notegap.audit.table import encodable

    return {
        "schema_version": 1,
        "small_number": trends.small,
        "audits": [
            {
                "name": encodable(run.name),
                "first_date": run.first_date,
                "last_date": run.last_date,
                "checked": run.checked if run.checked >= trends.small else None,
                "rules": list(run.rules),
                "notegap": list(run.versions),
            }
            for run in trends.runs
        ],
        "series": [
            {
                "kind": series.kind,
                "name": series.name,
                "points": [_point(point) for point in series.points],
                "change": series.change,
                "interval": list(series.interval) if series.interval is not None else None,
                "test": series.test,
                "p": series.p,
                "q": series.q,
            }
            for series in trends.series
        ],
        "remarks": list(trends.remarks),
    }


def _point(rate: Rate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    low, high = rate.interval
    return {"with_gaps": rate.part, "of": rate.whole, "rate": rate.share, "low": low, "high": high}


def trends_csv(trends: Trends) -> str:
    """The trends as CSV, one line for each group and audit."""
    from notegap.audit.out.csv import cell, lines_of

    head = ["kind", "name", "audit", "with_gaps", "of", "rate", "low", "high", "change", "test", "p", "q"]
    lines = [head]
    for series in trends.series:
        for run, point in zip(trends.runs, series.points, strict=True):
            numbers = list(_point(point).values()) if point is not None else [None] * 5  # type: ignore[union-attr]
            values = [series.kind, series.name, run.name, *numbers, series.change, series.test, series.p, series.q]
            lines.append([cell(value) for value in values])
    return lines_of(lines)


def trends_html(trends: Trends) -> str:
    """The trends as one page."""
    need("matplotlib", what="--format html")
    from notegap.audit.out.html.render import trends_page

    return trends_page(trends)


FORMATS: Mapping[str, Callable[[Trends], str]] = {
    "json": trends_json,
    "html": trends_html,
    "csv": trends_csv,
}
"""How trends are printed, beside text, which needs a width."""
