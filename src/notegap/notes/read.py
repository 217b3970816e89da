"""Bytes of any format → `Document`s: the format is recognised by content, its reader loaded when it is first needed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from itertools import chain
from types import MappingProxyType
from typing import Any, cast

from notegap.errors import EmptyNoteError, NoteError
from notegap.notes.document import Document, Reader, RowError, Source, unsaid
from notegap.notes.text import MARKS, MAX_BYTES, decode, says_nothing, too_long

TEXT = "text"
"""Plain text: what is recognised as nothing else."""

READERS: Mapping[str, str] = MappingProxyType(
    {
        "rtf": "notegap.notes.rtf",
        "html": "notegap.notes.html",
        "docx": "notegap.notes.docx",
        "pdf": "notegap.notes.pdf",
        "ccda": "notegap.notes.ccda",
        "hl7v2": "notegap.notes.hl7v2",
        "fhir": "notegap.notes.fhir",
    }
)
"""The formats beside plain text; each module has `read(source)`. They need the packages of `notegap[formats]`."""

FORMATS = (TEXT, *READERS)
"""The names that `--input-format` takes."""

TABLES = ("jsonl", "csv", "parquet")
"""The formats of tables, which `--input-format` takes where many notes are read."""

FILE_FACTOR = 64
"""How many times the longest note a file may be that holds more than a note's text: pictures, markup, many notes."""

_NOTHING_IN_FRONT = re.compile(rb"[\x0b\s]*")
_HL7 = re.compile(rb"(?:MSH|FHS|BHS)([^A-Za-z0-9\s])[^A-Za-z0-9\s]{2,5}\1")
_FHIR = re.compile(rb'"resourceType"\s*:')
_HTML = re.compile(
    rb"<(?:!doctype\s+html|(?:html|head|body|div|p|span|table|h[1-6]|br|b|i|u|ul|ol|pre|font|center|strong|em)[\s/>])",
    re.IGNORECASE,
)
_ROOT = re.compile(rb"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")
_CDA_ROOTS = (b"ClinicalDocument", b"section")


def recognize(data: bytes) -> str:
    """The format of `data`, by its content: one of `FORMATS`, "xml" for XML that is neither C-CDA nor HTML."""
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(b"PK\x03\x04") and b"word/document.xml" in data:
        return "docx"
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), None)
    head = data.removeprefix(b"\xef\xbb\xbf")
    if encoding is not None:
        head = data.decode(encoding, "replace").encode()
    head = head[cast(re.Match[bytes], _NOTHING_IN_FRONT.match(head)).end() :]
    if head.startswith(b"{\\rtf"):
        return "rtf"
    if _HL7.match(head):
        return "hl7v2"
    if head.startswith(b"{") and _FHIR.search(head):
        return "fhir"
    return _markup(head) if head.startswith(b"<") else TEXT


def _markup(head: bytes) -> str:
    declared = head.startswith(b"<?xml")
    at = past_prolog(head)
    if _HTML.match(head, at):
        return "html"
    root = _ROOT.match(head, at)
    if root and root[1] in _CDA_ROOTS and (declared or b"</" in head):
        return "ccda"
    # A doctype of another name is XML too; "<HOSPITAL NAME>" over a note is not.
    return "xml" if declared or head[at:].startswith(b"<!DOCTYPE") else TEXT


def past_prolog(data: bytes) -> int:
    """Where the declaration, the comments and the instructions before an XML document's root or doctype end."""
    at = 0
    while True:
        while data[at : at + 1].isspace():
            at += 1
        closing = next((end for start, end in ((b"<?", b"?>"), (b"<!--", b"-->")) if data.startswith(start, at)), None)
        if closing is None:
            return at
        end = data.find(closing, at)
        if end < 0:
            return at
        at = end + len(closing)


def read_documents(
    data: bytes,
    where: str,
    format: str | None = None,  # noqa: A002 - what it is
    max_bytes: int = MAX_BYTES,
    say: Callable[[str], None] = unsaid,
    *,
    binaries: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Iterator[Document | RowError]:
    """The documents of a file, in order, each one's text no longer than `max_bytes`.

    `where` names the file in what is raised, `format` (one of `FORMATS`) overrides what its content shows, `binaries`
    are the FHIR resources that its documents' addresses may mean. Raises
    `NoteError` when the file as a whole cannot be read; a document of many that cannot is a `RowError` in its place.
    """
    source = Source(data=data, where=where, max_bytes=max_bytes, say=say, binaries=binaries)
    return _read(source, format or recognize(data))


def read_one(source: Source, media_type: str = "") -> Document:
    """The one document that `source` holds, as an attachment does: by its content, else by its media type."""
    name = recognize(source.data)
    if name == TEXT:
        name = "html" if "html" in media_type.lower() else TEXT
    found = list(_read(source, name))
    if len(found) != 1:
        raise NoteError(f"{source.where}: an attachment holds {len(found)} documents, not one")
    if isinstance(found[0], RowError):
        raise NoteError(f"{source.where}: {found[0].message}")
    return found[0]


def _read(source: Source, name: str) -> Iterator[Document | RowError]:
    if name == TEXT:
        return iter((_plain(source),))
    if name == "xml":
        raise NoteError(f"{source.where}: is XML, neither a C-CDA document nor HTML; FHIR is read as JSON")
    if len(source.data) > source.max_bytes * FILE_FACTOR:
        raise NoteError(too_long(source.where, source.max_bytes * FILE_FACTOR))
    return _checked(_reader(name, source.where)(source), source)


def _plain(source: Source) -> Document:
    return Document(
        decode(
            source.data,
            where=source.where,
            max_bytes=source.max_bytes,
            charset=source.charset,
            say=source.say,
        )
    )


def _reader(name: str, where: str) -> Reader:
    try:
        module = import_module(READERS[name])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("notegap"):
            raise
        missing = error.name
    else:
        return cast(Reader, module.read)
    raise NoteError(f"{where}: reading {name} needs the package {missing}: pip install 'notegap[formats]'")


def _checked(found: Iterator[Document | RowError], source: Source) -> Iterator[Document | RowError]:
    """Refuse documents without text and those that are too long: the file when it holds one, else that one of many."""
    first, second = next(found, None), next(found, None)
    if first is None:
        return
    if second is None:
        problem = _problem(first, source)
        if problem is not None:
            raise problem
        yield first
        return
    for number, document in enumerate(chain((first, second), found), start=1):
        problem = None if isinstance(document, RowError) else _problem(document, source)
        if problem is None:
            yield document
        else:
            yield RowError(document.id, f"{source.where}#{number}", str(problem).removeprefix(f"{source.where}: "))


def _problem(document: Document | RowError, source: Source) -> NoteError | None:
    if isinstance(document, RowError):
        return NoteError(f"{source.where}: {document.message}")
    if says_nothing(document.text):
        return EmptyNoteError(f"{source.where}: nothing to read, the note is empty")
    if len(document.text.encode()) > source.max_bytes:
        return NoteError(too_long(source.where, source.max_bytes))
    return None
