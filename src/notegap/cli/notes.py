"""`check` and `extract`: notes, one after another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from notegap.cli import base
from notegap.cli.base import (
    COMPLETE,
    EXIT_CODES,
    GAPS,
    NOTHING_READ,
    claim_option,
    format_option,
    input_format_option,
    max_bytes_option,
    note_options,
    out_option,
    page_of,
    patterns_option,
    snippets_option,
)
from notegap.cli.reading import Read, is_any_read, print_each, read_all, refuse_all, sources_of
from notegap.errors import UsageError
from notegap.model import Mention, Note
from notegap.notes.document import RowError
from notegap.notes.read import FORMATS as INPUT_FORMATS
from notegap.notes.text import NoteOptions

if TYPE_CHECKING:
    from notegap.model import Report


@click.command(epilog=EXIT_CODES)
@click.argument("files", nargs=-1, metavar="[FILE|-]...")
@claim_option
@note_options()
@format_option("text", "json", "jsonl", "html", "sarif")
@snippets_option
@out_option
def check(
    files: tuple[str, ...],
    options: NoteOptions,
    patterns: tuple[Path, ...],
    format_: str,
    snippets: bool,
    out: Path | None,
) -> int:
    """Check notes: what each still has to document, the quotes that show what it does, and better-fitting codes.

    FILE is plain text, RTF, HTML, .docx, PDF with text, C-CDA, HL7 v2 or FHIR, recognised by content, with one note or
    many; "-" reads standard input.
    """
    read = read_all(sources_of(files, out), options)
    if format_ == "html" and len(read) > 1:
        raise UsageError("--format html makes a page of one note: give one file at a time, with one note in it.")
    if not is_any_read(read):
        return refuse_all(read)

    from notegap.audit import audit
    from notegap.report import PIECES

    def printed(one: Read, report: Report) -> tuple[str, int]:
        code = NOTHING_READ if not report.checks else GAPS if report.has_gaps else COMPLETE
        return PIECES[format_](report, page_of(out, one.where, snippets=snippets)), code

    analyzer = base.build_analyzer(patterns)
    reports = audit([one.row for one in read], analyzer.analyze)
    return print_each(read, reports, printed, out=out, format_=format_)


@click.command(epilog=EXIT_CODES)
@click.argument("files", nargs=-1, metavar="[FILE|-]...")
@patterns_option
@input_format_option(*INPUT_FORMATS)
@max_bytes_option
@format_option("text", "json", "jsonl")
@out_option
def extract(
    files: tuple[str, ...],
    patterns: tuple[Path, ...],
    input_format: str | None,
    max_bytes: int,
    format_: str,
    out: Path | None,
) -> int:
    """Show every fact that was read in notes: what, how it stands, what it is tied to, its quote."""
    read = read_all(sources_of(files, out), NoteOptions(max_bytes=max_bytes, input_format=input_format))
    if not is_any_read(read):
        return refuse_all(read)

    from notegap.report.json import json_mentions, jsonl_mentions
    from notegap.report.text import text_mentions

    formats = {"text": text_mentions, "json": json_mentions, "jsonl": jsonl_mentions}

    def printed(one: Read, found: tuple[Note, tuple[Mention, ...]]) -> tuple[str, int]:
        return formats[format_](*found, page_of(out, one.where)), COMPLETE

    analyzer = base.build_analyzer(patterns)
    rows = (one.row for one in read)
    found = (row if isinstance(row, RowError) else (row, analyzer.extract(row)) for row in rows)
    return print_each(read, found, printed, out=out, format_=format_)


COMMANDS = (check, extract)
