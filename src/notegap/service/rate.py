"""How often a client may ask: a bucket of tokens for each, filled at a steady rate (429 when it is empty)."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from notegap.service.clients import address_of
from notegap.service.problems import failure

FREE = frozenset({"/healthz", "/readyz", "/metrics"})
"""What may be asked at any rate: whoever watches the service has to see it when it is busiest."""

_MOST_CLIENTS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class RateLimit:
    """ASGI middleware: `rate` requests a second for each client, `burst` at once."""

    def __init__(self, app: ASGIApp, *, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.app = app
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or tell when to ask again."""
        if scope["type"] == "http" and scope["path"] not in FREE:
            wait = self._wait(address_of(scope))
            if wait:
                later = failure(
                    scope["path"],
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"More than {self.rate:g} requests a second; ask again later.",
                    headers={"Retry-After": str(math.ceil(wait))},
                )
                await later(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _wait(self, client: str) -> float:
        """Take a token of `client`: 0, or the seconds until there is one."""
        now = self._clock()
        bucket = self._buckets.pop(client, None) or _Bucket(float(self.burst), now)
        # The one that has asked last stands last; the first has been silent longest.
        self._buckets[client] = bucket
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        bucket.tokens = min(float(self.burst), bucket.tokens + (now - bucket.at) * self.rate)
        bucket.at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self.rate
        bucket.tokens -= 1
        return 0
