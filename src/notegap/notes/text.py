"""Plain text: the bytes of a file or of standard input → a note's text.

The text is given as it was written: line ends, NULs and zero-width characters stay, so that offsets point
into it. Only a byte order mark, which belongs to the encoding, is left out. What is not UTF-8 is read as UTF-16 or
UTF-32 by its mark, else as Windows-1252 when it can be that; both are said.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from notegap.errors import EmptyNoteError, NoteError
from notegap.model import Setting
from notegap.notes.document import unsaid

MAX_BYTES = 1_048_576
"""The longest note that is read unless told otherwise, in bytes of UTF-8 (1 MB)."""

STDIN = "-"
"""The name that stands for standard input."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"%PDF-", "a PDF file"),
    (b"%!PS", "a PostScript file"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office file (.doc, .xls)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x7fELF", "a program"),
)
# UTF-32's little-endian mark starts with UTF-16's, so it is tried first.
MARKS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
"""The byte order marks of the encodings that have one, and those encodings."""

_UTF8_MARK = b"\xef\xbb\xbf"
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\n\v\f\r\x1b"))
_NOT_CP1252 = b"\x81\x8d\x8f\x90\x9d"
_UTF8_LETTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf](?![\x80-\xbf])|[\xe1-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_LONGEST_NAME = 1024
_MOST_WORDS = 5
_TEXT_AGAIN = "save it as plain text (UTF-8) and try again"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteOptions:
    """What is asked of a note beside its text; the fields are those of `Note`, and how its file is to be read.

    `columns` names the columns of a table that stand for fields ("text": "NOTE_BODY"), `date_format` says how it writes
    days beside 2026-04-30, as `strptime` takes it ("%m/%d/%Y").
    """

    codes: tuple[str, ...] = ()
    claim_codes: tuple[str, ...] | None = None
    setting: Setting = Setting.OUTPATIENT
    date_of_service: str | None = None
    max_bytes: int = MAX_BYTES
    input_format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    date_format: str = ""


def decode(
    data: bytes, *, where: str, max_bytes: int = MAX_BYTES, charset: str = "", say: Callable[[str], None] = unsaid
) -> str:
    """The text of a note given as bytes; `where` names it in what is raised, `say` takes what encoding was guessed.

    `charset` is the encoding that was declared, if any. Bytes that are valid UTF-8 are UTF-8 whatever was declared:
    nothing else looks like it.
    """
    if len(data) > max_bytes:
        raise NoteError(too_long(where, max_bytes))
    refuse_other_formats(data, where=where)
    mark = next((name for mark, name in MARKS if data.startswith(mark)), None)
    if mark is not None:
        text = _decoded(data, mark, where)
        say(f"read as {mark}")
        return text
    if _is_mostly_nul(data):
        raise NoteError(f"{where}: {_nul_guess(data)}; {_TEXT_AGAIN}")
    body = data.removeprefix(_UTF8_MARK)
    shift = len(data) - len(body)
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        # The error holds the whole note, so only its figures leave this block.
        start, end, truncated = error.start, error.end, error.reason == "unexpected end of data"
    else:
        return _not_empty(text, where)
    if charset and not shift and _codec(charset) not in (None, "utf-8"):
        return _decoded(data, charset, where)
    if not shift and not truncated and looks_like_cp1252(data):
        text = _not_empty(data.decode("cp1252"), where)
        say("read as Windows-1252")
        return text
    raise NoteError(_not_utf8(data, where, start + shift, end + shift, truncated=truncated))


def _decoded(data: bytes, encoding: str, where: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        problem = f"{where}: is not {encoding}, as it says it is: bytes {_hex(data[error.start : error.end][:4])} at "
        problem += f"byte offset {error.start}"
    except UnicodeError:
        problem = f"{where}: is not {encoding}, as it says it is"
    else:
        return _not_empty(text, where)
    raise NoteError(problem)


def _codec(charset: str) -> str | None:
    """The name Python has for an encoding of text, None when it knows none."""
    try:
        b"text".decode(charset, "ignore")  # "base64" is a codec too, and no encoding of text
        return codecs.lookup(charset).name
    except (LookupError, ValueError):
        return None


def _not_empty(text: str, where: str) -> str:
    if says_nothing(text):
        raise EmptyNoteError(f"{where}: nothing to read, the note is empty")
    return text


def looks_like_cp1252(data: bytes) -> bool:
    """Whether bytes that are not UTF-8 are an English text in Windows-1252: few letters are beyond ASCII, none broken.

    Text that has letters in UTF-8 before its first bad byte is damaged, or two encodings in one; nothing is guessed.
    """
    high = sum(byte >= 0x80 for byte in data)
    return (
        high * 4 <= len(data)
        and not any(byte in data for byte in _NOT_CP1252)
        and not _is_binary(data)
        and not _UTF8_LETTER.search(data)
    )


def refuse_other_formats(data: bytes, *, where: str) -> None:
    """Raise `NoteError` when the first bytes are those of a format that is not plain text."""
    name = other_format(data)
    if name is not None:
        raise NoteError(f"{where}: is {name}, not plain text; {_TEXT_AGAIN}")


def other_format(data: bytes) -> str | None:
    """The format whose first bytes these are, when it is one that is not plain text."""
    name = next((name for magic, name in _MAGIC if data.startswith(magic)), None)
    if name is None and data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip_kind(data)
    if name is None and data[128:132] == b"DICM":
        return "a DICOM file"
    return name


def says_nothing(text: str) -> bool:
    """Whether `text` has only white space and characters nobody sees (NUL, zero-width, byte order mark)."""
    return all(char.isspace() or unicodedata.category(char) in ("Cc", "Cf") for char in text)


def too_long(where: str, max_bytes: int) -> str:
    """The message for a note over the limit."""
    return f"{where}: is longer than {max_bytes:,} bytes, the limit; --max-bytes raises it"


def printable(name: str) -> str:
    """A file's name as text that any output takes: bytes of it that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def stdin_bytes() -> BinaryIO:
    """Standard input, as bytes."""
    if sys.stdin is None:
        raise NoteError("standard input: is closed")
    return sys.stdin.buffer


def refuse_impossible_name(path: Path) -> None:
    """Raise `NoteError` for a name no file has: too long, or with a line end or a NUL in it."""
    name = str(path)
    if len(name) > _LONGEST_NAME or any(char in name for char in "\0\n\r"):
        raise _no_name(name)


def refuse_unreadable(path: Path, where: str) -> None:
    """Raise `NoteError` when there is no file at `path`."""
    if path.is_dir():
        raise NoteError(f"{where}: is a folder; `notegap audit` reads a folder of notes")
    if not path.exists():
        raise no_such(path, where, "file")


def no_such(path: Path, where: str, what: str) -> NoteError:
    """What to raise when there is nothing at `path`. A name of many words is not repeated: it may be a note."""
    if len(str(path).split()) > _MOST_WORDS:
        return _no_name(str(path))
    return NoteError(f"{where}: no such {what}")


def _no_name(name: str) -> NoteError:
    return NoteError(f"a text of {len(name)} characters stands where a file's name belongs; pipe a note in with `-`")


def cannot_read(where: str, error: OSError) -> NoteError:
    """What to raise when the system refuses a file."""
    return NoteError(f"{where}: cannot be read ({(error.strerror or type(error).__name__).lower()})")


def _is_mostly_nul(data: bytes) -> bool:
    # A few NULs are slips of an export and are kept; one in ten is another format.
    nuls = data.count(0)
    return nuls > 4 and nuls * 10 > len(data) and nuls < len(data)


def _nul_guess(data: bytes) -> str:
    odd, even = data[1::2].count(0), data[::2].count(0)
    if max(odd, even) * 10 > len(data[::2]) * 7 and min(odd, even) * 10 < len(data[::2]):
        return "looks like UTF-16 without its byte order mark (every other byte is 00), not UTF-8"
    return f"is a binary file ({data.count(0):,} of its {len(data):,} bytes are 00), not plain text"


def _zip_kind(data: bytes) -> str:
    for part, name in ((b"word/", "a Word document (.docx)"), (b"xl/", "an Excel workbook (.xlsx)")):
        if part in data:
            return name
    if b"opendocument" in data[:200]:
        return "an OpenDocument file (.odt, .ods)"
    return "a zip archive (.zip, .docx, .xlsx)"


def _not_utf8(data: bytes, where: str, start: int, end: int, *, truncated: bool) -> str:
    if _is_binary(data):
        return f"{where}: is a binary file, not plain text; {_TEXT_AGAIN}"
    bad = data[start : max(end, start + 1)][:4]
    line = data.count(b"\n", 0, start) + 1
    place = f" (line {line})" if line > 1 else ""
    plural = "s" if len(bad) > 1 else ""
    found = f"{where}: is not UTF-8: byte{plural} {_hex(bad)} at byte offset {start}{place}"
    if truncated:
        return f"{found}; it ends in the middle of a character, so its end may be lost"
    if _has_utf8_letters(data, start):
        return f"{found}; the rest before it is UTF-8, so the file is damaged there or was pasted from another encoding"
    return f"{found}; {_TEXT_AGAIN}"


def _is_binary(data: bytes) -> bool:
    controls = len(data) - len(data.translate(None, delete=_CONTROLS))
    return controls * 20 > len(data)


def _has_utf8_letters(data: bytes, before: int) -> bool:
    return any(byte >= 0x80 for byte in data[:before].removeprefix(_UTF8_MARK))


def _hex(data: bytes) -> str:
    return " ".join(f"{byte:02X}" for byte in data)
