"""Reports into HTML: Jinja2 escapes everything, and nothing of a note becomes markup, script or style."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import notegap
from notegap.model import CodeCheck, Finding, Report, Status, Suggestion
from notegap.report.html.marks import SIGNS, STANDS, Mark, describe, facts_of, marks_of, pointer_key, quotes, spoken
from notegap.report.lines import count, position, shown
from notegap.report.page import Page, suggestions
from notegap.report.text import is_covered, standing, tally

_MOST_QUOTES = 4
_LONGEST_QUOTE = 120
_STATUS_SIGNS = {
    "missing": "○",
    "vague": "◐",
    "uncertain": "?",
    "refuted": "✕",
    "met": "✓",
    "conflict": "!",
    "route": "→",
    "sequencing": "⇅",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReport:
    """What the live page needs of a report: its HTML, its marks by UTF-16 offsets, and what is read aloud."""

    html: str = field(repr=False)
    looks: list[tuple[str, str, str, tuple[str, ...]]] = field(repr=False)
    marks: list[tuple[int, int, int]]
    places: dict[str, int]
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """One code's check in the order it is shown: gaps, then alerts, then what is met, then the rest."""

    check: CodeCheck
    name: str
    state: str
    standing: str
    summary: str
    gaps: tuple[Finding, ...]
    alerts: tuple[Finding, ...]
    met: tuple[Finding, ...]
    not_applicable: tuple[Finding, ...]
    clear: tuple[Finding, ...]
    suggested: tuple[tuple[str, tuple[Finding, ...]], ...]
    reads_like: tuple[Suggestion, ...]

    @property
    def required(self) -> int:
        """Gaps without which the code is not supported."""
        return sum(finding.severity is not None and finding.severity.value == "required" for finding in self.gaps)


def html_report(report: Report, page: Page) -> str:
    """The report as one HTML file that needs nothing else: its style and script are in it, and only they may run."""
    style, script = asset("report.css"), f"{asset('report.js')}\nshowStanding();\n"
    note = report.note
    return (
        environment()
        .get_template("standalone.html")
        .render(
            report=report,
            source=shown(page.source or note.id),
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            style_hash=_digest(style),
            script_hash=_digest(script),
            lines=list(_lines(note.text, marks_of(report))),
            place_at={offset: place for place, offset in _places(report).items()},
            version=notegap.__version__,
            **_shared(report),
        )
    )


def live_report(report: Report, *, comparing: bool) -> LiveReport:
    """The report as the live page shows it; `comparing` puts its first two codes side by side."""
    html = environment().get_template("live.html").render(report=report, comparing=comparing, **_shared(report))
    units = _utf16(report.note.text)
    looks: dict[tuple[str, str, str, tuple[str, ...]], int] = {}
    marks = []
    for mark in marks_of(report):
        look = (mark.look.classes, mark.look.sign, mark.look.title, mark.look.keys)
        marks.append((units[mark.start], units[mark.end], looks.setdefault(look, len(looks))))
    summary = " ".join(f"{check.code}: {summarize(check)}." for check in report.checks)
    places = {place: units[offset] for place, offset in _places(report).items()}
    return LiveReport(html=html, looks=list(looks), marks=marks, places=places, summary=summary or "No code to check.")


def summarize(check: CodeCheck) -> str:
    """How complete the documentation is for a code, in one line."""
    alerts = count(check.raised, "alert")
    if not is_covered(check):
        return f"Not checked, no checklist covers this code; {alerts}"
    return f"{'Complete' if check.complete else 'Incomplete'}: {tally([check])}"


def view_of(check: CodeCheck, report: Report) -> CheckView:
    """`check` in the order it is shown."""

    def having(*statuses: Status) -> tuple[Finding, ...]:
        return tuple(finding for finding in check.findings if finding.status in statuses)

    state = "complete" if check.complete else "open" if is_covered(check) else "unchecked"
    return CheckView(
        check=check,
        name=dom_name(check.code),
        state=state,
        standing=standing(check, report, alone=True),
        summary=summarize(check),
        gaps=tuple(finding for finding in check.findings if finding.status.is_gap),
        alerts=having(Status.RAISED),
        met=having(Status.MET),
        not_applicable=having(Status.NOT_APPLICABLE),
        clear=having(Status.CLEAR),
        suggested=tuple(suggestions(check)),
        reads_like=report.suggestions,
    )


def legend() -> Markup:
    """What the marks mean."""
    return Markup(environment().get_template("parts.html").module.legend())  # type: ignore[attr-defined]  # noqa: S704


def dom_name(text: str) -> str:
    """`text` as part of an element's id."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text)


def asset(name: str) -> str:
    """One of the files beside the templates that reports and the live page share."""
    return (files("notegap.report.html") / "assets" / name).read_text(encoding="utf-8")


@cache
def environment() -> Environment:
    """The templates. Every value is escaped, a name that does not exist is an error."""
    made = Environment(
        loader=PackageLoader("notegap.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"spoken": spoken, "shown": shown, "dom": dom_name}
    made.globals |= {
        "count": count,
        "describe": describe,
        "position": position,
        "quotes": lambda evidence: quotes(evidence, _MOST_QUOTES),
        "longest": _LONGEST_QUOTE,
        "status_signs": _STATUS_SIGNS,
        "stands": STANDS,
        "signs": SIGNS,
        "pointer_key": pointer_key,
    }
    return made


def _shared(report: Report) -> dict[str, Any]:
    """What both pages show of a report."""
    return {
        "note": report.note,
        "views": [view_of(check, report) for check in report.checks],
        "facts": facts_of(report),
        "checked": {check.code for check in report.checks},
        "titles": {check.code: check.title for check in report.checks},
        "places": _places(report),
    }


def _places(report: Report) -> dict[str, int]:
    """Where in the note each section's last fact stands: what an item's answer can be written beside."""
    return {mention.section: mention.start for mention in report.mentions if mention.section}


def _lines(text: str, marks: Iterable[Mark]) -> Iterator[list[tuple[str, Mark | None]]]:
    """The note's lines in pieces, each with its mark; a mark that runs over a line end is in both lines."""
    pending = iter(marks)
    mark = next(pending, None)
    start = 0
    for line in text.split("\n"):
        end, at = start + len(line), start
        pieces: list[tuple[str, Mark | None]] = []
        while mark is not None and mark.start < end:
            if mark.start > at:
                pieces.append((text[at : mark.start], None))
            first, last = max(at, mark.start), min(mark.end, end)
            pieces.append((text[first:last], mark))
            at = last
            if mark.end > end:
                break
            mark = next(pending, None)
        if at < end:
            pieces.append((text[at:end], None))
        # A mark that covers only the line end is shown nowhere.
        while mark is not None and mark.end <= end + 1:
            mark = next(pending, None)
        yield pieces
        start = end + 1


def _utf16(text: str) -> range | list[int]:
    """For each code point of `text`, and its end, the offset a browser counts: an emoji is two there."""
    if not text or max(text) <= "\uffff":
        return range(len(text) + 1)
    offsets, at = [0], 0
    for char in text:
        at += 2 if char > "\uffff" else 1
        offsets.append(at)
    return offsets


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
