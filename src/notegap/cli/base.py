"""What the commands share: options, exit codes, an analyzer, and what is printed where."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from notegap.errors import UsageError
from notegap.model import Setting
from notegap.notes.read import FORMATS as INPUT_FORMATS
from notegap.notes.read import TABLES
from notegap.notes.text import MAX_BYTES, NoteOptions

if TYPE_CHECKING:
    from notegap.analyzer import Analyzer
    from notegap.report import Page

COMPLETE, GAPS, BROKEN, NOTHING_READ, INTERRUPTED = 0, 1, 2, 3, 130

EXIT_CODES = """\b
Exit codes:
  0  no gaps
  1  gaps, or alerts
  2  something broke: an option, a note, a knowledge file, the output, notegap itself
  3  nothing was read: no note, an empty one, or (check) no code to check it against
"""
_WIDEST = 120

Command = Callable[..., Any]
"""A function that is to become a command."""

# ── options ─────────────────────────────────────────────────────────────────────────────────────


def _codes_of(_context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    from notegap.icd10cm import normalize

    given = [part for value in values for part in value.replace(";", ",").split(",") if part.strip()]
    if values and not given:
        raise click.BadParameter("no code is given", param=option)
    try:
        return tuple(dict.fromkeys(normalize(code) for code in given))
    except UsageError as error:
        raise click.BadParameter(str(error), param=option) from None


def day_of(_context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """The day that an option names."""
    if value is None:
        return None
    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise click.BadParameter("write the date as 2026-04-30", param=option) from None


def format_option(*names: str) -> Callable[[Command], Command]:
    """What is written; the first name unless another is given."""
    return click.option("--format", "format_", type=click.Choice(names), default=names[0], show_default=True)


def input_format_option(*names: str) -> Callable[[Command], Command]:
    """What is read: one of these formats."""
    return click.option(
        "--input-format",
        type=click.Choice(names),
        help="The format to read, whatever the content looks like; without it, it is recognised by content.",
    )


def small_number_option(least: int, text: str) -> Callable[[Command], Command]:
    """Groups of how many notes are told."""
    return click.option("--small-number", type=click.IntRange(min=least), default=10, show_default=True, help=text)


patterns_option = click.option(
    "--patterns",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    metavar="DIR",
    help="A folder of your own concepts and checklists to add; may be given again.",
)
max_bytes_option = click.option(
    "--max-bytes",
    type=click.IntRange(min=1),
    default=MAX_BYTES,
    show_default=True,
    help="The longest note that is read.",
)
claim_option = click.option(
    "--claim",
    multiple=True,
    callback=_codes_of,
    help="The codes on the claim in their order, separated by commas; sequencing is checked against them.",
)
snippets_option = click.option(
    "--snippets", is_flag=True, help="In SARIF, carry the words of the note that decided an item."
)
out_option = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write here, not to standard output."
)


def note_options(*, tables: bool = False) -> Callable[[Command], Command]:
    """The options that say what is asked of a note; the command gets them as `options`, and `patterns`.

    Its own `claim`, `columns` and `date_format`, where it has such, are among `options`. `tables`: it reads tables too.
    """
    names = (*INPUT_FORMATS, *TABLES) if tables else INPUT_FORMATS
    given = (
        max_bytes_option,
        input_format_option(*names),
        patterns_option,
        click.option("--date", "date_of_service", metavar="YYYY-MM-DD", callback=day_of, help="Date of service."),
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
            callback=_codes_of,
            help="A code to check, dotted or not; may be given again. None: the codes written in the note, "
            "else those its facts point to.",
        ),
    )

    def deciding(command: Command) -> Command:
        @wraps(command)
        def with_options(
            *arguments: Any,
            codes: tuple[str, ...],
            setting: str,
            date_of_service: str | None,
            max_bytes: int,
            input_format: str | None,
            claim: tuple[str, ...] = (),
            columns: dict[str, str] | None = None,
            date_format: str = "",
            **others: Any,
        ) -> Any:
            options = NoteOptions(
                codes=codes,
                claim_codes=claim or None,
                setting=Setting(setting),
                date_of_service=date_of_service,
                max_bytes=max_bytes,
                input_format=input_format,
                columns=columns or {},
                date_format=date_format,
            )
            return command(*arguments, options=options, **others)

        decided: Command = with_options
        for option in given:
            decided = option(decided)
        return decided

    return deciding


# ── an analyzer ─────────────────────────────────────────────────────────────────────────────────


def build_analyzer(patterns: tuple[Path, ...]) -> Analyzer:
    """An analyzer that also knows what is in these folders."""
    with loading():
        from notegap.analyzer import Analyzer
        from notegap.knowledge import load_knowledge

        return Analyzer(load_knowledge(patterns))


@contextmanager
def loading() -> Iterator[None]:
    """While what is loaded stays: looking through it for garbage takes a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# ── what is printed, and where ──────────────────────────────────────────────────────────────────


def page_of(out: Path | None = None, source: str = "", *, snippets: bool = False) -> Page:
    """The page that is printed on: a terminal, a pipe, or the file `out`."""
    from notegap.report import Page

    color = bool(os.environ.get("FORCE_COLOR")) or (
        sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    )
    width = min(shutil.get_terminal_size((80, 24)).columns, _WIDEST)
    plain = out is not None or bool(os.environ.get("NO_COLOR"))
    return Page(width=width, color=color and not plain, source=source, snippets=snippets)


def complain(message: str) -> None:
    """Tell something on standard error."""
    with suppress(OSError):
        click.echo(f"notegap: {message}", err=True)
