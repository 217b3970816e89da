"""The application: what is served, by which rules, and what is answered when something goes wrong."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

import notegap
from notegap.analyzer import Analyzer
from notegap.errors import DataError, KnowledgeError, NotegapError
from notegap.model import Note, Report
from notegap.notes.text import MAX_BYTES
from notegap.service.cds_hooks import PREFIX, CdsConfig, cds_router
from notegap.service.cors import Cors
from notegap.service.feedback import FeedbackInMemory
from notegap.service.fhir import fhir_router
from notegap.service.guard import Guard
from notegap.service.page import page_router
from notegap.service.problems import failure


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """How the service runs. `hosts` are the values of the Host header it answers to, port included.

    `cds` is what CDS Hooks adds, `servers` those that FHIR's documents may be fetched from.
    """

    hosts: frozenset[str]
    max_bytes: int = MAX_BYTES
    cds: CdsConfig = field(default_factory=CdsConfig)
    servers: tuple[str, ...] = ()

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
    """The application. A note is gone when its request is answered; of cards it counts what became of them."""
    app = FastAPI(
        title="notegap",
        version=notegap.__version__,
        # The interactive documentation loads its script from a CDN.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    reader = OneAtATime(analyzer)
    app.include_router(page_router(reader, max_bytes=config.max_bytes))
    app.state.cds_feedback = feedback = FeedbackInMemory()
    app.include_router(
        cds_router(reader, config.cds, hosts=config.hosts, max_bytes=config.max_bytes, feedback=feedback)
    )
    app.include_router(fhir_router(reader, servers=config.servers, max_bytes=config.max_bytes))
    app.add_exception_handler(RequestValidationError, _not_a_request)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(NotegapError, _cannot)
    app.add_middleware(Cors, prefix=PREFIX, origins=config.cds.origins)
    app.add_middleware(Guard, hosts=config.hosts, max_body=config.max_body, origins=config.cds.origins, shared=PREFIX)
    return app


# Starlette wants handlers of any Exception; each is registered for the one it tests for.


def _not_a_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # Only where: pydantic's errors hold what was sent, which may be the note.
    where = sorted({str(each["loc"][1]) for each in error.errors() if _is_field(each)})
    return failure(
        request.url.path,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"What was sent cannot be read: {', '.join(where)}." if where else "What was sent cannot be read.",
    )


def _is_field(error: dict[str, object]) -> bool:
    """Whether the error is about a field of ours: the name of one nobody knows comes from the sender."""
    place = error["loc"]
    return (
        isinstance(place, tuple) and len(place) > 1 and isinstance(place[1], str) and error["type"] != "extra_forbidden"
    )


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return failure(request.url.path, error.status_code, headers=error.headers)


def _cannot(request: Request, error: Exception) -> Response:
    if isinstance(error, KnowledgeError | DataError):
        return failure(
            request.url.path, HTTPStatus.INTERNAL_SERVER_ERROR, "notegap's own files are damaged; nothing was checked."
        )
    # The message of a NotegapError is written for the user and carries no word of a note.
    return failure(request.url.path, HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
