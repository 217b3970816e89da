"""The audit on Spark says what the local one says, builds its pipeline once in a worker, and lets no word out."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import spark_stub
from audit_stub import StubAnalyzer, quick
from notegap import cli
from notegap.analyzer import Analyzer
from notegap.audit.bare import Published
from notegap.audit.batch import rules_of
from notegap.audit.ledger import Ledger
from notegap.audit.rows import columns, flat_rows
from notegap.audit.run import audit_rows
from notegap.audit.seen import Seen
from notegap.audit.select import can_be_judged, with_claimed
from notegap.audit.spark import audit
from notegap.audit.spark.frames import Patterns, audited, flat, prepared, read_parquet
from notegap.audit.spark.session import need_java, need_spark, session, telling
from notegap.audit.spark.worker import Work, analyze, kept
from notegap.audit.work import Analyzes, Here
from notegap.errors import NotegapError, UsageError
from notegap.model import Note, Part
from notegap.notes.inputs import Row, read_rows
from notegap.notes.table import read_values
from notegap.notes.text import NoteOptions

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("pyspark")

ROOT = Path(__file__).resolve().parents[1]
UNLABELLED = ROOT.parent / "shared" / "corpus" / "unlabelled"
CANARY = "Quetzalcoatl"
pytestmark = [
    # One Spark for all of it, whichever process of the tests has it.
    pytest.mark.xdist_group("spark"),
    # Spark's and pandas' own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

Table = list[dict[str, Any]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Spark keeps what it needs, and what is written down."""
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="module")
def spark(place: Path) -> Iterator[Any]:
    """A Spark with two workers, as the command starts one; with a log of all that happens in it."""
    try:
        need_java()
    except UsageError:
        pytest.skip("Java is not installed")
    (place / "events").mkdir()
    logged = f"--conf spark.eventLog.enabled=true --conf spark.eventLog.dir=file://{place}/events"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join((str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")))
        )
        patch.setenv("PYSPARK_SUBMIT_ARGS", f"{logged} --conf spark.eventLog.compress=false pyspark-shell")
        patch.setenv(spark_stub.PLACE, str(place))
        patch.delenv("PYSPARK_PYTHON", raising=False)
        patch.delenv("PYSPARK_DRIVER_PYTHON", raising=False)
        with session("local[2]", place) as started:
            started.conf.set("spark.sql.shuffle.partitions", "3")
            yield started


def asked(build: Any, **changes: Any) -> Work:
    return replace(Work(build=build, rules=rules_of(build().knowledge), options=NoteOptions(), timeout=30), **changes)


def table(df: Any) -> Table:
    """A DataFrame's rows in the order in which they come."""
    return [record.asDict() for record in df.collect()]


def on_spark(df: Any, work: Work) -> Table:
    return table(flat(audited(prepared(df, work.options), work)))


def locally(rows: Sequence[Row], analyzer: Analyzes, *, rules: str, with_text: bool = False) -> Table:
    notes = audit_rows(
        rows,
        Here(analyzer, 30),
        Ledger(),
        Seen(),
        rules=rules,
        with_text=with_text,
        judged=lambda code: can_be_judged(code, analyzer.knowledge),  # type: ignore[attr-defined]
    )
    return [row for note in notes for row in flat_rows(note, with_text=with_text)]


def stub_notes() -> list[tuple[int, str, str | None]]:
    """Notes with copies, near-copies and failures among them, each kind before and after its like."""
    words = " ".join(f"word{number}" for number in range(80))
    texts = [f"gaps {name} {words} {name * 3}" for name in ("one", "two", "three", "four")]
    others = ["crash one", "none at all", None, " ", "gaps two " + "x" * 2_000_000, f"gaps {CANARY}"]
    nearly = [f"gaps five {words} fivefivefive", f"gaps one {words} one one"]
    every = [*texts, *others, *nearly, texts[0], "crash one", *texts[2:0:-1], *nearly]
    return [(number * 3, f"n{number}", text) for number, text in enumerate(every, start=1)]


SCHEMA = "row bigint, id string, text string"


def rows_of(notes: Sequence[tuple[int, str, str | None]]) -> list[Row]:
    return [
        Row(row, "", read_values({"id": note_id, "text": text}, f"row {row}", NoteOptions()))
        for row, note_id, text in notes
    ]


# ── the same as locally ─────────────────────────────────────────────────────────────────────────


@pytest.mark.skipif(not UNLABELLED.is_dir(), reason="../shared is not there")
def test_real_notes_come_out_as_they_do_locally(spark: Any, analyzer: Analyzer, tmp_path: Path) -> None:
    lines = [line for path in sorted(UNLABELLED.glob("*.jsonl")) for line in path.open(encoding="utf-8")]
    notes = [json.loads(line) for line in lines[::10]][:48]
    claims = [["M54.50", "M24.28"], ["M48.061", "M99.99"], None]
    made: list[dict[str, Any]] = [
        {
            "id": note["id"],
            "text": note["text"],
            "codes": ["M24.28"] if number % 3 == 0 else None,
            "claim_codes": claims[number % 3],
            "setting": ("inpatient", "outpatient")[number % 2],
            "provider": f"Dr. {number % 5}",
            "date": f"2026-03-{number % 28 + 1:02}",
        }
        for number, note in enumerate(notes)
    ]
    made += [{**note, "id": f"{note['id']}-copy", "date": "2026-04-01"} for note in made[3::-1]]
    made += [{**note, "id": f"{note['id']}-near", "text": f"{note['text']} Seen today."} for note in made[4:8]]
    made += [{"id": "none", "text": None}, {"id": "bad", "text": "Low back pain.", "setting": "moon"}]
    path = tmp_path / "notes.parquet"
    pq.write_table(pa.Table.from_pylist(made), path, row_group_size=16)
    rows, rules = list(read_rows([str(path)], NoteOptions())), rules_of(analyzer.knowledge)
    want = locally(rows, analyzer, rules=rules)
    source, _ = read_parquet(spark, path, NoteOptions())
    assert any(row["near_duplicate_of"] for row in want)
    assert any(row["duplicate_of"] for row in want)
    assert table(flat(audited(source, asked(Patterns())))) == want
    claimed = [replace(row, note=with_claimed(row.note, analyzer.knowledge)) for row in rows]
    assert claimed != rows
    want = locally(claimed, analyzer, rules=rules)
    assert table(flat(audited(source, asked(Patterns(), check_claims=True)))) == want


def test_partitions_make_no_difference_and_workers_are_reused(spark: Any) -> None:
    notes = stub_notes()
    work = asked(spark_stub.counted)
    want = locally(rows_of(notes), StubAnalyzer(), rules=work.rules)
    assert {row["outcome"] for row in want} == {"checked", "unchecked", "failed"}
    assert {3, 9} < {row["duplicate_of"] for row in want}
    assert 3 in {row["near_duplicate_of"] for row in want}
    df = spark.createDataFrame(notes, SCHEMA)
    built = len(spark_stub.written_down("built"))
    for partitions in (1, 2, 5):
        read = len(spark_stub.written_down("read"))
        assert on_spark(df.repartition(partitions), work) == want
        ids = spark_stub.written_down("read")[read:]
        # Each once, for all that comes after; copies in other partitions are read there.
        assert len(ids) == len(set(ids)) <= 15
        assert partitions > 1 or len(ids) == 9
    processes = spark_stub.written_down("built")[built:]
    # Eight partitions with notes, and each of two workers builds once; one more of each if Spark let them go meanwhile.
    assert 1 <= len(processes) == len(set(processes)) <= 4


def test_what_a_table_may_hold_is_read_as_it_is_locally(spark: Any, tmp_path: Path) -> None:
    day, time = date(2026, 3, 1), datetime(2026, 3, 1, 23, 30)
    made: dict[str, Any] = {
        "ID": pa.array([1, None, 3, 4, 5, 6], pa.int64()),
        "Text": ["gaps one", "gaps two", None, "", "gaps " + "x" * 2_000_000, "gaps \x00 three"],
        "codes": [["M24.28"], [], None, ["m2428", None], ["not a code"], ["M24.28"]],
        "code": ["M54.50; M54.51", None, None, None, None, "M24.28"],
        "claim_codes": [["M54.50"], [], None, None, None, None],
        "setting": ["Inpatient", None, "", None, None, "moon"],
        "date_of_service": pa.array([day, None, day, day, day, day]),
        "provider": pa.array([1.5, None, 1234567890.0, 1e22, 0.1, 3.0]),
        "encounter": pa.array([Decimal("1.10000000"), None, None, Decimal("0E-8"), None, None]),
        "department": [True, None, False, True, None, None],
        "date": pa.array([time, None, time, time, time, time], pa.timestamp("us")),
        "row": [9, 9, 9, 9, 9, 9],
        "some.thing else`": [1, 2, 3, 4, 5, 6],
    }
    wrong = {
        "id": [True, None],
        "text": [b"gaps", None],
        "codes": [5, 6],
        "setting": [1, None],
        "date_of_service": [1, 2],
    }
    mapped = {
        "provider": pa.array([0.1, None], pa.float32()),
        "BODY.text": ["gaps one two", "gaps two"],
        "id": ["a", "b"],
        "date_of_service": ["2026-03-01", "soon"],
    }
    folder = tmp_path / "a [1] b%20c?"
    folder.mkdir()
    tables: list[tuple[str, dict[str, Any], NoteOptions]] = [
        ("a.parquet", made, NoteOptions()),
        ("b {x}*.parquet", wrong, NoteOptions()),
        ("c.parquet", mapped, NoteOptions(columns={"text": "body.TEXT"}, codes=("M24.28",))),
    ]
    for name, held, options in tables:
        pq.write_table(pa.table(held), folder / name)
        work = asked(quick, options=options)
        notes, last = read_parquet(spark, folder / name, options)
        assert last == len(next(iter(held.values())))
        want = locally(list(read_rows([str(folder / name)], options)), StubAnalyzer(), rules=work.rules)
        assert table(flat(audited(notes, work))) == want


def test_files_of_a_folder_are_numbered_in_the_order_of_their_names(spark: Any, tmp_path: Path) -> None:
    for name, size in (("b", 3), ("a c", 1), ("d%20", 2)):
        pq.write_table(
            pa.table({"text": [f"gaps {name}{number}" for number in range(size)]}), tmp_path / f"{name}.parquet"
        )
    notes, last = read_parquet(spark, tmp_path, NoteOptions(), after=10)
    numbered = sorted((record["row"], record["source"], record["where"]) for record in notes.collect())
    assert numbered == [
        (11, "a c.parquet", "a c.parquet:1"),
        *((11 + line, "b.parquet", f"b.parquet:{line}") for line in (1, 2, 3)),
        *((14 + line, "d%20.parquet", f"d%20.parquet:{line}") for line in (1, 2)),
    ]
    assert last == 16


def test_what_is_no_text_costs_its_row_alone(spark: Any) -> None:
    df = spark.sql(
        "SELECT 1L AS row, 'a' AS id, cast(x'676170730aeda080' AS string) AS text UNION ALL "
        "SELECT 2L, cast(x'ff' AS string), cast(x'ff' AS string) UNION ALL SELECT 3L, 'c', 'gaps one'"
    )
    rows = {row["row"]: row for row in on_spark(df, asked(quick))}
    assert [rows[number]["outcome"] for number in (1, 2, 3)] == ["failed", "failed", "checked"]
    assert rows[1]["error"] == "`text` is not UTF-8"
    assert rows[2]["error"] == "`id` is neither a string nor a number"


def test_a_note_that_takes_too_long_is_stopped_where_it_is(spark: Any) -> None:
    notes = [(1, "a", "slow one"), (2, "b", "gaps one"), (3, "c", "slow one")]
    rows = on_spark(spark.createDataFrame(notes, SCHEMA), asked(quick, timeout=0.5))
    late = "took longer than 0.5 seconds and was stopped; --timeout gives it more"
    assert [(row["row"], row["error"], row["duplicate_of"]) for row in rows] == [
        (1, late, None),
        (2, "", None),
        (3, late, None),
    ]


# ── what is asked of a DataFrame ────────────────────────────────────────────────────────────────


def test_the_table_is_the_flat_table(spark: Any) -> None:
    # Not run: what it would give is known beforehand.
    df = spark.createDataFrame([("gaps",)], "note string")
    types = {
        "string": "string",
        "int64": "bigint",
        "double": "double",
        "bool": "boolean",
        "list<string>": "array<string>",
    }
    for with_text in (False, True):
        got = audit(df, columns={"text": "note"}, codes=["m24.28"], setting="inpatient", with_text=with_text)
        assert dict(got.dtypes) == {name: types[kind] for name, kind in columns(with_text=with_text).items()}
    with pytest.raises(NotegapError, match="no column is named `text`"):
        audit(df)
    with pytest.raises(UsageError):
        audit(df, codes=["nonsense code"])


def test_notes_without_numbers_are_numbered_as_they_stand(spark: Any) -> None:
    df = spark.createDataFrame([(f"gaps word{number}", "x.csv") for number in range(6)], "text string, source string")
    rows = on_spark(df.coalesce(1), asked(quick))
    assert [(row["row"], row["note_id"]) for row in rows] == [(number, f"x.csv:{number}") for number in range(1, 7)]


def test_with_text_has_quotes_and_the_text(spark: Any) -> None:
    notes = [(1, "a", "gaps one"), (2, "b", "gaps one"), (3, "c", "crash one")]
    work = asked(quick, with_text=True, words=True)
    rows = on_spark(spark.createDataFrame(notes, SCHEMA), work)
    assert rows == locally(rows_of(notes), StubAnalyzer(), rules=work.rules, with_text=True)
    assert [row["quotes"] for row in rows] == [["one"], ["one"], []]


@pytest.mark.parametrize(
    ("notes", "build", "said"),
    [
        ([(1, "a", "gaps one"), (1, "b", "gaps two")], quick, "the column `row` has the same number twice"),
        ([(None, "a", "gaps one")], quick, "the column `row` has no number in some row"),
        ([(1, "a", f"gaps {CANARY}")], spark_stub.others, "a worker has another version of notegap, or other patterns"),
    ],
)
def test_what_would_be_wrong_for_all_stops_it(spark: Any, notes: list[Any], build: Any, said: str) -> None:
    work = replace(asked(quick), build=build)
    with pytest.raises(NotegapError, match=said), telling():
        on_spark(spark.createDataFrame(notes, SCHEMA), work)


def test_the_notebook_in_the_document_runs(spark: Any) -> None:
    shown = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "audit-spark.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(shown) == 2
    spark.sql("CREATE DATABASE clinic")
    notes = [("n1", "Chronic ligamentous laxity of the lumbar spine on MRI.", "spine"), ("n2", None, "spine")]
    spark.createDataFrame(notes, "note_id string, note_body string, department string").write.saveAsTable(
        "clinic.notes"
    )
    named: dict[str, Any] = {"spark": spark}
    for block in shown:
        exec(block, named)
    opened = {(record["code"], record["item"]) for record in named["open_items"].collect()}
    assert ("M24.28", "ligament") in opened
    assert [(record["note_id"], record["error"]) for record in named["failed"].collect()] == [("n2", "has no `text`")]
    spark.sql("DROP DATABASE clinic CASCADE")


# ── the command ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command builds stand-ins, which workers can build too."""
    monkeypatch.setattr("notegap.audit.spark.frames.Patterns", lambda _folders: quick)
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _folders: StubAnalyzer())


@pytest.mark.usefixtures("stubbed")
@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_the_command_writes_what_the_local_one_writes(
    spark: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], ending: str
) -> None:
    source = tmp_path / f"notes [1].{ending}"
    notes = [{"id": note_id, "text": text} for _, note_id, text in stub_notes()]
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(notes), source)
    else:
        source.write_text("".join(json.dumps(note) + "\n" for note in notes) + json.dumps({"text": "gaps \ud800"}))
    endings = ("jsonl", "sarif", "parquet", "csv")
    told = {}
    for engine in ("local", "spark"):
        (tmp_path / engine).mkdir()
        outs = [part for each in endings for part in ("--out", str(tmp_path / engine / f"out.{each}"))]
        assert cli.main(["audit", str(source), "--engine", engine, *outs]) == cli.BROKEN
        told[engine] = capfd.readouterr().err
    assert told["local"] == told["spark"]
    for name in ("out.jsonl", "out.sarif", "out.csv", "out.jsonl.quarantine.jsonl"):
        assert (tmp_path / "spark" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    here, there = (tmp_path / engine / "out.parquet" for engine in ("local", "spark"))
    assert pq.read_table(there).equals(pq.read_table(here))
    assert pq.read_metadata(there).metadata == pq.read_metadata(here).metadata
    assert pq.read_metadata(there).num_row_groups == 1
    left = {path.name for path in (tmp_path / "spark").iterdir()}
    assert left == {*(f"out.{each}" for each in endings), "out.jsonl.quarantine.jsonl"}


@pytest.mark.usefixtures("stubbed", "spark")
def test_the_command_prints_and_chooses_as_the_local_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "parts.parquet"
    folder.mkdir()
    for part in range(2):
        rows = [{"text": f"gaps word{part}{number}", "date": f"2026-03-0{number + 1}"} for number in range(3)]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"part-{part}.parquet")
    (folder / "_SUCCESS").touch()
    assert cli.main(["audit", str(folder), "--engine", "spark"]) == cli.GAPS
    every = [json.loads(line)["id"] for line in capfd.readouterr().out.splitlines()]
    assert every == [f"part-{part}.parquet:{number}" for part in range(2) for number in range(1, 4)]
    assert cli.main(["audit", str(folder), "--engine", "spark", "--since", "2026-03-02", "--limit", "3"]) == cli.GAPS
    some = [json.loads(line)["id"] for line in capfd.readouterr().out.splitlines()]
    assert some == [every[1], every[2], every[4]]
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert cli.main(["audit", str(empty), "--engine", "spark"]) == cli.NOTHING_READ


@pytest.mark.usefixtures("stubbed", "spark")
def test_parquet_that_spark_reads_otherwise_is_read_here(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    times = [datetime(2026, 3, 1, 23, 30)]
    for name, kind in (("nanoseconds", pa.timestamp("ns")), ("zone", pa.timestamp("us", "America/New_York"))):
        pq.write_table(pa.table({"text": ["gaps one"], "date": pa.array(times, kind)}), tmp_path / f"{name}.parquet")
    (tmp_path / "damaged.parquet").write_bytes((tmp_path / "zone.parquet").read_bytes()[:-20])
    for name in ("nanoseconds", "zone", "damaged", "missing"):
        said = []
        for engine in ("local", "spark"):
            code = cli.main(["audit", str(tmp_path / f"{name}.parquet"), "--engine", engine])
            said.append((code, *capfd.readouterr()))
        assert said[0] == said[1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--engine", "spark", "--fresh"), "Spark keeps no ledger"),
        (("--engine", "spark", "--ledger", "x"), "Spark keeps no ledger"),
        (("--master", "local[2]"), "it goes with --engine spark"),
    ],
)
def test_options_that_are_not_for_this_engine_are_refused(
    more: tuple[str, ...], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["audit", str(tmp_path), *more]) == cli.BROKEN
    assert said in capfd.readouterr().err


def test_without_java_it_says_what_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="needs Java 17 or newer, and finds none where JAVA_HOME says"):
        need_java()
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(stat.S_IRWXU)
    with pytest.raises(UsageError, match="and finds Java 11; on Debian: apt-get install openjdk-17"):
        need_java()


def test_without_pyspark_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("notegap.audit.spark.session.find_spec", lambda name: None if name == "pyspark" else name)
    with pytest.raises(UsageError, match=r"needs pyspark, which is not installed: pip install 'notegap\[spark\]'"):
        need_spark()


# ── no word of a note ───────────────────────────────────────────────────────────────────────────


def test_no_word_of_a_note_is_in_what_travels() -> None:
    pd = pytest.importorskip("pandas")
    note = Note(id="a", text=f"gaps {CANARY} \ud800", parts=(Part(0, 4, "section", title=CANARY),))
    whole = kept(Row(1, "x", note))
    assert whole.isascii()
    frame = pd.DataFrame({"row": [1], "source": ["x"], "where": [""], "kept": [whole]})
    (read,) = analyze([frame], work=asked(quick))
    own, *of_bands = read.to_dict("records")
    assert len(of_bands) == 16
    assert CANARY in str(dict(Published(own["report"], note)))
    assert CANARY not in str(dict(Published(own.pop("report"), replace(note, text="", parts=()))))
    assert CANARY not in str([own, *of_bands])
    (read,) = analyze([frame], work=asked(quick, words=True))
    own = read.to_dict("records")[0]
    assert (own["text"], json.loads(own["note"])["note"]["parts"][0]["title"]) == (note.text, CANARY)


def test_no_word_of_a_note_is_in_what_spark_keeps_or_says(spark: Any, place: Path) -> None:
    notes = [(1, "a", f"gaps {CANARY} one"), (2, "b", f"crash {CANARY}"), (3, "c", f"gaps {CANARY} one")]
    df = spark.createDataFrame(notes, SCHEMA)
    done = flat(audited(prepared(df, NoteOptions()), asked(quick)))
    rows = table(done)
    assert [row["outcome"] for row in rows] == ["checked", "failed", "checked"]
    assert CANARY not in json.dumps(rows)
    assert CANARY not in done._sc._jvm.PythonSQLUtils.explainString(done._jdf.queryExecution(), "formatted")
    logs = [path for folder in ("events", ".") for path in (place / folder).rglob("*") if path.is_file()]
    assert any("MapInPandas" in path.read_text(errors="replace") for path in logs)
    # Neither of these notes nor of any that were audited before, what broke on them included.
    assert not [path for path in logs if CANARY.encode() in path.read_bytes()]
