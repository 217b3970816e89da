"""Fetching what another server holds: from configured servers only, never where they redirect to, bounded in all."""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from notegap.errors import NoteError, UsageError

_SECONDS = 5.0
_CHUNK = 65_536
_PORTS = {"https": 443, "http": 80}
# What some servers read as another path than the one that is compared: dots, slashes and backslashes in disguise.
_DISGUISED = re.compile(r"%2[EeFf]|%5[Cc]|\\|(?:^|/)\.{1,2}(?:/|$)|[^!-~]")


class FetchError(NoteError):
    """What was to be fetched cannot be had. Says why, and no address, which may hold a patient's number."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """The bytes of an answer, and what their server says they are."""

    data: bytes = field(repr=False)
    content_type: str = ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a server that is trusted may name one that is not."""

    def redirect_request(self, *_: Any) -> None:
        """No request."""


class Fetcher:
    """Fetches from `servers`, base addresses such as "https://ehr.example.org/fhir", and from nowhere else.

    `tokens` are what some of them are shown, by their address, when the caller of `get` has none; no other sees one.
    """

    def __init__(
        self,
        servers: Sequence[str],
        *,
        max_bytes: int,
        seconds: float = _SECONDS,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        self._servers = tuple(_server(server) for server in servers)
        self._tokens = dict(tokens or {})
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._opener = urllib.request.build_opener(_NoRedirect)

    def allows(self, url: str) -> bool:
        """Whether `url` lies under one of the servers."""
        return any(lies_under(url, server.geturl()) for server in self._servers)

    @property
    def base(self) -> str:
        """What a relative address is relative to when nobody says: the server, when there is one."""
        return self._servers[0].geturl() if len(self._servers) == 1 else ""

    def get(self, url: str, *, accept: str, token: str = "") -> Fetched:
        """What stands at `url`. Raises FetchError when it is not allowed, too long, too slow or not there."""
        if not self.allows(url):
            raise FetchError("The note is at an address of a server that is not configured; it is not fetched.")
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        if token := token or self._token(url):
            headers["Authorization"] = f"Bearer {token}"
        until = time.monotonic() + self._seconds
        try:
            # The scheme is that of a configured server: https, or http to this machine.
            with self._opener.open(urllib.request.Request(url, headers=headers), timeout=self._seconds) as answer:  # noqa: S310
                return Fetched(self._read(answer, until), answer.headers.get("Content-Type", ""))
        except urllib.error.HTTPError as error:
            problem = f"The server that holds it answers {error.code}."
            error.close()
        except (OSError, http.client.HTTPException, ValueError):
            # The error would quote the address.
            problem = "The server that holds it cannot be reached, or breaks off."
        raise FetchError(problem)

    def _token(self, url: str) -> str:
        """What the server of `url` is to be shown; of two that lie in each other, the inner one's."""
        holding = [server for server in self._tokens if lies_under(url, server)]
        return self._tokens[max(holding, key=len)] if holding else ""

    def _read(self, answer: http.client.HTTPResponse, until: float) -> bytes:
        data = bytearray()
        while chunk := answer.read1(_CHUNK):
            data += chunk
            if len(data) > self._max_bytes:
                raise FetchError("What was to be fetched is longer than the limit.")
            if time.monotonic() > until:
                raise FetchError("The server that holds it is too slow.")
        return bytes(data)


def lies_under(url: str, base: str) -> bool:
    """Whether `url` is an address of the server whose addresses begin with `base`, and nothing in it is disguised."""
    try:
        asked, server = urlsplit(url), urlsplit(base)
        same = _place(asked) == _place(server)
    except ValueError:
        return False
    if asked.username is not None or asked.fragment or _DISGUISED.search(asked.path + asked.query):
        return False
    return same and _under(asked.path, server.path)


def absolute(url: str, base: str) -> str:
    """`url`, when it is relative as an address of the server whose addresses begin with `base`."""
    try:
        is_relative = not urlsplit(url).scheme
        return urljoin(f"{base.rstrip('/')}/", url) if base and is_relative else url
    except ValueError:
        return url  # which nothing is fetched from


def is_loopback(host: str) -> bool:
    """Whether `host`, a port behind it or not, is this machine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def parsed(data: bytes) -> Any:
    """JSON from outside; None when it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None  # the error holds the text


def _server(address: str) -> SplitResult:
    server = urlsplit(address)
    if server.scheme == "https" or (server.scheme == "http" and is_loopback(server.netloc)):
        return server
    raise UsageError(
        f"{address}: a server that notes or keys are fetched from has an address that begins with https://"
    )


def _place(address: SplitResult) -> tuple[str, str, int]:
    return address.scheme, address.hostname or "", address.port or _PORTS.get(address.scheme, 0)


def _under(path: str, base: str) -> bool:
    base = base.rstrip("/")
    return path == base or path.startswith(f"{base}/")
