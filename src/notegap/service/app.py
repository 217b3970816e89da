"""The application: what is served, by which rules, and what is answered when something goes wrong."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from fastapi import Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

import notegap
from notegap.analyzer import Analyzer
from notegap.config import Config, Networks
from notegap.errors import DataError, KnowledgeError, NotegapError, StoreError, crash_site
from notegap.model import Mention, Note, Report
from notegap.notes.text import MAX_BYTES
from notegap.service.access import Identify, require
from notegap.service.backend import Backend
from notegap.service.cds_hooks import PREFIX, CdsConfig, cds_router
from notegap.service.cds_jwt import Seen
from notegap.service.cors import Cors
from notegap.service.feedback import FeedbackStore
from notegap.service.fhir import fhir_router
from notegap.service.guard import LOGGER, Guard
from notegap.service.head import HeadAsGet
from notegap.service.health import Reachable, health_router
from notegap.service.hl7.delivery import Delivery, senders_of
from notegap.service.hl7.inbox import HandOn, Inbox
from notegap.service.hl7.mllp import MllpServer
from notegap.service.hl7.router import hl7_router
from notegap.service.idempotency import Idempotency
from notegap.service.metrics import Counting, Metrics
from notegap.service.page import page_router
from notegap.service.problems import failure
from notegap.service.rate import RateLimit
from notegap.service.records import Records
from notegap.service.rest import rest_router
from notegap.service.rest.document import document_router
from notegap.service.rest.kept import kept_router
from notegap.service.shelf import IN_MEMORY, Shelf

RATE = 200.0
"""Requests a second that one client may ask for unless told otherwise: more than one processor answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """How the service runs. `hosts` are the values of the Host header it answers to, port included.

    `rate` requests a second are answered for each client, five times as many at once; 0: any number. Results of a
    batch are kept `keep_seconds`, answers to requests that may come again `replay_seconds`; both on `shelf`, see
    shelf.py. `cds` is what CDS Hooks adds, `servers` those that FHIR's documents may be fetched from, `tokens` what
    some of them are shown, by address. HTTPS ends here with a `certificate` (chain and key), or at one of the
    `proxies`. Without `settings`, it counts in memory and answers everyone who reaches it. `mllp` is a socket that
    listens for HL7 v2.
    """

    hosts: frozenset[str]
    max_bytes: int = MAX_BYTES
    max_batch_bytes: int = 32 * MAX_BYTES
    rate: float = RATE
    keep_seconds: float = 3_600.0
    replay_seconds: float = 600.0
    shelf: str = IN_MEMORY
    cds: CdsConfig = field(default_factory=CdsConfig)
    servers: tuple[str, ...] = ()
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: tuple[Path, Path] | None = None
    proxies: Networks = ()
    settings: Config | None = None
    mllp: socket.socket | None = None

    @property
    def secure(self) -> bool:
        """Whether clients come over HTTPS."""
        return self.certificate is not None or bool(self.proxies)

    @property
    def max_body(self) -> int:
        """The longest request body: a note as JSON, where a byte can take six, and what goes with it."""
        return 6 * self.max_bytes + 65_536


LONG = 40_000
"""Characters from which a note is read beside the others: it takes seconds, which they do not wait for."""


class OneAtATime:
    """An analyzer that several requests share: reading is work for one processor, and takes its turn.

    `analyze_later` waits until nobody else does. Notes of LONG characters or more take turns among themselves, with a
    pipeline of their own that is built for the first. `has_read`: a note was read, so that the pipeline is known to
    work.
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self.codes = analyzer.codes
        self.knowledge = analyzer.knowledge
        self.has_read = False
        self._analyzer = analyzer
        self._changed = threading.Condition()
        self._busy = False
        self._waiting = 0
        self._of_long: Analyzer | None = None
        self._long = threading.Lock()

    def analyze(self, note: Note) -> Report:
        """As `Analyzer.analyze`."""
        with self._turn(note) as analyzer:
            report = analyzer.analyze(note)
        self.has_read = True
        return report

    def analyze_later(self, note: Note) -> Report:
        """As `analyze`, behind those that somebody waits for."""
        with self._turn(note, patient=True) as analyzer:
            return analyzer.analyze(note)

    def prepare(self) -> None:
        """As `Analyzer.prepare`, beside those that read."""
        self._analyzer.prepare()

    def extract(self, note: Note) -> tuple[Mention, ...]:
        """As `Analyzer.extract`."""
        with self._turn(note) as analyzer:
            return analyzer.extract(note)

    @contextmanager
    def _turn(self, note: Note, *, patient: bool = False) -> Iterator[Analyzer]:
        if len(note.text) >= LONG:
            with self._long:
                if self._of_long is None:
                    self._of_long = self._analyzer.another()
                yield self._of_long
            return
        with self._changed:
            if not patient:
                self._waiting += 1
            self._changed.wait_for(lambda: not self._busy and not (patient and self._waiting))
            if not patient:
                self._waiting -= 1
            self._busy = True
        try:
            yield self._analyzer
        finally:
            with self._changed:
                self._busy = False
                self._changed.notify_all()


FIRST = Note(id="first", text="MRI of the lumbar spine.")
"""What is read once before anybody's note is: the first waits for nothing that the second does not."""


def create_app(analyzer: Analyzer, config: ServiceConfig) -> FastAPI:
    """The application. What is left of a note when its request is answered, and whom it answers, is for the backend to
    say: `app.state.backend`.
    """
    reader = OneAtATime(analyzer)
    shelf = Shelf(config.shelf)
    metrics = Metrics(analyzer.knowledge)
    backend = Backend.from_config(config.settings) if config.settings is not None else Backend.in_memory()
    records = Records(backend, metrics)
    reachable = Reachable(backend.store.database.ask)
    rest, batches = rest_router(
        reader,
        records=records,
        shelf=shelf,
        put_by=backend.put_by,
        max_bytes=config.max_bytes,
        keep_seconds=config.keep_seconds,
    )

    settings = config.settings if config.settings is not None else Config()
    senders = senders_of(settings.outbox)
    delivery = Delivery(backend.outbox, senders, count=metrics.handed_on)
    inbox = Inbox(
        reader,
        backend,
        max_bytes=config.max_bytes,
        hand_on=HandOn(destinations=tuple(senders), tenant=settings.outbox.tenant),
        saw=metrics.saw,
        count=metrics.received,
    )
    mllp = MllpServer(inbox, settings.mllp, max_bytes=config.max_body)

    @asynccontextmanager
    async def living(_app: FastAPI) -> AsyncIterator[None]:
        # Aside: whoever asks for /healthz meanwhile is answered.
        first = asyncio.create_task(run_in_threadpool(_read_first, reader))
        await run_in_threadpool(batches.take_up)
        if config.mllp is not None:
            await mllp.start(config.mllp)
        delivery.start()
        try:
            yield
        finally:
            await mllp.stop()
            await asyncio.wait([first])
            await run_in_threadpool(batches.stop)
            await run_in_threadpool(delivery.stop)
            shelf.close()
            reachable.close()
            backend.close()

    app = FastAPI(
        title="notegap",
        version=notegap.__version__,
        # The interactive documentation loads its script from a CDN; ours is document_router's.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=living,
    )
    app.state.backend = backend
    page = page_router(reader, max_bytes=config.max_bytes)
    app.include_router(page, dependencies=[Depends(require("check", browser=True))])
    app.include_router(rest)
    app.include_router(kept_router(backend))
    app.state.cds_feedback = feedback = FeedbackStore(backend.store)
    app.include_router(
        cds_router(
            reader,
            config.cds,
            hosts=config.hosts,
            max_bytes=config.max_bytes,
            feedback=feedback,
            seen=Seen(backend.store.database),
            records=records,
            open_to_all=not backend.access.required and not config.secure,
        )
    )
    app.include_router(
        fhir_router(reader, servers=config.servers, tokens=config.tokens, max_bytes=config.max_bytes, records=records)
    )
    app.include_router(hl7_router(inbox))
    app.include_router(
        health_router(
            ready=lambda: reader.has_read, reachable=reachable, release=analyzer.codes.release, metrics=metrics
        )
    )
    app.include_router(document_router(app))
    app.add_exception_handler(RequestValidationError, _not_a_request)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(NotegapError, _cannot)
    # The last one added is the first that a request meets.
    app.add_middleware(HeadAsGet, but="/v1/batches/")
    app.add_middleware(Idempotency, shelf=shelf, seconds=config.replay_seconds)
    if config.rate:
        app.add_middleware(RateLimit, rate=config.rate, burst=math.ceil(5 * config.rate))
    # Around what counts and keeps in a client's name.
    app.add_middleware(Identify)
    # Around the limit: a web application may read that it asks too often.
    app.add_middleware(Cors, prefix=PREFIX, origins=config.cds.origins)
    app.add_middleware(
        Guard,
        hosts=config.hosts,
        max_body=config.max_body,
        max_bodies={"/v1/batches": config.max_batch_bytes},
        origins=config.cds.origins,
        shared=PREFIX,
        secure=config.secure,
        proxies=config.proxies,
    )
    app.add_middleware(Counting, metrics=metrics)
    return app


def _read_first(reader: OneAtATime) -> None:
    try:
        reader.analyze(FIRST)
        reader.prepare()
    except Exception as error:  # noqa: BLE001 - nobody waits for it: /readyz says that it did not happen
        LOGGER.error("notegap broke on its first note: %s", crash_site(error))


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
    path = request.url.path
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Starlette names the methods of the first route at this address only.
        return failure(path, error.status_code, headers={"Allow": ", ".join(sorted(_methods(request)))})
    # Starlette's own say the status again; ours are sentences.
    said = error.detail if error.detail != HTTPStatus(error.status_code).phrase else ""
    return failure(path, error.status_code, said, headers=error.headers)


def _methods(request: Request) -> Iterator[str]:
    """What may be done at the address that was asked."""
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            yield method


def _cannot(request: Request, error: Exception) -> Response:
    if isinstance(error, KnowledgeError | DataError):
        return failure(
            request.url.path, HTTPStatus.INTERNAL_SERVER_ERROR, "notegap's own files are damaged; nothing was checked."
        )
    if isinstance(error, StoreError):
        LOGGER.error("%s", error)
        return failure(
            request.url.path,
            HTTPStatus.SERVICE_UNAVAILABLE,
            "What notegap keeps cannot be reached; nothing was answered that could not be written down.",
            headers={"Retry-After": "5"},
        )
    # The message of a NotegapError is written for the user and carries no word of a note.
    return failure(request.url.path, HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
