"""A stand-in for Analyzer that other processes can build, and a program that audits with it.

What a note's first word says is done: it is slow, hangs, crashes, or its process dies. Anything else has gaps, whose
quote is the note's second word.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from handmade import CHECK, FakeKnowledge, requirement
from notegap.audit.batch import Plan, run_audit
from notegap.audit.run import Tally
from notegap.model import Evidence, Knowledge, Note, Report, Status
from notegap.notes.text import NoteOptions

RELEASE = "ICD-10-CM FY2026 (April 2026)"


class StubAnalyzer:
    """Answers by the note's first word."""

    def __init__(self, seconds: float = 0) -> None:
        self.knowledge: Knowledge = FakeKnowledge()  # type: ignore[assignment]
        self._seconds = seconds

    def analyze(self, note: Note) -> Report:
        """The report the note asks for."""
        time.sleep(self._seconds)
        match note.text.split()[0]:
            case "slow":
                time.sleep(60)
            case "hang":
                # As a call into C that does not come back.
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
                time.sleep(60)
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "crash":
                raise IndexError(note.text)
            case "none":
                return Report(note=note, code_set=RELEASE, mentions=(), checks=(), codes_from="none")
        word = note.text.split()[1]
        start = note.text.index(word)
        finding = replace(
            requirement("mechanism", Status.MISSING), evidence=(Evidence(start, start + len(word), word),)
        )
        check = replace(CHECK, findings=(finding,), suggested_codes=())
        return Report(note=note, code_set=RELEASE, mentions=(), checks=(check,))


def quick() -> StubAnalyzer:
    """One that takes no time."""
    return StubAnalyzer()


def unhurried() -> StubAnalyzer:
    """One that takes as long as it takes to be killed in between."""
    return StubAnalyzer(0.003)


def audit_with_stub(source: Path, out: Path, *more_outs: Path, **changes: object) -> Tally | None:
    """Audit a file into another with a process beside this one."""
    plan = Plan(sources=(str(source),), options=NoteOptions(), outs=(out, *more_outs), workers=1, timeout=30)
    return run_audit(
        replace(plan, **changes),  # type: ignore[arg-type]
        unhurried,
        say=lambda _where, _remark: None,
        tell=lambda _line: None,
        print_out=lambda _text: None,
    )


if __name__ == "__main__":
    audit_with_stub(Path(sys.argv[1]), Path(sys.argv[2]))
