"""Who asks: the name by which a client's requests are counted and its results are kept from others."""

from __future__ import annotations

from starlette.types import Scope

CLIENT = "notegap.client"
"""The key of a request's scope under which whoever knows the client (access control) writes its name."""


def client_of(scope: Scope) -> str:
    """The client's name; where nobody knows it, ""."""
    name = scope.get(CLIENT, "")
    return name if isinstance(name, str) else ""


def address_of(scope: Scope) -> str:
    """The client's name, else the address it asks from."""
    peer = scope.get("client")
    return client_of(scope) or (str(peer[0]) if peer else "")
