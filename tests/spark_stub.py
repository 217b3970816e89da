"""What the tests of Spark have its workers build: stand-ins that write down when they are built and what they read."""

from __future__ import annotations

import os
from pathlib import Path

from audit_stub import StubAnalyzer
from notegap.model import Note, Report

PLACE = "NOTEGAP_TEST_WRITTEN_DOWN"
"""The environment's name for the folder where it is written down."""


def written_down(name: str) -> list[str]:
    """The lines of one kind: "built" has process ids, "read" ids of notes."""
    path = Path(os.environ[PLACE], name)
    return path.read_text().split() if path.exists() else []


def _write_down(name: str, what: object) -> None:
    # One short write at the end of a file is never cut by another process's.
    with Path(os.environ[PLACE], name).open("a") as file:
        file.write(f"{what}\n")


class CountedAnalyzer(StubAnalyzer):
    """Answers by the note's first word, and is seen at it."""

    def analyze(self, note: Note) -> Report:
        """The report the note asks for."""
        if note.id:  # what a worker warms up with has none
            _write_down("read", note.id)
        return super().analyze(note)


def counted() -> CountedAnalyzer:
    """One that is counted."""
    _write_down("built", os.getpid())
    return CountedAnalyzer()


def others() -> StubAnalyzer:
    """One whose rules are not those of the program that asks, whichever those are."""
    analyzer = StubAnalyzer()
    analyzer.knowledge = type("Knowledge", (), {"version": "of another day"})()
    return analyzer
