"""Requests that may be sent again: with the same Idempotency-Key and body, the answer is the one given first."""

from __future__ import annotations

import hashlib
import json
import re
import time
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from notegap.service.bodies import read_body, replayed
from notegap.service.clients import client_of
from notegap.service.problems import problem
from notegap.service.shelf import Shelf

KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_SHAPE = re.compile(r"[\x21-\x7e]{1,255}")
_MOST_KEYS = 10_000
_MOST_BYTES = 128 * 1024 * 1024
# An answer of these may be another one when it is asked for again.
_PASSING = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT})


class Idempotency:
    """ASGI middleware for POST /v1/…: answers are kept for `seconds`, and no more of them than fit.

    Of a request, a hash is kept.
    """

    def __init__(self, app: ASGIApp, *, shelf: Shelf, seconds: float) -> None:
        self.app = app
        self._shelf = shelf
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, with what was answered before if it came before."""
        key = Headers(scope=scope).get(KEY) if scope["type"] == "http" else None
        if key is None or scope["method"] != "POST" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        if not _SHAPE.fullmatch(key):
            refused = problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{KEY} is 1 to 255 visible ASCII characters.")
            await refused(scope, receive, send)
            return
        # What stands before this one has bounded it.
        body = await read_body(receive) or b""
        known = self._begin(client_of(scope), key, _hash(scope, body))
        if known is not None:
            await known(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            await self.app(scope, replayed(body, receive), answer.send)
        finally:
            self._end(client_of(scope), key, answer)

    def _begin(self, owner: str, key: str, sent: bytes) -> Response | None:
        """What to answer at once; None when the request is new, and noted as being worked on."""
        now = time.time()
        with self._shelf.changing():
            self._shelf.change("DELETE FROM answers WHERE expires < ?", (now,))
            found = self._shelf.rows(
                "SELECT sent, status, headers, body FROM answers WHERE owner = ? AND key = ?", (owner, key)
            )
            if not found:
                self._make_room()
                self._shelf.change(
                    "INSERT INTO answers (owner, key, sent, expires) VALUES (?, ?, ?, ?)",
                    (owner, key, sent, now + self._seconds),
                )
                return None
        first, status, headers, body = found[0]
        if first != sent:
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"This {KEY} came with another request before.")
        if not isinstance(status, int):
            return problem(
                HTTPStatus.CONFLICT,
                f"The first request with this {KEY} is being answered.",
                headers={"Retry-After": "1"},
            )
        assert isinstance(headers, str)
        assert isinstance(body, bytes)
        return Response(body, status_code=status, headers={**dict(json.loads(headers)), REPLAYED: "true"})

    def _make_room(self) -> None:
        counted = self._shelf.rows("SELECT count(*), coalesce(sum(length(body)), 0) FROM answers")
        ((number, size),) = counted
        assert isinstance(number, int)
        assert isinstance(size, int)
        if number >= _MOST_KEYS or size >= _MOST_BYTES:
            # The oldest half: it makes room for long.
            self._shelf.change(
                "DELETE FROM answers WHERE status IS NOT NULL "
                "AND rowid IN (SELECT rowid FROM answers ORDER BY expires LIMIT ?)",
                (max(1, number // 2),),
            )

    def _end(self, owner: str, key: str, answer: _Answer) -> None:
        if answer.whole and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and answer.status not in _PASSING:
            self._shelf.change(
                "UPDATE answers SET status = ?, headers = ?, body = ? WHERE owner = ? AND key = ?",
                (answer.status, json.dumps(answer.headers), bytes(answer.body), owner, key),
            )
        else:
            # What broke may be asked again.
            self._shelf.change("DELETE FROM answers WHERE owner = ? AND key = ?", (owner, key))


class _Answer:
    """What is answered, noted while it is sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()
        self.whole = False

    async def send(self, message: Message) -> None:
        """Note a part and send it on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = Headers(raw=message["headers"]).items()
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            self.whole = not message.get("more_body", False)
        await self._send(message)


def _hash(scope: Scope, body: bytes) -> bytes:
    """A hash of all that decides the answer."""
    kind = Headers(scope=scope).get("content-type", "")
    asked = json.dumps([scope["path"], scope["query_string"].decode("latin-1"), kind]).encode()
    return hashlib.sha256(asked + body).digest()
