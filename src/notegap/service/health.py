"""What is asked by whoever watches the service: whether it lives, whether it can read, its figures."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from fastapi import APIRouter, Depends, HTTPException
from starlette.responses import JSONResponse, Response

import notegap
from notegap.service.access import require
from notegap.service.metrics import TYPE, Metrics
from notegap.service.rest import answered


def health_router(*, ready: Callable[[], bool], release: str, metrics: Metrics) -> APIRouter:
    """The routes. They answer from the event loop, so that they do when every thread is reading."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/healthz",
        summary="Whether the process answers",
        responses={200: {"model": answered.Health, "description": "It does."}},
    )
    async def healthz() -> Response:
        """It says nothing of whether notes can be read: /readyz does."""
        return JSONResponse({"status": "ok"})

    @router.get(
        "/readyz",
        summary="Whether notes can be read",
        responses={200: {"model": answered.Ready, "description": "A note was read."}},
    )
    async def readyz() -> Response:
        """503 until the pipeline has read a first note."""
        if not ready():
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, "No note has been read yet.", headers={"Retry-After": "1"}
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
