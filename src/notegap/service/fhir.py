"""FHIR R4: `POST /fhir/DocumentReference/$check` takes a document and gives back what it still has to say.

The answer is a Bundle: a DetectedIssue for each open finding, the Provenance of them all, an OperationOutcome that says
what was checked, and the query as a Questionnaire when it is asked for. A failure is an OperationOutcome alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

import notegap
from notegap.errors import DataError, KnowledgeError, NoteError, UsageError
from notegap.icd10cm import normalize
from notegap.model import AlertKind, CodeCheck, Evidence, Finding, Knowledge, Note, Part, Report, Setting, Severity
from notegap.query import FORMATS, compose_sheet
from notegap.report.lines import count
from notegap.service.access import require
from notegap.service.documents import KIND, NAMELESS, Document, Resource, mapping, objects, read_document
from notegap.service.fetch import Fetcher, FetchError, parsed
from notegap.service.page.router import Reader
from notegap.service.principal import Principal
from notegap.service.problems import FHIR_JSON, FHIR_PREFIX, RefusedError, outcome
from notegap.service.records import Records

BASE = "https://notegap.org/fhir"
"""What our own names in FHIR begin with."""

FINDINGS = f"{BASE}/CodeSystem/finding"
"""The code system of findings: "M24.28/region"."""

RANGE = f"{BASE}/StructureDefinition/text-range"
"""The extension that says where in the note a quote stands, in code points from 0."""

PART = f"{BASE}/StructureDefinition/text-part"
"""The extension that says in which part of its file a quote stands, the outermost first, as `parts` of a report."""

NOTE_HASH = f"{BASE}/sid/note-sha256"
KNOWLEDGE = f"{BASE}/sid/knowledge"
OPERATION = f"{BASE}/OperationDefinition/DocumentReference-check"

_ACCEPTED = frozenset({FHIR_JSON, "application/json", "application/*", "*/*"})
_SENT = frozenset({FHIR_JSON, "application/json"})
_FORMATS = frozenset({"json", "application/json", FHIR_JSON})
_REFERENCE = re.compile(r"[!-~]{1,200}")
_MOST_CODES = 50

# Name, type, how many at most, what it is.
_PARAMETERS: tuple[tuple[str, str, str, str], ...] = (
    ("document", KIND, "1", "The document, its note inline or at an address of a configured server."),
    (
        "code",
        "code",
        "*",
        "An ICD-10-CM code to check; none: those written in the note, else those its facts point to.",
    ),
    ("claim", "code", "*", "The codes of the claim, in their order."),
    ("setting", "code", "1", "outpatient (when it is not said) or inpatient."),
    ("query", "boolean", "1", "Whether the query for the author of the note is wanted, as a Questionnaire."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What `$check` was asked."""

    document: Resource
    codes: tuple[str, ...] = ()
    claim: tuple[str, ...] | None = None
    setting: Setting = Setting.OUTPATIENT
    query: bool = False


def fhir_router(
    reader: Reader, *, servers: Sequence[str], tokens: Mapping[str, str], max_bytes: int, records: Records
) -> APIRouter:
    """The routes of FHIR. `servers` are what documents are fetched from, `tokens` what some of them are shown."""
    router = APIRouter(prefix=FHIR_PREFIX, include_in_schema=False)
    fetcher = Fetcher(servers, max_bytes=2 * max_bytes, tokens=tokens)
    since = datetime.now(UTC)

    @router.post(f"/{KIND}/$check")
    async def check(request: Request, who: Annotated[Principal, Depends(require("fhir"))]) -> Response:
        body = await request.body()

        def checked() -> Response:
            _refuse_other_forms(request)
            asked = _asked(body)
            document = read_document(asked.document, fetcher, max_bytes=max_bytes)
            report = reader.analyze(_note(document, asked))
            records.report(report, who, "fhir")
            return _resource(_bundle(report, asked, reader.knowledge, superseded=document.superseded))

        return await _guarded(checked)

    @router.get("/metadata")
    async def metadata(request: Request) -> Response:
        def stated() -> Response:
            _refuse_other_forms(request)
            return _resource(_capabilities(since, f"{request.url.scheme}://{request.headers.get('host', '')}"))

        return await _guarded(stated)

    @router.get(f"/OperationDefinition/{KIND}-check")
    async def definition(request: Request) -> Response:
        def defined() -> Response:
            _refuse_other_forms(request)
            return _resource(_definition())

        return await _guarded(defined)

    @router.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def nothing(path: str) -> Response:
        return outcome(HTTPStatus.NOT_FOUND, f"Nothing of this kind is served; {FHIR_PREFIX}/metadata says what is.")

    return router


async def _guarded(make: Callable[[], Response]) -> Response:
    try:
        return await run_in_threadpool(make)
    except RefusedError as error:
        return outcome(error.status, str(error))
    except FetchError as error:
        return outcome(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    except (NoteError, UsageError) as error:
        return outcome(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    except (DataError, KnowledgeError):
        return outcome(HTTPStatus.INTERNAL_SERVER_ERROR, "notegap's own files are damaged; nothing was checked.")


# ── what is asked ───────────────────────────────────────────────────────────────────────────────


def _refuse_other_forms(request: Request) -> None:
    """FHIR's JSON comes in and goes out, and no other form of it."""
    wanted = request.query_params.get("_format")
    if wanted is None:
        accepted = {_kind(each) for each in request.headers.get("accept", "*/*").split(",")}
        is_wanted = bool(accepted & _ACCEPTED)
    else:
        # A plus sign in a query is a space.
        is_wanted = wanted.replace(" ", "+") in _FORMATS
    if not is_wanted:
        raise RefusedError(HTTPStatus.NOT_ACCEPTABLE, f"Answers are {FHIR_JSON}.")
    if request.method == "POST" and _kind(request.headers.get("content-type", "")) not in _SENT:
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"What is sent has to be {FHIR_JSON}.")


def _kind(media_type: str) -> str:
    return media_type.partition(";")[0].strip().lower()


def _asked(body: bytes) -> Asked:
    resource = mapping(parsed(body))
    kind = resource.get("resourceType")
    if kind == KIND:
        return Asked(document=resource)
    if kind != "Parameters":
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"The body has to be a {KIND}, or Parameters with one.")
    given: dict[str, list[Any]] = {name: [] for name, *_ in _PARAMETERS}
    for parameter in objects(resource.get("parameter")):
        name = parameter.get("name")
        if name not in given:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"A parameter is not known; known are {', '.join(given)}.")
        given[name].append(_value(parameter))
    many = [name for name, _, most, _ in _PARAMETERS if most == "1" and len(given[name]) > 1]
    if many or not given["document"]:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"{many[0] if many else 'document'} has to be given once.")
    codes, claim, setting, query = (given[name] for name in ("code", "claim", "setting", "query"))
    if not all(isinstance(each, dict) for each in given["document"]):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"document has to be a {KIND}.")
    if not all(isinstance(each, str) for each in (*codes, *claim)) or len(codes) + len(claim) > _MOST_CODES:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"code and claim are codes, at most {_MOST_CODES} together.")
    if setting and setting[0] not in set(Setting):
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"setting has to be one of {', '.join(Setting)}.")
    if query and not isinstance(query[0], bool):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "query has to be a boolean.")
    return Asked(
        document=given["document"][0],
        codes=_normalized(codes),
        claim=_normalized(claim) if claim else None,
        setting=Setting(setting[0]) if setting else Setting.OUTPATIENT,
        query=bool(query and query[0]),
    )


def _normalized(codes: Sequence[str]) -> tuple[str, ...]:
    try:
        return tuple(normalize(code) for code in codes)
    except UsageError:
        pass  # it quotes the code, which may be anything
    raise RefusedError(HTTPStatus.BAD_REQUEST, "A code is not shaped like one: codes look like M24.28 or M53.2X6.")


def _value(parameter: Resource) -> object:
    if "resource" in parameter:
        return parameter["resource"]
    return next((parameter[name] for name in ("valueCode", "valueString", "valueBoolean") if name in parameter), None)


def _note(document: Document, asked: Asked) -> Note:
    return Note(
        id=document.id or NAMELESS,
        text=document.text,
        codes=asked.codes,
        claim_codes=asked.claim,
        setting=asked.setting,
        date_of_service=document.day,
        parts=document.parts,
    )


# ── what is answered ────────────────────────────────────────────────────────────────────────────


def _bundle(report: Report, asked: Asked, knowledge: Knowledge, *, superseded: bool) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    document = _document_reference(report, asked)
    findings = [finding for check in report.checks for finding in check.findings if finding.is_open]
    issues = [_entry(_issue(finding, report, document, asked, now)) for finding in findings]
    targets = [{"reference": issue["fullUrl"]} for issue in issues] or [document]
    entries = [*issues, _entry(_provenance(targets, document, report, knowledge, now))]
    remarks = [_remark(check) for check in report.checks] or [
        ("warning", "Nothing was checked: no code is asked for or written in the note, and its facts point to none.")
    ]
    if superseded:
        remarks.append(
            ("warning", "The document is marked as superseded: what is said here is of it, not of its successor.")
        )
    if asked.query:
        sheet = compose_sheet(report, knowledge)
        if sheet.queries:
            entries.append(_entry(json.loads(FORMATS["fhir"](sheet))))
        else:
            remarks.append(("information", "There is nothing to ask the author of the note."))
    entries.append(_entry(_said(remarks)))
    return {"resourceType": "Bundle", "type": "collection", "timestamp": now, "entry": entries}


def _entry(resource: dict[str, Any]) -> dict[str, Any]:
    return {"fullUrl": f"urn:uuid:{uuid4()}", "resource": resource}


def _document_reference(report: Report, asked: Asked) -> dict[str, Any]:
    """Which document it was: by its id when it has one, and by its text."""
    digest = hashlib.sha256(report.note.text.encode("utf-8", "replace")).hexdigest()
    shape: dict[str, Any] = {"type": KIND, "identifier": {"system": NOTE_HASH, "value": digest}}
    if report.note.id != NAMELESS:
        shape["reference"] = f"{KIND}/{report.note.id}"
    return shape


def _issue(finding: Finding, report: Report, document: Mapping[str, Any], asked: Asked, now: str) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "resourceType": "DetectedIssue",
        # No person has looked at it.
        "status": "preliminary",
        "code": {"coding": [{"system": FINDINGS, "code": finding.id}], "text": finding.message},
        "severity": _severity(finding),
        "identifiedDateTime": now,
        "author": _author(),
        "implicated": [document],
        "detail": " ".join(part for part in (finding.message, finding.ask, finding.why) if part),
    }
    patient = mapping(asked.document.get("subject")).get("reference")
    if isinstance(patient, str) and _REFERENCE.fullmatch(patient):
        shape["patient"] = {"reference": patient}
    if finding.evidence:
        shape["evidence"] = [_evidence(evidence, report.note, document) for evidence in finding.evidence]
    return shape


def _severity(finding: Finding) -> str:
    """Never "high", which FHIR keeps for danger to life."""
    weighs = finding.severity is Severity.REQUIRED or finding.alert is AlertKind.CONFLICT
    return "moderate" if weighs else "low"


def _evidence(evidence: Evidence, note: Note, document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "extension": [
            {
                "url": RANGE,
                "extension": [
                    {"url": "start", "valueInteger": evidence.start},
                    {"url": "end", "valueInteger": evidence.end},
                ],
            },
            *({"url": PART, "extension": list(_said_of(part))} for part in note.parts_at(evidence.start)),
        ],
        "code": [{"text": evidence.text}],
        "detail": [document],
    }


def _said_of(part: Part) -> Iterator[dict[str, Any]]:
    """What a part is, as extensions; FHIR has no empty strings."""
    for name, value in asdict(part).items():
        if isinstance(value, int):
            yield {"url": name, "valueInteger": value}
        elif value.strip():
            yield {"url": name, "valueString": value}


def _provenance(
    targets: Sequence[Mapping[str, Any]], document: Mapping[str, Any], report: Report, knowledge: Knowledge, now: str
) -> dict[str, Any]:
    rules = {"identifier": {"system": KNOWLEDGE, "value": knowledge.version}, "display": report.code_set}
    return {
        "resourceType": "Provenance",
        "target": list(targets),
        "recorded": now,
        "activity": {"text": "Check of a clinical note for what its codes ask of it"},
        "agent": [
            {
                "type": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
                            "code": "assembler",
                        }
                    ]
                },
                "who": _author(),
            }
        ],
        "entity": [{"role": "source", "what": document}, {"role": "source", "what": rules}],
    }


def _author() -> dict[str, str]:
    return {"type": "Device", "display": f"notegap {notegap.__version__}"}


def _remark(check: CodeCheck) -> tuple[str, str]:
    """How a code came off: that nothing is found must not be all that tells it from one that was not checked."""
    if check.complete:
        return "information", f"{check.code}: complete, {count(check.met, 'requirement')} met."
    if not any(finding.kind == "requirement" for finding in check.findings):
        raised = f" {count(check.raised, 'alert')} raised." if check.raised else ""
        return "warning", f"{check.code}: no checklist covers it; only what the code set says was checked.{raised}"
    met, open_, raised = count(check.met, "requirement"), count(check.open, "gap"), count(check.raised, "alert")
    return "information", f"{check.code}: not complete, {met} met, {open_}, {raised} raised."


def _said(remarks: Sequence[tuple[str, str]]) -> dict[str, Any]:
    issues = [{"severity": how, "code": "informational", "diagnostics": text} for how, text in remarks]
    return {"resourceType": "OperationOutcome", "issue": issues}


def _resource(resource: Mapping[str, Any]) -> Response:
    return Response(json.dumps(resource, ensure_ascii=False), media_type=FHIR_JSON)


# ── what is served ──────────────────────────────────────────────────────────────────────────────


def _capabilities(since: datetime, address: str) -> dict[str, Any]:
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": since.isoformat(timespec="seconds"),
        "kind": "instance",
        "software": {"name": "notegap", "version": notegap.__version__},
        "implementation": {
            "description": "Says what a clinical note still has to document before its ICD-10-CM codes are supported",
            "url": f"{address}{FHIR_PREFIX}",
        },
        "fhirVersion": "4.0.1",
        "format": [FHIR_JSON],
        "rest": [
            {
                "mode": "server",
                "resource": [
                    {"type": KIND, "operation": [{"name": "check", "definition": OPERATION}]},
                    {"type": "OperationDefinition", "interaction": [{"code": "read"}]},
                ],
            }
        ],
    }


def _definition() -> dict[str, Any]:
    return {
        "resourceType": "OperationDefinition",
        "id": f"{KIND}-check",
        "url": OPERATION,
        "name": "Check",
        "title": "Check a document",
        "status": "active",
        "kind": "operation",
        "affectsState": False,
        "code": "check",
        "resource": [KIND],
        "system": False,
        "type": True,
        "instance": False,
        "parameter": [
            *(
                {
                    "name": name,
                    "use": "in",
                    "min": int(name == "document"),
                    "max": most,
                    "documentation": documentation,
                    "type": kind,
                }
                for name, kind, most, documentation in _PARAMETERS
            ),
            {
                "name": "return",
                "use": "out",
                "min": 1,
                "max": "1",
                "documentation": "A DetectedIssue for each open finding, Provenance, what was checked, any query.",
                "type": "Bundle",
            },
        ],
    }
