"""Tables: JSON Lines, CSV or any rows → `Note`s and `RowError`s, one at a time, in order.

A row that cannot be used is given as a `RowError` in its place and the rest goes on. Only a table that cannot
be read at all (another format, no `text` column) raises. Memory is bounded by the longest note.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, BinaryIO, Protocol, TextIO, cast
from uuid import UUID

from notegap.errors import NoteError, UsageError
from notegap.icd10cm import normalize
from notegap.model import Metadata, Note, Setting
from notegap.notes.document import RowError, iso_date, unsaid
from notegap.notes.files import note_of
from notegap.notes.read import read_documents, recognize
from notegap.notes.text import (
    MARKS,
    NoteOptions,
    decode,
    looks_like_cp1252,
    printable,
    refuse_other_formats,
    says_nothing,
    too_long,
)

FIELDS = ("id", "text", "codes", "code", "claim_codes", "setting", "date_of_service")
"""What is read of a row beside what is known of it; any other field is left alone."""

SAID = ("provider", "encounter", "department", "date")
"""What a row may say of its note beside that: its metadata."""

Saying = Callable[[str, str], None]
"""Takes where something stands and what is remarked of it ("read as Windows-1252")."""

_DELIMITERS = (",", ";", "\t")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UNDECODED = re.compile("[\udc80-\udcff]+")
# In JSON one byte of a note can take six (an escaped control character); the other fields need some room too.
_JSON_GROWTH, _JSON_ROOM = 6, 65_536
_PIECE = 65_536


class NoTextError(NoteError):
    """A table without a column for its notes' texts: not one of notes."""


class _RowRefusedError(Exception):
    """Why one row is no note; never leaves this module."""


def unsaid_of(_where: str, _remark: str) -> None:
    """Say nothing: for callers that have nobody to tell."""


# ── JSON Lines ──────────────────────────────────────────────────────────────────────────────────


class Neighbours(Protocol):
    """What stands beside the documents of a FHIR export: the texts they refer to, and what is known of them."""

    binaries: Mapping[str, Mapping[str, Any]]

    def joined(self, note: Note) -> Note:
        """A note with what is known of its encounter."""


def read_json_lines(
    file: BinaryIO,
    name: str,
    options: NoteOptions,
    say: Saying = unsaid_of,
    neighbours: Neighbours | None = None,
) -> Iterator[Note | RowError]:
    """The notes of an open file of JSON Lines; `name` says where a row stands ("export.jsonl:12").

    A line may be a FHIR resource; `neighbours` is what is known of it from elsewhere.
    """
    name = printable(name)
    file = _as_utf8(file, name, say)
    limit = options.max_bytes * _JSON_GROWTH + _JSON_ROOM
    number = 0
    while line := file.readline(limit):
        number += 1
        if number == 1:
            refuse_other_formats(line, where=name)
        where = f"{name}:{number}"
        if not line.endswith(b"\n") and len(line) == limit:
            _skip_line(file, limit)
            yield RowError(where, where, f"the line is longer than {limit:,} bytes; --max-bytes raises the limit")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip() and recognize(line) == "fhir":
            yield from _fhir_row(line, where, options, say, neighbours)
        elif line.strip():
            yield _json_row(line, where, options, say)


def _as_utf8(file: BinaryIO, name: str, say: Saying) -> BinaryIO:
    """A file as UTF-8, whatever its byte order mark says that it is: Excel's "Unicode text" is UTF-16."""
    peeking = file if hasattr(file, "peek") else io.BufferedReader(cast(io.RawIOBase, file))
    first = cast(io.BufferedReader, peeking).peek(4)
    encoding = next((encoding for mark, encoding in MARKS if first.startswith(mark)), None)
    if encoding is None:
        return peeking
    say(name, f"read as {encoding}")
    return cast(BinaryIO, io.BufferedReader(_Recoded(peeking, encoding, name), _PIECE))


class _Recoded(io.RawIOBase):
    """A file of another encoding as UTF-8; half of a surrogate pair stays one, and costs its row alone."""

    def __init__(self, file: BinaryIO, encoding: str, name: str) -> None:
        self._file = file
        self._encoding = encoding
        self._name = name
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        data = b"more"
        while data and not self._held:
            data = self._file.read(_PIECE)
            try:
                text = self._decoder.decode(data, final=not data)
            except UnicodeDecodeError:
                text = None
            if text is None:
                raise NoteError(f"{self._name}: is not {self._encoding} to its end, as it says it is; is it cut off?")
            self._held = text.encode("utf-8", "surrogatepass")
        size = min(len(view), len(self._held))
        view[:size], self._held = self._held[:size], self._held[size:]
        return size


def _fhir_row(
    line: bytes, where: str, options: NoteOptions, say: Saying, neighbours: Neighbours | None
) -> Iterator[Note | RowError]:
    """The notes of a FHIR resource on a line of its own, as bulk exports have them."""
    binaries = neighbours.binaries if neighbours is not None else {}
    try:
        for document in read_documents(
            line, where, "fhir", options.max_bytes, lambda remark: say(where, remark), binaries=binaries
        ):
            if isinstance(document, RowError):
                yield RowError(document.id or where, where, document.message)
            else:
                note = note_of(document, document.id or where, options)
                yield note if neighbours is None else neighbours.joined(note)
    except NoteError as error:
        yield RowError(where, where, str(error).removeprefix(f"{where}: "))


def _skip_line(file: BinaryIO, limit: int) -> None:
    while (rest := file.readline(limit)) and not rest.endswith(b"\n"):
        pass


def _json_row(line: bytes, where: str, options: NoteOptions, say: Saying) -> Note | RowError:
    note_id = where
    try:
        row = _mapped(_parse_json(line, where, say), options)
        note_id = _id(row.get("id"), where)
        return _note(row, note_id, options, lambda remark: say(where, remark))
    except _RowRefusedError as refused:
        return RowError(note_id, where, str(refused))


def read_row(row: object, where: str, options: NoteOptions) -> Note | RowError:
    """The note of one JSON value; `where` says where it stands ("note:12")."""
    note_id = where
    try:
        if not isinstance(row, dict):
            raise _RowRefusedError("not a JSON object with a field `text`")
        row = _mapped(row, options)
        note_id = _id(row.get("id"), where)
        return _note(row, note_id, options)
    except _RowRefusedError as refused:
        return RowError(note_id, where, str(refused))


def read_values(
    row: Mapping[str, object], where: str, options: NoteOptions, say: Saying = unsaid_of
) -> Note | RowError:
    """The note of one row of a database or a Parquet file, whose values have types of their own."""
    note_id = where
    try:
        plain = {name: _plain(value) for name, value in row.items() if name in (*FIELDS, *SAID)}
        note_id = _id(plain.get("id"), where)
        return _note(plain, note_id, options, lambda remark: say(where, remark))
    except _RowRefusedError as refused:
        return RowError(note_id, where, str(refused))


def _plain(value: object) -> object:
    """A value as JSON would have it."""
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def refuse_columns(names: Iterable[str], where: str, options: NoteOptions) -> None:
    """Raise `NoTextError` when a table with columns of these names has none for a note's text.

    Raises `NoteError` when it lacks another one that is asked for.

    The columns' own names are not repeated: without a header, the first line is a note.
    """
    known = set(names)
    if "text" not in known and "text" not in options.columns:
        raise NoTextError(
            f"{where}: no column is named `text`; the first line has to name the columns: {', '.join(FIELDS)}"
        )
    for field, column in sorted(options.columns.items(), key=lambda each: each[0] != "text"):
        if column.lower() not in known:
            kind = NoTextError if field == "text" else NoteError
            raise kind(f"{where}: no column is named `{column}`, as --columns says")


def _mapped(row: Mapping[str, object], options: NoteOptions) -> Mapping[str, object]:
    """A row whose fields have the names that are read."""
    if not options.columns:
        return row
    return {**row, **{name: row.get(column) for name, column in options.columns.items()}}


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


def read_csv(file: io.BufferedReader, name: str, options: NoteOptions, say: Saying) -> Iterator[Note | RowError]:
    """The notes of an open file of CSV; `name` says where a row stands ("export.csv:12")."""
    name = printable(name)
    recoded = cast(io.BufferedReader, _as_utf8(cast(BinaryIO, file), name, say))
    refuse_other_formats(recoded.peek(1024), where=name)
    # Bytes that are not UTF-8 become lone surrogates, so that they spoil one row and not the file.
    with io.TextIOWrapper(recoded, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        yield from _csv_lines(text, name, options, say)


def _csv_lines(text: TextIO, name: str, options: NoteOptions, say: Saying) -> Iterator[Note | RowError]:
    # The csv module keeps this limit for the whole process; it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), options.max_bytes + 1))
    header_line = text.readline(_JSON_ROOM)
    if not header_line.strip():
        return
    delimiter, header = _header(header_line, name, options)
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
            yield _csv_row(header, [_repaired(field, where, say) for field in fields], where, options, say)


def _header(line: str, name: str, options: NoteOptions) -> tuple[str, tuple[str, ...]]:
    where = f"{name}:1"
    wanted = options.columns.get("text", "text").lower()
    for delimiter in _DELIMITERS:
        header = tuple(field.strip().lower() for field in next(csv.reader([line], delimiter=delimiter)))
        if wanted in header:
            read = {*FIELDS, *(column.lower() for column in options.columns.values())}
            twice = sorted({field for field in header if field in read and header.count(field) > 1})
            if twice:
                raise NoteError(f"{where}: the column `{twice[0]}` is there twice")
            refuse_columns(header, where, options)
            return delimiter, header
    refuse_columns((), where, options)
    raise NoteError(f"{where}: names no columns")


def _repaired(value: str, where: str, say: Saying) -> str:
    """A field whose bytes were not UTF-8 and can be Windows-1252, read as that."""
    if not _UNDECODED.search(value):
        return value
    data = value.encode("utf-8", "surrogateescape")
    if not looks_like_cp1252(data):
        return value
    say(where, "read as Windows-1252")
    return data.decode("cp1252")


def _csv_row(
    header: tuple[str, ...], fields: list[str], where: str, options: NoteOptions, say: Saying
) -> Note | RowError:
    lower = replace(options, columns={field: column.lower() for field, column in options.columns.items()})
    row = _mapped({key: value or None for key, value in zip(header, fields, strict=False)}, lower)
    note_id = where
    try:
        note_id = _id(row.get("id"), where)
        if len(fields) != len(header):
            # A comma or a line end outside quotes cuts the note: half a note must not pass for one.
            raise _RowRefusedError(f"has {len(fields)} fields and the header {len(header)}; is a note left unquoted?")
        return _note(row, note_id, options, lambda remark: say(where, remark))
    except _RowRefusedError as refused:
        return RowError(note_id, where, str(refused))


# ── one row ─────────────────────────────────────────────────────────────────────────────────────


def _note(row: Mapping[str, object], note_id: str, options: NoteOptions, say: Callable[[str], None] = unsaid) -> Note:
    codes = tuple(dict.fromkeys((_codes(row, "codes") or ()) + (_codes(row, "code") or ())))
    claim = _codes(row, "claim_codes")
    note = Note(
        id=note_id,
        text=_text(row, options.max_bytes),
        codes=codes or options.codes,
        claim_codes=options.claim_codes if claim is None else claim,
        setting=_setting(row.get("setting"), options.setting),
        metadata=_metadata(row, options, say),
    )
    day = _date(row.get("date_of_service"), options) or note.metadata.date or options.date_of_service
    return replace(note, date_of_service=day)


def _metadata(row: Mapping[str, object], options: NoteOptions, say: Callable[[str], None]) -> Metadata:
    """What a row says of its note; a value of another kind than text or a number is left alone."""
    said = {name: row.get(name) for name in SAID}
    plain = {name: " ".join(str(value).split()) for name, value in said.items() if _is_plain(value)}
    written = plain.get("date", "")
    day = _formatted(written, options.date_format) or iso_date(written)
    if written and not day:
        say("its `date` is not written as 2026-04-30 and was left out; --date-format says how it is written")
    return Metadata(**{**plain, "date": day})


def _formatted(value: str, date_format: str) -> str:
    """The day that `value` is in a format of `strptime`; "" when it is none."""
    if not date_format:
        return ""
    try:
        return date(*time.strptime(value, date_format)[:3]).isoformat()
    except ValueError:
        return ""


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and not _SURROGATE.search(str(value))


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
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        bad = _UNDECODED.search(text) or _SURROGATE.search(text)
        assert bad is not None  # nothing else keeps a text from being UTF-8
        raise _RowRefusedError(_not_text(bad)) from None
    if size > max_bytes:
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


def _date(value: object, options: NoteOptions) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and (found := _formatted(value.strip(), options.date_format)):
        return found
    # A time of day may follow, as databases write it.
    day = re.split("[T ]", value.strip())[0] if isinstance(value, str) else ""
    try:
        return date.fromisoformat(day).isoformat()
    except ValueError:
        raise _RowRefusedError("`date_of_service` is not a date written as 2026-04-30") from None
