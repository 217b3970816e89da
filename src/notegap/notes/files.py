"""A file or standard input, in any format → its `Note`s, and a `RowError` for each that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from notegap.errors import EmptyNoteError, NoteError
from notegap.model import Note
from notegap.notes.document import Document, RowError, unsaid
from notegap.notes.read import FILE_FACTOR, TEXT, read_documents, recognize
from notegap.notes.text import (
    STDIN,
    NoteOptions,
    cannot_read,
    printable,
    refuse_impossible_name,
    refuse_unreadable,
    stdin_bytes,
)


def read_file(
    source: str | Path,
    options: NoteOptions | None = None,
    *,
    note_id: str | None = None,
    say: Callable[[str], None] = unsaid,
) -> Iterator[Note | RowError]:
    """The notes of one file, or of standard input when `source` is "-", in order.

    The id of a file's only note is `note_id`, else the file's name, else "stdin"; each of several has its own, else the
    file's with its number ("visits.hl7#2"). `say` takes remarks ("read as Windows-1252"). Raises `EmptyNoteError` for a
    file that says nothing and `NoteError` when nothing in it can be read.
    """
    options = options or NoteOptions()
    where = "standard input" if source == STDIN else printable(str(source))
    name = note_id or ("stdin" if source == STDIN else printable(Path(source).name))
    yield from read_data(read_bytes(source, where, options), name, where, options, say=say)


def read_data(
    data: bytes, name: str, where: str, options: NoteOptions, *, say: Callable[[str], None] = unsaid
) -> Iterator[Note | RowError]:
    """The notes of a file's bytes, as `read_file` gives them: `name` is the id of an only note."""
    documents = read_documents(data, where, options.input_format, options.max_bytes, say)
    yield from numbered(documents, name, where, options)


def numbered(
    documents: Iterator[Document | RowError], name: str, where: str, options: NoteOptions
) -> Iterator[Note | RowError]:
    """Documents as notes: an only one is named as its file, one of several has its own id or the file's with a number.

    Raises `EmptyNoteError` when there is none.
    """
    first, second = next(documents, None), next(documents, None)
    if first is None:
        raise EmptyNoteError(f"{where}: nothing to read, there is no note in it")
    yield _row(first, name if second is None else f"{name}#1", options, only=second is None)
    if second is not None:
        yield _row(second, f"{name}#2", options)
        for number, document in enumerate(documents, start=3):
            yield _row(document, f"{name}#{number}", options)


def read_note(source: str | Path, options: NoteOptions | None = None, *, say: Callable[[str], None] = unsaid) -> Note:
    """The one note of a file; see `read_file`. Raises `NoteError` when the file holds more than one."""
    rows = list(islice(read_file(source, options, say=say), 2))
    if isinstance(rows[0], Note) and len(rows) == 1:
        return rows[0]
    where = "standard input" if source == STDIN else printable(str(source))
    if isinstance(rows[0], RowError) and len(rows) == 1:
        raise NoteError(f"{where}: {rows[0].message}")
    raise NoteError(f"{where}: holds more than one note; one is read here")


def read_bytes(source: str | Path, where: str, options: NoteOptions) -> bytes:
    """A file's bytes; no more than tell that it is too long for its format."""
    if source == STDIN:
        return _bytes_of(stdin_bytes(), options)
    path = Path(source)
    refuse_impossible_name(path)
    try:
        refuse_unreadable(path, where)
        with path.open("rb") as file:
            return _bytes_of(file, options)
    except OSError as error:
        raise cannot_read(where, error) from None


def _bytes_of(file: BinaryIO, options: NoteOptions) -> bytes:
    return bytes_of(file, options.input_format, options.max_bytes)


def bytes_of(file: BinaryIO, input_format: str | None, max_bytes: int) -> bytes:
    """The bytes of an open file; no more than tell that it is too long for its format."""
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes and (input_format or recognize(data)) != TEXT:
        data += file.read(max_bytes * (FILE_FACTOR - 1))
    return data


def _row(document: Document | RowError, name: str, options: NoteOptions, *, only: bool = False) -> Note | RowError:
    own_id = name if only else document.id or name
    if isinstance(document, RowError):
        return RowError(own_id, document.where, document.message)
    return note_of(document, own_id, options)


def note_of(document: Document, note_id: str, options: NoteOptions) -> Note:
    """A document as a note: what it leaves open is taken from `options`."""
    return Note(
        id=note_id,
        text=document.text,
        codes=options.codes,
        claim_codes=options.claim_codes,
        setting=options.setting,
        date_of_service=document.metadata.date or options.date_of_service,
        metadata=document.metadata,
        parts=document.parts,
    )
