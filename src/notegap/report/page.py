"""What a report is printed on, and what every format reads off a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from notegap.model import CodeCheck, Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """How wide, whether in colour, the name of the note's file where it is not the note's id.

    `snippets`: whether a format that can do without the note's words may carry them.
    """

    width: int = 80
    color: bool = False
    source: str = ""
    snippets: bool = False


def suggestions(check: CodeCheck) -> Iterator[tuple[str, tuple[Finding, ...]]]:
    """Each code a check suggests, with the raised alerts that suggest it."""
    for code in check.suggested_codes:
        yield code, tuple(f for f in check.findings if f.is_open and code in f.codes)
