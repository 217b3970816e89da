"""What every reader gives: a document's text, what its file said of it, and where each stretch of it comes from."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from notegap.errors import NoteError
from notegap.model import Metadata, Part

_DEEPEST = 3
_SAYING = Callable[[str], None]


NO_DOCUMENT = "holds no DocumentReference, only other resources"
"""What is remarked of FHIR without a document."""


def unsaid(_remark: str) -> None:
    """Say nothing: for callers that have nobody to tell."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. `id` is its own, "" when it has none."""

    text: str = field(repr=False)
    id: str = ""
    metadata: Metadata = field(default=Metadata(), repr=False)
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that is no note: its id, where it stands ("export.csv:12") and what is wrong, no word of the note."""

    id: str
    where: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The bytes of one file or attachment, and what is known of them.

    `charset` is what was declared around them (a MIME type, MSH-18); `say` takes remarks ("read as Windows-1252");
    `depth` counts how often a document was found inside another; `binaries` are the FHIR resources, by their addresses,
    that stand elsewhere than in it.
    """

    data: bytes = field(repr=False)
    where: str
    max_bytes: int
    charset: str = ""
    say: _SAYING = field(default=unsaid, repr=False)
    depth: int = 0
    binaries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)

    def inside(self, data: bytes, charset: str = "") -> Source:
        """What was found inside: an attachment, an embedded document."""
        if self.depth == _DEEPEST:
            raise NoteError(f"{self.where}: holds documents inside documents, more than {_DEEPEST} deep")
        return Source(
            data=data,
            where=self.where,
            max_bytes=self.max_bytes,
            charset=charset,
            say=self.say,
            depth=self.depth + 1,
        )


Reader = Callable[[Source], Iterator[Document | RowError]]


def iso_date(value: str) -> str:
    """The day of a time as HL7 and FHIR write it ("20180118111520+0100", "2018-01-18T11:15"); "" when it is none."""
    found = re.match(r"\s*(\d{4})-?(\d{2})-?(\d{2})", value)
    if not found:
        return ""
    try:
        return date(*map(int, found.groups())).isoformat()
    except ValueError:
        return ""


def decode_base64(content: str, where: str) -> bytes:
    """The bytes of Base64, whatever white space stands in it."""
    try:
        return base64.b64decode(re.sub(r"\s+", "", content), validate=True)
    except (binascii.Error, ValueError):
        problem = f"{where}: what is embedded is not Base64; it is cut off or damaged"
    raise NoteError(problem)


class Writer:
    """Puts a document's text together, line by line, and keeps where each part of it begins and ends."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0
        self._end = 0  # behind the last character that is no line end
        self._bare = True  # nothing stands on the line yet
        self._space = False
        self._cells = 0
        self._bullet = ""
        self._open: list[Part] = []
        self._parts: list[Part] = []

    def write(self, text: str) -> None:
        """Add running text: white space is one space, and none at a line's ends."""
        words = text.split()
        if not words:
            self._space = self._space or bool(text)
            return
        if self._space or self._cells or text[0].isspace():
            self._gap()
        self._put(" ".join(words))
        self._space = text[-1].isspace()

    def write_lines(self, text: str) -> None:
        """Add text whose lines and spaces count; each line end becomes a newline."""
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text)):
            if number:
                self.break_line()
            if line.strip():
                if self._cells:
                    self._gap()
                self._put(line.rstrip())

    def end_line(self) -> None:
        """End the line if anything stands on it."""
        if not self._bare:
            self.break_line()
        self._space, self._cells = False, 0

    def break_line(self) -> None:
        """End the line even when it is empty; two empty lines never follow each other, and none comes first."""
        if self._length and not self._ends_in_empty_line():
            self._pieces.append("\n")
            self._length += 1
        self._bare, self._space, self._cells = True, False, 0

    def end_cell(self) -> None:
        """End a table's cell: what follows on the line stands behind a bar."""
        self._cells += 1
        self._space = False

    def end_label(self) -> None:
        """End the cell that says what the next one is."""
        if not self._bare:
            self._put(":")
        self._space = True

    def begin_item(self, bullet: str) -> None:
        """Begin a list's item; its bullet comes with its first word, "" for none."""
        self._bullet = bullet

    def heading(self, title: str) -> None:
        """A title on a line of its own, behind an empty line, in capitals and with a colon.

        So the reading knows it for a heading, whatever its words: an unknown title in capitals ends the section
        before it, in any other case it may be a label inside it. A title that is a sentence stays as it is.
        """
        title = " ".join(title.split())
        if title:
            self.end_line()
            self.break_line()
            self.write(title if title.endswith((".", "?", "!")) else f"{title.removesuffix(':')}:".upper())
            self.end_line()

    def open(self, kind: str, *, id: str = "", code: str = "", title: str = "") -> None:  # noqa: A002 - Part's name
        """Begin a part; it starts with the next character that is written."""
        self._open.append(Part(-1, -1, kind, id, code, title))

    def close(self) -> None:
        """End the part that was begun last; one that stayed empty is forgotten."""
        part = self._open.pop()
        if part.start >= 0:
            self._parts.append(Part(part.start, self._end, part.kind, part.id, part.code, part.title))

    def add(self, document: Document) -> None:
        """Add another document's text and parts as they are."""
        self.end_line()
        self._parts.extend(part.moved(self._length) for part in document.parts)
        self._put(document.text)
        self._bare = document.text.endswith("\n")

    def document(self, id: str = "", metadata: Metadata | None = None) -> Document:  # noqa: A002 - Document's name
        """What was written, without the line ends after it."""
        text = "".join(self._pieces)
        end = len(text.rstrip("\n"))
        parts = sorted(self._parts, key=lambda part: (part.start, -part.end))
        kept = (
            Part(part.start, min(part.end, end), part.kind, part.id, part.code, part.title)
            for part in parts
            if part.start < end
        )
        return Document(text[:end] + "\n" if end else "", id, metadata or Metadata(), tuple(kept))

    def _gap(self) -> None:
        if not self._bare:
            self._put(" |" * self._cells + " ")
        self._cells = 0
        self._space = False

    def _put(self, text: str) -> None:
        if not text:
            return
        if self._bullet:
            bullet, self._bullet = self._bullet, ""
            self._put(f"{bullet} ")
        if text.strip(" |-"):
            for number, part in enumerate(self._open):
                if part.start < 0:
                    self._open[number] = Part(self._length, -1, part.kind, part.id, part.code, part.title)
        self._pieces.append(text)
        self._length += len(text)
        self._end = self._length
        self._bare = False

    def _ends_in_empty_line(self) -> bool:
        return "".join(self._pieces[-2:]).endswith("\n\n")
