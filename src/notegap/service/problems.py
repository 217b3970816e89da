"""Answers that say what went wrong: RFC 9457, and under /fhir as FHIR does. None looks like a report, none carries a
word of a note.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from starlette.responses import Response

from notegap.errors import NotegapError

FHIR_PREFIX = "/fhir"
"""Where everything of FHIR lies."""

FHIR_JSON = "application/fhir+json"

_ISSUES: Mapping[int, str] = MappingProxyType(
    {
        400: "invalid",
        401: "login",
        403: "forbidden",
        404: "not-found",
        405: "not-supported",
        406: "not-supported",
        413: "too-long",
        415: "not-supported",
        429: "throttled",
        500: "exception",
    }
)
"""Status → the type of an OperationOutcome's issue; "processing" for any other."""


class RefusedError(NotegapError):
    """What is not answered, and the status that says so. The message is ours."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def problem(status: int, detail: str = "", *, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for `status`, with a sentence of ours."""
    phrase = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": phrase, "status": int(status), "detail": detail or f"{phrase}."}
    return Response(
        json.dumps(body), status_code=status, media_type="application/problem+json", headers=dict(headers or {})
    )


def outcome(status: int, detail: str = "", *, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for `status` as FHIR says it: an OperationOutcome."""
    issue = {
        "severity": "error",
        "code": _ISSUES.get(int(status), "processing"),
        "diagnostics": detail or f"{HTTPStatus(status).phrase}.",
    }
    body = {"resourceType": "OperationOutcome", "issue": [issue]}
    return Response(json.dumps(body), status_code=status, media_type=FHIR_JSON, headers=dict(headers or {}))


def failure(path: str, status: int, detail: str = "", *, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for `status` in the form that who asks for `path` reads."""
    made = outcome if path == FHIR_PREFIX or path.startswith(f"{FHIR_PREFIX}/") else problem
    return made(status, detail, headers=headers)
