"""notegap: what a clinical note still has to document before an ICD-10-CM spine code is supported.

    from notegap import Analyzer, Note

    report = Analyzer().analyze(Note(id="17", text=text, codes=("M24.28",)))

`import notegap` is quick: spaCy and medspaCy are loaded by `Analyzer()`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from notegap.analyzer import Analyzer
    from notegap.errors import (
        DataError,
        EmptyNoteError,
        KnowledgeError,
        NoteError,
        NotegapError,
        StoreError,
        UsageError,
    )
    from notegap.model import Finding, Note, Report, Status

    __version__: str

__all__ = [
    "Analyzer",
    "DataError",
    "EmptyNoteError",
    "Finding",
    "KnowledgeError",
    "Note",
    "NoteError",
    "NotegapError",
    "Report",
    "Status",
    "StoreError",
    "UsageError",
]

_HOMES = {
    "Analyzer": "notegap.analyzer",
    "DataError": "notegap.errors",
    "EmptyNoteError": "notegap.errors",
    "Finding": "notegap.model",
    "KnowledgeError": "notegap.errors",
    "Note": "notegap.model",
    "NoteError": "notegap.errors",
    "NotegapError": "notegap.errors",
    "Report": "notegap.model",
    "Status": "notegap.model",
    "StoreError": "notegap.errors",
    "UsageError": "notegap.errors",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for."""
    if name != "__version__" and name not in _HOMES:
        raise AttributeError(f"module 'notegap' has no attribute {name!r}")
    value = _version() if name == "__version__" else getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("notegap")
    except PackageNotFoundError:
        # Run from a checkout that is not installed.
        return "0+source"
