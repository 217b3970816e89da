"""Running the application: for this machine only, unless the configuration protects it from others."""

from __future__ import annotations

import gc
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn

from notegap.analyzer import Analyzer
from notegap.config import Config, is_loopback
from notegap.errors import UsageError
from notegap.model import Note
from notegap.service.app import ServiceConfig, create_app
from notegap.service.backend import check_exposure
from notegap.service.guard import LOGGER

ADDRESS = "127.0.0.1"


def serve(analyzer: Analyzer, config: Config, *, ready: Callable[[str], None]) -> None:
    """Serve the page until stopped; `ready` is given its address once it can be opened.

    Raises UsageError when the port is taken, or when others could reach it and what protects it is lacking.
    """
    check_exposure(config)
    host = config.server.host
    with _listen(config.server.port, host) as listening:
        bound = listening.getsockname()[1]
        service = _service_config(config, bound)
        server = server_of(analyzer, service)
        # The first note waits for nothing that the second does not.
        analyzer.analyze(Note(id="first", text="MRI of the lumbar spine."))
        # What was built lives as long as the process: looking for garbage in it would make a request wait.
        gc.collect()
        gc.freeze()
        _tell_crashes()
        scheme = "https" if service.certificate is not None else "http"
        ready(f"{scheme}://{f'[{host}]' if ':' in host else host}:{bound}/")
        server.run(sockets=[listening])


def _service_config(config: Config, port: int) -> ServiceConfig:
    server = config.server
    own = hosts(port) if is_loopback(server.host) else frozenset()
    certificate = (server.tls_certificate, server.tls_key)
    if certificate[0] is not None and certificate[1] is not None:
        _check_certificate(certificate[0], certificate[1])
    return ServiceConfig(
        hosts=own | frozenset(server.names),
        max_bytes=server.max_bytes,
        certificate=(certificate[0], certificate[1]) if certificate[0] and certificate[1] else None,
        proxies=server.proxies,
        settings=config,
    )


def _check_certificate(certificate: Path, key: Path) -> None:
    try:
        # Without a password: asking for one would wait at a terminal that nobody sits at.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError):
        raise UsageError("'server.tls_certificate' and 'server.tls_key' are no PEM certificate and its key") from None


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
            # Who asks is told by the connection; what a proxy says of others is not needed.
            proxy_headers=False,
            ssl_certfile=config.certificate[0] if config.certificate is not None else None,
            ssl_keyfile=config.certificate[1] if config.certificate is not None else None,
        )
    )


def hosts(port: int) -> frozenset[str]:
    """What a browser on this machine may call the server."""
    return frozenset(f"{name}:{port}" for name in (ADDRESS, "localhost", "[::1]"))


def _listen(port: int, host: str = ADDRESS) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise UsageError(
            f"{f'{host}, ' if host != ADDRESS else ''}port {port}: cannot be listened on ({why}); "
            "--port chooses another, 0 any free one"
        ) from None


def _tell_crashes() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("notegap: %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.propagate = False
