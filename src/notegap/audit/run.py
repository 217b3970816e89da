"""The audit: notes stream in, reports stream out, and a note that cannot be analyzed is told in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from notegap.errors import NotegapError, crash_site
from notegap.model import Note, Report
from notegap.notes.document import RowError


def audit(rows: Iterable[Note | RowError], analyze: Callable[[Note], Report]) -> Iterator[Report | RowError]:
    """One outcome for each row, in order: its report, or what kept it from having one."""
    for number, row in enumerate(rows, start=1):
        yield row if isinstance(row, RowError) else _analyze(row, number, analyze)


def _analyze(note: Note, number: int, analyze: Callable[[Note], Report]) -> Report | RowError:
    where = f"row {number}"
    try:
        return analyze(note)
    except NotegapError as error:
        return RowError(note.id, where, str(error))
    except Exception as error:  # noqa: BLE001 - one note nobody foresaw must not lose the thousands after it
        return RowError(note.id, where, f"notegap broke on this note: {crash_site(error)}")


@dataclass(slots=True)
class Tally:
    """What came out of an audit, counted. `repeated`: rows whose id an earlier row had."""

    read: int = 0
    gaps: int = 0
    complete: int = 0
    unchecked: int = 0
    failed: int = 0
    repeated: int = 0
    # Hashes, not ids: an audit has many rows.
    _seen: set[int] = field(default_factory=set, repr=False)

    def add(self, outcome: Report | RowError) -> None:
        """Count one more outcome."""
        note_id = hash(outcome.id if isinstance(outcome, RowError) else outcome.note.id)
        self.read += 1
        self.repeated += note_id in self._seen
        self._seen.add(note_id)
        if isinstance(outcome, RowError):
            self.failed += 1
        elif not outcome.checks:
            self.unchecked += 1
        elif outcome.has_gaps:
            self.gaps += 1
        else:
            self.complete += 1

    def __str__(self) -> str:
        parts = [
            f"{self.read} read: {self.gaps} with gaps",
            f"{self.complete} complete",
            f"{self.unchecked} without a code to check",
            f"{self.failed} failed",
        ]
        if self.repeated:
            parts.append(f"{self.repeated} with an id seen before")
        return ", ".join(parts)
