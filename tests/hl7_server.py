"""The service with an analyzer that takes no time, in a process that tests kill: `python hl7_server.py`."""

from __future__ import annotations

from handmade import FakeAnalyzer
from notegap.analyzer import Analyzer
from notegap.config import load
from notegap.model import Note, Report
from notegap.service.serve import serve, serve_by_processes


class Quick(Analyzer):
    """Answers by the note's first word, as `FakeAnalyzer` does."""

    def analyze(self, note: Note) -> Report:
        return FakeAnalyzer().analyze(note)

    def prepare(self) -> None:
        """There is nothing to prepare."""


def ready(address: str) -> None:
    print("ready", address, flush=True)


if __name__ == "__main__":
    config = load(options={"server.port": 0}).config
    if config.server.workers == 1:
        serve(Quick(), config, ready=ready)
    else:
        serve_by_processes(Quick, config, ready=ready)
