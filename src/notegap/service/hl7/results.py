"""What is handed on of a note that was checked: an ORU^R01 message, or the report as JSON.

The message names what was checked (the order, the document, the message it came in) and says for each code what the
note has and what it lacks: a question that is open for what is open, no quote of the note, and no code to use instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from notegap.model import CodeCheck, Finding, Report, Status
from notegap.notes.hl7v2 import Segment
from notegap.report.json import as_dict, one_line
from notegap.service.hl7.messages import Field, Message, echoed, escaped, time_of, translated, written

_OURS = "99NOTEGAP"
_SILENT = frozenset({Status.NOT_APPLICABLE, Status.CLEAR})


def as_json(report: Report, message: Message) -> bytes:
    """The report in its published shape, and the message it is about."""
    about = {"control_id": message.control_id, "event": message.type}
    return one_line(as_dict(report) | {"hl7": about}).encode()


def as_oru(report: Report, message: Message, *, control_id: str, at: datetime) -> bytes:
    """The report as an ORU^R01 for whom the message was sent by; `control_id` is its MSH-10."""
    header, order = message.header, message.first("OBR")
    moment = time_of(at)
    segments: list[list[Field]] = [
        [
            "MSH",
            "^~\\&",
            *(translated(header, number) for number in (5, 6, 3, 4)),
            moment,
            "",
            ("ORU", "R01", "ORU_R01"),
            control_id,
            header.get(11) or "P",
            "2.5.1",
            *[""] * 5,
            "UNICODE UTF-8",
        ],
        *_patient(message),
        [
            "OBR",
            "1",
            translated(order, 2),
            (control_id, "notegap"),
            ("documentation", "Documentation of what was coded", _OURS),
            "",
            "",
            moment,
            *[""] * 14,
            moment,
            "",
            "",
            "F",
            *[""] * 3,
            # The order that the document was about: placer's and filler's number.
            f"{_as_component(order, 2)}^{_as_component(order, 3)}".rstrip("^"),
        ],
        *_observations(report, message),
    ]
    return written(segments).encode()


def _as_component(segment: Segment, number: int) -> str:
    """A field as it stands inside another one: its components are parts of a component."""
    components = segment.repetitions(number)[0].split(segment.separators[0])
    return "&".join(escaped(segment.plain(each).strip()) for each in components).rstrip("&")


def _patient(message: Message) -> Iterator[list[Field]]:
    """What it takes to find the patient and the visit, and no more."""
    patient, visit = message.first("PID"), message.first("PV1")
    if len(patient.fields) > 1:
        kept: list[Field] = [""] * 19
        kept[0], kept[1] = "PID", "1"
        for number in (3, 5, 7, 8, 18):
            kept[number] = translated(patient, number)
        yield kept
    if visit.get(2) or visit.get(19):
        kept = [""] * 20
        kept[0], kept[1], kept[2], kept[19] = "PV1", "1", translated(visit, 2), translated(visit, 19)
        yield kept


def _observations(report: Report, message: Message) -> Iterator[list[Field]]:
    number = 0

    def observed(kind: str, what: tuple[str, ...], value: Field, *, group: int = 0, flag: str = "") -> list[Field]:
        nonlocal number
        number += 1
        group_id = str(group) if group else ""
        return ["OBX", str(number), kind, (*what, _OURS), group_id, value, "", "", flag, "", "", "F"]

    if message.document:
        yield observed("ST", ("document", "Document that was checked"), (message.document,))
    yield observed("ST", ("message", "Message that was checked"), echoed_id(message))
    if not report.checks:
        yield observed("ST", ("outcome", "Outcome"), ("Not checked: no code with a checklist is in it or fits it.",))
    for group, check in enumerate(report.checks, start=1):
        yield observed("CWE", ("code", "Code that was checked"), (check.code, check.title, "I10C"), group=group)
        yield observed("ST", ("outcome", "Outcome"), (_outcome(check),), group=group)
        for finding in check.findings:
            if finding.status in _SILENT:
                continue
            value = (finding.status.value, finding.status.value.replace("_", " "), _OURS)
            flag = "A" if finding.is_open else "N"
            yield observed("CWE", (finding.id, _name(finding)), value, group=group, flag=flag)
            said = finding.ask if finding.status.is_gap else finding.message if finding.is_open else ""
            if said:
                yield ["NTE", "1", "", (said,)]


def echoed_id(message: Message) -> str:
    """MSH-10 of the message with the separators of ours."""
    return escaped(message.header.plain(echoed(message.header, 10)))


def _outcome(check: CodeCheck) -> str:
    if check.complete:
        return f"Complete: {check.met} of {check.met} met."
    if not check.findings:
        return "Not checked: there is no checklist for this code."
    return f"Not complete: {check.met} met, {check.open} open, {check.raised} raised."


def _name(finding: Finding) -> str:
    return finding.item.replace("-", " ").replace("_", " ")
