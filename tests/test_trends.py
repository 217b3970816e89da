"""Audits over time: what is compared, how it is tested, and what is not told."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from audits import simple
from notegap.audit.out import TableWriter
from notegap.audit.rows import AuditedNote
from notegap.audit.suppress import Rate
from notegap.audit.trends import FORMATS, Trends, cochran_armitage, compare_audits, difference, trends_text
from notegap.cli import main
from notegap.errors import UsageError


def wrote(path: Path, notes: Iterator[AuditedNote] | list[AuditedNote]) -> Path:
    with TableWriter([path]) as writer:
        for note in notes:
            writer.add(note)
    return path


def quarter(number: int, sizes: dict[str, tuple[int, int]], rules: str = "r") -> list[AuditedNote]:
    """Notes of a quarter: for each provider how many have a gap, of how many."""
    notes: list[AuditedNote] = []
    for provider, (gaps, of) in sizes.items():
        for place in range(of):
            row = len(notes) + 1
            notes.append(
                simple(
                    row, open_=place < gaps, provider=provider, date=f"2026-{3 * number + 1:02}-05",
                    note_hash=f"{number}-{row}", rules=rules,
                )
            )  # fmt: skip
    return notes


def shares(trends: Trends, kind: str) -> dict[str, list[tuple[int, int] | None]]:
    return {
        series.name: [(point.part, point.whole) if point else None for point in series.points]
        for series in trends.series
        if series.kind == kind
    }


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three quarters, given out of order and in two kinds of file."""
    quarters = [
        {"A": (20, 40), "B": (15, 30), "C": (12, 25)},
        {"A": (14, 40), "B": (15, 30), "C": (3, 8)},
        {"A": (5, 40), "B": (14, 30), "D": (6, 20)},
    ]
    names = ("q1.parquet", "q2.duckdb", "q3.parquet")
    first, second, third = (
        wrote(tmp_path / name, quarter(number, sizes))
        for number, (name, sizes) in enumerate(zip(names, quarters, strict=True))
    )
    return [third, first, second]


def test_groups_over_time(three: list[Path]) -> None:
    trends = compare_audits(three)
    assert [(run.name, run.first_date, run.checked) for run in trends.runs] == [
        ("q1", "2026-01-05", 95),
        ("q2", "2026-04-05", 78),
        ("q3", "2026-07-05", 90),
    ]
    assert shares(trends, "all") == {"all": [(47, 95), (32, 78), (25, 90)]}
    assert shares(trends, "item") == {"M24 region": [(47, 95), (32, 78), (25, 90)]}
    # C has few notes in the second, which B's would give away: all less A.
    assert shares(trends, "provider") == {
        "A": [(20, 40), (14, 40), (5, 40)],
        "B": [(15, 30), None, (14, 30)],
        "C": [(12, 25), None, None],
        "D": [None, None, (6, 20)],
    }
    assert trends.remarks == ()


def test_changes_are_tested_together(three: list[Path]) -> None:
    by_name = {(series.kind, series.name): series for series in compare_audits(three).series}
    a, b, c = (by_name["provider", name] for name in "ABC")
    assert a.change == pytest.approx(5 / 40 - 20 / 40)
    assert a.interval is not None
    assert a.interval[0] < -0.375 < a.interval[1] < 0
    assert (a.test, b.test, c.test) == ("Cochran-Armitage", "two proportions", "")
    assert b.p == pytest.approx(stats.chi2_contingency([[15, 15], [14, 16]], correction=False).pvalue)
    tested = [by_name["item", "M24 region"], a, b]
    corrected = stats.false_discovery_control([series.p for series in tested])
    assert [series.q for series in tested] == pytest.approx(list(corrected))
    assert by_name["all", "all"].q is None


def test_the_trend_is_agrestis() -> None:
    # Agresti, Categorical Data Analysis, table 3.7: malformations by the mother's alcohol consumption; M² = 6.57.
    points = [Rate("", part, whole) for part, whole in ((48, 17114), (38, 14502), (5, 793), (1, 127), (1, 38))]
    assert cochran_armitage([0, 0.5, 1.5, 4, 7], points) == pytest.approx(0.0104, abs=0.0001)


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe 1998, Statistics in Medicine 17:873, table II, method 10: 56/70 and 48/80.
    low, high = difference(Rate("", 48, 80), Rate("", 56, 70))
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_where_few_are_expected_the_test_is_exact_or_none(tmp_path: Path) -> None:
    few = [wrote(tmp_path / f"{number}.parquet", quarter(number, {"A": (number, 20)})) for number in range(3)]
    two, three = compare_audits(few[::2]), compare_audits(few)
    (series,) = (one for one in two.series if one.kind == "item")
    assert series.test == "Fisher's exact test"
    assert series.p == pytest.approx(stats.fisher_exact([[0, 20], [2, 18]]).pvalue)
    assert {one.p for one in three.series} == {None}


def test_what_stands_in_the_way_of_comparing_is_said(tmp_path: Path) -> None:
    first = wrote(tmp_path / "a.parquet", quarter(0, {"A": (20, 40)}))
    again = wrote(tmp_path / "b.parquet", [replace(note, rules="other") for note in quarter(0, {"A": (10, 40)})])
    remarks = compare_audits([first, again]).remarks
    assert [remark.split(",")[0] for remark in remarks] == [
        "the audits stand in the order they were given",
        "the audits were made with different rules",
        "40 notes are in more than one audit",
    ]


def test_a_small_provider_is_in_no_format(tmp_path: Path) -> None:
    paths = [
        wrote(tmp_path / f"q{number}.parquet", quarter(number, {"Ample": (20, 60), "Next": (9, 31), "Dr. Few": (1, 7)}))
        for number in range(2)
    ]
    trends = compare_audits(paths)
    assert shares(trends, "provider") == {"Ample": [(20, 60), (20, 60)]}
    printed = [trends_text(trends, 100), *(print_(trends) for print_ in FORMATS.values())]
    for text in printed:
        assert "Ample" in text
        assert "Dr. Few" not in text
        assert "Next" not in text


def test_an_audit_of_few_notes_tells_nothing(tmp_path: Path) -> None:
    path = wrote(tmp_path / "a.parquet", quarter(0, {"A": (2, 6)}))
    trends = compare_audits([path])
    assert trends.series == ()
    assert json.loads(FORMATS["json"](trends))["audits"][0]["checked"] is None
    assert "6 notes" not in trends_text(trends, 80)
    assert ">6<" not in FORMATS["html"](trends)


def test_csv_and_json_say_the_same(three: list[Path]) -> None:
    trends = compare_audits(three)
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](trends))))
    said = json.loads(FORMATS["json"](trends))
    assert said["schema_version"] == 1
    assert len(rows) == sum(len(series["points"]) for series in said["series"])
    point = said["series"][0]["points"][0]
    assert point["rate"] == float(rows[0]["rate"]) == 47 / 95
    assert point["low"] < point["rate"] < point["high"]


def test_hostile_names(tmp_path: Path) -> None:
    evil = "=1+1<script>\n\u202e"
    folder = tmp_path / "a'b"
    folder.mkdir()
    paths = [wrote(folder / f"{number}.duckdb", quarter(number, {evil: (10, 40), "B": (5, 30)})) for number in range(2)]
    trends = compare_audits(paths)
    for print_ in FORMATS.values():
        assert "<script>" not in print_(trends) or print_ is not FORMATS["html"]
    assert not [
        row for row in csv.reader(io.StringIO(FORMATS["csv"](trends))) if any(cell.startswith("=") for cell in row)
    ]
    assert "\u202e" not in trends_text(trends, 80)


def test_the_command(three: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "trends.html"
    assert main(["trends", *map(str, three), "--format", "html", "--out", str(out)]) == 0
    assert "Documentation over time" in out.read_text(encoding="utf-8")
    assert main(["trends", *map(str, three)]) == 0
    shown = capsys.readouterr()
    assert "q1: 2026-01-05 to 2026-01-05, 95 notes checked" in shown.out
    assert "50 % of 40" in shown.out.replace("\u00a0", " ")
    assert shown.err == ""
    assert main(["trends", *map(str, three), "--small-number", "1", "--format", "csv"]) == 0
    assert "provider,C,q2,3,8," in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["parquet", "duckdb"])
def test_what_is_no_audit_is_refused(tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / f"a.{suffix}"
    broken.write_text("no audit at all")
    assert main(["trends", str(broken)]) == 2
    assert f"{broken}: cannot be read as an audit" in capsys.readouterr().err
    assert main(["trends", str(tmp_path / "none.parquet")]) == 2
    assert "there is no such audit" in capsys.readouterr().err


def test_another_table_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"note_id": ["a"]}), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="is not the table of an audit, it has no column source"):
        compare_audits([tmp_path / "a.parquet"])


def test_an_audit_is_not_overwritten(three: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    before = three[0].read_bytes()
    assert main(["trends", *map(str, three), "--out", str(three[0])]) == 2
    assert three[0].read_bytes() == before
    assert "it would be lost" in capsys.readouterr().err


def test_nothing_is_left_in_the_folder_for_temporary_files(
    three: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    compare_audits(three)
    assert list((tmp_path / "tmp").iterdir()) == []
