"""HEAD: answered as GET is, without the body, which the server leaves out."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """ASGI middleware. What lies under `but` is left alone: there a GET changes something."""

    def __init__(self, app: ASGIApp, *, but: str) -> None:
        self.app = app
        self._but = but

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "HEAD" and not scope["path"].startswith(self._but):
            # A copy: by its own the server knows that no body is to be sent.
            scope = {**scope, "method": "GET"}
        await self.app(scope, receive, send)
