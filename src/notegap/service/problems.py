"""Answers that say what went wrong (RFC 9457). None looks like a report, none carries a word of a note."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response


def problem(status: int, detail: str = "", *, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for `status`, with a sentence of ours."""
    phrase = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": phrase, "status": int(status), "detail": detail or f"{phrase}."}
    return Response(
        json.dumps(body), status_code=status, media_type="application/problem+json", headers=dict(headers or {})
    )
