"""No word of a note reaches standard error, a log, a repr or an exception."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest

from handmade import CHECK, MENTION, FakeAnalyzer, report
from notegap import cli
from notegap.analyzer import Analyzer
from notegap.errors import NoteError, NotegapError, crash_site
from notegap.model import Evidence, Note
from notegap.notes.files import read_file
from notegap.notes.inputs import read_notes
from notegap.notes.text import decode

CANARY = "Quetzalcoatlus"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_half_a_character_is_refused_by_the_analyzer(analyzer: Analyzer) -> None:
    with pytest.raises(NoteError, match="half of a surrogate pair at character 15") as caught:
        analyzer.analyze(Note(id="x", text=f"{CANARY} \ud800", codes=("M24.28",)))
    assert all(CANARY not in str(vars(error)) + str(error.args) for error in chain(caught.value))


@pytest.mark.parametrize(
    "data",
    [
        CANARY.encode() + b"\x81s",
        f"{CANARY} é ".encode() + b"\xff",
        f"%PDF-1.4 {CANARY}".encode(),
        CANARY.encode("utf-16")[:-1],
        CANARY.encode() * 100_000,
        CANARY.encode() + b"\0" * 100,
    ],
)
def test_bytes_that_are_refused(data: bytes) -> None:
    with pytest.raises(NotegapError) as caught:
        decode(data, where="n")
    for error in chain(caught.value):
        assert CANARY not in f"{error!r} {error} {vars(error)}"


@pytest.mark.parametrize("name", [f"{CANARY} has\npain", f"The {CANARY} has pain in the back", CANARY * 500])
def test_a_note_given_for_a_files_name(name: str) -> None:
    for read in (read_file, read_notes):
        with pytest.raises(NotegapError) as caught:
            list(read(name))
        assert CANARY not in "".join(repr(error) for error in chain(caught.value))


ROWS = [
    "{" + CANARY,
    f'{{"text": "{CANARY}", "codes": "{CANARY}"}}',
    f'{{"text": "{CANARY}", "codes": ["{CANARY} pain"]}}',
    f'{{"text": "{CANARY}", "setting": "{CANARY}"}}',
    f'{{"text": "{CANARY}", "date_of_service": "{CANARY}"}}',
    f'{{"text": ["{CANARY}"]}}',
    f'{{"text": "{CANARY} \\ud800"}}',
    f'["{CANARY}"]',
]


@pytest.mark.parametrize("row", ROWS)
def test_rows_that_are_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(row)
    assert CANARY not in "".join(repr(found) for found in read_notes(path))


@pytest.mark.parametrize("text", [f"{CANARY},t\n", f"id,text\n1,a,{CANARY}\n", f'id,text\n1,"{CANARY}\n'])
def test_csv_that_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "in.csv"
    path.write_text(text)
    try:
        said = "".join(repr(found) for found in read_notes(path))
    except NotegapError as error:
        said = "".join(repr(each) for each in chain(error))
    assert CANARY not in said


def test_reprs() -> None:
    note = Note(id="n", text=f"gaps {CANARY}")
    mention = replace(MENTION, text=CANARY)
    finding = replace(CHECK.findings[0], evidence=(Evidence(0, 5, CANARY),))
    check = replace(CHECK, findings=(finding,))
    made = replace(report(check, note=note), mentions=(mention,))
    for thing in (note, mention, finding, check, made):
        assert is_dataclass(thing)
        assert CANARY not in repr(thing)
        assert CANARY not in str(thing)
        assert CANARY not in "".join(repr(getattr(thing, field.name)) for field in fields(thing) if field.repr)


def test_a_crash_is_told_without_its_message() -> None:
    with pytest.raises(ValueError, match=CANARY) as caught:
        int(CANARY)
    assert crash_site(caught.value).startswith("ValueError at test_privacy.py:")
    assert crash_site(KeyError(CANARY)) == "KeyError"


@pytest.mark.parametrize(
    "run",
    [
        lambda tmp: ("check", tmp / "gaps.txt"),
        lambda tmp: ("check", tmp / "crash.txt", tmp / "bad.txt"),
        lambda tmp: ("extract", tmp / "crash.txt"),
        lambda tmp: ("extract", tmp / "gaps.txt"),
        lambda tmp: ("audit", tmp),
        lambda tmp: ("audit", tmp / "in.jsonl"),
    ],
)
def test_standard_error_and_logs(
    run: Callable[[Path], tuple[object, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "gaps.txt").write_text(f"gaps {CANARY} " + "Chronic ligamentous laxity of the lumbar spine. " * 10)
    (tmp_path / "crash.txt").write_text(f"crash {CANARY}")
    (tmp_path / "bad.txt").write_bytes(CANARY.encode() + b"\x92")
    rows = [*ROWS, json.dumps({"text": f"crash {CANARY}"})]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: FakeAnalyzer())
    caplog.set_level(0)
    cli.main([str(argument) for argument in run(tmp_path)])
    assert CANARY not in capfd.readouterr().err
    assert CANARY not in caplog.text


def test_the_whole_of_it(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    text = f"HPI: {CANARY} reports low back pain.\nImaging: MRI shows {CANARY} L4-5 ligamentum flavum hypertrophy.\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert cli.main(["check", "-", "--code", "M24.28", "--format", "jsonl"]) in (0, 1)
    captured = capfd.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["id"] == "stdin"
