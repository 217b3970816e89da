"""Running the application on this machine, for this machine only."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from notegap.analyzer import Analyzer
from notegap.errors import UsageError
from notegap.notes.text import MAX_BYTES
from notegap.service.app import FIRST, RATE, ServiceConfig, create_app
from notegap.service.guard import LOGGER
from notegap.service.metrics import FOLDER

ADDRESS = "127.0.0.1"


def serve(analyzer: Analyzer, *, port: int, settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until stopped; `ready` is given the address once it can be opened.

    Raises UsageError when the port is taken.
    """
    with _listen(port) as listening:
        bound = listening.getsockname()[1]
        # The first note waits for nothing that the second does not.
        analyzer.analyze(FIRST)
        _keep_what_lasts()
        _tell_crashes()
        ready(f"http://{ADDRESS}:{bound}/")
        server_of(analyzer, settings.config(bound)).run(sockets=[listening])


def serve_by_processes(
    build: Callable[[], Analyzer], *, port: int, workers: int, settings: Settings, ready: Callable[[str], None]
) -> None:
    """As `serve`, with an analyzer and a server in each of `workers` processes; one that dies is replaced.

    `build` makes the analyzer and can be pickled. `ready` is given the address when it can be opened; who does is
    answered once a process has built its analyzer. What the processes share is in a folder that nobody else may
    read, in memory where the system has such a place, and is deleted at the end.
    """
    with _listen(port) as listening, tempfile.TemporaryDirectory(prefix="notegap-", dir=_memory()) as folder:
        bound = listening.getsockname()[1]
        figures = Path(folder, "metrics")
        figures.mkdir()
        os.environ[FOLDER] = str(figures)
        shared = replace(settings.config(bound), shelf=str(Path(folder, "shelf.db")))
        ready(f"http://{ADDRESS}:{bound}/")
        config = _uvicorn(partial(_worker, build, shared), workers=workers, factory=True)
        Multiprocess(config, sockets=[listening]).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command is told of the service."""

    max_bytes: int = MAX_BYTES
    rate: float = RATE

    def config(self, port: int) -> ServiceConfig:
        """All that the application has to know when it is served at `port`."""
        return ServiceConfig(hosts=hosts(port), max_bytes=self.max_bytes, rate=self.rate)


def server_of(analyzer: Analyzer, config: ServiceConfig) -> uvicorn.Server:
    """The server, which logs no request and does not say what it is."""
    return uvicorn.Server(_uvicorn(create_app(analyzer, config)))


def _uvicorn(app: Any, **options: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        ws="none",
        # What is being read when the service is stopped is read to its end and answered.
        timeout_graceful_shutdown=30,
        **options,
    )


def _worker(build: Callable[[], Analyzer], config: ServiceConfig) -> FastAPI:
    """The application of one of several processes."""
    # A library's warning or log line may quote what it was given.
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    _tell_crashes()
    analyzer = build()
    analyzer.analyze(FIRST)
    _keep_what_lasts()
    return create_app(analyzer, config)


def _keep_what_lasts() -> None:
    """Leave the analyzer to itself: looking through it for garbage takes as long as reading a note."""
    gc.collect()
    gc.freeze()


def _memory() -> str | None:
    """A folder that is never on a disk; None where the system has none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - the folder made in it is private


def hosts(port: int) -> frozenset[str]:
    """What a browser on this machine may call the server."""
    return frozenset(f"{name}:{port}" for name in (ADDRESS, "localhost"))


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((ADDRESS, port))
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise UsageError(
            f"port {port}: cannot be listened on ({why}); --port chooses another, 0 any free one"
        ) from None


def _tell_crashes() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("notegap: %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.propagate = False
