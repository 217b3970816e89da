"""What an audit writes: the same rows in every file, nothing of a note, nothing that runs, nothing half written."""

from __future__ import annotations

import csv
import itertools
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pyarrow.parquet as pq
import pytest
from lxml import html

from audits import audited, simple, year
from notegap.analyzer import Analyzer
from notegap.audit.out import FORMATS, OutOptions, TableWriter, csv_lines, format_of
from notegap.audit.out import xlsx as workbooks
from notegap.audit.rows import COLUMNS, AuditedNote, flat_rows, from_report
from notegap.errors import UsageError
from notegap.model import Metadata, Note
from notegap.report.json import as_dict

HOSTILE = "=cmd|'/c calc'!A1\n<script>alert(1)</script>\"';--"
SAMPLES = Path(__file__).resolve().parents[1] / "sample_notes"


def write(
    folder: Path, notes: Iterable[AuditedNote], *formats: str, name: str = "audit", **options: Any
) -> dict[str, Path]:
    """The audit of `notes` in files of some formats."""
    outs = {format_: folder / f"{name}.{format_}" for format_ in formats or FORMATS}
    with TableWriter(list(outs.values()), OutOptions(**options)) as writer:
        for note in notes:
            writer.add(note)
    return outs


def flat(notes: Iterable[AuditedNote], **options: Any) -> list[dict[str, Any]]:
    return [row for note in notes for row in flat_rows(note, **options)]


def as_csv(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows as a reader of the CSV file sees them, written out by hand."""

    def said(value: Any) -> str:
        if isinstance(value, bool):
            return {True: "true", False: "false"}[value]
        return "" if value is None else ";".join(value) if isinstance(value, list) else str(value)

    return [list(COLUMNS), *([said(row[name]) for name in COLUMNS] for row in rows)]


def sheet_of(path: Path, name: str) -> list[list[Any]]:
    book = openpyxl.load_workbook(path, read_only=True)
    try:
        return [[cell.value for cell in row] for row in book[name].iter_rows()]
    finally:
        book.close()


def ask(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def real(analyzer: Analyzer) -> list[AuditedNote]:
    """Sample notes as they are read, with what a file may say of them."""
    notes = []
    for row, name in enumerate(
        ("prolotherapy_template", "possible_lumbosacral_instability", "whiplash_allcaps"), start=1
    ):
        text = (SAMPLES / f"{name}.txt").read_text(encoding="utf-8")
        said = Metadata(provider="Dr. Ä", department="Spine", date=f"2026-0{row}-15")
        note = Note(id=name, text=text, claim_codes=("M24.28",), metadata=said)
        made = as_dict(analyzer.analyze(note))
        notes.append(from_report(note, made, row=row, source="notes.csv", rules="r1", with_text=True))
    return notes


# ── the same rows in every file ─────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One audit in every format."""
    return write(tmp_path_factory.mktemp("audit"), year(300))


def test_parquet_holds_the_flat_table(files: dict[str, Path]) -> None:
    table = pq.read_table(files["parquet"])
    assert table.column_names == list(COLUMNS)
    assert table.to_pylist() == flat(year(300))
    assert table.schema.field("codes").type.value_type == "string"
    metadata = pq.read_metadata(files["parquet"]).metadata
    said = {key.decode(): value.decode() for key, value in metadata.items() if key.startswith(b"notegap")}
    assert said == {"notegap": "0.1.0", "notegap.table": "1", "notegap.rules": "0123456789ab"}


def test_csv_holds_the_flat_table(files: dict[str, Path]) -> None:
    with files["csv"].open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == as_csv(flat(year(300)))


def test_duckdb_holds_the_flat_table_and_what_is_counted_in_it(files: dict[str, Path]) -> None:
    rows = ask(files["duckdb"], 'SELECT * FROM findings ORDER BY "row", rowid')
    assert [dict(zip(COLUMNS, row, strict=True)) for row in rows] == flat(year(300))
    notes = [note for note in year(300) if note.duplicate_of is None and note.report is not None]
    codes = {note.report["checks"][0]["code"] for note in notes if note.report}
    assert {code for (code,) in ask(files["duckdb"], "SELECT code FROM by_code")} == codes
    assert ask(files["duckdb"], "SELECT count(*) FROM counted") == [(len(notes),)]
    assert dict(ask(files["duckdb"], "SELECT * FROM audit"))["rules"] == "0123456789ab"


def test_the_worklist_holds_every_open_item_once(files: dict[str, Path]) -> None:
    head, *rows = sheet_of(files["xlsx"], "Worklist")
    want = [
        (row["note_id"], row["code"], row["item"], row["ask"] or None)
        for row in flat(year(300))
        if row["duplicate_of"] is None
        and row["status"] in ("missing", "vague", "uncertain", "refuted", "raised", "not_claimed")
    ]
    place = {name: number for number, name in enumerate(head)}
    got = [tuple(row[place[name]] for name in ("Note", "Code", "Item", "Question")) for row in rows]
    assert sorted(got, key=str) == sorted(want, key=str)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    book = openpyxl.load_workbook(files["xlsx"])
    sheet = book["Worklist"]
    assert sheet.freeze_panes == "D2"
    assert sheet.auto_filter.ref == f"A1:O{len(rows) + 1}"


def test_the_same_audit_gives_the_same_files(tmp_path: Path, files: dict[str, Path]) -> None:
    again = write(tmp_path, year(300))
    for format_ in ("parquet", "csv", "xlsx", "html"):
        assert again[format_].read_bytes() == files[format_].read_bytes(), format_


def test_real_reports_make_it_through_every_format(tmp_path: Path, real: list[AuditedNote]) -> None:
    outs = write(tmp_path, real)
    assert pq.read_table(outs["parquet"]).to_pylist() == flat(real)
    assert ask(outs["duckdb"], "SELECT DISTINCT note_id FROM findings ORDER BY 1") == [
        (name,) for name in sorted(note.id for note in real)
    ]


def test_standard_output_gets_the_table_as_csv(tmp_path: Path, files: dict[str, Path]) -> None:
    printed: list[str] = []
    with csv_lines(printed.append) as writer:
        for note in year(300):
            writer.add(note)
    assert "".join(printed) == files["csv"].read_bytes().decode()


@pytest.mark.parametrize(("name", "want"), [("a.CSV", "csv"), ("a.parquet", "parquet"), ("a.txt", None), ("a", None)])
def test_a_suffix_says_the_format(name: str, want: str | None) -> None:
    assert format_of(Path(name)) == want


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in none of \.parquet, \.csv"):
        TableWriter([tmp_path / "a.txt"])


# ── nothing of a note ───────────────────────────────────────────────────────────────────────────


def test_no_word_of_a_note_is_in_any_file(tmp_path: Path, real: list[AuditedNote]) -> None:
    quotes = {
        each["text"].encode()
        for note in real
        if note.report is not None
        for made in note.report["checks"]
        for found in made["findings"]
        for each in found["evidence"]
        if len(each["text"]) > 14
    }
    assert len(quotes) > 5
    for format_, path in write(tmp_path, [*real, *year(60)]).items():
        content = path.read_bytes()
        if format_ == "xlsx":
            book = openpyxl.load_workbook(path)
            content = repr([[cell.value for cell in row] for sheet in book for row in sheet.rows]).encode()
        elif format_ == "parquet":
            content = repr(pq.read_table(path).to_pylist()).encode()
        elif format_ == "duckdb":
            content = repr(ask(path, "SELECT * FROM findings")).encode()
        assert not [quote for quote in quotes if quote in content], format_
        assert b"SECRET" not in content, format_


def test_words_of_the_note_are_there_when_asked_for(tmp_path: Path, real: list[AuditedNote]) -> None:
    outs = write(tmp_path, real, "parquet", "csv", "duckdb", "html", with_text=True)
    table = pq.read_table(outs["parquet"])
    assert table.column_names == [*COLUMNS, "quotes", "text"]
    assert table.to_pylist() == flat(real, with_text=True)
    assert ask(outs["duckdb"], "SELECT DISTINCT text FROM findings ORDER BY 1") == sorted(
        (note.text,) for note in real if note.text
    )
    # The page never has them.
    assert real[0].text is not None
    assert real[0].text[:40] not in outs["html"].read_text(encoding="utf-8")


# ── what is hostile ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("start", ["=", "+", "-", "@", " =", "\t=", "\r=", "\n1", "\uff1d"])
def test_no_cell_begins_a_formula(tmp_path: Path, start: str) -> None:
    evil = f'{start}HYPERLINK("http://x","y")'
    notes = [simple(1, open_=True, id=evil, provider=evil, department=evil, source=evil)]
    outs = write(tmp_path, notes, "csv", "xlsx")
    with outs["csv"].open(encoding="utf-8", newline="") as file:
        _, row = csv.reader(file)
    assert row[list(COLUMNS).index("note_id")] == f"'{evil}"
    assert not [cell for cell in row if cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d"))]
    book = openpyxl.load_workbook(outs["xlsx"])
    cells = [cell for sheet in book for line in sheet.rows for cell in line]
    assert {cell.data_type for cell in cells} <= {"s", "n", "inlineStr"}
    assert not [cell for cell in cells if cell.hyperlink]


def test_anything_may_be_an_id(tmp_path: Path) -> None:
    ids = [
        HOSTILE,
        'a,b;c"d',
        "line\r\nbreak",
        "\x00nul",
        "half \ud800 pair",
        "\u202eright",
        "x" * 40_000,
        "\ufffe",
        "",
        "🦴",
    ]
    notes = [simple(row, open_=True, id=each, provider=each, department=each) for row, each in enumerate(ids, start=1)]
    outs = write(tmp_path, notes, small=1)
    fit = [each.encode("utf-8", "replace").decode() for each in ids]
    assert pq.read_table(outs["parquet"])["note_id"].to_pylist() == fit
    assert [row for (row,) in ask(outs["duckdb"], 'SELECT note_id FROM findings ORDER BY "row"')] == fit
    with outs["csv"].open(encoding="utf-8", newline="") as file:
        csv.field_size_limit(1_000_000)
        rows = list(csv.DictReader(file))
    assert [row["note_id"].removeprefix("'") for row in rows] == fit
    assert len(sheet_of(outs["xlsx"], "Worklist")) == len(ids) + 1
    page = outs["html"].read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\u202e" not in page


def test_an_empty_audit_says_so(tmp_path: Path) -> None:
    outs = write(tmp_path, [])
    assert pq.read_table(outs["parquet"]).num_rows == 0
    assert pq.read_table(outs["parquet"]).column_names == list(COLUMNS)
    assert outs["csv"].read_text().splitlines() == [",".join(COLUMNS)]
    assert ask(outs["duckdb"], "SELECT count(*) FROM notes") == [(0,)]
    assert len(sheet_of(outs["xlsx"], "Worklist")) == 1
    assert "No note was read" in outs["html"].read_text(encoding="utf-8")


def test_an_audit_in_which_everything_failed_says_why(tmp_path: Path) -> None:
    notes = [audited(row, error="the file is empty", where=f"row {row}") for row in range(1, 4)]
    outs = write(tmp_path, notes)
    assert ask(outs["duckdb"], "SELECT * FROM failures") == [("the file is empty", 3)]
    assert sheet_of(outs["xlsx"], "Not read") == [["Reason", "Notes"], ["the file is empty", 3]]
    page = outs["html"].read_text(encoding="utf-8")
    assert "No note could be analyzed" in page
    assert "3: <bdi>the file is empty</bdi>" in page


def test_a_sheet_without_room_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "MOST_ROWS", 100)
    said: list[str] = []
    outs = write(tmp_path, (simple(row, open_=True) for row in range(1, 151)), "xlsx", say=said.append)
    assert len(sheet_of(outs["xlsx"], "Worklist")) == 100
    assert said == [
        f"{outs['xlsx']}: a sheet has room for 99 rows; 51 rows of the worklist, those that can wait longest, are not "
        "in it (a .parquet, .csv or .duckdb file has them all)"
    ]
    about = dict(row[:2] for row in sheet_of(outs["xlsx"], "About"))
    assert about["Rows of the worklist"] == "99 in this workbook; 51 more had no room"


# ── all or nothing ──────────────────────────────────────────────────────────────────────────────


def test_an_audit_that_breaks_leaves_what_was_there(tmp_path: Path) -> None:
    before = write(tmp_path, [simple(1, open_=True)])
    content = {format_: path.read_bytes() for format_, path in before.items()}

    def stopped() -> None:
        with TableWriter(list(before.values())) as writer:
            writer.add(simple(1, open_=False))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert {format_: path.read_bytes() for format_, path in before.items()} == content
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in before.values())


def test_what_a_killed_audit_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".audit.html.work").mkdir()
    (tmp_path / ".audit.html.work" / "table.parquet").write_bytes(b"half")
    (tmp_path / "audit.html.partial").write_bytes(b"half")
    write(tmp_path, [simple(1, open_=True)], "html")
    assert [path.name for path in tmp_path.iterdir()] == ["audit.html"]


_FULL = """
import resource, signal, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from audits import simple
from notegap.audit.out import TableWriter
from notegap.errors import NotegapError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with TableWriter([Path({out!r})]) as writer:
        for row in range(1, 5001):
            writer.add(simple(row, open_=row % 2 == 0, provider=str(row)))
except NotegapError as error:
    print(error)
"""


@pytest.mark.parametrize("format_", FORMATS)
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, format_: str) -> None:
    out = tmp_path / f"audit.{format_}"
    script = _FULL.format(tests=str(Path(__file__).parent), out=str(out))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{out}: cannot be written (")
    assert list(tmp_path.iterdir()) == []


_MEMORY = """
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from audits import simple
from notegap.audit.out import FORMATS, TableWriter
outs = [Path({folder!r}) / f"audit.{{format_}}" for format_ in FORMATS]
with TableWriter(outs) as writer:
    for row in range(1, {rows} + 1):
        writer.add(simple(row, open_=row % 3 == 0, provider=f"Dr. {{row % 40}}", date="2026-01-05"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_does_not_grow_with_the_audit(tmp_path: Path) -> None:
    used = []
    for rows in (2_000, 50_000):
        script = _MEMORY.format(tests=str(Path(__file__).parent), folder=str(tmp_path), rows=rows)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=True)
        used.append(int(done.stdout))
    assert used[1] - used[0] < 200, used  # MB: what is buffered at most, and what DuckDB may take
    assert used[1] < 700, used
    assert len(sheet_of(tmp_path / "audit.xlsx", "Worklist")) == 50_000 // 3 + 1


def test_claimed_with_open_items_is_the_same_number_everywhere(tmp_path: Path) -> None:
    outs = write(tmp_path, year(120), "html", "xlsx", "duckdb", small=1)
    ((number,),) = ask(outs["duckdb"], "SELECT sum(unsupported)::BIGINT FROM claimed_without_support")
    ((undocumented,),) = ask(
        outs["duckdb"], "SELECT count(*) FROM checks WHERE claimed AND judged AND NOT complete AND NOT documented"
    )
    claims = sheet_of(outs["xlsx"], "Claims")
    assert [row[:2] for row in claims[2:4]] == [
        ["claimed, with open items", number],
        ["of these, the facts do not point to it", undocumented],
    ]
    start = next(place for place, row in enumerate(claims) if row[0] == "Claimed, with open items") + 1
    assert sum(row[1] for row in itertools.takewhile(lambda row: row[0], claims[start:])) == number > undocumented > 0
    root = html.fromstring(outs["html"].read_text(encoding="utf-8"))
    (said,) = root.xpath("//section[@aria-labelledby='sides-h']//tr[th/a[@href='#unsupported']]")
    assert said.xpath("th")[0].text_content() == "claimed, with open items"
    listed = root.xpath("//section[@id='unsupported']//tbody/tr/td[1]/text()")
    assert said.xpath("td[1]/text()") == [str(number)] == [str(sum(map(int, listed)))]
