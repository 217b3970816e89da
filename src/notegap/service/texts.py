"""What a text must be that came in a request to be read as a note."""

from __future__ import annotations

import re

from notegap.errors import EmptyNoteError, NoteError
from notegap.notes.text import says_nothing

_HALF = re.compile("[\ud800-\udfff]")


def refuse_unreadable(text: str, *, max_bytes: int) -> None:
    """Raise NoteError when `text` is no note: too long, half a character in it, nothing in it."""
    refuse_halves(text, "The note")
    if len(text.encode()) > max_bytes:
        raise NoteError(
            f"The note is longer than {max_bytes:,} bytes, the limit; `notegap serve --max-bytes` raises it."
        )
    if says_nothing(text):
        raise EmptyNoteError("Nothing to read: the note is empty.")


def refuse_halves(text: str, what: str) -> None:
    """Raise NoteError when `text` could not be written as UTF-8; `what` names it."""
    if _HALF.search(text):
        raise NoteError(f"{what} has half a character in it (a surrogate without its other half).")
