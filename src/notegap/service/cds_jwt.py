"""Who calls: the JWT that a CDS client signs for every call (CDS Hooks 2.0, "Trusting CDS Clients").

Only asymmetric signatures count, only from issuers that are configured, with keys from where the configuration says;
a token is good for one call of one address.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from sqlalchemy import Column, Float, String, Table, delete

from notegap.errors import NotegapError
from notegap.service.database import METADATA, Database
from notegap.service.fetch import Fetcher, FetchError, parsed
from notegap.service.principal import Principal

ALGORITHMS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "RSA": ("RS384", "RS256", "RS512", "PS256", "PS384", "PS512"),
        "EC": ("ES384", "ES256", "ES512"),
        "OKP": ("EdDSA",),
    }
)
"""Key type → the algorithms a key of it may sign with. A shared secret ("oct") has none."""

_LEEWAY = 30
_LONGEST_LIFE = 3_600
_LONGEST_TOKEN = 16_384
_SMALLEST_RSA = 2_048
_LONGEST_TENANT = 200
_LONGEST_NAME = 100
_KEYS_FRESH, _KEYS_GONE = 3_600.0, 86_400.0
_NO_SOONER_THAN = 30.0
_REQUIRED = ("iss", "aud", "exp", "iat", "jti")
_TOKENS = Table(
    "cds_tokens",
    METADATA,
    # A hash of the issuer and the token's id.
    Column("token", String(64), primary_key=True),
    Column("expires", Float, nullable=False),
)


class TokenError(NotegapError):
    """A token that proves nothing. Its message says why, and nothing of what the token says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CdsClient:
    """A client that may call. Its keys come from `jku`, or are `jwks` when they were handed over."""

    issuer: str
    jku: str = ""
    jwks: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: an issuer and, where it speaks for several, its tenant."""

    issuer: str
    tenant: str = ""

    @property
    def principal(self) -> Principal:
        """As whoever asks the other interfaces. No API key's tenant has such a name, nor another issuer's."""
        tenant = f"cds {self.issuer} {self.tenant}".rstrip()
        if len(tenant) > _LONGEST_NAME:
            tenant = f"cds {sha256(tenant.encode('utf-8', 'surrogatepass')).hexdigest()}"
        return Principal(tenant=tenant, client="cds", role="integration", scopes=frozenset({"cds"}), by="cds")


class Seen:
    """Remembers which tokens were used until they expire, for every process that shares the database."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        database.ensure(_TOKENS)

    def first(self, issuer: str, token_id: str, expires: float) -> bool:
        """Whether the token is used for the first time; from now on it was."""
        name = sha256(f"{issuer}\0{token_id}".encode("utf-8", "surrogatepass")).hexdigest()
        noted = self._database.upsert(_TOKENS).values(token=name, expires=expires)
        used = noted.on_conflict_do_nothing().returning(_TOKENS.c.token)
        with self._database.write() as connection:
            connection.execute(delete(_TOKENS).where(_TOKENS.c.expires < self._clock()))
            return connection.execute(used).one_or_none() is not None


@dataclass(frozen=True, slots=True)
class _Fetched:
    """Keys, when they were fetched, and when that was last tried."""

    keys: Mapping[str, jwt.PyJWK] = field(default_factory=dict)
    fetched: float = float("-inf")
    tried: float = float("-inf")


class Verifier:
    """Verifies tokens of `clients`."""

    def __init__(self, clients: Sequence[CdsClient], seen: Seen, fetcher: Fetcher) -> None:
        self._clients = {client.issuer: client for client in clients}
        self._seen = seen
        self._fetcher = fetcher
        self._keys: dict[str, _Fetched] = {}
        self._lock = threading.Lock()

    def verify(self, authorization: str, url: str) -> Caller:
        """Who signed the token in an Authorization header for a call of `url`; raises TokenError."""
        scheme, _, token = authorization.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN:
            raise TokenError("A call needs a JWT: Authorization: Bearer and the token.")
        header, client = self._claimed(token)
        key, algorithm = self._key(client, header), header.get("alg")
        if algorithm not in ALGORITHMS.get(str(key.key_type), ()):
            raise TokenError("The token's algorithm is not one that its key signs with.")
        try:
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=url,
                issuer=client.issuer,
                leeway=_LEEWAY,
                options={"require": list(_REQUIRED)},
            )
        except jwt.InvalidTokenError as error:
            problem = _WHY.get(type(error), "it is not valid")
        else:
            self._use_once(client, claims)
            return Caller(issuer=client.issuer, tenant=str(claims.get("tenant", ""))[:_LONGEST_TENANT])
        raise TokenError(f"The token does not hold: {problem}.")

    def _claimed(self, token: str) -> tuple[Mapping[str, Any], CdsClient]:
        """The header, and the client that the token says it is from: which key to ask for, nothing more."""
        try:
            header = jwt.get_unverified_header(token)
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            header, claims = {}, {}
        issuer = claims.get("iss")
        client = self._clients.get(issuer) if isinstance(issuer, str) else None
        if client is None:
            raise TokenError("The token is of no issuer that is configured here.")
        if header.get("jku") not in (None, client.jku):
            raise TokenError("The token's keys are not where this issuer's keys are.")
        if str(header.get("typ", "JWT")).upper() != "JWT":
            raise TokenError("The token is not a JWT.")
        return header, client

    def _key(self, client: CdsClient, header: Mapping[str, Any]) -> jwt.PyJWK:
        name = header.get("kid")
        key = self._keys_of(client, name).get(name) if isinstance(name, str) else None
        if key is None:
            raise TokenError("The token names no key of its issuer.")
        if isinstance(key.key, RSAPublicKey) and key.key.key_size < _SMALLEST_RSA:
            raise TokenError(f"The token's key is shorter than {_SMALLEST_RSA} bits.")
        return key

    def _keys_of(self, client: CdsClient, name: str) -> Mapping[str, jwt.PyJWK]:
        """The client's keys; fetched anew when they are old, or when it may have a new one, but not at every call."""
        if not client.jku:
            return _key_set(client.jwks)
        with self._lock:
            known, now = self._keys.get(client.jku, _Fetched()), time.monotonic()
            wanted = now - known.fetched > _KEYS_FRESH or name not in known.keys
            if wanted and now - known.tried > _NO_SOONER_THAN:
                known = self._keys[client.jku] = self._fetch(client.jku, known, now)
        return known.keys if now - known.fetched < _KEYS_GONE else {}

    def _fetch(self, jku: str, known: _Fetched, now: float) -> _Fetched:
        """The keys at `jku`; those known already when they cannot be fetched."""
        try:
            answer = self._fetcher.get(jku, accept="application/jwk-set+json, application/json")
        except FetchError:
            return replace(known, tried=now)
        return _Fetched(_key_set(parsed(answer.data)), fetched=now, tried=now)

    def _use_once(self, client: CdsClient, claims: Mapping[str, Any]) -> None:
        token_id, expires, issued = claims["jti"], claims["exp"], claims["iat"]
        if not isinstance(token_id, str) or not token_id:
            raise TokenError("The token has no id of its own (jti).")
        if expires - issued > _LONGEST_LIFE:
            raise TokenError("The token is valid for longer than an hour.")
        if not self._seen.first(client.issuer, token_id, float(expires) + _LEEWAY):
            raise TokenError("The token was used before; each call needs its own.")


_WHY: Mapping[type[Exception], str] = MappingProxyType(
    {
        jwt.ExpiredSignatureError: "it has expired",
        jwt.ImmatureSignatureError: "it is from the future",
        jwt.InvalidAudienceError: "it is for another address (aud)",
        jwt.InvalidSignatureError: "its signature is wrong",
        jwt.MissingRequiredClaimError: f"it lacks one of {', '.join(_REQUIRED)}",
    }
)


def _key_set(given: object) -> Mapping[str, jwt.PyJWK]:
    """The public keys of a JWK set, by name; those that cannot be used are left out."""
    keys: dict[str, jwt.PyJWK] = {}
    listed = given.get("keys") if isinstance(given, Mapping) else None
    for each in listed if isinstance(listed, Sequence) else ():
        if isinstance(each, Mapping) and each.get("kty") in ALGORITHMS and isinstance(each.get("kid"), str):
            # Without a private part, were one handed over by mistake.
            public = {name: value for name, value in each.items() if name not in ("d", "p", "q", "dp", "dq", "qi")}
            try:
                keys[each["kid"]] = jwt.PyJWK.from_dict(public)
            except jwt.PyJWTError:
                continue
    return keys
