"""HL7 v2 over HTTP: one message in a request's body, its acknowledgement in the answer's (HAPI's "HL7 over HTTP")."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import Message as Header
from http import HTTPStatus
from types import MappingProxyType
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from notegap.service.access import require
from notegap.service.hl7.inbox import Inbox
from notegap.service.principal import Principal

PATH = "/hl7v2"
MEDIA_TYPE = "application/hl7-v2"

_MEDIA_TYPES = frozenset(
    {MEDIA_TYPE, "application/hl7-v2+er7", "x-application/hl7-v2+er7", "application/x-hl7-v2+er7", "application/x-hl7"}
)
# Who reads the acknowledgement knows; who reads only the status is not to take a refusal for success.
_STATUS: Mapping[tuple[str, bool], HTTPStatus] = MappingProxyType(
    {
        ("AA", False): HTTPStatus.OK,
        ("AE", False): HTTPStatus.UNPROCESSABLE_ENTITY,
        ("AR", False): HTTPStatus.BAD_REQUEST,
        ("AE", True): HTTPStatus.INTERNAL_SERVER_ERROR,
        ("AR", True): HTTPStatus.SERVICE_UNAVAILABLE,
    }
)


def hl7_router(inbox: Inbox) -> APIRouter:
    """The route. What it takes and answers is HL7's to describe, not OpenAPI's."""
    router = APIRouter(include_in_schema=False)

    @router.post(PATH)
    async def receive(request: Request, who: Annotated[Principal, Depends(require("hl7"))]) -> Response:
        """MDM^T01 to T11 or ORU^R01. AA (in enhanced mode CA): its result is kept. AE, AR: it was not accepted."""
        media_type, charset = _content_type(request.headers.get("content-type", ""))
        if media_type not in _MEDIA_TYPES:
            raise HTTPException(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Send one message, and say so: `Content-Type: {MEDIA_TYPE}`."
            )
        body = await request.body()
        answer = await run_in_threadpool(inbox.receive, body, who, by="http", charset=charset)
        status = _STATUS[answer.code, answer.broke]
        if not answer.acknowledgements:
            # MSH-15 and MSH-16 ask for none.
            if status == HTTPStatus.OK:
                return Response(status_code=HTTPStatus.NO_CONTENT)
            raise HTTPException(status, "The message was not accepted, and asks for no acknowledgement.")
        # There is one answer to a request: what came of the message, else that it was committed.
        return Response(
            answer.acknowledgements[-1],
            status_code=status,
            headers={"Content-Type": f"{media_type}; charset={answer.codec}"},
        )

    return router


def _content_type(value: str) -> tuple[str, str]:
    header = Header()
    header["content-type"] = value
    return header.get_content_type(), str(header.get_param("charset", ""))
