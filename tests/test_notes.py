"""Bytes become notes, or a message that says where and why not; no word of a note in any of them."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from notegap.errors import EmptyNoteError, NoteError, UsageError
from notegap.model import Note, Setting
from notegap.notes.document import RowError
from notegap.notes.files import read_note
from notegap.notes.inputs import read_notes
from notegap.notes.text import NoteOptions, decode

TEXT = "ASSESSMENT\r\nLaxity of the L4-5 interspinous ligament.\n"


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# ── one note ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "one\rtwo\r\nthree",
        "NUL \0 and zero\u200bwidth and \ufeff inside",
        "Ödem, 3 µg, L4–L5 “stable” 脊椎 🦴",
        "\x1b[31mred\x1b[0m",
        "tab\tform\ffeed",
    ],
)
def test_text_is_kept_as_given(text: str) -> None:
    assert decode(text.encode(), where="n") == text


def test_utf8_mark_belongs_to_the_encoding() -> None:
    assert decode(b"\xef\xbb\xbf" + TEXT.encode(), where="n") == TEXT


@pytest.mark.parametrize(
    "data", [b"", b" \r\n\t ", b"\xef\xbb\xbf", b"\0", b"\0\0\0\0\0\0", "\u200b\u2060\ufeff \u00a0".encode()]
)
def test_a_note_that_says_nothing_is_empty(data: bytes) -> None:
    with pytest.raises(EmptyNoteError, match=r"^n: nothing to read, the note is empty$"):
        decode(data, where="n")


CP1252 = "Patient\u2019s spine.\nStenosis \u2013 severe."


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (CP1252.encode("cp1252"), "Windows-1252"),
        (CP1252.encode("utf-16"), "UTF-16"),
        (b"\xfe\xff" + CP1252.encode("utf-16-be"), "UTF-16"),
        (CP1252.encode("utf-32"), "UTF-32"),
        (b"\x00\x00\xfe\xff" + CP1252.encode("utf-32-be"), "UTF-32"),
    ],
)
def test_other_encodings_are_read_and_said(data: bytes, encoding: str) -> None:
    said: list[str] = []
    assert decode(data, where="n", say=said.append) == CP1252
    assert said == [f"read as {encoding}"]


def test_a_declared_encoding_is_used_where_the_bytes_are_not_utf8() -> None:
    assert decode("Żebro – łuk.".encode("iso8859-2", "ignore"), where="n", charset="iso-8859-2").startswith("Żebro")
    assert decode(CP1252.encode(), where="n", charset="iso-8859-2") == CP1252


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"one\ntwo \x81\x93 three",
            "n: is not UTF-8: byte 81 at byte offset 8 (line 2); save it as plain text (UTF-8) and try again",
        ),
        (
            "Ödem, then ".encode() + b"\xff bad",
            "n: is not UTF-8: byte FF at byte offset 12; the rest before it is UTF-8, so the file is damaged there "
            "or was pasted from another encoding",
        ),
        (
            "a bone 🦴".encode()[:-1],
            "n: is not UTF-8: bytes F0 9F A6 at byte offset 7; it ends in the middle of a character, so its end "
            "may be lost",
        ),
        (
            TEXT.encode("utf-16")[:-1],
            "n: is not UTF-16, as it says it is: bytes 0A at byte offset 108",
        ),
        (
            # Windows-1251: read as Windows-1252 it would be noise.
            "Боль в пояснице".encode("cp1251"),
            "n: is not UTF-8: byte C1 at byte offset 0; save it as plain text (UTF-8) and try again",
        ),
        (
            TEXT.encode("utf-16-be"),
            "n: looks like UTF-16 without its byte order mark (every other byte is 00), not UTF-8; "
            "save it as plain text (UTF-8) and try again",
        ),
        (
            b"abc" + b"\0" * 40,
            "n: is a binary file (40 of its 43 bytes are 00), not plain text; save it as plain text (UTF-8) "
            "and try again",
        ),
        (bytes(range(256)) * 3, "n: is a binary file, not plain text; save it as plain text (UTF-8) and try again"),
    ],
)
def test_bytes_that_are_not_a_note(data: bytes, message: str) -> None:
    with pytest.raises(NoteError) as caught:
        decode(data, where="n")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"%PDF-1.7\nrest", "a PDF file"),
        (b"{\\rtf1\\ansi Patient}", "an RTF document"),
        (b"PK\x03\x04....word/document.xml", "a Word document"),
        (b"PK\x03\x04....xl/workbook.xml", "an Excel workbook"),
        (b"PK\x03\x04....", "a zip archive"),
        (gzip.compress(b"note", mtime=0), "a gzip archive"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office file"),
        (b"\0" * 128 + b"DICM", "a DICOM file"),
    ],
)
def test_other_formats_are_refused_by_name(data: bytes, name: str) -> None:
    with pytest.raises(NoteError, match=rf"^n: is {name}"):
        decode(data, where="n")


def test_the_limit_counts_bytes() -> None:
    assert decode(b"x" * 10, where="n", max_bytes=10) == "x" * 10
    with pytest.raises(NoteError, match=r"^n: is longer than 10 bytes, the limit; --max-bytes raises it$"):
        decode("é".encode() * 6, where="n", max_bytes=10)


def test_a_note_of_one_megabyte_is_read() -> None:
    assert len(decode(b"Spine. " * 149_796, where="n")) == 1_048_572


def test_a_file_gives_its_name_and_options(tmp_path: Path) -> None:
    path = tmp_path / "laxity.txt"
    path.write_bytes(TEXT.encode())
    note = read_note(path, NoteOptions(codes=("M24.28",), setting=Setting.INPATIENT, date_of_service="2026-04-30"))
    assert note == Note(
        id="laxity.txt", text=TEXT, codes=("M24.28",), setting=Setting.INPATIENT, date_of_service="2026-04-30"
    )


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, TEXT.encode())
    assert read_note("-") == Note(id="stdin", text=TEXT)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(NoteError, match="standard input: is closed"):
        read_note("-")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NoteError, match=r"gone\.txt: no such file$"):
        read_note(tmp_path / "gone.txt")
    with pytest.raises(NoteError, match="is a folder; `notegap audit` reads a folder of notes"):
        read_note(tmp_path)
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(NoteError, match=r"cannot be read \(not a directory\)|no such file"):
        read_note(tmp_path / "file.txt" / "below.txt")


@pytest.mark.parametrize("name", ["Laxity of\nthe spine", "The patient has pain in the back.", "x" * 5000, "a\0b"])
def test_a_note_given_for_a_name_is_not_repeated(name: str) -> None:
    with pytest.raises(NoteError) as caught:
        read_note(name)
    assert str(caught.value) == (
        f"a text of {len(name)} characters stands where a file's name belongs; pipe a note in with `-`"
    )


def test_a_file_that_never_ends_is_read_to_the_limit() -> None:
    with pytest.raises(NoteError, match="longer than 1,000 bytes"):
        read_note("/dev/zero", NoteOptions(max_bytes=1000))


# ── many notes ──────────────────────────────────────────────────────────────────────────────────


def rows(path: Path, data: bytes | str, options: NoteOptions | None = None) -> list[Note | RowError]:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(read_notes(path, options))


def only_error(found: list[Note | RowError]) -> str:
    (row,) = found
    assert isinstance(row, RowError)
    return row.message


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "text": TEXT, "codes": ["m2428", "M48.061"], "claim_codes": "M24.28; m48061", "other": [1]},
        {"id": 17, "text": "t", "code": "M24.28", "claim_codes": [], "setting": "Inpatient"},
        {"text": "t", "codes": "M24.28,M43.26", "code": "M24.28", "date_of_service": "2026-04-30T10:00:00"},
        {"id": "d", "text": "t", "codes": None, "setting": "", "date_of_service": ""},
    ]
    data = "\ufeff" + "\r\n\n".join(json.dumps(line) for line in lines)
    assert rows(tmp_path / "in.jsonl", data) == [
        Note(id="a", text=TEXT, codes=("M24.28", "M48.061"), claim_codes=("M24.28", "M48.061")),
        Note(id="17", text="t", codes=("M24.28",), claim_codes=(), setting=Setting.INPATIENT),
        Note(id="in.jsonl:5", text="t", codes=("M24.28", "M43.26"), date_of_service="2026-04-30"),
        Note(id="d", text="t"),
    ]


def test_options_stand_in_where_a_row_has_none(tmp_path: Path) -> None:
    options = NoteOptions(codes=("M24.28",), setting=Setting.INPATIENT, date_of_service="2026-01-01")
    data = '{"id":"a","text":"t"}\n{"id":"b","text":"t","codes":["M43.26"],"setting":"outpatient"}'
    assert rows(tmp_path / "in.jsonl", data, options) == [
        Note(id="a", text="t", codes=("M24.28",), setting=Setting.INPATIENT, date_of_service="2026-01-01"),
        Note(id="b", text="t", codes=("M43.26",), setting=Setting.OUTPATIENT, date_of_service="2026-01-01"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes at column 1"),
        ("[1]", "not a JSON object with a field `text`; a JSON array is not JSON Lines, give one note a line"),
        ('"t"', "not a JSON object with a field `text`"),
        ("[" * 200_000, "not JSON that can be read: a number too long or nested too deep"),
        ('{"a":' + "9" * 5000 + "}", "not JSON that can be read: a number too long or nested too deep"),
        ("{}", "has no `text`"),
        ('{"text": null}', "has no `text`"),
        ('{"text": ["t"]}', "`text` is not a string"),
        ('{"text": " \\n\\u200b"}', "`text` is empty"),
        ('{"text": "t \\ud83e"}', "`text` has half of a surrogate pair (\\ud83e) at character 2"),
        ('{"text": "t", "id": {"a": 1}}', "`id` is neither a string nor a number"),
        ('{"text": "t", "codes": [1]}', "`codes` is neither a list of strings nor a string separated by `;` or `,`"),
        ('{"text": "t", "claim_codes": 5}', "`claim_codes` is neither a list of strings nor a string separated by "
         "`;` or `,`"),
        ('{"text": "t", "codes": "M24.28; low back"}', "`codes`: entry 2 is not shaped like an ICD-10-CM code "
         "(M24.28, m2428)"),
        ('{"text": "t", "setting": "hospital"}', "`setting` is none of: outpatient, inpatient"),
        ('{"text": "t", "setting": 1}', "`setting` is none of: outpatient, inpatient"),
        ('{"text": "t", "date_of_service": "04/30/2026"}', "`date_of_service` is not a date written as 2026-04-30"),
        ('{"text": "t", "date_of_service": 20260430}', "`date_of_service` is not a date written as 2026-04-30"),
    ],
)  # fmt: skip
def test_a_bad_line_is_told_in_place_and_the_rest_goes_on(tmp_path: Path, line: str, message: str) -> None:
    before, bad, after = rows(tmp_path / "in.jsonl", f'{{"id":"a","text":"t"}}\n{line}\n{{"id":"c","text":"t"}}\n')
    assert [before, after] == [Note(id="a", text="t"), Note(id="c", text="t")]
    assert bad == RowError("in.jsonl:2", "in.jsonl:2", message)


def test_a_bad_line_keeps_its_id(tmp_path: Path) -> None:
    assert rows(tmp_path / "in.jsonl", '{"id": "n-7"}') == [RowError("n-7", "in.jsonl:1", "has no `text`")]


def test_lines_in_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"text":"t"}\n{"text":"Patient\x92s spine"}\n{"text":"Patient\x81s"}\n{"text":"t"}')
    said: list[tuple[str, str]] = []
    first, guessed, bad, last = read_notes(path, say=lambda *remark: said.append(remark))
    assert [first, last] == [Note(id="in.jsonl:1", text="t"), Note(id="in.jsonl:4", text="t")]
    assert guessed == Note(id="in.jsonl:2", text="Patient\u2019s spine")
    assert said == [("in.jsonl:2", "read as Windows-1252")]
    assert isinstance(bad, RowError)
    assert bad.message.startswith("is not UTF-8: byte 81 at byte offset 16; save it")


def test_a_line_over_the_limit_does_not_take_the_next(tmp_path: Path) -> None:
    long = json.dumps({"text": "x" * 2_000_000})
    bad, good = rows(tmp_path / "in.jsonl", f'{long}\n{{"id":"b","text":"t"}}', NoteOptions(max_bytes=1000))
    assert bad == RowError(
        "in.jsonl:1", "in.jsonl:1", "the line is longer than 71,536 bytes; --max-bytes raises the limit"
    )
    assert good == Note(id="b", text="t")
    message = only_error(rows(tmp_path / "in.jsonl", json.dumps({"text": "x" * 1001}), NoteOptions(max_bytes=1000)))
    assert message == "`text` is longer than 1,000 bytes, the limit; --max-bytes raises it"


def test_json_lines_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b'{"text":"t"}\n{')
    first, second = read_notes("-")
    assert first == Note(id="stdin:1", text="t")
    assert isinstance(second, RowError)
    assert second.where == "stdin:2"


def test_csv(tmp_path: Path) -> None:
    data = (
        "\ufeffID,text,Codes,claim_codes,setting,other\r\n"
        'a,"Laxity, of ""L4-5""\r\nligament.",M24.28;m43.26,"M24.28,M43.26",inpatient,x\r\n'
        "\r\n"
        ",t,,,,\r\n"
    )
    assert rows(tmp_path / "in.csv", data) == [
        Note(
            id="a",
            text='Laxity, of "L4-5"\r\nligament.',
            codes=("M24.28", "M43.26"),
            claim_codes=("M24.28", "M43.26"),
            setting=Setting.INPATIENT,
        ),
        Note(id="in.csv:5", text="t"),
    ]


@pytest.mark.parametrize(("name", "delimiter"), [("in.csv", ";"), ("in.tsv", "\t"), ("in.csv", ",")])
def test_csv_delimiters(tmp_path: Path, name: str, delimiter: str) -> None:
    assert rows(tmp_path / name, f"id{delimiter}text\na{delimiter}t\n") == [Note(id="a", text="t")]


def test_csv_with_a_long_note(tmp_path: Path) -> None:
    (note,) = rows(tmp_path / "in.csv", 'id,text\na,"' + "long " * 60_000 + '"\n')
    assert isinstance(note, Note)
    assert len(note.text) == 300_000


def test_csv_rows_that_are_cut_are_told(tmp_path: Path) -> None:
    data = "id,text,code\na,Laxity, of L4-5,M24.28\nb,t\nc,t,M24.28\n"
    first, second, third = rows(tmp_path / "in.csv", data)
    assert first == RowError("a", "in.csv:2", "has 4 fields and the header 3; is a note left unquoted?")
    assert second == RowError("b", "in.csv:3", "has 2 fields and the header 3; is a note left unquoted?")
    assert third == Note(id="c", text="t", codes=("M24.28",))


def test_csv_with_a_quote_left_open_does_not_pass_for_one_note(tmp_path: Path) -> None:
    (row,) = rows(tmp_path / "in.csv", 'id,text\na,"never closed\nb,t\nc,t\n')
    assert row == RowError("in.csv:2", "in.csv:2", "not CSV: unexpected end of data")


def test_csv_rows_in_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(b"id,text\na,Patient\x92s\nb,t\nc,Patient\x81s\n")
    said: list[tuple[str, str]] = []
    first, second, third = read_notes(path, say=lambda *remark: said.append(remark))
    assert [first, second] == [Note(id="a", text="Patient\u2019s"), Note(id="b", text="t")]
    assert said == [("in.csv:2", "read as Windows-1252")]
    assert third == RowError(
        "c", "in.csv:4", "`text` is neither UTF-8 nor Windows-1252: 81 at character 7; save it as UTF-8"
    )


def test_csv_without_a_header_does_not_repeat_its_first_line(tmp_path: Path) -> None:
    with pytest.raises(NoteError) as caught:
        rows(tmp_path / "in.csv", "a,Laxity\n")
    assert str(caught.value) == (
        "in.csv:1: no column is named `text`; the first line has to name the columns: "
        "id, text, codes, code, claim_codes, setting, date_of_service"
    )
    with pytest.raises(NoteError, match="the column `text` is there twice"):
        rows(tmp_path / "in.csv", "text,text\na,b\n")


def test_a_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name, data in {"b.txt": b"t", "a.TXT": b"t", "sub/c.txt": b"", "d.md": b"t", ".e.txt": b"t"}.items():
        (tmp_path / name).write_bytes(data)
    first, second, third = read_notes(tmp_path)
    assert [first, second] == [Note(id="a.TXT", text="t"), Note(id="b.txt", text="t")]
    assert third == RowError("sub/c.txt", str(tmp_path / "sub" / "c.txt"), "nothing to read, the note is empty")


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv"])
def test_an_empty_table_has_no_rows(tmp_path: Path, name: str) -> None:
    assert rows(tmp_path / name, b"") == []
    assert rows(tmp_path / name, "\ufeff\n") == []


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv"])
def test_a_table_in_another_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoteError, match="is a Parquet file"):
        rows(tmp_path / name, b"PAR1....")


def test_inputs_of_no_known_kind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is JSON, not FHIR; give JSON Lines"):
        rows(tmp_path / "in.json", b"[]")
    with pytest.raises(UsageError, match=r"is none of a folder, \.txt,"):
        rows(tmp_path / "in.xlsx", b"")
    with pytest.raises(NoteError, match="no such file or folder"):
        read_notes(tmp_path / "gone")
    assert rows(tmp_path / "one.txt", "t") == [Note(id="one.txt", text="t")]
