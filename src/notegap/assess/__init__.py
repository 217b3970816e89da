"""Mentions × checklist → findings: pure, without the note's text and without spaCy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from notegap.assess.checks import is_fusion, spontaneous_fusions
from notegap.assess.context import Context, regions_of, told
from notegap.assess.evaluate import context_of
from notegap.assess.findings import alert_finding, decide, decide_alert, evidence_of, requirement_finding
from notegap.assess.general import INVALID_ITEM, coding_findings, invalid_finding
from notegap.assess.point import pointers
from notegap.assess.sites import code_in, family_of, is_reportable, site_codes
from notegap.icd10cm import CodeSet
from notegap.model import Assertion, Checklist, CodeCheck, Coding, Finding, Mention, Note, Status

__all__ = ["assess", "pointers"]


def assess(
    checklist: Checklist | None, code: str, mentions: Sequence[Mention], note: Note, codes: CodeSet, coding: Coding
) -> CodeCheck:
    """Say what `note` still has to document before `code` (dotted, upper-case) is supported.

    `checklist` None means no family covers the code: only what the tabular itself says is checked then.
    """
    if checklist is None:
        return _check(code, coding_findings(code, note, codes), (), codes)
    context = context_of(checklist, code, told(mentions, note.setting), note, codes, coding)
    better = _codes_where_it_is(context)
    findings = _findings(context, better)
    # A gap suggests a sibling, the code for what is documented; other families are an alert's to suggest.
    siblings = (c for f in findings if f.status.is_gap for c in f.codes if c.startswith(family_of(checklist)))
    return replace(_check(code, findings, (*better, *siblings), codes), condition=tuple(context.condition))


def _findings(context: Context, better: tuple[str, ...]) -> tuple[Finding, ...]:
    """Every requirement in its order, then every alert: each may look at the items decided before it."""
    findings: list[Finding] = []
    decided: dict[str, tuple[Status, tuple[Mention, ...]]] = {}
    context = replace(context, decided=decided)
    for requirement in context.checklist.requires:
        status, mentions = decide(requirement, context)
        findings.append(requirement_finding(requirement, status, mentions, context))
        decided[requirement.id] = (status, mentions)
    alerts = context.checklist.alerts
    if not is_reportable(context.code, context.codes) and INVALID_ITEM not in {alert.id for alert in alerts}:
        said = invalid_finding(context.code, better, context.codes)
        findings.append(replace(said, evidence=evidence_of(context.condition[:1])))
    for alert in alerts:
        status, mentions = decide_alert(alert, context)
        findings.append(alert_finding(alert, status, mentions, context))
        decided[alert.id] = (status, mentions)
    return tuple(findings)


def _codes_where_it_is(context: Context) -> tuple[str, ...]:
    """The family's codes for where the condition is affirmed, when that is not where the code says it is."""
    fusions = spontaneous_fusions(context)
    affirmed = [mention for mention in context.condition if mention.assertion is Assertion.AFFIRMED]
    own = [mention for mention in affirmed if not is_fusion(mention) or mention in fusions]
    regions = {region for mention in own for region in regions_of(mention)}
    if regions & context.code_regions:
        return ()
    return site_codes(context.checklist, regions, context.codes) if regions else ()


def _check(code: str, findings: tuple[Finding, ...], better: tuple[str, ...], codes: CodeSet) -> CodeCheck:
    entry = code_in(codes, code)
    raised = (other for finding in findings if finding.status is Status.RAISED for other in finding.codes)
    return CodeCheck(
        code=code,
        title=entry.title if entry else "",
        valid=entry is not None,
        billable=is_reportable(code, codes),
        findings=findings,
        suggested_codes=tuple(dict.fromkeys(other for other in (*better, *raised) if other != code)),
    )
