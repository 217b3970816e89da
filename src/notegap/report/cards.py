"""A report as CDS Hooks cards: one for each open finding, what matters most first, the rest on a card of their own.

Source: CDS Hooks 2.0, "Card Attributes". A card's summary and question are the checklist's; words of the note stand in
the detail alone, escaped so that Markdown shows them and interprets none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from notegap.model import AlertKind, CodeCheck, Evidence, Finding, Note, Part, Report, Severity
from notegap.report.lines import count, place, shown

SYSTEM = "https://notegap.org/fhir/CodeSystem/override-reason"
"""The code system of the reasons a card can be overridden for."""

OVERRIDE_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "documented-elsewhere": "Already documented elsewhere",
        "not-clinically-relevant": "Not clinically relevant",
        "unable-to-determine": "Unable to determine",
        "wrong-patient-context": "Wrong patient or encounter",
        "false-positive": "The note was misread",
    }
)
"""Code → what it says."""

MOST_CARDS = 6
"""More cards than this at once are not read; what is left shares one."""

_LONGEST_SUMMARY = 139
_LONGEST_QUOTE = 200
# What Markdown, or what makes links of addresses, could take for markup; of our own texts only what they hold at times.
_MARKUP = re.compile(r"[\\`*_{}\[\]()#+.!|<>~&$^=:/@-]")
_OUR_MARKUP = re.compile(r"[\\`*_\[\]|<>~&]")
_ENTITIES: Mapping[str, str] = MappingProxyType({"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;"})

Suggesting = Callable[[Finding], Sequence[Mapping[str, Any]]]
"""Gives the suggestions of one finding's card, each in the shape of CDS Hooks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One card. `findings` are the ids of what it is about, by which feedback is counted."""

    uuid: str
    summary: str
    indicator: str
    detail: str = field(repr=False)
    findings: tuple[str, ...] = ()
    suggestions: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


def cards(
    report: Report,
    *,
    settled: frozenset[str] = frozenset(),
    suggesting: Suggesting = lambda _finding: (),
    most: int = MOST_CARDS,
    alerts_only: bool = False,
) -> tuple[Card, ...]:
    """The cards `report` calls for; none only when every code is complete, or no checklist covers it.

    `settled` are ids of findings that are answered elsewhere, by another note of the same encounter. `alerts_only`: not
    what the note leaves out, only what it raises.
    """
    wanted = (
        (check, finding)
        for check in report.checks
        for finding in check.findings
        if finding.is_open and finding.id not in settled and (finding.kind == "alert" or not alerts_only)
    )
    open_ = sorted(wanted, key=lambda found: _weight(found[1]))
    made = [_card(check, finding, report, suggesting) for check, finding in open_[:most]]
    if len(open_) > most:
        made.append(_rest(open_[most:]))
    unjudged = () if alerts_only else (check for check in report.checks if _is_unjudged(check))
    return (*made, *(_unjudged(check) for check in unjudged))


def plain_card(summary: str, detail: str, *, indicator: str = "info") -> Card:
    """A card that is about no finding: what could not be checked, and why. Both texts are ours."""
    return Card(uuid=str(uuid4()), summary=_short(summary), indicator=indicator, detail=detail)


def as_dict(card: Card, *, label: str, url: str = "") -> dict[str, Any]:
    """A card in the shape of CDS Hooks; `label` and `url` are its source."""
    shape: dict[str, Any] = {
        "uuid": card.uuid,
        "summary": card.summary,
        "indicator": card.indicator,
        "detail": card.detail,
        "source": {"label": label, **({"url": url} if url else {})},
    }
    if card.suggestions:
        shape["suggestions"] = [dict(suggestion) for suggestion in card.suggestions]
        shape["selectionBehavior"] = "any"
    if card.findings:
        shape["overrideReasons"] = [
            {"code": code, "system": SYSTEM, "display": display} for code, display in OVERRIDE_REASONS.items()
        ]
    if url:
        shape["links"] = [{"label": "Open notegap", "url": url, "type": "absolute"}]
    return shape


def escaped(text: str) -> str:
    """Words from outside as GitHub Flavored Markdown shows them: on one line, nothing of them markup or a tag."""
    return _MARKUP.sub(_escape, shown(text, _LONGEST_QUOTE))


def _weight(finding: Finding) -> int:
    if finding.kind == "requirement":
        return 0 if finding.severity is Severity.REQUIRED else 3
    return 1 if finding.alert is AlertKind.CONFLICT else 2


def _card(check: CodeCheck, finding: Finding, report: Report, suggesting: Suggesting) -> Card:
    return Card(
        uuid=str(uuid4()),
        summary=_short(f"{check.code}: {finding.ask or finding.message}"),
        indicator="warning" if _weight(finding) < 2 else "info",
        detail="\n".join(_detail(check, finding, report)),
        findings=(finding.id,),
        suggestions=tuple(suggesting(finding)),
    )


def _detail(check: CodeCheck, finding: Finding, report: Report) -> Iterator[str]:
    yield f"**{_prose(finding.message)}**"
    if finding.ask:
        yield f"\n{_prose(finding.ask)}"
    if finding.evidence:
        yield "\nThe note says:\n"
        yield from (_quote(evidence, report.note) for evidence in finding.evidence)
    if finding.why:
        yield f"\n{_prose(finding.why)}"
    if finding.place:
        yield f"\nIt belongs into: {_prose(finding.place.replace('_', ' '))}."
    if finding.codes:
        yield f"\nCodes that this bears on: {_prose(', '.join(finding.codes))}."
    title = f" ({_prose(check.title)})" if check.title else ""
    yield f"\nItem {_prose(finding.id)}{title}, {_prose(report.code_set)}."


def _quote(evidence: Evidence, note: Note) -> str:
    line, _ = place(note.text, evidence.start)
    section = f", {escaped(evidence.section.replace('_', ' '))}" if evidence.section else ""
    parts = ", ".join(filter(None, map(_named, note.parts_at(evidence.start))))
    return f"- “{escaped(evidence.text)}” (line {line}{section}{'; in ' if parts else ''}{parts})"


def _named(part: Part) -> str:
    """A part of the file as one finds it there: by its title, else by its id; "" for what has only a number of ours."""
    if part.title.strip():
        return f"{escaped(part.kind)} “{escaped(part.title)}”"
    return f"{escaped(part.kind)} {escaped(part.id)}" if part.id and part.kind != "attachment" else ""


def _prose(text: str) -> str:
    """A text of ours as Markdown."""
    return _OUR_MARKUP.sub(_escape, shown(text))


def _escape(found: re.Match[str]) -> str:
    return _ENTITIES.get(found.group(), f"\\{found.group()}")


def _rest(found: Sequence[tuple[CodeCheck, Finding]]) -> Card:
    codes = ", ".join(dict.fromkeys(check.code for check, _ in found))
    return Card(
        uuid=str(uuid4()),
        summary=_short(f"{codes}: {count(len(found), 'more open item')}"),
        indicator="warning" if any(_weight(finding) < 2 for _, finding in found) else "info",
        detail="\n".join(f"- {_prose(finding.id)}: {_prose(finding.ask or finding.message)}" for _, finding in found),
        findings=tuple(finding.id for _, finding in found),
    )


def _is_unjudged(check: CodeCheck) -> bool:
    """A checklist of ours nothing of which applies: neither open nor complete, and no card would look complete."""
    asks = any(finding.kind == "requirement" for finding in check.findings)
    return asks and not check.complete and not any(finding.is_open for finding in check.findings)


def _unjudged(check: CodeCheck) -> Card:
    return plain_card(
        f"{check.code}: nothing that the code asks for applies to this note",
        f"No requirement of {_prose(check.code)} was met or open, so that the note does not support the code.",
    )


def _short(text: str) -> str:
    """Plain text, on one line, shorter than the 140 characters a summary may have."""
    line = shown(text)
    if len(line) <= _LONGEST_SUMMARY:
        return line
    return f"{line[: _LONGEST_SUMMARY - 1].rpartition(' ')[0] or line[: _LONGEST_SUMMARY - 1]}…"
