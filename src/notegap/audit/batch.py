"""A whole audit: inputs → selection → workers and ledger → files. What the command does, without its words."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Protocol, Self, TextIO

import notegap
from notegap.audit.ledger import Ledger
from notegap.audit.progress import Progress, progress
from notegap.audit.reports import Reports
from notegap.audit.rows import AuditedNote, Outcome
from notegap.audit.run import Tally, audit_rows
from notegap.audit.seen import Seen
from notegap.audit.select import Selection, can_be_judged, with_claimed
from notegap.audit.work import Analyzes, Here, Pool, Workers, warm
from notegap.audit.writers import REPORTS, TABLES, Writer, WriterOptions, open_tables, print_table
from notegap.errors import NotegapError, UsageError
from notegap.garbage import keep_what_lasts
from notegap.model import Knowledge
from notegap.notes.inputs import How, Row, read_rows, size_of
from notegap.notes.table import Saying, unsaid_of
from notegap.notes.text import STDIN, NoteOptions, printable
from notegap.report.json import one_line
from notegap.report.sink import output

_FEW = 48
"""So many notes are read before processes that read more would have started."""


class Auditor(Analyzes, Protocol):
    """An analyzer that says what it knows."""

    knowledge: Knowledge


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of an audit.

    `outs` are files, none for standard output; `format_` is what is written to it, and to files whose suffix says
    nothing; asked for outright (`format_asked`), it holds for all that may have it. `ledger` and `quarantine` None:
    beside the first of `outs`. `check_claims`: whether the codes of a claim are checked too. `timeout`: seconds for a
    note.
    """

    sources: Sequence[str]
    options: NoteOptions
    outs: Sequence[Path] = ()
    format_: str = "jsonl"
    format_asked: bool = False
    ledger: Path | None = None
    fresh: bool = False
    quarantine: Path | None = None
    selection: Selection = field(default_factory=Selection)
    check_claims: bool = False
    workers: int = 1
    timeout: float | None = None
    query: str = ""
    writing: WriterOptions = field(default_factory=WriterOptions)

    def format_of(self, out: Path) -> str:
        """The format a file is written in."""
        suffix = out.suffix.lower().removeprefix(".")
        if suffix in TABLES:
            return suffix
        asked = self.format_asked and self.format_ in REPORTS
        return suffix if suffix in REPORTS and not asked else self.format_

    def beside(self, given: Path | None, ending: str) -> Path | None:
        """A file that was named, else the one beside the first output; None when that is none, or no file."""
        if given is not None or not self.outs:
            return given
        first = self.outs[0]
        return None if first.exists() and not first.is_file() else first.with_name(f"{first.name}{ending}")


def rules_of(knowledge: Knowledge) -> str:
    """The name of the rules notes are checked by: another version of notegap or other files have another."""
    return hashlib.sha256(f"{notegap.__version__} {knowledge.version}".encode()).hexdigest()[:12]


def run_audit(
    plan: Plan,
    build: Callable[[], Auditor],
    *,
    say: Saying,
    tell: Callable[[str], None],
    print_out: Callable[[str], None],
) -> Tally | None:
    """Audit what the plan says; None when there is no note in it.

    `build` makes an analyzer, here and in each process; `say` takes remarks on files, `tell` what is to be told at
    once, `print_out` what goes to standard output. Raises `NotegapError` when an input cannot be read at all or an
    output cannot be written; what the ledger has by then is kept.
    """
    refuse_reading_twice(plan)
    analyzer = cache(build)
    ledger, quarantine = plan.beside(plan.ledger, ".ledger"), plan.beside(plan.quarantine, ".quarantine.jsonl")
    pools: list[Pool] = []
    with progress(lambda: size_of(plan.sources, query=plan.query), plan.selection.limit) as shown:
        how = How(
            query=plan.query,
            timeout=plan.timeout,
            covers=lambda code: analyzer().knowledge.checklist(code) is not None,
            skip=ours(plan, ledger, quarantine),
            elsewhere=lambda: pools[0].read if pools else None,
            took=shown.took,
        )
        rows = chosen_rows(plan, how, say, tell)
        # Read before anything is built or written: there may be nothing to do.
        first = list(islice(rows, _FEW))
        if not first:
            return None
        knowledge = analyzer().knowledge
        rules = rules_of(knowledge)
        keep_what_lasts()
        with ExitStack() as stack:
            if len(first) < _FEW:
                workers: Workers = Here(warm(analyzer()), plan.timeout)
            else:
                workers = stack.enter_context(Pool(build, plan.workers, plan.timeout))
                pools.append(workers)
            kept = stack.enter_context(Ledger(ledger, fresh=plan.fresh))
            run = Writing(plan, stack, tell, print_out, shown)
            if quarantine is not None:
                run.quarantine = stack.enter_context(Quarantine(quarantine))
            found: Iterator[Row] = chain(first, rows)
            if plan.check_claims:
                found = (replace(row, note=with_claimed(row.note, knowledge)) for row in found)
            audited = audit_rows(
                found,
                workers,
                kept,
                run.seen,
                rules=rules,
                with_text=run.needs_text,
                judged=lambda code: can_be_judged(code, knowledge),
            )
            try:
                return run.write(audited)
            except KeyboardInterrupt:
                if ledger is not None:
                    name = printable(str(ledger))
                    tell(f"what was found is kept in {name}; the same command goes on from there")
                raise


def chosen_rows(plan: Plan, how: How, say: Saying, tell: Callable[[str], None]) -> Iterator[Row]:
    """The rows of the plan's inputs that are audited, as they are read."""
    return plan.selection.of(
        lambda quiet: read_rows(
            plan.sources, plan.options, replace(how, took=_unheard) if quiet else how, unsaid_of if quiet else say
        ),
        lambda count: tell(f"{count} without a date, kept whatever --since says"),
    )


def _unheard(_size: int) -> None:
    pass


def refuse_reading_twice(plan: Plan) -> None:
    """Raise `UsageError` where a number of notes is to be drawn from what can be read only once."""
    sampled = plan.selection.sample is not None and plan.selection.sample.number is not None
    if sampled and STDIN in plan.sources:
        raise UsageError("--sample: standard input can be read only once; give a share of it (5%)")


def ours(plan: Plan, *others: Path | None) -> frozenset[Path]:
    """The files this audit writes: an audit of the folder they stand in does not read them."""
    named = [path.resolve() for path in (*plan.outs, *others) if path is not None]
    endings = ("", ".partial", "-wal", "-shm", "-journal")
    return frozenset(path.with_name(f"{path.name}{ending}") for path in named for ending in endings)


class Writing:
    """The writing side of one audit; without `print_out` nothing is printed where no file is named."""

    def __init__(
        self,
        plan: Plan,
        stack: ExitStack,
        tell: Callable[[str], None],
        print_out: Callable[[str], None] | None,
        shown: Progress,
    ) -> None:
        self.seen = Seen()
        stack.callback(self.seen.close)
        self.quarantine: Quarantine | None = None
        self._shown = shown
        formats = {out: plan.format_of(out) for out in plan.outs}
        # SARIF tells places by line and column.
        self.needs_text = plan.writing.with_text or "sarif" in (set(formats.values()) or {plan.format_})
        self._reports = [
            Reports(stack.enter_context(output(out, left_over=tell)), format_, plan.writing)
            for out, format_ in formats.items()
            if format_ in REPORTS
        ]
        self._writers: list[Writer] = [*self._reports]
        tables = [out for out, format_ in formats.items() if format_ not in REPORTS]
        if tables:
            self._writers.append(stack.enter_context(open_tables(tables, plan.writing, tell)))
        if print_out is None or plan.outs:
            return
        if plan.format_ in REPORTS:
            self._reports = [Reports(print_out, plan.format_, plan.writing)]
            self._writers = [*self._reports]
        else:
            self._writers = [stack.enter_context(print_table(print_out, plan.writing, tell))]

    def write(self, audited: Iterator[AuditedNote]) -> Tally:
        """Write the notes, and count them."""
        tally = Tally()
        for note in audited:
            tally.count(note, repeated=self.seen.id_again(note.id))
            if self.quarantine is not None and note.outcome is Outcome.FAILED:
                self.quarantine.add(note)
            for writer in self._writers:
                writer.add(note)
            self._shown.count(tally.read, tally.failed)
        for report in self._reports:
            report.close()
        return tally


class Quarantine:
    """A file of the rows that failed and why, never with a word of them; there is none when no row did."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        with self._telling():
            if self._path.is_file():
                self._path.unlink()  # what an earlier run had put aside
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with self._telling():
                self._file.close()

    def add(self, note: AuditedNote) -> None:
        """Put one row aside."""
        told = {"id": note.id, "source": note.source, "row": note.row, "where": note.where, "reason": note.error}
        with self._telling():
            if self._file is None:
                made = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                self._file = os.fdopen(made, "w", encoding="utf-8", errors="replace", newline="")
            self._file.write(one_line(told))
            self._file.flush()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            problem = f"{printable(str(self._path))}: cannot be written ({(error.strerror or 'refused').lower()})"
        else:
            return
        raise NotegapError(problem)
