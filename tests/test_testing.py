"""Running examples: what passes, what fails, and what a failure says. No spaCy: the analyzer is a stand-in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from notegap.errors import KnowledgeError
from notegap.knowledge import read_directory
from notegap.knowledge.marks import Mark, parse_marks
from notegap.knowledge.nodes import Place
from notegap.model import Assertion, CodeCheck, Finding, Knowledge, Mention, Note, Report, Status
from notegap.testing import HELPER, ExampleResult, collect, run_example, run_examples, showing_helpers

HERE = Place("x.yaml", 3)


@dataclass(frozen=True)
class StandIn:
    """Gives the mentions and findings it was made with, whatever the note."""

    @property
    def knowledge(self) -> Knowledge:
        raise AssertionError("only helper examples need it")

    mentions: tuple[Mention, ...] = ()
    findings: tuple[Finding, ...] = ()

    def read(self, note: Note) -> tuple[Mention, ...]:
        assert "[" not in note.text
        return self.mentions

    def analyze(self, note: Note) -> Report:
        check = CodeCheck(code=note.codes[0], title="", valid=True, billable=True, findings=self.findings)
        return Report(note=note, code_set="", mentions=(), checks=(check,))


def mention(key: str, start: int, end: int, assertion: Assertion = Assertion.AFFIRMED) -> Mention:
    concept, _, value = key.partition("/")
    return Mention(concept=concept, value=value, assertion=assertion, start=start, end=end, text="quoted")


def run_sentence(directory: Path, sentence: str, *mentions: Mention) -> ExampleResult:
    path = directory / "concepts" / "finding.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        "concept: finding\ntitle: Finding\nvalues:\n  fracture: {terms: [fracture]}\n  mass: {terms: [mass]}\n"
        f"examples:\n  - '{sentence}'\n"
    )
    (result,) = run_examples(StandIn(mentions), read_directory(directory))
    return result


def test_marked_mention_passes(tmp_path: Path) -> None:
    result = run_sentence(
        tmp_path, "No [fracture](fracture, negated).", mention("finding/fracture", 3, 11, Assertion.NEGATED)
    )
    assert result.ok
    assert result.id == "No [fracture](fracture, negated)."
    assert str(result) == f"{tmp_path}/concepts/finding.yaml:7: No [fracture](fracture, negated)."


@pytest.mark.parametrize(
    ("sentence", "mentions"),
    [
        ("A [fracture](fracture).", ()),
        ("A fracture.", (mention("finding/fracture", 2, 10),)),
        ("A [fracture](fracture).", (mention("finding/mass", 2, 10),)),
        ("A [fracture](fracture).", (mention("finding/fracture", 2, 10, Assertion.UNCERTAIN),)),
        ("A [fracture](fracture) here.", (mention("finding/fracture", 11, 15),)),
        ("A [fracture](fracture).", (mention("finding/fracture", 2, 10), mention("finding/fracture", 2, 10))),
        ("A [fracture](fracture, exact).", (mention("finding/fracture", 0, 10),)),
    ],
    ids=["missed", "too much", "other value", "other assertion", "other place", "twice", "not exact"],
)
def test_anything_else_fails(tmp_path: Path, sentence: str, mentions: tuple[Mention, ...]) -> None:
    assert not run_sentence(tmp_path, sentence, *mentions).ok


@pytest.mark.parametrize(
    ("sentence", "mentions"),
    [
        ("A fracture.", ()),
        ("A fracture.", (mention("region/lumbar", 2, 10),)),
        ("A [fracture](fracture).", (mention("finding/fracture", 0, 6),)),
        ("A [fracture](fracture, exact).", (mention("finding/fracture", 2, 10),)),
        ("A [fracture](fracture, mass).", (mention("finding/mass", 2, 10), mention("finding/fracture", 2, 10))),
        # Both mentions lie over the first mark; only the pairing that gives each mark its own passes.
        (
            "A [bad fracture](fracture) [x](fracture).",
            (mention("finding/fracture", 2, 16), mention("finding/fracture", 2, 5)),
        ),
    ],
    ids=["silent", "other concept", "overlap", "exact", "two values", "two mentions"],
)
def test_what_is_marked_passes(tmp_path: Path, sentence: str, mentions: tuple[Mention, ...]) -> None:
    assert run_sentence(tmp_path, sentence, *mentions).ok


def test_failure_says_what_was_expected_and_what_was_got(tmp_path: Path) -> None:
    result = run_sentence(tmp_path, "A [fracture](fracture).")
    assert str(result) == (
        f"{tmp_path}/concepts/finding.yaml:7: A [fracture](fracture).\n"
        "  expected: 'fracture' finding/fracture affirmed\n"
        "  got:      none"
    )


def test_helper_concept_is_run_by_an_analyzer_that_shows_it(tmp_path: Path) -> None:
    (tmp_path / "concepts").mkdir()
    (tmp_path / "concepts/part.yaml").write_text(
        "concept: part\ntitle: Part\nreported: false\nvalues: {canal: {terms: [canal]}}\n"
        'examples: ["No [canal](canal)."]\n'
    )
    knowledge = read_directory(tmp_path)
    (example,) = collect(knowledge)
    assert example.kind == HELPER
    # What is said of a part is not its own: the assertion does not count.
    assert run_example(StandIn((mention("part/canal", 3, 8, Assertion.NEGATED),)), example).ok
    assert not run_example(StandIn(), example).ok
    assert not knowledge.concepts["part"].reported
    assert showing_helpers(knowledge).concepts["part"].reported


def test_cue_example_is_strict_on_its_own_concepts_only(tmp_path: Path) -> None:
    (tmp_path / "context.yaml").write_text(
        "cues:\n  - {says: negated, direction: forward, terms: [no]}\n"
        'examples:\n  - "No [fracture](finding/fracture, negated) on MRI."\n'
    )
    knowledge = read_directory(tmp_path)
    fracture, mri = mention("finding/fracture", 3, 11, Assertion.NEGATED), mention("imaging/mri", 15, 18)
    (passed,) = run_examples(StandIn((fracture, mri)), knowledge)
    (failed,) = run_examples(StandIn((fracture, mri, mention("finding/mass", 15, 18))), knowledge)
    assert (passed.kind, passed.ok, failed.ok) == ("cue", True, False)


CHECKLIST = """\
id: M24.28
codes: [M24.28]
title: Disorder of ligament, vertebrae
why: a
source: b
condition: &all {concept: finding}
requires:
  - {id: region, severity: required, basis: [seed], needed_for: code, message: a, ask: A?, why: c, met: *all}
  - {id: cause, severity: required, basis: [seed], needed_for: code, message: a, ask: A?, why: c, met: *all}
alerts:
  - {id: acute, alert: conflict, basis: [seed], message: a, why: c, raised: {concept: finding}}
examples:
  - {name: bare, note: Lax ligament., gaps: [region, cause], alerts: [acute]}
"""


def finding(item: str, kind: str, status: Status) -> Finding:
    return Finding(id=f"M24.28/{item}", kind=kind, status=status, message="")


REGION = finding("region", "requirement", Status.MISSING)
CAUSE = finding("cause", "requirement", Status.VAGUE)
ACUTE = finding("acute", "alert", Status.RAISED)


@pytest.mark.parametrize(
    ("findings", "ok"),
    [
        ((REGION, CAUSE, ACUTE), True),
        ((CAUSE, REGION, ACUTE), False),
        ((REGION, CAUSE), False),
        ((REGION, ACUTE), False),
        ((REGION, CAUSE, ACUTE, finding("extra", "alert", Status.RAISED)), False),
        ((REGION, CAUSE, ACUTE, finding("extra", "alert", Status.CLEAR)), True),
        ((REGION, finding("cause", "requirement", Status.MET), ACUTE), False),
        ((), False),
    ],
)
def test_checklist_example_expects_the_exact_list(tmp_path: Path, findings: tuple[Finding, ...], ok: bool) -> None:
    (tmp_path / "checklists").mkdir()
    (tmp_path / "checklists/M24.28.yaml").write_text(CHECKLIST)
    (result,) = run_examples(StandIn(findings=findings), read_directory(tmp_path))
    assert (result.id, result.kind, result.ok) == ("M24.28: bare", "checklist", ok)
    assert result.expected == "gaps region, cause; alerts acute"


def test_marks_are_taken_out_of_the_sentence() -> None:
    marked = parse_marks("[Old](quality/old) [L4-S1](L4-L5, L5-S1, historical, exact) fusion.", HERE)
    assert marked.text == "Old L4-S1 fusion."
    assert marked.marks == (
        Mark(0, 3, "quality/old", Assertion.AFFIRMED),
        Mark(4, 9, "L4-L5", Assertion.HISTORICAL, exact=True),
        Mark(4, 9, "L5-S1", Assertion.HISTORICAL, exact=True),
    )


def test_brackets_that_are_no_marks_stay() -> None:
    marked = parse_marks("[x] Neck pain (chronic) [sic].", HERE)
    assert (marked.text, marked.marks) == ("[x] Neck pain (chronic) [sic].", ())


@pytest.mark.parametrize("sentence", ["[a](b", "[a] (b)", "a](b)", "[a]()", "[a](b, negated, family)", "[a](b,)"])
def test_half_written_mark_is_refused(sentence: str) -> None:
    with pytest.raises(KnowledgeError, match=r"^x\.yaml:3: (a|the) mark"):
        parse_marks(sentence, HERE)
