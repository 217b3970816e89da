"""Word documents (.docx): the body's paragraphs and tables in order, as the reader of the final version sees them."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator

import docx
from docx.document import Document as WordDocument
from docx.opc.exceptions import OpcError
from lxml import etree

from notegap.errors import NoteError
from notegap.notes.document import Document, Source, Writer
from notegap.notes.read import FILE_FACTOR

_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# What a tracked change took out, and what a field shows only to Word.
_UNSEEN = frozenset((*(f"{_WORD}{name}" for name in ("del", "moveFrom", "instrText", "delText")), _FALLBACK))
_HIDING = tuple(f"{_WORD}{name}" for name in ("vanish", "strike", "dstrike"))
_HEADING = re.compile(r"(?:heading|title)\b", re.IGNORECASE)


def read(source: Source) -> Iterator[Document]:
    """The one document the file is; headers, footers and comments are left out."""
    word = _open(source)
    writer = Writer()
    _write(word.element.body, writer, _headings(word))
    yield writer.document()


def _open(source: Source) -> WordDocument:
    limit = source.max_bytes * FILE_FACTOR
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        too_big = unpacked > limit
        word = None if too_big else docx.Document(io.BytesIO(source.data))
    except (OpcError, zipfile.BadZipFile, zlib.error, etree.XMLSyntaxError, KeyError, ValueError, NotImplementedError,
            EOFError, AttributeError, RuntimeError):  # fmt: skip
        # What python-docx, and zip under it, raise on damaged, locked and made-up files; it may quote them.
        raise NoteError(f"{source.where}: is a damaged or locked Word document; save it again") from None
    if word is None:
        raise NoteError(f"{source.where}: unpacks to more than {limit:,} bytes, the limit")
    return word


def _headings(word: WordDocument) -> frozenset[str]:
    """The ids of the styles that headings have."""
    return frozenset(style.style_id for style in word.styles if style.name and _HEADING.match(style.name))


def _write(element: etree._Element, writer: Writer, headings: frozenset[str]) -> None:
    for child in element:
        tag = child.tag
        if tag in _UNSEEN:
            continue
        if tag == f"{_WORD}p":
            _write_paragraph(child, writer, headings)
        elif tag == f"{_WORD}tc":
            _write(child, writer, headings)
            writer.end_cell()
        elif tag == f"{_WORD}tr":
            writer.end_line()
            _write(child, writer, headings)
            writer.end_line()
        else:
            # Tables, content controls, text boxes, tracked insertions: what stands inside.
            _write(child, writer, headings)


def _write_paragraph(paragraph: etree._Element, writer: Writer, headings: frozenset[str]) -> None:
    style = paragraph.find(f"{_WORD}pPr/{_WORD}pStyle")
    in_cell = next(paragraph.iterancestors(f"{_WORD}tc"), None) is not None
    before = paragraph.getprevious()
    first = before is None or before.tag != f"{_WORD}p"
    if not (in_cell and first):
        writer.end_line()
    text = "".join(_texts(paragraph))
    if style is not None and style.get(f"{_WORD}val") in headings and not in_cell:
        writer.heading(text)
        return
    if paragraph.find(f"{_WORD}pPr/{_WORD}numPr") is not None:
        writer.begin_item("-")
    writer.write_lines(text)
    writer.begin_item("")
    for box in paragraph.iter(f"{_WORD}txbxContent"):
        # Its own only: a box in a box comes with the box's paragraph.
        around = next(box.iterancestors(f"{_WORD}p"), None)
        if around is paragraph and not any(True for _ in box.iterancestors(_FALLBACK)):
            writer.end_line()
            _write(box, writer, headings)
    if not in_cell:
        writer.end_line()


def _texts(element: etree._Element) -> Iterator[str]:
    for child in element:
        tag = child.tag
        if tag in _UNSEEN or tag == f"{_WORD}txbxContent":
            continue
        if tag == f"{_WORD}r" and _is_hidden(child):
            continue
        if tag == f"{_WORD}t":
            yield child.text or ""
        elif tag in (f"{_WORD}tab", f"{_WORD}ptab"):
            yield "" if element.tag == f"{_WORD}tabs" else "\t"
        elif tag in (f"{_WORD}br", f"{_WORD}cr"):
            yield "\n"
        elif tag == f"{_WORD}noBreakHyphen":
            yield "-"
        else:
            yield from _texts(child)


def _is_hidden(run: etree._Element) -> bool:
    properties = run.find(f"{_WORD}rPr")
    marks = [] if properties is None else [properties.find(name) for name in _HIDING]
    return any(mark is not None and mark.get(f"{_WORD}val") not in ("0", "false", "off") for mark in marks)
