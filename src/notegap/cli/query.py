"""`query`: write the queries that a note calls for, judge any query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    complain,
    format_option,
    max_bytes_option,
    note_options,
    out_option,
    patterns_option,
)
from notegap.cli.reading import Read, is_any_read, print_each, read_all, refuse_all, sources_of, where_of
from notegap.errors import NoteError
from notegap.notes.document import RowError
from notegap.notes.files import read_note
from notegap.notes.read import TEXT
from notegap.notes.text import NoteOptions
from notegap.report.sink import output

if TYPE_CHECKING:
    from notegap.model import QueryRule
    from notegap.query.lint import Verdict


class _QueryGroup(click.Group):
    """`notegap query NOTE` without naming a command, and `notegap query lint FILE`."""

    usual = "note"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The arguments, with the usual command where they name none."""
        named = {*self.commands, *self.get_help_option_names(ctx)}
        return super().parse_args(ctx, args if args and args[0] in named else [self.usual, *args])


_QUERY_EXIT_CODES = EXIT_CODES.replace("no gaps", "nothing to ask; nothing to object to").replace(
    "gaps, or alerts", "queries to send; findings of lint"
)


@click.group(name="query", cls=_QueryGroup, epilog=_QUERY_EXIT_CODES)
def query_group() -> None:
    """Write the queries a note's gaps call for (`query NOTE`), or judge any query (`query lint FILE`).

    `notegap query note --help` tells the options of the first.
    """


@query_group.command(name=_QueryGroup.usual, epilog=_QUERY_EXIT_CODES)
@click.argument("file", required=False, metavar="[NOTE|-]")
@claim_option
@note_options()
@click.option(
    "--waivers",
    "waivers_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="YAML of items that are not asked for, each with a reason, an author and the last day it holds.",
)
@click.option("--all", "all_", is_flag=True, help="Every query, not only the first three.")
@format_option("text", "markdown", "json", "fhir")
@out_option
def query_note(
    file: str | None,
    options: NoteOptions,
    patterns: tuple[Path, ...],
    waivers_file: Path | None,
    all_: bool,
    format_: str,
    out: Path | None,
) -> int:
    """Write the provider queries that a note's gaps call for, those first whose answer changes most."""
    (source,) = sources_of((file,) if file is not None else (), out)
    note = read_note(source, options, say=lambda remark: complain(f"{where_of(source)}: {remark}"))

    from notegap.query import FORMATS, SHOWN, compose_sheet, load_waivers
    from notegap.report.lines import shown

    analyzer = base.build_analyzer(patterns)
    waivers = load_waivers(waivers_file, analyzer.knowledge) if waivers_file is not None else ()
    report = analyzer.analyze(note)
    if not report.checks:
        complain(
            f"{where_of(source)}: no code was given, none is written in the note, and its facts point to none that has "
            "a checklist; give one with --code"
        )
        return NOTHING_READ
    sheet = compose_sheet(report, analyzer.knowledge, waivers, shown=None if all_ else SHOWN)
    with output(out) as write:
        write(FORMATS[format_](sheet))
    for waiver in sheet.expired:
        complain(f"{waiver.place}: the waiver of {waiver.id} expired on {waiver.expires}; it is not applied")
    for finding, waiver in sheet.waived:
        complain(f"{finding} is not asked for: waived by {shown(waiver.author)} until {waiver.expires}")
    folded = len(sheet.queries) - sheet.shown
    if folded:
        complain(f"{folded} more {'query' if folded == 1 else 'queries'} can wait; --all shows every one")
    return GAPS if sheet.queries else COMPLETE


@query_group.command(name="lint", epilog=_QUERY_EXIT_CODES)
@click.argument("files", nargs=-1, metavar="[FILE|-]...")
@patterns_option
@max_bytes_option
@format_option("text", "json")
@out_option
def query_lint(
    files: tuple[str, ...], patterns: tuple[Path, ...], max_bytes: int, format_: str, out: Path | None
) -> int:
    """Judge queries, whoever wrote them, by the rules Q01 to Q20: the rule, where, why.

    FILE is plain text, Markdown, or the JSON of `notegap query`.
    """
    from notegap.knowledge import load_query_rules
    from notegap.query.lint import VERDICTS

    # The JSON of a query may look like another format; it is text here.
    read = read_all(sources_of(files, out), NoteOptions(max_bytes=max_bytes, input_format=TEXT))
    if not is_any_read(read):
        return refuse_all(read)

    def printed(one: Read, verdict: Verdict) -> tuple[str, int]:
        if not verdict.queries:
            complain(f"{one.where}: there is no question in it, so no query was judged")
        code = GAPS if verdict.faults else COMPLETE if verdict.queries else NOTHING_READ
        return VERDICTS[format_](verdict), code

    verdicts = _judged(read, load_query_rules(patterns))
    return print_each(read, verdicts, printed, out=out, format_=format_, in_place=False)


def _judged(read: Sequence[Read], rules: Sequence[QueryRule]) -> Iterator[Verdict | RowError]:
    from notegap.query.lint import lint

    for one in read:
        if isinstance(one.row, RowError):
            yield one.row
            continue
        try:
            yield lint(one.row.text, rules, where=one.where)
        except NoteError as error:
            yield RowError(one.row.id, one.where, str(error).removeprefix(f"{one.where}: "))


COMMANDS = (query_group,)
