"""What is kept of a tenant's notes, over HTTP: listed, given out, deleted; and the counts, which are always kept."""

from __future__ import annotations

import json
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from starlette.responses import Response

from notegap.service.access import require
from notegap.service.backend import Backend
from notegap.service.principal import Principal
from notegap.service.rest import answered

_Id = Annotated[str, Path(max_length=36, description="The id that a kept report is listed under.")]
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
        before: Annotated[str, Query(max_length=27, description="The `at` of the last one seen.")] = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        """How much is kept of a note is the service's configuration; unless it says so, nothing is."""
        found = backend.store.reports(tenant=who.tenant, before=before or None, limit=limit)
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
        found = backend.store.report(kept_id, tenant=who.tenant)
        if found is None or not backend.store.delete(found.id, tenant=who.tenant):
            raise HTTPException(HTTPStatus.NOT_FOUND, _GONE)
        backend.audit_log.append("report-delete", who, subject=found.id)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    @router.get(
        "/counts",
        summary="How often each finding was open",
        responses={200: {"model": answered.Counts, "description": "Of one's own tenant."}},
    )
    def counted(
        who: Annotated[Principal, Depends(require("metrics"))],
        since: Annotated[str, Query(pattern=r"^\d{4}-\d{2}-\d{2}$", description="On this day and later.")] = "",
    ) -> Response:
        """Reports, findings that were open or raised, and what became of CDS Hooks cards."""
        numbers = backend.store.counts(tenant=who.tenant, since=since)
        return _json({"counts": numbers})

    return router


def _json(value: dict[str, Any]) -> Response:
    return Response(json.dumps(value, ensure_ascii=False, separators=(",", ":")), media_type="application/json")
