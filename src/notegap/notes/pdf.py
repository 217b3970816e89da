"""PDF with text: page by page. A scan has none, and that is said."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import count

from pypdf import PdfReader
from pypdf.errors import DependencyError, PyPdfError

from notegap.errors import NoteError
from notegap.notes.document import Document, Source, Writer

# Its warnings may quote what it reads.
logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)

# A note of a hundred pages has a third of it; forms that call forms can have as many as they like.
_MOST_OPERATIONS = 300_000
# What pypdf raises on damaged files beside its own errors.
_DAMAGE = (
    PyPdfError, AttributeError, AssertionError, IndexError, KeyError, LookupError, NotImplementedError, OverflowError,
    RecursionError, TypeError, ValueError, ZeroDivisionError, struct.error, zlib.error,
)  # fmt: skip


def read(source: Source) -> Iterator[Document]:
    """The one document the file is; its pages are its parts."""
    reader = _open(source)
    writer = Writer()
    size = 0
    watch = _watch(source.where)
    for number in range(1, _pages(reader, source.where) + 1):
        text = _page(reader, number, source.where, watch)
        size += len(text)
        writer.open("page", id=str(number))
        writer.write_lines(text)
        writer.end_line()
        writer.close()
        if size > source.max_bytes:
            break  # too long already; what follows would only take time
    document = writer.document()
    if not document.text.strip():
        raise NoteError(f"{source.where}: is a PDF without text (a scan or a picture); give its text, from OCR for one")
    yield document


def _open(source: Source) -> PdfReader:
    try:
        reader = PdfReader(io.BytesIO(source.data))
        # Many are locked against changes only, which the empty password opens.
        locked = reader.is_encrypted and not reader.decrypt("")
    except DependencyError:
        locked = True
    except _DAMAGE:
        raise _damaged(source.where) from None
    if locked:
        raise NoteError(f"{source.where}: is an encrypted PDF; save it without its password")
    return reader


def _pages(reader: PdfReader, where: str) -> int:
    try:
        return len(reader.pages)
    except _DAMAGE:
        raise _damaged(where) from None


def _watch(where: str) -> Callable[..., None]:
    """What pypdf calls before each drawing operation of a page; raises when there are too many."""
    counted = count(1)

    def before(*_: object) -> None:
        if next(counted) > _MOST_OPERATIONS:
            raise NoteError(f"{where}: draws its pages with more than {_MOST_OPERATIONS:,} operations, the limit")

    return before


def _page(reader: PdfReader, number: int, where: str, watch: Callable[..., None]) -> str:
    try:
        return reader.pages[number - 1].extract_text(visitor_operand_before=watch)
    except _DAMAGE:
        raise _damaged(f"{where}: page {number}") from None


def _damaged(where: str) -> NoteError:
    return NoteError(f"{where}: is a damaged PDF; save it again")
