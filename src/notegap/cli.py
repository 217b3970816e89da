"""The command line: parse, one call, print, exit. What takes long to import is imported by the command that uses it."""

from __future__ import annotations

import difflib
import gc
import itertools
import logging
import os
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from notegap.errors import EmptyNoteError, NoteError, NotegapError, UsageError, crash_site
from notegap.model import Alert, Checklist, Note, Requirement, Setting
from notegap.notes.document import RowError
from notegap.notes.files import read_file, read_note
from notegap.notes.read import FORMATS as INPUT_FORMATS
from notegap.notes.read import TABLES, TEXT
from notegap.notes.text import MAX_BYTES, STDIN, NoteOptions, printable
from notegap.report.sink import Pieces, abandon_stdout, output, print_out
from notegap.service.commands import COMMANDS, config_option, need_packages

if TYPE_CHECKING:
    from notegap.analyzer import Analyzer
    from notegap.audit.select import Sample
    from notegap.report import Page

COMPLETE, GAPS, BROKEN, NOTHING_READ, INTERRUPTED = 0, 1, 2, 3, 130

_EXIT_CODES = """\b
Exit codes:
  0  no gaps
  1  gaps, or alerts
  2  something broke: an option, a note, a knowledge file, the output, notegap itself
  3  nothing was read: no note, an empty one, or (check) no code to check it against
"""
_TRENDS_EXIT_CODES = """\b
Exit codes:
  0  the audits were compared
  2  something broke: an option, a file that is no audit, the output
"""
_WIDEST = 120


def main(argv: Sequence[str] | None = None) -> int:
    """Run notegap and give the exit code. Whatever goes wrong, no word of a note reaches standard error."""
    # A library's warning or log line may quote what it was given.
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        code = commands.main(None if argv is None else list(argv), prog_name="notegap", standalone_mode=False)
        return code if isinstance(code, int) else COMPLETE
    except click.ClickException as error:
        error.show()
        return BROKEN
    except (click.Abort, KeyboardInterrupt):
        _complain("stopped")
        return INTERRUPTED
    except SystemExit:
        # So click leaves, with 1, when whoever read the output has left (`head`). No message; but it is not whole.
        abandon_stdout()
        return BROKEN
    except EmptyNoteError as error:
        _complain(str(error))
        return NOTHING_READ
    except NotegapError as error:
        _complain(str(error))
        return BROKEN
    except OSError as error:
        _complain(f"the system refused something: {(error.strerror or type(error).__name__).lower()}")
        return BROKEN
    except Exception as error:  # noqa: BLE001 - Python's own exit code for a crash is 1, which means gaps
        _complain(f"notegap broke: {crash_site(error)}; please report this line, it holds no word of the note")
        return BROKEN


def run() -> None:
    """The program: `main`, and leave at once.

    Taking the pipeline apart at exit takes half a second that a scribe would wait; what is written is flushed first.
    """
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:  # None when the shell closed it (`>&-`)
                stream.flush()
        except OSError:
            code = BROKEN  # whoever read the output has left before its end
    os._exit(code)


def _print_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from notegap import __version__

        print_out(f"notegap {__version__}\n")
        context.exit()


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=_EXIT_CODES)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def commands() -> None:
    """What a clinical note still has to document before an ICD-10-CM spine code is supported."""


# ── options that several commands take ──────────────────────────────────────────────────────────


def _codes_option(_context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    from notegap.icd10cm import normalize

    given = [part for value in values for part in value.replace(";", ",").split(",") if part.strip()]
    if values and not given:
        raise click.BadParameter("no code is given", param=option)
    try:
        return tuple(dict.fromkeys(normalize(code) for code in given))
    except UsageError as error:
        raise click.BadParameter(str(error), param=option) from None


def _date_option(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise click.BadParameter("write the date as 2026-04-30", param=option) from None


_Command = Callable[..., Any]


def _note_options(command: _Command) -> _Command:
    return _with_note_options(command, _input_format_option)


def _audit_note_options(command: _Command) -> _Command:
    return _with_note_options(command, _format_of_input(*INPUT_FORMATS, *TABLES))


def _with_note_options(command: _Command, input_format: Callable[[_Command], _Command]) -> _Command:
    for option in (
        click.option(
            "--max-bytes",
            type=click.IntRange(min=1),
            default=MAX_BYTES,
            show_default=True,
            help="The longest note that is read.",
        ),
        input_format,
        _patterns_option,
        click.option("--date", "date_of_service", metavar="YYYY-MM-DD", callback=_date_option, help="Date of service."),
        click.option(
            "--setting",
            type=click.Choice([setting.value for setting in Setting]),
            default=Setting.OUTPATIENT.value,
            show_default=True,
            help="Where the note was written.",
        ),
        click.option(
            "--code",
            "codes",
            multiple=True,
            callback=_codes_option,
            help="A code to check, dotted or not; may be given again. None: the codes written in the note, "
            "else those its facts point to.",
        ),
    ):
        command = option(command)
    return command


_patterns_option = click.option(
    "--patterns",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    metavar="DIR",
    help="A folder of your own concepts and checklists to add; may be given again.",
)


def _format_of_input(*names: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--input-format",
        type=click.Choice(names),
        help="The format to read, whatever the content looks like; without it, it is recognised by content.",
    )


_input_format_option = _format_of_input(*INPUT_FORMATS)
_snippets_option = click.option(
    "--snippets", is_flag=True, help="In SARIF, carry the words of the note that decided an item."
)
_out_option = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write here, not to standard output."
)


def _format_option(*names: str) -> Callable[[_Command], _Command]:
    return click.option("--format", "format_", type=click.Choice(names), default=names[0], show_default=True)


# ── check and extract ───────────────────────────────────────────────────────────────────────────


@commands.command(epilog=_EXIT_CODES)
@click.argument("files", nargs=-1, metavar="[FILE|-]...")
@click.option(
    "--claim",
    multiple=True,
    callback=_codes_option,
    help="The codes on the claim in their order, separated by commas; sequencing is checked against them.",
)
@_note_options
@_format_option("text", "json", "jsonl", "html", "sarif")
@_snippets_option
@_out_option
def check(
    files: tuple[str, ...],
    codes: tuple[str, ...],
    claim: tuple[str, ...],
    setting: str,
    date_of_service: str | None,
    patterns: tuple[Path, ...],
    max_bytes: int,
    input_format: str | None,
    format_: str,
    snippets: bool,
    out: Path | None,
) -> int:
    """Check notes: what each still has to document, the quotes that show what it does, and better-fitting codes.

    FILE is plain text, RTF, HTML, .docx, PDF with text, C-CDA, HL7 v2 or FHIR, recognised by content, with one note or
    many; "-" reads standard input.
    """
    options = NoteOptions(
        codes=codes,
        claim_codes=claim or None,
        setting=Setting(setting),
        date_of_service=date_of_service,
        max_bytes=max_bytes,
        input_format=input_format,
    )
    read = _read_all(_sources(files, out), options)
    if format_ == "html" and len(read) > 1:
        raise UsageError("--format html makes a page of one note: give one file at a time, with one note in it.")
    if not any(isinstance(one.row, Note) for one in read):
        return _refuse_all(read)

    from notegap.audit import Tally, audit
    from notegap.report import PIECES

    analyzer = _analyzer(patterns)
    tally = Tally()
    with output(out) as write:
        pieces = Pieces(write, format_, many=len(read) > 1)
        for one, outcome in zip(read, audit([one.row for one in read], analyzer.analyze), strict=True):
            tally.add(outcome)
            if isinstance(outcome, RowError):
                _complain(": ".join(filter(None, (one.where, outcome.message))))
                _add_error(pieces, outcome, format_)
            else:
                pieces.add(PIECES[format_](outcome, _page(out, one.where, snippets=snippets)))
        pieces.end()
    if tally.failed:
        return BROKEN
    if tally.gaps:
        return GAPS
    return COMPLETE if tally.complete else NOTHING_READ


@commands.command(epilog=_EXIT_CODES)
@click.argument("files", nargs=-1, metavar="[FILE|-]...")
@_patterns_option
@_input_format_option
@click.option("--max-bytes", type=click.IntRange(min=1), default=MAX_BYTES, show_default=True)
@_format_option("text", "json", "jsonl")
@_out_option
def extract(
    files: tuple[str, ...],
    patterns: tuple[Path, ...],
    input_format: str | None,
    max_bytes: int,
    format_: str,
    out: Path | None,
) -> int:
    """Show every fact that was read in notes: what, how it stands, what it is tied to, its quote."""
    read = _read_all(_sources(files, out), NoteOptions(max_bytes=max_bytes, input_format=input_format))
    if not any(isinstance(one.row, Note) for one in read):
        return _refuse_all(read)

    from notegap.report.json import json_mentions, jsonl_mentions
    from notegap.report.text import text_mentions

    formats = {"text": text_mentions, "json": json_mentions, "jsonl": jsonl_mentions}
    analyzer = _analyzer(patterns)
    code = COMPLETE
    with output(out) as write:
        pieces = Pieces(write, format_, many=len(read) > 1)
        for one in read:
            if isinstance(one.row, RowError):
                code = BROKEN
                _complain(_told(one))
                _add_error(pieces, one.row, format_)
            else:
                pieces.add(formats[format_](one.row, analyzer.extract(one.row), _page(out, one.where)))
        pieces.end()
    return code


def _sources(files: tuple[str, ...], out: Path | None) -> tuple[str, ...]:
    """The files to read; standard input when none is given and something is piped into it."""
    if not files:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("No note is given: name a file, or pipe one in with `-`.")
        return (STDIN,)
    if files.count(STDIN) > 1:
        raise UsageError("Standard input (-) is given twice; it can be read once.")
    for file in files:
        _refuse_overwriting(file, out)
    return files


def _refuse_overwriting(source: str, out: Path | None) -> None:
    with suppress(OSError, ValueError):
        if out is not None and source != STDIN and out.exists() and out.samefile(source):
            raise UsageError(f"--out {printable(str(out))}: is the file that is read; it would be lost.")


@dataclass(frozen=True, slots=True)
class _Read:
    """One note that was read, or why it was not, and where it stands; `empty` when nothing is there to be read."""

    where: str
    row: Note | RowError
    empty: bool = False


def _read_all(sources: tuple[str, ...], options: NoteOptions) -> list[_Read]:
    """The notes of all files. What was remarked of them is told at once."""
    return [one for source in sources for one in _read(source, options)]


def _read(source: str, options: NoteOptions) -> list[_Read]:
    where = _where(source)
    try:
        rows = list(read_file(source, options, say=lambda remark: _complain(f"{where}: {remark}")))
    except NoteError as error:
        message = str(error)
        for prefix in (where, "standard input"):
            if message.startswith(f"{prefix}: "):
                name = "stdin" if source == STDIN else printable(Path(source).name)
                row = RowError(name, where, message[len(prefix) + 2 :])
                return [_Read(prefix, row, empty=isinstance(error, EmptyNoteError))]
        # What was given for a file's name may be a note, and is not repeated.
        return [_Read("", RowError("", "", message))]
    if len(rows) == 1:
        return [_Read(where, rows[0])]
    return [_Read(f"{where}#{number}", row) for number, row in enumerate(rows, start=1)]


def _refuse_all(read: Sequence[_Read]) -> int:
    for one in read:
        _complain(_told(one))
    return NOTHING_READ if all(one.empty for one in read) else BROKEN


def _told(one: _Read) -> str:
    """What is wrong with a note that could not be read, and where."""
    return ": ".join(filter(None, (one.where, one.row.message if isinstance(one.row, RowError) else "")))


def _add_error(pieces: Pieces, error: RowError, format_: str) -> None:
    """Write what stands in the place of a report; where a person reads, standard error has told it already."""
    from notegap.report.json import json_error, jsonl_error
    from notegap.report.sarif import sarif_error

    if format_ not in ("text", "html"):
        printer = {"json": json_error, "jsonl": jsonl_error, "sarif": sarif_error}[format_]
        pieces.add(printer(error.id, error.message, error.where))


def _where(source: str) -> str:
    return "stdin" if source == STDIN else printable(source)


# ── explain and codes ───────────────────────────────────────────────────────────────────────────


@commands.command()
@click.argument("code", metavar="CODE[/item]")
@_patterns_option
def explain(code: str, patterns: tuple[Path, ...]) -> int:
    """Explain a code: its checklist and what the tabular says; with /item, one item of the checklist."""
    from notegap.icd10cm import load, normalize
    from notegap.knowledge import load_checklists
    from notegap.report.explain import explain_code, explain_item

    name, _, item_id = code.partition("/")
    wanted = normalize(name)
    checklist = _checklist_of(wanted, load_checklists(patterns))
    if not item_id:
        print_out(explain_code(wanted, checklist, load(), _page()))
        return COMPLETE
    if checklist is None:
        raise UsageError(f"{wanted}: no checklist covers this code, so it has no items.")
    every: list[Requirement | Alert] = [*checklist.requires, *checklist.alerts]
    items = {item.id: item for item in every}
    if item_id not in items:
        raise UsageError(f"{wanted}: has no item {item_id!r}; {_nearest(item_id, items)}")
    print_out(explain_item(wanted, items[item_id], checklist, _page()))
    return COMPLETE


@commands.command()
@click.argument("text", nargs=-1, metavar="[TEXT]")
@_patterns_option
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Codes shown at most.")
def codes(text: tuple[str, ...], patterns: tuple[Path, ...], limit: int) -> int:
    """List the codes that have a checklist; with TEXT, search the code set by code or by words of the title."""
    from notegap.icd10cm import load
    from notegap.report.explain import list_checklists, list_codes

    if not text:
        from notegap.knowledge import load_checklists

        print_out(list_checklists(load_checklists(patterns), load(), _page()))
        return COMPLETE
    found = load().search(" ".join(text), limit=limit + 1)
    if not found:
        _complain(f"no code of {load().release} starts with this text or has these words in its title")
        return NOTHING_READ
    print_out(list_codes(found[:limit], _page()))
    if len(found) > limit:
        _complain(f"there are more than {limit}; --limit shows more")
    return COMPLETE


def _checklist_of(code: str, checklists: Iterable[Checklist]) -> Checklist | None:
    # As Knowledge.checklist does; building Knowledge would read every concept.
    known = tuple(checklists)
    exact = next((checklist for checklist in known if code in checklist.codes), None)
    return exact or next((checklist for checklist in known if code.startswith(checklist.id)), None)


def _nearest(name: str, names: Iterable[str]) -> str:
    known = list(names)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it has {', '.join(known)}"


# ── query ───────────────────────────────────────────────────────────────────────────────────────


class _QueryGroup(click.Group):
    """`notegap query NOTE` without naming a command, and `notegap query lint FILE`."""

    usual = "note"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments, with the usual command where they name none."""
        named = {*self.commands, *self.get_help_option_names(ctx)}
        return super().parse_args(ctx, args if args and args[0] in named else [self.usual, *args])


_QUERY_EXIT_CODES = _EXIT_CODES.replace("no gaps", "nothing to ask; nothing to object to").replace(
    "gaps, or alerts", "queries to send; findings of lint"
)


@commands.group(name="query", cls=_QueryGroup, epilog=_QUERY_EXIT_CODES)
def query_group() -> None:
    """Write the queries a note's gaps call for (`query NOTE`), or judge any query (`query lint FILE`).

    `notegap query note --help` tells the options of the first.
    """


@query_group.command(name=_QueryGroup.usual, epilog=_QUERY_EXIT_CODES)
@click.argument("file", required=False, metavar="[NOTE|-]")
@click.option(
    "--claim",
    multiple=True,
    callback=_codes_option,
    help="The codes on the claim in their order, separated by commas; sequencing is checked against them.",
)
@_note_options
@click.option(
    "--waivers",
    "waivers_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="YAML of items that are not asked for, each with a reason, an author and the last day it holds.",
)
@click.option("--all", "all_", is_flag=True, help="Every query, not only the first three.")
@_format_option("text", "markdown", "json", "fhir")
@_out_option
def query_note(
    file: str | None,
    codes: tuple[str, ...],
    claim: tuple[str, ...],
    setting: str,
    date_of_service: str | None,
    patterns: tuple[Path, ...],
    max_bytes: int,
    input_format: str | None,
    waivers_file: Path | None,
    all_: bool,
    format_: str,
    out: Path | None,
) -> int:
    """Write the provider queries that a note's gaps call for, those first whose answer changes most."""
    options = NoteOptions(
        codes=codes,
        claim_codes=claim or None,
        setting=Setting(setting),
        date_of_service=date_of_service,
        max_bytes=max_bytes,
        input_format=input_format,
    )
    (source,) = _sources((file,) if file is not None else (), out)
    note = read_note(source, options, say=lambda remark: _complain(f"{_where(source)}: {remark}"))

    from notegap.query import FORMATS, SHOWN, compose_sheet, load_waivers
    from notegap.report.lines import shown

    analyzer = _analyzer(patterns)
    waivers = load_waivers(waivers_file, analyzer.knowledge) if waivers_file is not None else ()
    report = analyzer.analyze(note)
    if not report.checks:
        _complain(
            f"{_where(source)}: no code was given, none is written in the note, and its facts point to none that has a "
            "checklist; give one with --code"
        )
        return NOTHING_READ
    sheet = compose_sheet(report, analyzer.knowledge, waivers, shown=None if all_ else SHOWN)
    with output(out) as write:
        write(FORMATS[format_](sheet))
    for waiver in sheet.expired:
        _complain(f"{waiver.place}: the waiver of {waiver.id} expired on {waiver.expires}; it is not applied")
    for finding, waiver in sheet.waived:
        _complain(f"{finding} is not asked for: waived by {shown(waiver.author)} until {waiver.expires}")
    folded = len(sheet.queries) - sheet.shown
    if folded:
        _complain(f"{folded} more {'query' if folded == 1 else 'queries'} can wait; --all shows every one")
    return GAPS if sheet.queries else COMPLETE


@query_group.command(name="lint", epilog=_QUERY_EXIT_CODES)
@click.argument("files", nargs=-1, metavar="[FILE|-]...")
@_patterns_option
@click.option("--max-bytes", type=click.IntRange(min=1), default=MAX_BYTES, show_default=True)
@_format_option("text", "json")
@_out_option
def query_lint(
    files: tuple[str, ...], patterns: tuple[Path, ...], max_bytes: int, format_: str, out: Path | None
) -> int:
    """Judge queries, whoever wrote them, by the rules Q01 to Q20: the rule, where, why.

    FILE is plain text, Markdown, or the JSON of `notegap query`.
    """
    from notegap.knowledge import load_query_rules
    from notegap.query.lint import VERDICTS, lint

    # The JSON of a query may look like another format; it is text here.
    read = _read_all(_sources(files, out), NoteOptions(max_bytes=max_bytes, input_format=TEXT))
    if not any(isinstance(one.row, Note) for one in read):
        return _refuse_all(read)
    rules = load_query_rules(patterns)
    codes: set[int] = set()
    with output(out) as write:
        pieces = Pieces(write, format_, many=len(read) > 1)
        for one in read:
            if isinstance(one.row, RowError):
                _complain(_told(one))
                codes.add(BROKEN)
                continue
            try:
                verdict = lint(one.row.text, rules, where=one.where)
            except NoteError as error:
                _complain(str(error))
                codes.add(BROKEN)
                continue
            if not verdict.queries:
                _complain(f"{one.where}: there is no question in it, so no query was judged")
            pieces.add(VERDICTS[format_](verdict))
            codes.add(GAPS if verdict.faults else COMPLETE if verdict.queries else NOTHING_READ)
        pieces.end()
    return next(code for code in (BROKEN, GAPS, COMPLETE, NOTHING_READ) if code in codes)


# ── audit and selftest ──────────────────────────────────────────────────────────────────────────


def _sample_option(_context: click.Context, option: click.Parameter, value: str | None) -> Sample | None:
    if value is None:
        return None
    from notegap.audit.select import parse_sample

    try:
        return parse_sample(value.strip())
    except UsageError as error:
        raise click.BadParameter(str(error), param=option) from None


def _columns_option(_context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    from notegap.notes.table import FIELDS, SAID

    columns = {}
    for pair in (part for value in values for part in value.split(",") if part.strip()):
        name, _, column = (part.strip() for part in pair.partition("="))
        if name not in (*FIELDS, *SAID) or not column:
            raise click.BadParameter(
                f"write it as text=NOTE_BODY,id=NOTE_ID; what can be named is {', '.join((*FIELDS, *SAID))}",
                param=option,
            )
        columns[name] = column
    return columns


@commands.command(name="audit", epilog=_EXIT_CODES)
@click.argument("sources", nargs=-1, required=True, metavar="IN...")
@_audit_note_options
@click.option(
    "--format",
    "format_",
    type=click.Choice(("jsonl", "json", "sarif", "csv")),
    default="jsonl",
    show_default=True,
    help="What is written to standard output, and to a file whose ending says nothing.",
)
@_snippets_option
@click.option(
    "--out",
    "outs",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Write here, not to standard output; may be given again. The ending says the format: .jsonl, .json, .sarif, "
    ".parquet, .csv, .xlsx, .duckdb, .html.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Read this many notes at most.")
@click.option("--since", metavar="YYYY-MM-DD", callback=_date_option, help="Only notes of this day and later.")
@click.option(
    "--sample", metavar="N|P%", callback=_sample_option, help="Only so many notes, or such a share, drawn at random."
)
@click.option(
    "--columns",
    multiple=True,
    callback=_columns_option,
    metavar="FIELD=COLUMN,...",
    help="Which columns of a table stand for which fields: text=NOTE_BODY,id=NOTE_ID.",
)
@click.option(
    "--check-claims",
    is_flag=True,
    help="Check the codes of a note's claim too: those with a checklist, and those that cannot be reported.",
)
@click.option("--query", default="", metavar="SQL", help="What to read from IN, a DuckDB file or a database's URL.")
@click.option(
    "--workers", type=click.IntRange(min=1), help="Processes that read side by side; one for each core unless given."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60,
    show_default=True,
    help="Seconds after which a note is given up; 0 is never.",
)
@click.option(
    "--ledger",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where findings are kept, so that an audit that was stopped goes on; beside the first --out unless given.",
)
@click.option("--fresh", is_flag=True, help="Begin anew, whatever the ledger has.")
@click.option(
    "--quarantine",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the rows that failed are told, without their words; beside the first --out unless given.",
)
@click.option("--with-text", is_flag=True, help="Carry the notes' own words in tables; without it they have none.")
@click.option(
    "--baseline",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The Parquet file of an earlier audit to compare with.",
)
@click.option(
    "--small-number",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="A provider with fewer notes is not shown alone.",
)
@click.option(
    "--engine",
    type=click.Choice(("local", "spark")),
    default="local",
    show_default=True,
    help="What does the work: processes of this machine, or Apache Spark.",
)
@click.option(
    "--master", metavar="URL", help="The Spark to work on: local[4], spark://HOST:7077, yarn; else this machine."
)
@click.pass_context
def audit_command(
    context: click.Context,
    sources: tuple[str, ...],
    codes: tuple[str, ...],
    setting: str,
    date_of_service: str | None,
    patterns: tuple[Path, ...],
    max_bytes: int,
    input_format: str | None,
    format_: str,
    snippets: bool,
    outs: tuple[Path, ...],
    limit: int | None,
    since: str | None,
    sample: Sample | None,
    columns: dict[str, str],
    check_claims: bool,
    query: str,
    workers: int | None,
    timeout: float,
    ledger: Path | None,
    fresh: bool,
    quarantine: Path | None,
    with_text: bool,
    baseline: Path | None,
    small_number: int,
    engine: str,
    master: str | None,
) -> int:
    """Check many notes and write one report for each, in order, or tables of all findings.

    IN is a folder of files in any format that `check` reads, one such file, JSON Lines, CSV, Parquet, a FHIR bulk
    export, any of these as .gz or .zip, with --query a DuckDB file or a database's URL, or "-" for standard input.
    Fields and columns: id, text, codes (or code), claim_codes, setting, date_of_service, provider, encounter,
    department, date; --code, --setting and --date stand in where a note has none. A note that cannot be read or
    analyzed gives {"id", "error"} in its place.

    An audit with --out that was stopped goes on when the same command is run again.
    """
    from notegap.audit.batch import Plan, run_audit
    from notegap.audit.select import Selection
    from notegap.audit.writers import WriterOptions

    for source, out in itertools.product(sources, outs):
        _refuse_overwriting(source, out)
    if len(set(outs)) < len(outs) or sources.count(STDIN) > 1:
        raise UsageError("A file is named twice; each can be read or written once.")
    if master is not None and engine != "spark":
        raise UsageError("--master names a Spark: it goes with --engine spark.")
    plan = Plan(
        sources=sources,
        options=NoteOptions(
            codes=codes,
            setting=Setting(setting),
            date_of_service=date_of_service,
            max_bytes=max_bytes,
            input_format=input_format,
            columns=columns,
        ),
        outs=outs,
        format_=format_,
        format_asked=context.get_parameter_source("format_") is ParameterSource.COMMANDLINE,
        ledger=ledger,
        fresh=fresh,
        quarantine=quarantine,
        selection=Selection(since=since or "", sample=sample, limit=limit),
        check_claims=check_claims,
        workers=workers or _cores(),
        timeout=timeout or None,
        query=query,
        writing=WriterOptions(with_text=with_text, snippets=snippets, baseline=baseline, small_number=small_number),
    )
    remarks = _Remarks()
    if engine == "spark":
        from notegap.audit.spark.engine import run_on_spark
        from notegap.audit.spark.frames import Patterns

        build = Patterns(tuple(str(folder.resolve()) for folder in patterns))
        at = master or f"local[{plan.workers}]"
        tally = run_on_spark(plan, build, master=at, say=remarks.add, tell=_complain, print_out=print_out)
    else:
        tally = run_audit(plan, partial(_analyzer, patterns), say=remarks.add, tell=_complain, print_out=print_out)
    remarks.tell()
    if tally is None:
        _complain(f"{', '.join(map(_where, sources[:3]))}: nothing was read, there is no note in it")
        return NOTHING_READ
    if tally.copies:
        _complain(tally.copies)
    _complain(str(tally))
    if tally.failed:
        return BROKEN
    return GAPS if tally.gaps else COMPLETE


@commands.command(epilog=_TRENDS_EXIT_CODES)
@click.argument("audits", nargs=-1, required=True, metavar="AUDIT...", type=click.Path(path_type=Path))
@click.option(
    "--small-number",
    "small",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Groups of fewer notes are not told.",
)
@_format_option("text", "json", "html", "csv")
@_out_option
def trends(audits: tuple[Path, ...], small: int, format_: str, out: Path | None) -> int:
    """Compare audits over time, by item and by provider.

    AUDIT is a .parquet or .duckdb file that `notegap audit` wrote. Rates come with their 95 % intervals, changes with a
    test that counts how many groups were looked at.
    """
    from notegap.audit.trends import FORMATS, compare_audits, trends_text

    for audit in audits:
        _refuse_overwriting(str(audit), out)
    compared = compare_audits(audits, small=small)
    page = _page(out)
    text = trends_text(compared, page.width) if format_ == "text" else FORMATS[format_](compared)
    with output(out) as write:
        write(text)
    for remark in compared.remarks:
        _complain(remark)
    return COMPLETE


def _cores() -> int:
    """How many processes this machine runs at once, for this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@commands.command()
@click.argument("directory", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
def selftest(directory: Path | None) -> int:
    """Run the examples of what notegap knows, or of a folder of your own concepts and checklists."""
    from notegap.analyzer import Analyzer
    from notegap.knowledge import load_knowledge, read_directory
    from notegap.testing import run_examples

    knowledge = load_knowledge([directory] if directory else [])
    results = run_examples(Analyzer(knowledge), read_directory(directory) if directory else knowledge)
    failed = [result for result in results if not result.ok]
    print_out(
        "".join(f"{result}\n" for result in failed) + f"{len(results) - len(failed)} of {len(results)} examples pass\n"
    )
    if not results:
        return NOTHING_READ
    return BROKEN if failed else COMPLETE


@commands.command()
@click.option("--host", metavar="ADDRESS", help="Where it listens; beyond this machine only when it is protected.")
@click.option("--port", type=click.IntRange(0, 65535), help="8765 unless configured; 0 takes any free one.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), metavar="FILE", help="Certificate chain for HTTPS.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="The certificate's private key.")
@config_option
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open the page in a browser.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that read side by side; 1 unless configured.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    help="Requests a second that one client may ask of each process; 0 is any number, 200 unless configured.",
)
@_patterns_option
@click.option("--max-bytes", type=click.IntRange(min=1), help="The longest note that is read; 1 MB unless configured.")
def serve(
    host: str | None,
    port: int | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    config_file: Path | None,
    browser: bool,
    workers: int | None,
    rate: float | None,
    patterns: tuple[Path, ...],
    max_bytes: int | None,
) -> int:
    """Serve the page, the HTTP interface (its documentation is at /docs), CDS Hooks, FHIR and HL7 v2.

    It answers to this machine only and keeps nothing but counts, unless notegap.toml says otherwise.
    """
    need_packages("serve")
    with _loading():
        from notegap.config import load
        from notegap.service.serve import serve as run_server
        from notegap.service.serve import serve_by_processes

    options = {
        "patterns": patterns,
        "server.host": host,
        "server.port": port,
        "server.tls_certificate": tls_certificate,
        "server.tls_key": tls_key,
        "server.workers": workers,
        "server.max_bytes": max_bytes,
        "limits.rate": rate,
    }
    config = load(config_file, options=options).config

    def ready(address: str) -> None:
        print_out(f"notegap is at {address}  (Ctrl+C stops it)\n")
        if config.mllp.port is not None:
            print_out(f"HL7 v2 messages come in at {config.mllp.host}, port {config.mllp.port} (MLLP)\n")
        if browser and sys.stdout.isatty():
            import webbrowser

            webbrowser.open(address)

    if config.server.workers == 1:
        run_server(_analyzer(config.patterns), config, ready=ready)
    else:
        # A mistake in a folder of knowledge is told once, before any process starts.
        _analyzer(config.patterns)
        serve_by_processes(partial(_analyzer, config.patterns), config, ready=ready)
    return COMPLETE


for _command in COMMANDS:
    commands.add_command(_command)


def _analyzer(patterns: tuple[Path, ...]) -> Analyzer:
    with _loading():
        from notegap.analyzer import Analyzer
        from notegap.knowledge import load_knowledge

        return Analyzer(load_knowledge(patterns))


@contextmanager
def _loading() -> Iterator[None]:
    """While what is loaded stays: looking through it for garbage takes a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class _Remarks:
    """What was remarked of an audit's files, counted: one line for each kind, however many files."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._count: Counter[str] = Counter()

    def add(self, where: str, remark: str) -> None:
        self._first.setdefault(remark, where)
        self._count[remark] += 1

    def tell(self) -> None:
        for remark, where in self._first.items():
            others = self._count[remark] - 1
            _complain(f"{where}: {remark}" + (f" (and {others} more)" if others else ""))


# ── what is printed, and where ──────────────────────────────────────────────────────────────────


def _page(out: Path | None = None, source: str = "", *, snippets: bool = False) -> Page:
    from notegap.report import Page

    color = bool(os.environ.get("FORCE_COLOR")) or (
        sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    )
    width = min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)
    plain = out is not None or bool(os.environ.get("NO_COLOR"))
    return Page(width=width, color=color and not plain, source=source, snippets=snippets)


def _complain(message: str) -> None:
    with suppress(OSError):
        click.echo(f"notegap: {message}", err=True)
