"""Whatever notes come in: files, folders, archives, tables, databases, standard input → rows, one at a time, in order.

The format is recognised by content, unless `input_format` says it; a name's ending decides only among tables, whose
content is text. Memory is bounded by the longest note, or the longest file of a format that is read as a whole.
"""

from __future__ import annotations

import io
import json
import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from zipfile import ZipFile

from notegap.errors import NoteError, NotegapError, UsageError
from notegap.model import Note
from notegap.notes.bulk import Bulk, is_neighbour
from notegap.notes.document import NO_DOCUMENT, Document, RowError
from notegap.notes.files import bytes_of, numbered, read_data
from notegap.notes.limit import TooLongError, time_limit
from notegap.notes.packed import (
    DEEPEST,
    GZIP,
    ZIP,
    Budget,
    Counted,
    gunzipped,
    is_document,
    member,
    members,
    opened,
    spooled,
    visible,
)
from notegap.notes.read import FILE_FACTOR, TABLES, TEXT, read_documents, recognize
from notegap.notes.sql import name_of, read_query
from notegap.notes.table import NoTextError, Saying, read_csv, read_json_lines, unsaid_of
from notegap.notes.text import (
    MARKS,
    STDIN,
    NoteOptions,
    cannot_read,
    no_such,
    printable,
    refuse_impossible_name,
    stdin_bytes,
)

_LEFT_OUT = "left out: of no format that is read; plain text has to be named .txt"
_NO_TEXTS = "left out: a table without a column for the texts of notes"
_NO_DOCUMENT = "left out: holds no DocumentReference"
_NO_FILE = "left out: no regular file"
# A checksum, the name, and a small number of eight bytes: a note may well begin with "Patient DUCK, ...".
_DUCKDB = re.compile(rb".{8}DUCK..\0{6}", re.DOTALL)
_SQLITE = b"SQLite format 3\0"
_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
_PARQUET = b"PAR1"
_SLOW = frozenset({".pdf", ".docx", ".rtf", ".html", ".htm", ".xml"})
"""The endings of files that take as long to read as a note takes to be analyzed."""
_AHEAD = 32
_HEAD = 65_536
_PIECE = 1024 * 1024
_STDIN = "standard input"
_COLUMN = re.compile(r"[\w .-]{1,64}")

_Found = Iterator[tuple[str, Note | RowError]]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the input: its number, counted from 1 over all of it, the file it stands in, and what was read."""

    number: int
    source: str
    note: Note | RowError


def _nothing(_code: str) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class FileRows:
    """What was read of one file: sources and rows, remarks and where they belong, how many bytes it took."""

    found: tuple[tuple[str, Note | RowError], ...] = field(repr=False)
    remarks: tuple[tuple[str, str], ...] = ()
    size: int = 0


Elsewhere = Callable[[], FileRows]
"""Waits for what is read of a file in another process."""
Reader = Callable[[str, str, str, NoteOptions], Elsewhere]
"""Begins to read a file there: its path, its name in its folder, where it stands, what is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How inputs are read beside what is asked of their notes.

    `query` is put to an input that is a database. `timeout`: seconds for a file that is read as a whole. `covers` tells
    the codes that can be checked, of those that a FHIR export has beside its documents. `skip` are files that are not
    read when they stand in a folder: what the audit itself writes. `elsewhere` gives what reads a folder's files in
    another process, once there is one. `took` is told how many bytes were read.
    """

    query: str = ""
    timeout: float | None = None
    covers: Callable[[str], bool] = _nothing
    skip: frozenset[Path] = frozenset()
    elsewhere: Callable[[], Reader | None] = field(default=lambda: None)
    took: Callable[[int], None] = field(default=lambda _bytes: None)


def read_notes(
    source: str | Path, options: NoteOptions | None = None, say: Saying = unsaid_of
) -> Iterator[Note | RowError]:
    """The notes of a folder, of a file of any format, or of standard input ("-": JSON Lines unless its content says).

    What a row leaves open (codes, claim, setting, date) is taken from `options`.
    Raises `NoteError` when the input cannot be read at all, `UsageError` when it is of no kind that is known.
    """
    return (note for _, note in _source(source, options or NoteOptions(), How(), say))


def read_rows(
    sources: Sequence[str], options: NoteOptions, how: How | None = None, say: Saying = unsaid_of
) -> Iterator[Row]:
    """The rows of several inputs, one after another.

    One that cannot be read at all is a row in its place, unless it is the only input: then `NoteError` or `UsageError`
    is raised.
    """
    number = 0
    for source in sources:
        started = False
        try:
            for name, note in _source(source, options, how or How(), say):
                started = True
                number += 1
                yield Row(number, name, note)
        except (NoteError, UsageError) as error:
            if len(sources) == 1 and not started:
                raise
            number += 1
            name = _name(source)
            where = _STDIN if source == STDIN else printable(source)
            yield Row(number, name, RowError(name, where, _without(str(error), where, name)))


def size_of(sources: Sequence[str], *, query: str = "") -> int | None:
    """The bytes of all inputs; None where that cannot be said before they are read."""
    if query or STDIN in sources:
        return None
    total = 0
    for path in map(Path, sources):
        files = [path] if path.is_file() else (parent / name for parent, names in _walked(path, "") for name in names)
        for file in files:
            with suppress(OSError):
                total += file.stat().st_size
    return total


def _name(source: str) -> str:
    if source == STDIN:
        return "stdin"
    return name_of(source) if "://" in source else printable(Path(source).name)


def _without(message: str, *places: str) -> str:
    for place in places:
        message = message.removeprefix(f"{place}: ")
    return message


def _source(source: str | Path, options: NoteOptions, how: How, say: Saying) -> _Found:
    if how.query:
        name = name_of(str(source))
        return ((name, note) for note in read_query(str(source), how.query, options, say))
    if isinstance(source, str) and "://" in source:
        raise UsageError(f"{name_of(source)}: a database's URL needs --query, which says what to read")
    if source == STDIN:
        return _standard_input(options, how, say)
    path = Path(source)
    where = printable(str(source))
    if _is_folder(path, where):
        return _folder(path, where, options, how, say)
    name = printable(path.name)
    neighbours = _Neighbours(path.parent, how.covers)
    return _opened(path, _Here(name, name, where, _ending(name), options, how, say, neighbours, tables=True))


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


def _folder(folder: Path, where: str, options: NoteOptions, how: How, say: Saying) -> _Found:
    """The rows of a folder's files; some may be read elsewhere while those before them are worked on."""
    waiting: deque[_Found | Elsewhere] = deque()
    for path, here, problem in _files(folder, where, options, how, say):
        if problem is not None:
            waiting.append(iter([here.failed(problem)]))
            continue
        reader = how.elsewhere() if here.ending in _SLOW else None
        waiting.append(reader(path, here.id, here.where, options) if reader is not None else _file(path, here))
        if len(waiting) > _AHEAD or not any(map(callable, waiting)):
            yield from _awaited(waiting.popleft(), how, say)
    while waiting:
        yield from _awaited(waiting.popleft(), how, say)


def _awaited(found: _Found | Elsewhere, how: How, say: Saying) -> _Found:
    if not callable(found):
        yield from found
        return
    read = found()
    how.took(read.size)
    for where, remark in read.remarks:
        say(where, remark)
    yield from read.found


def read_file_rows(path: str, own: str, where: str, options: NoteOptions, timeout: float | None) -> FileRows:
    """The rows of one file of a folder, for whoever reads it elsewhere; `own` is its name in the folder."""
    remarks: list[tuple[str, str]] = []
    sizes: list[int] = []
    how = How(timeout=timeout, took=sizes.append)
    here = _Here(own, own, where, _ending(path), options, how, lambda *remark: remarks.append(remark))
    found = tuple(_file(path, here))
    return FileRows(found, tuple(remarks), sum(sizes))


def _file(path: str, here: _Here) -> _Found:
    try:
        if _is_special(path):
            here.told(_NO_FILE)
        else:
            yield from _opened(path, here)
    except NoteError as error:
        yield here.failed(error)


def _files(
    folder: Path, where: str, options: NoteOptions, how: How, say: Saying
) -> Iterator[tuple[str, _Here, NoteError | None]]:
    """Each file of a folder that the audit does not write itself, and its place; a folder in it that cannot be read."""
    ours = {path.name for path in how.skip}
    shut: list[OSError] = []

    def refused() -> Iterator[tuple[str, _Here, NoteError]]:
        for error in shut:
            path = str(error.filename)
            own, shown = printable(Path(path).relative_to(folder).as_posix()), printable(path)
            yield path, _Here(own, own, shown, "", options, how, say), cannot_read(shown, error)
        shut.clear()

    for parent, names in _walked(folder, where, shut.append):
        yield from refused()
        neighbours = _Neighbours(parent, how.covers)
        before, shown = ("" if parent == folder else f"{parent.relative_to(folder).as_posix()}/"), f"{parent}{os.sep}"
        for name in names:
            if name in ours and (parent / name).resolve() in how.skip:
                continue
            own, path = printable(before + name), shown + name
            yield path, _Here(own, own, printable(path), _ending(name), options, how, say, neighbours), None
    yield from refused()


def _ending(name: str) -> str:
    """The suffix of a file's name; ".txt" in ".txt" is none."""
    before, dot, ending = name.rpartition(".")
    return f".{ending.lower()}" if dot and before.rpartition("/")[2] else ""


def _is_special(path: str) -> bool:
    """Whether a pipe or a device is there, of which nobody knows when it ends."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - a folder may have 100,000
    except OSError:
        return False  # told when it is opened


def _walked(
    folder: Path, where: str, refused: Callable[[OSError], None] = lambda _error: None
) -> Iterator[tuple[Path, list[str]]]:
    """Each folder and the names of what is in it but folders, sorted; hidden ones are left out, links not followed.

    `refused` is told of a folder in it that cannot be read. Raises `NoteError` when that is `folder` itself.
    """

    def failed(error: OSError) -> None:
        if error.filename == str(folder):
            raise cannot_read(printable(where or str(folder)), error) from None
        refused(error)

    for parent, folders, names in os.walk(folder, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(parent), sorted(name for name in names if not name.startswith("."))


def _standard_input(options: NoteOptions, how: How, say: Saying) -> _Found:
    file = cast(BinaryIO, io.BufferedReader(_Told(stdin_bytes(), budget := Budget(), how.took), _HEAD))
    here = _Here("stdin", "stdin", _STDIN, "", options, how, say, tables=True, budget=budget)
    asked = options.input_format
    head = cast(io.BufferedReader, file).peek(_HEAD)
    if asked in TABLES or head.startswith((GZIP, *ZIP, _PARQUET)):
        return _of_stream(file, here)
    if asked is None and recognize(head) in (TEXT, "fhir", "xml"):
        if _table_in(head, options) == "csv":
            return _named(read_csv(cast(io.BufferedReader, file), "stdin", options, say), here)
        return _named(read_json_lines(file, "stdin", options, say), here)
    return _document_file(file, here)


# ── a stream, whatever it is ────────────────────────────────────────────────────────────────────


class _Neighbours:
    """What stands in a folder beside its documents, read when it is first asked for."""

    def __init__(self, folder: Path, covers: Callable[[str], bool]) -> None:
        self._folder = folder
        self._covers = covers

    @cached_property
    def bulk(self) -> Bulk | None:
        """None where nothing stands beside them."""
        with os.scandir(self._folder) as entries:
            found = any(is_neighbour(entry.name) for entry in entries)
        return Bulk(self._folder, self._covers) if found else None


@dataclass(frozen=True, slots=True)
class _Here:
    """A stream's place: the id its only note has, its file's name, where it stands, and how it is to be read.

    `neighbours` is what stands beside it. `tables`: it was named itself, so that a table has to be one of notes;
    in a folder one that is not is left out. `depth` counts the archives around it, `budget` what may come out of them.
    """

    id: str
    source: str
    where: str
    ending: str
    options: NoteOptions
    how: How
    say: Saying
    neighbours: _Neighbours | None = None
    tables: bool = False
    depth: int = 0
    budget: Budget = field(default_factory=Budget)

    def inside(self, name: str = "") -> _Here:
        """The place of what is compressed in this one: a file of this name, or without one the file itself."""
        if self.depth == DEEPEST:
            raise NoteError(f"{self.where}: holds archives inside archives, more than {DEEPEST} deep")
        if not name:
            return replace(self, ending=_ending(self.source.removesuffix(".gz")), depth=self.depth + 1)
        return replace(
            self,
            # The files of an archive that was named itself are named as those of a folder.
            id=name if self.tables and not self.depth else f"{self.id}/{name}",
            source=f"{self.source}/{name}",
            where=f"{self.where}/{name}",
            ending=_ending(name),
            depth=self.depth + 1,
            neighbours=None,
        )

    def failed(self, error: NotegapError) -> tuple[str, RowError]:
        """What stands in the place of its rows when it cannot be read."""
        return self.source, RowError(self.id, self.where, _without(str(error), self.where, self.source))

    def told(self, remark: str) -> None:
        """Pass a remark on with this place."""
        self.say(self.where, remark)


class _Told(Counted):
    """A counted file that tells somebody else too."""

    def __init__(self, file: BinaryIO, budget: Budget, took: Callable[[int], None]) -> None:
        super().__init__(file, budget)
        self._took = took

    def readinto(self, buffer: object) -> int:
        """Fill a buffer, count and tell."""
        size = super().readinto(buffer)
        self._took(size)
        return size


def _opened(path: str | Path, here: _Here) -> _Found:
    """A file's rows. What is wrong with it as a whole is raised at once."""
    try:
        file = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115 - closed by who reads it
    except OSError as error:
        raise cannot_read(here.where, error) from None
    return _closing(io.BufferedReader(_Told(cast(BinaryIO, file), here.budget, here.how.took), _HEAD), here)


def _closing(file: io.BufferedReader, here: _Here) -> _Found:
    try:
        found = _of_stream(cast(BinaryIO, file), here)
    except OSError as error:
        file.close()
        raise cannot_read(here.where, error) from None
    except BaseException:
        file.close()
        raise
    return _until_closed(file, found, here)


def _until_closed(file: IO[bytes], found: _Found, here: _Here) -> _Found:
    with file:
        try:
            yield from found
        except OSError as error:
            raise cannot_read(here.where, error) from None


def _of_stream(file: BinaryIO, here: _Here) -> _Found:
    head = cast(io.BufferedReader, file).peek(_HEAD)
    asked = here.options.input_format
    if _DUCKDB.match(head):
        raise NoteError(f"{here.where}: is a DuckDB file; --query says which of its notes to read")
    if head.startswith(_SQLITE):
        raise NoteError(f"{here.where}: is an SQLite database; give its URL (sqlite:///FILE) and a --query")
    if head.startswith(GZIP):
        inner = here.inside()
        return _of_stream(gunzipped(file, here.budget, here.where), inner)
    if head.startswith(ZIP):
        return _zipped(file, here)
    kind = asked or ("parquet" if head.startswith(_PARQUET) else _ENDINGS.get(here.ending, ""))
    if kind == "jsonl" and not here.tables and not asked and recognize(head) == "fhir":
        return _export(file, here)
    if kind in TABLES and not here.tables and not asked:
        return _table_among_others(file, here, kind, head)
    if kind in TABLES:
        return _table(file, here, kind, head)
    return _document_file(file, here)


def _table(file: BinaryIO, here: _Here, kind: str, head: bytes) -> _Found:
    if kind == "csv":
        return _named(read_csv(cast(io.BufferedReader, file), here.source, here.options, here.say), here)
    if kind == "jsonl":
        fhir = b'"resourceType"' in head and here.neighbours is not None
        bulk = here.neighbours.bulk if fhir and here.neighbours is not None else None
        return _named(read_json_lines(file, here.source, here.options, here.say, bulk), here)
    try:
        module = import_module("notegap.notes.parquet")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("notegap"):
            raise
        missing = error.name
    else:
        copy = spooled(file, here.where)
        return _until_closed(copy, _named(module.read(copy, here.source, here.options, here.say), here), here)
    raise NoteError(f"{here.where}: reading Parquet needs the package {missing}: pip install 'notegap[audit]'")


def _table_among_others(file: BinaryIO, here: _Here, kind: str, head: bytes) -> _Found:
    """A table in a folder, which may be one of notes: one that has no texts is left out, and that is said."""
    try:
        if kind == "jsonl" and not _may_have_texts(head, here.options):
            raise NoTextError
        yield from _table(file, here, kind, head)
    except NoTextError:
        here.told(_NO_TEXTS)


def _may_have_texts(head: bytes, options: NoteOptions) -> bool:
    """Whether the first line is a row with a text, or one of which that cannot be told."""
    row = _parses(_in_utf8(head).removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")[0])
    return not isinstance(row, dict) or options.columns.get("text", "text") in row


def _named(notes: Iterable[Note | RowError], here: _Here) -> _Found:
    return ((here.source, note) for note in notes)


def _zipped(file: BinaryIO, here: _Here) -> _Found:
    copy = spooled(file, here.where)
    try:
        if not here.depth:
            here.budget.known(copy.seek(0, io.SEEK_END))
            copy.seek(0)
        archive = opened(copy, here.where)
        if is_document(archive):
            copy.seek(0)
            found = _document_file(copy, here)
        else:
            found = _members(archive, here)
    except BaseException:
        copy.close()
        raise
    return _until_closed(copy, found, here)


def _members(archive: ZipFile, here: _Here) -> _Found:
    for entry in members(archive):
        inner = here.inside(visible(entry.filename))
        try:
            yield from _closing(cast(io.BufferedReader, member(archive, entry, here.budget, inner.where)), inner)
        except NoteError as error:
            yield inner.failed(error)
            if here.budget.spent:
                return


# ── documents ───────────────────────────────────────────────────────────────────────────────────


def _document_file(file: BinaryIO, here: _Here) -> _Found:
    """A file of a format that is read as a whole; only one of many documents may be longer than that."""
    options = here.options
    data = bytes_of(file, options.input_format, options.max_bytes)
    kind = options.input_format or recognize(data)
    named = here.ending == ".txt" or options.input_format is not None or (here.where == _STDIN and not here.depth)
    if kind in (TEXT, "xml") and not named:
        table = _table_in(data, options) if here.tables and kind == TEXT else ""
        if table:
            return _table(_again(data, file), here, table, data[:_HEAD])
        if not here.tables or here.depth:
            here.told(_LEFT_OUT)
            return iter(())
        if kind == TEXT:
            raise _of_no_kind(here)
    if len(data) > options.max_bytes * (FILE_FACTOR - 1) and kind in ("hl7v2", "fhir"):
        if kind == "hl7v2":
            return _in_place(numbered(_messages(_again(data, file), here), here.id, here.where, options), here)
        if _parses(data[: _HEAD * 16].partition(b"\n")[0]):
            return _in_place(numbered(_resources(_again(data, file), here), here.id, here.where, options), here)
    return _whole(data, here)


def _of_no_kind(here: _Here) -> UsageError:
    if here.ending == ".json":
        return UsageError(f"{here.where}: is JSON, not FHIR; give JSON Lines, one note a line, in a file named .jsonl")
    return UsageError(
        f"{here.where}: is none of a folder, .txt, .jsonl, .csv, .tsv and the formats that are known by their content: "
        "RTF, HTML, .docx, PDF, C-CDA, HL7 v2, FHIR, Parquet, gzip, zip"
    )


def _whole(data: bytes, here: _Here) -> _Found:
    notes: list[Note | RowError] = []
    seconds = here.how.timeout
    try:
        with time_limit(seconds):
            notes.extend(read_data(data, here.id, here.where, here.options, say=here.told))
    except NoteError as error:
        notes.append(here.failed(error)[1])
    except TooLongError:
        notes.append(RowError(here.id, here.where, f"took longer than {seconds:g} seconds to read and was stopped"))
    return _named(notes, here)


def _in_place(notes: Iterator[Note | RowError], here: _Here) -> _Found:
    try:
        for note in notes:
            yield here.source, note
    except NoteError as error:
        yield here.failed(error)


def _again(data: bytes, file: BinaryIO) -> BinaryIO:
    """A stream from its beginning, of which `data` was read."""
    return cast(BinaryIO, io.BufferedReader(_Chained(io.BytesIO(data), file), _HEAD))


class _Chained(io.RawIOBase):
    def __init__(self, *files: BinaryIO) -> None:
        self._files = list(files)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        while self._files:
            data = self._files[0].read(len(view))
            if data:
                view[: len(data)] = data
                return len(data)
            self._files.pop(0)
        return 0


def _table_in(data: bytes, options: NoteOptions) -> str:
    """The kind of table that data without a telling name is: "jsonl", "csv", or "" for none."""
    text = options.columns.get("text", "text")
    line = _in_utf8(data[:_HEAD]).removeprefix(b"\xef\xbb\xbf").lstrip()[:_HEAD].partition(b"\n")[0].strip()
    if line.startswith(b"{"):
        row = _parses(line)
        return "jsonl" if isinstance(row, dict) and text in row else ""
    for delimiter in ",;\t":
        names = [name.strip().strip('"').lower() for name in line.decode("utf-8", "replace").split(delimiter)]
        if len(names) > 1 and text.lower() in names and all(_COLUMN.fullmatch(name) for name in names):
            return "csv"
    return ""


def _in_utf8(head: bytes) -> bytes:
    """The beginning of a file in UTF-8, whatever its mark says that it is."""
    encoding = next((encoding for mark, encoding in MARKS if head.startswith(mark)), None)
    return head if encoding is None else head.decode(encoding, "replace").encode()


def _parses(line: bytes) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


# ── files of many documents, however long ───────────────────────────────────────────────────────


def _export(file: BinaryIO, here: _Here) -> _Found:
    """A file of a FHIR bulk export in a folder; what stands beside the documents is read when they need it."""
    bulk = here.neighbours.bulk if here.neighbours is not None else None
    if bulk is not None and is_neighbour(Path(here.where).name):
        return
    documents = _resources(file, here, bulk)
    first = next(documents, None)
    if first is None:
        here.told(_NO_DOCUMENT)
        return
    for source, note in _in_place(numbered(chain((first,), documents), here.id, here.where, here.options), here):
        yield source, bulk.joined(note) if bulk is not None and isinstance(note, Note) else note


def _resources(file: BinaryIO, here: _Here, bulk: Bulk | None = None) -> Iterator[Document | RowError]:
    """The documents of FHIR resources that stand one a line."""
    limit = here.options.max_bytes * FILE_FACTOR
    binaries = bulk.binaries if bulk is not None else {}

    def say(remark: str) -> None:
        if remark != NO_DOCUMENT:  # most lines of an export have none
            here.told(remark)

    number = 0
    while line := file.readline(limit):
        number += 1
        where = f"{here.where}:{number}"
        if not line.endswith(b"\n") and len(line) == limit:
            while (rest := file.readline(limit)) and not rest.endswith(b"\n"):
                pass
            yield RowError("", where, f"the line is longer than {limit:,} bytes; --max-bytes raises the limit")
        elif line.strip():
            yield from _each(line, where, "fhir", here, say, binaries)


def _messages(file: BinaryIO, here: _Here) -> Iterator[Document | RowError]:
    """The documents of HL7 v2 messages that stand one after another."""
    from notegap.notes.hl7v2 import MESSAGE

    limit = here.options.max_bytes * FILE_FACTOR
    held, number = b"", 0
    while True:
        piece = file.read(_PIECE)
        held += piece
        starts = [match.end() for match in MESSAGE.finditer(held)]
        ends = starts[1:] if piece else [*starts[1:], len(held)]
        for start, end in zip(starts, ends, strict=False):
            number += 1
            yield from _each(held[start:end], f"{here.where}#{number}", "hl7v2", here, here.told, {})
        if not piece:
            return
        held = held[starts[-1] :] if starts else held
        if len(held) > limit:
            yield RowError("", f"{here.where}#{number + 1}", f"the message is longer than {limit:,} bytes")
            return


def _each(
    data: bytes,
    where: str,
    kind: str,
    here: _Here,
    say: Callable[[str], None],
    binaries: Mapping[str, Mapping[str, Any]],
) -> Iterator[Document | RowError]:
    try:
        yield from read_documents(data, where, kind, here.options.max_bytes, say, binaries=binaries)
    except NoteError as error:
        yield RowError("", where, _without(str(error), where))
