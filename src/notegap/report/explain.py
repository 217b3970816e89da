"""What `notegap explain` and `notegap codes` print: checklists as they are written, and facts of the tabular."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.text import Text

from notegap.icd10cm import Code, CodeSet
from notegap.model import (
    Alert,
    AllOf,
    AnyOf,
    AtLeast,
    Check,
    Checklist,
    Claimed,
    Expr,
    ItemIs,
    NoneOf,
    Regions,
    Requirement,
    Select,
)
from notegap.report.lines import page_width, render, wrapped
from notegap.report.page import Page

_LABEL = 18
_KIND = len("recommended")


def explain_code(code: str, checklist: Checklist | None, code_set: CodeSet, page: Page) -> str:
    """A code: whether it may be reported, what was meant when not, its checklist, and what the tabular says of it."""
    width = page_width(page)
    lines = list(_standing(code, code_set, width))
    if checklist is None:
        lines += [Text(), *wrapped(Text("No checklist covers this code."), width, 2)]
    else:
        lines += [Text(), *_checklist(checklist, width)]
    lines += _tabular(code, code_set, width)
    if checklist is not None and checklist.requires:
        lines += [Text(), Text(f"More on one item: notegap explain {code}/{checklist.requires[0].id}", "dim")]
    return render(lines, page)


def explain_item(code: str, item: Requirement | Alert, checklist: Checklist, page: Page) -> str:
    """One item of a checklist: what it asks, why, from where, and what counts as documented."""
    width = page_width(page)
    lines = [Text.assemble((f"{code}/{item.id}", "bold"), (f"  {_kind(item)}", "cyan")), Text()]
    for label, said in _item_facts(item, checklist):
        if said:
            lines += _labelled(label, said, width)
    return render(lines, page)


def list_codes(codes: Iterable[Code], page: Page) -> str:
    """One line for each code: the code, its title, and whether it may be reported as it stands."""
    width = page_width(page)
    return render((line for code in codes for line in _code_line(code, width)), page)


def list_checklists(checklists: Iterable[Checklist], code_set: CodeSet, page: Page) -> str:
    """Every checklist with the codes it covers."""
    width = page_width(page)
    lines: list[Text] = []
    for checklist in checklists:
        lines += [Text()] if lines else []
        lines += wrapped(Text.assemble((checklist.id, "bold underline"), (f" {checklist.title}", "bold")), width, 2)
        for name in checklist.codes:
            code = code_set.get(name)
            lines += _code_line(code, width) if code else [Text(f"  {name}")]
    return render(lines, page)


def describe(rule: Expr) -> str:
    """A rule of a checklist in words: "finding canal_stenosis seen on mri, or surgery (any)"."""
    match rule:
        case Select():
            return _describe_select(rule)
        case AnyOf(parts):
            return ", or ".join(_inner(part) for part in parts)
        case AllOf(parts):
            return ", and ".join(_inner(part) for part in parts)
        case NoneOf(parts):
            return f"none of: {'; '.join(describe(part) for part in parts)}"
        case AtLeast(number, parts):
            return f"at least {number} of: {'; '.join(describe(part) for part in parts)}"
        case ItemIs(item, statuses):
            return f"the item {item} is {_either(status.value for status in statuses)}"
        case Claimed(codes):
            return f"the claim has {_either(codes)}"
        case Regions(of, number):
            return f"at least {number} regions in: {describe(of)}"
        case Check(name):
            return f"the check {name} says so"


def _standing(code: str, code_set: CodeSet, width: int) -> Iterator[Text]:
    title = code_set.title(code)
    yield from wrapped(Text.assemble((code, "bold underline"), (f" {title}" if title else "", "bold")), width, 2)
    problem = code_set.problem(code)
    yield from wrapped(Text(problem or f"billable, {code_set.release}", "red" if problem else "dim"), width, 2)
    meant = [node for name in code_set.meant(code) if (node := code_set.get(name))]
    if meant:
        yield Text()
        yield Text("probably meant", "bold")
        for node in meant:
            yield from _code_line(node, width)


def _tabular(code: str, code_set: CodeSet, width: int) -> Iterator[Text]:
    found = code_set.get(code)
    if found is None:
        return
    yield Text()
    yield Text(f"In the tabular, {code_set.release}", "bold")
    for name in found.ancestors:
        yield from _labelled("under", f"{name} {code_set.title(name)}", width)
    for label, notes in (
        ("includes", code_set.inclusion_terms(code)),
        ("Excludes1", code_set.excludes1(code)),
        ("Excludes2", code_set.excludes2(code)),
        ("code first", code_set.code_first(code)),
        ("use additional", code_set.use_additional(code)),
        ("code also", code_set.code_also(code)),
    ):
        # What a whole block or chapter excludes is the same for hundreds of codes: told by number alone.
        near = [note for note in notes if not _is_block(note.at)]
        for note in dict.fromkeys(near):
            yield from _labelled(label, note.text if note.at == code else f"{note.text} (at {note.at})", width)
        far = len(notes) - len(near)
        if far:
            yield from _labelled(label, f"{'and ' if near else ''}{far} of its whole block or chapter", width)


def _is_block(name: str) -> bool:
    return name.startswith("CH") or "-" in name


def _checklist(checklist: Checklist, width: int) -> Iterator[Text]:
    yield from wrapped(Text(f"Checklist {checklist.id}: {checklist.title}", "bold green"), width, 2)
    yield from _labelled("why", checklist.why, width)
    yield from _labelled("source", checklist.source, width)
    label = max(len(name) for items in (checklist.requires, checklist.alerts) for name in _ids(items))
    yield Text()
    yield Text("A note has to document", "bold")
    for item in checklist.requires:
        yield from _item_line(item.id.ljust(label), item.severity.value, item.ask, width)
    if checklist.alerts:
        yield Text()
        yield Text("What speaks for another code, or for an order on the claim", "bold")
        for alert in checklist.alerts:
            see = f" ({', '.join(alert.codes)})" if alert.codes else ""
            yield from _item_line(alert.id.ljust(label), alert.alert.value, f"{alert.message}{see}", width)


def _ids(items: Iterable[Requirement | Alert]) -> Iterator[str]:
    return (item.id for item in items)


def _item_line(name: str, kind: str, text: str, width: int) -> Iterator[Text]:
    lead = f"  {name}  {kind.ljust(_KIND)}  "
    return wrapped(Text.assemble((lead, "cyan"), text), width, min(len(lead), width // 2))


def _code_line(code: Code, width: int) -> Iterator[Text]:
    mark = "" if code.billable else "  (not billable)"
    return wrapped(Text.assemble("  ", (code.code.ljust(9), "cyan"), code.title, (mark, "dim")), width, 11)


def _labelled(label: str, text: str, width: int) -> Iterator[Text]:
    return wrapped(Text.assemble((f"  {label}".ljust(_LABEL), "cyan"), " ".join(text.split())), width, _LABEL)


def _kind(item: Requirement | Alert) -> str:
    if isinstance(item, Alert):
        return f"{item.alert.value} alert"
    return f"{item.severity.value}, for {item.needed_for}"


def _item_facts(item: Requirement | Alert, checklist: Checklist) -> Iterator[tuple[str, str]]:
    rules: dict[str, Expr | None]
    if isinstance(item, Requirement):
        yield "ask", item.ask
        yield "belongs in", item.place
        rules = {
            "applies when": item.when,
            "documented by": item.met,
            "vague when": item.vague,
            "uncertain when": item.uncertain,
            "refuted when": item.refuted,
        }
    else:
        rules = {"raised by": item.raised, "unless": item.unless}
    yield "message", item.message
    yield "why", item.why
    yield "basis", ", ".join(item.basis)
    for label, rule in rules.items():
        yield label, describe(rule) if rule is not None else ""
    yield "codes", ", ".join(item.codes)
    yield "source", checklist.source


def _inner(rule: Expr) -> str:
    return f"({describe(rule)})" if isinstance(rule, AnyOf | AllOf) and len(rule.parts) > 1 else describe(rule)


def _describe_select(select: Select) -> str:
    parts = [select.concept]
    if select.values is not None:
        parts.append(_either(select.values))
    if select.not_values:
        parts.append(f"but not {_either(select.not_values)}")
    if select.assertion is not None:
        parts.append(f"({_either(a.value for a in select.assertion)})")
    for words, names in (
        ("seen on", select.seen_on),
        ("in the section", select.section),
        ("not in the section", select.not_section),
        ("due to", select.due_to),
        ("not due to", select.not_due_to),
        ("beside", select.beside),
        ("that is", select.qualities),
        ("that is not", select.not_qualities),
        ("in one sentence with", select.same_sentence),
        ("in no sentence with", select.not_same_sentence),
    ):
        if names:
            parts.append(f"{words} {_either(names)}")
    if select.at is not None:
        parts.append(_AT.get(select.at, select.at) if isinstance(select.at, str) else f"at {_either(select.at)}")
    parts += [
        words for words, flag in (("with a region", select.has_region), ("with a level", select.has_level)) if flag
    ]
    return " ".join(parts)


_AT = {
    "condition": "where the condition is",
    "condition_strict": "in a region of the condition",
    "area": "in or next to the region of the condition",
    "elsewhere": "in other regions only",
    "code": "in the code's region",
}


def _either(names: Iterable[str]) -> str:
    *most, last = sorted(names)
    return f"{', '.join(most)} or {last}" if most else last
