"""What every request passes: who may ask, how much may be sent, what a browser may do with the answer."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import ip_address
from types import MappingProxyType

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from notegap.config import Networks
from notegap.errors import crash_site
from notegap.service.bodies import read_body, replayed
from notegap.service.problems import failure

LOGGER = logging.getLogger("notegap.service")
"""Where a crash is told: its type and its place, never its message, which may hold words of a note."""

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Sent with every answer."""

HSTS = "max-age=31536000"
"""Sent with every answer over HTTPS."""

_SAFE = frozenset({"GET", "HEAD"})

PROBES = frozenset({"/healthz", "/readyz"})
"""What whoever runs the service asks of the machine itself, by any name and past the proxy. It tells of no note."""


class Guard:
    """ASGI middleware. What breaks inside it is answered as a failure and told to the log without its message.

    Web applications of `origins` may ask for what lies under `shared`, nobody else's for anything.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: frozenset[str],
        max_body: int,
        max_bodies: Mapping[str, int] = MappingProxyType({}),
        origins: frozenset[str] = frozenset(),
        shared: str = "",
        secure: bool = False,
        proxies: Networks = (),
    ) -> None:
        """`max_bodies`: the paths whose bodies may be longer or shorter than `max_body`. `secure`: clients come over
        HTTPS; with `proxies`, through one of them.
        """
        self.app = app
        self.hosts = hosts
        self.max_body = max_body
        self.max_bodies = max_bodies
        self.origins = origins
        self.shared = shared
        self.scheme = "https" if secure else "http"
        self.headers = {**HEADERS, "Strict-Transport-Security": HSTS} if secure else HEADERS
        self.proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False
        path = scope["path"]

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await failure(path, *refused)(scope, receive, send_guarded)
            return
        try:
            body = await read_body(receive, self._max_body(scope))
        except ClientDisconnect:
            return
        if body is None:
            too_long = failure(path, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "What was sent is longer than the limit.")
            await too_long(scope, receive, send_guarded)
            return
        try:
            await self.app(scope, replayed(body, receive), send_guarded)
        except Exception as error:  # noqa: BLE001 - the server would log the message, which may hold words of the note
            LOGGER.error("notegap broke: %s", crash_site(error))  # noqa: TRY400 - a traceback quotes the message
            # An answer that has begun is cut off, which the browser sees.
            if not started:
                broke = failure(path, HTTPStatus.INTERNAL_SERVER_ERROR, "notegap broke; nothing was checked.")
                await broke(scope, receive, send_guarded)

    def _max_body(self, scope: Scope) -> int:
        return self.max_bodies.get(scope["path"], self.max_body)

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        headers = Headers(scope=scope)
        if scope["method"] in _SAFE and scope["path"] in PROBES:
            return None
        if self.proxies and not self._is_proxied(scope, headers):
            return HTTPStatus.FORBIDDEN, "This is only reached through its proxy, over HTTPS."
        host = headers.get("host", "")
        if host not in self.hosts:
            # A name of someone else's that was made to mean this machine (DNS rebinding).
            return HTTPStatus.MISDIRECTED_REQUEST, "This address is not served here."
        if scope["method"] not in _SAFE:
            origin, site = headers.get("origin"), headers.get("sec-fetch-site")
            if origin in self.origins and under(scope["path"], self.shared):
                pass  # what it may do is CORS's to say
            elif (
                origin != f"{self.scheme}://{host}" if origin is not None else site not in (None, "same-origin", "none")
            ):
                return HTTPStatus.FORBIDDEN, "Another site may not ask in this page's name."
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._max_body(scope):
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "What was sent is longer than the limit."
        return None

    def _is_proxied(self, scope: Scope, headers: Headers) -> bool:
        """Whether a declared proxy asks, and was itself asked over HTTPS."""
        peer = scope.get("client")
        try:
            address = ip_address(peer[0] if peer else "")
        except ValueError:
            return False
        known = any(address in network for network in self.proxies)
        return known and headers.get("x-forwarded-proto", "") == "https"


def under(path: str, prefix: str) -> bool:
    """Whether `path` is `prefix` or lies below it."""
    return bool(prefix) and (path == prefix or path.startswith(f"{prefix}/"))
