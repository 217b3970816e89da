"""Run the examples of any patterns/ or models/ directory: they are the tests of what notegap knows.

    knowledge = read_directory(Path("our-patterns"))
    results = run_examples(Analyzer(load_knowledge([Path("our-patterns")])), knowledge)

A result quotes the example, which is ours, never a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from notegap.knowledge.marks import Mark, Marked, parse_marks
from notegap.knowledge.nodes import Place
from notegap.model import (
    Assertion,
    ChecklistExample,
    Knowledge,
    Mention,
    Note,
    QueryExample,
    QueryRule,
    Report,
    RuleExample,
)
from notegap.query import compose, lint, text_query
from notegap.query.lint import faults_of

CONCEPT, HELPER, CUE, CHECKLIST, QUERY, RULE = "concept", "helper", "cue", "checklist", "query", "rule"
"""The kinds of example: of a reported concept, of one that serves others, of models/context.yaml, of a checklist, of a
query template, of a rule of queries."""


class Reads(Protocol):
    """What running examples takes of an Analyzer."""

    @property
    def knowledge(self) -> Knowledge:
        """What it reads with."""
        ...

    def read(self, note: Note) -> tuple[Mention, ...]:
        """The mentions of `note`, those that only help to assess included."""
        ...

    def analyze(self, note: Note) -> Report:
        """The report on `note`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example of a file; every mention of its `concepts` has to be marked."""

    kind: str
    id: str
    place: str
    concepts: tuple[str, ...] = ()
    marked: Marked | None = None
    checklist: ChecklistExample | None = None
    query: tuple[str, QueryExample] | None = None
    rule: tuple[QueryRule, RuleExample] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleResult:
    """What an example must give and what it gave, as text a person compares."""

    id: str
    kind: str
    place: str
    ok: bool
    expected: str
    got: str

    def __str__(self) -> str:
        """Where, which, and when it failed both sides."""
        head = f"{self.place}: {self.id}"
        return head if self.ok else f"{head}\n  expected: {self.expected}\n  got:      {self.got}"


def collect(knowledge: Knowledge) -> tuple[Example, ...]:
    """Every example, file by file."""
    return (
        *_concept_examples(knowledge),
        *_cue_examples(knowledge),
        *_checklist_examples(knowledge),
        *_query_examples(knowledge),
        *_rule_examples(knowledge),
    )


def run_examples(analyzer: Reads, knowledge: Knowledge) -> list[ExampleResult]:
    """Run every example of `knowledge` with `analyzer`.

    The mentions of helper concepts (`reported: false`) never leave extract: a second analyzer, which shows them, is
    built for their examples.
    """
    examples = collect(knowledge)
    helpers = analyzer
    if any(example.kind == HELPER for example in examples):
        from notegap.analyzer import Analyzer

        helpers = Analyzer(showing_helpers(analyzer.knowledge))
    return [run_example(helpers if example.kind == HELPER else analyzer, example) for example in examples]


def showing_helpers(knowledge: Knowledge) -> Knowledge:
    """The same knowledge with every concept reported."""
    shown = {name: replace(concept, reported=True) for name, concept in knowledge.concepts.items()}
    return replace(knowledge, concepts=MappingProxyType(shown))


def run_example(analyzer: Reads, example: Example) -> ExampleResult:
    """Run one example; `analyzer` has to show helpers for an example of theirs."""
    if example.checklist is not None:
        return _run_checklist(analyzer, example, example.checklist)
    if example.query is not None:
        return _run_query(analyzer, example, *example.query)
    if example.rule is not None:
        return _run_rule(example, *example.rule)
    assert example.marked is not None
    return _run_marked(analyzer, example, example.marked)


# ── collecting ──────────────────────────────────────────────────────────────────────────────────


def _concept_examples(knowledge: Knowledge) -> Iterable[Example]:
    for concept in knowledge.concepts.values():
        kind = CONCEPT if concept.reported else HELPER
        for sentence, file, line in concept.examples:
            place = Place(file, line)
            marked = _with_concept(parse_marks(sentence, place), concept.name)
            yield Example(kind=kind, id=sentence, place=str(place), concepts=(concept.name,), marked=marked)


def _cue_examples(knowledge: Knowledge) -> Iterable[Example]:
    for sentence, file, line in knowledge.cue_examples:
        place = Place(file, line)
        marked = parse_marks(sentence, place)
        concepts = tuple(dict.fromkeys(mark.value.partition("/")[0] for mark in marked.marks))
        yield Example(kind=CUE, id=sentence, place=str(place), concepts=concepts, marked=marked)


def _checklist_examples(knowledge: Knowledge) -> Iterable[Example]:
    for checklist in knowledge.checklists:
        for example in checklist.examples:
            place = Place(checklist.file, example.line)
            name = f"{example.code}: {example.name}"
            yield Example(kind=CHECKLIST, id=name, place=str(place), checklist=example)


def _query_examples(knowledge: Knowledge) -> Iterable[Example]:
    for template in knowledge.query_templates:
        for example in template.examples:
            name = f"query {template.id}: {example.name}"
            yield Example(
                kind=QUERY, id=name, place=str(Place(template.file, example.line)), query=(template.id, example)
            )


def _rule_examples(knowledge: Knowledge) -> Iterable[Example]:
    for rule in knowledge.query_rules:
        for number, example in enumerate(rule.examples, 1):
            name = f"rule {rule.id}, example {number}"
            yield Example(kind=RULE, id=name, place=str(Place(rule.file, example.line)), rule=(rule, example))


def _with_concept(marked: Marked, concept: str) -> Marked:
    marks = tuple(Mark(m.start, m.end, f"{concept}/{m.value}", m.assertion, m.exact) for m in marked.marks)
    return Marked(marked.text, marks)


# ── running ─────────────────────────────────────────────────────────────────────────────────────


def _run_marked(analyzer: Reads, example: Example, marked: Marked) -> ExampleResult:
    """Every mention of the example's concepts has its mark, and every mark its mention."""
    found = analyzer.read(Note(id="example", text=marked.text))
    mentions = [mention for mention in found if mention.concept in example.concepts]
    if example.kind == HELPER:
        # A part or a quality is only named, whatever is said of it.
        mentions = [replace(mention, assertion=Assertion.AFFIRMED) for mention in mentions]
    return ExampleResult(
        id=example.id,
        kind=example.kind,
        place=example.place,
        ok=_pair_up(marked.marks, mentions),
        expected=_list(_say_mark(mark, marked.text) for mark in marked.marks),
        got=_list(_say_mention(mention) for mention in mentions),
    )


def _pair_up(marks: Sequence[Mark], mentions: Sequence[Mention]) -> bool:
    """Whether marks and mentions can be paired one to one (augmenting paths: a mark may fit two mentions)."""
    if len(marks) != len(mentions):
        return False
    fits = [[i for i, mention in enumerate(mentions) if _fits(mark, mention)] for mark in marks]
    taken: dict[int, int] = {}

    def place(mark: int, tried: set[int]) -> bool:
        for mention in fits[mark]:
            if mention in tried:
                continue
            tried.add(mention)
            if mention not in taken or place(taken[mention], tried):
                taken[mention] = mark
                return True
        return False

    return all(place(mark, set()) for mark in range(len(marks)))


def _fits(mark: Mark, mention: Mention) -> bool:
    if mention.key != mark.value or mention.assertion is not mark.assertion:
        return False
    if mark.exact:
        return (mention.start, mention.end) == (mark.start, mark.end)
    return mention.start < mark.end and mark.start < mention.end


def _run_checklist(analyzer: Reads, example: Example, written: ChecklistExample) -> ExampleResult:
    """The gaps and the raised alerts of the example's code are exactly those written, in the file's order."""
    note = Note(
        id="example",
        text=written.note,
        codes=(written.code,),
        claim_codes=written.claim_codes,
        setting=written.setting,
    )
    findings = [finding for check in analyzer.analyze(note).checks for finding in check.findings if finding.is_open]
    gaps = tuple(finding.item for finding in findings if finding.kind == "requirement")
    alerts = tuple(finding.item for finding in findings if finding.kind == "alert")
    return ExampleResult(
        id=example.id,
        kind=example.kind,
        place=example.place,
        ok=gaps == written.gaps and alerts == written.alerts,
        expected=f"gaps {_list(written.gaps)}; alerts {_list(written.alerts)}",
        got="gaps "
        + _list(f"{f.item} ({f.status.value})" for f in findings if f.kind == "requirement")
        + f"; alerts {_list(alerts)}",
    )


def _run_query(analyzer: Reads, example: Example, template: str, written: QueryExample) -> ExampleResult:
    """What the template asks for the note is the text that is written, to the letter, and lint finds nothing in it."""
    note = Note(id="example", text=written.note, codes=(written.code,), setting=written.setting)
    queries = compose(analyzer.analyze(note), analyzer.knowledge)
    got = "\n".join(text_query(query) for query in queries if query.template == template)
    faults = lint(got, analyzer.knowledge.query_rules).faults if got else ()
    return ExampleResult(
        id=example.id,
        kind=example.kind,
        place=example.place,
        ok=got == written.query and not faults,
        expected=written.query or "no query",
        got=(got or "no query") + "".join(f"{fault.rule}: {fault.says}\n" for fault in faults),
    )


def _run_rule(example: Example, rule: QueryRule, written: RuleExample) -> ExampleResult:
    """The rule finds in the text exactly the stretches that are written, in order."""
    got = tuple(fault.text for fault in faults_of(written.text, rule))
    return ExampleResult(
        id=example.id,
        kind=example.kind,
        place=example.place,
        ok=got == written.found,
        expected=_list(f"'{text}'" for text in written.found),
        got=_list(f"'{text}'" for text in got),
    )


def _say_mark(mark: Mark, text: str) -> str:
    return f"'{text[mark.start : mark.end]}' {mark.value} {mark.assertion.value}"


def _say_mention(mention: Mention) -> str:
    return f"'{mention.text}' {mention.key} {mention.assertion.value}"


def _list(parts: Iterable[str]) -> str:
    return ", ".join(parts) or "none"
