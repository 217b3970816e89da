"""The nouns of notegap, all frozen: what a note is, what was read in it, what a checklist asks, what was found.

Nothing here knows how a note is read (extract) or judged (assess). Offsets are Unicode code points into
`Note.text` as it was given; `text[start:end]` is the quote. The published shape is contract/REPORT.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from notegap.errors import UsageError

SCHEMA_VERSION = 1

REGIONS: tuple[str, ...] = (
    "occipito_atlanto_axial",
    "cervical",
    "cervicothoracic",
    "thoracic",
    "thoracolumbar",
    "lumbar",
    "lumbosacral",
    "sacral",
)
"""The ICD-10-CM site axis of chapter 13, from head to tail."""


class Assertion(StrEnum):
    """How a mention stands in the note."""

    AFFIRMED = "affirmed"
    NEGATED = "negated"
    UNCERTAIN = "uncertain"
    HYPOTHETICAL = "hypothetical"
    HISTORICAL = "historical"
    FAMILY = "family"


class Setting(StrEnum):
    """Where the note was written: an uncertain diagnosis counts only for inpatients (Guidelines II.H, IV.H)."""

    OUTPATIENT = "outpatient"
    INPATIENT = "inpatient"


class Status(StrEnum):
    """What became of one item of a checklist."""

    MET = "met"
    MISSING = "missing"
    VAGUE = "vague"
    UNCERTAIN = "uncertain"
    REFUTED = "refuted"
    NOT_APPLICABLE = "not_applicable"
    RAISED = "raised"
    CLEAR = "clear"

    @property
    def is_gap(self) -> bool:
        """Whether a requirement with this status is a documentation gap."""
        return self in (Status.MISSING, Status.VAGUE, Status.UNCERTAIN, Status.REFUTED)


class Severity(StrEnum):
    """How much a requirement weighs: `conditional` ones apply only when their condition holds."""

    REQUIRED = "required"
    RECOMMENDED = "recommended"
    CONDITIONAL = "conditional"


class AlertKind(StrEnum):
    """`conflict`: cannot stand together; `route`: another code fits; `sequencing`: order on the claim."""

    CONFLICT = "conflict"
    ROUTE = "route"
    SEQUENCING = "sequencing"


FACTS: tuple[str, ...] = (
    "region",
    "level",
    "ligament",
    "mechanism",
    "imaging",
    "finding",
    "disease",
    "neuro",
    "treatment",
    "surgery",
)
"""The concepts a report publishes (contract/vocabulary.yaml); others help to assess and stay inside."""


# ── the note ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a file said of a note beside its text; "" where it said nothing.

    `date` is that of the encounter, else of the document, as 2026-04-30; `type_code` is a LOINC code or the sender's
    own; `replaces` the id of the document that this one takes the place of or adds to.
    """

    provider: str = field(default="", repr=False)
    encounter: str = ""
    date: str = ""
    department: str = ""
    document_type: str = ""
    type_code: str = ""
    status: str = ""
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a note's text and where it stood in the file that the note was read from.

    `kind` is "section" or "element" (C-CDA), "obx" or "nte" (HL7 v2), "attachment" (FHIR), "page" (PDF). `id` is the
    xs:ID, the set id, the attachment's or page's number; `code` a LOINC code or the sender's; `title` as given.
    """

    start: int
    end: int
    kind: str
    id: str = ""
    code: str = ""
    title: str = field(default="", repr=False)

    def moved(self, by: int) -> Part:
        """The same part in a text that stands `by` characters further on."""
        return Part(self.start + by, self.end + by, self.kind, self.id, self.code, self.title)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One clinical note and the codes it is to support.

    `codes` empty means: the codes written in the note, else the codes its facts point to.
    `claim_codes` is None when no claim was given, which is not the same as an empty claim.
    Raises UsageError when `setting` is neither a Setting nor its word.
    """

    id: str
    text: str = field(repr=False)
    codes: tuple[str, ...] = ()
    claim_codes: tuple[str, ...] | None = None
    setting: Setting = Setting.OUTPATIENT
    date_of_service: str | None = None
    metadata: Metadata = field(default=Metadata(), repr=False)
    parts: tuple[Part, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        # Left a plain word, "outpatient" would be read as inpatient, where a suspicion counts as a diagnosis.
        if self.setting not in list(Setting):
            raise UsageError(f"a note's setting is none of: {', '.join(Setting)}")
        object.__setattr__(self, "setting", Setting(self.setting))

    def parts_at(self, offset: int) -> tuple[Part, ...]:
        """The parts that hold the character at `offset`, outermost first; its place in one is `offset - part.start`."""
        around = [part for part in self.parts if part.start <= offset < part.end]
        return tuple(sorted(around, key=lambda part: part.start - part.end))


# ── what was read ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """One fact as the note states it.

    `at` holds the regions it is tied to, `levels` the motion segments ("L4-L5") and vertebrae ("L4");
    `seen_on` how it was found ("mri", "exam", "operation"); `due_to` what the note names as its cause and
    `beside` what it is only associated with, both as "concept/value"; `qualities` its adjectives
    ("chronic", "acute", "recurrent"); `sentence` the sentence's number, counted from 0.
    """

    concept: str
    value: str
    assertion: Assertion
    start: int
    end: int
    text: str = field(repr=False)
    section: str = ""
    at: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    seen_on: tuple[str, ...] = ()
    due_to: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    qualities: tuple[str, ...] = ()
    sentence: int = 0

    @property
    def key(self) -> str:
        """The name rules use for it, "concept/value"."""
        return f"{self.concept}/{self.value}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stretch of the note that decided a status, in which section it stands and how it is asserted there."""

    start: int
    end: int
    text: str = field(repr=False)
    section: str = field(default="", compare=False)
    assertion: Assertion | None = field(default=None, compare=False)


# ── what a checklist asks ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """The mentions of one concept that fit; every field left None does not narrow.

    `at`: "condition" = tied to a region of the condition, or to none; "condition_strict" = tied to one of its
    regions; "area" = to one of its regions or of those next to them, or to none;
    "elsewhere" = tied only to other regions; "code" = to the region of the code being checked, or none;
    a tuple of regions = tied to one of those. `due_to`/`not_due_to`, `beside`: "concept/value" or "concept".
    `assertion` overrides the assertions the item accepts. `same_sentence`: a mention of that "concept" or
    "concept/value" (affirmed, suspected or asserted like this one) stands in the same sentence;
    `not_same_sentence`: none does.
    """

    concept: str
    values: frozenset[str] | None = None
    not_values: frozenset[str] = frozenset()
    assertion: frozenset[Assertion] | None = None
    at: str | tuple[str, ...] | None = None
    seen_on: frozenset[str] | None = None
    section: frozenset[str] | None = None
    not_section: frozenset[str] = frozenset()
    due_to: frozenset[str] | None = None
    not_due_to: frozenset[str] = frozenset()
    beside: frozenset[str] | None = None
    qualities: frozenset[str] | None = None
    not_qualities: frozenset[str] = frozenset()
    same_sentence: frozenset[str] | None = None
    not_same_sentence: frozenset[str] = frozenset()
    has_region: bool | None = None
    has_level: bool | None = None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Holds when one of `parts` holds."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Holds when every one of `parts` holds."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """Holds when none of `parts` holds."""

    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Holds when at least `number` of `parts` hold."""

    number: int
    parts: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class ItemIs:
    """Holds when another item of the same checklist, listed before, has one of `statuses`."""

    item: str
    statuses: frozenset[Status]


@dataclass(frozen=True, slots=True)
class Claimed:
    """Holds when a claim was given and a code on it starts with one of `codes`."""

    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Regions:
    """Holds when the mentions of `of` name at least `number` distinct regions."""

    of: Select
    number: int


@dataclass(frozen=True, slots=True)
class Check:
    """Holds when the named check in `notegap.assess.checks.CHECKS` says so: what words cannot express."""

    name: str


Expr = Select | AnyOf | AllOf | NoneOf | AtLeast | ItemIs | Claimed | Regions | Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One thing the note has to document.

    Each of `met`, `vague`, `uncertain`, `refuted` is tried in `order`; the first that holds is the status, else
    `missing`. `when` absent means it always applies. `accepts` are the assertions that count as documented.
    `suggest`: the concept ("disease") that suggestions are looked for while it is open.
    """

    id: str
    severity: Severity
    basis: tuple[str, ...]
    needed_for: str
    message: str
    ask: str
    why: str
    met: Expr
    when: Expr | None = None
    vague: Expr | None = None
    uncertain: Expr | None = None
    refuted: Expr | None = None
    order: tuple[Status, ...] = (Status.MET, Status.VAGUE, Status.UNCERTAIN, Status.REFUTED)
    accepts: frozenset[Assertion] = frozenset({Assertion.AFFIRMED})
    denials: bool = True
    place: str = ""
    codes: tuple[str, ...] = ()
    suggest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing in the note that speaks against the code, points to another, or orders the claim."""

    id: str
    alert: AlertKind
    basis: tuple[str, ...]
    message: str
    why: str
    raised: Expr
    unless: Expr | None = None
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecklistExample:
    """A short note and the gaps and alerts it must give: exactly these, in order."""

    name: str
    note: str = field(repr=False)
    code: str
    gaps: tuple[str, ...]
    alerts: tuple[str, ...] = ()
    setting: Setting = Setting.OUTPATIENT
    claim_codes: tuple[str, ...] | None = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checklist:
    """What a family of codes asks of a note. `condition` are the mentions that are this condition."""

    id: str
    codes: tuple[str, ...]
    title: str
    why: str
    source: str
    condition: AnyOf
    requires: tuple[Requirement, ...]
    alerts: tuple[Alert, ...]
    examples: tuple[ChecklistExample, ...]
    points_to: Expr | None = None
    file: str = ""


# ── how facts are written ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Pair:
    """A part and what is said of it, in one clause: "foramina" + "narrowed". `assertion` overrides.

    `part` and `says` hold full names, "part/canal", "change/narrowing", "ligament/alar"; loading completes short
    ones and replaces "ligament/*" by every value of ligament.
    """

    part: frozenset[str]
    says: frozenset[str]
    assertion: Assertion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a concept and how notes write it. See CONTRIBUTING.md for the term syntax."""

    name: str
    terms: tuple[str, ...] = ()
    acronyms: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Concept:
    """One kind of fact. `reported` False: a helper (a part, a quality) that never leaves extract.

    `values` empty: the values are open, and a grammar in extract/refine makes them (level). `examples` are marked
    sentences as (sentence, file, line).
    """

    name: str
    title: str
    reported: bool
    values: Mapping[str, Value]
    examples: tuple[tuple[str, str, int], ...]
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """Words that change how a mention stands: what they say, which way they reach, how far.

    `says` is an Assertion, or "pseudo" (looks like a cue and is none), or "terminate" (ends the reach of others).
    `direction`: forward | backward | both. `concepts`: only these are reached (empty: all).
    `words`: the reach in words, None to the end of the clause.
    """

    says: str
    direction: str
    terms: tuple[str, ...]
    concepts: tuple[str, ...] = ()
    not_concepts: tuple[str, ...] = ()
    words: int | None = None
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionRule:
    """Headings that mean one section, and how some concepts stand in it unless a cue says otherwise."""

    name: str
    titles: tuple[str, ...]
    assertions: Mapping[str, Assertion]


# ── what a provider is asked ────────────────────────────────────────────────────────────────────


class Changes(StrEnum):
    """What an answer to a query changes, what matters most first."""

    ASSIGNMENT = "assignment"
    CONFLICT = "conflict"
    SPECIFICITY = "specificity"
    SUPPORT = "support"


class Trigger(StrEnum):
    """Why a query is legitimate."""

    CONFLICTING = "conflicting"
    INCOMPLETE = "incomplete"
    AMBIGUOUS = "ambiguous"
    INCONSISTENT = "inconsistent"
    SPECIFICITY = "specificity"
    CAUSE_EFFECT = "cause_effect"
    INDICATORS_WITHOUT_DIAGNOSIS = "indicators_without_diagnosis"
    DIAGNOSIS_WITHOUT_INDICATORS = "diagnosis_without_indicators"


class FormKind(StrEnum):
    """How a query is answered: in the provider's words, from options, or by yes or no."""

    OPEN = "open"
    CHOICE = "choice"
    YES_NO = "yes_no"


class YesNoReason(StrEnum):
    """The only things that may be asked with yes or no (Q09)."""

    DOCUMENTED = "documented"
    PRESENT_ON_ADMISSION = "present_on_admission"
    CAUSE_EFFECT = "cause_effect"
    CONFLICTING_PROVIDERS = "conflicting_providers"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryItem:
    """An item of a checklist that a template asks for, "M24.28/region"; "*": any of a checklist without templates.

    `when`: the statuses in which it is asked; what the note denies outright is answered, unless `refuted` is listed.
    `after`: items of the same checklist that have to be met first, since the question presumes them; `presumes`:
    "concept" or "concept/value", one of which the note has to affirm, or doubt where it is asked how the doubt stands;
    `unless_placed`: not where the note says in which region the condition is; `unless_elsewhere`: not where that is
    another region than the code's; `unless_raised`: not where one of these alerts is raised, which makes it pointless.
    `ask` takes the place of the item's own. `changes` None: it follows from what the item is.
    """

    item: str
    when: frozenset[Status] = frozenset({Status.MISSING, Status.VAGUE, Status.UNCERTAIN, Status.RAISED})
    changes: Changes | None = None
    after: tuple[str, ...] = ()
    presumes: tuple[str, ...] = ()
    unless_placed: bool = False
    unless_elsewhere: bool = False
    unless_raised: tuple[str, ...] = ()
    ask: str = ""
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryForm:
    """One way to put a template's question; the first whose conditions hold is used, else it is asked openly.

    `when`: the statuses it is for, empty for all. A choice offers `choices`, or those values of the concept `of` in
    `labels` that the note affirms, at least `fewest`. Yes or no needs a `reason`, and each of `documented` affirmed.
    """

    kind: FormKind
    when: frozenset[Status] = frozenset()
    ask: str = ""
    of: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    fewest: int = 1
    choices: tuple[str, ...] = ()
    reason: YesNoReason | None = None
    documented: tuple[str, ...] = ()
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryExample:
    """A short note and the exact text of the query the template gives for it; "" when it must ask nothing."""

    name: str
    note: str = field(repr=False)
    code: str
    query: str = field(repr=False)
    setting: Setting = Setting.OUTPATIENT
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryTemplate:
    """How a provider is asked for some items: a neutral title, what of the note is shown, the ways to ask.

    `indicators`: "concept" or "concept/value", or "condition" for what the checklist is about; those first are shown
    first when not all can be.
    """

    id: str
    title: str
    trigger: Trigger
    items: tuple[QueryItem, ...]
    indicators: tuple[str, ...]
    forms: tuple[QueryForm, ...]
    examples: tuple[QueryExample, ...]
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePart:
    """One thing a rule of queries looks for.

    `how`: "forbid" (a match of `patterns` is a finding), "need" (no match is one, `when` there are options, say, or in
    each line that `given` matches), or the name of a check in notegap.query.checks, which `words` and `most` tune.
    `where`: the parts of a query that are looked at.
    """

    how: str
    says: str
    where: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    when: str = ""
    given: tuple[str, ...] = ()
    case_kept: bool = False
    words: tuple[str, ...] = ()
    most: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleExample:
    """A query, and what the rule finds in it: exactly these stretches, in order."""

    text: str
    found: tuple[str, ...]
    line: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRule:
    """A rule of compliant queries; `person` says what of it only a person can judge."""

    id: str
    title: str
    why: str
    parts: tuple[RulePart, ...]
    person: str
    examples: tuple[RuleExample, ...]
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """What facts are coded with, by stem: a stem stands for itself and every code under it.

    `facts`: the stems of a "concept/value". `injuries`: the regions of the spine a stem of chapter 19 can stand for.
    `etiologies`: the stems of diseases that can underlie a spondylopathy, less `not_etiologies`; `incidental` are the
    "concept/value" of diseases so common that they underlie one only where the note says so.
    """

    facts: Mapping[str, tuple[str, ...]]
    injuries: Mapping[str, tuple[str, ...]]
    etiologies: tuple[str, ...]
    not_etiologies: tuple[str, ...]
    incidental: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """Everything in patterns/ and models/, frozen. `version` is a digest of the files it was read from."""

    concepts: Mapping[str, Concept]
    checklists: tuple[Checklist, ...]
    coding: Coding
    cues: tuple[Cue, ...]
    sections: tuple[SectionRule, ...]
    abbreviations: Mapping[str, str]
    spelling_keep: frozenset[str]
    cue_examples: tuple[tuple[str, str, int], ...]
    version: str
    query_templates: tuple[QueryTemplate, ...] = ()
    query_rules: tuple[QueryRule, ...] = ()
    spelling_short: frozenset[str] = frozenset()

    def checklist(self, code: str) -> Checklist | None:
        """The checklist `code` (dotted, upper-case) belongs to, or None when no family covers it."""
        exact = [c for c in self.checklists if code in c.codes]
        if exact:
            return exact[0]
        return next((c for c in self.checklists if code.startswith(c.id)), None)


# ── what was found ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One item of a checklist, decided: a requirement or an alert, with the evidence that decided it."""

    id: str
    kind: str
    status: Status
    message: str
    ask: str = ""
    severity: Severity | None = None
    alert: AlertKind | None = None
    basis: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    codes: tuple[str, ...] = ()
    why: str = ""
    place: str = ""

    @property
    def item(self) -> str:
        """The part of the id after the code."""
        return self.id.partition("/")[2]

    @property
    def is_open(self) -> bool:
        """A gap, or a raised alert."""
        return self.status.is_gap or self.status is Status.RAISED


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCheck:
    """One code checked against one note. `condition`: the mentions that are what the checklist is about."""

    code: str
    title: str
    valid: bool
    billable: bool
    findings: tuple[Finding, ...]
    suggested_codes: tuple[str, ...] = ()
    condition: tuple[Mention, ...] = ()

    @property
    def met(self) -> int:
        """Requirements met."""
        return sum(f.status is Status.MET for f in self.findings)

    @property
    def open(self) -> int:
        """Requirements that are gaps."""
        return sum(f.kind == "requirement" and f.status.is_gap for f in self.findings)

    @property
    def raised(self) -> int:
        """Alerts raised."""
        return sum(f.status is Status.RAISED for f in self.findings)

    @property
    def complete(self) -> bool:
        """Nothing open, nothing raised, and at least one requirement was there to be met."""
        return self.valid and self.met > 0 and self.open == 0 and self.raised == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A stretch of the note that reads like something no concept names, for a person to judge.

    `alias` is the tabular's name it reads like, `code` and `title` where that name stands, `score` how alike they are
    (1.0 the same). `findings` are the ids of the open items it may bear on. It decides nothing: it is no mention, and
    no status comes of it.
    """

    concept: str
    start: int
    end: int
    text: str = field(repr=False)
    code: str
    title: str
    alias: str
    score: float
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """A code the note's facts point to, asked for or not, with those facts. `title` empty: a family, not a code."""

    code: str
    title: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What notegap says about one note.

    `codes_from` tells how the codes were chosen: "asked", "note" (written in it), "facts" or "none".

    `helpers` are the mentions of the concepts that only help to assess: a query may quote them, no format prints them.
    """

    note: Note
    code_set: str
    mentions: tuple[Mention, ...]
    checks: tuple[CodeCheck, ...]
    codes_from: str = "asked"
    suggestions: tuple[Suggestion, ...] = ()
    helpers: tuple[Mention, ...] = ()
    points_to: tuple[Pointer, ...] = ()

    @property
    def has_gaps(self) -> bool:
        """Whether any code checked has a gap, a raised alert or no checklist met."""
        return any(not check.complete for check in self.checks)
