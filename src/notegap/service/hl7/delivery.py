"""Delivering what is in the outbox: over MLLP, until the receiver answers AA, or as a webhook, until it answers 2xx.

A webhook is signed as the Standard Webhooks specification says: HMAC-SHA256 of its id, the time and the body. A message
or a body is the same in every attempt, and so is its id.
"""

from __future__ import annotations

import base64
import hmac
import http.client
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from notegap.config import OutboxTable
from notegap.errors import NotegapError, StoreError, UsageError, crash_site
from notegap.service.guard import LOGGER
from notegap.service.hl7.framing import Deframer, framed
from notegap.service.hl7.outbox import Leased, Outbox, State

_SECONDS = 30.0
_POLL = 2.0
_STOP_SECONDS = 10.0
_MOST_ANSWER = 65_536
_OK = range(200, 300)
_ACCEPTED = frozenset({"AA", "CA"})

Sender = Callable[[Leased], None]
"""Delivers one entry, or raises NotDeliveredError."""


class NotDeliveredError(NotegapError):
    """An attempt failed. Says why in words of ours; `after`: the seconds the receiver asks to wait."""

    def __init__(self, why: str, *, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


def senders_of(settings: OutboxTable) -> dict[str, Sender]:
    """A sender for each destination that is configured. Raises UsageError for one that cannot be."""
    found: dict[str, Sender] = {}
    context = _client_context(settings)
    if settings.oru:
        address = urlsplit(settings.oru)
        found["oru"] = MllpSender(
            address.hostname or "", address.port or 0, context=context if address.scheme == "mllps" else None
        )
    if settings.webhook:
        found["webhook"] = WebhookSender(settings.webhook, settings.secrets.values, context=context)
    return found


def _client_context(settings: OutboxTable) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca)
    except (OSError, ValueError):
        raise UsageError("'outbox.tls_ca' is no PEM certificate") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.tls_certificate is not None and settings.tls_key is not None:
        load_certificate(context, settings.tls_certificate, settings.tls_key, "outbox")
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path, table: str) -> None:
    """Load a certificate and its key. Raises UsageError when they are none."""
    try:
        # Without a password: asking for one would wait at a terminal that nobody sits at.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError):
        raise UsageError(
            f"'{table}.tls_certificate' and '{table}.tls_key' are no PEM certificate and its key"
        ) from None


@dataclass(frozen=True, slots=True)
class MllpSender:
    """Sends a message and waits for its acknowledgement, on a connection of its own."""

    host: str
    port: int
    context: ssl.SSLContext | None = None
    seconds: float = _SECONDS

    def __call__(self, entry: Leased) -> None:
        """Deliver one entry."""
        until = time.monotonic() + self.seconds
        try:
            with socket.create_connection((self.host, self.port), timeout=self.seconds) as plain:
                if self.context is None:
                    answer = self._asked(plain, entry, until)
                else:
                    with self.context.wrap_socket(plain, server_hostname=self.host) as secure:
                        answer = self._asked(secure, entry, until)
        except ssl.SSLError:
            raise NotDeliveredError("no TLS connection could be made") from None
        except OSError as error:
            raise NotDeliveredError(_away(error)) from None
        _check_acknowledgement(answer, entry.id)

    def _asked(self, connection: socket.socket, entry: Leased, until: float) -> bytes:
        connection.sendall(framed(entry.body))
        deframer = Deframer(_MOST_ANSWER)
        while (left := until - time.monotonic()) > 0:
            connection.settimeout(left)
            data = connection.recv(_MOST_ANSWER)
            if not data:
                raise NotDeliveredError("the receiver closed the connection without an answer")
            for block in deframer.feed(data):
                return block.data
        raise NotDeliveredError("the receiver did not answer in time")


def _check_acknowledgement(answer: bytes, control_id: str) -> None:
    found = re.search(rb"(?:\A|[\r\n])MSA(.)([AC][AER])\1([^\r\n]*)", answer)
    if found is None:
        raise NotDeliveredError("the receiver answered with something else than an acknowledgement")
    if found[3].split(found[1])[0].strip() != control_id.encode():
        raise NotDeliveredError("the receiver acknowledged another message")
    if (code := found[2].decode()) not in _ACCEPTED:
        raise NotDeliveredError(f"the receiver answered {code}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a result goes where it is configured to go."""

    def redirect_request(self, *_: Any) -> None:
        """No request."""


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Posts a body with its signature, one for each secret, so that secrets can be changed."""

    address: str
    secrets: Sequence[bytes] = field(repr=False)
    context: ssl.SSLContext | None = None
    seconds: float = _SECONDS

    def __call__(self, entry: Leased) -> None:
        """Deliver one entry."""
        moment = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "notegap",
            "webhook-id": entry.id,
            "webhook-timestamp": moment,
            "webhook-signature": signatures(self.secrets, entry.id, moment, entry.body),
        }
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=self.context))
        # The scheme is that of the configuration: https, or http to this machine.
        request = urllib.request.Request(self.address, data=entry.body, headers=headers, method="POST")  # noqa: S310
        try:
            with opener.open(request, timeout=self.seconds) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            after = error.headers.get("Retry-After", "")
            error.close()
            raise NotDeliveredError(
                f"the receiver answered {error.code}", after=float(after) if after.isdecimal() else 0.0
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise NotDeliveredError(_away(error)) from None
        if status not in _OK:
            raise NotDeliveredError(f"the receiver answered {status}")


def signatures(secrets: Sequence[bytes], entry_id: str, moment: str, body: bytes) -> str:
    """The header `webhook-signature`: what whoever has the secret can make too, and nobody else."""
    signed = f"{entry_id}.{moment}.".encode() + body
    made = (base64.b64encode(hmac.new(secret, signed, sha256).digest()).decode() for secret in secrets)
    return " ".join(f"v1,{each}" for each in made)


def _away(error: Exception) -> str:
    """Why nobody could be reached, without what the error quotes."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLError):
        return "no TLS connection could be made"
    if isinstance(reason, TimeoutError):
        return "the receiver did not answer in time"
    return f"the receiver cannot be reached ({type(reason).__name__})"


class Delivery:
    """Delivers what is in the outbox, each destination in a thread of its own, until it is stopped."""

    def __init__(
        self,
        outbox: Outbox,
        senders: Mapping[str, Sender],
        *,
        count: Callable[[str, str], None],
        poll: float = _POLL,
    ) -> None:
        """`count` is told the destination and the outcome of each attempt."""
        self._outbox = outbox
        self._senders = senders
        self._count = count
        self._poll = poll
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        for destination, sender in self._senders.items():
            thread = threading.Thread(
                target=self._run, args=(destination, sender), name=f"outbox {destination}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop after the attempt in hand, if it does not take long; what waits is delivered after the next start."""
        self._stopping.set()
        self._outbox.changed.set()
        until = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, destination: str, sender: Sender) -> None:
        while not self._stopping.is_set():
            try:
                worked = self.step(destination, sender)
            except StoreError as error:
                LOGGER.error("%s", error)
                worked = False
            except Exception as error:  # noqa: BLE001 - its lease runs out, and it is tried again
                LOGGER.error("the outbox broke: %s", crash_site(error))
                worked = False
            if not worked:
                self._outbox.changed.wait(self._poll)
                if not self._stopping.is_set():
                    self._outbox.changed.clear()

    def step(self, destination: str, sender: Sender) -> bool:
        """Deliver one entry, if one is due; whether one was."""
        entry = self._outbox.claim(destination)
        if entry is None:
            return False
        try:
            sender(entry)
        except NotDeliveredError as error:
            state = self._outbox.failed(entry, str(error), after=error.after)
            self._count(destination, "dead" if state is State.DEAD else "failed")
            LOGGER.warning(
                "result %s was not delivered to '%s': %s (attempt %d)", entry.id, destination, error, entry.attempts
            )
        else:
            self._outbox.delivered(entry)
            self._count(destination, "delivered")
        return True
