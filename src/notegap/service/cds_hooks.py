"""CDS Hooks 2.0: a system tells what a clinician is about to do, and gets back what the note still has to say.

A call is answered with cards or with a failure. Without a card it says: the note was read and lacks nothing, or no code
that notegap knows was asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from fastapi import APIRouter, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from notegap.errors import NoteError
from notegap.model import Finding, Knowledge, Note, Report, Setting, Status
from notegap.query import Query, compose_sheet, text_query
from notegap.report.cards import OVERRIDE_REASONS, SYSTEM, Card, as_dict, cards, plain_card
from notegap.report.lines import count
from notegap.service.cds_codes import asked_codes
from notegap.service.cds_jwt import CdsClient, Seen, TokenError, Verifier
from notegap.service.cds_notes import MOST_NOTES, Chosen, chosen_notes, is_of_another
from notegap.service.documents import (
    KIND,
    NAMELESS,
    Document,
    Resource,
    mapping,
    read_document,
    resource_id,
)
from notegap.service.feedback import Feedback, FeedbackStore, Issued
from notegap.service.fetch import Fetcher, is_loopback
from notegap.service.page.router import Reader
from notegap.service.principal import LOCAL, PRINCIPAL, Principal
from notegap.service.problems import RefusedError, problem
from notegap.service.records import Records

PREFIX = "/cds-services"
"""Where everything of CDS Hooks lies."""

LABEL = "notegap"
_INPATIENT = frozenset({"IMP", "ACUTE", "NONAC"})
_NEWEST_NOTES = (
    "DocumentReference?patient={{context.patientId}}&category=clinical-note&status=current&_sort=-date&_count=10"
)
_ENCOUNTERS_NOTES = (
    "DocumentReference?patient={{context.patientId}}&encounter={{context.encounterId}}&category=clinical-note"
    f"&status=current&_sort=-date&_count={MOST_NOTES}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CdsConfig:
    """Who may call, from where, and what may be fetched.

    `base_url` is the address the service is known by, without which no token can be for it. Without `clients` nothing
    is verified, which only a service that listens on this machine alone does. `origins` are the web applications that
    may call from a browser, `servers` those that a document may be fetched from.
    """

    base_url: str = ""
    clients: tuple[CdsClient, ...] = ()
    origins: frozenset[str] = frozenset()
    servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service. `holds` is the field of the context that it is about, of which kind, whether it has to be there."""

    id: str
    hook: str
    title: str
    description: str
    holds: tuple[str, str] | None = None
    needs: tuple[str, ...] = ("userId", "patientId")
    prefetch: Mapping[str, str] = field(default_factory=dict)


SERVICES: Mapping[str, Service] = MappingProxyType(
    {
        service.id: service
        for service in (
            Service(
                id="notegap-document-sign",
                hook="org.notegap.documentreference-sign",
                title="What a note still has to say, as it is signed",
                description="Reads the note in context.document and says what its ICD-10-CM spine codes still lack.",
                holds=("document", KIND),
                prefetch={"encounter": "Encounter/{{context.encounterId}}"},
            ),
            Service(
                id="notegap-problem-list",
                hook="problem-list-item-create",
                title="Whether the note supports a problem that is added",
                description="Checks the newest note, of the encounter if there is one, for what the ICD-10-CM codes of "
                "the new conditions ask of it.",
                holds=("conditions", "Bundle"),
                prefetch={"notes": _NEWEST_NOTES},
            ),
            Service(
                id="notegap-order-sign",
                hook="order-sign",
                title="Whether the note supports the reason of an order",
                description="Checks the newest note, of the encounter if there is one, for what the ICD-10-CM codes of "
                "the orders' reasons ask of it.",
                holds=("draftOrders", "Bundle"),
                prefetch={"notes": _NEWEST_NOTES},
            ),
            Service(
                id="notegap-encounter-discharge",
                hook="encounter-discharge",
                title="What the notes of an encounter still have to say",
                description="Checks the encounter's notes for what its ICD-10-CM spine codes ask of them.",
                needs=("userId", "patientId", "encounterId"),
                prefetch={
                    "notes": _ENCOUNTERS_NOTES,
                    "conditions": "Condition?encounter={{context.encounterId}}&category=encounter-diagnosis",
                    "encounter": "Encounter/{{context.encounterId}}",
                },
            ),
        )
    }
)
"""Id → service."""


_Body = TypeVar("_Body", bound=BaseModel)


class Authorization(BaseModel):
    """How the client's FHIR server may be asked."""

    model_config = ConfigDict(hide_input_in_errors=True)

    access_token: str = Field(repr=False)
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a kind of token


class Call(BaseModel):
    """The body of a call; what else is in it is left alone."""

    model_config = ConfigDict(hide_input_in_errors=True)

    hook: str
    hookInstance: UUID  # noqa: N815 - as the specification spells it
    context: dict[str, Any] = Field(repr=False)
    fhirServer: str | None = None  # noqa: N815
    fhirAuthorization: Authorization | None = None  # noqa: N815
    prefetch: dict[str, Any] = Field(default_factory=dict, repr=False)


class _Coding(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    code: str
    system: str = ""


class _Override(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    reason: _Coding | None = None
    userComment: str = Field(default="", repr=False)  # noqa: N815


class _Accepted(BaseModel):
    id: UUID


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        # At either end of the calendar, where UTC has no such day.
        raise ValueError("no such moment") from None


class _Told(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    card: UUID
    outcome: Literal["accepted", "overridden"]
    outcomeTimestamp: Annotated[AwareDatetime, AfterValidator(_in_utc)]  # noqa: N815
    acceptedSuggestions: list[_Accepted] = []  # noqa: N815
    overrideReason: _Override | None = None  # noqa: N815


class FeedbackCall(BaseModel):
    """The body of feedback."""

    model_config = ConfigDict(hide_input_in_errors=True)

    feedback: list[_Told] = Field(max_length=1_000, repr=False)


def cds_router(
    reader: Reader,
    config: CdsConfig,
    *,
    hosts: Iterable[str],
    max_bytes: int,
    feedback: FeedbackStore,
    seen: Seen,
    records: Records,
    open_to_all: bool = True,
) -> APIRouter:
    """The routes of CDS Hooks. `feedback` keeps what becomes of cards, `seen` which tokens were used.

    `open_to_all`: whoever reaches this machine only may call. Else a call is signed, or has an API key or a token of
    the scope "cds".
    """
    router = APIRouter(include_in_schema=False)
    # Keys are short; they come from where the clients' entries say and from nowhere else.
    keys = Fetcher([client.jku for client in config.clients if client.jku], max_bytes=max_bytes)
    verifier = Verifier(config.clients, seen, keys)
    notes = Fetcher(config.servers, max_bytes=2 * max_bytes)
    places = [*hosts, *([urlsplit(config.base_url).netloc] if config.base_url else [])]
    # Nobody but this machine can ask, or every call is signed.
    unsigned = open_to_all and not config.clients and all(is_loopback(place) for place in places)

    def caller(request: Request) -> Principal:
        who = request.scope.get(PRINCIPAL)
        if unsigned:
            return LOCAL
        if isinstance(who, Principal) and who is not LOCAL:
            if not who.may("cds"):
                raise RefusedError(HTTPStatus.FORBIDDEN, "Who asks is known, and may not call the CDS Hooks.")
            return who
        address = _base(request, config) + request.url.path
        return verifier.verify(request.headers.get("authorization", ""), address).principal

    def known(service: str) -> Service:
        if service not in SERVICES:
            raise RefusedError(
                HTTPStatus.NOT_FOUND, "There is no such service; the discovery endpoint lists those there are."
            )
        return SERVICES[service]

    def call(request: Request, service: str, body: bytes) -> Response:
        who, asked = caller(request), known(service)
        made, reports = answer(asked, _parsed(Call, body), reader, notes, max_bytes=max_bytes)
        for report in reports:
            records.report(report, who, "cds")
        feedback.issue(
            Issued(tenant=who.tenant, client=who.client, service=service, card=card.uuid, rules=card.findings)
            for card in made
        )
        url = f"{_base(request, config)}/"
        return JSONResponse({"cards": [as_dict(card, label=LABEL, url=url) for card in made]})

    def told(request: Request, service: str, body: bytes) -> Response:
        who, asked = caller(request), known(service)
        for each in _feedback(_parsed(FeedbackCall, body), who, asked.id):
            feedback.put(each)
        return JSONResponse({})

    @router.get(PREFIX)
    async def discovery(request: Request) -> Response:
        def listed() -> Response:
            caller(request)
            return JSONResponse({"services": [_described(service) for service in SERVICES.values()]})

        return await _guarded(listed)

    @router.post(PREFIX + "/{service}")
    async def called(request: Request, service: str) -> Response:
        body = await request.body()
        return await _guarded(lambda: call(request, service, body))

    @router.post(PREFIX + "/{service}/feedback")
    async def took(request: Request, service: str) -> Response:
        body = await request.body()
        return await _guarded(lambda: told(request, service, body))

    return router


def answer(
    service: Service, call: Call, reader: Reader, fetcher: Fetcher, *, max_bytes: int
) -> tuple[tuple[Card, ...], tuple[Report, ...]]:
    """The cards for one call, and the reports they are made from. Raises RefusedError when it cannot be answered."""
    _refuse_misfit(service, call)
    asked = asked_codes(service.hook, call.context, call.prefetch, needed="conditions" in service.prefetch)
    codes = tuple(code for code in asked.codes if reader.knowledge.checklist(code) is not None)
    extra = (
        *((_misshapen(asked.misshapen),) if asked.misshapen else ()),
        *((_unresolved(asked.unresolved),) if asked.unresolved else ()),
    )
    if service.hook in ("problem-list-item-create", "order-sign") and not codes:
        return extra, ()
    chosen = _chosen(service, call)
    extra = (*extra, *_told_of(chosen))
    documents, unread = _read(chosen.references, call, fetcher, max_bytes)
    if not documents:
        return (*extra, _no_note(codes, others=chosen.others)), ()
    if any(document.superseded for document in documents):
        extra = (*extra, _superseded())
    extra = (*extra, *((_unread(unread, len(documents) + unread),) if unread else ()))
    setting, unknown = _setting(service, call)
    reports = [reader.analyze(_note(document, codes, setting)) for document in documents]
    first = next((report for report in reports if report.checks), None)
    if first is None:
        return extra, tuple(reports)
    extra = (*extra, *((_no_encounter(),) if unknown else ()))
    if not codes and len(reports) > 1:
        # The codes that one note carries are asked of all of them.
        codes = tuple(check.code for check in first.checks)
        reports = [
            report if report is first else reader.analyze(_note(document, codes, setting))
            for report, document in zip(reports, documents, strict=True)
        ]
    queries = _Queries(first, reader.knowledge, call)
    others = [report for report in reports if report is not first]
    shown = cards(first, settled=_with(Status.MET, others), suggesting=queries.suggestions)
    # What one note raises stands, whatever the others say.
    for number, other in enumerate(others):
        raised = _with(Status.RAISED, [first, *others[:number]])
        shown = (*shown, *cards(other, settled=raised, alerts_only=True))
    return (*shown, *extra), tuple(reports)


def _with(status: Status, reports: Iterable[Report]) -> frozenset[str]:
    """The ids of the findings that have `status` in one of `reports`."""
    findings = (finding for report in reports for check in report.checks for finding in check.findings)
    return frozenset(finding.id for finding in findings if finding.status is status)


# ── the request ─────────────────────────────────────────────────────────────────────────────────


def _parsed(shape: type[_Body], body: bytes) -> _Body:
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        # Of each mistake only which field: the rest quotes what was sent.
        places = {each["loc"][0] for each in error.errors(include_input=False, include_context=False) if each["loc"]}
    fields = sorted(place for place in places if isinstance(place, str))
    where = f": {', '.join(fields)} is missing or wrong" if fields else ""
    raise RefusedError(HTTPStatus.BAD_REQUEST, f"The body is not what CDS Hooks asks for{where}.")


def _refuse_misfit(service: Service, call: Call) -> None:
    if call.hook != service.hook:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"This service is for the hook {service.hook}.")
    if call.fhirAuthorization is not None and not call.fhirServer:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "fhirAuthorization needs a fhirServer.")
    for name in service.needs:
        if not isinstance(call.context.get(name), str) or not call.context[name]:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"The context lacks {name}.")
    if service.holds is not None:
        name, kind = service.holds
        if mapping(call.context.get(name)).get("resourceType") != kind:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"The context lacks {name}, a {kind}.")


def _chosen(service: Service, call: Call) -> Chosen:
    """The notes to read. Raises when they were not fetched, or the one that is signed is another patient's."""
    if "notes" in service.prefetch:
        return chosen_notes(call.context, call.prefetch, whole_encounter=service.hook == "encounter-discharge")
    document = mapping(call.context["document"])
    if is_of_another(document, call.context["patientId"]):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "The document is about another patient than the context.")
    return Chosen(references=(document,))


def _read(references: Sequence[Resource], call: Call, fetcher: Fetcher, max_bytes: int) -> tuple[list[Document], int]:
    """The notes that can be read and how many cannot. Raises when none of several, or the only one, can be."""
    server, token = call.fhirServer or "", call.fhirAuthorization.access_token if call.fhirAuthorization else ""
    documents: list[Document] = []
    unread, why = 0, ""
    for reference in references:
        try:
            documents.append(read_document(reference, fetcher, max_bytes=max_bytes, server=server, token=token))
        except NoteError as error:
            unread, why = unread + 1, str(error)
    if unread and not documents:
        raise RefusedError(HTTPStatus.PRECONDITION_FAILED, f"No note could be read. {why}")
    return documents, unread


def _setting(service: Service, call: Call) -> tuple[Setting, bool]:
    """The setting that the encounter says, and whether it cannot be told: there is one, and it could not be had."""
    given = call.prefetch.get("encounter")
    encounter = mapping(given)
    if encounter.get("resourceType") != "Encounter":
        unknown = given is not None or ("encounter" in service.prefetch and bool(call.context.get("encounterId")))
        return Setting.OUTPATIENT, unknown
    kind = mapping(encounter.get("class")).get("code")
    return (Setting.INPATIENT if kind in _INPATIENT else Setting.OUTPATIENT), False


def _note(document: Document, codes: tuple[str, ...], setting: Setting) -> Note:
    return Note(
        id=document.id or NAMELESS,
        text=document.text,
        codes=codes,
        setting=setting,
        date_of_service=document.day,
        parts=document.parts,
    )


def _feedback(call: FeedbackCall, who: Principal, service: str) -> Iterator[Feedback]:
    for told in call.feedback:
        if told.outcome == "accepted" and not told.acceptedSuggestions:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "What is accepted has acceptedSuggestions.")
        why = told.overrideReason
        if why is not None and why.reason is None and not why.userComment:
            raise RefusedError(HTTPStatus.BAD_REQUEST, "An overrideReason has a reason or a userComment.")
    for told in call.feedback:
        why = told.overrideReason
        yield Feedback(
            tenant=who.tenant,
            client=who.client,
            service=service,
            card=str(told.card),
            outcome=told.outcome,
            at=told.outcomeTimestamp,
            suggestions=tuple(str(each.id) for each in told.acceptedSuggestions),
            reason=_reason(why.reason) if why is not None and why.reason is not None else "",
            comment=why.userComment if why is not None else "",
        )


def _reason(coding: _Coding) -> str:
    """The code of one of our reasons; the clients' own are not told apart, since theirs may be anything."""
    return coding.code if coding.system == SYSTEM and coding.code in OVERRIDE_REASONS else "other"


# ── the answer ──────────────────────────────────────────────────────────────────────────────────


class _Queries:
    """The query for each finding that one is called for, offered with the first card it would answer."""

    def __init__(self, report: Report, knowledge: Knowledge, call: Call) -> None:
        self._queries = {
            finding: query for query in compose_sheet(report, knowledge).queries for finding in query.findings
        }
        self._call = call
        self._offered: set[str] = set()

    def suggestions(self, finding: Finding) -> Sequence[Mapping[str, Any]]:
        query = self._queries.get(finding.id)
        if query is None or query.id in self._offered:
            return ()
        self._offered.add(query.id)
        return (
            {
                "label": "Put this question to the author of the note",
                "uuid": str(uuid4()),
                "isRecommended": False,
                "actions": [
                    {
                        "type": "create",
                        "description": "Create a task that asks the author of the note.",
                        "resource": _task(query, self._call),
                    }
                ],
            },
        )


def _task(query: Query, call: Call) -> dict[str, Any]:
    """A query as a FHIR R4 Task."""
    context = call.context
    return {
        "resourceType": "Task",
        "status": "draft",
        "intent": "proposal",
        "code": {"text": query.title},
        "description": text_query(query),
        "authoredOn": datetime.now(UTC).isoformat(timespec="seconds"),
        **_referring("for", "Patient", context["patientId"]),
        **_referring("encounter", "Encounter", context.get("encounterId")),
        **_referring("focus", KIND, query.note_id if query.note_id != NAMELESS else None),
    }


def _referring(field_: str, kind: str, id_: object) -> dict[str, Any]:
    """A field that refers to a resource, when there is an id that FHIR allows."""
    return {field_: {"reference": f"{kind}/{id_}"}} if resource_id({"id": id_}) else {}


def _no_note(codes: Sequence[str], *, others: int) -> Card:
    return plain_card(
        f"{', '.join(codes)}: not checked, there is no note" if codes else "Nothing was checked: there is no note",
        "No current clinical note that could be checked was found."
        + (
            f" {count(others, 'note')} of other encounters {'was' if others == 1 else 'were'} not read."
            if others
            else ""
        ),
        indicator="warning",
    )


def _told_of(chosen: Chosen) -> Iterator[Card]:
    """What of the notes was not read, and why."""
    if chosen.strangers:
        yield plain_card(
            f"Not checked: {count(chosen.strangers, 'note')} about another patient",
            "The search for this patient's notes gave what says that it is about somebody else.",
            indicator="warning",
        )
    if chosen.left:
        yield plain_card(
            f"Not checked: the {count(chosen.left, 'oldest note')} of the encounter",
            f"The {MOST_NOTES} newest were read. What only an older note documents may be asked for here.",
            indicator="warning",
        )
    if chosen.more:
        yield plain_card(
            "The encounter may have more notes than were checked",
            "The search for its notes gave them in pages, of which the first was sent.",
            indicator="warning",
        )
    if chosen.elsewhere:
        yield plain_card(
            "Checked: the newest note, which is of another encounter",
            "No note that was sent is of this encounter.",
        )


def _unread(unread: int, of: int) -> Card:
    return plain_card(
        f"{unread} of {of} notes could not be read",
        "What they say was not checked. Text, HTML, RTF, Word, PDF and C-CDA can be read, a scan cannot.",
        indicator="warning",
    )


def _no_encounter() -> Card:
    return plain_card(
        "Checked as an outpatient's note: the encounter is not known",
        "The encounter could not be had. If it is an inpatient's, a diagnosis that the note calls probable or "
        "suspected may be coded, and fewer items are open.",
    )


def _superseded() -> Card:
    return plain_card(
        "Checked: a note that another one has replaced",
        "The document is marked as superseded. What is said here is of it, and not of the one that replaced it.",
    )


def _misshapen(number: int) -> Card:
    return plain_card(
        f"Not checked: {number} of the codes sent as ICD-10-CM",
        "They are not shaped like one: codes look like M24.28 or M53.2X6.",
        indicator="warning",
    )


def _unresolved(number: int) -> Card:
    return plain_card(
        f"Not checked: {count(number, 'reason')} that orders only refer to",
        "An order gives as its reason a condition that was not sent with it. It is read when it stands among the "
        "draft orders or in the order itself, or when its code is the order's reasonCode.",
        indicator="warning",
    )


def _described(service: Service) -> dict[str, Any]:
    shape: dict[str, Any] = {
        "hook": service.hook,
        "title": service.title,
        "description": service.description,
        "id": service.id,
    }
    if service.prefetch:
        shape["prefetch"] = dict(service.prefetch)
    return shape


def _base(request: Request, config: CdsConfig) -> str:
    # The host is one of ours: the guard refuses any other.
    return config.base_url.rstrip("/") or f"http://{request.headers.get('host', '')}"


async def _guarded(make: Callable[[], Response]) -> Response:
    try:
        return await run_in_threadpool(make)
    except RefusedError as error:
        return problem(error.status, str(error))
    except TokenError as error:
        return problem(HTTPStatus.UNAUTHORIZED, str(error), headers={"WWW-Authenticate": "Bearer"})
