"""The shape of what /v1 answers, for the OpenAPI document: that of contract/REPORT.md, as report/json.py prints it.

Nothing is converted through these: what is answered is what every other interface of notegap prints.
tests/test_rest.py holds the two together.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from notegap.model import AlertKind, Assertion, Changes, FormKind, Setting, Severity, Status, Trigger, YesNoReason

_START, _END = "Offset into the note as it was given, in characters.", "Where it ends: text[start:end] is the quote."
_PARTS = "Where each stretch of the text stood in its file, where that has parts (FHIR lines of a batch)."
_SAID = "What the file said of the note beside its text, where it said anything (FHIR lines of a batch)."


class Part(BaseModel):
    """A stretch of the note and where it stood in its file."""

    start: int = Field(description=_START)
    end: int = Field(description=_END)
    kind: str = Field(description="`section`, `element`, `obx`, `nte`, `attachment` or `page`.")
    id: str = Field(description="The xs:ID, the set id, or a number.")
    code: str = Field(description="A LOINC code, or the sender's own.")
    title: str


class Evidence(BaseModel):
    """A stretch of the note that decided a status."""

    start: int = Field(description=_START)
    end: int = Field(description=_END)
    text: str


class Mention(BaseModel):
    """A fact as the note states it."""

    concept: str
    value: str
    assertion: Assertion
    start: int = Field(description=_START)
    end: int = Field(description=_END)
    text: str
    section: str
    at: list[str] = Field(description="The regions it is tied to.")
    levels: list[str]
    seen_on: list[str]
    due_to: list[str]
    beside: list[str]
    qualities: list[str]


class Finding(BaseModel):
    """An item of a checklist, decided."""

    id: str = Field(description="CODE/item; it stays the same from note to note and from release to release.")
    kind: Literal["requirement", "alert"]
    severity: Severity | None = Field(default=None, description="Of a requirement.")
    alert: AlertKind | None = Field(default=None, description="Of an alert.")
    status: Status
    message: str
    ask: str = Field(default="", description="Of a requirement: an open question for the provider.")
    basis: list[str]
    why: str
    place: str = Field(description="The section of the note where it belongs.")
    evidence: list[Evidence]
    codes: list[str] = Field(description="Codes that fit better, or belong beside.")


class Because(BaseModel):
    """A code that may fit better, and the findings that say so."""

    code: str
    findings: list[str]


class Summary(BaseModel):
    """A check in figures. `complete`: nothing that is required is open, no conflict is raised."""

    met: int
    open: int
    raised: int
    complete: bool


class Check(BaseModel):
    """A note against one code."""

    code: str
    title: str
    valid: bool
    billable: bool
    findings: list[Finding]
    suggested_codes: list[str]
    suggested_because: list[Because]
    summary: Summary


class Suggestion(BaseModel):
    """What only reads like a disease, for a person to judge."""

    concept: str
    start: int = Field(description=_START)
    end: int = Field(description=_END)
    text: str
    code: str
    title: str
    alias: str
    score: float
    findings: list[str]


class Pointer(BaseModel):
    """A code the facts point to. `title` is empty for a family."""

    code: str
    title: str
    evidence: list[Evidence]


class Report(BaseModel):
    """What notegap says about one note. Fields may be added, none changes its meaning."""

    schema_version: int
    id: str
    notegap: str = Field(description="The version that answered.")
    code_set: str
    setting: Setting
    date_of_service: str | None
    codes_from: Literal["asked", "note", "facts", "none"] = Field(description="How the codes were chosen.")
    mentions: list[Mention]
    checks: list[Check]
    suggestions: list[Suggestion]
    points_to: list[Pointer]
    metadata: dict[str, str] = Field(default={}, description=_SAID)
    parts: list[Part] = Field(default=[], description=_PARTS)


class Mentions(BaseModel):
    """What was read in a note."""

    schema_version: int
    id: str
    notegap: str
    mentions: list[Mention]
    metadata: dict[str, str] = Field(default={}, description=_SAID)
    parts: list[Part] = Field(default=[], description=_PARTS)


class Indicator(BaseModel):
    """A quote of the note that a query rests on."""

    start: int = Field(description=_START)
    end: int = Field(description=_END)
    line: int
    quote: str
    section: str
    assertion: Assertion | None
    contrary: bool
    note_id: str
    date_of_service: str | None


class Option(BaseModel):
    """An answer that is offered, and the indicators that support it."""

    text: str
    supported_by: list[int]


class Query(BaseModel):
    """A question to the provider."""

    id: str
    findings: list[str]
    template: str
    trigger: Trigger
    changes: Changes
    title: str
    indicators: list[Indicator]
    question: str
    kind: FormKind
    yes_no_reason: YesNoReason | None
    options: list[Option]
    closing: str
    place: str


class Folded(BaseModel):
    """A query that can wait."""

    id: str
    findings: list[str]
    title: str
    changes: Changes


class Unasked(BaseModel):
    """An open item that is no query, and why not."""

    finding: str
    why: str


class Sheet(BaseModel):
    """The queries a note calls for, and what is not asked."""

    schema_version: int
    id: str
    notegap: str
    knowledge: str
    code_set: str
    queries: list[Query]
    folded: list[Folded]
    waived: list[dict[str, Any]]
    expired_waivers: list[dict[str, Any]]
    not_asked: list[Unasked]


class CodeName(BaseModel):
    """A code of the tabular, and whether a checklist covers it."""

    code: str
    title: str
    billable: bool
    checklist: bool


class CodeList(BaseModel):
    """Codes that were found. `more`: there are others."""

    code_set: str
    codes: list[CodeName]
    more: bool


class Instruction(BaseModel):
    """A note of the tabular. `at`: the code, block or chapter it stands at."""

    text: str
    codes: list[str]
    at: str


class Item(BaseModel):
    """An item of a checklist. `ask` and `severity` are of a requirement, `alert` of an alert."""

    id: str
    kind: Literal["requirement", "alert"]
    severity: Severity | None = None
    alert: AlertKind | None = None
    message: str
    ask: str = ""
    why: str
    basis: list[str]
    codes: list[str]


class CodeChecklist(BaseModel):
    """What a family of codes asks of a note."""

    id: str
    title: str
    why: str
    source: str
    items: list[Item]


class CodeDetails(BaseModel):
    """What the tabular says of a code, and its checklist where there is one."""

    code_set: str
    code: str
    title: str
    billable: bool
    needs_seventh: bool
    seventh: dict[str, str] = Field(description="The 7th characters it may take, and what they mean.")
    problem: str | None = Field(description="Why it may not be reported as it stands.")
    parent: str | None
    children: list[str]
    includes: list[Instruction]
    excludes1: list[Instruction]
    excludes2: list[Instruction]
    code_first: list[Instruction]
    use_additional: list[Instruction]
    code_also: list[Instruction]
    checklist: CodeChecklist | None


class Batch(BaseModel):
    """How far a batch is. It is gone at `expires`, soon after its results were fetched, or when you delete it."""

    id: str
    state: Literal["working", "done", "failed"] = Field(description="`failed`: it is not read on; `problem` says why.")
    notes: int
    done: int
    gaps: int = Field(description="Of those done: notes with gaps or alerts.")
    complete: int
    unchecked: int = Field(description="Of those done: notes without a code to check.")
    failed: int = Field(description="Of those done: rows that are no note, or could not be read.")
    problem: str | None
    expires: str


class Health(BaseModel):
    """That the process answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """That a note was read, and what with."""

    status: Literal["ready"]
    notegap: str
    code_set: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). It never carries a word of what was sent."""

    type: str
    title: str
    status: int
    detail: str


class Kept(BaseModel):
    """Something that is kept, without what is in it."""

    id: str
    tenant: str
    client: str
    at: str = Field(description="Since when, UTC.")
    kept: Literal["reports", "full"]


class KeptList(BaseModel):
    """What is kept of a tenant's notes."""

    keeping: Literal["counts", "reports", "full"] = Field(description="What the service is configured to keep.")
    reports: list[Kept]


class KeptReport(Kept):
    """A report that is kept."""

    report: dict[str, Any] = Field(description="The report; unless `kept` is `full`, without a word of the note.")
    note: dict[str, Any] | None = Field(description="The note, where `kept` is `full`.")


class Counts(BaseModel):
    """How often each thing was counted."""

    counts: dict[str, int] = Field(description="`reports`, `M24.28/region missing`, `cds shown M24.28/region`, …")
