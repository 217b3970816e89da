"""What an audit counts, by hand: each rate's definition, small groups that cannot be worked out, the baseline."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audits import audited, check, report, simple, year
from notegap.audit.base import build, connected, rows_of
from notegap.audit.out import OutOptions, TableWriter
from notegap.audit.rows import AuditedNote
from notegap.audit.summary import Summary, summarize
from notegap.audit.suppress import REST, Rate, Told, tell
from notegap.errors import UsageError


@contextmanager
def counted(folder: Path, notes: Iterable[AuditedNote]) -> Iterator[duckdb.DuckDBPyConnection]:
    """The audit of `notes`, ready to be counted."""
    table = folder / "table.parquet"
    with TableWriter([table]) as writer:
        for note in notes:
            writer.add(note)
    with connected(folder / "audit.duckdb") as connection:
        build(connection, table, copy=False, with_change=False)
        yield connection


def summary_of(folder: Path, notes: Iterable[AuditedNote], small: int = 1) -> Summary:
    with counted(folder, notes) as connection:
        return summarize(connection, small=small)


def item(status: str, code: str = "M24.28", name: str = "region", **more: Any) -> dict[str, Any]:
    shape = {
        "id": f"{code}/{name}", "kind": "requirement", "severity": "required", "status": status, "message": "",
        "ask": "Where?", "basis": [], "why": "", "place": "", "evidence": [], "codes": [],
    }  # fmt: skip
    return shape | more


def alert(status: str, code: str = "M24.28", name: str = "knee", kind: str = "conflict") -> dict[str, Any]:
    found = item(status, code, name, kind="alert", alert=kind)
    return {key: value for key, value in found.items() if key not in ("severity", "ask")}


def note(
    row: int, *findings: dict[str, Any], code: str = "M24.28", points: tuple[str, ...] = (), **more: Any
) -> AuditedNote:
    return audited(row, report(f"n{row}", [check(code, findings)], points), **more)


# ── what each rate counts ───────────────────────────────────────────────────────────────────────


def test_each_note_is_counted_where_it_belongs(tmp_path: Path) -> None:
    counts = summary_of(
        tmp_path,
        [
            note(1, item("missing"), item("met", name="basis"), date="2026-01-02"),
            note(2, item("met"), alert("raised"), date="2026-03-01"),
            note(3, item("met"), alert("clear")),
            note(4, item("missing"), duplicate_of=1),
            note(5, item("vague"), near_duplicate_of=1, similarity=0.9),
            audited(6, report("n6", [])),
            audited(7, error="unreadable"),
            # A code without a checklist is no note that was checked.
            note(8, alert("raised"), code="M53.2"),
        ],
    ).counts
    assert (counts.rows, counts.read, counts.failed, counts.copies, counts.near_copies) == (8, 7, 1, 1, 1)
    assert (counts.distinct, counts.without_code, counts.checked) == (6, 1, 4)
    assert (counts.with_gaps, counts.with_alerts, counts.complete, counts.open_items) == (2, 2, 1, 4)
    assert (counts.first_date, counts.last_date) == ("2026-01-02", "2026-03-01")


def test_a_rate_by_item_counts_where_the_item_applies(tmp_path: Path) -> None:
    summary = summary_of(
        tmp_path,
        [
            note(1, item("missing"), item("not_applicable", name="procedure")),
            note(2, item("refuted"), item("met", name="procedure")),
            note(3, item("uncertain", "M24.29"), code="M24.29"),
            note(4, item("met")),
        ],
    )
    assert summary.by_item.groups == (Rate("M24 region", 3, 4, "", "Where?"), Rate("M24 procedure", 0, 1, "", "Where?"))
    assert [(rate.name, rate.part, rate.whole) for rate in summary.by_code.groups] == [
        ("M24.28", 2, 3),
        ("M24.29", 1, 1),
    ]


def test_rates_by_provider_department_and_month(tmp_path: Path) -> None:
    summary = summary_of(
        tmp_path,
        [
            note(1, item("missing"), provider="B", department="X", date="2026-02-11"),
            note(2, item("met"), provider="B", department="Y", date="2026-01"),
            note(3, item("met"), provider="A", department="Y", date="last spring"),
            note(4, item("met")),
        ],
    )
    told = [
        [(rate.name, rate.part, rate.whole) for rate in told.groups]
        for told in (summary.by_provider, summary.by_department, summary.by_month)
    ]
    assert told == [
        [("not stated", 0, 1), ("A", 0, 1), ("B", 1, 2)],
        [("not stated", 0, 1), ("X", 1, 1), ("Y", 0, 2)],
        [("not stated", 0, 2), ("2026-01", 0, 1), ("2026-02", 1, 1)],
    ]


def test_both_sides_of_a_claim(tmp_path: Path) -> None:
    code, points = "M24.28", ("M24.28",)
    summary = summary_of(
        tmp_path,
        [
            note(1, item("met"), points=points, claim_codes=(code,)),  # complete and coded
            note(2, item("missing"), points=points, claim_codes=(code,)),  # claimed, a gap
            note(3, item("missing"), claim_codes=(code,)),  # claimed, nothing points to it
            note(4, item("met"), points=points, claim_codes=("M54.50",)),  # documented, not claimed
            note(5, item("met"), points=points),  # documented, no claim known
            note(6, item("met"), points=("M24.28", "M53.2X6"), claim_codes=(code,)),  # and another that is not claimed
            audited(
                7,
                report("n7", [check("M53.2", [alert("raised", "M53.2", "invalid-code")], valid=False)]),
                claim_codes=("M53.2",),
            ),
            # No checklist covers them: nothing is said of them.
            audited(8, report("n8", [check("E11.9", [alert("clear", "E11.9", "excludes1")])]), claim_codes=("E11.9",)),
        ],
    )
    assert [(rate.name, rate.part, rate.whole) for rate in summary.claims] == [
        ("claimed, and complete", 2, 5),
        ("claimed, with open items", 3, 5),
        ("of these, the facts do not point to it", 2, 5),
        ("of these, not a valid, billable code", 1, 5),
        ("claimed, not checked", 0, 7),
        ("claimed, and no checklist covers it", 2, 7),
        ("documented, and not claimed", 2, 5),
    ]
    assert [(rate.name, rate.part) for rate in summary.funnel] == [
        ("documented", 6),
        ("checked", 5),
        ("complete", 4),
        ("coded", 2),
    ]
    # One definition: the codes that are listed are those that are counted.
    assert [(rate.name, rate.whole) for rate in summary.unsupported.groups] == [("M24.28", 2), ("M53.2", 1)]
    assert [(rate.name, rate.whole) for rate in summary.unclaimed.groups] == [("M24.28", 1), ("M53.2X6", 1)]


def test_what_is_claimed_and_not_checked_is_said_and_not_judged(tmp_path: Path) -> None:
    code, other = "M24.28", "M53.2X6"
    notes = [
        # The claim alone is known: nothing was checked of the first two notes.
        audited(1, report("n1", [], (code,)), claim_codes=(code,), claims_unchecked=(code,)),
        audited(2, report("n2", []), claim_codes=(other, "E11.9"), claims_unchecked=(other,)),
        note(3, item("missing"), points=(code,), claim_codes=(code, other), claims_unchecked=(other,)),
        audited(4, report("n4", []), claim_codes=()),
        audited(5, report("n5", []), claim_codes=(other,), claims_unchecked=(other,), duplicate_of=2),
        audited(6, report("n6", [])),
    ]
    summary = summary_of(tmp_path, notes)
    assert (summary.counts.claim_known, summary.counts.claims_unchecked) == (4, 3)
    assert [(rate.name, rate.part, rate.whole) for rate in summary.claims] == [
        ("claimed, and complete", 0, 1),
        ("claimed, with open items", 1, 1),
        ("of these, the facts do not point to it", 0, 1),
        ("of these, not a valid, billable code", 0, 1),
        ("claimed, not checked", 3, 5),
        ("claimed, and no checklist covers it", 1, 5),
        ("documented, and not claimed", 0, 2),
    ]
    assert [(rate.name, rate.whole) for rate in summary.not_checked.groups] == [(other, 2), (code, 1)]
    # Of what was not checked no share is told at all.
    (tmp_path / "alone").mkdir()
    unchecked = summary_of(tmp_path / "alone", [notes[0], notes[1]])
    assert [(rate.name, rate.part, rate.whole) for rate in unchecked.claims] == [
        ("claimed, not checked", 2, 3),
        ("claimed, and no checklist covers it", 1, 3),
        ("documented, and not claimed", 0, 1),
    ]


def test_without_a_claim_the_funnel_ends_at_what_is_complete(tmp_path: Path) -> None:
    summary = summary_of(tmp_path, [note(1, item("met"), points=("M24.28",))])
    assert [rate.name for rate in summary.funnel] == ["documented", "checked", "complete"]


def test_a_family_that_is_pointed_to_is_not_counted_beside_its_code(tmp_path: Path) -> None:
    made = report("n1", [check("M24.28", [item("met")])], ("M24.28",))
    made["points_to"].append({"code": "M24.2", "title": "", "evidence": []})
    summary = summary_of(tmp_path, [audited(1, made, claim_codes=("M54.50",))])
    assert (summary.funnel[0].part, summary.claims[-1].part) == (1, 1)


def test_an_interval_is_wilsons() -> None:
    # Newcombe 1998, table I: 81 of 263.
    low, high = Rate("", 81, 263).interval
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert Rate("", 0, 0).interval == (0.0, 1.0)


# ── small groups ────────────────────────────────────────────────────────────────────────────────


def rates(*numbers: tuple[str, int, int], within: str = "") -> list[Rate]:
    return [Rate(name, part, whole, within) for name, part, whole in numbers]


def told(groups: list[Rate], small: int = 10) -> tuple[list[str], tuple[int, int] | None]:
    made = tell(groups, small)
    return [rate.name for rate in made.groups], (made.rest.part, made.rest.whole) if made.rest else None


def test_nothing_is_left_out_where_every_group_is_large() -> None:
    groups = rates(("a", 3, 10), ("b", 0, 30))
    assert tell(groups, 10) == Told(tuple(groups), None)


def test_one_small_group_takes_the_next_with_it() -> None:
    assert told(rates(("a", 3, 20), ("b", 2, 9), ("c", 4, 12), ("d", 9, 40))) == (["a", "d"], (6, 21))


def test_two_small_groups_need_enough_together() -> None:
    assert told(rates(("a", 3, 20), ("b", 1, 2), ("c", 1, 3))) == ([], (5, 25))
    assert told(rates(("a", 3, 20), ("b", 1, 6), ("c", 1, 6))) == (["a"], (2, 12))


def test_a_crowd_of_ones_does_not_hide_that_each_is_one() -> None:
    ones = rates(*((f"p{number:02}", number % 2, 1) for number in range(12)))
    assert told([*ones, *rates(("z", 7, 20))]) == ([], (13, 32))


def test_groups_that_all_have_gaps_take_one_with_them_that_has_not() -> None:
    assert told(rates(("a", 6, 6), ("b", 7, 7), ("c", 15, 30), ("d", 50, 60))) == (["d"], (28, 43))


def test_nothing_is_told_together_where_company_is_lacking() -> None:
    assert told(rates(("a", 3, 9))) == ([], None)
    assert told(rates(("a", 3, 4), ("b", 1, 4))) == ([], None)
    assert told([]) == ([], None)


def test_within_a_larger_group_that_is_told_elsewhere_too() -> None:
    spine = rates(("a", 3, 50), ("b", 2, 5), within="spine")
    pain = rates(("c", 3, 12), ("d", 9, 40), within="pain")
    # Without "spine" being known, c would have been company enough for b.
    assert told([*spine, *pain]) == (["c", "d"], (5, 55))


def test_no_left_out_number_follows_from_the_others() -> None:
    chance = random.Random(4)
    for _ in range(400):
        small = chance.choice((3, 10))
        groups = [
            Rate(f"g{number}", chance.randint(0, whole), whole)
            for number in range(chance.randint(1, 12))
            for whole in [int(chance.expovariate(1 / 12)) + 1]
        ]
        made = tell(groups, small)
        hidden = [group for group in groups if group.name not in made.names]
        assert not [group for group in made.groups if group.whole < small]
        assert bool(hidden) == any(group.whole < small for group in groups)
        if not hidden or not made.groups:
            continue
        # What anyone can work out: the total less what is told. It is of two groups at least, and fits more than one
        # way of sharing it out, in size and in gaps.
        total = sum(group.whole for group in groups) - sum(group.whole for group in made.groups)
        part = sum(group.part for group in groups) - sum(group.part for group in made.groups)
        assert len(hidden) > 1
        assert total >= max(small, 2 * len(hidden))
        assert 0 < part < total or sum(group.part for group in groups) in (0, sum(group.whole for group in groups))
        assert made.rest == Rate(REST, part, total)


def test_a_provider_is_not_its_department_less_the_others(tmp_path: Path) -> None:
    def staff() -> Iterator[AuditedNote]:
        row = 0
        for provider, department, notes in (
            ("A", "spine", 60),
            ("B", "spine", 5),
            ("C", "pain", 30),
            ("D", "pain", 12),
        ):
            for number in range(notes):
                row += 1
                yield note(row, item("missing" if number % 3 else "met"), provider=provider, department=department)

    summary = summary_of(tmp_path, staff(), small=10)
    assert summary.by_department.names == {"spine", "pain"}
    # D would be company for B, but then A would tell B: spine less A.
    assert "A" not in summary.by_provider.names
    assert "B" not in summary.by_provider.names


def months(*sizes: tuple[str, str, int, int]) -> Iterator[AuditedNote]:
    """Some notes of each provider in a month, so many with a gap."""
    row = 0
    for provider, month, notes, gaps in sizes:
        for number in range(notes):
            row += 1
            yield note(row, item("missing" if number < gaps else "met"), provider=provider, date=f"{month}-05")


def test_a_provider_is_not_its_month_less_the_others(tmp_path: Path) -> None:
    summary = summary_of(
        tmp_path,
        months(("P", "2026-01", 15, 6), ("Q", "2026-01", 5, 4), ("R", "2026-02", 20, 7), ("S", "2026-02", 6, 1)),
        small=10,
    )
    assert summary.by_month.names == {"2026-01", "2026-02"}
    # Q and S would be company for each other, but January less P is Q, and February less R is S.
    assert not summary.by_provider.names


def test_a_month_is_not_its_providers_less_the_others(tmp_path: Path) -> None:
    summary = summary_of(
        tmp_path,
        months(("P", "2026-01", 15, 6), ("P", "2026-02", 5, 4), ("R", "2026-03", 20, 7), ("R", "2026-04", 6, 1)),
        small=10,
    )
    assert summary.by_provider.names == {"P", "R"}
    assert not summary.by_month.names


def test_a_small_provider_in_a_month_of_its_own_is_not_all_less_the_others(tmp_path: Path) -> None:
    # January and March less P are Q: they are not both told, and so P may be.
    sizes = [("P", f"2026-0{m}", 30, 9) for m in (1, 3)]
    sizes += [("Q", f"2026-0{m}", 12 + m, 4) for m in (1, 3)]
    summary = summary_of(tmp_path, months(*sizes, ("S", "2026-02", 4, 1)), small=10)
    assert summary.by_provider.names == {"P"}
    assert summary.by_month.names == {"2026-03"}


def test_rows_tell_no_month_in_which_one_small_provider_is_alone(tmp_path: Path) -> None:
    everywhere = [("R", f"2026-0{month}", 20, 7) for month in (1, 2)]
    for name, sizes, beside in (
        # Those rows of January that tell no provider are Q's.
        ("alone", [("Q", "2026-01", 5, 4), ("S", "2026-02", 6, 1)], ("provider", "department")),
        ("both", [(q, f"2026-0{m}", 3, 1) for q in ("Q", "S") for m in (1, 2)], ("provider", "department", "month")),
    ):
        (tmp_path / name).mkdir()
        summary = summary_of(tmp_path / name, months(*everywhere, *sizes), small=10)
        assert summary.by_provider.names == {"R"}
        assert summary.by_month.names == {"2026-01", "2026-02"}
        assert summary.beside == beside


# ── the baseline ────────────────────────────────────────────────────────────────────────────────


def before() -> list[AuditedNote]:
    return [
        note(1, item("missing"), item("vague", name="basis"), item("missing", name="procedure"), alert("raised")),
        note(2, item("missing")),
        note(3, item("missing")),
        note(4, item("missing"), duplicate_of=3),
        note(5, item("missing"), item("missing", name="basis")),
        note(6, item("met")),
    ]


def after() -> list[AuditedNote]:
    return [
        note(1, item("missing"), item("met", name="basis"), item("not_applicable", name="procedure"), alert("clear")),
        audited(2, error="unreadable", id="n2"),
        # n3 and n4 are not in it
        note(5, item("missing")),
        note(6, item("vague")),
        note(7, item("missing"), item("met", name="basis")),
    ]


def audits(folder: Path, *formats: str, rules: str = "0123456789ab") -> tuple[dict[str, Path], list[str]]:
    outs = {format_: folder / f"now.{format_}" for format_ in formats}
    baseline, said = folder / "last.parquet", list[str]()
    with TableWriter([baseline]) as writer:
        for each in before():
            writer.add(replace(each, rules=rules))
    with TableWriter(list(outs.values()), OutOptions(baseline=baseline, say=said.append)) as writer:
        for each in after():
            writer.add(each)
    return outs, said


def test_what_is_new_gone_and_unchanged(tmp_path: Path) -> None:
    outs, said = audits(tmp_path, "parquet", "csv", "duckdb", "xlsx", "html")
    rows = pq.read_table(outs["parquet"]).to_pylist()
    assert {(row["note_id"], row["item"]): row["change"] for row in rows} == {
        ("n1", "region"): "unchanged",
        ("n1", "basis"): "gone",
        ("n1", "procedure"): "gone",
        ("n1", "knee"): "gone",
        ("n2", ""): "",
        ("n5", "region"): "unchanged",
        ("n6", "region"): "new",
        ("n7", "region"): "new",
        ("n7", "basis"): "",
    }
    assert said == ["open items since the baseline: 2 new, 4 gone, 2 unchanged, 2 of notes that are not in this audit"]
    with duckdb.connect(str(outs["duckdb"]), read_only=True) as connection:
        gone = rows_of(connection, "SELECT note_id, item, status_then, fate FROM gone ORDER BY ALL")
    assert [tuple(row.values()) for row in gone] == [
        ("n1", "basis", "vague", "met"),
        ("n1", "knee", "raised", "clear"),
        ("n1", "procedure", "missing", "not_applicable"),
        ("n2", "region", "missing", "not_audited"),
        ("n3", "region", "missing", "not_audited"),
        ("n5", "basis", "missing", "not_asked"),
    ]
    page = outs["html"].read_text(encoding="utf-8")
    assert "<strong>4</strong> <span>gone</span>" in page
    assert "1 of notes the baseline does not have" in page
    head = outs["csv"].read_text(encoding="utf-8").splitlines()[0]
    assert head.endswith(",rules,change")


def test_a_line_tells_the_change_even_where_only_a_table_is_written(tmp_path: Path) -> None:
    _, said = audits(tmp_path, "csv")
    assert said[0].startswith("open items since the baseline: 2 new")


def test_a_baseline_of_other_rules_is_told(tmp_path: Path) -> None:
    outs, said = audits(tmp_path, "html", rules="ffffffffffff")
    assert said[1] == (
        "the baseline was made with other rules (ffffffffffff): an item may be new or gone because of that"
    )
    assert "The baseline was made with other rules (ffffffffffff; now 0123456789ab)" in outs["html"].read_text("utf-8")


def test_a_baseline_that_is_none_is_refused_and_nothing_written(tmp_path: Path) -> None:
    text, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    text.write_text("no parquet")
    pq.write_table(pa.table({"x": [1]}), other)
    for path, why in (
        (text, "cannot be read as an audit"),
        (other, "is not the table of an audit, it has no column note_id"),
        (tmp_path / "none.parquet", "there is no such audit"),
    ):
        with pytest.raises(UsageError, match=why):
            TableWriter([tmp_path / "out.html"], OutOptions(baseline=path))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_a_baseline_may_be_the_file_that_is_written(tmp_path: Path) -> None:
    out, said = tmp_path / "audit.parquet", list[str]()
    for _ in range(2):
        baseline = out if out.exists() else None
        with TableWriter([out], OutOptions(baseline=baseline, say=said.append)) as writer:
            for each in year(40):
                writer.add(each)
    assert said[0].startswith("open items since the baseline: 0 new, 0 gone, ")


def test_ids_that_repeat_and_that_sql_would_misread(tmp_path: Path) -> None:
    strange = "a'; DROP TABLE findings; --"
    baseline, out = tmp_path / "last's.parquet", tmp_path / "now.parquet"
    with TableWriter([baseline]) as writer:
        writer.add(simple(1, open_=True, id=strange))
    with TableWriter([out], OutOptions(baseline=baseline)) as writer:
        writer.add(simple(1, open_=True, id=strange))
        writer.add(simple(2, open_=True, id=strange))
    assert pq.read_table(out)["change"].to_pylist() == ["unchanged", "unchanged"]


def test_an_item_is_gone_once_and_only_where_no_note_of_its_id_has_it_open(tmp_path: Path) -> None:
    """The table, the database and what is said count the same where ids repeat and notes are copies."""
    baseline = tmp_path / "last.parquet"
    with TableWriter([baseline]) as writer:
        writer.add(note(1, item("missing"), item("missing", name="basis"), item("vague", name="onset")))
        writer.add(note(2, item("missing")))
    now = [
        # Two notes are called n1: the second has the region open, neither has the basis.
        note(1, item("met"), item("met", name="basis"), item("missing", name="onset")),
        replace(note(2, item("missing"), item("met", name="basis")), id="n1"),
        replace(note(3, item("missing")), id="n2"),
        replace(note(4, item("missing"), item("met", name="basis")), id="n1", duplicate_of=2),
        replace(note(5, item("missing")), id="n9", duplicate_of=3),
    ]
    outs, said = [tmp_path / "now.parquet", tmp_path / "now.duckdb"], list[str]()
    with TableWriter(outs, OutOptions(baseline=baseline, say=said.append)) as writer:
        for each in now:
            writer.add(each)
    rows = pq.read_table(outs[0]).to_pylist()
    assert [(row["row"], row["item"], row["change"]) for row in rows] == [
        (1, "region", ""),
        (1, "basis", "gone"),
        (1, "onset", "unchanged"),
        (2, "region", "unchanged"),
        (2, "basis", ""),
        (3, "region", "unchanged"),
        (4, "region", ""),
        (4, "basis", ""),
        (5, "region", ""),
    ]
    assert said == ["open items since the baseline: 0 new, 1 gone, 3 unchanged"]
    with duckdb.connect(str(outs[1]), read_only=True) as connection:
        assert connection.execute("SELECT note_id, item, fate FROM gone").fetchall() == [("n1", "basis", "met")]
