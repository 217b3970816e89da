"""The audit: notes stream in, reports stream out, and a note that cannot be analyzed is told in its place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from notegap.audit.bare import Published
from notegap.audit.ledger import Ledger, key_of
from notegap.audit.rows import AuditedNote, Outcome, from_error, from_report, hash_of
from notegap.audit.seen import Seen
from notegap.audit.work import Done, Result, Workers, problem_of
from notegap.model import Note, Report
from notegap.notes.document import RowError
from notegap.notes.inputs import Row
from notegap.report.lines import count

_MOST_WAITING = 32 * 1024 * 1024
"""How many characters may wait for their reports at a time, however few notes they are."""


def audit(rows: Iterable[Note | RowError], analyze: Callable[[Note], Report]) -> Iterator[Report | RowError]:
    """One outcome for each row, in order: its report, or what kept it from having one."""
    for number, row in enumerate(rows, start=1):
        yield row if isinstance(row, RowError) else _analyze(row, number, analyze)


def _analyze(note: Note, number: int, analyze: Callable[[Note], Report]) -> Report | RowError:
    try:
        return analyze(note)
    except Exception as error:  # noqa: BLE001 - one note nobody foresaw must not lose the thousands after it
        return RowError(note.id, f"row {number}", problem_of(error))


def audit_rows(
    rows: Iterable[Row],
    workers: Workers,
    ledger: Ledger,
    seen: Seen,
    *,
    rules: str,
    with_text: bool = False,
    judged: Callable[[str], bool] = lambda _code: False,
) -> Iterator[AuditedNote]:
    """One audited note for each row, in order.

    What the ledger has is not analyzed again, and of notes with the same text of which the same is asked only the
    first is. `rules` names the rules and the version of notegap; `with_text` keeps the notes' texts in the results;
    `judged` tells of a code whether a check of it says if a note supports it.
    """
    run = _Run(workers, ledger, seen, rules, with_text, judged)
    waiting: deque[_Waiting] = deque()
    held = 0
    for row in rows:
        begun = run.begin(row)
        waiting.append(begun)
        held += begun.length
        while waiting and (len(waiting) > workers.ahead or held > _MOST_WAITING):
            done = waiting.popleft()
            held -= done.length
            yield run.end(done)
    while waiting:
        yield run.end(waiting.popleft())


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A row whose turn has not come; `first` is the row that has its text first, `result` what is awaited if any is."""

    row: Row
    note_hash: str = ""
    key: bytes = b""
    first: int = 0
    result: Result | None = None

    @property
    def length(self) -> int:
        return len(self.row.note.text) if isinstance(self.row.note, Note) else 0


@dataclass(frozen=True, slots=True)
class _Run:
    workers: Workers
    ledger: Ledger
    seen: Seen
    rules: str
    with_text: bool
    judged: Callable[[str], bool]

    def begin(self, row: Row) -> _Waiting:
        note = row.note
        if isinstance(note, RowError):
            return _Waiting(row)
        note_hash = hash_of(note.text)
        key = key_of(note, note_hash, self.rules)
        first = self.seen.first(key, row.number)
        if first != row.number or key in self.ledger:
            return _Waiting(row, note_hash, key, first)
        return _Waiting(row, note_hash, key, first, self.workers.start(note))

    def end(self, waiting: _Waiting) -> AuditedNote:
        row, note = waiting.row, waiting.row.note
        if isinstance(note, RowError):
            return from_error(note, row=row.number, source=row.source, rules=self.rules)
        done = self._done(waiting)
        if done.error:
            failed = RowError(note.id, f"row {row.number}", done.error)
            return from_error(failed, note, row=row.number, source=row.source, rules=self.rules)
        return self._report(waiting, note, done)

    def _done(self, waiting: _Waiting) -> Done:
        key = waiting.key
        if waiting.result is not None:
            done = waiting.result()
            if done.error:
                self.seen.fail(key, done.error)
            else:
                self.ledger.put(key, done.report, done.signature)
            return done
        error = self.seen.failure(key) if waiting.first != waiting.row.number else ""
        return Done(error=error) if error else Done(*self.ledger[key])

    def _report(self, waiting: _Waiting, note: Note, done: Done) -> AuditedNote:
        number = waiting.row.number
        # The first of its kind stands for it.
        repeats = waiting.first != number
        near = None if repeats else self.seen.near(number, done.signature)
        return from_report(
            note,
            Published(done.report, note, done.line if not repeats else ""),
            row=number,
            source=waiting.row.source,
            rules=self.rules,
            duplicate_of=waiting.first if repeats else None,
            near_duplicate_of=near[0] if near else None,
            similarity=near[1] if near else None,
            note_hash=waiting.note_hash,
            with_text=self.with_text,
            judged=self.judged,
        )


@dataclass(slots=True)
class Tally:
    """What came out of an audit, counted. `repeated`: rows whose id an earlier row had.

    `claims_unchecked`: codes of claims that could be checked and were not, of the notes that count.
    """

    read: int = 0
    gaps: int = 0
    complete: int = 0
    unchecked: int = 0
    failed: int = 0
    repeated: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    claims_unchecked: int = 0
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

    def count(self, note: AuditedNote, *, repeated: bool) -> None:
        """Count one more audited note; `repeated` tells whether its id came before."""
        self.read += 1
        self.repeated += repeated
        self.duplicates += note.duplicate_of is not None
        self.near_duplicates += note.near_duplicate_of is not None
        if note.duplicate_of is None:
            self.claims_unchecked += len(note.claims_unchecked)
        if note.outcome is Outcome.FAILED:
            self.failed += 1
        elif note.outcome is Outcome.UNCHECKED:
            self.unchecked += 1
        elif note.has_gaps:
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

    @property
    def copies(self) -> str:
        """How many notes repeat an earlier one; "" when none does."""
        parts = (
            (self.duplicates, "with the text of an earlier note, of which the same is asked"),
            (self.near_duplicates, "with nearly the words of an earlier note"),
        )
        return ", ".join(f"{number} {what}" for number, what in parts if number)

    @property
    def unchecked_claims(self) -> str:
        """How many codes of claims were not checked, and what checks them; "" when all that can be were."""
        number = self.claims_unchecked
        if not number:
            return ""
        return f"{count(number, 'claimed code')} {'was' if number == 1 else 'were'} not checked: --check-claims does"
