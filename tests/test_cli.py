"""The command line: exit codes 0 1 2 3, a crash and a closed pipe among them, and what reaches which stream.

Most tests put a stand-in for Analyzer in place; the last ones run the whole of it in a process of its own.
"""

from __future__ import annotations

import errno
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from handmade import FakeAnalyzer
from notegap import cli
from notegap.errors import KnowledgeError
from notegap.model import Note, Report
from notegap.testing import ExampleResult


@dataclass(frozen=True)
class Run:
    code: int
    out: str
    err: str


Notegap = Callable[..., Run]


@pytest.fixture
def notegap(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Notegap:
    """`notegap(*arguments, stdin=b"...")` in this process, with the stand-in for Analyzer."""
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: FakeAnalyzer())
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path, stdin: bytes = b"") -> Run:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = cli.main([str(argument) for argument in arguments])
        captured = capfdbinary.readouterr()
        return Run(code, captured.out.decode(), captured.err.decode())

    return run


@pytest.fixture
def note(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a note; its first word tells the stand-in what to answer."""

    def write(text: str) -> Path:
        path = tmp_path / f"{text.split()[0] if text.strip() else 'empty'}.txt"
        path.write_text(text)
        return path

    return write


GAPS = "gaps " + "Chronic ligamentous laxity of the lumbar spine. " * 10


# ── exit codes ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "code"), [("complete x", 0), (GAPS, 1), ("crash x", 2), (" \n", 3), ("none x", 3)])
def test_check_exit_codes(notegap: Notegap, note: Callable[[str], Path], text: str, code: int) -> None:
    assert notegap("check", note(text)).code == code


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (("complete x", GAPS), 1),
        ((GAPS, " "), 2),
        ((GAPS, "crash x"), 2),
        (("complete x", "none x"), 0),
        (("none x", "nothing x"), 3),
    ],
)
def test_the_worst_of_several_files_decides(
    notegap: Notegap, note: Callable[[str], Path], texts: tuple[str, ...], code: int
) -> None:
    assert notegap("check", *[note(text) for text in texts]).code == code


def test_a_crash_is_not_a_gap(notegap: Notegap, note: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("words of a note")

    monkeypatch.setattr(cli.base, "build_analyzer", broken)
    run = notegap("check", note(GAPS))
    assert (run.code, run.out) == (2, "")
    assert re.fullmatch(
        r"notegap: notegap broke: ZeroDivisionError at notegap/cli/notes\.py:\d+; please report this line, "
        r"it holds no word of the note\n",
        run.err,
    )


def test_a_crash_on_one_note_leaves_the_others(notegap: Notegap, note: Callable[[str], Path]) -> None:
    run = notegap("check", note("crash x"), note(GAPS))
    assert run.code == 2
    assert "3 gaps" in run.out
    assert re.search(r"crash\.txt: notegap broke on this note: IndexError at \S+\.py:\d+\n", run.err)


def test_a_broken_knowledge_file(
    notegap: Notegap, note: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KnowledgeError("concepts/x.yaml:3: unknown key 'term'; did you mean 'terms'?")

    monkeypatch.setattr(cli.base, "build_analyzer", broken)
    run = notegap("check", note(GAPS))
    assert run == Run(2, "", "notegap: concepts/x.yaml:3: unknown key 'term'; did you mean 'terms'?\n")


def test_stopped(notegap: Notegap, note: Callable[[str], Path]) -> None:
    run = notegap("check", note("stop x"))
    assert (run.code, run.out, run.err.strip()) == (130, "", "notegap: stopped")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("chek",), "No such command 'chek'. Did you mean 'check'?"),
        (("check", "--cod", "M24.28"), "(Did you mean one of: '--code'"),
        (("check", "--code", "back pain"), "not an ICD-10-CM code"),
        (("check", "--code", ","), "no code is given"),
        (("check", "--claim", "M24.28,low"), "'low' is not an ICD-10-CM code"),
        (("check", "--setting", "clinic"), "'clinic' is not one of 'outpatient', 'inpatient'"),
        (("check", "--date", "04/30/2026"), "write the date as 2026-04-30"),
        (("check", "--max-bytes", "0"), "--max-bytes"),
        (("check", "--format", "xml"), "'xml' is not one of"),
        (("check", "--patterns", "/nowhere"), "/nowhere"),
        (("check", "-", "-"), "Standard input (-) is given twice"),
        (("check", "/nowhere/note.txt"), "/nowhere/note.txt: no such file"),
        (("check", "/"), "is a folder; `notegap audit` reads a folder of notes"),
        (("extract", "/nowhere/note.txt"), "no such file"),
        (("explain", "low"), "'low' is not an ICD-10-CM code"),
        (("explain", "M24.28/ligamen"), "M24.28: has no item 'ligamen'; did you mean 'ligament'?"),
        (("explain", "E11.9/region"), "no checklist covers this code"),
        (("audit", "/nowhere"), "/nowhere: no such file or folder"),
        (("audit", "/dev/null"), "is none of a folder, .txt,"),
        (("audit", "-", "--limit", "0"), "--limit"),
    ],
)
def test_what_cannot_be_meant_is_told_and_is_2(notegap: Notegap, arguments: tuple[str, ...], message: str) -> None:
    run = notegap(*arguments)
    assert (run.code, run.out) == (2, "")
    assert message in run.err


def test_a_code_that_does_not_exist_is_no_error(notegap: Notegap, note: Callable[[str], Path]) -> None:
    assert notegap("check", note(GAPS), "--code", "M43.29").code == 1


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        (b"", 3, "standard input: nothing to read, the note is empty"),
        (b"\xef\xbb\xbf\0 \r\n", 3, "standard input: nothing to read, the note is empty"),
        (b"Patient\x81s", 2, "standard input: is not UTF-8: byte 81 at byte offset 7; save it as plain text"),
        ("gaps".encode("utf-16")[:-1], 2, "standard input: is not UTF-16, as it says it is: bytes 73 at byte offset 8"),
        (b"%PDF-1.4", 2, "standard input: is a damaged PDF; save it again"),
        (b"\x89PNG\r\n\x1a\n", 2, "standard input: is a PNG image, not plain text"),
        (b"x" * 1_048_577, 2, "standard input: is longer than 1,048,576 bytes, the limit; --max-bytes raises it"),
    ],
)
@pytest.mark.parametrize("command", ["check", "extract"])
def test_bad_input(notegap: Notegap, command: str, data: bytes, code: int, message: str) -> None:
    run = notegap(command, "-", stdin=data)
    assert (run.code, run.out) == (code, "")
    assert run.err.startswith(f"notegap: {message}")
    assert run.err.count("\n") == 1


@pytest.mark.parametrize(("encoding", "name"), [("cp1252", "Windows-1252"), ("utf-16", "UTF-16"), ("utf-32", "UTF-32")])
def test_an_encoding_that_was_guessed_is_said(notegap: Notegap, encoding: str, name: str) -> None:
    run = notegap("check", "-", stdin="complete the patient’s spine".encode(encoding))
    assert (run.code, run.err) == (0, f"notegap: stdin: read as {name}\n")


def test_the_limit_can_be_raised(notegap: Notegap) -> None:
    assert notegap("check", "-", "--max-bytes", "2000000", stdin=b"complete " + b"x" * 1_048_577).code == 0


def test_an_unreadable_file(notegap: Notegap, note: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = note(GAPS)
    monkeypatch.setattr(Path, "open", refuse)
    assert notegap("check", path) == Run(2, "", f"notegap: {path}: cannot be read (permission denied)\n")


# ── what is printed ─────────────────────────────────────────────────────────────────────────────


def test_text_says_which_file(notegap: Notegap, note: Callable[[str], Path]) -> None:
    path = note(GAPS)
    run = notegap("check", path)
    assert run.out.startswith(f"{path}\n")
    assert f"--> {path}:1:" in run.out
    assert run.err == ""


@pytest.mark.parametrize("format_", ["json", "jsonl"])
def test_json_of_one_file(notegap: Notegap, note: Callable[[str], Path], format_: str) -> None:
    report = json.loads(notegap("check", note(GAPS), "--format", format_).out)
    assert report["id"] == "gaps.txt"
    assert report["checks"][0]["summary"]["open"] == 3


def test_options_reach_the_note(notegap: Notegap, note: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Recorder(FakeAnalyzer):
        def analyze(self, note: Note) -> Report:
            seen.append(note)
            return super().analyze(note)

    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: Recorder())
    codes = ("--code", "m2428", "--code", "M43.26,M24.28", "--claim", "M24.28;m5450")
    notegap("check", note(GAPS), *codes, "--setting", "inpatient", "--date", "2026-04-30")
    assert seen[0].codes == ("M24.28", "M43.26")
    assert seen[0].claim_codes == ("M24.28", "M54.50")
    assert seen[0].setting == "inpatient"
    assert seen[0].date_of_service == "2026-04-30"


def test_several_files_give_one_report_each(notegap: Notegap, note: Callable[[str], Path], tmp_path: Path) -> None:
    files = [note(GAPS), note("complete x"), tmp_path / "gone.txt"]
    text = notegap("check", *files)
    assert text.code == 2
    assert text.out.count("requirements met") + text.out.count("requirement met") == 2
    assert "gone.txt: no such file" in text.err
    array = json.loads(notegap("check", *files, "--format", "json").out)
    lines = [json.loads(line) for line in notegap("check", *files, "--format", "jsonl").out.splitlines()]
    assert array == lines
    assert [report["id"] for report in array] == ["gaps.txt", "complete.txt", "gone.txt"]
    assert array[2]["error"] == {"message": "no such file", "where": str(tmp_path / "gone.txt")}
    runs = json.loads(notegap("check", *files, "--format", "sarif").out)["runs"]
    assert [run["invocations"][0]["executionSuccessful"] for run in runs] == [True, True, False]
    assert [run["properties"]["noteId"] for run in runs] == [report["id"] for report in array]


@pytest.mark.parametrize("asked", [(), ("--snippets",)])
def test_sarif_has_words_of_the_note_only_when_asked(
    notegap: Notegap, note: Callable[[str], Path], asked: tuple[str, ...]
) -> None:
    run = notegap("check", note(GAPS), "--format", "sarif", *asked)
    assert (run.code, '"snippet"' in run.out) == (1, bool(asked))


def test_a_report_is_piped_in_without_naming_a_file(notegap: Notegap) -> None:
    run = notegap("check", "--format", "json", stdin=GAPS.encode())
    assert (run.code, json.loads(run.out)["id"]) == (1, "stdin")


def test_colour_only_when_wanted(
    notegap: Notegap, note: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = note(GAPS)
    assert "\x1b" not in notegap("check", path).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in notegap("check", path).out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in notegap("check", path).out


def test_extract(notegap: Notegap, note: Callable[[str], Path]) -> None:
    path = note(GAPS)
    run = notegap("extract", path)
    assert run.code == 0
    assert "finding/ligament_laxity  affirmed" in run.out
    shape = json.loads(notegap("extract", path, "--format", "jsonl").out)
    assert shape["id"] == "gaps.txt"
    assert shape["mentions"][0]["value"] == "ligament_laxity"


def test_explain_and_codes(notegap: Notegap) -> None:
    explained = notegap("explain", "m2428")
    assert explained.code == 0
    assert "Checklist M24.28: Disorder of ligament, vertebrae" in explained.out
    item = notegap("explain", "M24.28/ligament")
    assert item.out.startswith("M24.28/ligament  recommended")
    assert "documented by" in item.out
    assert "does not exist" in notegap("explain", "M43.29").out
    assert "M24.28   Disorder of ligament, vertebrae" in notegap("codes").out
    assert "M48.061" in notegap("codes", "stenosis", "lumbar").out
    assert notegap("codes", "xyzzy").code == 3
    limited = notegap("codes", "stenosis", "--limit", "2")
    assert limited.out.count("\n") == 2
    assert "--limit shows more" in limited.err


def test_help_has_the_exit_codes(notegap: Notegap) -> None:
    for arguments in (("--help",), ("check", "--help"), ("audit", "-h")):
        run = notegap(*arguments)
        assert run.code == 0
        assert all(f"  {number}  " in run.out for number in range(4))
    assert re.fullmatch(r"notegap \S+\n", notegap("--version").out)


# ── --out ───────────────────────────────────────────────────────────────────────────────────────


def test_out_is_written_whole_or_not_at_all(notegap: Notegap, note: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "report.txt"
    assert notegap("check", note(GAPS), "--out", out) == Run(1, "", "")
    whole = out.read_text()
    assert whole.endswith("requirements met\n")
    assert notegap("check", note("stop x"), "--out", out).code == 130
    assert out.read_text() == whole
    assert notegap("check", note(" "), "--out", out).code == 3
    assert out.read_text() == whole
    assert not list(tmp_path.glob("*.partial"))


def test_out_that_cannot_be_written(notegap: Notegap, note: Callable[[str], Path], tmp_path: Path) -> None:
    run = notegap("check", note(GAPS), "--out", tmp_path / "gone" / "report.txt")
    assert run.code == 2
    assert "cannot be written (no such file or directory)" in run.err
    if Path("/dev/full").exists():
        assert "cannot be written (no space left on device)" in notegap("check", note(GAPS), "--out", "/dev/full").err


def test_out_does_not_replace_what_is_read(notegap: Notegap, note: Callable[[str], Path], tmp_path: Path) -> None:
    path = note(GAPS)
    assert "is the file that is read" in notegap("check", path, "--out", path).err
    table = tmp_path / "in.jsonl"
    table.write_text(json.dumps({"text": GAPS}))
    assert notegap("audit", table, "--out", table).code == 2
    assert path.read_text() == GAPS


# ── audit ───────────────────────────────────────────────────────────────────────────────────────


def table(tmp_path: Path, texts: Iterable[str | None]) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(json.dumps({"id": f"n{i}", "text": text}) for i, text in enumerate(texts)))
    return path


def test_audit_reports_each_row_in_place(notegap: Notegap, tmp_path: Path) -> None:
    run = notegap("audit", table(tmp_path, [GAPS, None, "crash x", "complete x", "none x"]))
    assert run.code == 2
    rows = [json.loads(line) for line in run.out.splitlines()]
    assert [row["id"] for row in rows] == ["n0", "n1", "n2", "n3", "n4"]
    assert ["error" in row for row in rows] == [False, True, True, False, False]
    assert rows[1] == {"schema_version": 1, "id": "n1", "error": {"message": "has no `text`", "where": "in.jsonl:2"}}
    assert rows[2]["error"]["message"].startswith("notegap broke on this note: IndexError at ")
    assert run.err == "notegap: 5 read: 1 with gaps, 1 complete, 1 without a code to check, 2 failed\n"


@pytest.mark.parametrize(
    ("texts", "code"), [((GAPS, "complete x"), 1), (("complete x", "none x"), 0), ((), 3), ((GAPS, None), 2)]
)
def test_audit_exit_codes(notegap: Notegap, tmp_path: Path, texts: tuple[str | None, ...], code: int) -> None:
    assert notegap("audit", table(tmp_path, texts)).code == code


def test_audit_of_an_empty_folder(notegap: Notegap, tmp_path: Path) -> None:
    assert notegap("audit", tmp_path) == Run(3, "", f"notegap: {tmp_path}: nothing was read, there is no note in it\n")


def test_audit_as_json_is_an_array(notegap: Notegap, tmp_path: Path) -> None:
    path = table(tmp_path, [GAPS, None])
    array = json.loads(notegap("audit", path, "--format", "json").out)
    assert array == [json.loads(line) for line in notegap("audit", path).out.splitlines()]


def test_audit_limit_out_and_repeated_ids(notegap: Notegap, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("id,text\na,complete\na,complete\nb,complete\n")
    out = tmp_path / "out.jsonl"
    run = notegap("audit", path, "--out", out, "--limit", "2")
    assert (run.code, run.out) == (0, "")
    assert run.err.endswith("0 failed, 1 with an id seen before\n")
    assert len(out.read_text().splitlines()) == 2


def test_an_audit_that_is_stopped_keeps_what_it_had(notegap: Notegap, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    run = notegap("audit", table(tmp_path, [GAPS, "stop x", GAPS]), "--out", out)
    assert run.code == 130
    assert not out.exists()
    assert len((tmp_path / "out.jsonl.partial").read_text().splitlines()) == 1
    assert "what was written until then is in" in run.err


def test_audit_reads_json_lines_from_standard_input(notegap: Notegap) -> None:
    run = notegap("audit", "-", stdin=json.dumps({"id": 5, "text": GAPS}).encode())
    assert json.loads(run.out)["id"] == "5"


# ── selftest ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("passing", "failing", "code"), [(2, 0, 0), (1, 1, 2), (0, 0, 3)])
def test_selftest(
    notegap: Notegap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passing: int, failing: int, code: int
) -> None:
    def result(ok: bool) -> ExampleResult:
        return ExampleResult(id="s", kind="concept", place="c.yaml:3", ok=ok, expected="laxity", got="nothing")

    monkeypatch.setattr("notegap.analyzer.Analyzer", lambda _knowledge: FakeAnalyzer())
    monkeypatch.setattr("notegap.knowledge.load_knowledge", lambda _directories: None)
    monkeypatch.setattr("notegap.knowledge.read_directory", lambda _directory: None)
    results = [result(True)] * passing + [result(False)] * failing
    monkeypatch.setattr("notegap.testing.run_examples", lambda _analyzer, _knowledge: results)
    failures = "c.yaml:3: s\n  expected: laxity\n  got:      nothing\n" * failing
    for arguments in ((), (tmp_path,)):
        run = notegap("selftest", *arguments)
        assert run == Run(code, f"{failures}{passing} of {passing + failing} examples pass\n", "")


# ── in a process of its own ─────────────────────────────────────────────────────────────────────


def process(*arguments: str, stdin: bytes = b"", shell: str = "") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "notegap", *arguments]
    if shell:
        command = ["bash", "-c", shell, "bash", *command]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


def test_a_closed_pipe_is_quiet() -> None:
    done = process("codes", "spine", "--limit", "5000", shell='"$@" | head -n 1; exit "${PIPESTATUS[0]}"')
    assert done.stderr == b""
    assert done.returncode in (0, 2)
    for arguments in (("codes",), ("--help",), ("--version",)):
        done = process(*arguments, shell='"$@" | true; exit "${PIPESTATUS[0]}"')
        assert (done.returncode, done.stderr) == (2, b"")


def test_standard_output_that_is_full_or_closed() -> None:
    assert process("codes", shell='"$@" > /dev/stdout').returncode == 0
    full = process("codes", shell='"$@" > /dev/full')
    assert (full.returncode, full.stderr) == (
        2,
        b"notegap: standard output: cannot be written (no space left on device)\n",
    )
    closed = process("codes", shell='"$@" >&-')
    assert closed.returncode == 2
    assert b"standard output" in closed.stderr


def test_the_whole_of_it(tmp_path: Path) -> None:
    note = "Assessment: degenerative hypertrophy of the ligamentum flavum at L4-5 on MRI.\r\n"
    path = tmp_path / "note.txt"
    path.write_bytes(note.encode())
    done = process("check", str(path), "--code", "M24.28", "--format", "json")
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == b""
    report = json.loads(done.stdout)
    assert report["checks"][0]["code"] == "M24.28"
    for mention in report["mentions"]:
        assert note[mention["start"] : mention["end"]] == mention["text"]
    spineless = process("check", "-", stdin=b"Sore throat for two days. No fever.\n")
    assert spineless.returncode == 3
    assert b"Nothing was checked" in spineless.stdout
