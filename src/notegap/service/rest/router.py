"""The routes of /v1. Notes come in bodies, never in an address; work for the processor is done off the event loop."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from notegap.errors import UsageError
from notegap.icd10cm import CodeSet
from notegap.model import Knowledge, Mention, Note, Report
from notegap.notes.document import RowError
from notegap.query import FORMATS, SHOWN, compose_sheet
from notegap.report.json import as_dict, mentions_as_dict
from notegap.service.access import require
from notegap.service.clients import client_of
from notegap.service.principal import Principal
from notegap.service.put_by import PutBy
from notegap.service.records import KEPT, Records
from notegap.service.rest import answered
from notegap.service.rest.asked import NOTE, AskedNote, AskedQuery, note_of
from notegap.service.rest.batches import MOST_NOTES, Batches, Progress, rows_of
from notegap.service.rest.codes import code_details, codes_found
from notegap.service.rest.document import PROBLEM
from notegap.service.shelf import Shelf

JSON_LINES = "application/jsonl"
_LINES = frozenset({JSON_LINES, "application/x-ndjson", "application/ndjson", "application/x-jsonlines"})
_MEDIA: Mapping[str, str] = MappingProxyType(
    {
        "json": "application/json",
        "text": "text/plain",
        "markdown": "text/markdown",
        "fhir": "application/fhir+json",
    }
)


class Reader(Protocol):
    """What the routes need of an analyzer."""

    codes: CodeSet
    knowledge: Knowledge

    def analyze(self, note: Note) -> Report:
        """As `Analyzer.analyze`."""

    def analyze_later(self, note: Note) -> Report:
        """As `analyze`, behind those that somebody waits for."""

    def extract(self, note: Note) -> tuple[Mention, ...]:
        """As `Analyzer.extract`."""


async def _json_only(request: Request) -> None:
    # Not in a thread of its own: it would cost more than what it does.
    if _media_type(request) != "application/json":
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, and say so: `Content-Type: application/json`."
        )


NO_CODE = (
    "No code was given, none is written in the note, and its facts point to none that has a checklist; give one in "
    "`codes`."
)
_KEPT_HEADER: dict[str, Any] = {
    KEPT: {
        "description": "The id under which the report is kept, where one is: that of /v1/reports/{kept_id}.",
        "schema": {"type": "string"},
    }
}
_BATCH_EXAMPLE = [
    {"id": "visit-1", "text": NOTE, "codes": ["M24.28"]},
    {"id": "visit-2", "text": "Neck pain for a week."},
]


def rest_router(
    reader: Reader, *, records: Records, shelf: Shelf, put_by: PutBy, max_bytes: int, keep_seconds: float
) -> tuple[APIRouter, Batches]:
    """The routes, and the batches behind some of them, which are to be stopped with the application."""

    def record(outcome: Report | RowError, who: Principal) -> None:
        if isinstance(outcome, RowError):
            records.failed()
        else:
            records.report(outcome, who, "batch")

    batches = Batches(shelf, analyze=reader.analyze_later, record=record, seconds=keep_seconds, put_by=put_by)
    router = APIRouter(prefix="/v1")
    _add_notes(router, reader, records, max_bytes)
    _add_codes(router, reader)
    _add_batches(router, batches, max_bytes)
    return router, batches


def _add_notes(router: APIRouter, reader: Reader, records: Records, max_bytes: int) -> None:
    def analyze(asked: AskedNote, who: Principal, action: str) -> tuple[Report, dict[str, str]]:
        """The report, and the header that says what is kept of it."""
        report = reader.analyze(note_of(asked, max_bytes=max_bytes))
        kept = records.report(report, who, action)
        return report, {KEPT: kept} if kept is not None else {}

    needs_json = [Depends(_json_only)]

    @router.post(
        "/check",
        tags=["notes"],
        summary="Check a note",
        dependencies=needs_json,
        responses={200: {"model": answered.Report, "description": "The report.", "headers": _KEPT_HEADER}},
    )
    def check(asked: AskedNote, who: Annotated[Principal, Depends(require("check"))]) -> Response:
        """What the note still has to document before each of its codes is supported, and the quotes that decide."""
        report, headers = analyze(asked, who, "check")
        return _json(as_dict(report), headers=headers)

    @router.post(
        "/extract",
        tags=["notes"],
        summary="Read a note",
        dependencies=needs_json,
        responses={200: {"model": answered.Mentions, "description": "The facts, in the order of the note."}},
    )
    def extract(asked: AskedNote, who: Annotated[Principal, Depends(require("extract"))]) -> Response:
        """Every fact the note states: what, how it stands, what it is tied to, its quote."""
        note = note_of(asked, max_bytes=max_bytes)
        mentions = reader.extract(note)
        records.read(note, who, "extract")
        return _json(mentions_as_dict(note, mentions))

    @router.post(
        "/query",
        tags=["notes"],
        summary="Write the queries a note calls for",
        dependencies=needs_json,
        responses={
            200: {
                "model": answered.Sheet,
                "description": "The queries, in the format asked for.",
                "headers": _KEPT_HEADER,
                "content": {media: {"schema": {"type": "string"}} for media in ("text/plain", "text/markdown")}
                | {"application/fhir+json": {"schema": {"type": "object"}}},
            },
            409: PROBLEM | {"description": "There is no code to check the note against."},
        },
    )
    def query(asked: AskedQuery, who: Annotated[Principal, Depends(require("query"))]) -> Response:
        """Open questions to the provider, those first whose answer changes most."""
        report, headers = analyze(asked, who, "query")
        if not report.checks:
            # An empty sheet would say that nothing is open, of a note that was not checked.
            raise HTTPException(HTTPStatus.CONFLICT, NO_CODE, headers=headers)
        sheet = compose_sheet(report, reader.knowledge, shown=None if asked.all else SHOWN)
        return Response(FORMATS[asked.format](sheet), media_type=_MEDIA[asked.format], headers=headers)


def _add_codes(router: APIRouter, reader: Reader) -> None:
    @router.get(
        "/codes",
        tags=["codes"],
        summary="Find codes",
        dependencies=[Depends(require("codes"))],
        responses={200: {"model": answered.CodeList, "description": "The codes found."}},
    )
    def search(
        q: Annotated[str, Query(max_length=200, description="The start of a code, or words of its title.")] = "",
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> Response:
        """Codes by a part of their number or title; without `q`, those that have a checklist."""
        return _json(codes_found(q, limit, reader.codes, reader.knowledge))

    @router.get(
        "/codes/{code}",
        tags=["codes"],
        summary="Explain a code",
        dependencies=[Depends(require("codes"))],
        responses={200: {"model": answered.CodeDetails, "description": "The code."}},
    )
    def explain(code: Annotated[str, Path(max_length=20, examples=["M24.28"])]) -> Response:
        """What the tabular says of a code, and what its checklist asks for."""
        try:
            details = code_details(code, reader.codes, reader.knowledge)
        except UsageError:
            details = None
        if details is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"{reader.codes.release} has no such code.")
        return _json(details)


def _add_batches(router: APIRouter, batches: Batches, max_bytes: int) -> None:
    may = [Depends(require("batch"))]

    @router.post(
        "/batches",
        tags=["batches"],
        summary="Hand over many notes",
        status_code=HTTPStatus.ACCEPTED,
        responses={
            202: {
                "model": answered.Batch,
                "description": "Accepted.",
                "headers": {"Location": {"description": "Where its progress is told.", "schema": {"type": "string"}}},
            }
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": MOST_NOTES,
                            # Not held to it: a row that is no note costs the others nothing.
                            "items": {"description": "A note as for /v1/check."},
                        },
                        "examples": {"two notes": {"value": _BATCH_EXAMPLE}},
                    },
                    JSON_LINES: {"schema": {"type": "string", "pattern": r"\S"}},
                },
            }
        },
    )
    async def accept(request: Request, who: Annotated[Principal, Depends(require("batch"))]) -> Response:
        """A list of notes, or JSON Lines. A row that is no note gets an error in its place and the rest goes on."""
        media = _media_type(request)
        if media != "application/json" and media not in _LINES:
            raise HTTPException(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send a list of notes as application/json, or {JSON_LINES}."
            )
        body = await request.body()
        rows = await run_in_threadpool(rows_of, body, lines=media in _LINES, max_bytes=max_bytes)
        progress = await run_in_threadpool(batches.accept, rows, client_of(request.scope), who)
        return _json(
            progress.as_dict(),
            HTTPStatus.ACCEPTED,
            headers={"Location": f"/v1/batches/{progress.id}", "Retry-After": "1"},
        )

    @router.get(
        "/batches/{batch}",
        tags=["batches"],
        summary="Ask how far a batch is",
        dependencies=may,
        responses={200: {"model": answered.Batch, "description": "Its progress."}},
    )
    def progress(batch: str, request: Request) -> Response:
        """How many notes are read, and what came of them."""
        found = batches.find(batch, client_of(request.scope))
        return _json(found.as_dict(), headers=_come_back(found))

    @router.get(
        "/batches/{batch}/results",
        tags=["batches"],
        summary="Fetch the reports of a batch",
        dependencies=may,
        responses={
            200: {
                "content": {JSON_LINES: {"schema": {"type": "string"}}},
                "description": "A report a line, in the order of the notes; `error` in the place of one that failed.",
            }
        },
        response_class=StreamingResponse,
    )
    def results(batch: str, request: Request) -> Response:
        """JSON Lines; 409 until every note is read. A few minutes after they were fetched, the results are gone."""
        return StreamingResponse(batches.results(batch, client_of(request.scope)), media_type=JSON_LINES)

    @router.delete(
        "/batches/{batch}",
        tags=["batches"],
        summary="Delete a batch",
        dependencies=may,
        status_code=HTTPStatus.NO_CONTENT,
        responses={204: {"description": "It is gone; what was not read stays unread."}},
    )
    def drop(batch: str, request: Request) -> Response:
        """Delete a batch and its results."""
        batches.drop(batch, client_of(request.scope))
        return Response(status_code=HTTPStatus.NO_CONTENT)


def _come_back(progress: Progress) -> dict[str, str]:
    return {"Retry-After": "1"} if progress.state == "working" else {}


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _json(value: dict[str, Any], status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        json.dumps(value, ensure_ascii=False, separators=(",", ":")),
        status_code=status,
        media_type="application/json",
        headers=headers,
    )
