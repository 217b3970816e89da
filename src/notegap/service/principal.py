"""Who asks, and what they may: roles are sets of scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

PRINCIPAL = "notegap.principal"
"""The key of a request's scope that holds who asks; None when nobody that is known."""

SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "check": "check a note, and use the page",
        "extract": "read the facts of a note",
        "query": "write and judge queries",
        "codes": "look codes up",
        "batch": "hand in many notes and fetch their reports",
        "cds": "call the CDS Hooks and give feedback",
        "fhir": "call the FHIR operations",
        "hl7": "hand in HL7 v2 messages",
        "reports": "read reports that were kept, of one's own tenant",
        "delete": "delete reports that were kept, of one's own tenant",
        "metrics": "read the counts and metrics",
    }
)
"""What can be allowed."""

_READING = frozenset({"check", "extract", "query", "codes"})
ROLES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "scribe": _READING,
        "coder": _READING | {"batch", "reports"},
        "integration": _READING | {"batch", "cds", "fhir", "hl7"},
        "admin": frozenset(SCOPES),
    }
)
"""What each role may do; a client's own scopes only narrow it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks: a client of a tenant, and the scopes it has. `by` tells how that is known: none, key, token, cli."""

    tenant: str
    client: str
    role: str
    scopes: frozenset[str]
    by: str

    def may(self, scope: str) -> bool:
        """Whether the scope is among its own."""
        return scope in self.scopes


LOCAL = Principal(tenant="local", client="local", role="admin", scopes=frozenset(SCOPES), by="none")
"""Whoever is at this machine while no authentication is asked for."""


def allowed(roles: Iterable[str], narrowed_to: Iterable[str] = ()) -> frozenset[str]:
    """The scopes of roles, narrowed to some of them unless none is named. A role nobody knows allows nothing."""
    scopes = frozenset().union(*(ROLES.get(role, frozenset()) for role in roles))
    wanted = frozenset(narrowed_to)
    return scopes & wanted if wanted else scopes
