"""The report as text that a person enjoys reading: in colour in a terminal, plain when piped.

Gaps come first, then alerts, then what is documented with its quotes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from notegap.model import CodeCheck, Evidence, Finding, Mention, Note, Report, Status, Suggestion
from notegap.report.lines import count, page_width, position, render, shown, wrapped
from notegap.report.page import Page, suggestions

_STYLES = {
    "missing": "bold red",
    "refuted": "bold red",
    "vague": "bold yellow",
    "uncertain": "bold yellow",
    "conflict": "bold magenta",
    "route": "bold cyan",
    "sequencing": "bold blue",
}
_CODES_FROM = {
    "note": "written in the note",
    "facts": "the note's facts point to it",
}
_NOTHING_CHECKED = (
    "Nothing was checked: no code was given, none is written in the note, and its facts point to none that has a "
    "checklist. Give one with --code."
)
_LONGEST_QUOTE = 72
_MOST_EVIDENCE = 3
_WIDEST_LABEL = 22


def text_report(report: Report, page: Page) -> str:
    """The report for a person, `page.width` columns wide."""
    width, source = page_width(page), shown(page.source or report.note.id)
    lines = list(_header(report, source, width))
    for check in report.checks:
        lines += [Text(), *_check(check, report, source, width)]
    lines += [Text(), *wrapped(_closing(report), width, 2)]
    return render(lines, page)


def gaps_text(report: Report, page: Page) -> str:
    """Only what is open, as a message to whoever wrote the note: each question, where its answer belongs, the quote."""
    lines: list[str] = []
    for check in report.checks:
        lines += ["", f"{check.code} {check.title}".rstrip()] if lines else [f"{check.code} {check.title}".rstrip()]
        still_open = sorted((f for f in check.findings if f.is_open), key=lambda f: f.kind == "alert")
        lines += [_gap_line(finding) for finding in still_open]
        if not still_open:
            lines.append(f"- {'No gaps.' if is_covered(check) else 'Not checked: no checklist covers this code.'}")
    return "\n".join(lines or [_NOTHING_CHECKED]) + "\n"


def text_mentions(note: Note, mentions: Iterable[Mention], page: Page) -> str:
    """What was read in a note, in the note's order: where, what, how it stands, what it is tied to, the quote."""
    ordered = sorted(mentions, key=lambda mention: (mention.start, mention.end, mention.key))
    rows = [_mention_cells(note.text, mention) for mention in ordered]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [Text(shown(page.source or note.id), "bold"), Text()]
    for row in rows:
        lead = "  ".join(cell.ljust(width) for cell, width in zip(row[:3], widths, strict=True))
        line = Text(lead).append(f"  '{row[3]}'", "green").append(f"  {row[4]}" if row[4] else "", "dim")
        lines += wrapped(line, page_width(page), 8)
    lines += [Text(), Text(f"{count(len(rows), 'mention')}", "bold")]
    return render(lines, page)


def tally(checks: Sequence[CodeCheck]) -> str:
    """What came out in one line: "2 gaps, 1 alert, 4 of 6 requirements met"."""
    met, gaps = sum(check.met for check in checks), sum(check.open for check in checks)
    alerts = count(sum(check.raised for check in checks), "alert")
    return f"{count(gaps, 'gap')}, {alerts}, {met} of {count(met + gaps, 'requirement').replace('no', '0')} met"


def _header(report: Report, source: str, width: int) -> Iterator[Text]:
    note = report.note
    yield from wrapped(Text(source, "bold"), width, 2)
    facts = [report.code_set, note.setting.value]
    if note.date_of_service:
        facts.append(f"date of service {note.date_of_service}")
    if note.claim_codes is not None:
        facts.append(f"claim {', '.join(shown(code) for code in note.claim_codes) or 'without codes'}")
    yield from wrapped(Text(", ".join(facts), "dim"), width, 2)


def _check(check: CodeCheck, report: Report, source: str, width: int) -> Iterator[Text]:
    yield from wrapped(_title(check), width, 2)
    yield from wrapped(Text(standing(check, report), "dim" if check.billable else "red"), width, 2)
    gaps = [f for f in check.findings if f.status.is_gap]
    alerts = [f for f in check.findings if f.status is Status.RAISED]
    for finding in gaps + alerts:
        yield Text()
        yield from _open_finding(finding, report.note.text, source, width)
        for suggestion in report.suggestions:
            if finding.id in suggestion.findings:
                yield from wrapped(_suggestion(suggestion, report.note.text), width, 6)
    yield from _closed_findings(check, report.note.text, width)


def _title(check: CodeCheck) -> Text:
    return Text.assemble((check.code, "bold underline"), (f" {check.title}" if check.title else "", "bold"))


def standing(check: CodeCheck, report: Report, *, alone: bool = False) -> str:
    """What the code set says of a code, why it is checked and, unless it is shown `alone`, what came out."""
    if not check.valid:
        standing = f"not a code of {report.code_set}"
    else:
        standing = "valid, billable" if check.billable else "valid, not billable: a longer code is needed"
    parts = [standing, *filter(None, [_CODES_FROM.get(report.codes_from)])]
    if not is_covered(check):
        parts.append("no checklist covers it")
    elif len(report.checks) > 1 and not alone:
        parts.append(tally([check]))
    return "; ".join(parts)


def _open_finding(finding: Finding, note: str, source: str, width: int) -> Iterator[Text]:
    kind = finding.status.value if finding.alert is None else finding.alert.value
    head = Text.assemble((kind, _STYLES[kind]), (f"[{finding.id}]", "bold"), f" {finding.ask or finding.message}")
    yield from wrapped(head, width, 4)
    for evidence in finding.evidence[:_MOST_EVIDENCE]:
        where = f"{source}:{position(note, evidence.start)}: "
        yield from wrapped(Text.assemble(("  --> ", "blue"), where, (_quote(evidence), "green")), width, 6)
    more = len(finding.evidence) - _MOST_EVIDENCE
    if more > 0:
        yield Text(f"      and {count(more, 'more place')}", "dim")
    for remark in _remarks(finding):
        yield from wrapped(Text.assemble(("    = ", "blue"), remark), width, 6)


def _suggestion(suggestion: Suggestion, note: str) -> Text:
    where, quote = position(note, suggestion.start), f"'{shown(suggestion.text, _LONGEST_QUOTE)}'"
    like = f"{suggestion.alias} ({suggestion.code}, {suggestion.score:.2f})"
    said = Text.assemble(("    ? ", "blue"), "The note says ", (quote, "green"), f" at {where}, which reads like ")
    return said.append(f"{like}; a person has to judge.")


def _gap_line(finding: Finding) -> str:
    kind = finding.status.value if finding.alert is None else finding.alert.value
    facts = [kind, f"belongs in: {finding.place.replace('_', ' ')}" if finding.place else ""]
    facts += [f"the note says {_quote(evidence)}" for evidence in finding.evidence[:1]]
    if finding.codes:
        facts.append(f"see {', '.join(finding.codes)}")
    return f"- {finding.ask or finding.message} ({'; '.join(filter(None, facts))})"


def _remarks(finding: Finding) -> Iterator[str]:
    if finding.ask:
        yield finding.message
    place = f"belongs in: {finding.place}" if finding.place else ""
    weight = "; ".join(filter(None, [finding.severity.value if finding.severity else "", place]))
    if weight:
        yield weight
    if finding.codes:
        yield f"see {', '.join(finding.codes)}"


def _closed_findings(check: CodeCheck, note: str, width: int) -> Iterator[Text]:
    met = [f for f in check.findings if f.status is Status.MET]
    if met:
        yield Text()
        yield Text("documented", "bold green")
        label = min(max(len(f.item) for f in met), _WIDEST_LABEL)
        for finding in met:
            line = Text("  ").append(finding.item.ljust(label), "green").append("  ")
            yield from wrapped(line.append_text(_quotes(finding, note)), width, label + 4)
    for status, heading in ((Status.NOT_APPLICABLE, "does not apply"), (Status.CLEAR, "not raised")):
        items = [f.item for f in check.findings if f.status is status]
        if items:
            yield Text()
            yield from wrapped(Text.assemble((f"{heading}: ", "bold"), (", ".join(items), "dim")), width, 2)
    if check.suggested_codes:
        yield Text()
        yield Text("codes to look at", "bold cyan")
        for code, because in suggestions(check):
            line = Text("  ").append(code.ljust(9), "cyan")
            why = f" because of {', '.join(f.id for f in because)}" if because else ""
            yield from wrapped(line.append(why), width, 12)


def _quotes(finding: Finding, note: str) -> Text:
    quotes = Text()
    for number, evidence in enumerate(finding.evidence[:_MOST_EVIDENCE]):
        quotes.append(", " if number else "").append(_quote(evidence)).append(" ")
        quotes.append(position(note, evidence.start), "dim")
    more = len(finding.evidence) - _MOST_EVIDENCE
    return quotes.append(f" and {count(more, 'more place')}" if more > 0 else "", "dim")


def _quote(evidence: Evidence) -> str:
    return f"'{shown(evidence.text, _LONGEST_QUOTE)}'"


def _closing(report: Report) -> Text:
    if not report.checks:
        return Text(_NOTHING_CHECKED, "bold yellow")
    lead = f"{len(report.checks)} codes: " if len(report.checks) > 1 else ""
    said = [tally(report.checks)] if any(is_covered(check) for check in report.checks) else []
    uncovered = ", ".join(check.code for check in report.checks if not is_covered(check))
    if uncovered:
        # Without a checklist "no gaps" would only mean that none was looked for.
        said.append(f"what {uncovered} needs was not checked: no checklist covers it")
    return Text(lead + "; ".join(said), "bold red" if report.has_gaps else "bold green")


def is_covered(check: CodeCheck) -> bool:
    """Whether a checklist was there to check the code by."""
    return any(finding.kind == "requirement" for finding in check.findings)


def _mention_cells(text: str, mention: Mention) -> tuple[str, str, str, str, str]:
    ties = [*mention.at, *mention.levels]
    for name, values in (
        ("seen on", mention.seen_on),
        ("due to", mention.due_to),
        ("beside", mention.beside),
        ("", mention.qualities),
    ):
        if values:
            ties.append(f"{name} {', '.join(values)}".strip())
    quote = shown(mention.text, _LONGEST_QUOTE)
    return position(text, mention.start), mention.key, mention.assertion.value, quote, "; ".join(ties)
