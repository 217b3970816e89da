"""Judges any query by the rules in patterns/query_rules/: which rule, where, why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from notegap.model import QueryRule, RulePart
from notegap.query.checks import CHECKS, Span
from notegap.query.parts import Part, QueryParts, take_apart
from notegap.report.lines import count, position, shown

SCHEMA_VERSION = 1
_LONGEST_QUOTE = 72


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A rule that a query breaks. `start` and `end` count in the file, or in the field of JSON that `path` names.

    Where something lacks, they are those of the query's question.
    """

    rule: str
    says: str
    why: str
    start: int
    end: int
    text: str = field(repr=False)
    path: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What lint says of one file: how many queries it holds, and what is wrong with them."""

    where: str
    text: str = field(repr=False)
    queries: int
    faults: tuple[Fault, ...]


def lint(text: str, rules: Sequence[QueryRule], *, where: str = "query") -> Verdict:
    """Judge the queries in `text`; `where`, the file's name, is judged too: it travels with the query (Q03).

    Raises NoteError when `text` is JSON of another shape than `notegap query` writes.
    """
    queries = take_apart(text, where)
    faults = [*_name_faults(where, rules)]
    for query in queries:
        found = [fault for rule in rules for fault in _judge(query, rule)]
        faults += sorted(found, key=lambda fault: (fault.path, fault.start, fault.rule))
    return Verdict(where, text, sum(query.asks for query in queries), tuple(dict.fromkeys(faults)))


def faults_of(text: str, rule: QueryRule) -> list[Fault]:
    """What one rule finds in a query: for the examples of the rule."""
    found = (fault for query in take_apart(text, "example") for fault in _judge(query, rule))
    return sorted(found, key=lambda fault: (fault.path, fault.start))


def forbidden_in_quotes(quote: str, rules: Iterable[QueryRule]) -> bool:
    """Whether a quote of the record holds what may stand nowhere in a query: a code, money, an audit."""
    return any(
        part.how == "forbid" and "anywhere" in part.where and _compiled(part).search(quote) is not None
        for rule in rules
        for part in rule.parts
    )


def text_verdict(verdict: Verdict) -> str:
    """For a person: where, which rule, the stretch, why."""
    lines = []
    for fault in verdict.faults:
        place = fault.path or position(verdict.text, fault.start)
        lines.append(f"{verdict.where}:{place}: {fault.rule} {fault.says}")
        if fault.text:
            lines.append(f"  '{shown(fault.text, _LONGEST_QUOTE)}'")
        lines.append(f"  = {fault.why}")
    said = "queries" if verdict.queries != 1 else "query"
    lines.append(f"{verdict.where}: {verdict.queries} {said}, {count(len(verdict.faults), 'finding')}")
    return "\n".join(lines) + "\n"


def json_verdict(verdict: Verdict) -> str:
    """For a program; `line` is null in JSON, whose `path` tells where."""
    return (
        json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "file": verdict.where,
                "queries": verdict.queries,
                "findings": [
                    {
                        "rule": fault.rule,
                        "message": fault.says,
                        "why": fault.why,
                        "path": fault.path or None,
                        "line": None if fault.path else verdict.text.count("\n", 0, fault.start) + 1,
                        "start": fault.start,
                        "end": fault.end,
                        "text": fault.text,
                    }
                    for fault in verdict.faults
                ],
            },
            ensure_ascii=False,
            indent=2,
        )
        + "\n"
    )


VERDICTS: Mapping[str, Callable[[Verdict], str]] = MappingProxyType({"text": text_verdict, "json": json_verdict})
"""Format name → what prints a verdict in it."""


# ── judging ─────────────────────────────────────────────────────────────────────────────────────


def _judge(query: QueryParts, rule: QueryRule) -> Iterator[Fault]:
    for part in rule.parts:
        match part.how:
            case "forbid":
                for piece in _looked_at(query, part):
                    for match in _compiled(part).finditer(piece.text):
                        yield _fault(rule, part, (piece, match.start(), match.end()))
            case "need":
                for span in _lacking(query, part):
                    yield _fault(rule, part, span)
            case name:
                for span in CHECKS[name](query, part):
                    yield _fault(rule, part, span)


def _lacking(query: QueryParts, part: RulePart) -> Iterator[Span]:
    """Where the part needs something that is not there; the span is the question's."""
    if part.when == "line":
        for piece in _looked_at(query, part):
            for line in re.finditer(r"[^\n]+", piece.text):
                given = _any_of(part.given, case_kept=part.case_kept).search(line[0])
                if given is not None and _compiled(part).search(line[0]) is None:
                    yield piece, line.start() + given.start(), line.start() + given.end()
        return
    applies = {"question": query.asks, "options": bool(query.of("option")), "yes_no": query.asks_yes_no}[part.when]
    if applies and query.asks and not any(_compiled(part).search(p.text) for p in _looked_at(query, part)):
        piece = (query.of("question") or query.of("anywhere"))[0]
        yield piece, 0, len(piece.text)


def _looked_at(query: QueryParts, part: RulePart) -> Iterator[Part]:
    for name in part.where:
        yield from query.of(name)


def _fault(rule: QueryRule, part: RulePart, span: Span) -> Fault:
    piece, start, end = span
    return Fault(
        rule=rule.id,
        says=part.says,
        why=rule.why,
        start=piece.start + start,
        end=piece.start + end,
        text=piece.text[start:end],
        path=piece.path,
    )


def _name_faults(where: str, rules: Iterable[QueryRule]) -> Iterator[Fault]:
    """What may stand nowhere in a query may not stand in its file's name either."""
    name = re.sub(r"[_-]+", " ", where.replace("\\", "/").rpartition("/")[2])
    for rule in rules:
        for part in rule.parts:
            if part.how == "forbid" and "anywhere" in part.where:
                for match in _compiled(part).finditer(name):
                    yield _fault(rule, part, (Part(name, 0, "file name"), match.start(), match.end()))


def _compiled(part: RulePart) -> re.Pattern[str]:
    return _any_of(part.patterns, case_kept=part.case_kept)


@lru_cache(maxsize=256)
def _any_of(patterns: tuple[str, ...], *, case_kept: bool) -> re.Pattern[str]:
    """One expression of all patterns."""
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), 0 if case_kept else re.IGNORECASE)
