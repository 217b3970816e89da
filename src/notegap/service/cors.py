"""Which web applications may call from a browser, and what: CORS for one part of the addresses."""

from __future__ import annotations

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from notegap.service.guard import under


class Cors:
    """ASGI middleware: CORS for what lies under `prefix`; for anything else there is none."""

    def __init__(self, app: ASGIApp, *, prefix: str, origins: frozenset[str]) -> None:
        self.app = app
        self.prefix = prefix
        self.shared = CORSMiddleware(
            app,
            allow_origins=sorted(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["Retry-After"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        shared = scope["type"] == "http" and under(scope["path"], self.prefix)
        await (self.shared if shared else self.app)(scope, receive, send)
