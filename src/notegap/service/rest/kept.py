"""What is kept of a tenant's notes, over HTTP: listed, given out, deleted; and the counts, which are always kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from pydantic import AfterValidator
from starlette.responses import Response

from notegap.service.access import require
from notegap.service.backend import Backend
from notegap.service.principal import Principal
from notegap.service.records import KEPT
from notegap.service.rest import answered


def _moment(value: str) -> str:
    if value:
        datetime.fromisoformat(value)
    return value


_DAY = r"[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_Id = Annotated[
    str,
    Path(
        pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        description=f"The id that a kept report is listed under, and that `{KEPT}` said when it was made.",
    ),
]
_Before = Annotated[
    str,
    Query(
        pattern=rf"^({_DAY}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{{6}}Z)?$",
        description="The `at` of the last one seen.",
    ),
    AfterValidator(_moment),
]
_Since = Annotated[str, Query(pattern=rf"^({_DAY})?$", description="On this day and later."), AfterValidator(_moment)]
_GONE = "Nothing is kept under this id; it may have been deleted, or be older than the retention period."


def kept_router(backend: Backend) -> APIRouter:
    """The routes. Whoever asks sees and deletes what is their own tenant's, and nothing else is there."""
    router = APIRouter(prefix="/v1", tags=["what is kept"])

    @router.get(
        "/reports",
        summary="List the reports that are kept",
        responses={200: {"model": answered.KeptList, "description": "The newest first, without what is in them."}},
    )
    def listed(
        who: Annotated[Principal, Depends(require("reports"))],
        before: _Before = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        note: Annotated[
            str | None,
            Query(
                max_length=1_000,
                description="Only those of the note that had this `id`. It is only known of those that are kept whole "
                "(`full`). Addresses may be logged on the way: do not ask for an `id` that tells who the patient is.",
            ),
        ] = None,
    ) -> Response:
        """How much is kept of a note is the service's configuration; unless it says so, nothing is."""
        found = backend.store.reports(tenant=who.tenant, before=before or None, limit=limit, note=note)
        if note is not None and not found and backend.store.keep != "full":
            # An empty list would say that there is none.
            raise HTTPException(
                HTTPStatus.CONFLICT, "The ids of notes are only kept with `full`, which this service does not keep."
            )
        backend.audit_log.append("report-list", who)
        return _json({"keeping": backend.store.keep, "reports": [asdict(each) for each in found]})

    @router.get(
        "/reports/{kept_id}",
        summary="Fetch a report that is kept",
        responses={200: {"model": answered.KeptReport, "description": "What is kept of it."}},
    )
    def fetched(kept_id: _Id, who: Annotated[Principal, Depends(require("reports"))]) -> Response:
        """With `kept` "full" the report and its note; else the report without a word of the note."""
        found = backend.store.report(kept_id, tenant=who.tenant)
        if found is None:
            backend.audit_log.append("report-read", who, subject=kept_id, outcome="not-found")
            raise HTTPException(HTTPStatus.NOT_FOUND, _GONE)
        backend.audit_log.append("report-read", who, subject=found.id)
        return _json(asdict(found))

    @router.delete(
        "/reports/{kept_id}",
        summary="Delete a report that is kept",
        status_code=HTTPStatus.NO_CONTENT,
        responses={204: {"description": "It is gone, and its note."}},
    )
    def deleted(kept_id: _Id, who: Annotated[Principal, Depends(require("delete"))]) -> Response:
        """Delete it for good."""
        # It is not read: what cannot be read any more, because its key is gone, can still be deleted.
        with backend.store.database.write() as connection:
            gone = backend.store.delete_in(connection, kept_id, tenant=who.tenant)
            outcome = "ok" if gone else "not-found"
            backend.audit_log.append_in(connection, "report-delete", who, subject=kept_id, outcome=outcome)
        if not gone:
            raise HTTPException(HTTPStatus.NOT_FOUND, _GONE)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @router.get(
        "/counts",
        summary="How often each finding was open",
        responses={200: {"model": answered.Counts, "description": "Of one's own tenant."}},
    )
    def counted(
        who: Annotated[Principal, Depends(require("metrics"))],
        since: _Since = "",
    ) -> Response:
        """Reports, findings that were open or raised, and what became of CDS Hooks cards."""
        numbers = backend.store.counts(tenant=who.tenant, since=since)
        return _json({"counts": numbers})

    return router


def _json(value: dict[str, Any]) -> Response:
    return Response(json.dumps(value, ensure_ascii=False, separators=(",", ":")), media_type="application/json")
