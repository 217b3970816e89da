"""Running the application: for this machine only, unless the configuration protects it from others."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from notegap.analyzer import Analyzer
from notegap.config import Config, is_loopback
from notegap.errors import UsageError
from notegap.garbage import keep_what_lasts
from notegap.service.app import FIRST, ServiceConfig, create_app
from notegap.service.backend import Backend, check_exposure
from notegap.service.cds_hooks import CdsConfig
from notegap.service.cds_jwt import CdsClient
from notegap.service.guard import LOGGER
from notegap.service.hl7.delivery import senders_of
from notegap.service.hl7.mllp import listen, server_context
from notegap.service.listening import listening
from notegap.service.metrics import FOLDER

ADDRESS = "127.0.0.1"


def serve(analyzer: Analyzer, config: Config, *, ready: Callable[[str], None]) -> None:
    """Serve until stopped; `ready` is given the address once it can be opened.

    Raises UsageError when the port is taken, or when others could reach it and what protects it is lacking.
    """
    check_exposure(config)
    with _listen(config.server.port, config.server.host) as bound, _listen_mllp(config) as mllp:
        service = service_config(config, bound.getsockname()[1], mllp)
        # The first note waits for nothing that the second does not.
        analyzer.analyze(FIRST)
        server = server_of(analyzer, service)
        keep_what_lasts()
        _tell_crashes()
        ready(_address(service, bound))
        server.run(sockets=[bound])


def serve_by_processes(build: Callable[[], Analyzer], config: Config, *, ready: Callable[[str], None]) -> None:
    """As `serve`, with an analyzer and a server in each of `server.workers` processes; one that dies is replaced.

    `build` makes the analyzer and can be pickled. `ready` is given the address when it can be opened; who does is
    answered once a process has built its analyzer. What the processes share beside the database is in a folder that
    nobody else may read, in memory where the system has such a place, and is deleted at the end.
    """
    check_exposure(config)
    with (
        _listen(config.server.port, config.server.host) as bound,
        _listen_mllp(config) as mllp,
        tempfile.TemporaryDirectory(prefix="notegap-", dir=_memory()) as folder,
    ):
        service = service_config(config, bound.getsockname()[1], mllp)
        # A database that cannot be opened is told once, before any process starts; so is a certificate that is none.
        Backend.from_config(config).close()
        server_context(config.mllp)
        senders_of(config.outbox)
        figures = Path(folder, "metrics")
        figures.mkdir()
        os.environ[FOLDER] = str(figures)
        shared = replace(service, shelf=str(Path(folder, "shelf.db")))
        ready(_address(service, bound))
        options = _uvicorn(partial(_worker, build, shared), service, workers=config.server.workers, factory=True)
        Multiprocess(options, sockets=[bound]).run()


def service_config(config: Config, port: int, mllp: socket.socket | None = None) -> ServiceConfig:
    """All that the application has to know when it is served at `port`, and HL7 v2 on `mllp`."""
    server = config.server
    own = hosts(port) if is_loopback(server.host) else frozenset()
    certificate = (server.tls_certificate, server.tls_key)
    if certificate[0] is not None and certificate[1] is not None:
        _check_certificate(certificate[0], certificate[1])
    clients = (each.partition(" ") for each in config.cds.clients)
    return ServiceConfig(
        hosts=own | frozenset(server.names),
        max_bytes=server.max_bytes,
        max_batch_bytes=config.limits.batch_bytes,
        rate=config.limits.rate,
        keep_seconds=config.limits.results_seconds,
        replay_seconds=config.limits.replay_seconds,
        cds=CdsConfig(
            base_url=config.cds.base_url,
            clients=tuple(CdsClient(issuer=issuer, jku=jku.strip()) for issuer, _, jku in clients),
            origins=frozenset(config.cds.origins),
            servers=config.documents.servers,
        ),
        servers=config.documents.servers,
        tokens=dict(config.documents.tokens.by_server),
        certificate=(certificate[0], certificate[1]) if certificate[0] and certificate[1] else None,
        proxies=server.proxies,
        settings=config,
        mllp=mllp,
    )


def _check_certificate(certificate: Path, key: Path) -> None:
    try:
        # Without a password: asking for one would wait at a terminal that nobody sits at.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError):
        raise UsageError("'server.tls_certificate' and 'server.tls_key' are no PEM certificate and its key") from None


def _address(service: ServiceConfig, bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    scheme = "https" if service.certificate is not None else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


def server_of(analyzer: Analyzer, config: ServiceConfig) -> uvicorn.Server:
    """The server, which logs no request and does not say what it is."""
    return uvicorn.Server(_uvicorn(create_app(analyzer, config), config))


def _uvicorn(app: Any, config: ServiceConfig, **options: Any) -> uvicorn.Config:
    certificate, key = config.certificate or (None, None)
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        ws="none",
        # What is being read when the service is stopped is read to its end and answered.
        timeout_graceful_shutdown=30,
        # Who asks is told by the connection; what a proxy says of others is not needed.
        proxy_headers=False,
        ssl_certfile=certificate,
        ssl_keyfile=key,
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
    keep_what_lasts()
    return create_app(analyzer, config)


def _memory() -> str | None:
    """A folder that is never on a disk; None where the system has none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - the folder made in it is private


def hosts(port: int) -> frozenset[str]:
    """What a browser on this machine may call the server."""
    return frozenset(f"{name}:{port}" for name in (ADDRESS, "localhost", "[::1]"))


def _listen(port: int, host: str = ADDRESS) -> socket.socket:
    try:
        return listening(host, port)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise UsageError(
            f"{f'{host}, ' if host != ADDRESS else ''}port {port}: cannot be listened on ({why}); "
            "--port chooses another, 0 any free one"
        ) from None


def _listen_mllp(config: Config) -> AbstractContextManager[socket.socket | None]:
    return nullcontext() if config.mllp.port is None else listen(config.mllp)


def _tell_crashes() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("notegap: %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.propagate = False
