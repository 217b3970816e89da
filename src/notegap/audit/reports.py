"""The reports themselves as a file: one a line, as a JSON array, or as a SARIF log; an error stands in its place."""

from __future__ import annotations

from collections.abc import Callable

from notegap.audit.bare import Published
from notegap.audit.rows import AuditedNote
from notegap.audit.writers import WriterOptions
from notegap.model import Note
from notegap.report.json import indented, json_error, jsonl_error, one_line_fast, report_of
from notegap.report.page import Page
from notegap.report.sarif import sarif_error, sarif_run
from notegap.report.sink import Pieces

_ERRORS = {"json": json_error, "jsonl": jsonl_error, "sarif": sarif_error}


class Reports:
    """Writes the published report of each note with `write`."""

    def __init__(self, write: Callable[[str], None], format_: str, options: WriterOptions) -> None:
        self._format = format_
        self._page = Page(snippets=options.snippets)
        self._pieces = Pieces(write, format_, many=True)

    def add(self, note: AuditedNote) -> None:
        """Write one report, or what kept the note from having one."""
        if note.report is None:
            self._pieces.add(_ERRORS[self._format](note.id, note.error, note.where))
        elif self._format == "sarif":
            read = Note(id=note.id, text=note.text or "")
            self._pieces.add(sarif_run(report_of(note.report, read), self._page))
        elif self._format == "json":
            self._pieces.add(indented(dict(note.report)))
        else:
            self._pieces.add(note.report.line if isinstance(note.report, Published) else one_line_fast(note.report))

    def close(self) -> None:
        """Write what closes the whole."""
        self._pieces.end()
