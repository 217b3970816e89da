"""`notegap audit` as a command: several inputs and outputs, its options, its files, and what its document shows."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from audit_stub import StubAnalyzer
from notegap import cli
from notegap.analyzer import Analyzer

ROOT = Path(__file__).resolve().parents[1]
Audit = Callable[..., tuple[int, str, str]]
TEXT = "gaps Chronic ligamentous laxity of the lumbar spine."


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Audit:
    """`audit(*arguments)` in `tmp_path`, with a stand-in: the exit code, what was printed, what was complained of."""
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: StubAnalyzer())
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["audit", *arguments])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def table(path: str, rows: int = 3) -> str:
    Path(path).write_text("".join(json.dumps({"id": f"n{n}", "text": f"{TEXT} {n}"}) + "\n" for n in range(rows)))
    return path


def ids(path: str) -> list[str]:
    return [json.loads(line)["id"] for line in Path(path).read_text().splitlines()]


def test_several_inputs_and_outputs(audit: Audit) -> None:
    Path("scan.pdf").write_bytes(a_pdf_without_text())
    code, out, err = audit(
        table("a.jsonl"), "scan.pdf", table("b.jsonl", 1), "--out", "o.jsonl", "--out", "o.json", "--out", "o.sarif"
    )
    assert (code, out) == (2, "")
    assert err == (
        "notegap: 1 with the text of an earlier note, of which the same is asked\n"
        "notegap: 5 read: 4 with gaps, 0 complete, 0 without a code to check, 1 failed, 1 with an id seen before\n"
    )
    assert ids("o.jsonl") == ["n0", "n1", "n2", "scan.pdf", "n0"]
    assert json.loads(Path("o.json").read_text()) == [
        json.loads(line) for line in Path("o.jsonl").read_text().splitlines()
    ]
    runs = json.loads(Path("o.sarif").read_text())["runs"]
    assert [run["properties"]["noteId"] for run in runs] == ids("o.jsonl")
    region = runs[0]["results"][0]["locations"][0]["physicalLocation"]["region"]
    assert (region["startLine"], region["startColumn"]) == (1, 6)
    (put_aside,) = Path("o.jsonl.quarantine.jsonl").read_text().splitlines()
    assert json.loads(put_aside)["reason"].startswith("is a PDF without text")
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith("o.")) == [
        "o.json", "o.jsonl", "o.jsonl.ledger", "o.jsonl.quarantine.jsonl", "o.sarif",
    ]  # fmt: skip


def test_tables_and_reports_beside_each_other(audit: Audit) -> None:
    outs = ("o.parquet", "o.csv", "o.jsonl", "o.html")
    assert audit(table("a.jsonl"), *(part for out in outs for part in ("--out", out)))[0] == 1
    with duckdb.connect() as database:
        found = database.execute("SELECT note_id, row, outcome FROM 'o.parquet' ORDER BY row").fetchall()
    assert found == [(f"n{n}", n + 1, "checked") for n in range(3)]
    assert [line.split(",")[0] for line in Path("o.csv").read_text().splitlines()] == ["note_id", "n0", "n1", "n2"]
    assert ids("o.jsonl") == ["n0", "n1", "n2"]
    assert "laxity" not in Path("o.csv").read_text()
    code, out, _ = audit("a.jsonl", "--format", "csv")
    assert (code, out) == (1, Path("o.csv").read_bytes().decode())


def a_pdf_without_text() -> bytes:
    import io

    from pypdf import PdfWriter

    data, writer = io.BytesIO(), PdfWriter()
    writer.add_blank_page(100, 100)
    writer.write(data)
    return data.getvalue()


def test_an_audit_of_a_folder_does_not_read_what_it_writes(audit: Audit) -> None:
    Path("a.txt").write_text(TEXT)
    for _ in range(2):
        code, _, err = audit(".", "--out", "reports.txt", "--ledger", "ledger.txt", "--quarantine", "q.txt")
        assert (code, err) == (1, "notegap: 1 read: 1 with gaps, 0 complete, 0 without a code to check, 0 failed\n")
        assert ids("reports.txt") == ["a.txt"]


def test_standard_output_keeps_nothing(audit: Audit) -> None:
    audit(table("a.jsonl"))
    assert [path.name for path in Path().iterdir()] == ["a.jsonl"]


def test_the_format_that_is_asked_for_holds(audit: Audit) -> None:
    audit(table("a.jsonl"), "--out", "o.json", "--format", "jsonl")
    assert ids("o.json") == ["n0", "n1", "n2"]


def test_stopped_by_hand_it_says_how_it_goes_on(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping(StubAnalyzer):
        def analyze(self, note):  # type: ignore[no-untyped-def]
            if note.id == "n2":
                raise KeyboardInterrupt
            return super().analyze(note)

    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: Stopping())
    code, _, err = audit(table("a.jsonl"), "--out", "o.jsonl")
    assert code == 130
    assert "what was found is kept in o.jsonl.ledger; the same command goes on from there" in err
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: StubAnalyzer())
    assert audit("a.jsonl", "--out", "o.jsonl")[0] == 1
    assert len(ids("o.jsonl")) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("a.jsonl", "--columns", "test=BODY"),
            "write it as text=NOTE_BODY,id=NOTE_ID; what can be named is id, text,",
        ),
        (("a.jsonl", "--columns", "text"), "write it as text=NOTE_BODY"),
        (("a.jsonl", "--sample", "0%"), "a sample is a number of notes (200) or a share of them (5%)"),
        (("-", "--sample", "2"), "standard input can be read only once; give a share of it (5%)"),
        (("a.jsonl", "--since", "1.2.26"), "write the date as 2026-04-30"),
        (("a.jsonl", "--out", "o.jsonl", "--out", "o.jsonl"), "A file is named twice"),
        (("-", "-"), "A file is named twice"),
        (("a.jsonl", "b.jsonl", "--out", "b.jsonl"), "is the file that is read"),
        (("postgresql://user:hunter2@host/notes",), "a database's URL needs --query, which says what to read"),
        (("gone.duckdb", "--query", "SELECT 1"), "no such database file"),
        (("a.jsonl", "--ledger", "a.jsonl"), "a.jsonl: is damaged or no ledger of notegap"),
        (("a.jsonl", "--out", "gone/o.jsonl"), "cannot be written (no such file or directory)"),
    ],
)
def test_what_cannot_be_meant(audit: Audit, arguments: tuple[str, ...], message: str) -> None:
    table("a.jsonl")
    table("b.jsonl")
    before = Path("a.jsonl").read_bytes()
    code, out, err = audit(*arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert "hunter2" not in err
    assert Path("a.jsonl").read_bytes() == before


def test_nothing_to_read(audit: Audit) -> None:
    Path("a.jsonl").write_text("")
    assert audit("a.jsonl", "--out", "o.jsonl") == (
        3, "", "notegap: a.jsonl: nothing was read, there is no note in it\n"
    )  # fmt: skip
    table("b.jsonl")
    assert audit("b.jsonl", "--since", "2026-01-01")[2].startswith(
        "notegap: 3 without a date, kept whatever --since says\n"
    )
    assert [path.name for path in Path().glob("o.*")] == []


def test_the_documents_examples_run(audit: Audit) -> None:
    Path("warehouse.csv").write_text(f"NOTE_ID,NOTE_BODY,CLINIC\n1,{TEXT},Spine\n2,{TEXT} Again.,Spine\n")
    with duckdb.connect("warehouse.duckdb") as database:
        database.execute(f"CREATE TABLE notes AS SELECT 7 AS note_id, '{TEXT}' AS body")
    Path("visits").mkdir()
    Path("visits/a.txt").write_text(TEXT)
    with zipfile.ZipFile("export.zip", "w") as archive:
        archive.writestr("b.jsonl", "".join(json.dumps({"id": n, "text": TEXT}) + "\n" for n in range(20)))
    text = (ROOT / "docs" / "auditing.md").read_text()
    commands = [line for block in re.findall(r"```sh\n((?:.*\n)*?)```", text) for line in block.splitlines()]
    Path("claims.csv").write_text(f"NOTE_BODY,DX\n{TEXT},M24.28;E11.9\n")
    assert len(commands) == 6
    for command in commands:
        _, _, *arguments = shlex.split(command)
        code, out, err = audit(*arguments)
        assert (code, out) == (1, ""), err
    assert ids("audit.jsonl") == ["warehouse.csv:2", "warehouse.csv:3"]
    assert ids("query.jsonl") == ["7"]
    assert 2 < len(ids("sample.jsonl")) < 18


def test_claimed_codes_are_checked_when_asked(
    audit: Audit, analyzer: Analyzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that can be judged: with a checklist, or no code at all."""
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: analyzer)
    claim = ["E11.9", "M24.28", "M54.5"]
    rows: list[dict[str, Any]] = [
        {"id": "claimed", "text": "Instability of the lumbar spine, M53.2X6.", "claim_codes": claim},
        {"id": "asked", "text": "Instability of the lumbar spine.", "claim_codes": claim, "codes": ["M53.2X6"]},
        {"id": "elsewhere", "text": "Instability of the lumbar spine, M53.2X6.", "claim_codes": ["E11.9"]},
        {"id": "none", "text": "Instability of the lumbar spine, M53.2X6."},
    ]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    said: list[str] = []

    def checked(*more: str) -> dict[str, list[str]]:
        code, _, err = audit("a.jsonl", "--out", "o.jsonl", "--out", "o.duckdb", *more)
        assert code == 1, err
        said.append(err)
        reports = [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]
        return {report["id"]: [check["code"] for check in report["checks"]] for report in reports}

    assert checked() == {row["id"]: ["M53.2X6"] for row in rows}
    assert "notegap: 4 claimed codes were not checked: --check-claims does\n" in said[-1]
    with duckdb.connect("o.duckdb", read_only=True) as database:
        found = database.execute("SELECT code, notes FROM claimed_not_checked ORDER BY 1")
        assert found.fetchall() == [("M24.28", 2), ("M54.5", 2)]
        found = database.execute("SELECT note_id, claimed FROM findings WHERE status = 'no_checklist' ORDER BY 1")
        assert found.fetchall() == [("asked", True), ("claimed", True), ("elsewhere", True)]
        assert database.execute("SELECT count(*) FROM notes WHERE claim_known").fetchall() == [(3,)]
    assert checked("--check-claims") == {
        "claimed": ["M24.28", "M54.5"],
        "asked": ["M53.2X6", "M24.28", "M54.5"],
        "elsewhere": ["M53.2X6"],
        "none": ["M53.2X6"],
    }
    assert "--check-claims" not in said[-1]
    with duckdb.connect("o.duckdb", read_only=True) as database:
        assert not database.execute("SELECT * FROM claimed_not_checked").fetchall()
        found = database.execute("SELECT code, unsupported, not_billable FROM claimed_without_support ORDER BY 1")
        assert found.fetchall() == [("M24.28", 2, 0), ("M54.5", 2, 2)]


def test_the_whole_of_it_in_processes(tmp_path: Path) -> None:
    texts = [f"Chronic laxity of the ligaments at L4-L5 since day {n}. MRI: stenosis." for n in range(60)]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts)))
    command = [sys.executable, "-m", "notegap", "audit", str(source), "--code", "M24.28"]
    outs = []
    for more in (("--workers", "2"), ("--workers", "1", "--limit", "40")):
        done = subprocess.run([*command, *more], capture_output=True, check=False)
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
        outs.append(done.stdout.splitlines())
    assert [json.loads(line)["id"] for line in outs[0]] == [str(n) for n in range(60)]
    assert outs[0][:40] == outs[1], "in other processes or in one: the same"
