"""Mentions × checklist → findings, as tables of hand-made mentions; no spaCy and no note text is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from notegap.assess import assess, pointers
from notegap.assess.checks import CHECKS
from notegap.errors import KnowledgeError, UsageError
from notegap.icd10cm import load
from notegap.knowledge import load_knowledge
from notegap.model import (
    Alert,
    AlertKind,
    AllOf,
    AnyOf,
    Assertion,
    AtLeast,
    Check,
    Checklist,
    Claimed,
    CodeCheck,
    Expr,
    Finding,
    ItemIs,
    Knowledge,
    Mention,
    NoneOf,
    Note,
    Regions,
    Requirement,
    Select,
    Setting,
    Severity,
    Status,
)

CODES = load()
CODING = load_knowledge().coding
INSTABILITY_CODES = tuple(f"M53.2X{digit}" for digit in range(1, 10))


def mention(
    key: str,
    assertion: str = "affirmed",
    *,
    start: int = 0,
    at: Sequence[str] = (),
    levels: Sequence[str] = (),
    section: str = "",
    seen_on: Sequence[str] = (),
    due_to: Sequence[str] = (),
    beside: Sequence[str] = (),
    qualities: Sequence[str] = (),
    sentence: int = 0,
) -> Mention:
    """A mention of "concept/value" whose quote is its value."""
    concept, _, value = key.partition("/")
    return Mention(
        concept=concept,
        value=value,
        assertion=Assertion(assertion),
        start=start,
        end=start + len(value),
        text=value,
        section=section,
        at=tuple(at),
        levels=tuple(levels),
        seen_on=tuple(seen_on),
        due_to=tuple(due_to),
        beside=tuple(beside),
        qualities=tuple(qualities),
        sentence=sentence,
    )


def select(key: str, **narrowed: object) -> Select:
    """A selector of "concept" or "concept/value"; sets may be given as strings of words."""
    concept, _, value = key.partition("/")
    sets = {name: frozenset(said.split()) if isinstance(said, str) else said for name, said in narrowed.items()}
    if "at" in narrowed:
        sets["at"] = narrowed["at"]
    if isinstance(narrowed.get("assertion"), str):
        sets["assertion"] = frozenset(Assertion(word) for word in str(narrowed["assertion"]).split())
    made = Select(concept=concept, values=frozenset({value}) if value else None)
    return replace(made, **sets)  # type: ignore[arg-type]


INSTABILITY = AnyOf((select("finding/instability"),))
FUSION = AnyOf((select("finding"), select("union")))


def requirement(
    name: str = "item",
    met: Expr | None = None,
    *,
    when: Expr | None = None,
    vague: Expr | None = None,
    uncertain: Expr | None = None,
    refuted: Expr | None = None,
    order: tuple[Status, ...] = (Status.MET, Status.VAGUE, Status.UNCERTAIN, Status.REFUTED),
    accepts: str = "affirmed",
    denials: bool = True,
    codes: tuple[str, ...] = (),
) -> Requirement:
    return Requirement(
        id=name,
        severity=Severity.REQUIRED,
        basis=("seed",),
        needed_for="code",
        message="Not documented.",
        ask="What is it?",
        why="It matters.",
        met=met or select("finding/instability"),
        when=when,
        vague=vague,
        uncertain=uncertain,
        refuted=refuted,
        order=order,
        accepts=frozenset(Assertion(word) for word in accepts.split()),
        denials=denials,
        place="assessment",
        codes=codes,
    )


def alert(name: str, raised: Expr, *, unless: Expr | None = None, codes: tuple[str, ...] = ()) -> Alert:
    return Alert(
        id=name,
        alert=AlertKind.CONFLICT,
        basis=("tabular",),
        message="It conflicts.",
        why="It matters.",
        raised=raised,
        unless=unless,
        codes=codes,
    )


def checklist(
    *items: Requirement | Alert,
    family: str = "M53.2",
    codes: tuple[str, ...] = INSTABILITY_CODES,
    condition: AnyOf = INSTABILITY,
    points_to: Expr | None = None,
) -> Checklist:
    return Checklist(
        id=family,
        codes=codes,
        title="A checklist",
        why="It matters.",
        source="the tabular",
        condition=condition,
        requires=tuple(item for item in items if isinstance(item, Requirement)),
        alerts=tuple(item for item in items if isinstance(item, Alert)),
        examples=(),
        points_to=points_to,
    )


def checked(
    items: Checklist | Sequence[Requirement | Alert],
    mentions: Sequence[Mention],
    *,
    code: str = "M53.2X6",
    claim: tuple[str, ...] | None = None,
    setting: Setting = Setting.OUTPATIENT,
) -> CodeCheck:
    family = items if isinstance(items, Checklist) else checklist(*items)
    note = Note(id="1", text="", codes=(code,), claim_codes=claim, setting=setting)
    return assess(family, code, mentions, note, CODES, CODING)


def one(
    item: Requirement | Alert,
    mentions: Sequence[Mention],
    *,
    claim: tuple[str, ...] | None = None,
    setting: Setting = Setting.OUTPATIENT,
) -> Finding:
    (finding,) = checked([item], mentions, claim=claim, setting=setting).findings
    return finding


def holds(expr: Expr, mentions: Sequence[Mention], *, claim: tuple[str, ...] | None = None) -> bool:
    return one(alert("it", expr), mentions, claim=claim).status is Status.RAISED


# ── every status ────────────────────────────────────────────────────────────────────────────────

BELONGS = select("finding/instability")


@pytest.mark.parametrize(
    ("item", "assertions", "setting", "status"),
    [
        pytest.param(requirement(), "affirmed", Setting.OUTPATIENT, Status.MET, id="affirmed"),
        pytest.param(requirement(), "", Setting.OUTPATIENT, Status.MISSING, id="silent"),
        pytest.param(requirement(), "hypothetical", Setting.OUTPATIENT, Status.MISSING, id="planned never counts"),
        pytest.param(requirement(), "uncertain", Setting.OUTPATIENT, Status.UNCERTAIN, id="outpatient hedge"),
        pytest.param(requirement(), "uncertain", Setting.INPATIENT, Status.MET, id="inpatient hedge"),
        pytest.param(requirement(), "hypothetical", Setting.INPATIENT, Status.MISSING, id="planned, inpatient"),
        pytest.param(requirement(), "negated", Setting.OUTPATIENT, Status.REFUTED, id="denied"),
        pytest.param(requirement(), "negated", Setting.INPATIENT, Status.REFUTED, id="denied, inpatient"),
        pytest.param(requirement(), "family", Setting.OUTPATIENT, Status.REFUTED, id="someone else's"),
        pytest.param(requirement(), "historical", Setting.OUTPATIENT, Status.REFUTED, id="past"),
        pytest.param(requirement(), "negated affirmed", Setting.OUTPATIENT, Status.MET, id="affirmed beats denied"),
        pytest.param(requirement(), "negated uncertain", Setting.OUTPATIENT, Status.UNCERTAIN, id="hedged and denied"),
        pytest.param(requirement(denials=False), "negated", Setting.OUTPATIENT, Status.MISSING, id="denials: false"),
        pytest.param(
            requirement(accepts="affirmed negated"), "negated", Setting.OUTPATIENT, Status.MET, id="accepts a denial"
        ),
        pytest.param(
            requirement(accepts="affirmed negated"), "family", Setting.OUTPATIENT, Status.REFUTED, id="but no relative"
        ),
        pytest.param(
            requirement(accepts="historical"),
            "affirmed",
            Setting.OUTPATIENT,
            Status.MISSING,
            id="accepts only the past",
        ),
        pytest.param(
            requirement(accepts="affirmed hypothetical"), "hypothetical", Setting.OUTPATIENT, Status.MET, id="a plan"
        ),
        pytest.param(
            requirement(order=(Status.REFUTED, Status.MET)),
            "affirmed negated",
            Setting.OUTPATIENT,
            Status.REFUTED,
            id="order: refuted first",
        ),
        pytest.param(
            requirement(
                met=select("finding/instability", assertion="affirmed negated"), order=(Status.REFUTED, Status.MET)
            ),
            "negated",
            Setting.OUTPATIENT,
            Status.MET,
            id="a denial the item itself asks for refutes nothing",
        ),
        pytest.param(
            requirement(order=(Status.MET, Status.REFUTED)),
            "uncertain",
            Setting.OUTPATIENT,
            Status.MISSING,
            id="no hedge",
        ),
        pytest.param(
            requirement(met=select("finding/fracture"), vague=BELONGS),
            "affirmed",
            Setting.OUTPATIENT,
            Status.VAGUE,
            id="vague",
        ),
        pytest.param(
            requirement(met=select("finding/fracture"), vague=BELONGS),
            "uncertain",
            Setting.OUTPATIENT,
            Status.MISSING,
            id="a hedge is not even vague",
        ),
        pytest.param(
            requirement(met=select("finding/fracture"), uncertain=BELONGS),
            "affirmed",
            Setting.OUTPATIENT,
            Status.UNCERTAIN,
            id="uncertain by rule",
        ),
        pytest.param(
            requirement(met=select("finding/fracture"), refuted=BELONGS, denials=False),
            "affirmed",
            Setting.OUTPATIENT,
            Status.REFUTED,
            id="refuted by rule",
        ),
        pytest.param(
            requirement(when=select("finding/fracture")),
            "affirmed",
            Setting.OUTPATIENT,
            Status.NOT_APPLICABLE,
            id="does not apply",
        ),
        pytest.param(requirement(when=BELONGS), "affirmed", Setting.OUTPATIENT, Status.MET, id="applies"),
        pytest.param(
            requirement(when=BELONGS),
            "uncertain",
            Setting.OUTPATIENT,
            Status.NOT_APPLICABLE,
            id="a hedge applies nothing",
        ),
        pytest.param(alert("it", BELONGS), "affirmed", Setting.OUTPATIENT, Status.RAISED, id="raised"),
        pytest.param(alert("it", BELONGS), "uncertain", Setting.OUTPATIENT, Status.CLEAR, id="a hedge raises nothing"),
        pytest.param(alert("it", BELONGS), "uncertain", Setting.INPATIENT, Status.RAISED, id="raised, inpatient hedge"),
        pytest.param(
            alert("it", BELONGS), "negated family historical hypothetical", Setting.OUTPATIENT, Status.CLEAR, id="clear"
        ),
        pytest.param(alert("it", BELONGS, unless=BELONGS), "affirmed", Setting.OUTPATIENT, Status.CLEAR, id="unless"),
    ],
)
def test_status(item: Requirement | Alert, assertions: str, setting: Setting, status: Status) -> None:
    mentions = [mention("finding/instability", said, start=20 * i) for i, said in enumerate(assertions.split())]
    finding = one(item, mentions, setting=setting)
    assert finding.status is status
    assert bool(finding.evidence) is (status not in (Status.MISSING, Status.NOT_APPLICABLE, Status.CLEAR))


@pytest.mark.parametrize(
    ("section", "status"),
    [
        ("assessment", Status.MET),
        ("postop_diagnosis", Status.MET),
        ("", Status.MET),
        ("hpi", Status.UNCERTAIN),
        ("imaging", Status.UNCERTAIN),
        ("preop_diagnosis", Status.UNCERTAIN),
        ("differential", Status.UNCERTAIN),
    ],
)
def test_only_a_final_diagnosis_may_be_hedged_for_an_inpatient(section: str, status: Status) -> None:
    found = [mention("finding/instability", "uncertain", section=section)]
    assert one(requirement(), found, setting=Setting.INPATIENT).status is status


@pytest.mark.parametrize(
    ("section", "setting", "status"),
    [
        ("assessment", Setting.INPATIENT, Status.MET),
        ("assessment", Setting.OUTPATIENT, Status.UNCERTAIN),
        ("hpi", Setting.INPATIENT, Status.UNCERTAIN),
    ],
)
def test_a_hedge_by_a_cue_of_its_own_counts_as_other_hedges_do(section: str, setting: Setting, status: Status) -> None:
    item = requirement(met=select("cause/stated"), uncertain=select("cause/hedged"))
    assert one(item, [mention("cause/hedged", section=section)], setting=setting).status is status


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ("affirmed affirmed", Status.MET),
        ("affirmed uncertain", Status.UNCERTAIN),
        ("uncertain uncertain", Status.UNCERTAIN),
        ("affirmed negated", Status.REFUTED),
        ("uncertain negated", Status.REFUTED),
        ("affirmed -", Status.MISSING),
        ("negated -", Status.MISSING),
        ("affirmed hypothetical", Status.MISSING),
    ],
)
def test_a_conjunction_is_as_weak_as_its_weakest_part(parts: str, status: Status) -> None:
    both = AllOf((select("finding/instability"), select("disease/osteoporosis")))
    keys = ("finding/instability", "disease/osteoporosis")
    said = zip(keys, parts.split(), strict=True)
    mentions = [mention(key, how, start=30 * i) for i, (key, how) in enumerate(said) if how != "-"]
    finding = one(requirement(met=both), mentions)
    assert finding.status is status
    if status in (Status.UNCERTAIN, Status.REFUTED):
        assert [e.text for e in finding.evidence] == ["instability", "osteoporosis"]


# ── every kind of expression ────────────────────────────────────────────────────────────────────

LUMBAR = mention("finding/instability", at=["lumbar"], start=0)
MANY = [
    LUMBAR,
    mention("finding/fracture", at=["cervical"], start=20, section="imaging", seen_on=["ct"], sentence=1),
    mention("imaging/ct", start=40, sentence=1),
    mention("disease/osteoporosis", start=60, qualities=["chronic"], sentence=2),
    mention("finding/canal_stenosis", start=80, at=["lumbar"], levels=["L4-L5"], due_to=["finding/subluxation"]),
    mention("finding/disc_degeneration", "negated", start=100, at=["lumbosacral"], beside=["disease/gout"]),
    mention("region/cervical", start=120),
    mention("level/L4-L5", start=130, at=["lumbar"]),
]
NO = select("finding/scoliosis")
YES = select("finding/instability")


@pytest.mark.parametrize(
    ("expr", "wanted"),
    [
        (select("finding"), True),
        (select("finding/scoliosis"), False),
        (select("finding", not_values="instability fracture canal_stenosis"), False),
        (select("finding", not_values="instability fracture"), True),
        (select("finding/disc_degeneration"), False),
        (select("finding/disc_degeneration", assertion="negated"), True),
        (select("finding/instability", assertion="negated"), False),
        (select("condition"), True),
        (select("condition", assertion="negated"), False),
        (select("condition", at="code"), True),
        (select("finding/canal_stenosis", at="condition"), True),
        (select("finding/fracture", at="condition"), False),
        (select("disease", at="condition"), True),
        (select("disease", at="condition_strict"), False),
        (select("finding/canal_stenosis", at="condition_strict"), True),
        (select("finding/fracture", at="elsewhere"), True),
        (select("finding/canal_stenosis", at="elsewhere"), False),
        (select("disease", at="elsewhere"), False),
        (select("finding/fracture", at="code"), False),
        (select("disease", at="code"), True),
        (select("finding/fracture", at=("cervical", "thoracic")), True),
        (select("finding/fracture", at=("lumbar",)), False),
        (select("disease", at=("lumbar",)), False),
        (select("region/cervical", at=("cervical",)), True),
        (select("finding", seen_on="ct mri"), True),
        (select("finding", seen_on="mri"), False),
        (select("finding/fracture", seen_on="any"), True),
        (select("finding/instability", seen_on="any"), False),
        (select("finding/fracture", section="imaging"), True),
        (select("finding/fracture", section="exam"), False),
        (select("finding/fracture", not_section="imaging"), False),
        (select("finding/canal_stenosis", due_to="finding/subluxation"), True),
        (select("finding/canal_stenosis", due_to="finding"), True),
        (select("finding/canal_stenosis", due_to="finding/*"), True),
        (select("finding/canal_stenosis", due_to="disease"), False),
        (select("finding/canal_stenosis", not_due_to="finding/subluxation"), False),
        (select("finding/canal_stenosis", not_due_to="disease"), True),
        (select("finding", beside="disease/gout", assertion="negated"), True),
        (select("finding", beside="disease/paget", assertion="negated"), False),
        (select("disease", qualities="chronic acute"), True),
        (select("disease", qualities="acute"), False),
        (select("disease", not_qualities="chronic"), False),
        (select("disease", not_qualities="acute"), True),
        (select("finding/fracture", same_sentence="imaging"), True),
        (select("finding/fracture", same_sentence="imaging/ct"), True),
        (select("finding/fracture", same_sentence="imaging/mri"), False),
        (select("finding/fracture", same_sentence="finding"), False),
        (select("disease", has_region=False), True),
        (select("disease", has_region=True), False),
        (select("region", has_region=True), True),
        (select("finding/canal_stenosis", has_level=True), True),
        (select("finding/fracture", has_level=True), False),
        (select("level", has_level=True), True),
        (AnyOf((NO, YES)), True),
        (AnyOf((NO, NO)), False),
        (AllOf((YES, select("disease"))), True),
        (AllOf((YES, NO)), False),
        (NoneOf((NO,)), True),
        (NoneOf((NO, YES)), False),
        (NoneOf((select("finding/disc_degeneration"),)), True),
        (AtLeast(2, (YES, NO, select("disease"))), True),
        (AtLeast(3, (YES, NO, select("disease"))), False),
        (Claimed(("M43.1", "M48.0")), True),
        (Claimed(("M43.2",)), False),
        (Regions(select("finding"), 2), True),
        (Regions(select("finding"), 3), False),
        (Check("invalid_code"), False),
    ],
)
def test_expression(expr: Expr, *, wanted: bool) -> None:
    assert holds(expr, MANY, claim=("M53.2X6", "m48061")) is wanted


@pytest.mark.parametrize(
    ("assertion", "other", "wanted"),
    [
        ("affirmed", "affirmed", True),
        ("affirmed", "negated", False),
        ("negated", "negated", True),
        ("negated", "affirmed", True),
        ("negated", "hypothetical", False),
    ],
)
def test_same_sentence(assertion: str, other: str, *, wanted: bool) -> None:
    """As in "No sensory loss at S1" denies both; "fracture without dislocation" only one."""
    near = [mention("neuro/sensory_deficit", assertion), mention("nerve_site/sacral", other, start=30)]
    found = [*near, mention("nerve_site/upper_limb", start=60, sentence=1)]
    assert holds(select("neuro", same_sentence="nerve_site/sacral", assertion="affirmed negated"), found) is wanted
    assert holds(select("neuro", not_same_sentence="nerve_site", assertion="affirmed negated"), found) is not wanted


def test_no_claim_claims_nothing() -> None:
    assert not holds(Claimed(("M53",)), MANY)
    assert holds(NoneOf((Claimed(("M53",)),)), MANY)


def test_items_see_those_before_them() -> None:
    items: list[Requirement | Alert] = [
        requirement("first"),
        requirement("second", ItemIs("first", frozenset({Status.MET}))),
        requirement("third", ItemIs("first", frozenset({Status.MISSING}))),
        alert("fourth", ItemIs("third", frozenset({Status.MISSING}))),
        alert("fifth", ItemIs("fourth", frozenset({Status.RAISED}))),
    ]
    found = checked(items, [LUMBAR]).findings
    statuses = [Status.MET, Status.MET, Status.MISSING, Status.RAISED, Status.RAISED]
    assert [(f.id, f.status) for f in found] == [
        (f"M53.2X6/{item.id}", status) for item, status in zip(items, statuses, strict=True)
    ]
    assert [e.text for e in found[1].evidence] == ["instability"]


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        (ItemIs("frist", frozenset({Status.MET})), "M53.2: item 'frist' is unknown or listed later than it is used"),
        (Check("invalid_cod"), "did you mean 'invalid_code'?"),
    ],
)
def test_a_name_nobody_knows_is_an_error(expr: Expr, said: str) -> None:
    with pytest.raises(KnowledgeError, match="unknown") as caught:
        checked([requirement("first"), requirement("second", expr)], [])
    assert said in str(caught.value)


# ── where the condition is ──────────────────────────────────────────────────────────────────────

MRI_CERVICAL = mention("finding/fracture", at=["cervical"], start=90)
FRACTURE_HERE = requirement(met=select("finding/fracture", at="condition"))


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        pytest.param([mention("finding/instability", at=["cervical"])], Status.MET, id="same region"),
        pytest.param([mention("finding/instability", at=["lumbar"])], Status.MISSING, id="another region"),
        pytest.param([mention("finding/instability")], Status.MET, id="the condition has no region"),
        pytest.param([], Status.MET, id="no condition"),
        pytest.param([mention("finding/instability", "negated", at=["lumbar"])], Status.MISSING, id="area of a denial"),
        pytest.param(
            [mention("finding/instability", "uncertain", at=["lumbar"])], Status.MISSING, id="area of a hedge"
        ),
        pytest.param([mention("finding/instability", "family", at=["lumbar"])], Status.MET, id="a relative's area"),
        pytest.param([mention("finding/instability", "hypothetical", at=["lumbar"])], Status.MET, id="a planned area"),
        pytest.param(
            [
                mention("finding/instability", at=["lumbar"]),
                mention("finding/instability", "negated", at=["cervical"], start=20),
            ],
            Status.MISSING,
            id="denied elsewhere",
        ),
    ],
)
def test_region_of_the_condition(condition: list[Mention], status: Status) -> None:
    assert one(FRACTURE_HERE, [*condition, MRI_CERVICAL]).status is status


def test_a_region_shared_by_two_is_one_code() -> None:
    """M99.23 is the lumbar and, by the Index, the lumbosacral region."""
    codes = tuple(f"M99.2{digit}" for digit in range(10))
    family = checklist(requirement(met=select("finding", at="code")), family="M99.24", codes=codes)
    at_l5_s1 = [mention("finding/canal_stenosis", at=["lumbosacral"])]
    assert checked(family, at_l5_s1, code="M99.23").findings[0].status is Status.MET
    assert checked(family, at_l5_s1, code="M99.24").findings[0].status is Status.MISSING


# ── evidence ────────────────────────────────────────────────────────────────────────────────────


def test_evidence_is_distinct_short_and_in_text_order() -> None:
    many = [mention("finding/instability", start=start) for start in (300, 100, 100, 200, 400, 500, 600, 700, 800)]
    evidence = one(requirement(), many).evidence
    assert [e.start for e in evidence] == [100, 200, 300, 400, 500, 600]


def test_conclusions_come_first_and_every_part_is_shown() -> None:
    many = [mention("finding/instability", start=10 * i) for i in range(1, 20)]
    last = mention("finding/instability", start=900, section="assessment")
    disease = mention("disease/osteoporosis", start=950)
    both = AllOf((select("finding/instability"), select("disease")))
    starts = [e.start for e in one(requirement(met=both), [*many, last, disease]).evidence]
    assert len(starts) == 6
    assert starts[-2:] == [900, 950]


@pytest.mark.parametrize("weak", ["uncertain", "negated"])
def test_the_hedge_or_denial_is_shown(weak: str) -> None:
    many = [mention("finding/instability", start=20 * i) for i in range(10)]
    both = AllOf((select("finding/instability"), select("disease")))
    finding = one(requirement(met=both), [*many, mention("disease/osteoporosis", weak, start=900)])
    assert finding.evidence[-1].start == 900
    assert len(finding.evidence) == 6


def test_an_inpatient_hedge_keeps_its_quote() -> None:
    found = one(requirement(), [mention("finding/instability", "uncertain", start=7)], setting=Setting.INPATIENT)
    assert [(e.start, e.end, e.text) for e in found.evidence] == [(7, 18, "instability")]


def test_a_place_that_is_asked_for_is_shown_and_a_quote_inside_another_is_not() -> None:
    found = [
        mention("finding/instability", at=["lumbar"], start=100, sentence=3),
        mention("level/L4-L5", at=["lumbar"], start=120, sentence=3),
        mention("region/lumbar", at=["lumbar"], start=130, sentence=3),
        mention("region/cervical", start=140, sentence=3),
        mention("region/lumbar", at=["lumbar"], start=200, sentence=4),
    ]
    region = requirement(met=select("condition", has_region=True))
    level = requirement(met=select("condition", has_level=True))
    assert [e.start for e in one(region, found).evidence] == [100, 120, 130]
    with_level = [replace(found[0], levels=("L4-L5",)), *found[1:]]
    assert [e.start for e in one(level, with_level).evidence] == [100, 120]
    inner = mention("ligament/flavum", start=102)
    outer = mention("finding/ligamentum flavum hypertrophy", start=100)
    both = requirement(met=AllOf((select("ligament"), select("finding"))))
    assert [e.text for e in one(both, [inner, outer]).evidence] == ["ligamentum flavum hypertrophy"]


# ── named checks ────────────────────────────────────────────────────────────────────────────────

SPONDYLOPATHY_CODES = tuple(f"M49.8{digit}" for digit in range(10))
SPONDYLITIS = mention("finding/destructive_lesion", at=["sacral"])
BRUCELLOSIS = mention("disease/brucellosis", start=20)
RICKETS = mention("disease/other", start=20)
DIABETES = mention("disease/diabetes", start=40)


@pytest.mark.parametrize(
    ("mentions", "claim", "first", "missing"),
    [
        pytest.param([BRUCELLOSIS], ("A23.0", "M49.88"), False, False, id="in order"),
        pytest.param([BRUCELLOSIS], ("a230", "m4988"), False, False, id="as claims are typed"),
        pytest.param([BRUCELLOSIS], ("M49.88", "A23.0"), True, False, id="etiology second"),
        pytest.param([BRUCELLOSIS], ("M49.88",), True, True, id="alone"),
        pytest.param([BRUCELLOSIS], ("M54.50", "M49.88"), True, True, id="after a symptom"),
        pytest.param([BRUCELLOSIS], ("M54.50", "M49.84", "A23.9"), True, False, id="a sibling"),
        pytest.param([BRUCELLOSIS], None, False, False, id="no claim"),
        pytest.param([BRUCELLOSIS], (), False, False, id="an empty claim"),
        pytest.param([BRUCELLOSIS], ("A23.0",), False, False, id="not on the claim"),
        pytest.param([BRUCELLOSIS, DIABETES], ("E11.9", "M49.88"), True, True, id="an incidental disease"),
        pytest.param([DIABETES], ("E11.9", "M49.88"), False, False, id="it is the only one"),
        pytest.param([RICKETS], ("E83.31", "M49.88"), False, False, id="a disease without a name of ours"),
        pytest.param([BRUCELLOSIS], ("E83.31", "M49.88"), False, False, id="another disease, nothing tied"),
        pytest.param([BRUCELLOSIS], ("I10", "E66.9", "M49.88"), True, True, id="no disease that makes a spine ill"),
        pytest.param([RICKETS], ("a cold", "", "M49.88"), True, True, id="no code at all"),
        pytest.param([RICKETS], ("M49.88", "M99.04"), True, True, id="only spinal codes"),
        pytest.param([], ("M99.04", "M49.88"), True, True, id="no disease at all"),
    ],
)
def test_manifestation(mentions: list[Mention], claim: tuple[str, ...] | None, *, first: bool, missing: bool) -> None:
    family = checklist(
        alert("sequencing", Check("manifestation_first")),
        alert("etiology-code-missing", Check("etiology_missing")),
        family="M49.88",
        codes=SPONDYLOPATHY_CODES,
        condition=AnyOf((select("finding/destructive_lesion"),)),
    )
    found = checked(family, [SPONDYLITIS, *mentions], code="M49.88", claim=claim).findings
    assert [f.status is Status.RAISED for f in found] == [first, missing]
    assert all(f.evidence for f in found if f.status is Status.RAISED)


def test_only_the_cause_is_the_etiology() -> None:
    family = checklist(
        alert("etiology-code-missing", Check("etiology_missing")),
        family="M49.88",
        codes=SPONDYLOPATHY_CODES,
        condition=AnyOf((select("finding/destructive_lesion"),)),
    )
    caused = replace(SPONDYLITIS, due_to=("disease/brucellosis",))
    check = checked(family, [caused, BRUCELLOSIS, DIABETES], code="M49.88", claim=("E11.9", "M49.88"))
    assert check.findings[0].status is Status.RAISED


FUSION_CODES = tuple(f"M43.2{digit}" for digit in range(9))


def ankylosis(*at: str, **more: Sequence[str]) -> Mention:
    return mention("finding/ankylosis", at=at, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mentions", "code", "claim", "site", "several", "suggested"),
    [
        pytest.param([ankylosis("cervical")], "M43.20", None, True, False, ("M43.22",), id="region known"),
        pytest.param([ankylosis("cervical")], "M43.22", None, False, False, (), id="the right code"),
        pytest.param([ankylosis("cervical")], "M43.20", ("M43.22",), False, False, ("M43.22",), id="on the claim"),
        pytest.param([ankylosis("thoracic")], "M43.26", None, True, False, ("M43.24",), id="wrong region"),
        pytest.param([ankylosis()], "M43.20", None, False, False, (), id="no region"),
        pytest.param(
            [ankylosis("cervical", "thoracic")], "M43.20", None, True, True, ("M43.22", "M43.24"), id="two regions"
        ),
        pytest.param(
            [ankylosis("cervical", "thoracic")],
            "M43.22",
            ("M43.22", "M43.24"),
            False,
            False,
            (),
            id="two regions, both on the claim",
        ),
        pytest.param(
            [mention("finding/surgical_fusion", at=["lumbar"])], "M43.20", None, False, False, (), id="surgical"
        ),
        pytest.param(
            [mention("finding/congenital_fusion", at=["cervical"])], "M43.20", None, False, False, (), id="congenital"
        ),
        pytest.param(
            [ankylosis("lumbar", qualities=["postoperative"])],
            "M43.20",
            None,
            False,
            False,
            (),
            id="after an operation",
        ),
        pytest.param(
            [ankylosis("lumbar", due_to=["disease/klippel_feil"])], "M43.20", None, False, False, (), id="Klippel-Feil"
        ),
        pytest.param(
            [ankylosis("lumbar"), mention("disease/ankylosing_spondylitis", start=50)],
            "M43.20",
            None,
            False,
            False,
            (),
            id="ankylosing spondylitis",
        ),
        pytest.param(
            [ankylosis("lumbar"), mention("disease/ankylosing_spondylitis", "negated", start=50)],
            "M43.20",
            None,
            True,
            False,
            ("M43.26",),
            id="ankylosing spondylitis ruled out",
        ),
        pytest.param(
            [ankylosis("lumbar", due_to=["disease/dish"]), mention("disease/dish", start=50)],
            "M43.20",
            None,
            True,
            False,
            ("M43.26",),
            id="DISH does not stop it",
        ),
        pytest.param([mention("union/fused", at=["lumbar"])], "M43.20", None, True, False, ("M43.26",), id="fused"),
        pytest.param([mention("union/open", at=["lumbar"])], "M43.20", None, False, False, (), id="open"),
        pytest.param(
            [mention("union/fused", at=["lumbar"]), mention("surgery/fusion", "historical", at=["lumbar"], start=50)],
            "M43.20",
            None,
            False,
            False,
            (),
            id="fused where it was operated",
        ),
        pytest.param(
            [mention("union/fused", at=["lumbar"]), mention("surgery/fusion", "historical", start=50)],
            "M43.20",
            None,
            False,
            False,
            (),
            id="operated somewhere",
        ),
        pytest.param(
            [mention("union/fused", at=["lumbar"]), mention("surgery/fusion", "hypothetical", start=50)],
            "M43.20",
            None,
            True,
            False,
            ("M43.26",),
            id="an operation planned",
        ),
        pytest.param(
            [
                mention("union/fused", at=["cervical"], levels=["C3-C4"]),
                mention("finding/surgical_fusion", at=["cervical"], levels=["C5-C6"], start=50),
            ],
            "M43.20",
            None,
            True,
            False,
            ("M43.22",),
            id="fused beside the operated level",
        ),
        pytest.param(
            [
                ankylosis("lumbar", levels=["L4-L5"]),
                mention("surgery/fusion", "historical", at=["lumbar"], levels=["L4-L5"], start=50),
            ],
            "M43.20",
            None,
            False,
            False,
            (),
            id="ankylosis of the operated level",
        ),
        pytest.param(
            [ankylosis("lumbar"), mention("surgery/fusion", "historical", at=["lumbar"], start=50)],
            "M43.20",
            None,
            True,
            False,
            ("M43.26",),
            id="ankylosis of an operated region",
        ),
        pytest.param(
            [
                mention("union/fused", at=["lumbar"], qualities=["spontaneous"]),
                mention("surgery/fusion", "historical", at=["lumbar"], start=50),
            ],
            "M43.20",
            None,
            True,
            False,
            ("M43.26",),
            id="called spontaneous",
        ),
        pytest.param(
            [replace(ankylosis("lumbar"), assertion=Assertion.UNCERTAIN)], "M43.20", None, False, False, (), id="hedged"
        ),
    ],
)
def test_fused_regions(
    mentions: list[Mention],
    code: str,
    claim: tuple[str, ...] | None,
    *,
    site: bool,
    several: bool,
    suggested: tuple[str, ...],
) -> None:
    family = checklist(
        alert("site-specific-code", Check("site_specific"), codes=("M43.2",)),
        alert("multiple-regions", Check("several_regions_unclaimed")),
        family="M43.20",
        codes=FUSION_CODES,
        condition=FUSION,
    )
    check = checked(family, mentions, code=code, claim=claim)
    assert [f.status is Status.RAISED for f in check.findings] == [site, several]
    assert check.suggested_codes == suggested


@pytest.mark.parametrize(
    ("code", "claim", "raised"),
    [
        ("M53.2", None, True),
        ("M53.2X", None, True),
        ("M53.20", None, True),
        ("M53.2X0", None, True),
        ("M53.2X6", None, False),
        ("M53.2X6", ("M53.2",), True),
        ("M53.2X6", ("M53.2X6", "M43.29"), False),
        ("M53.2X6", ("M53.2X6", "??"), False),
    ],
)
def test_invalid_code_check(code: str, claim: tuple[str, ...] | None, *, raised: bool) -> None:
    family = checklist(alert("invalid-code", Check("invalid_code"), codes=("M53.2X",)))
    check = checked(family, [LUMBAR], code=code, claim=claim)
    (finding,) = check.findings
    assert (finding.status is Status.RAISED) is raised
    assert finding.codes == (("M53.2X6",) if raised and code != "M53.2X6" else ())


@pytest.mark.parametrize(
    ("claim", "raised"),
    [(None, False), (("M53.2X6", "M46.46"), True), (("M53.2X6", "I10"), False), (("M53.2X6", "not a code"), False)],
)
def test_excludes1_on_claim(claim: tuple[str, ...] | None, *, raised: bool) -> None:
    assert holds(Check("excludes1_on_claim"), [LUMBAR], claim=claim) is raised


# ── codes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("key", "at", "stems", "others", "wanted"),
    [
        ("finding/discitis", ["thoracic"], ("M46.4",), [], ("M46.44",)),
        ("finding/discitis", [], ("M46.4",), [], ("M46.46",)),
        ("finding/ligament_tear", ["cervical"], ("S13.4", "S23.3", "S33.5", "S33.6"), [], ("S13.4XXA",)),
        ("finding/canal_stenosis", ["cervical"], ("M48.0",), [], ("M48.02",)),
        ("finding/canal_stenosis", ["lumbar"], ("M48.0", "M48.061", "M48.062"), [], ("M48.061",)),
        (
            "finding/canal_stenosis",
            ["lumbar"],
            ("M48.0", "M48.061", "M48.062"),
            [mention("neuro/neurogenic_claudication", start=99)],
            ("M48.062",),
        ),
        ("finding/spondylolisthesis", ["lumbar"], ("M43.1", "M51.3", "M45"), [], ("M43.16",)),
        ("disease/metastasis", [], ("M88.1", "C79.51", "M45.8"), [], ("C79.51",)),
        ("disease/ankylosing_spondylitis", [], ("M88.1", "C79.51", "M45.8"), [], ("M45.6",)),
        ("finding/ligament_ossification", ["thoracic"], ("M67.88", "M48.8X"), [], ("M67.88", "M48.8X4")),
        ("finding/dislocation", ["sacral"], ("M43.5", "S33.2"), [], ("M43.5X8", "S33.2XXA")),
        ("finding/foraminal_stenosis", ["sacral"], ("M99.5", "M99.6", "M99.7"), [], ("M99.64",)),
        ("surgery/fusion", ["lumbar"], ("Z98.1", "Z98.890", "M96.0"), [], ("Z98.1",)),
        ("surgery/discectomy", ["lumbar"], ("Z98.1", "Z98.890", "M96.0"), [], ("Z98.890",)),
        ("finding/pseudarthrosis", ["lumbar"], ("Z98.1", "M96.0", "T84.2"), [], ("M96.0", "T84.2")),
        ("primary/degeneration", ["sacral"], ("M80.08", "M53.3", "M46.1"), [], ("M53.3",)),
        ("finding/kyphosis", ["lumbar"], ("Z98.1", "T84.2"), [], ("Z98.1", "T84.2")),
    ],
)
def test_an_alert_suggests_the_code_its_evidence_fits(
    key: str, at: list[str], stems: tuple[str, ...], others: list[Mention], wanted: tuple[str, ...]
) -> None:
    found = [LUMBAR, mention(key, at=at, start=50), *others]
    check = checked([alert("it", select(key), codes=stems)], found)
    assert check.findings[0].codes == wanted
    assert check.suggested_codes == wanted
    assert checked([alert("it", NO, codes=stems)], found).suggested_codes == ()


@pytest.mark.parametrize(
    ("mentions", "code", "wanted"),
    [
        ([], "M53.2X6", ("M53.2X9",)),
        ([mention("finding/instability", "negated", at=["cervical"])], "M53.2X6", ("M53.2X2",)),
        ([mention("finding/instability", at=["thoracolumbar"])], "M53.2X6", ("M53.2X5",)),
        ([mention("finding/instability", at=["lumbar"])], "M53.2X6", ()),
        ([mention("finding/instability", at=["lumbar", "sacral"])], "M53.2X9", ("M53.2X6", "M53.2X8")),
    ],
)
def test_a_region_gap_suggests_the_region_that_is_documented(
    mentions: list[Mention], code: str, wanted: tuple[str, ...]
) -> None:
    region = requirement("region", select("condition", at="code", has_region=True), codes=("M53.2X",))
    assert checked([region], mentions, code=code).suggested_codes == wanted


def test_several_regions_have_a_code_of_their_own_where_the_family_has_one() -> None:
    family = checklist(
        family="M49.88", codes=SPONDYLOPATHY_CODES, condition=AnyOf((select("finding/destructive_lesion"),))
    )
    found = [replace(SPONDYLITIS, at=("lumbar", "sacral"))]
    assert checked(family, found, code="M49.80").suggested_codes == ("M49.89",)


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({"qualities": ["recurrent"]}, ("M43.5X8",)),
        ({"qualities": ["acute"]}, ("S33.2XXA",)),
        ({"due_to": ["mechanism/traumatic"]}, ("S33.2XXA",)),
    ],
)
def test_an_injury_does_not_recur(more: dict[str, list[str]], wanted: tuple[str, ...]) -> None:
    found = [LUMBAR, mention("finding/dislocation", at=["sacral"], start=50, **more)]  # type: ignore[arg-type]
    assert (
        checked([alert("it", select("finding/dislocation"), codes=("M43.5", "S33.2"))], found).findings[0].codes
        == wanted
    )


def test_a_fusion_that_did_not_take_is_no_status() -> None:
    both = AnyOf((select("finding/pseudarthrosis"), select("surgery/fusion")))
    found = [mention("finding/pseudarthrosis"), mention("surgery/fusion", start=40)]
    assert checked([alert("it", both, codes=("Z98.1", "M96.0"))], found).findings[0].codes == ("M96.0",)


def test_each_code_is_suggested_where_its_own_fact_is() -> None:
    both = AllOf((select("finding/canal_stenosis"), select("finding/fracture")))
    found = [mention("finding/canal_stenosis", at=["cervical"]), mention("finding/fracture", at=["thoracic"], start=40)]
    item = alert("it", both, codes=("M48.0", "M80.08"))
    assert checked([item], found).findings[0].codes == ("M48.02", "M80.08XA")


def test_a_family_without_an_unspecified_site_is_suggested_for_the_site_of_the_code() -> None:
    items = checklist(
        requirement("region", NO, codes=("M99.2",)),
        alert("other-tissue", select("finding/disc_displacement"), codes=("M99.3", "M99.5")),
        family="M99.2",
        codes=tuple(f"M99.2{digit}" for digit in range(10)),
    )
    check = checked(items, [mention("finding/disc_displacement")], code="M99.24")
    assert [f.codes for f in check.findings] == [(), ("M99.54",)]


def test_a_gap_keeps_other_families_to_itself() -> None:
    """They are for whoever reads the finding; suggested is only what the facts support."""
    check = checked([requirement("item", NO, codes=("M48.0", "M53.2X"))], [LUMBAR], code="M53.2X8")
    assert check.findings[0].codes == ("M48.061", "M53.2X6")
    assert check.suggested_codes == ("M53.2X6",)


def test_every_check_the_checklists_name_exists() -> None:
    folder = Path(__file__).parent.parent / "patterns" / "checklists"
    named = {
        name for file in folder.glob("*.yaml") for name in re.findall(r"\bcheck: ([a-z0-9_]+)", file.read_text("utf-8"))
    }
    assert named <= set(CHECKS)


# ── a code that cannot be reported, a code without a checklist ──────────────────────────────────


def test_a_setting_may_be_given_by_its_word() -> None:
    assert Note(id="x", text="", setting="outpatient").setting is Setting.OUTPATIENT  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^a note's setting is none of: outpatient, inpatient$"):
        Note(id="x", text="", setting="Outpatient")  # type: ignore[arg-type]


def test_a_code_that_does_not_exist_still_gets_its_family() -> None:
    family = checklist(requirement("region"), family="M43.20", codes=FUSION_CODES, condition=FUSION)
    check = checked(family, [ankylosis("cervical")], code="M43.29")
    assert (check.valid, check.billable, check.title) == (False, False, "")
    assert [(f.id, f.status) for f in check.findings] == [
        ("M43.29/region", Status.MISSING),
        ("M43.29/invalid-code", Status.RAISED),
    ]
    assert check.findings[1].codes == ("M43.22",)
    assert not check.complete


@pytest.mark.parametrize(("code", "valid"), [("M53.2", True), ("M53.20", False), ("M54.5", True), ("Q99.99", False)])
def test_a_code_that_cannot_be_reported_says_so(code: str, *, valid: bool) -> None:
    check = assess(None, code, [], Note(id="1", text=""), CODES, CODING)
    assert (check.valid, check.billable) == (valid, False)
    assert [(f.id, f.alert, f.status) for f in check.findings] == [
        (f"{code}/invalid-code", AlertKind.CONFLICT, Status.RAISED)
    ]
    assert check.findings[0].message.startswith(code)
    assert check.findings[0].codes == CODES.meant(code)


@pytest.mark.parametrize(
    ("code", "claim", "wanted"),
    [
        ("M54.2", None, {"excludes1": Status.CLEAR}),
        ("M46.46", ("M46.46", "M53.2X6"), {"excludes1": Status.RAISED}),
        ("M53.2X6", ("M46.46", "M53.2X6"), {"excludes1": Status.RAISED}),
        ("M54.2", ("M54.2", "I10"), {"excludes1": Status.CLEAR}),
        ("M49.82", ("M49.82", "A23.9"), {"excludes1": Status.CLEAR, "code-first": Status.RAISED}),
        ("M49.82", ("A23.9", "M49.82"), {"excludes1": Status.CLEAR, "code-first": Status.CLEAR}),
        ("M49.82", None, {"excludes1": Status.CLEAR, "code-first": Status.CLEAR}),
    ],
)
def test_a_code_without_a_checklist_gets_what_the_tabular_says(
    code: str, claim: tuple[str, ...] | None, wanted: dict[str, Status]
) -> None:
    check = assess(None, code, MANY, Note(id="1", text="", claim_codes=claim), CODES, CODING)
    assert check.billable
    assert {f.item: f.status for f in check.findings} == wanted
    assert not check.complete, "nothing was met, so nothing is complete"


# ── the codes the facts point to ────────────────────────────────────────────────────────────────


def knowledge(*checklists: Checklist) -> Knowledge:
    return Knowledge(
        concepts=MappingProxyType({}),
        checklists=checklists,
        coding=CODING,
        cues=(),
        sections=(),
        abbreviations=MappingProxyType({}),
        spelling_keep=frozenset(),
        cue_examples=(),
        version="test",
    )


LIGAMENT = checklist(
    family="M24.28",
    codes=("M24.28",),
    condition=AnyOf((select("finding/ligament_laxity"),)),
    points_to=select("finding/ligament_laxity"),
)
UNSTABLE = checklist(points_to=select("finding/instability"))
SUBLUXED = checklist(
    family="M99.24",
    codes=tuple(f"M99.2{digit}" for digit in range(10)),
    condition=AnyOf((select("finding/subluxation"),)),
    points_to=select("finding/subluxation"),
)


@pytest.mark.parametrize(
    ("mentions", "wanted"),
    [
        ([], ()),
        ([mention("finding/instability", at=["lumbar"])], ("M53.2X6",)),
        ([mention("finding/instability")], ("M53.2X9",)),
        ([mention("finding/instability", at=["cervical", "lumbar"])], ("M53.2X2", "M53.2X6")),
        ([mention("finding/instability", "negated", at=["lumbar"])], ()),
        ([mention("finding/instability", "uncertain", at=["lumbar"])], ("M53.2X6",)),
        ([mention("finding/instability", "hypothetical", at=["lumbar"])], ()),
        (
            [
                mention("finding/instability", "uncertain", at=["lumbar"]),
                mention("finding/ligament_laxity", start=30),
            ],
            ("M24.28",),
        ),
        ([mention("finding/ligament_laxity", at=["lumbar"])], ("M24.28",)),
        ([mention("finding/subluxation", at=["sacral"])], ("M99.24",)),
        ([mention("finding/subluxation")], ("M99.24",)),
        (
            [mention("finding/instability", at=["lumbar"]), mention("finding/ligament_laxity", start=30)],
            ("M24.28", "M53.2X6"),
        ),
        ([mention("finding/scoliosis", at=["lumbar"])], ()),
    ],
)
def test_codes_the_facts_point_to(mentions: list[Mention], wanted: tuple[str, ...]) -> None:
    family = checklist(family="M49.88", codes=SPONDYLOPATHY_CODES)
    found = pointers(mentions, knowledge(LIGAMENT, UNSTABLE, SUBLUXED, family), CODES)
    assert tuple(pointer.code for pointer in found) == wanted
