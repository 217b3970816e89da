"""Every error notegap raises on purpose.

    NotegapError
    ├─ UsageError        an option, a code or a setting that cannot be what was meant
    ├─ NoteError         a note that cannot be read: binary, wrong encoding, too large
    │  └─ EmptyNoteError nothing is there to be read: no character that says anything
    ├─ KnowledgeError    a file in patterns/ or models/ that is wrong; says `file:line`
    ├─ DataError         the compiled code set or another shipped file is missing or damaged
    └─ StoreError        the service's database: cannot be used, or what is in it cannot be read

A message is a sentence for the person who reads it: what is wrong, where, what to do.
No message carries a word of a note.
"""

from __future__ import annotations

import traceback
from pathlib import Path


class NotegapError(Exception):
    """What every notegap error is; `except NotegapError` catches them all and nothing else."""


class UsageError(NotegapError):
    """An option, a code or a setting that cannot be what was meant."""


class NoteError(NotegapError):
    """A note that cannot be read. Carries where and why, never a word of the note."""


class EmptyNoteError(NoteError):
    """A note without a single character that says anything."""


class KnowledgeError(NotegapError):
    """A file in patterns/ or models/ that is wrong: `file:line: what, and the nearest right name`."""


class DataError(NotegapError):
    """A file notegap ships is missing or damaged."""


class StoreError(NotegapError):
    """The service's database cannot be used, or what is in it cannot be read. Carries no value that was to be kept."""


def crash_site(error: BaseException) -> str:
    """What is told of an error nobody expected: its type and where it arose. Its message may hold words of a note."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    home = Path(__file__).parent
    last = next((frame for frame in reversed(frames) if Path(frame.filename).is_relative_to(home)), frames[-1])
    parts = Path(last.filename).parts
    inside = Path(*parts[len(home.parent.parts) :]) if Path(last.filename).is_relative_to(home) else Path(parts[-1])
    return f"{type(error).__name__} at {inside.as_posix()}:{last.lineno}"
