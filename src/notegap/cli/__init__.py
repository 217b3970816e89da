"""The command line: parse, one call, print, exit. What takes long to import is imported by the command that uses it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence

import click

from notegap.cli import audit, base, knowledge, notes, query, serve
from notegap.cli.base import BROKEN, COMPLETE, EXIT_CODES, GAPS, INTERRUPTED, NOTHING_READ, complain
from notegap.errors import EmptyNoteError, NotegapError, crash_site
from notegap.report.sink import abandon_stdout, print_out
from notegap.service import commands as service

__all__ = ["BROKEN", "COMPLETE", "GAPS", "INTERRUPTED", "NOTHING_READ", "base", "commands", "main", "run"]


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
        complain("stopped")
        return INTERRUPTED
    except SystemExit:
        # So click leaves, with 1, when whoever read the output has left (`head`). No message; but it is not whole.
        abandon_stdout()
        return BROKEN
    except EmptyNoteError as error:
        complain(str(error))
        return NOTHING_READ
    except NotegapError as error:
        complain(str(error))
        return BROKEN
    except OSError as error:
        complain(f"the system refused something: {(error.strerror or type(error).__name__).lower()}")
        return BROKEN
    except Exception as error:  # noqa: BLE001 - Python's own exit code for a crash is 1, which means gaps
        complain(f"notegap broke: {crash_site(error)}; please report this line, it holds no word of the note")
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


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
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


for _command in (
    *notes.COMMANDS,
    *knowledge.COMMANDS,
    *query.COMMANDS,
    *audit.COMMANDS,
    *serve.COMMANDS,
    *service.COMMANDS,
):
    commands.add_command(_command)
