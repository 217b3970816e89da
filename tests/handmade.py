"""Reports and a stand-in for Analyzer made by hand, for tests of what prints and runs them."""

from __future__ import annotations

from dataclasses import replace

from notegap.model import (
    AlertKind,
    Assertion,
    CodeCheck,
    Evidence,
    Finding,
    Mention,
    Note,
    Report,
    Severity,
    Status,
)

RELEASE = "ICD-10-CM FY2026 (April 2026)"

TEXT = (
    "ASSESSMENT\r\n"
    "Chronic ligamentous laxity of the lumbar spine, worse since spring and seen by two colleagues already,\n"
    "at L4-L5. Severe canal\nstenosis\x1b[31m with \u200bhypertrophy is possible. Lumbar brace.\n"
)
NOTE = Note(id="laxity.txt", text=TEXT, codes=("M24.28",), claim_codes=("M24.28", "M54.50"))


def quote(text: str, note: str = TEXT) -> Evidence:
    """The first place `text` stands in the note."""
    start = note.index(text)
    return Evidence(start, start + len(text), text)


def requirement(item: str, status: Status, *quotes: str, severity: Severity = Severity.REQUIRED) -> Finding:
    """A requirement of M24.28."""
    return Finding(
        id=f"M24.28/{item}",
        kind="requirement",
        status=status,
        severity=severity,
        message=f"What the note says of the {item} is not enough for a reader who was not there to follow it.",
        ask=f"What can you say of the {item}?",
        basis=("seed",),
        evidence=tuple(quote(text) for text in quotes),
        why="Because.",
        place="assessment",
    )


def alert(item: str, kind: AlertKind, status: Status, *quotes: str, codes: tuple[str, ...] = ()) -> Finding:
    """An alert of M24.28."""
    return Finding(
        id=f"M24.28/{item}",
        kind="alert",
        alert=kind,
        status=status,
        message=f"The {item} has a code of its own that says where it is.",
        basis=("tabular",),
        evidence=tuple(quote(text) for text in quotes),
        codes=codes,
    )


CHECK = CodeCheck(
    code="M24.28",
    title="Disorder of ligament, vertebrae",
    valid=True,
    billable=True,
    findings=(
        requirement("disorder", Status.MET, "Chronic ligamentous laxity"),
        requirement("ligament", Status.VAGUE, "ligamentous", severity=Severity.RECOMMENDED),
        requirement("region", Status.MET, "lumbar", "L4-L5", "canal", "brace"),
        requirement("mechanism", Status.MISSING),
        requirement("basis", Status.UNCERTAIN, "hypertrophy is possible"),
        requirement("procedure-support", Status.NOT_APPLICABLE, severity=Severity.CONDITIONAL),
        alert("acute-injury", AlertKind.CONFLICT, Status.CLEAR),
        alert("stenosis", AlertKind.ROUTE, Status.RAISED, "canal\nstenosis\x1b[31m with \u200b", codes=("M48.061",)),
    ),
    suggested_codes=("M48.061",),
)
INVALID = CodeCheck(
    code="M43.29",
    title="",
    valid=False,
    billable=False,
    findings=(
        Finding(
            id="M43.29/invalid-code",
            kind="alert",
            alert=AlertKind.CONFLICT,
            status=Status.RAISED,
            message="M43.29 does not exist.",
            codes=("M43.28",),
            evidence=(quote("lumbar"),),
        ),
    ),
)
COMPLETE = replace(CHECK, findings=CHECK.findings[:1], suggested_codes=())

MENTION = Mention(
    concept="finding",
    value="ligament_laxity",
    assertion=Assertion.AFFIRMED,
    start=TEXT.index("ligamentous laxity"),
    end=TEXT.index("ligamentous laxity") + 18,
    text="ligamentous laxity",
    section="assessment",
    at=("lumbar",),
    levels=("L4-L5",),
    seen_on=("mri",),
    qualities=("chronic",),
)


def report(*checks: CodeCheck, note: Note = NOTE, codes_from: str = "asked") -> Report:
    """A report with these checks."""
    return Report(note=note, code_set=RELEASE, mentions=(MENTION,), checks=checks, codes_from=codes_from)


def _true_to(note: Note, made: Report) -> Report:
    """The report with the quotes that stand in its note where it says they do."""

    def said(finding: Finding) -> Finding:
        quotes = ((each.start, each.end, note.text[each.start : each.end]) for each in finding.evidence)
        return replace(finding, evidence=tuple(Evidence(*each) for each in quotes))

    return replace(
        made,
        mentions=tuple(replace(each, text=note.text[each.start : each.end]) for each in made.mentions),
        checks=tuple(replace(check, findings=tuple(map(said, check.findings))) for check in made.checks),
    )


class FakeKnowledge:
    """What a stand-in knows: nothing."""

    version = "made by hand"

    def checklist(self, _code: str) -> None:
        """No code has a checklist."""


class FakeAnalyzer:
    """Answers by the note's first word: gaps, complete, nothing, or an error nobody expected that quotes the note."""

    knowledge = FakeKnowledge()

    def analyze(self, note: Note) -> Report:
        """The report the note asks for."""
        match note.text.split()[0]:
            case "gaps":
                checks: tuple[CodeCheck, ...] = (CHECK,)
            case "complete":
                checks = (COMPLETE,)
            case "crash":
                raise IndexError(note.text)
            case "stop":
                raise KeyboardInterrupt
            case _:
                checks = ()
        return _true_to(note, report(*checks, note=note, codes_from="asked" if checks else "none"))

    def extract(self, note: Note) -> tuple[Mention, ...]:
        """One mention."""
        if note.text.startswith("crash"):
            raise IndexError(note.text)
        return (MENTION,)
