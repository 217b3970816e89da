"""Each item of a checklist decided for one note: a status, and the mentions that decided it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from notegap.assess.context import AFFIRMED, Context, is_final
from notegap.assess.evaluate import FAILS, Outcome, evaluate, interleaved
from notegap.assess.sites import suggested
from notegap.model import Alert, Assertion, Evidence, Finding, Mention, Requirement, Status

MOST_EVIDENCE = 6
"""More quotes than this hide the one that matters."""

DENIALS = frozenset({Assertion.NEGATED, Assertion.FAMILY, Assertion.HISTORICAL})
HEDGES = frozenset({Assertion.UNCERTAIN})
NOTHING: frozenset[Assertion] = frozenset()

CLAUDICATION = "neuro/neurogenic_claudication"
"""What tells M48.062 from M48.061."""


def decide(requirement: Requirement, context: Context) -> tuple[Status, tuple[Mention, ...]]:
    """The status of `requirement` and the mentions that decided it, the most telling first."""
    if requirement.when is not None and not evaluate(requirement.when, context)[0]:
        return Status.NOT_APPLICABLE, ()
    for status in requirement.order:
        holds, evidence = _tried(status, requirement, context)
        if holds and status is Status.UNCERTAIN and any(is_final(m, context.setting) for m in evidence):
            # Hedged by a cue of its own ("likely the cause of"), it is the inpatient's diagnosis all the same (II.H).
            return Status.MET, evidence
        if holds:
            return status, evidence
    return Status.MISSING, ()


def requirement_finding(
    requirement: Requirement, status: Status, mentions: Sequence[Mention], context: Context
) -> Finding:
    """What the report says of `requirement`; only a gap carries codes."""
    return Finding(
        id=f"{context.code}/{requirement.id}",
        kind="requirement",
        status=status,
        message=requirement.message,
        ask=requirement.ask,
        severity=requirement.severity,
        basis=requirement.basis,
        evidence=evidence_of(mentions),
        codes=codes_at(requirement.codes, (), context) if status.is_gap else (),
        why=requirement.why,
        place=requirement.place,
    )


def decide_alert(alert: Alert, context: Context) -> tuple[Status, tuple[Mention, ...]]:
    """Whether `alert` is raised, and the mentions that raise it."""
    raised, mentions = evaluate(alert.raised, context)
    if not raised or (alert.unless is not None and evaluate(alert.unless, context)[0]):
        return Status.CLEAR, ()
    return Status.RAISED, mentions


def alert_finding(alert: Alert, status: Status, mentions: Sequence[Mention], context: Context) -> Finding:
    """What the report says of `alert`; raised, it carries the codes its evidence fits."""
    raised = status is Status.RAISED
    # An alert about the claim has no words of its own in the note: what it is about is the condition.
    shown = (mentions or _affirmed_first(context.condition)[:1]) if raised else ()
    return Finding(
        id=f"{context.code}/{alert.id}",
        kind="alert",
        status=status,
        message=alert.message,
        alert=alert.alert,
        basis=alert.basis,
        evidence=evidence_of(shown),
        codes=codes_at(alert.codes, mentions, context) if raised else (),
        why=alert.why,
    )


def codes_at(stems: Sequence[str], mentions: Sequence[Mention], context: Context) -> tuple[str, ...]:
    """The codes of `stems` that fit what `mentions` say where they say it, else where the condition is."""
    claudication = any(m.key == CLAUDICATION and m.assertion is Assertion.AFFIRMED for m in context.mentions)
    found = suggested(
        stems,
        mentions,
        context.condition_regions,
        at_least=context.code_regions,
        claudication=claudication,
        codes=context.codes,
        coding=context.coding,
    )
    return tuple(code for code in found if code != context.code)


def evidence_of(mentions: Iterable[Mention]) -> tuple[Evidence, ...]:
    """A handful of the mentions, the most telling ones, as quotes in text order; a quote inside another is not told."""
    spans: dict[tuple[int, int], Mention] = {}
    for mention in mentions:
        spans.setdefault((mention.start, mention.end), mention)
    told = list(spans)[:MOST_EVIDENCE]
    whole = [span for span in told if not any(_is_inside(span, other) for other in told)]
    return tuple(_evidence(spans[span]) for span in sorted(whole))


def _evidence(mention: Mention) -> Evidence:
    return Evidence(mention.start, mention.end, mention.text, mention.section, mention.assertion)


def _is_inside(span: tuple[int, int], other: tuple[int, int]) -> bool:
    return span != other and other[0] <= span[0] and span[1] <= other[1]


def _tried(status: Status, requirement: Requirement, context: Context) -> Outcome:
    """Whether `requirement` has `status`: by its own rule for it, or by how its `met` is asserted in the note."""
    accepts = requirement.accepts
    match status:
        case Status.MET:
            return evaluate(requirement.met, context, accepts)
        case Status.VAGUE:
            own, shown, weaker = requirement.vague, NOTHING, NOTHING
        case Status.UNCERTAIN:
            own, shown, weaker = requirement.uncertain, HEDGES, HEDGES - accepts
        case Status.REFUTED:
            own, shown, weaker = requirement.refuted, DENIALS, DENIALS - accepts if requirement.denials else NOTHING
        case _:
            return FAILS
    said = evaluate(own, context, AFFIRMED) if own is not None else FAILS
    implied = _weakly(requirement, weaker, accepts | HEDGES, context)
    evidence = interleaved(mentions for holds, mentions in (said, implied) if holds)
    return said[0] or implied[0], tuple(sorted(evidence, key=lambda mention: mention.assertion not in shown))


def _weakly(
    requirement: Requirement, weaker: frozenset[Assertion], accepts: frozenset[Assertion], context: Context
) -> Outcome:
    """Whether `met` holds once `weaker` assertions count too, and one that counts only now is among what says so."""
    if not weaker:
        return FAILS
    firm = evaluate(requirement.met, context, requirement.accepts)[1]
    holds, mentions = evaluate(requirement.met, context, accepts | weaker)
    return (True, mentions) if holds and any(m.assertion in weaker and m not in firm for m in mentions) else FAILS


def _affirmed_first(mentions: Sequence[Mention]) -> tuple[Mention, ...]:
    return tuple(sorted(mentions, key=lambda m: (m.assertion is not Assertion.AFFIRMED, m.start)))
