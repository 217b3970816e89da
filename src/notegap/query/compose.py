"""The queries a report calls for: one for each gap worth asking a provider about, few and in the order that matters.

What is asked, and how, stands in patterns/queries/; what a query may say, in patterns/query_rules/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from notegap.knowledge.queries import ANY_ITEM, CONDITION
from notegap.model import (
    AlertKind,
    Assertion,
    Changes,
    Checklist,
    CodeCheck,
    Evidence,
    Finding,
    FormKind,
    Knowledge,
    Mention,
    QueryForm,
    QueryItem,
    QueryRule,
    QueryTemplate,
    Report,
    Severity,
    Status,
    Trigger,
)
from notegap.query.lint import forbidden_in_quotes
from notegap.query.passages import passage
from notegap.query.text import count_words
from notegap.query.waivers import Waiver, expired

SHOWN = 3
"""More queries than this at once are not answered; the rest is folded."""

MOST_WORDS = 200
MOST_INDICATORS = 4
MOST_CONTRARY = 2

_DENIALS = frozenset({Assertion.NEGATED, Assertion.FAMILY, Assertion.HISTORICAL})
_STATED = frozenset({Assertion.AFFIRMED, Assertion.UNCERTAIN})
# A relative's disease says nothing of the patient's spine, unless it decided the finding: then it is shown anyway.
_BESIDE = frozenset({Assertion.HYPOTHETICAL, Assertion.FAMILY})
_PLACES = frozenset({"region", "level"})
_RANK = tuple(Changes)
_OTHER = "Other (please specify)"
_UNDETERMINED = "Unable to determine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Indicator:
    """A stretch of the note, quoted as it stands: `note.text[start:end]`."""

    start: int
    end: int
    line: int
    quote: str = field(repr=False)
    section: str = ""
    assertion: Assertion | None = None

    @property
    def contrary(self) -> bool:
        """Whether it tells of something denied, past, or another person's."""
        return self.assertion in _DENIALS


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One answer that is offered, and the indicators that support it, as their numbers in the query."""

    text: str
    supported_by: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question to a provider. `findings` are the items of the report it would answer."""

    id: str
    note_id: str
    date_of_service: str | None
    findings: tuple[str, ...]
    template: str
    trigger: Trigger
    changes: Changes
    kind: FormKind
    title: str
    question: str
    indicators: tuple[Indicator, ...]
    options: tuple[Option, ...] = ()
    reason: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Unasked:
    """An open finding that is no query, and why not."""

    finding: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The queries for one note, the first `shown` of which are to be sent now, and what is not asked.

    `waived` holds each waived finding with its waiver, `expired` the waivers that no longer hold, `unasked` what waits
    for another answer or has nothing in the note to ask about.
    """

    report: Report
    knowledge: str
    queries: tuple[Query, ...]
    shown: int = SHOWN
    waived: tuple[tuple[str, Waiver], ...] = ()
    expired: tuple[Waiver, ...] = ()
    unasked: tuple[Unasked, ...] = ()


def compose(
    report: Report, knowledge: Knowledge, waivers: Sequence[Waiver] = (), *, today: date | None = None
) -> tuple[Query, ...]:
    """The queries `report` calls for, those first whose answer changes most; expired waivers do not count."""
    return compose_sheet(report, knowledge, waivers, today=today).queries


def compose_sheet(
    report: Report,
    knowledge: Knowledge,
    waivers: Sequence[Waiver] = (),
    *,
    today: date | None = None,
    shown: int | None = SHOWN,
) -> Sheet:
    """As `compose`, with what is not asked and why; `shown` None shows every query."""
    day = date.today() if today is None else today
    holding = [waiver for waiver in waivers if not waiver.has_expired(day)]
    queries: dict[tuple[str, str], tuple[tuple[int, bool], Query]] = {}
    waived: list[tuple[str, Waiver]] = []
    unasked: list[Unasked] = []
    for case in _cases(report, knowledge):
        waiver = next((w for w in holding if w.covers(case.finding.id, report.note.id)), None)
        if waiver is not None:
            waived.append((case.finding.id, waiver))
            continue
        made = _too_early(case) or _write(case)
        if isinstance(made, Unasked):
            unasked.append(made)
            continue
        # Two codes of one family have the same gap: it is asked once.
        key = (f"{case.checklist.id}/{case.finding.item}", made.question)
        weight = (_RANK.index(made.changes), case.finding.severity is not Severity.REQUIRED)
        if key in queries:
            weight, known = queries[key]
            made = replace(known, findings=(*known.findings, *made.findings))
        queries[key] = (weight, made)
    ranked = tuple(query for _, query in sorted(queries.values(), key=lambda weighed: weighed[0]))
    return Sheet(
        report=report,
        knowledge=knowledge.version,
        queries=ranked,
        shown=len(ranked) if shown is None else min(shown, len(ranked)),
        waived=tuple(waived),
        expired=expired(waivers, day),
        unasked=tuple(unasked),
    )


# ── which findings are asked about ──────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Case:
    """One open finding, the template that asks for it, and what both are read with.

    `mentions` is what a template can name: all that was read, and what is the condition itself.
    """

    report: Report
    mentions: tuple[Mention, ...]
    condition: frozenset[Mention]
    check: CodeCheck
    checklist: Checklist
    finding: Finding
    template: QueryTemplate
    item: QueryItem
    rules: tuple[QueryRule, ...]


def _cases(report: Report, knowledge: Knowledge) -> Iterator[_Case]:
    templates = {item.item: (template, item) for template in knowledge.query_templates for item in template.items}
    families = {name.partition("/")[0] for name in templates}
    for check in report.checks:
        checklist = knowledge.checklist(check.code)
        condition = frozenset(check.condition)
        mentions = tuple(dict.fromkeys((*report.mentions, *report.helpers, *check.condition)))
        for finding in check.findings if checklist is not None else ():
            assert checklist is not None
            found = templates.get(f"{checklist.id}/{finding.item}")
            if found is None and finding.kind == "requirement" and checklist.id not in families:
                # A hospital's own checklist, for which nobody wrote a template yet.
                found = templates.get(ANY_ITEM)
            if finding.is_open and found is not None:
                yield _Case(report, mentions, condition, check, checklist, finding, *found, knowledge.query_rules)


def _too_early(case: _Case) -> Unasked | None:
    """Why a question would presume what the note does not say: asked now, it would put a diagnosis into the record."""
    if case.finding.status not in case.item.when:
        return Unasked(case.finding.id, "the note answers it with a denial")
    if case.item.unless_placed and any(m.at for m in _affirmed((CONDITION,), case)):
        return Unasked(case.finding.id, "the note says where it is")
    if case.item.unless_elsewhere and any(code in case.checklist.codes for code in case.check.suggested_codes):
        # Nothing is unclear: the condition has another code of this family.
        return Unasked(case.finding.id, "the note documents it in another region than the code's")
    status = {finding.item: finding.status for finding in case.check.findings}
    instead = [item for item in case.item.unless_raised if status.get(item) is Status.RAISED]
    if instead:
        return Unasked(case.finding.id, f"the note tells of {', '.join(instead)}")
    waiting = [item for item in case.item.after if status.get(item) is not Status.MET]
    if waiting:
        return Unasked(case.finding.id, f"waits for {', '.join(waiting)}")
    if not _grounded(case):
        return Unasked(case.finding.id, "the note does not state what the question presumes")
    if _changes(case) is Changes.SUPPORT and not any(m.assertion in _STATED for m in case.condition):
        return Unasked(case.finding.id, "the note does not state what the answer would support")
    return None


def _grounded(case: _Case) -> bool:
    """Whether the note affirms what the question presumes, or doubts it and is asked how the doubt stands."""
    if not case.item.presumes or any(_affirmed(case.item.presumes, case)):
        return True
    form = _form(case)
    if form is None or not form.choices:
        return False
    doubted = {(evidence.start, evidence.end) for evidence in case.finding.evidence}
    return any((m.start, m.end) in doubted and _rank(m, case.item.presumes, case) is not None for m in case.mentions)


# ── writing one query ───────────────────────────────────────────────────────────────────────────


def _write(case: _Case) -> Query | Unasked:
    """The query for one finding: the fullest that stays within the words a query may have."""
    form = _form(case)
    offered = _offered(form, case) if form is not None else {}
    quoted = _quoted(case, [mention for mentions in offered.values() for mention in mentions])
    if not quoted:
        return Unasked(case.finding.id, "the note has nothing to ask about it with")
    least = max(1, sum(1 for indicator in quoted if any(_holds(indicator, m) for ms in offered.values() for m in ms)))
    for number in range(len(quoted), least - 1, -1):
        query = _query(case, form, offered, sorted(quoted[:number], key=lambda indicator: indicator.start))
        if count_words(query) <= MOST_WORDS:
            break
    return query


def _query(
    case: _Case, form: QueryForm | None, offered: Mapping[str, Sequence[Mention]], indicators: Sequence[Indicator]
) -> Query:
    finding, note = case.finding, case.report.note
    shown = {
        label: tuple(
            number for number, indicator in enumerate(indicators, 1) if any(_holds(indicator, m) for m in mentions)
        )
        for label, mentions in offered.items()
    }
    options = [Option(text=label, supported_by=numbers) for label, numbers in shown.items() if numbers]
    if form is not None and form.kind is FormKind.YES_NO:
        own = tuple(range(1, len(indicators) + 1))
        options = [Option(text="Yes", supported_by=own), Option(text="No", supported_by=own)]
    if options:
        options += [Option(text=_OTHER), Option(text=_UNDETERMINED)]
    kind = form.kind if form is not None and options else FormKind.OPEN
    ask = form.ask if form is not None else ""
    return Query(
        id="q" + hashlib.sha256(f"{note.id}\0{finding.id}".encode("utf-8", "replace")).hexdigest()[:12],
        note_id=note.id,
        date_of_service=note.date_of_service,
        findings=(finding.id,),
        template=case.template.id,
        trigger=case.template.trigger,
        changes=_changes(case),
        kind=kind,
        title=case.template.title,
        question=ask or case.item.ask or finding.ask,
        indicators=tuple(indicators),
        options=tuple(options),
        reason=form.reason.value if form is not None and form.reason is not None else "",
        place=finding.place,
    )


def _changes(case: _Case) -> Changes:
    """What the answer changes: what the template says, else what follows from the item."""
    if case.item.changes is not None:
        return case.item.changes
    finding = case.finding
    if finding.alert is not None:
        return Changes.CONFLICT if finding.alert is AlertKind.CONFLICT else Changes.SPECIFICITY
    requirement = next((r for r in case.checklist.requires if r.id == finding.item), None)
    if requirement is not None and requirement.severity is Severity.REQUIRED and requirement.needed_for == "code":
        return Changes.ASSIGNMENT
    return Changes.SUPPORT


# ── forms and options ───────────────────────────────────────────────────────────────────────────


def _form(case: _Case) -> QueryForm | None:
    return next((form for form in case.template.forms if _fits(form, case)), None)


def _fits(form: QueryForm, case: _Case) -> bool:
    if form.when and case.finding.status not in form.when:
        return False
    if form.of:
        return len(_offered(form, case)) >= form.fewest
    return all(any(_affirmed((key,), case)) for key in form.documented)


def _offered(form: QueryForm, case: _Case) -> dict[str, tuple[Mention, ...]]:
    """The options with the mentions that support each, in the order of the template."""
    if form.choices:
        # They ask how a matter stands that the note itself states and doubts, or tells in two ways.
        return {choice: tuple(map(_as_mention, case.finding.evidence)) for choice in form.choices}
    supported = {
        label: tuple(m for m in case.mentions if _supports(m, form.of, value, case))
        for value, label in form.labels.items()
    }
    return {label: mentions for label, mentions in supported.items() if mentions}


def _supports(mention: Mention, concept: str, value: str, case: _Case) -> bool:
    if mention.assertion is not Assertion.AFFIRMED:
        return False
    if concept == "region":
        # The bare word supports nothing ("no thoracic pain" names a region too): something has to be affirmed there.
        named = _rank(mention, case.template.indicators, case) is not None
        return named and mention.concept not in _PLACES and value in mention.at
    return mention.key == f"{concept}/{value}"


# ── indicators ──────────────────────────────────────────────────────────────────────────────────


def _quoted(case: _Case, supporting: Sequence[Mention]) -> list[Indicator]:
    """What of the note is shown, what matters most first.

    What supports an option, what decided the finding, what the template names, and what of it is denied.
    """
    own = [_as_mention(evidence) for evidence in case.finding.evidence]
    ranks = [(_rank(m, case.template.indicators, case), m) for m in case.mentions]
    named = [
        mention
        for _, mention in sorted(
            ((rank, m) for rank, m in ranks if rank is not None and m.assertion not in _BESIDE),
            key=lambda ranked: (ranked[0], ranked[1].start),
        )
    ]
    contrary = [mention for mention in named if mention.assertion in _DENIALS]
    telling = [mention for mention in named if mention.assertion not in _DENIALS]
    found: list[Indicator] = []
    for mentions, most in (
        (_one_each(supporting), len(supporting)),
        (own, MOST_INDICATORS),
        (telling, 2),
        (contrary, MOST_CONTRARY),
        (telling, MOST_INDICATORS),
    ):
        _add(found, mentions, most, case)
    if not found:
        # Nothing is said of it: what the note says of the condition is why it is asked.
        met = (f for f in case.check.findings if f.status is Status.MET)
        _add(found, [_as_mention(evidence) for f in met for evidence in f.evidence], 2, case)
    return found


def _add(found: list[Indicator], mentions: Iterable[Mention], most: int, case: _Case) -> None:
    """Add the passages of at most `most` mentions, as far as there is room, none twice."""
    added = 0
    for mention in mentions:
        if added >= most or len(found) >= MOST_INDICATORS + MOST_CONTRARY:
            return
        known = next((n for n, indicator in enumerate(found) if _holds(indicator, mention)), None)
        if known is None:
            indicator = _indicator(mention, case)
            added += indicator is not None and _place_in(found, indicator, case)
        elif mention.assertion in _DENIALS and not found[known].contrary:
            found[known] = replace(found[known], assertion=mention.assertion)


def _place_in(found: list[Indicator], new: Indicator, case: _Case) -> bool:
    """Add a quote, or let it and those it overlaps be one; whether it was added as one more."""
    touched = [old for old in found if old.start < new.end and new.start < old.end]
    if not touched:
        found.append(new)
        return True
    first = min((*touched, new), key=lambda indicator: indicator.start)
    end = max(indicator.end for indicator in (*touched, new))
    denied = next((indicator for indicator in (*touched, new) if indicator.contrary), touched[0])
    at = found.index(touched[0])
    quote = case.report.note.text[first.start : end]
    found[at] = replace(first, end=end, quote=quote, assertion=denied.assertion)
    for old in touched[1:]:
        found.remove(old)
    return False


def _one_each(mentions: Sequence[Mention]) -> list[Mention]:
    """The first mention of each value: one quote supports an option as well as five."""
    seen: dict[str, Mention] = {}
    for mention in mentions:
        seen.setdefault(mention.value if not mention.at else mention.at[0], mention)
    return list(seen.values())


def _indicator(mention: Mention, case: _Case) -> Indicator | None:
    """The mention's sentence; the mention alone, or nothing, where that holds what no query may say (Q03, Q07)."""
    text = case.report.note.text
    spans = (
        passage(text, mention.start, mention.end, from_start=mention.assertion is not Assertion.AFFIRMED),
        (mention.start, mention.end),
    )
    for start, end in spans:
        if not forbidden_in_quotes(text[start:end], case.rules):
            return Indicator(
                start=start,
                end=end,
                line=text.count("\n", 0, start) + 1,
                quote=text[start:end],
                section=mention.section,
                # A place is neither affirmed nor denied, whatever is said of what is there.
                assertion=None if mention.concept in _PLACES else mention.assertion,
            )
    return None


def _holds(indicator: Indicator, mention: Mention) -> bool:
    return indicator.start < mention.end and mention.start < indicator.end


def _as_mention(evidence: Evidence) -> Mention:
    return Mention(
        concept="",
        value="",
        assertion=evidence.assertion or Assertion.AFFIRMED,
        start=evidence.start,
        end=evidence.end,
        text=evidence.text,
        section=evidence.section,
    )


# ── the names templates use ─────────────────────────────────────────────────────────────────────


def _rank(mention: Mention, names: Sequence[str], case: _Case) -> int | None:
    """Which of `names` ("concept", "concept/value", "condition") the mention is, counted; None when it is none."""
    for number, name in enumerate(names):
        if name in (mention.key, mention.concept) or (name == CONDITION and mention in case.condition):
            return number
    return None


def _affirmed(names: Sequence[str], case: _Case) -> Iterator[Mention]:
    return (m for m in case.mentions if m.assertion is Assertion.AFFIRMED and _rank(m, names, case) is not None)
