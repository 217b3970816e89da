"""The audit report: one HTML file with its style and charts in it, no script, nothing asked of any network.

A link from a figure shows its rows of the worklist alone: the style hides the others while the link's target is the
page's. Rows of groups that are too small to be told are not in the page, and of those that are no such group is named.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import notegap
from notegap.audit.base import rows_of
from notegap.audit.out.charts import number_bars, percent, rate_bars, rate_columns, step_bars
from notegap.audit.summary import NOT_STATED, OPEN_CLAIMS, UNCHECKED_CLAIMS, Summary, item_name
from notegap.audit.suppress import Rate, Told
from notegap.audit.trends import KINDS, Series, Trends, points_of, probability
from notegap.report.html.render import asset, dom_name
from notegap.report.lines import count, shown

if TYPE_CHECKING:
    import duckdb

MOST_ROWS = 600
"""Rows of the worklist in the page; a browser shows them at once."""

_IN_PRINT = 100
_IN_TABLE = 100
_IN_CHART = 14
_IN_YEARS = 24
_COPIES = 50
_COURSES = 9
_APART = "The worklist does not tell it: beside the provider it would tell of one that is too small to be told."


@dataclass(frozen=True, slots=True)
class Line:
    """A group in a figure's table, and the target that shows its rows of the worklist, of which the page has `rows`."""

    rate: Rate
    target: str = ""
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart and the table beside it. `counts`: its groups are numbers of notes, not rates."""

    name: str
    title: str
    says: str
    means: str
    group: str
    lines: tuple[Line, ...]
    rest: Rate | None = None
    hidden: bool = False
    more: int = 0
    open_lines: int = _IN_CHART
    chart: Markup | None = None
    part: str = "With gaps"
    whole: str = "notes"
    counts: bool = False
    linked: bool = True


@dataclass(slots=True)
class Worklist:
    """The rows of the worklist that are in the page, and how many there are of each group."""

    rows: list[dict[str, Any]]
    total: int
    classes: Counter[str] = field(default_factory=Counter)


def audit_page(
    connection: duckdb.DuckDBPyConnection, summary: Summary, *, whole: Sequence[str] = (), most: int = MOST_ROWS
) -> str:
    """The report of an audit. `whole` names the files written beside it that have what is only in part in the page."""
    worklist = _worklist(connection, summary, most)
    figures = list(_figures(summary, worklist))
    targets = {
        line.target: (figure.group, line.rate.name, line.rows)
        for figure in figures
        for line in figure.lines
        if line.rows
    }
    style = "\n".join([asset("report.css"), _own("audit.css"), *map(_rule, targets)])
    return (
        _environment()
        .get_template("audit.html")
        .render(
            summary=summary,
            counts=summary.counts,
            reach=_reach(summary),
            copied=_copied(summary),
            figures={figure.name: figure for figure in figures},
            worklist=worklist,
            targets=targets,
            copies=_copies(connection),
            in_print=_IN_PRINT,
            open_changes=_IN_CHART,
            whole=whole,
            style=Markup(style),  # noqa: S704 - our own files, and names of classes
            style_hash=_digest(style),
            version=notegap.__version__,
        )
    )


def trends_page(trends: Trends) -> str:
    """Audits over time as a page."""
    by_kind = {kind: [series for series in trends.series if series.kind == kind] for kind in KINDS}
    style = f"{asset('report.css')}\n{_own('audit.css')}"
    return (
        _environment()
        .get_template("trends.html")
        .render(
            trends=trends,
            kinds=KINDS,
            by_kind=by_kind,
            charts={kind: list(_courses(trends, kind, series)) for kind, series in by_kind.items()},
            style=Markup(style),  # noqa: S704 - our own files
            style_hash=_digest(style),
            version=notegap.__version__,
        )
    )


def _courses(trends: Trends, kind: str, series: Sequence[Series]) -> Iterator[tuple[str, Markup]]:
    """The charts of a kind of group: of those that two audits tell, the ones least explained by chance."""
    drawn = [one for one in series if len(one.told) > 1]
    for number, one in enumerate(sorted(drawn, key=lambda one: (one.q is None, one.q or 0))[:_COURSES]):
        points = [
            replace(point, name=run.name)
            for run, point in zip(trends.runs, one.points, strict=True)
            if point is not None
        ]
        yield (
            one.name,
            rate_columns(points, name=f"{kind}-{number}", title=f"Gap rate over time: {one.name}", small=True),
        )


def _digest(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _reach(summary: Summary) -> Markup:
    """What became of the rows, as a chart."""
    counts = summary.counts
    steps = (
        ("rows of the input", counts.rows),
        ("read", counts.read),
        ("notes that count", counts.distinct),
        ("checked", counts.checked),
    )
    return step_bars(
        [Rate(name, number, counts.rows) for name, number in steps], name="reach", title="What became of the rows read"
    )


def _copied(summary: Summary) -> tuple[Rate, ...]:
    """How many of the notes read repeat an earlier one, exactly and nearly."""
    counts = summary.counts
    return Rate("exact copies", counts.copies, counts.read), Rate("nearly copies", counts.near_copies, counts.read)


# ── the worklist ────────────────────────────────────────────────────────────────────────────────

# Its rows are taken in turns, so that every item has some in the page however many another has.
_ROWS = """
    WITH told AS (
        SELECT *, left(code, 3) || ' ' || item AS named FROM worklist
        WHERE (kind = 'requirement' AND code IN (SELECT unnest(?)) AND named IN (SELECT unnest(?)))
            OR (kind = 'alert' AND code IN (SELECT unnest(?)) AND named IN (SELECT unnest(?)))
            OR (kind = 'documented' AND code IN (SELECT unnest(?)))),
    turns AS (SELECT *, row_number() OVER (PARTITION BY named ORDER BY priority, "row", code) AS turn FROM told)
    SELECT * FROM (SELECT * FROM turns ORDER BY turn, named LIMIT ?)
    ORDER BY priority, for_whom DESC, kind DESC, named, code, "row" """


def _worklist(connection: duckdb.DuckDBPyConnection, summary: Summary, most: int) -> Worklist:
    codes, items = sorted(summary.by_code.names), sorted(summary.by_item.names)
    alerts = sorted(summary.conflicts.names | summary.routes.names)
    unclaimed = sorted(summary.unclaimed.names)
    found = rows_of(connection, _ROWS, codes, items, codes, alerts, unclaimed, most)
    (total,) = rows_of(connection, "SELECT count(*) AS rows FROM worklist")
    made = Worklist([], total["rows"])
    for row in found:
        classes = list(_classes(row, summary))
        made.classes.update(classes)
        # A group that is not told is not named here either.
        for group, told in (("provider", summary.by_provider), ("department", summary.by_department)):
            named = row[group] or NOT_STATED
            row[group] = named if named in told.names and group in summary.beside else None
        if "month" not in summary.beside or (row["month"] or NOT_STATED) not in summary.by_month.names:
            row["date"] = None
        made.rows.append(row | {"classes": " ".join(classes)})
    return made


def _classes(row: dict[str, Any], summary: Summary) -> Iterator[str]:
    """The groups a row of the worklist belongs to, of those that are told."""
    named = item_name(row["code"][:3], row["item"])
    if row["kind"] == "requirement":
        yield from _class("c", summary.by_code, row["code"])
        yield from _class("i", summary.by_item, named)
        yield from _class("p", summary.by_provider, row["provider"] or NOT_STATED)
        if "department" in summary.beside:
            yield from _class("d", summary.by_department, row["department"] or NOT_STATED)
        if "month" in summary.beside:
            yield from _class("m", summary.by_month, row["month"] or NOT_STATED)
    elif row["kind"] == "alert":
        yield from _class("a", summary.conflicts, named)
        yield from _class("r", summary.routes, named)
    else:
        yield from _class("n", summary.unclaimed, row["code"])
    if row["claimed"] and row["kind"] != "documented":
        yield from _class("u", summary.unsupported, row["code"])


def _class(prefix: str, told: Told, name: str) -> Iterator[str]:
    for number, group in enumerate(told.groups):
        if group.name == name:
            yield f"{prefix}{number}"


def _rule(target: str) -> str:
    group = target.removeprefix("rows-")
    return f"#{target}:target ~ .rows .row:not(.{group}) {{ display: none; }}"


# ── the figures ─────────────────────────────────────────────────────────────────────────────────


def _figures(summary: Summary, worklist: Worklist) -> Iterator[Figure]:
    mean = summary.gaps.share
    code = _figure(
        summary.by_code,
        "c",
        worklist,
        name="by-code",
        title="By code",
        group="Code",
        whole="notes checked",
        detailed=True,
        means="Of the notes checked for a code, those in which at least one item of its checklist is a gap.",
        says=_most("is most often incomplete", summary.by_code),
    )
    yield _with_chart(code, mean)
    item = _figure(
        summary.by_item,
        "i",
        worklist,
        name="by-item",
        title="By item",
        group="Item",
        whole="times it applied",
        part="Open",
        detailed=True,
        means="Of the times an item of a checklist applied, those in which the note left it missing, vague, uncertain "
        "or refuted. Items of the codes of one category are counted together.",
        says=_most("is most often open", summary.by_item),
    )
    yield _with_chart(item, None)
    caution = (
        "Rates of groups whose intervals overlap do not tell them apart, and nothing is adjusted for what kinds of "
        "notes a group writes."
    )
    provider = _figure(
        summary.by_provider,
        "p",
        worklist,
        name="by-provider",
        title="By provider",
        group="Provider",
        whole="notes checked",
        means="Of a provider’s notes that were checked, those with at least one gap; in order of name.",
        says=caution,
    )
    yield _with_chart(provider, mean)
    clinic = _figure(
        summary.by_department,
        "d",
        worklist,
        name="by-clinic",
        title="By clinic or department",
        group="Clinic or department",
        whole="notes checked",
        means="Of its notes that were checked, those with at least one gap; in order of name.",
        says=caution if "department" in summary.beside else f"{caution} {_APART}",
    )
    yield _with_chart(clinic, mean)
    month = _figure(
        summary.by_month,
        "m",
        worklist,
        name="by-month",
        title="By month",
        group="Month",
        whole="notes checked",
        means="Of the notes of a month that were checked, those with at least one gap.",
        says="" if "month" in summary.beside else _APART,
        most=120,
        open_lines=_IN_YEARS,
    )
    last = [line.rate for line in month.lines if line.rate.name != NOT_STATED][-_IN_YEARS:]
    yield _charted(month, rate_columns(last, name=month.name, title=month.title, mean=mean) if last else None)
    for told, prefix, name, title, means in (
        (
            summary.conflicts,
            "a",
            "conflicts",
            "Conflicts",
            "Notes in which something documented cannot stand beside the code.",
        ),
        (
            summary.routes,
            "r",
            "routes",
            "Other codes and their order",
            "Notes in which something documented has a code of its own, or codes have to stand in another order.",
        ),
        (
            summary.unsupported,
            "u",
            "unsupported",
            "Claimed, with open items",
            "Notes whose claim carries the code while it has a gap or a raised alert, by code.",
        ),
        (
            summary.not_checked,
            "",
            "not-checked",
            "Claimed, not checked",
            "Notes whose claim carries the code while it was not checked, by code: nothing is said of these.",
        ),
        (
            summary.unclaimed,
            "n",
            "unclaimed",
            "Documented, not claimed",
            "Notes whose facts point to the code while their claim does not carry it, by code.",
        ),
    ):
        coded = prefix not in ("a", "r")
        figure = _figure(
            told,
            prefix,
            worklist,
            name=name,
            title=title,
            group="Code" if coded else "Alert",
            means=means,
            says="",
            counts=True,
            detailed=coded,
            linked=bool(prefix),
        )
        bars = [line.rate for line in figure.lines[:_IN_CHART]]
        yield _charted(figure, number_bars(bars, name=name, title=title) if bars else None)
    steps = tuple(Line(step) for step in summary.funnel)
    yield Figure(
        name="funnel",
        title="From documented to coded",
        group="Step",
        lines=steps,
        part="Number",
        whole="documented",
        says="",
        linked=False,
        means="Codes of notes. Each step counts those of the step before that go on.",
        chart=step_bars(summary.funnel, name="funnel", title="From documented to coded")
        if summary.funnel[0].whole
        else None,
    )


def _figure(
    told: Told,
    prefix: str,
    worklist: Worklist,
    *,
    most: int = _IN_TABLE,
    counts: bool = False,
    whole: str = "notes",
    part: str = "With gaps",
    name: str,
    title: str,
    says: str,
    means: str,
    group: str,
    detailed: bool = False,
    open_lines: int = _IN_CHART,
    linked: bool = True,
) -> Figure:
    lines = [
        Line(
            rate if detailed else replace(rate, detail=""),
            f"rows-{prefix}{number}",
            worklist.classes[f"{prefix}{number}"],
        )
        for number, rate in enumerate(told.groups)
    ]
    # Of more than a table holds, the largest groups, in the order they came in.
    kept = set(sorted(range(len(lines)), key=lambda number: -lines[number].rate.whole)[:most])
    return Figure(
        name=name,
        title=title,
        says=says,
        means=means,
        group=group,
        lines=tuple(line for number, line in enumerate(lines) if number in kept),
        rest=told.rest,
        hidden=not told.groups,
        more=len(lines) - len(kept),
        open_lines=open_lines,
        part=part,
        whole=whole,
        counts=counts,
        linked=linked,
    )


def _with_chart(figure: Figure, mean: float | None) -> Figure:
    bars = [line.rate for line in figure.lines[:_IN_CHART]]
    return _charted(
        figure, rate_bars(bars, name=figure.name, title=f"Gap rate {figure.title.lower()}", mean=mean) if bars else None
    )


def _charted(figure: Figure, chart: Markup | None) -> Figure:
    return replace(figure, chart=chart)


def _most(what: str, told: Told) -> str:
    if not told.groups or not told.groups[0].part:
        return ""
    first = max(told.groups, key=lambda rate: rate.interval[0])
    low, high = first.interval
    return (
        f"{first.name} {what}: {first.part:,} of {first.whole:,}, {percent(first.share)} "
        f"(95 % interval {percent(low)} to {percent(high)})."
    )


def _copies(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Some copies, each with the note it is one of."""
    return rows_of(
        connection,
        """
        SELECT copy.note_id AS note_id, first.note_id AS of_id, copy.duplicate_of IS NOT NULL AS exact,
            copy.similarity AS similarity
        FROM notes AS copy JOIN notes AS first ON first."row" = coalesce(copy.duplicate_of, copy.near_duplicate_of)
        ORDER BY copy."row" LIMIT ?""",
        _COPIES,
    )


def _own(name: str) -> str:
    return (files("notegap.audit.out.html") / "assets" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    """The templates. Every value is escaped, a name that does not exist is an error."""
    made = Environment(
        loader=PackageLoader("notegap.audit.out.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"shown": shown, "dom": dom_name, "percent": percent, "number": lambda value: f"{value:,}"}
    made.filters |= {"points": points_of, "probability": probability}
    made.globals |= {
        "count": count,
        "rate_bars": rate_bars,
        "open_claims": OPEN_CLAIMS,
        "unchecked_claims": UNCHECKED_CLAIMS,
    }
    return made
