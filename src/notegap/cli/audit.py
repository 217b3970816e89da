"""`audit` and `trends`: many notes, and many audits."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from notegap.cli import base
from notegap.cli.base import (
    BROKEN,
    COMPLETE,
    EXIT_CODES,
    GAPS,
    NOTHING_READ,
    complain,
    day_of,
    format_option,
    note_options,
    out_option,
    page_of,
    small_number_option,
    snippets_option,
)
from notegap.cli.reading import refuse_overwriting, where_of
from notegap.errors import UsageError
from notegap.notes.text import STDIN, NoteOptions
from notegap.report.sink import output, print_out

if TYPE_CHECKING:
    from notegap.audit.select import Sample

_TRENDS_EXIT_CODES = """\b
Exit codes:
  0  the audits were compared
  2  something broke: an option, a file that is no audit, the output
"""


def _sample_of(_context: click.Context, option: click.Parameter, value: str | None) -> Sample | None:
    if value is None:
        return None
    from notegap.audit.select import parse_sample

    try:
        return parse_sample(value.strip())
    except UsageError as error:
        raise click.BadParameter(str(error), param=option) from None


def _columns_of(_context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    from notegap.notes.table import FIELDS, SAID

    columns = {}
    for pair in (part for value in values for part in value.split(",") if part.strip()):
        name, _, column = (part.strip() for part in pair.partition("="))
        if name not in (*FIELDS, *SAID) or not column:
            raise click.BadParameter(
                f"write it as text=NOTE_BODY,id=NOTE_ID; what can be named is {', '.join((*FIELDS, *SAID))}",
                param=option,
            )
        if name in columns:
            raise click.BadParameter(f"{name} is given two columns", param=option)
        columns[name] = column
    return columns


def _date_format_of(_context: click.Context, option: click.Parameter, value: str) -> str:
    day = date(2026, 4, 30)
    try:
        if not value or date(*time.strptime(day.strftime(value), value)[:3]) == day:
            return value
    except ValueError:
        pass
    raise click.BadParameter("it has to name day, month and year, as in %m/%d/%Y", param=option)


@click.command(name="audit", epilog=EXIT_CODES)
@click.argument("sources", nargs=-1, required=True, metavar="IN...")
@note_options(tables=True)
@click.option(
    "--format",
    "format_",
    type=click.Choice(("jsonl", "json", "sarif", "csv")),
    default="jsonl",
    show_default=True,
    help="What is written to standard output, and to a file whose ending says nothing.",
)
@snippets_option
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
@click.option("--since", metavar="YYYY-MM-DD", callback=day_of, help="Only notes of this day and later.")
@click.option(
    "--sample", metavar="N|P%", callback=_sample_of, help="Only so many notes, or such a share, drawn at random."
)
@click.option(
    "--columns",
    multiple=True,
    callback=_columns_of,
    metavar="FIELD=COLUMN,...",
    help="Which columns of a table stand for which fields: text=NOTE_BODY,id=NOTE_ID.",
)
@click.option(
    "--date-format",
    default="",
    callback=_date_format_of,
    metavar="FORMAT",
    help="How a table writes its days, where not as 2026-04-30: %m/%d/%Y.",
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
@small_number_option(0, "A provider with fewer notes is not shown alone.")
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
    options: NoteOptions,
    patterns: tuple[Path, ...],
    format_: str,
    snippets: bool,
    outs: tuple[Path, ...],
    limit: int | None,
    since: str | None,
    sample: Sample | None,
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
        refuse_overwriting(source, out)
    if len(set(outs)) < len(outs) or sources.count(STDIN) > 1:
        raise UsageError("A file is named twice; each can be read or written once.")
    if master is not None and engine != "spark":
        raise UsageError("--master names a Spark: it goes with --engine spark.")
    plan = Plan(
        sources=sources,
        options=options,
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
        tally = run_on_spark(plan, build, master=at, say=remarks.add, tell=complain, print_out=print_out)
    else:
        tally = run_audit(
            plan, partial(base.build_analyzer, patterns), say=remarks.add, tell=complain, print_out=print_out
        )
    remarks.tell()
    if tally is None:
        why = "no note in it is one that --since and --sample ask for" if since or sample else "there is no note in it"
        complain(f"{', '.join(map(where_of, sources[:3]))}: nothing was read, {why}")
        return NOTHING_READ
    if tally.copies:
        complain(tally.copies)
    if tally.unchecked_claims:
        complain(tally.unchecked_claims)
    complain(str(tally))
    if tally.failed:
        return BROKEN
    return GAPS if tally.gaps else COMPLETE


@click.command(epilog=_TRENDS_EXIT_CODES)
@click.argument("audits", nargs=-1, required=True, metavar="AUDIT...", type=click.Path(path_type=Path))
@small_number_option(1, "Groups of fewer notes are not told.")
@format_option("text", "json", "html", "csv")
@out_option
def trends(audits: tuple[Path, ...], small_number: int, format_: str, out: Path | None) -> int:
    """Compare audits over time, by item and by provider.

    AUDIT is a .parquet or .duckdb file that `notegap audit` wrote. Rates come with their 95 % intervals, changes with a
    test that counts how many groups were looked at.
    """
    from notegap.audit.trends import FORMATS, compare_audits, trends_text

    for audit in audits:
        refuse_overwriting(str(audit), out)
    compared = compare_audits(audits, small=small_number)
    page = page_of(out)
    text = trends_text(compared, page.width) if format_ == "text" else FORMATS[format_](compared)
    with output(out) as write:
        write(text)
    for remark in compared.remarks:
        complain(remark)
    return COMPLETE


def _cores() -> int:
    """How many processes this machine runs at once, for this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
            complain(f"{where}: {remark}" + (f" (and {others} more)" if others else ""))


COMMANDS = (audit_command, trends)
