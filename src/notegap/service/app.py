"""The application: what is served, by which rules, and what is answered when something goes wrong."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import notegap
from notegap.analyzer import Analyzer
from notegap.config import Config, Networks
from notegap.errors import DataError, KnowledgeError, NotegapError, StoreError
from notegap.model import Note, Report
from notegap.notes.text import MAX_BYTES
from notegap.service.access import Identify, require
from notegap.service.backend import Backend
from notegap.service.guard import LOGGER, Guard
from notegap.service.page import page_router
from notegap.service.problems import problem


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """How the service runs.

    `hosts` are the values of the Host header it answers to, port included. HTTPS ends at it with a `certificate` (chain
    and key), or at one of the `proxies`. Without `settings`, it counts in memory and answers everyone who reaches it.
    """

    hosts: frozenset[str]
    max_bytes: int = MAX_BYTES
    certificate: tuple[Path, Path] | None = None
    proxies: Networks = ()
    settings: Config | None = None

    @property
    def secure(self) -> bool:
        """Whether clients come over HTTPS."""
        return self.certificate is not None or bool(self.proxies)

    @property
    def max_body(self) -> int:
        """The longest request body: a note as JSON, where a line end takes two characters, and what goes with it."""
        return 2 * self.max_bytes + 65_536


class OneAtATime:
    """An analyzer that several requests share: reading is work for one processor, and takes its turn."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.codes = analyzer.codes
        self.knowledge = analyzer.knowledge
        self._analyzer = analyzer
        self._lock = threading.Lock()

    def analyze(self, note: Note) -> Report:
        """As `Analyzer.analyze`."""
        with self._lock:
            return self._analyzer.analyze(note)


def create_app(analyzer: Analyzer, config: ServiceConfig) -> FastAPI:
    """The application. What it keeps, and whom it answers, is for the backend to say: `app.state.backend`."""
    app = FastAPI(
        title="notegap",
        version=notegap.__version__,
        # The interactive documentation loads its script from a CDN.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.state.backend = Backend.from_config(config.settings) if config.settings is not None else Backend.in_memory()
    page = page_router(OneAtATime(analyzer), max_bytes=config.max_bytes)
    app.include_router(page, dependencies=[Depends(require("check"))])
    app.add_exception_handler(RequestValidationError, _not_a_request)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(NotegapError, _cannot)
    # The last one added is the first that a request meets.
    app.add_middleware(Identify)
    app.add_middleware(
        Guard, hosts=config.hosts, max_body=config.max_body, secure=config.secure, proxies=config.proxies
    )
    return app


# Starlette wants handlers of any Exception; each is registered for the one it tests for.


def _not_a_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Only where: pydantic's errors hold what was sent, which may be the note.
    where = sorted({str(each["loc"][1]) for each in error.errors() if _is_field(each)})
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"What was sent cannot be read: {', '.join(where)}." if where else "What was sent cannot be read.",
    )


def _is_field(error: dict[str, object]) -> bool:
    """Whether the error is about a field of ours: the name of one nobody knows comes from the sender."""
    place = error["loc"]
    return (
        isinstance(place, tuple) and len(place) > 1 and isinstance(place[1], str) and error["type"] != "extra_forbidden"
    )


def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, headers=error.headers)


def _cannot(_request: Request, error: Exception) -> Response:
    if isinstance(error, KnowledgeError | DataError):
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "notegap's own files are damaged; nothing was checked.")
    if isinstance(error, StoreError):
        LOGGER.error("%s", error)
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "What notegap keeps cannot be reached; nothing was kept.")
    # The message of a NotegapError is written for the user and carries no word of a note.
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
