"""What a batch audit costs: its rate with one and two workers, what reading, ledger and writing add, its memory.

    python benchmarks/audit.py [--notes 400] [--rows 200000]

The notes are those of notes.py. Rates are taken once every worker has read its first notes, so that they are those of a
long audit. The overhead is all CPU time of an audit in one process that is not the pipeline's. Memory is that of the
audit and its workers together, with the real pipeline on the notes, then on a longer export: nine rows of ten repeat
one of its texts, and a stand-in reads the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from notes import note

from notegap import Analyzer, Note
from notegap.audit.ledger import Ledger
from notegap.audit.near import signature
from notegap.audit.reports import Reports
from notegap.audit.rows import AuditedNote
from notegap.audit.run import audit_rows
from notegap.audit.seen import Seen
from notegap.audit.work import Build, Here, Pool, Workers
from notegap.audit.writers import WriterOptions
from notegap.garbage import keep_what_lasts
from notegap.model import CodeCheck, Finding, Report, Severity, Status
from notegap.notes.inputs import read_rows
from notegap.notes.text import NoteOptions
from notegap.report.sink import output

CODES = ("M24.28",)
AIM_RATE, AIM_OVERHEAD, AIM_MEMORY = 1.85, 10, 1.5


def main() -> None:
    """Measure, and print the figures beside what is aimed at."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=400, help="notes for the real pipeline (default 400)")
    parser.add_argument("--rows", type=int, default=200_000, help="rows of the longer export (default 200,000)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "notes.jsonl"
        source.write_text("".join(json.dumps({"id": n, "text": note(n)}) + "\n" for n in range(options.notes)))
        overhead(source, folder)
        rates = {workers: rate(source, folder, workers) for workers in (1, 2)}
        print(f"two workers are {rates[2] / rates[1]:.2f} times one (aim: {AIM_RATE})\n")
        long_export(folder, options.rows)


# ── the real pipeline ───────────────────────────────────────────────────────────────────────────


class Timed:
    """An analyzer that counts the CPU time of its pipeline."""

    def __init__(self) -> None:
        self._analyzer = Analyzer()
        self.seconds = 0.0

    def analyze(self, read: Note) -> Report:
        """The report, timed."""
        start = time.process_time()
        try:
            return self._analyzer.analyze(read)
        finally:
            self.seconds += time.process_time() - start


def overhead(source: Path, folder: Path) -> None:
    """What an audit costs beside its pipeline, all in this process."""
    timed = Timed()
    timed.analyze(Note(id="", text=note(0), codes=CODES))
    signature("what is imported when it is first needed")
    # As an audit does.
    keep_what_lasts()
    timed.seconds = 0.0
    start = time.process_time()
    count = sum(1 for _ in audited(source, folder / "overhead", Here(timed, 60)))
    beside = time.process_time() - start - timed.seconds
    share = 100 * beside / timed.seconds
    print(f"pipeline: {1000 * timed.seconds / count:.1f} ms of CPU a note ({count} notes)")
    print(
        f"reading, ledger, near-duplicates, publishing and writing reports: {1000 * beside / count:.2f} ms, "
        f"{share:.1f} % (aim: {AIM_OVERHEAD} %)\n"
    )


def rate(source: Path, folder: Path, workers: int) -> float:
    """Notes a second, once all workers are at work."""
    with Pool(Analyzer, workers, 60) as pool:
        most, count, start, warm = 0.0, 0, 0.0, 8 * workers
        busy = time.process_time()
        for count, _ in enumerate(audited(source, folder / f"rate{workers}", pool), start=1):
            if count == warm:
                start = time.perf_counter()
            if count % 50 == 0:
                most = max(most, memory())
        found = (count - warm) / (time.perf_counter() - start)
        busy = time.process_time() - busy
    told = f"{found:.1f} notes/s, {1000 * busy / count:.2f} ms of CPU a note beside the workers', {most:.2f} GB"
    print(f"{workers} worker{'s' if workers > 1 else ''}: {told}")
    return found


def audited(source: Path, out: Path, workers: Workers, codes: tuple[str, ...] = CODES) -> Iterator[AuditedNote]:
    """An audit of a file with everything that belongs to it but the command."""
    seen = Seen()
    with Ledger(Path(f"{out}.ledger")) as ledger, output(out) as write:
        reports = Reports(write, "jsonl", WriterOptions())
        rows = read_rows([str(source)], NoteOptions(codes=codes))
        for each in audit_rows(rows, workers, ledger, seen, rules="benchmark"):
            seen.id_again(each.id)
            reports.add(each)
            yield each
        reports.close()
    seen.close()


# ── a long export ───────────────────────────────────────────────────────────────────────────────


class Standin:
    """Takes no time; its report is as long as a real one's findings are."""

    def analyze(self, read: Note) -> Report:
        """A report with six findings."""
        findings = tuple(
            Finding(
                id=f"M24.28/item{number}",
                kind="requirement",
                status=Status.MISSING,
                severity=Severity.REQUIRED,
                message="What the note does not say, in a sentence.",
                ask="What can you say of it?",
            )
            for number in range(6)
        )
        check = CodeCheck(code="M24.28", title="A disorder", valid=True, billable=True, findings=findings)
        return Report(note=read, code_set="", mentions=(), checks=(check,))


def long_export(folder: Path, rows: int) -> None:
    """Memory over an export of many rows."""
    source = folder / "export.jsonl"
    drawn = random.Random(1)
    with source.open("w") as file:
        for number in range(rows):
            text = note(drawn.randrange(rows // 10))[:600] if number % 10 else f"{number} {note(number)[:600]}"
            file.write(json.dumps({"id": number, "text": text}) + "\n")
    step, most, shown = max(rows // 10, 1), 0.0, []
    start = time.perf_counter()
    with Pool(cast(Build, Standin), 2, 60) as pool:
        for count, _ in enumerate(audited(source, folder / "long", pool), start=1):
            if count % step == 0:
                shown.append(memory())
                most = max(most, shown[-1])
    seconds = time.perf_counter() - start
    print(f"{rows:,} rows with a stand-in, two workers: {rows / seconds:,.0f} rows/s; GB at each tenth:")
    print(
        f"  {' '.join(f'{each:.3f}' for each in shown)} "
        f"(the real pipeline takes what is said above; aim: {AIM_MEMORY} GB)"
    )


def memory() -> float:
    """The memory of this process and those below it, in GB."""
    parents: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                sizes[int(entry.name)] = int((entry / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except (OSError, IndexError):
                continue  # it ended meanwhile
    below = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(sizes.get(process, 0) for process in below) / 1e9


if __name__ == "__main__":
    main()
