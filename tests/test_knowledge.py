"""Each way a knowledge file can be wrong, and the exact `file:line: message` it is refused with."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import pytest

from notegap.errors import KnowledgeError
from notegap.knowledge import Coverage, expand, load, load_checklists, load_knowledge, missing_examples, read_directory
from notegap.knowledge.terms import MAX_EXPANSIONS
from notegap.model import (
    AllOf,
    AnyOf,
    Assertion,
    AtLeast,
    Check,
    Claimed,
    ItemIs,
    Knowledge,
    NoneOf,
    Regions,
    Select,
    Setting,
    Status,
)

FINDING = """\
concept: finding
title: Spinal finding
values:
  canal_stenosis:
    terms:
      - spinal|central stenosis
    acronyms: [LSS]
    patterns: ['\\d+ ?mm canal']
    pairs:
      - {part: canal, says: narrowing}
      - {part: [canal, ligament/*], says: [normal], assertion: negated}
  instability: {terms: [instability, no]}
examples:
  - "No [spinal stenosis](canal_stenosis, negated)."
  - "An [unstable](instability) segment."
  - "The canal houses the cord."
"""

HELPERS = {
    "part": "concept: part\ntitle: Part\nreported: false\nvalues:\n  canal: {terms: [canal]}\nexamples: [None here.]\n",
    "change": (
        "concept: change\ntitle: Change\nreported: false\nvalues:\n  narrowing: {terms: [narrow]}\n"
        "  normal: {terms: [patent]}\nexamples: [None here.]\n"
    ),
    "ligament": (
        "concept: ligament\ntitle: Ligament\nvalues:\n  alar: {terms: [alar ligament]}\n  apical:\n"
        'examples: ["[alar ligament](alar)", "[apical](apical)", "None here."]\n'
    ),
    "imaging": (
        'concept: imaging\ntitle: Imaging\nvalues:\n  mri: {acronyms: [MRI]}\nexamples: ["[MRI](mri)", "None here."]\n'
    ),
    "quality": (
        "concept: quality\ntitle: Quality\nreported: false\nvalues:\n  acute: {terms: [acute]}\n"
        '  chronic: {terms: [chronic]}\nexamples: ["None here."]\n'
    ),
    "level": 'concept: level\ntitle: Level\nexamples: ["[L4-S1](L4-L5, L5-S1)", "None here."]\n',
}

CHECKLIST = """\
id: M53.2X
codes: M53.2X*
title: Spinal instabilities
why: >
  Two lines
  of why.
source: ICD-10-CM Tabular M53.2X
condition:
  any:
    - {concept: finding, values: [instability]}
points_to: {concept: finding, values: instability}
requires:
  - id: region
    severity: required
    basis: [tabular]
    needed_for: code
    message: Which region is unstable is not stated.
    ask: Which region is unstable?
    why: The code's last character is the region.
    met: {concept: condition, has_region: true}
  - id: cause
    severity: conditional
    basis: [seed]
    needed_for: audit
    message: What made the spine unstable is not stated.
    ask: What brought the instability about?
    why: Another code may fit.
    place: assessment
    when: {item: region, is: [met, vague]}
    order: [vague, met]
    accepts: [affirmed, historical]
    denials: false
    met:
      all:
        - {concept: finding, not_values: [instability], at: [lumbar, sacral], assertion: uncertain}
        - {none: [{check: several_regions}]}
    vague:
      at_least: 1
      of:
        - {concept: finding, at: condition_strict, seen_on: [mri, exam], section: imaging, qualities: [acute]}
        - {regions_of: {concept: finding}, at_least: 2}
    uncertain: {concept: imaging, same_sentence: [finding/instability], not_qualities: [chronic]}
    refuted: {concept: finding, due_to: [ligament], not_due_to: [ligament/*], beside: [any]}
alerts:
  - id: stenosis
    alert: route
    basis: [seed]
    message: Canal stenosis is documented, see M48.0-.
    why: It has a code of its own.
    raised: {concept: finding, values: [canal_stenosis], has_level: false}
    unless: {claimed: [M48.0]}
    codes: [M48.0]
examples:
  - {name: bare, note: "Instability.", gaps: [region, cause]}
  - {name: stenosis, note: "Lumbar instability, stenosis.", gaps: [], alerts: [stenosis], code: M53.2X6}
  - {name: claimed, note: "Lumbar instability.", gaps: [], setting: inpatient, claim_codes: [M48.061]}
"""

CONTEXT = """\
cues:
  - {says: negated, direction: forward, terms: [no, denies], words: 4, not_concepts: [imaging/mri]}
  - says: terminate
    terms: [but]
    concepts: [finding]
examples:
  - "No [instability](finding/instability, negated), but [MRI](imaging/mri, affirmed, exact)."
"""

SECTIONS = """\
sections:
  imaging:
    titles: [mri, "imaging studies"]
    assertions: {finding: affirmed}
  plan: {titles: plan}
"""

CODING = """\
facts:
  finding/instability: [M53.2]
injuries:
  S1: [cervical]
etiologies:
  among: [A, M0]
  without: [M15]
  incidental: [finding/canal_stenosis]
"""

FILES = {
    "concepts/finding.yaml": FINDING,
    **{f"concepts/{name}.yaml": text for name, text in HELPERS.items()},
    "checklists/M53.2X.yaml": CHECKLIST,
    "context.yaml": CONTEXT,
    "coding.yaml": CODING,
    "sections.yaml": SECTIONS,
    "abbreviations.yaml": "abbreviations:\n  LBP: low back pain\n",
    "spelling.yaml": "keep: [coccyx]\nshort: [canal]\n",
}


def write(directory: Path, changes: dict[str, str] | None = None) -> None:
    for name, text in {**FILES, **(changes or {})}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def read(directory: Path, changes: dict[str, str] | None = None) -> Knowledge:
    write(directory, changes)
    return read_directory(directory, check_names=True)


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


# ── what a right file gives ─────────────────────────────────────────────────────────────────────


def test_concept_is_read_as_written(tmp_path: Path) -> None:
    knowledge = read(tmp_path)
    finding = knowledge.concepts["finding"]
    stenosis = finding.values["canal_stenosis"]
    assert (finding.title, finding.reported) == ("Spinal finding", True)
    assert not knowledge.concepts["part"].reported
    assert stenosis.terms == ("spinal|central stenosis",)
    assert stenosis.acronyms == ("LSS",)
    assert stenosis.patterns == (r"\d+ ?mm canal",)
    assert stenosis.pairs[0].part == {"part/canal"}
    assert stenosis.pairs[0].says == {"change/narrowing"}
    assert stenosis.pairs[1].part == {"part/canal", "ligament/alar", "ligament/apical"}
    assert stenosis.pairs[1].assertion is Assertion.NEGATED
    # The word "no" is a word, not the YAML 1.1 boolean.
    assert finding.values["instability"].terms == ("instability", "no")
    assert finding.examples[0] == (
        "No [spinal stenosis](canal_stenosis, negated).",
        f"{tmp_path}/concepts/finding.yaml",
        line_of(FINDING, '"No [spinal'),
    )


def test_checklist_is_read_as_written(tmp_path: Path) -> None:
    (checklist,) = read(tmp_path).checklists
    assert checklist.codes == tuple(f"M53.2X{digit}" for digit in range(1, 10))
    assert checklist.why == "Two lines of why."
    assert checklist.condition == AnyOf((Select(concept="finding", values=frozenset({"instability"})),))
    assert checklist.points_to == Select(concept="finding", values=frozenset({"instability"}))
    region, cause = checklist.requires
    assert region.met == Select(concept="condition", has_region=True)
    assert region.order == (Status.MET, Status.VAGUE, Status.UNCERTAIN, Status.REFUTED)
    assert region.accepts == {Assertion.AFFIRMED}
    assert cause.when == ItemIs("region", frozenset({Status.MET, Status.VAGUE}))
    assert cause.order == (Status.VAGUE, Status.MET)
    assert cause.accepts == {Assertion.AFFIRMED, Assertion.HISTORICAL}
    assert (cause.denials, cause.place) == (False, "assessment")
    uncertain = Select(
        concept="finding",
        not_values=frozenset({"instability"}),
        at=("lumbar", "sacral"),
        assertion=frozenset({Assertion.UNCERTAIN}),
    )
    assert cause.met == AllOf((uncertain, NoneOf((Check("several_regions"),))))
    seen = Select(
        concept="finding",
        at="condition_strict",
        seen_on=frozenset({"mri", "exam"}),
        section=frozenset({"imaging"}),
        qualities=frozenset({"acute"}),
    )
    assert cause.vague == AtLeast(1, (seen, Regions(Select(concept="finding"), 2)))
    assert cause.uncertain == Select(
        concept="imaging", same_sentence=frozenset({"finding/instability"}), not_qualities=frozenset({"chronic"})
    )
    assert cause.refuted == Select(
        concept="finding",
        due_to=frozenset({"ligament"}),
        not_due_to=frozenset({"ligament/*"}),
        beside=frozenset({"any"}),
    )
    (alert,) = checklist.alerts
    assert alert.raised == Select(concept="finding", values=frozenset({"canal_stenosis"}), has_level=False)
    assert alert.unless == Claimed(("M48.0",))
    assert alert.codes == ("M48.0",)


def test_checklist_examples_are_read_as_written(tmp_path: Path) -> None:
    (checklist,) = read(tmp_path).checklists
    bare, stenosis, claimed = checklist.examples
    assert (bare.code, bare.gaps, bare.alerts, bare.claim_codes) == ("M53.2X1", ("region", "cause"), (), None)
    assert (stenosis.code, stenosis.alerts) == ("M53.2X6", ("stenosis",))
    assert (claimed.setting, claimed.claim_codes) == (Setting.INPATIENT, ("M48.061",))
    assert bare.line == line_of(CHECKLIST, "- {name: bare")


def test_models_are_read_as_written(tmp_path: Path) -> None:
    knowledge = read(tmp_path)
    no, but = knowledge.cues
    assert (no.says, no.direction, no.terms, no.words) == ("negated", "forward", ("no", "denies"), 4)
    assert (no.not_concepts, no.line) == (("imaging/mri",), 2)
    assert (but.says, but.direction, but.terms, but.concepts) == ("terminate", "both", ("but",), ("finding",))
    imaging, plan = knowledge.sections
    assert (imaging.name, imaging.titles) == ("imaging", ("mri", "imaging studies"))
    assert imaging.assertions == {"finding": Assertion.AFFIRMED}
    assert (plan.titles, plan.assertions) == (("plan",), {})
    assert knowledge.abbreviations == {"LBP": "low back pain"}
    assert knowledge.spelling_keep == {"coccyx"}
    assert knowledge.spelling_short == {"canal"}


def test_version_follows_the_content(tmp_path: Path) -> None:
    first = read(tmp_path).version
    assert read(tmp_path).version == first
    assert read(tmp_path, {"spelling.yaml": "keep: [coccyx, sacrum]\n"}).version != first


def test_knowledge_is_frozen(tmp_path: Path) -> None:
    knowledge = read(tmp_path)
    with pytest.raises(TypeError):
        knowledge.concepts["new"] = knowledge.concepts["part"]  # type: ignore[index]
    with pytest.raises(TypeError):
        knowledge.concepts["finding"].values["new"] = None  # type: ignore[index]


def test_root_with_patterns_and_models_folders_is_read_too(tmp_path: Path) -> None:
    flat, nested = tmp_path / "flat", tmp_path / "nested"
    write(flat)
    for name, text in FILES.items():
        path = nested / ("patterns" if "/" in name else "models") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ours, theirs = read_directory(flat), read_directory(nested)
    assert list(ours.concepts) == list(theirs.concepts)
    assert [c.id for c in ours.checklists] == [c.id for c in theirs.checklists]
    assert ours.cues == theirs.cues
    assert ours.abbreviations == theirs.abbreviations


# ── wrong files ─────────────────────────────────────────────────────────────────────────────────

Wrong = tuple[str, str, str, str, str]

CONCEPT = "concepts/finding.yaml"
LIST = "checklists/M53.2X.yaml"

# file, what is replaced, by what, the line's marker in the changed file, message
WRONG: list[Wrong] = [
    # what facts are coded with
    (
        "coding.yaml",
        "/instability:",
        "/unstable:",
        "/unstable",
        "unknown finding value 'unstable', did you mean 'instability'?",
    ),
    ("coding.yaml", "[M53.2]", "[M53.299]", "M53.299", "no code of ICD-10-CM FY2026 (April 2026) starts with M53.299"),
    ("coding.yaml", "[cervical]", "[cervcal]", "cervcal", "unknown region 'cervcal', did you mean 'cervical'?"),
    # YAML itself
    (CONCEPT, "terms:\n", "terms: [\n", "      - spinal", "this is not YAML: did not find expected node content"),
    (
        CONCEPT,
        "- spinal|central stenosis",
        "- [spinal|central] stenosis",
        "      - [spinal",
        "this is not YAML: did not find expected '-' indicator; a text that begins with [ has to stand in quotes",
    ),
    (
        CONCEPT,
        "title: Spinal finding",
        "title: Spinal: a finding",
        "title",
        "this is not YAML: mapping values are not allowed in this context; a text with a colon has to stand in quotes",
    ),
    (
        CONCEPT,
        "- spinal|central stenosis",
        "- spinal: stenosis",
        "      - spinal",
        "expected text, found 'key: value' pairs (a text with a colon has to stand in quotes)",
    ),
    (CONCEPT, "Spinal finding", "Spinal\0finding", "Spinal", "this is not YAML: control characters are not allowed"),
    (CONCEPT, FINDING, "# nothing\n", "# nothing", "the file is empty"),
    (CONCEPT, FINDING, "- a\n", "- a", "expected 'key: value' pairs, found a list"),
    (CONCEPT, FINDING, "just words\n", "just", "expected 'key: value' pairs, found 'just words'"),
    # keys
    (CONCEPT, "acronyms", "acronym", "acronym", "unknown key 'acronym', did you mean 'acronyms'?"),
    (
        CONCEPT,
        "title: Spinal",
        "xyz: 1\ntitle: Spinal",
        "xyz",
        "unknown key 'xyz', expected one of: concept, title, examples, reported, values",
    ),
    (CONCEPT, "title: Spinal finding\n", "", "concept", "'title' is missing"),
    (CONCEPT, "title: Spinal finding", "title:", "title", "'title' is empty"),
    (CONCEPT, "title: Spinal finding", "title: a\ntitle: b", "title: b", "'title' is given twice"),
    (CONCEPT, "title: Spinal finding", "title: [a]", "title", "expected text, found a list"),
    (
        CONCEPT,
        "title: Spinal",
        "reported: maybe\ntitle: Spinal",
        "reported",
        "unknown value 'maybe', expected one of: true, false",
    ),
    (
        CONCEPT,
        "  instability:",
        "  Instability:",
        "  Inst",
        "'Instability' is no name for a value: use lower case and underscores",
    ),
    (
        CONCEPT,
        "concept: finding",
        "concept: a finding",
        "concept",
        "'a finding' is no name: use lower case and underscores",
    ),
    (CONCEPT, "acronyms: [LSS]", "acronyms: {LSS: 1}", "acronyms", "expected a list, found 'key: value' pairs"),
    (CONCEPT, "acronyms: [LSS]", "acronyms: [LSS, LSS]", "acronyms", "'LSS' is listed twice"),
    (CONCEPT, "acronyms: [LSS]", "acronyms: [LSS, '']", "acronyms", "expected text, found nothing"),
    # — terms and patterns —
    (
        CONCEPT,
        "central stenosis",
        "central (stenosis",
        "      - spinal",
        "term 'spinal|central (stenosis': '(' is never closed",
    ),
    (
        CONCEPT,
        "'\\d+ ?mm canal'",
        "'(\\d+'",
        "patterns",
        "this regular expression is wrong: missing ), unterminated subpattern at position 0",
    ),
    (
        CONCEPT,
        "'\\d+ ?mm canal'",
        "'\\d*'",
        "patterns",
        "this regular expression matches nothing at all, so it would match anywhere",
    ),
    # — names in pairs and examples —
    (
        CONCEPT,
        "part: canal,",
        "part: cannal,",
        "      - {part: cannal",
        "unknown part value 'cannal', did you mean 'canal'?",
    ),
    (
        CONCEPT,
        "says: narrowing",
        "says: finding/stable",
        "      - {part: canal,",
        "unknown finding value 'stable', expected one of: canal_stenosis, instability",
    ),
    (CONCEPT, "ligament/*", "ligamen/*", "      - {part: [", "unknown concept 'ligamen', did you mean 'ligament'?"),
    (
        CONCEPT,
        "assertion: negated",
        "assertion: denied",
        "      - {part: [",
        "unknown assertion 'denied', expected one of: affirmed, negated, uncertain, hypothetical, historical, family",
    ),
    (
        CONCEPT,
        "(instability)",
        "(instabilty)",
        '  - "An',
        "unknown finding value 'instabilty' in an example, did you mean 'instability'?",
    ),
    (
        CONCEPT,
        "(canal_stenosis, negated)",
        "(canal_stenosis, negted)",
        '  - "No',
        "unknown finding value 'negted' in an example, did you mean 'negated'?",
    ),
    (CONCEPT, "(instability)", "()", '  - "An', "the mark () in an example lacks a value"),
    (
        CONCEPT,
        "(instability)",
        " (instability)",
        '  - "An',
        "a mark in an example is not whole; write [text](value) or [text](value, assertion)",
    ),
    (
        CONCEPT,
        "(instability)",
        "(instability",
        '  - "An',
        "a mark in an example is not whole; write [text](value) or [text](value, assertion)",
    ),
    (
        CONCEPT,
        "(instability)",
        "(instability, negated, family)",
        '  - "An',
        "the mark (instability, negated, family) in an example has two assertions",
    ),
    # — checklists: shape —
    (
        LIST,
        "severity: required",
        "severity: needed",
        "    severity",
        "unknown severity 'needed', expected one of: required, recommended, conditional",
    ),
    (
        LIST,
        "    when: {item: region, is: [met, vague]}\n",
        "",
        "    severity: cond",
        "a conditional requirement has to say its condition: 'when' is missing",
    ),
    (LIST, "alert: route", "alert: rout", "    alert", "unknown kind of alert 'rout', did you mean 'route'?"),
    (
        LIST,
        "- id: cause",
        "- id: region",
        "  - id: region\n    severity: cond",
        "'region' is already the id of another item",
    ),
    (LIST, "- id: cause", "- id: The_cause", "  - id: The", "'The_cause' is no name: use lower case and hyphens"),
    (
        LIST,
        "order: [vague, met]",
        "order: [vague, missing]",
        "    order",
        "unknown status 'missing', expected one of: met, vague, uncertain, refuted",
    ),
    (LIST, "order: [vague, met]", "order: [met, met]", "    order", "'met' is listed twice"),
    (
        LIST,
        CHECKLIST[CHECKLIST.index("requires:") :],
        "requires: []\nexamples: []\n",
        "requires",
        "'requires' is empty",
    ),
    (
        LIST,
        "code: M53.2X6",
        "code: M24.28",
        "  - {name: stenosis",
        "M24.28 is not in the family M53.2X this file is about",
    ),
    # — checklists: wording —
    (LIST, "about?", "about.", "    ask: What", "an 'ask' is a question: it has to end with '?'"),
    (LIST, "about?", "about to be paid?", "    ask: What", "'paid' speaks of money; say what is missing from the note"),
    (
        LIST,
        "about?",
        "about, M53.2X6?",
        "    ask: What",
        "'M53.2X6' is a code; a clinician is asked for facts, not codes",
    ),
    (
        LIST,
        "Which region is unstable is",
        "The payer's region is",
        "    message: The",
        "'payer' speaks of money; say what is missing from the note",
    ),
    # — checklists: codes —
    (
        LIST,
        "codes: M53.2X*",
        "codes: [M53.2X6, M53.2X0]",
        "codes",
        "M53.2X0 does not exist in ICD-10-CM FY2026 (April 2026), did you mean M53.2X9?",
    ),
    (
        LIST,
        "codes: M53.2X*",
        "codes: [M53.2X]",
        "codes",
        "M53.2X cannot be reported as it stands: it is a header, its codes have more characters, did you mean M53.2X1?",
    ),
    (LIST, "codes: M53.2X*", "codes: [M53.2Y*]", "codes", "M53.2Y* is not in the family M53.2X this file is about"),
    (
        LIST,
        "codes: M53.2X*",
        "codes: [M53.2X0*]",
        "codes",
        "no code of ICD-10-CM FY2026 (April 2026) starts with M53.2X0",
    ),
    (
        LIST,
        "codes: M53.2X*",
        "codes: [m532x6]",
        "codes",
        "'m532x6' has not the form of an ICD-10-CM code (like M53.2X1)",
    ),
    (LIST, "codes: M53.2X*", "codes: []", "codes", "'codes' is empty"),
    (
        LIST,
        "title: Spinal instabilities",
        "title: Unstable spine",
        "title",
        "the title of M53.2X is 'Spinal instabilities', not 'Unstable spine'",
    ),
    (
        LIST,
        "    codes: [M48.0]",
        "    codes: [M48.7X]",
        "    codes",
        "M48.7X does not exist in ICD-10-CM FY2026 (April 2026), did you mean M48.0?",
    ),
    # — checklists: expressions —
    (LIST, "{concept: condition, has_region: true}", "[a]", "    met: [", "expected 'key: value' pairs, found a list"),
    (LIST, "{concept: condition, has_region: true}", "{}", "    met: {", "this expression is empty"),
    (
        LIST,
        "{concept: condition, has_region: true}",
        "{anny: [a]}",
        "    met: {",
        "unknown key 'anny', did you mean 'any'?",
    ),
    (LIST, "{concept: condition, has_region: true}", "{any: []}", "    met: {", "'any' is empty"),
    (LIST, "{concept: condition, has_region: true}", "{values: [a]}", "    met: {", "'concept' is missing"),
    (LIST, "{concept: condition, has_region: true}", "{at_least: 1}", "    met: {", "'of' is missing"),
    (LIST, "{concept: condition, has_region: true}", "{of: [{check: a}]}", "    met: {", "'at_least' is missing"),
    (
        LIST,
        "{concept: condition, has_region: true}",
        "{at_least: 2, of: [{check: a}]}",
        "    met: {",
        "at_least: 2 can never hold, there are only 1 parts",
    ),
    (
        LIST,
        "{concept: condition, has_region: true}",
        "{at_least: x, of: [{check: a}]}",
        "    met: {",
        "expected a whole number of at least 1, found 'x'",
    ),
    (
        LIST,
        "{concept: condition, has_region: true}",
        "{any: [{check: a}], all: []}",
        "    met: {",
        "unknown key 'all', expected one of: any",
    ),
    (
        LIST,
        "has_region: true",
        "values: [instability]",
        "    met: {",
        "'values' cannot narrow the condition; name the concept instead",
    ),
    (
        LIST,
        "has_region: true",
        "has_regoin: true",
        "    met: {",
        "unknown key 'has_regoin', did you mean 'has_region'?",
    ),
    (
        LIST,
        "{item: region, is: [met, vague]}",
        "{item: cause, is: [met]}",
        "    when",
        "unknown item (only items listed before may be named) 'cause', expected one of: region",
    ),
    (
        LIST,
        "{item: region, is: [met, vague]}",
        "{item: region, is: [raised]}",
        "    when",
        "unknown status 'raised', expected one of: met, missing, vague, uncertain, refuted, not_applicable",
    ),
    (LIST, "{item: region, is: [met, vague]}", "{item: region}", "    when", "'is' is missing"),
    (
        LIST,
        "points_to: {concept: finding, values: instability}",
        "points_to: {item: region, is: met}",
        "points_to",
        "'item' cannot be used here, only in requirements and alerts",
    ),
    (
        LIST,
        "{regions_of: {concept: finding}, at_least: 2}",
        "{regions_of: {check: a}, at_least: 2}",
        "        - {regions",
        "'regions_of' takes one selector (concept: …)",
    ),
    (
        LIST,
        "at: [lumbar, sacral]",
        "at: [lumber]",
        "        - {concept: finding, not",
        "unknown region (or one of condition, condition_strict, area, elsewhere, code) 'lumber', did you mean "
        "'lumbar'?",
    ),
    # — checklists: names elsewhere —
    (
        LIST,
        "    - {concept: finding, values: [instability]}",
        "    - {concept: findin, values: [instability]}",
        "    - {concept: findin,",
        "unknown concept 'findin', did you mean 'finding'?",
    ),
    (
        LIST,
        "    - {concept: finding, values: [instability]}",
        "    - {concept: finding, values: [instable]}",
        "    - {concept",
        "unknown finding value 'instable', did you mean 'instability'?",
    ),
    (
        LIST,
        "seen_on: [mri, exam]",
        "seen_on: [mir, exam]",
        "        - {concept: finding, at",
        "unknown way of seeing 'mir', did you mean 'mri'?",
    ),
    (
        LIST,
        "section: imaging",
        "section: imagin",
        "        - {concept: finding, at",
        "unknown section 'imagin', did you mean 'imaging'?",
    ),
    (
        LIST,
        "qualities: [acute]",
        "qualities: [acut]",
        "        - {concept: finding, at",
        "unknown quality value 'acut', did you mean 'acute'?",
    ),
    (
        LIST,
        "due_to: [ligament]",
        "due_to: [ligaments]",
        "    refuted",
        "unknown concept 'ligaments', did you mean 'ligament'?",
    ),
    (
        LIST,
        "same_sentence: [finding/instability]",
        "same_sentence: [finding/stability]",
        "    uncertain",
        "unknown finding value 'stability', did you mean 'instability'?",
    ),
    # — checklists: examples —
    (
        LIST,
        "gaps: [region, cause]",
        "gaps: [cause, region]",
        "  - {name: bare",
        "list them in the order of the file: region, cause",
    ),
    (
        LIST,
        "gaps: [region, cause]",
        "gaps: [reigon]",
        "  - {name: bare",
        "unknown requirement 'reigon', did you mean 'region'?",
    ),
    (LIST, "gaps: [region, cause]", "alerts: []", "  - {name: bare", "'gaps' is missing"),
    (
        LIST,
        "alerts: [stenosis]",
        "alerts: [region]",
        "  - {name: stenosis",
        "unknown alert 'region', expected one of: stenosis",
    ),
    (
        LIST,
        "setting: inpatient",
        "setting: ward",
        "  - {name: claimed",
        "unknown setting 'ward', expected one of: outpatient, inpatient",
    ),
    # models/
    (
        "context.yaml",
        "says: negated",
        "says: negative",
        "  - {says",
        "unknown meaning of a cue 'negative', did you mean 'negated'?",
    ),
    (
        "context.yaml",
        "direction: forward",
        "direction: forwards",
        "  - {says",
        "unknown direction 'forwards', did you mean 'forward'?",
    ),
    ("context.yaml", "direction: forward, ", "", "  - {says", "'direction' is missing"),
    ("context.yaml", "    terms: [but]\n", "", "  - says: terminate", "'terms' is missing"),
    ("context.yaml", "words: 4", "words: 0", "  - {says", "expected a whole number of at least 1, found '0'"),
    ("context.yaml", "[imaging/mri]", "[imaging/mr]", "  - {says", "unknown imaging value 'mr', did you mean 'mri'?"),
    (
        "context.yaml",
        "(finding/instability",
        "(instability",
        '  - "No',
        "unknown concept/value 'instability' in an example, did you mean 'finding/instability'?",
    ),
    (
        "context.yaml",
        '"No [instability](finding/instability, negated), but [MRI](imaging/mri, affirmed, exact)."',
        '"No."',
        '  - "No',
        "an example of a cue has to mark what the cue speaks of: [text](concept/value, assertion)",
    ),
    (
        "sections.yaml",
        "{finding: affirmed}",
        "{finding: yes}",
        "    assertions",
        "unknown assertion 'yes', expected one of: affirmed, negated, uncertain, hypothetical, historical, family",
    ),
    (
        "sections.yaml",
        "{finding: affirmed}",
        "{fnding: affirmed}",
        "    assertions",
        "unknown concept 'fnding', did you mean 'finding'?",
    ),
    (
        "abbreviations.yaml",
        "  LBP: low back pain\n",
        "  LBP: low back pain\n  LBP: pain\n",
        "  LBP: pain",
        "'LBP' is given twice",
    ),
    ("abbreviations.yaml", "low back pain", "", "  LBP", "expected text, found nothing"),
    ("spelling.yaml", "keep", "kept", "kept", "unknown key 'kept', did you mean 'keep'?"),
]


@pytest.mark.parametrize(("file", "old", "new", "marker", "message"), WRONG, ids=[f"{w[0]}: {w[4]}" for w in WRONG])
def test_wrong_file_is_refused(tmp_path: Path, file: str, old: str, new: str, marker: str, message: str) -> None:
    assert old in FILES[file]
    text = FILES[file].replace(old, new, 1)
    with pytest.raises(KnowledgeError) as caught:
        read(tmp_path, {file: text})
    assert str(caught.value) == f"{tmp_path}/{file}:{line_of(text, marker)}: {message}"


def test_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "spelling.yaml").write_bytes(b"keep:\n  - caf\xe9\n")
    with pytest.raises(KnowledgeError) as caught:
        read_directory(tmp_path)
    assert str(caught.value) == f"{tmp_path}/spelling.yaml:2: this is not UTF-8 text"


def test_concept_in_two_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError) as caught:
        read(tmp_path, {"concepts/later.yaml": HELPERS["imaging"]})
    first = f"{tmp_path}/concepts/imaging.yaml"
    assert str(caught.value) == f"{tmp_path}/concepts/later.yaml:1: concept 'imaging' is already in {first}"


def test_words_in_two_cues_are_refused(tmp_path: Path) -> None:
    again = "  - {says: uncertain, direction: both, terms: [maybe, (he|she) NO|not]}\n"
    text = CONTEXT.replace("examples:\n", again + "examples:\n")
    with pytest.raises(KnowledgeError) as caught:
        read(tmp_path, {"context.yaml": text})
    file = f"{tmp_path}/context.yaml"
    said = f"'NO' is already in another cue (negated, {file}:2); only one of them would be heard"
    assert str(caught.value) == f"{file}:{line_of(text, '  - {says: uncertain')}: {said}"


def test_words_twice_in_one_cue_are_no_fault(tmp_path: Path) -> None:
    text = CONTEXT.replace("[no, denies]", "[no, denies, no|denies]")
    assert len(read(tmp_path, {"context.yaml": text}).cues) == 2


def test_code_in_two_checklists_is_refused(tmp_path: Path) -> None:
    other = CHECKLIST.replace("id: M53.2X", "id: M53.2X6").replace("codes: M53.2X*", "codes: M53.2X6")
    other = other.replace("title: Spinal instabilities", "title: Spinal instabilities, lumbar region")
    with pytest.raises(KnowledgeError) as caught:
        read(tmp_path, {"checklists/M53.2X6.yaml": other})
    first = f"{tmp_path}/{LIST}"
    assert str(caught.value) == f"{tmp_path}/checklists/M53.2X6.yaml:1: code 'M53.2X6' is already in {first}"


def test_yml_file_is_refused_instead_of_overlooked(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError) as caught:
        read(tmp_path, {"concepts/extra.yml": FINDING})
    assert str(caught.value) == f"{tmp_path}/concepts/extra.yml: name it extra.yaml, or it would not be read"


def test_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError) as caught:
        read_directory(tmp_path / "gone")
    assert str(caught.value) == f"{tmp_path}/gone: there is no such directory"


def test_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeError) as caught:
        read_directory(tmp_path)
    where = f"put YAML files into {tmp_path}/concepts or {tmp_path}/checklists"
    assert str(caught.value) == f"{tmp_path}: there is nothing to read; {where}"


def test_expression_that_holds_itself_is_refused(tmp_path: Path) -> None:
    text = CHECKLIST.replace("{concept: condition, has_region: true}", "&again {any: [*again]}")
    with pytest.raises(KnowledgeError) as caught:
        read(tmp_path, {LIST: text})
    place = f"{tmp_path}/{LIST}:{line_of(text, '&again')}"
    assert str(caught.value) == f"{place}: this expression is nested too deeply"


@pytest.mark.parametrize("name", ["context", "sections", "abbreviations", "spelling"])
def test_missing_model_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _ship(tmp_path, monkeypatch)
    (tmp_path / f"models/{name}.yaml").unlink()
    with pytest.raises(KnowledgeError) as caught:
        load_knowledge()
    assert str(caught.value) == f"models/{name}.yaml: the file is missing"


@pytest.mark.parametrize("name", ["patterns", "models"])
def test_missing_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _ship(tmp_path, monkeypatch)
    (tmp_path / name).rename(tmp_path / "elsewhere")
    with pytest.raises(KnowledgeError) as caught:
        load_knowledge()
    assert str(caught.value) == f"{name}/: notegap's folder of that name is missing; install notegap again"


# ── a hospital's own directory ──────────────────────────────────────────────────────────────────


def test_extra_directory_adds_to_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ship(tmp_path / "ours", monkeypatch)
    theirs = tmp_path / "theirs"
    for name, text in {
        "concepts/finding.yaml": (
            "concept: finding\ntitle: Theirs\nvalues:\n  instability: {terms: [wobble]}\n"
            "  wobble: {terms: [wobbling]}\n"
            'examples: ["It [wobbles](instability).", "[wobbling](wobble)", "Quiet."]\n'
        ),
        "sections.yaml": "sections:\n  imaging: {titles: [roentgen]}\n  gossip: {titles: [gossip]}\n",
        "abbreviations.yaml": "abbreviations: {WBL: wobble}\n",
        "checklists/M53.2X.yaml": CHECKLIST.replace("Two lines", "Their lines"),
    }.items():
        path = theirs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ours, joined = load_knowledge(), load_knowledge([theirs])
    assert joined.concepts["finding"].values["instability"].terms == ("instability", "no", "wobble")
    assert "wobble" in joined.concepts["finding"].values
    assert joined.concepts["finding"].title == "Spinal finding"
    assert len(joined.concepts["finding"].examples) == len(ours.concepts["finding"].examples) + 3
    assert joined.sections[0].titles == ("mri", "imaging studies", "roentgen")
    assert joined.sections[-1].name == "gossip"
    assert joined.abbreviations == {"LBP": "low back pain", "WBL": "wobble"}
    assert [c.why for c in joined.checklists] == ["Their lines of why."]
    assert [c.why for c in load_checklists([theirs])] == ["Their lines of why."]
    assert joined.version != ours.version


def test_extra_concept_cannot_change_who_sees_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ship(tmp_path / "ours", monkeypatch)
    path = tmp_path / "theirs/concepts/part.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(HELPERS["part"].replace("reported: false\n", ""))
    with pytest.raises(KnowledgeError) as caught:
        load_knowledge([tmp_path / "theirs"])
    message = "concept 'part' of notegap is reported: false, this file has to say so too"
    assert str(caught.value) == f"{path}:1: {message}"


def test_extra_checklist_without_its_examples_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ship(tmp_path / "ours", monkeypatch)
    path = tmp_path / "theirs/checklists/M53.2X.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(CHECKLIST.replace(", alerts: [stenosis]", ""))
    with pytest.raises(KnowledgeError) as caught:
        load_knowledge([tmp_path / "theirs"])
    line = line_of(CHECKLIST, "  - id: stenosis")
    assert str(caught.value) == f"{path}:{line}: no example raises the alert 'stenosis'"


def test_checklists_alone_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ship(tmp_path, monkeypatch)
    assert load_checklists() == load_knowledge().checklists


def test_knowledge_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ship(tmp_path, monkeypatch)
    assert load_knowledge() is load_knowledge()


# ── examples that bite ──────────────────────────────────────────────────────────────────────────


def test_right_files_lack_no_example(tmp_path: Path) -> None:
    write(tmp_path)
    assert missing_examples(tmp_path) == []


LACKING = [
    (CONCEPT, '  - "An [unstable](instability) segment."\n', "", "  instability", "no example marks 'instability'"),
    (
        CONCEPT,
        '  - "The canal houses the cord."\n',
        "",
        "concept",
        "no example is without a mark: add a sentence that must find nothing",
    ),
    (LIST, "gaps: [region, cause]", "gaps: [region]", "  - id: cause", "no example opens the requirement 'cause'"),
    (LIST, ", alerts: [stenosis]", "", "  - id: stenosis", "no example raises the alert 'stenosis'"),
    (
        LIST,
        CHECKLIST[CHECKLIST.index("  - {name: stenosis") :],
        "  - {name: s, note: a, gaps: [region], alerts: [stenosis]}\n",
        "  - id: region",
        "every example opens the requirement 'region': add one that does not",
    ),
    ("context.yaml", ", but", ",", "  - says: terminate", "no example holds this cue ('but', terminate)"),
    ("context.yaml", "instability, negated", "instability", "  - {says", "no example holds this cue ('no', negated)"),
]


@pytest.mark.parametrize(("file", "old", "new", "marker", "message"), LACKING, ids=[case[4] for case in LACKING])
def test_lacking_example_is_told(tmp_path: Path, file: str, old: str, new: str, marker: str, message: str) -> None:
    assert old in FILES[file]
    text = FILES[file].replace(old, new, 1)
    write(tmp_path, {file: text})
    assert missing_examples(tmp_path) == [f"{tmp_path}/{file}:{line_of(text, marker)}: {message}"]
    assert missing_examples(tmp_path, coverage=Coverage(values=False, silence=False, items=False, cues=False)) == []


# ── terms ───────────────────────────────────────────────────────────────────────────────────────

TERMS = {
    "canal stenosis": ["canal stenosis"],
    "a|b c": ["a c", "b c"],
    "(central) canal": ["canal"],
    "canal (stenosis|of (the) spine)": ["canal"],
    "(a) (b) c|d (e) (f)": ["c", "d"],
    "a (central) canal": ["a canal", "a central canal"],
    "no (x|y z) w": ["no w", "no x w", "no y z w"],
    "[narrowing of (the)|tight] canal": ["narrowing of canal", "narrowing of the canal", "tight canal"],
    "loss ... lordosis": ["loss ... lordosis"],
    "loss … lordosis": ["loss ... lordosis"],
    "# mm slip": ["# mm slip"],
    "[a (b|c)|d] e": ["a e", "a b e", "a c e", "d e"],
    "a (a) a": ["a a", "a a a"],
    "  spaced   out ": ["spaced out"],
    r"no \(": ["no ("],
    r"\(-\)": ["(-)"],
}


@pytest.mark.parametrize("term", TERMS)
def test_term_is_expanded(term: str) -> None:
    assert [" ".join(sequence) for sequence in expand(term)] == TERMS[term]


WRONG_TERMS = {
    "": "it is empty",
    "a||b": "an alternative is empty",
    "a|": "an alternative is empty",
    "|a": "an alternative is empty",
    "a (b|)": "an alternative is empty",
    "() a": "an alternative is empty",
    "a ()": "an alternative is empty",
    "(a": "'(' is never closed",
    "x [a|b": "'[' is never closed",
    "a)": "')' closes nothing",
    "[a|b) c": "'[' is closed by ')'",
    "word(s)": "a space has to stand between 'word' and '(' (a bracket holds words, not letters)",
    "(a)b": "a space has to stand between ')' and 'b' (a bracket holds words, not letters)",
    "[a b]|c": "put alternatives of several words in one bracket, [a b|c d]",
    "a|[b c]": "put alternatives of several words in one bracket, [a b|c d]",
    "(a) (b)": "every word is optional, so it would match anything (a bracket that is meant itself is written \\()",
    "(a) ...": "every word is optional, so it would match anything (a bracket that is meant itself is written \\()",
    "a ...": "a gap (...) has to stand between two words",
    r"\d+ mm": "a backslash stands only before a bracket or a bar; is this a pattern?",
}


@pytest.mark.parametrize("term", WRONG_TERMS)
def test_wrong_term_is_refused(term: str) -> None:
    with pytest.raises(KnowledgeError) as caught:
        expand(term)
    assert str(caught.value) == f"term '{term}': {WRONG_TERMS[term]}"


def test_term_of_too_many_sequences_is_refused() -> None:
    most = "|".join(f"w{number}" for number in range(MAX_EXPANSIONS))
    assert len(expand(most)) == MAX_EXPANSIONS
    with pytest.raises(KnowledgeError) as caught:
        expand(f"{most}|x")
    assert str(caught.value).endswith(
        f"stands for {MAX_EXPANSIONS + 1} or more word sequences, more than {MAX_EXPANSIONS}; "
        "split it, or say it as a pair of a part and a change"
    )


def test_term_that_explodes_is_refused_early() -> None:
    with pytest.raises(KnowledgeError, match=f"word sequences, more than {MAX_EXPANSIONS}"):
        expand(" ".join(["[a|b|c|d]"] * 40))


def test_expansion_handed_out_is_the_callers_own() -> None:
    expand("a|b").append(("c",))
    assert expand("a|b") == [("a",), ("b",)]


# ── which checklist a code belongs to ───────────────────────────────────────────────────────────


def test_code_finds_its_checklist(tmp_path: Path) -> None:
    knowledge = read(tmp_path)
    (checklist,) = knowledge.checklists
    assert knowledge.checklist("M53.2X6") is checklist
    assert knowledge.checklist("M53.2X") is checklist
    assert knowledge.checklist("M53.2X0") is checklist
    assert knowledge.checklist("M24.28") is None
    assert replace(knowledge, checklists=()).checklist("M53.2X6") is None


def _ship(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `directory` what notegap ships."""
    for name, text in FILES.items():
        path = directory / ("patterns" if "/" in name else "models") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(load, "_PACKAGE", directory / "package")
    monkeypatch.setattr(load, "_CHECKOUT", directory)
    monkeypatch.setattr(load, "_load_knowledge", functools.lru_cache(load._load_knowledge.__wrapped__))
    monkeypatch.setattr(load, "_load_checklists", functools.lru_cache(load._load_checklists.__wrapped__))


def test_terms_name_lists_of_words(tmp_path: Path) -> None:
    write(tmp_path, {"concepts/finding.yaml": FINDING.replace("spinal|central stenosis", "<place> stenosis (<place>)")})
    (tmp_path / "words.yaml").write_text("place: [spinal, central]\n", encoding="utf-8")
    terms = read_directory(tmp_path).concepts["finding"].values["canal_stenosis"].terms
    assert terms == ("spinal|central stenosis (spinal|central)",)


@pytest.mark.parametrize(
    ("words", "term", "message"),
    [
        ("place: [spinal]\n", "<plce> stenosis", "finding.yaml:6: unknown list of words 'plce', did you mean 'place'?"),
        ("place: [a b]\n", "stenosis", "words.yaml:1: 'a b' is not one word; a list holds single words"),
        (
            "Place: [a]\n",
            "stenosis",
            "words.yaml:1: 'Place' is no name for a list of words: use lower case and underscores",
        ),
    ],
)
def test_wrong_list_of_words_is_refused(tmp_path: Path, words: str, term: str, message: str) -> None:
    write(tmp_path, {"concepts/finding.yaml": FINDING.replace("spinal|central stenosis", term)})
    (tmp_path / "words.yaml").write_text(words, encoding="utf-8")
    with pytest.raises(KnowledgeError) as caught:
        read_directory(tmp_path)
    assert str(caught.value).endswith(message)
