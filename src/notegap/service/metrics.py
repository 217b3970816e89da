"""What Prometheus may know: how many requests, how long they took, which rules stayed open. Nothing that tells of whom.

Labels are only names of ours: a route as it is written in the code, a method, a status, an item of a checklist.
"""

from __future__ import annotations

import os
import time

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from notegap.model import Knowledge, Report
from notegap.service.routes import method_of, route_of

TYPE = CONTENT_TYPE_LATEST
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which prometheus_client is told where several processes put their figures together."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures of one application."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "notegap_http_requests",
            "Requests answered, by method, route and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "notegap_http_request_seconds",
            "How long requests took, by method and route.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._notes = Counter(
            "notegap_notes", "Notes read, by what came of them.", ("outcome",), registry=self._registry
        )
        self._findings = Counter(
            "notegap_findings",
            "Findings of the notes read, by item of a checklist and status.",
            ("rule", "status"),
            registry=self._registry,
        )
        self._messages = Counter(
            "notegap_hl7_messages",
            "HL7 v2 messages taken, by where they came in and what became of them.",
            ("by", "outcome"),
            registry=self._registry,
        )
        self._deliveries = Counter(
            "notegap_deliveries",
            "Attempts to hand a result on, by destination and outcome.",
            ("destination", "outcome"),
            registry=self._registry,
        )
        if FOLDER not in os.environ:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)

    def saw(self, report: Report) -> None:
        """Count what a report says."""
        if not report.checks:
            self._notes.labels("unchecked").inc()
        else:
            self._notes.labels("gaps" if report.has_gaps else "complete").inc()
        for check in report.checks:
            checklist = self._knowledge.checklist(check.code)
            for finding in check.findings:
                # Codes are asked by others and there are many; checklists and their items are ours and few.
                rule = f"{checklist.id}/{finding.item}" if checklist is not None else "none"
                self._findings.labels(rule, finding.status.value).inc()

    def failed(self) -> None:
        """Count a note that could not be read."""
        self._notes.labels("failed").inc()

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request, by a method and a route of routes.py."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def received(self, by: str, outcome: str) -> None:
        """Count an HL7 v2 message."""
        self._messages.labels(by, outcome).inc()

    def handed_on(self, destination: str, outcome: str) -> None:
        """Count an attempt to hand a result on."""
        self._deliveries.labels(destination, outcome).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format; of every process, where several serve one address."""
        if FOLDER in os.environ:
            every = CollectorRegistry()
            MultiProcessCollector(every)  # type: ignore[no-untyped-call]
            return generate_latest(every)
        return generate_latest(self._registry)


class Counting:
    """ASGI middleware, the outermost: counts every answer, refusals too."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = time.perf_counter()
        await self.app(scope, receive, noting)
        self._metrics.answered(method_of(scope), route_of(scope), status, time.perf_counter() - start)
