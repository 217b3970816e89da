"""Many notes: a folder, JSON Lines or CSV → `Note`s and `RowError`s, one at a time, in order.

A row that cannot be used is given as a `RowError` in its place and the rest goes on. Only an input that cannot
be read at all (missing, another format, no `text` column) raises. Memory is bounded by the longest note.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import BinaryIO, TextIO

from notegap.errors import NoteError, UsageError
from notegap.icd10cm import normalize
from notegap.model import Note, Setting
from notegap.notes.document import RowError
from notegap.notes.files import note_of, read_bytes, read_file
from notegap.notes.read import TEXT, read_documents, recognize
from notegap.notes.text import (
    MARKS,
    STDIN,
    NoteOptions,
    cannot_read,
    decode,
    looks_like_cp1252,
    no_such,
    printable,
    refuse_impossible_name,
    refuse_other_formats,
    says_nothing,
    stdin_bytes,
    too_long,
)

FIELDS = ("id", "text", "codes", "code", "claim_codes", "setting", "date_of_service")
"""The fields that are read; any other is left alone."""

Saying = Callable[[str, str], None]
"""Takes where something stands and what is remarked of it ("read as Windows-1252")."""

_LEFT_OUT = "left out: of no format that is read; plain text has to be named .txt"
_DELIMITERS = (",", ";", "\t")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNDECODED = re.compile("[\udc80-\udcff]+")
# In JSON one byte of a note can take six (an escaped control character); the other fields need some room too.
_JSON_GROWTH, _JSON_ROOM = 6, 65_536


class _RowRefusedError(Exception):
    """Why one row is no note; never leaves this module."""


def _unsaid(_where: str, _remark: str) -> None:
    pass


def read_notes(
    source: str | Path, options: NoteOptions | None = None, say: Saying = _unsaid
) -> Iterator[Note | RowError]:
    """The notes of a folder of files in any format, of one such file, of a .jsonl or .csv file, or JSON Lines ("-").

    What a row leaves open (codes, claim, setting, date) is taken from `options`.
    Raises `NoteError` when the input cannot be read at all, `UsageError` when it is of no kind that is known.
    """
    options = options or NoteOptions()
    if source == STDIN:
        return _read_stdin(options, say)
    path = Path(source)
    where = printable(str(source))
    if _is_folder(path, where):
        return _read_folder(path, where, options, say)
    kind = path.suffix.lower()
    if options.input_format is None and kind in (".jsonl", ".ndjson"):
        return _read_table(path, where, options, say, csv_format=False)
    if options.input_format is None and kind in (".csv", ".tsv"):
        return _read_table(path, where, options, say, csv_format=True)
    if options.input_format is None and kind != ".txt" and recognize(read_bytes(path, where, options)) == TEXT:
        if kind == ".json":
            raise UsageError(f"{where}: is JSON, not FHIR; give JSON Lines, one note a line, in a file named .jsonl")
        raise UsageError(
            f"{where}: is none of a folder, .txt, .jsonl, .csv, .tsv and the formats that are known by their content: "
            "RTF, HTML, .docx, PDF, C-CDA, HL7 v2, FHIR"
        )
    return _one_file(path, printable(path.name), where, options, say)


def _is_folder(path: Path, where: str) -> bool:
    refuse_impossible_name(path)
    try:
        if path.is_dir():
            return True
        if path.exists():
            return False
    except OSError as error:
        raise cannot_read(where, error) from None
    raise no_such(path, where, "file or folder")


def _read_folder(folder: Path, where: str, options: NoteOptions, say: Saying) -> Iterator[Note | RowError]:
    def refused(error: OSError) -> None:
        raise cannot_read(printable(str(error.filename or where)), error) from None

    for parent, folders, names in os.walk(folder, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(parent, name)
            shown = printable(str(path))
            if name.lower().endswith(".txt") or options.input_format or _is_note(path, shown, options):
                yield from _one_file(path, printable(path.relative_to(folder).as_posix()), shown, options, say)
            else:
                say(shown, _LEFT_OUT)


def _is_note(path: Path, where: str, options: NoteOptions) -> bool:
    """Whether a file that is not named .txt is in a format that is known by its content, or cannot be read at all."""
    try:
        return recognize(read_bytes(path, where, options)) not in (TEXT, "xml")
    except NoteError:
        return True


def _one_file(path: Path, note_id: str, where: str, options: NoteOptions, say: Saying) -> Iterator[Note | RowError]:
    try:
        yield from read_file(path, options, note_id=note_id, say=lambda remark: say(where, remark))
    except NoteError as error:
        yield RowError(note_id, where, str(error).removeprefix(f"{where}: "))


def _read_stdin(options: NoteOptions, say: Saying) -> Iterator[Note | RowError]:
    if options.input_format is None:
        yield from read_json_lines(stdin_bytes(), "stdin", options, say)
    else:
        yield from read_file(STDIN, options, say=lambda remark: say("standard input", remark))


def _read_table(
    path: Path, where: str, options: NoteOptions, say: Saying, *, csv_format: bool
) -> Iterator[Note | RowError]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise cannot_read(where, error) from None
    with file:
        rows = (
            _csv_rows(file, path.name, options, say) if csv_format else read_json_lines(file, path.name, options, say)
        )
        yield from rows


# ── JSON Lines ──────────────────────────────────────────────────────────────────────────────────


def read_json_lines(
    file: BinaryIO, name: str, options: NoteOptions, say: Saying = _unsaid
) -> Iterator[Note | RowError]:
    """The notes of an open file of JSON Lines; `name` says where a row stands ("export.jsonl:12")."""
    name = printable(name)
    limit = options.max_bytes * _JSON_GROWTH + _JSON_ROOM
    number = 0
    while line := file.readline(limit):
        number += 1
        if number == 1:
            _refuse_other_tables(line, name)
        where = f"{name}:{number}"
        if not line.endswith(b"\n") and len(line) == limit:
            _skip_line(file, limit)
            yield RowError(where, where, f"the line is longer than {limit:,} bytes; --max-bytes raises the limit")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip() and recognize(line) == "fhir":
            yield from _fhir_row(line, where, options, say)
        elif line.strip():
            yield _json_row(line, where, options, say)


def _refuse_other_tables(first: bytes, name: str) -> None:
    refuse_other_formats(first, where=name)
    mark = next((encoding for mark, encoding in MARKS if first.startswith(mark)), None)
    if mark is not None:
        raise NoteError(f"{name}: is {mark}; a table is read as UTF-8, save it so and try again")


def _fhir_row(line: bytes, where: str, options: NoteOptions, say: Saying) -> Iterator[Note | RowError]:
    """The notes of a FHIR resource on a line of its own, as bulk exports have them."""
    try:
        for document in read_documents(line, where, "fhir", options.max_bytes, lambda remark: say(where, remark)):
            if isinstance(document, RowError):
                yield RowError(document.id or where, where, document.message)
            else:
                yield note_of(document, document.id or where, options)
    except NoteError as error:
        yield RowError(where, where, str(error).removeprefix(f"{where}: "))


def _skip_line(file: BinaryIO, limit: int) -> None:
    while (rest := file.readline(limit)) and not rest.endswith(b"\n"):
        pass


def _json_row(line: bytes, where: str, options: NoteOptions, say: Saying) -> Note | RowError:
    note_id = where
    try:
        row = _parse_json(line, where, say)
        note_id = _id(row.get("id"), where)
        return _note(row, note_id, options)
    except _RowRefusedError as refused:
        return RowError(note_id, where, str(refused))


def read_row(row: object, where: str, options: NoteOptions) -> Note | RowError:
    """The note of one JSON value; `where` says where it stands ("note:12")."""
    note_id = where
    try:
        if not isinstance(row, dict):
            raise _RowRefusedError("not a JSON object with a field `text`")
        note_id = _id(row.get("id"), where)
        return _note(row, note_id, options)
    except _RowRefusedError as refused:
        return RowError(note_id, where, str(refused))


def _parse_json(line: bytes, where: str, say: Saying) -> Mapping[str, object]:
    try:
        text = decode(line, where=where, max_bytes=len(line), say=lambda remark: say(where, remark))
    except NoteError as error:
        raise _RowRefusedError(str(error).removeprefix(f"{where}: ")) from None
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        # `msg` is the parser's own sentence; the error as a whole holds the line.
        raise _RowRefusedError(f"not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError):
        raise _RowRefusedError("not JSON that can be read: a number too long or nested too deep") from None
    if not isinstance(row, dict):
        hint = "; a JSON array is not JSON Lines, give one note a line" if text.lstrip().startswith("[") else ""
        raise _RowRefusedError(f"not a JSON object with a field `text`{hint}")
    return row


# ── CSV ─────────────────────────────────────────────────────────────────────────────────────────


def _csv_rows(file: io.BufferedReader, name: str, options: NoteOptions, say: Saying) -> Iterator[Note | RowError]:
    name = printable(name)
    _refuse_other_tables(file.peek(1024), name)
    # Bytes that are not UTF-8 become lone surrogates, so that they spoil one row and not the file.
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from _csv_lines(text, name, options, say)


def _csv_lines(text: TextIO, name: str, options: NoteOptions, say: Saying) -> Iterator[Note | RowError]:
    # The csv module keeps this limit for the whole process; it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), options.max_bytes + 1))
    header_line = text.readline(_JSON_ROOM)
    if not header_line.strip():
        return
    delimiter, header = _header(header_line, name)
    # Strict: otherwise a quote left open would take the rest of the file for one note.
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        # Lines are counted from the header on; a row may have several.
        where = f"{name}:{reader.line_num + 2}"
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield RowError(where, where, f"not CSV: {error}")
            continue
        if fields is None:
            return
        if fields:
            yield _csv_row(header, [_repaired(field, where, say) for field in fields], where, options)


def _header(line: str, name: str) -> tuple[str, tuple[str, ...]]:
    for delimiter in _DELIMITERS:
        header = tuple(field.strip().lower() for field in next(csv.reader([line], delimiter=delimiter)))
        if "text" in header:
            twice = sorted({field for field in header if field in FIELDS and header.count(field) > 1})
            if twice:
                raise NoteError(f"{name}:1: the column `{twice[0]}` is there twice")
            return delimiter, header
    # The columns' names are not repeated: without a header, the first line is a note.
    raise NoteError(f"{name}:1: no column is named `text`; the first line has to name the columns: {', '.join(FIELDS)}")


def _repaired(value: str, where: str, say: Saying) -> str:
    """A field whose bytes were not UTF-8 and can be Windows-1252, read as that."""
    if not _UNDECODED.search(value):
        return value
    data = value.encode("utf-8", "surrogateescape")
    if not looks_like_cp1252(data):
        return value
    say(where, "read as Windows-1252")
    return data.decode("cp1252")


def _csv_row(header: tuple[str, ...], fields: list[str], where: str, options: NoteOptions) -> Note | RowError:
    row: dict[str, object] = {key: value or None for key, value in zip(header, fields, strict=False)}
    note_id = where
    try:
        note_id = _id(row.get("id"), where)
        if len(fields) != len(header):
            # A comma or a line end outside quotes cuts the note: half a note must not pass for one.
            raise _RowRefusedError(f"has {len(fields)} fields and the header {len(header)}; is a note left unquoted?")
        return _note(row, note_id, options)
    except _RowRefusedError as refused:
        return RowError(note_id, where, str(refused))


# ── one row ─────────────────────────────────────────────────────────────────────────────────────


def _note(row: Mapping[str, object], note_id: str, options: NoteOptions) -> Note:
    codes = tuple(dict.fromkeys((_codes(row, "codes") or ()) + (_codes(row, "code") or ())))
    claim = _codes(row, "claim_codes")
    note = Note(
        id=note_id,
        text=_text(row, options.max_bytes),
        codes=codes or options.codes,
        claim_codes=options.claim_codes if claim is None else claim,
        setting=_setting(row.get("setting"), options.setting),
    )
    return replace(note, date_of_service=_date(row.get("date_of_service")) or options.date_of_service)


def _id(value: object, where: str) -> str:
    if value is None or value == "":
        return where
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _RowRefusedError("`id` is neither a string nor a number")
    note_id = str(value)
    if _SURROGATE.search(note_id):
        raise _RowRefusedError("`id` is not UTF-8")
    return note_id


def _text(row: Mapping[str, object], max_bytes: int) -> str:
    text = row.get("text")
    if text is None:
        raise _RowRefusedError("has no `text`")
    if not isinstance(text, str):
        raise _RowRefusedError("`text` is not a string")
    if says_nothing(text):
        raise _RowRefusedError("`text` is empty")
    bad = _UNDECODED.search(text) or _SURROGATE.search(text)
    if bad:
        raise _RowRefusedError(_not_text(bad))
    if len(text.encode()) > max_bytes:
        raise _RowRefusedError(too_long("`text`", max_bytes).replace(":", "", 1))
    return text


def _not_text(bad: re.Match[str]) -> str:
    units = [ord(char) for char in bad.group()[:4]]
    if _UNDECODED.match(bad.group()):
        shown = " ".join(f"{unit - 0xDC00:02X}" for unit in units)
        return f"`text` is neither UTF-8 nor Windows-1252: {shown} at character {bad.start()}; save it as UTF-8"
    return f"`text` has half of a surrogate pair (\\u{units[0]:04x}) at character {bad.start()}"


def _codes(row: Mapping[str, object], field: str) -> tuple[str, ...] | None:
    value = row.get(field)
    if value is None:
        return None
    entries = re.split(r"[;,]", value) if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise _RowRefusedError(f"`{field}` is neither a list of strings nor a string separated by `;` or `,`")
    codes = [entry for entry in entries if entry.strip()]
    return tuple(_code(code, field, number) for number, code in enumerate(codes, start=1))


def _code(code: str, field: str, number: int) -> str:
    try:
        return normalize(code)
    except UsageError:
        # The entry is not repeated: in a row whose columns have slipped it is a piece of the note.
        raise _RowRefusedError(
            f"`{field}`: entry {number} is not shaped like an ICD-10-CM code (M24.28, m2428)"
        ) from None


def _setting(value: object, default: Setting) -> Setting:
    if value is None or value == "":
        return default
    name = value.strip().lower() if isinstance(value, str) else ""
    if name not in set(Setting):
        raise _RowRefusedError(f"`setting` is none of: {', '.join(Setting)}")
    return Setting(name)


def _date(value: object) -> str | None:
    if value is None or value == "":
        return None
    # A time of day may follow, as databases write it.
    day = re.split("[T ]", value.strip())[0] if isinstance(value, str) else ""
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError:
        raise _RowRefusedError("`date_of_service` is not a date written as 2026-04-30") from None
