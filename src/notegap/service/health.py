"""What is asked by whoever watches the service: whether it lives, whether it can read, its figures."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus

from fastapi import APIRouter, Depends, HTTPException
from starlette.responses import JSONResponse, Response

import notegap
from notegap.errors import StoreError
from notegap.service.access import require
from notegap.service.metrics import TYPE, Metrics
from notegap.service.rest import answered

_FRESH = 1.0
_PATIENCE = 2.0


class Reachable:
    """Whether a database answers, asked at most once a second whoever wants to know.

    `ask` raises StoreError when it does not. It is asked in a thread of its own: others may all be waiting for it.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._thread = ThreadPoolExecutor(1, "reachable")
        self._asked: Future[bool] | None = None
        self._at = 0.0

    async def __call__(self) -> bool:
        """Whether it does; no, when it takes its time."""
        if self._asked is None or (self._asked.done() and time.monotonic() - self._at >= _FRESH):
            self._at = time.monotonic()
            self._asked = self._thread.submit(self._answers)
        asked = asyncio.wrap_future(self._asked)
        await asyncio.wait([asked], timeout=_PATIENCE)
        return asked.done() and asked.result()

    def close(self) -> None:
        """Ask no more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _answers(self) -> bool:
        try:
            self._ask()
        except StoreError:
            return False
        return True


def health_router(*, ready: Callable[[], bool], reachable: Reachable, release: str, metrics: Metrics) -> APIRouter:
    """The routes. They answer from the event loop, so that they do when every thread is reading."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/healthz",
        summary="Whether the process answers",
        responses={200: {"model": answered.Health, "description": "It does."}},
    )
    async def healthz() -> Response:
        """It says nothing of whether notes can be read, or kept: /readyz does."""
        return JSONResponse({"status": "ok"})

    @router.get(
        "/readyz",
        summary="Whether notes can be read",
        responses={200: {"model": answered.Ready, "description": "They can."}},
    )
    async def readyz() -> Response:
        """503 until the pipeline has read a first note, and while the database is away."""
        if not ready():
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, "No note has been read yet.", headers={"Retry-After": "1"}
            )
        if not await reachable():
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, "What notegap keeps cannot be reached.", headers={"Retry-After": "1"}
            )
        return JSONResponse({"status": "ready", "notegap": notegap.__version__, "code_set": release})

    @router.get(
        "/metrics",
        summary="Figures for Prometheus",
        dependencies=[Depends(require("metrics"))],
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "The figures."}},
    )
    async def figures() -> Response:
        """No label tells of whom a request or a note was."""
        return Response(metrics.text(), headers={"Content-Type": TYPE})

    return router
