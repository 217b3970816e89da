"""Running the application on this machine, for this machine only."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable

import uvicorn

from notegap.analyzer import Analyzer
from notegap.errors import UsageError
from notegap.model import Note
from notegap.service.app import ServiceConfig, create_app
from notegap.service.guard import LOGGER

ADDRESS = "127.0.0.1"


def serve(analyzer: Analyzer, *, port: int, max_bytes: int, ready: Callable[[str], None]) -> None:
    """Serve the page until stopped; `ready` is given its address once it can be opened.

    Raises UsageError when the port is taken.
    """
    with _listen(port) as listening:
        bound = listening.getsockname()[1]
        config = ServiceConfig(hosts=hosts(bound), max_bytes=max_bytes)
        # The first note waits for nothing that the second does not.
        analyzer.analyze(Note(id="first", text="MRI of the lumbar spine."))
        _tell_crashes()
        ready(f"http://{ADDRESS}:{bound}/")
        server_of(analyzer, config).run(sockets=[listening])


def server_of(analyzer: Analyzer, config: ServiceConfig) -> uvicorn.Server:
    """The server, which logs no request and does not say what it is."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(analyzer, config),
            access_log=False,
            log_config=None,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=2,
        )
    )


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
