"""Who may ask: API keys, which we give out, and tokens (JWT) of an OpenID Connect issuer; both as a bearer.

An endpoint says `Depends(require("check"))` and gets the `Principal` that asks. Without credentials that are good the
answer is 401, without the scope 403; neither tells why, so that nothing can be tried out.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
import time
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jwt
from fastapi import HTTPException, Request
from sqlalchemy import Column, String, Table, insert, select, update
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from notegap.config import Config, OidcTable
from notegap.errors import StoreError, UsageError
from notegap.service.clients import CLIENT
from notegap.service.database import METADATA, Database, now, stamp
from notegap.service.guard import LOGGER
from notegap.service.principal import LOCAL, PRINCIPAL, ROLES, SCOPES, Principal, allowed
from notegap.service.problems import failure
from notegap.service.routes import method_of, route_of

KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", String(12), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("client", String(200), nullable=False),
    Column("role", String(100), nullable=False),
    # Empty: all of the role's.
    Column("scopes", String(500), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created", String(27), nullable=False),
    Column("expires", String(27), nullable=False),
    Column("revoked", String(27), nullable=False),
)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""How a token may be signed: with a private key, never with a secret that we would have too, never not at all."""

_BEARER = 'Bearer realm="notegap"'
_BASIC = f'{_BEARER}, Basic realm="notegap: a key as the password, any user name", charset="UTF-8"'
_PREFIX = "ngk_"
_LONGEST_TOKEN = 8192
_LONGEST_TENANT, _LONGEST_CLIENT = 100, 200
_FETCH_SECONDS = 5.0
_MOST_JWKS_BYTES = 1_000_000
_KEYS_FRESH, _KEYS_RETRY, _KEYS_GONE = 600.0, 30.0, 86_400.0
_SCOPE_PREFIX = "notegap:"
_REFUSED: Mapping[int, str] = MappingProxyType({401: "unauthorized", 403: "forbidden"})


# ── what an endpoint asks for ───────────────────────────────────────────────────────────────────


def require(scope: str, *, browser: bool = False) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that gives who asks, and lets only those in who have the scope.

    With `browser`, somebody at a browser is asked for a key by the browser itself.
    """
    if scope not in SCOPES:
        raise ValueError(f"there is no scope {scope!r}")

    async def principal(request: Request) -> Principal:
        who: Principal | None = request.scope.get(PRINCIPAL)
        if who is None:
            raise HTTPException(HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": _BASIC if browser else _BEARER})
        if not who.may(scope):
            raise HTTPException(HTTPStatus.FORBIDDEN)
        return who

    return principal


class Identify:
    """ASGI middleware: finds out who asks before anything is counted, kept or answered in anybody's name.

    It refuses nobody: whose credentials are not good is nobody, whom `require` refuses; other interfaces have other
    credentials. Whoever refuses, the audit log tells.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        who, is_known = await self._known(scope, receive, send)
        if not is_known:
            return
        refused = ""

        async def noting(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refused = _REFUSED.get(message["status"], "")
            await send(message)

        await self.app(scope, receive, noting)
        if refused:
            # Where other credentials are asked for, whoever is at this machine is nobody too.
            client = None if who is LOCAL or refused == "unauthorized" else who
            what = f"{method_of(scope)}:{route_of(scope)}"
            await run_in_threadpool(scope["app"].state.backend.refusals.add, client, what, refused)

    async def _known(self, scope: Scope, receive: Receive, send: Send) -> tuple[Principal | None, bool]:
        """Who asks, noted in `scope`; and whether that could be found out, else it was answered."""
        access: Access = scope["app"].state.backend.access
        authorization = Headers(scope=scope).get("authorization", "")
        try:
            # What needs the database or an issuer must not hold up the others.
            who = await run_in_threadpool(access.principal, authorization) if authorization else access.nobody
        except StoreError as error:
            LOGGER.error("%s", error)
            away = failure(
                scope["path"],
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Who asks cannot be found out now; nothing was done.",
            )
            await away(scope, receive, send)
            return None, False
        scope[PRINCIPAL] = who
        if who is not None and who is not LOCAL:
            # Neither holds a line break, so that no two pairs have one name.
            scope[CLIENT] = f"{who.tenant}\n{who.client}"
        return who, True


class Access:
    """Tells who asks by what stands in the Authorization header."""

    def __init__(self, *, required: bool, keys: ApiKeys | None = None, tokens: Tokens | None = None) -> None:
        self.required = required
        self._keys = keys
        self._tokens = tokens

    @classmethod
    def from_config(cls, config: Config, database: Database) -> Access:
        """The access that the configuration describes."""
        return cls(
            required=config.access.authentication == "required",
            keys=ApiKeys(database),
            tokens=Tokens(config.oidc) if config.oidc.issuer else None,
        )

    @property
    def nobody(self) -> Principal | None:
        """Who asks without credentials."""
        return None if self.required else LOCAL

    def principal(self, authorization: str) -> Principal | None:
        """Who asks; None when the credentials are not good, or there are none and some are required."""
        if not authorization:
            return self.nobody
        kind, _, credential = authorization.partition(" ")
        credential = credential.strip()
        if kind.lower() == "basic":
            kind, credential = "bearer", _password(credential)
            # What a person types into a browser is a key; a token would be gone before the note is written.
            if not credential.startswith(_PREFIX):
                return None
        if kind.lower() != "bearer" or not credential or len(credential) > _LONGEST_TOKEN or not credential.isascii():
            return None
        if credential.startswith(_PREFIX):
            return self._keys.principal(credential) if self._keys is not None else None
        return self._tokens.principal(credential) if self._tokens is not None else None


def _password(credential: str) -> str:
    """The password of HTTP Basic; "" when it is none."""
    try:
        return b64decode(credential[:_LONGEST_TOKEN], validate=True).decode("ascii").partition(":")[2]
    except ValueError:
        return ""


# ── API keys ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of an API key: everything but the key."""

    id: str
    tenant: str
    client: str
    role: str
    scopes: tuple[str, ...]
    created: str
    expires: str
    revoked: str

    @property
    def is_good(self) -> bool:
        """Whether it still opens anything."""
        return not self.revoked and (not self.expires or self.expires > now())


class ApiKeys:
    """The API keys. A key is shown when it is made; only a hash of it is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.ensure(KEYS)

    def add(
        self, client: str, *, role: str, tenant: str, scopes: Iterable[str] = (), expires: datetime | None = None
    ) -> tuple[ApiKey, str]:
        """Make a key for a client; what is known of it, and the key itself, which cannot be shown again."""
        narrowed = tuple(sorted(set(scopes)))
        if role not in ROLES:
            raise UsageError(f"there is no role {role!r}; the roles are {', '.join(ROLES)}")
        beyond = [scope for scope in narrowed if scope not in ROLES[role]]
        if beyond:
            raise UsageError(f"the role {role} has no scope {beyond[0]!r}; it has {', '.join(sorted(ROLES[role]))}")
        if not _is_name(client, _LONGEST_CLIENT) or not _is_name(tenant, _LONGEST_TENANT):
            raise UsageError("a client and a tenant are named by a word or a few, on one line")
        # The secret has 256 bits from the system, so that a plain hash of it cannot be guessed.
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        made = ApiKey(
            id=key_id,
            tenant=tenant,
            client=client,
            role=role,
            scopes=narrowed,
            created=now(),
            expires=stamp(expires) if expires is not None else "",
            revoked="",
        )
        row = {
            name: getattr(made, name) for name in ("id", "tenant", "client", "role", "created", "expires", "revoked")
        }
        with self._database.write() as connection:
            connection.execute(insert(KEYS).values(**row, scopes=" ".join(narrowed), digest=_digest(secret)))
        return made, f"{_PREFIX}{key_id}_{secret}"

    def list(self) -> tuple[ApiKey, ...]:
        """Every key that was ever made, oldest first."""
        with self._database.read() as connection:
            return tuple(_api_key(row) for row in connection.execute(select(KEYS).order_by(KEYS.c.created, KEYS.c.id)))

    def revoke(self, key_id: str) -> bool:
        """Let a key open nothing any more; whether there was one of this id that did."""
        changed = update(KEYS).where(KEYS.c.id == key_id, KEYS.c.revoked == "").values(revoked=now())
        with self._database.write() as connection:
            return bool(connection.execute(changed).rowcount)

    def principal(self, credential: str) -> Principal | None:
        """Whose key it is; None when it is nobody's, revoked or expired."""
        key_id, _, secret = credential.removeprefix(_PREFIX).partition("_")
        with self._database.read() as connection:
            row = connection.execute(select(KEYS).where(KEYS.c.id == key_id)).one_or_none()
        # Compared also when there is no such key, so that both take as long.
        good = hmac.compare_digest(_digest(secret), row.digest if row is not None else _digest(""))
        if row is None or not good:
            return None
        key = _api_key(row)
        if not key.is_good:
            return None
        scopes = allowed([key.role], key.scopes)
        return Principal(tenant=key.tenant, client=key.client, role=key.role, scopes=scopes, by="key")


def _api_key(row: Any) -> ApiKey:
    return ApiKey(
        id=row.id,
        tenant=row.tenant,
        client=row.client,
        role=row.role,
        scopes=tuple(row.scopes.split()),
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
    )


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _is_name(value: object, longest: int) -> bool:
    return isinstance(value, str) and 0 < len(value) <= longest and value.isprintable() and value == value.strip()


# ── tokens ──────────────────────────────────────────────────────────────────────────────────────


class Tokens:
    """Tokens of one issuer."""

    def __init__(self, settings: OidcTable) -> None:
        self._settings = settings
        self._keys = {address: Jwks(address) for address in (settings.jwks, *settings.jku)}

    def principal(self, token: str) -> Principal | None:
        """Who the token says asks; None when it is not good. Raises StoreError when its keys cannot be fetched."""
        claims = self._claims(token)
        return None if claims is None else self._principal(claims)

    def _claims(self, token: str) -> Mapping[str, Any] | None:
        settings = self._settings
        try:
            header = jwt.get_unverified_header(token)
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except jwt.InvalidTokenError:
            return None
        if issuer != settings.issuer:
            # Somebody else's, such as a CDS client's: an issuer that is away must not stand in its way.
            return None
        algorithm, key_id, where = header.get("alg"), header.get("kid"), header.get("jku", settings.jwks)
        # `crit` names extensions that must be understood; we know none.
        if algorithm not in ALGORITHMS or not isinstance(where, str) or where not in self._keys or "crit" in header:
            return None
        key = self._keys[where].key(key_id if isinstance(key_id, str) else None)
        if key is None or key.get("alg", algorithm) != algorithm:
            return None
        try:
            # From the key's own kind: an RSA key never verifies an ES signature, whatever the header says.
            return jwt.decode(
                token,
                key=jwt.PyJWK(dict(key), algorithm=algorithm),
                algorithms=[algorithm],
                audience=settings.audience,
                issuer=settings.issuer,
                leeway=settings.leeway_seconds,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.InvalidTokenError, jwt.PyJWKError, jwt.InvalidKeyError):
            return None

    def _principal(self, claims: Mapping[str, Any]) -> Principal | None:
        settings = self._settings
        roles = [role for role in _words(_claim(claims, settings.role_claim)) if role in ROLES]
        tenant = _claim(claims, settings.tenant_claim) or settings.tenant
        client = claims["sub"]
        if not roles or not _is_name(tenant, _LONGEST_TENANT) or not _is_name(client, _LONGEST_CLIENT):
            return None
        ours = [
            word.removeprefix(_SCOPE_PREFIX)
            for word in _words(_claim(claims, settings.scope_claim))
            if word.startswith(_SCOPE_PREFIX)
        ]
        return Principal(tenant=tenant, client=client, role=" ".join(roles), scopes=allowed(roles, ours), by="token")


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """A claim by its name, which may itself hold dots, or by its way down."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _words(value: object) -> list[str]:
    """A claim that is a list of words, or a text of words."""
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


class Jwks:
    """The public keys behind one address or in one file, read when they are needed and kept for ten minutes."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._keys: tuple[Mapping[str, Any], ...] = ()
        self._read = self._tried = -_KEYS_GONE

    def key(self, key_id: str | None) -> Mapping[str, Any] | None:
        """The key of this id; without an id, the only one there is."""
        with self._lock:
            if time.monotonic() - self._read >= _KEYS_FRESH or (
                # An issuer that has changed its keys; but a token that names keys at random does not make us ask on.
                self._find(key_id) is None and time.monotonic() - self._tried >= _KEYS_RETRY
            ):
                self._refresh()
            return self._find(key_id)

    def _find(self, key_id: str | None) -> Mapping[str, Any] | None:
        found = [key for key in self._keys if key_id is None or key.get("kid") == key_id]
        return found[0] if len(found) == 1 else None

    def _refresh(self) -> None:
        moment = time.monotonic()
        if moment - self._tried >= _KEYS_RETRY:
            self._tried = moment
            try:
                self._keys = _public_keys(_fetched(self._where))
                self._read = moment
            except (OSError, ValueError, KeyError):
                # An issuer that is away for a while does not lock everyone out, one that is gone does.
                if moment - self._read >= _KEYS_GONE:
                    self._keys = ()
        if not self._keys:
            raise StoreError("the keys that tokens are signed with cannot be read; see 'oidc.jwks'")


def _public_keys(data: bytes) -> tuple[Mapping[str, Any], ...]:
    keys = json.loads(data)["keys"] if data.lstrip().startswith(b"{") else None
    if not isinstance(keys, list):
        raise ValueError("no key set")  # noqa: TRY004 - the file is wrong, as when it is no JSON
    # Never a secret one ("oct"): it would make whoever can verify a token able to make one.
    return tuple(
        key
        for key in keys
        if isinstance(key, dict) and key.get("kty") in ("RSA", "EC", "OKP") and key.get("use") != "enc"
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: Any) -> None:
        """Nowhere: only the configured address is asked."""


def _fetched(where: str) -> bytes:
    if not where.startswith(("https://", "http://")):
        return Path(where).read_bytes()
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(where, timeout=_FETCH_SECONDS) as answer:
        data: bytes = answer.read(_MOST_JWKS_BYTES + 1)
    if len(data) > _MOST_JWKS_BYTES:
        raise ValueError("too long")
    return data
