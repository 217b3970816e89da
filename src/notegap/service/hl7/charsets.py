"""The character set of a message: the one that MSH-18 declares (table 0211), and nothing else where it declares one."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from types import MappingProxyType

from notegap.errors import NotegapError
from notegap.notes.text import decode

_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "ASCII": "ascii",
        "ISO IR6": "ascii",
        # The message begins with "MSH", one byte a letter, so that it is none of Unicode's other forms.
        "UNICODE": "utf-8",
        "UNICODE UTF-8": "utf-8",
        "ISO IR14": "shift_jis",
        "ISO IR87": "iso2022_jp_ext",
        "ISO IR159": "iso2022_jp_ext",
        "GB 18030-2000": "gb18030",
        "KS X 1001": "euc_kr",
        "BIG-5": "big5",
        # Senders that declare Latin-1 write Windows-1252, which has all of its letters.
        "8859/1": "cp1252",
        **{f"8859/{number}": f"iso8859-{number}" for number in (*range(2, 12), *range(13, 17))},
    }
)
# Names that are none of HL7's but say what is meant; HTTP has them, and senders write them.
_OTHER_NAMES = re.compile(
    r"(?:US-?ASCII|UTF-?8|(?:ISO[-_]?8859[-_]|WINDOWS-|CP)\d{1,4}|SHIFT[-_]JIS|GB18030|EUC-KR|BIG5)"
)
# What may be switched between by escape sequences, as ISO 2022 has it.
_SWITCHED = frozenset({"ASCII", "ISO IR6", "ISO IR14", "ISO IR87", "ISO IR159"})


class CharsetError(NotegapError):
    """The character set that is declared is not known, or not the one of the message. The sentence is ours."""


def decoded(data: bytes, charset: str = "") -> tuple[str, str]:
    """A message's text, and the encoding it is in by the name that Python has for it.

    `charset` is what was declared around it; it goes before MSH-18. Without either UTF-8, else Windows-1252. Raises
    CharsetError; NoteError when it is no text in those.
    """
    codec = _codec(charset, data)
    if not codec:
        text = decode(data, where="the message", max_bytes=len(data))
        return text, _guessed(data)
    try:
        return data.decode(codec), codec
    except UnicodeError:
        pass
    raise CharsetError("The message is not in the character set that it says it is in.")


def _guessed(data: bytes) -> str:
    try:
        data.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _codec(charset: str, data: bytes) -> str:
    """The encoding that is declared, "" when none is."""
    names = [charset.strip().upper()] if charset.strip() else _declared(data)
    if not names:
        return ""
    if len(names) > 1:
        codec = "iso2022_jp_ext" if _SWITCHED.issuperset(names) else ""
    else:
        codec = _NAMES.get(names[0]) or _other(names[0])
    if not codec:
        raise CharsetError("The character set that the message says it is in is not one that is read.")
    return codec


def _declared(data: bytes) -> list[str]:
    fields = re.split(rb"[\r\n]", data, maxsplit=1)[0].split(data[3:4])
    repetitions = fields[17].split(data[5:6]) if len(fields) > 17 else []
    names = (each.split(data[4:5])[0].decode("ascii", "replace").strip().upper() for each in repetitions)
    return [name for name in names if name]


def _other(name: str) -> str:
    if not _OTHER_NAMES.fullmatch(name):
        return ""
    try:
        codec = codecs.lookup(name).name
        # Not every one that Python knows is one that MLLP can carry (EBCDIC).
        return codec if b"MSH|".decode(codec) == "MSH|" else ""
    except (LookupError, UnicodeError):
        return ""
