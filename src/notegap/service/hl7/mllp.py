"""Listening for messages over MLLP: connections that stay open, and messages one after another, answered in order."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from typing import Any

import anyio
import anyio.to_thread

from notegap.config import MllpTable
from notegap.errors import UsageError, crash_site
from notegap.service.guard import LOGGER
from notegap.service.hl7.delivery import load_certificate
from notegap.service.hl7.framing import Block, Deframer, framed
from notegap.service.hl7.inbox import Inbox
from notegap.service.listening import listening
from notegap.service.principal import Principal

_CHUNK = 65_536
_BLOCK_SECONDS = 120.0
_WRITE_SECONDS = 30.0
_STOP_SECONDS = 15.0
# Notes are read one at a time; the other threads are for those who ask over HTTP.
_THREADS = 8


def listen(settings: MllpTable) -> socket.socket:
    """A socket that listens as configured. Raises UsageError when it cannot."""
    try:
        return listening(settings.host, settings.port or 0)
    except OSError as error:
        why = (error.strerror or type(error).__name__).partition(" (")[0].lower()
        raise UsageError(f"mllp.port {settings.port}: cannot be listened on ({why})") from None


def server_context(settings: MllpTable) -> ssl.SSLContext | None:
    """What TLS needs, None without it. Raises UsageError when a certificate is none."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, settings.tls_certificate, settings.tls_key, "mllp")
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except (OSError, ValueError):
            raise UsageError("'mllp.tls_client_ca' is no PEM certificate") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class MllpServer:
    """Takes connections on a socket that listens, until it is stopped."""

    def __init__(self, inbox: Inbox, settings: MllpTable, *, max_bytes: int) -> None:
        """`max_bytes`: the longest message."""
        self._inbox = inbox
        self._settings = settings
        self._max_bytes = max_bytes
        self._context = server_context(settings)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()
        self._reading: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def start(self, bound: socket.socket) -> None:
        """Begin to take connections."""
        options: dict[str, Any] = {} if self._context is None else {"ssl_handshake_timeout": 10.0}
        self._server = await asyncio.start_server(self._connected, sock=bound, ssl=self._context, **options)

    async def stop(self) -> None:
        """Take none any more; what came in whole is answered, what did not is not, and is sent again."""
        self._stopping = True
        if self._server is not None:
            self._server.close()
        for task in tuple(self._reading):
            task.cancel()
        if self._connections:
            await asyncio.wait(tuple(self._connections), timeout=_STOP_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        # The one who is not let in gets no answer: there is no message yet that could be answered.
        if not self._stopping and len(self._connections) < self._settings.connections and self._may_connect(writer):
            self._connections.add(task)
            try:
                await self._serve(reader, writer, task)
            except (OSError, TimeoutError):
                pass  # gone, or not reading what it is answered
            except asyncio.CancelledError:
                if not self._stopping:
                    raise
            except Exception as error:  # noqa: BLE001 - the loop would log the message, which may hold words of a note
                LOGGER.error("an MLLP connection broke: %s", crash_site(error))
            finally:
                self._connections.discard(task)
        writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_WRITE_SECONDS):
                await writer.wait_closed()

    def _is_stopping(self) -> bool:
        return self._stopping

    def _may_connect(self, writer: asyncio.StreamWriter) -> bool:
        if not self._settings.peers:
            return True
        address = ip_address(str(writer.get_extra_info("peername")[0]).partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._settings.peers)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, task: asyncio.Task[Any]) -> None:
        who = self._principal(writer)
        deframer = Deframer(self._max_bytes)
        until = 0.0
        while not deframer.lost and not self._is_stopping():
            loop_time = asyncio.get_running_loop().time()
            if not deframer.inside:
                until = 0.0
            elif not until:
                until = loop_time + _BLOCK_SECONDS
            self._reading.add(task)
            try:
                async with asyncio.timeout(until - loop_time if until else self._settings.idle_seconds):
                    data = await reader.read(_CHUNK)
            finally:
                self._reading.discard(task)
            if not data:
                return
            for block in deframer.feed(data):
                await self._answer(block, writer, who)
                if self._is_stopping():
                    return

    async def _answer(self, block: Block, writer: asyncio.StreamWriter, who: Principal) -> None:
        take = self._inbox.too_long if block.too_long else self._inbox.receive
        answer = await anyio.to_thread.run_sync(lambda: take(block.data, who, by="mllp"), limiter=self._threads)
        for acknowledgement in answer.acknowledgements:
            writer.write(framed(acknowledgement))
        async with asyncio.timeout(_WRITE_SECONDS):
            await writer.drain()

    def _principal(self, writer: asyncio.StreamWriter) -> Principal:
        """Who sends: by its certificate, when one is asked for."""
        name, by = "mllp", "none"
        certificate = writer.get_extra_info("peercert")
        if certificate:
            subject = dict(pair for part in certificate.get("subject", ()) for pair in part)
            name, by = str(subject.get("commonName", "mllp"))[:200], "tls"
        return Principal(
            tenant=self._settings.tenant, client=name, role="integration", scopes=frozenset({"hl7"}), by=by
        )
