"""`explain`, `codes` and `selftest`: what notegap knows."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import click

from notegap.cli.base import BROKEN, COMPLETE, NOTHING_READ, complain, page_of, patterns_option
from notegap.errors import UsageError
from notegap.model import Alert, Checklist, Requirement
from notegap.report.sink import print_out


@click.command()
@click.argument("code", metavar="CODE[/item]")
@patterns_option
def explain(code: str, patterns: tuple[Path, ...]) -> int:
    """Explain a code: its checklist and what the tabular says; with /item, one item of the checklist."""
    from notegap.icd10cm import load, normalize
    from notegap.knowledge import load_checklists
    from notegap.report.explain import explain_code, explain_item

    name, _, item_id = code.partition("/")
    wanted = normalize(name)
    checklist = _checklist_of(wanted, load_checklists(patterns))
    if not item_id:
        print_out(explain_code(wanted, checklist, load(), page_of()))
        return COMPLETE
    if checklist is None:
        raise UsageError(f"{wanted}: no checklist covers this code, so it has no items.")
    every: list[Requirement | Alert] = [*checklist.requires, *checklist.alerts]
    items = {item.id: item for item in every}
    if item_id not in items:
        raise UsageError(f"{wanted}: has no item {item_id!r}; {_nearest(item_id, items)}")
    print_out(explain_item(wanted, items[item_id], checklist, page_of()))
    return COMPLETE


@click.command()
@click.argument("text", nargs=-1, metavar="[TEXT]")
@patterns_option
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Codes shown at most.")
def codes(text: tuple[str, ...], patterns: tuple[Path, ...], limit: int) -> int:
    """List the codes that have a checklist; with TEXT, search the code set by code or by words of the title."""
    from notegap.icd10cm import load
    from notegap.report.explain import list_checklists, list_codes

    if not text:
        from notegap.knowledge import load_checklists

        print_out(list_checklists(load_checklists(patterns), load(), page_of()))
        return COMPLETE
    found = load().search(" ".join(text), limit=limit + 1)
    if not found:
        complain(f"no code of {load().release} starts with this text or has these words in its title")
        return NOTHING_READ
    print_out(list_codes(found[:limit], page_of()))
    if len(found) > limit:
        complain(f"there are more than {limit}; --limit shows more")
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


@click.command()
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


COMMANDS = (explain, codes, selftest)
