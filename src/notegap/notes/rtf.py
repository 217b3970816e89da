"""RTF: its text without fields, pictures, and what is hidden or struck out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from striprtf.striprtf import rtf_to_text

from notegap.errors import NoteError
from notegap.notes.document import Document, Source

# A group whose first control words say that nobody sees it; "\*" makes striprtf pass it over.
_UNSEEN = re.compile(r"(\{(?:\\[a-z]+-?\d* ?){0,40}?)(?=\\(?:v|deleted|strike|striked1)(?![a-z0-9]))")
# striprtf's own patterns for links and for the table of fonts take the square of their text's length. Links are not
# needed, and of the fonts only what the encoding of each is.
_FIELD = re.compile(r"\\fldinst", re.IGNORECASE)
_FONTS = re.compile(r"\{\\fonttbl")
_FONT = re.compile(r"\\f(\d{1,5})(?!\d)[^;]{0,200}?\\fcharset(\d{1,3})(?!\d)")
_BRACE = re.compile(r"[{}]")
_CELL_END = re.compile(r"\|(?=\n|$)", re.MULTILINE)


def read(source: Source) -> Iterator[Document]:
    """The one document the file is."""
    # RTF is ASCII; a letter beyond it is written as an escape, and where one is not, Windows-1252 wrote it.
    rtf = source.data.removeprefix(b"\xef\xbb\xbf").lstrip().decode("cp1252", "replace").rstrip("\0")
    if not rtf.startswith("{\\rtf"):
        raise NoteError(f"{source.where}: is not RTF, it does not begin as RTF does")
    yield Document(_text(_plainer(rtf), source.where))


def _text(rtf: str, where: str) -> str:
    try:
        text = str(rtf_to_text(rtf, errors="replace"))  # type: ignore[no-untyped-call]
    except (LookupError, OverflowError, ValueError):
        pass  # an encoding nobody knows, a number that is none: what is raised may quote the text
    else:
        # Characters beyond 16 bits come as the two halves of a pair.
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        lines = (line.rstrip() for line in _CELL_END.sub("", text).replace("|", " | ").replace("\xad", "").split("\n"))
        return "\n".join(lines).strip("\n") + "\n"
    raise NoteError(f"{where}: is not RTF that can be read; it is damaged, or in an encoding that is not known")


def _plainer(rtf: str) -> str:
    """The same document as striprtf reads it in time: hidden groups marked, links and fonts made simple."""
    rtf = _UNSEEN.sub(r"\1\\*", _FIELD.sub(r"\\fldtype", rtf))
    start = _FONTS.search(rtf)
    if start is None:
        return rtf
    depth, end = 1, len(rtf)
    for brace in _BRACE.finditer(rtf, start.end()):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            end = brace.end()
            break
    fonts = (f"{{\\f{number}\\fcharset{charset} -;}}\n" for number, charset in _FONT.findall(rtf, start.start(), end))
    return f"{rtf[: start.start()]}{{\\fonttbl\n{''.join(fonts)}}}{rtf[end:]}"
