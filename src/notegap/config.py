"""How the service runs: notegap.toml and NOTEGAP_* variables → one frozen `Config`.

Every key is a field below with its default and what it means; the documentation, the names of the variables and the
listing of `notegap config` are made from these fields. A variable goes before the file, an option of the command line
before both. An unknown key or a wrong value is a UsageError that names the line or the variable and the nearest right
name.

Secrets stand in a variable or in a file of their own that a `..._file` key names, never in notegap.toml.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from notegap.errors import UsageError

FILE = "notegap.toml"
"""The file that is read from the folder notegap is started in, unless another is named."""

FILE_VARIABLE = "NOTEGAP_CONFIG"
"""The variable that names another file."""

_PREFIX = "NOTEGAP_"
# What the test suite itself is told.
_NOT_OURS = "NOTEGAP_TEST_"
_KEY_BYTES = 32
_KEYS_FORM = "write it as ID:KEY, where KEY is 32 random bytes in base64 (`openssl rand -base64 32`)"

_DATABASES = ("sqlite", "postgresql", "postgres", "postgresql+psycopg")
_SECRETS_FORM = "write it as whsec_ and 24 to 64 random bytes in base64 (`openssl rand -base64 32`)"


# ── kinds of values ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by their id. The first is used for what is written, every one for what is read, so that keys can change."""

    keys: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        """Whether there is a key at all."""
        return bool(self.keys)

    @property
    def current(self) -> tuple[str, bytes]:
        """The id and the key that new things are written with."""
        return self.keys[0]

    def get(self, key_id: str) -> bytes | None:
        """The key of this id."""
        return dict(self.keys).get(key_id)


NO_KEYS = KeyRing()


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets that what is sent is signed with, all of them, so that they can change."""

    values: tuple[bytes, ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        """Whether there is one at all."""
        return bool(self.values)


NO_SECRETS = Secrets()


@dataclass(frozen=True, slots=True)
class ServerTokens:
    """What servers are shown that ask who fetches from them: pairs of a server's address and its token."""

    by_server: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __bool__(self) -> bool:
        """Whether there is one at all."""
        return bool(self.by_server)


NO_TOKENS = ServerTokens()


def _key_ring(value: object) -> object:
    if not isinstance(value, str):
        return value
    keys: dict[str, bytes] = {}
    for part in re.split(r"[,\s]+", value.strip()):
        name, _, written = part.partition(":")
        try:
            key = base64.b64decode(written, validate=True)
        except binascii.Error:
            raise ValueError(f"a key is not base64; {_KEYS_FORM}") from None
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", name) or len(key) != _KEY_BYTES:
            raise ValueError(f"a key is not one; {_KEYS_FORM}")
        if name in keys:
            raise ValueError("two keys have the same id")
        keys[name] = key
    return KeyRing(tuple(keys.items()))


def _secrets(value: object) -> object:
    if not isinstance(value, str):
        return value
    found: list[bytes] = []
    for part in re.split(r"[,\s]+", value.strip()):
        try:
            found.append(base64.b64decode(part.removeprefix("whsec_"), validate=True))
        except binascii.Error:
            raise ValueError(f"a secret is not base64; {_SECRETS_FORM}") from None
        if not 24 <= len(found[-1]) <= 64:
            raise ValueError(f"a secret is too short or too long; {_SECRETS_FORM}")
    return Secrets(tuple(found))


def _server_tokens(value: object) -> object:
    if not isinstance(value, str):
        return value
    found: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in re.split(r"[,\n]", value))):
        server, _, token = part.partition(" ")
        if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token.strip()):
            raise ValueError("write each as the server's address and its token, with a space between")
        if server in found:
            raise ValueError("a server has two tokens")
        found[server] = token.strip()
    return ServerTokens(tuple(found.items()))


def _listed(value: object) -> object:
    """A list as a variable writes it: separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _networks(value: object) -> object:
    listed = _listed(value)
    if not isinstance(listed, list):
        return listed
    try:
        return tuple(ip_network(each) for each in listed)
    except ValueError:
        raise ValueError("write addresses or networks, such as 10.0.0.5 or 10.0.0.0/24") from None


def _over_https(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Addresses that nobody on the way can read along; on this machine nobody is."""
    for address in addresses:
        parts = urlsplit(address)
        if not parts.hostname or not (
            parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname))
        ):
            raise ValueError("write addresses that begin with https://")
    return addresses


def _clients(written: tuple[str, ...]) -> tuple[str, ...]:
    for each in written:
        issuer, _, jku = each.partition(" ")
        if not issuer or not jku.strip():
            raise ValueError("write each as its issuer and the address of its keys, with a space between")
        _over_https((jku.strip(),))
    return written


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Paths = Annotated[tuple[Path, ...], BeforeValidator(_listed)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks)]
Keys = Annotated[KeyRing, BeforeValidator(_key_ring)]
Servers = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_over_https)]
Clients = Annotated[tuple[str, ...], BeforeValidator(_listed), AfterValidator(_clients)]
Signing = Annotated[Secrets, BeforeValidator(_secrets)]
Tokens = Annotated[ServerTokens, BeforeValidator(_server_tokens)]


class _Secret:
    """Marks a field whose value is neither printed nor read from notegap.toml."""


# ── the keys ────────────────────────────────────────────────────────────────────────────────────


class Table(BaseModel):
    """A table of the file. Its docstring says what it is about, each field's description what the key means."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: object, info: ValidationInfo) -> object:
        """Refuse true and false where a number is due: they would count as 1 and 0."""
        if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation is not bool:
            raise ValueError(f"it is {str(value).lower()}, and nothing to be switched on or off")
        return value


class ServerTable(Table):
    """Where the service listens, and as whom it is known."""

    host: str = Field(
        default="127.0.0.1",
        description="The address it listens at. Beyond this machine only with authentication, TLS or a declared proxy, "
        "`names` and `audit.keys`.",
    )
    port: int = Field(default=8765, ge=0, le=65535, description="The port it listens at; 0 takes any free one.")
    names: Names = Field(
        default=(),
        description="The names clients call it by (the Host header, with the port unless it is the usual one). Others "
        "are not answered. This machine's own names always are while it listens here only.",
    )
    tls_certificate: Path | None = Field(default=None, description="The certificate chain (PEM) for HTTPS.")
    tls_key: Path | None = Field(default=None, description="The certificate's private key (PEM), not encrypted.")
    proxies: Networks = Field(
        default=(),
        description="Addresses or networks of the proxies that end TLS before it. Then only they are answered, and "
        "only for what reached them over HTTPS.",
    )
    max_bytes: int = Field(default=1_048_576, ge=1, description="The longest note that is read, in bytes of UTF-8.")
    workers: int = Field(
        default=1, ge=1, le=256, description="Processes that read side by side; one for each core is as many as help."
    )


class LimitsTable(Table):
    """How much may be asked, and how long what is fetched later stays."""

    rate: float = Field(
        default=200,
        ge=0,
        description="Requests a second that one client may ask of each process, five times as many at once; 0 is any "
        "number.",
    )
    batch_bytes: int = Field(default=33_554_432, ge=1, description="The longest batch that is taken, in bytes.")
    results_seconds: int = Field(
        default=3_600, ge=1, description="How long the results of a batch stay when nobody fetches them."
    )
    replay_seconds: int = Field(
        default=600, ge=1, description="How long the answer to a request with an `Idempotency-Key` stays."
    )


class DocumentsTable(Table):
    """Documents that are handed over as an address, by FHIR and CDS Hooks."""

    servers: Servers = Field(
        default=(),
        description="The servers they are fetched from, as the beginnings of addresses "
        "(`https://fhir.hospital.example/r4/`); none else is asked.",
    )
    tokens: Annotated[Tokens, _Secret()] = Field(
        default=NO_TOKENS,
        description="The bearer tokens that servers are shown for documents of FHIR's `$check`, `SERVER TOKEN` "
        "separated by commas, each server as in `servers`; no other sees one. Who may ask for `$check` reads with "
        "them. A client of CDS Hooks sends a token of its own.",
    )
    tokens_file: Path | None = Field(default=None, description="A file that holds the tokens.")


class CdsTable(Table):
    """CDS Hooks. Beyond this machine each call is signed by a client (JWT), or has an API key or token."""

    base_url: str = Field(
        default="", description="The address the service is known by: a client's token has to be for it."
    )
    clients: Clients = Field(
        default=(),
        description="The clients that may call, each as its `iss` and the address of its keys (`jku`) with a space "
        "between: `https://ehr.example https://ehr.example/jwks.json`.",
    )
    origins: Names = Field(
        default=(), description="Web applications that may call from a browser, such as `https://sandbox.example`."
    )


class DatabaseTable(Table):
    """Where what is kept is kept."""

    url: Annotated[str, _Secret()] = Field(
        default="",
        description="`sqlite:///PATH` or `postgresql://USER@HOST/NAME`. Empty: an SQLite file in the user's state "
        "folder. A URL with a password counts as a secret.",
    )
    url_file: Path | None = Field(default=None, description="A file that holds the URL.")
    keys: Annotated[Keys, _Secret()] = Field(
        default=NO_KEYS,
        description="The keys that reports and notes are encrypted with (AES-256-GCM), `ID:KEY` separated by commas: "
        'the first encrypts, all decrypt. `store = "full"` needs one.',
    )
    keys_file: Path | None = Field(default=None, description="A file that holds the keys.")
    retention_days: int = Field(
        default=30,
        ge=1,
        le=36_500,
        description="Reports and notes older than this are not given out, and are deleted; so are batches that were "
        "put by so long ago.",
    )


class AuditTable(Table):
    """The audit log: who did what and when, chained so that any change shows. `notegap audit-log verify` checks it."""

    keys: Annotated[Keys, _Secret()] = Field(
        default=NO_KEYS,
        description="The keys that the log is sealed with, as `database.keys`; keep old ones, or old entries cannot be "
        "verified. Without a key no log is kept, and it serves this machine only.",
    )
    keys_file: Path | None = Field(default=None, description="A file that holds the keys.")


class AccessTable(Table):
    """Who may ask."""

    authentication: Literal["none", "required"] = Field(
        default="none",
        description="`none`: whoever can reach it may ask, which is for this machine only. `required`: an API key "
        "(`notegap keys`) or, with an issuer below, a token.",
    )


class OidcTable(Table):
    """Tokens (JWT) of an OpenID Connect issuer, as bearer; signed with RS, PS, ES or EdDSA, nothing else."""

    issuer: str = Field(default="", description="The `iss` a token must have. Empty: no tokens are taken.")
    audience: str = Field(default="", description="The `aud` a token must have.")
    jwks: str = Field(
        default="", description="Where the issuer's public keys (JWKS) are: an https address, or a file's path."
    )
    jku: Names = Field(
        default=(), description="Other addresses of keys that a token may point to with `jku`; any other is refused."
    )
    role_claim: str = Field(
        default="roles", description="The claim that holds the role or roles; dots go deeper (`realm_access.roles`)."
    )
    scope_claim: str = Field(
        default="scope",
        description="The claim that narrows the role to scopes, written `notegap:check`. Without such a scope: all of "
        "the role's.",
    )
    tenant_claim: str = Field(default="tenant", description="The claim that holds the tenant.")
    tenant: str = Field(
        default="", description="The tenant of tokens that have no such claim. Empty: they are refused."
    )
    leeway_seconds: int = Field(default=30, ge=0, le=300, description="How far clocks may differ.")


class MllpTable(Table):
    """HL7 v2 over MLLP: MDM^T01 to T11 and ORU^R01 come in. `POST /hl7v2` takes the same messages over HTTP."""

    port: int | None = Field(
        default=None, ge=1, le=65535, description="The port it listens at, 2575 by custom. Not set: it does not."
    )
    host: str = Field(
        default="127.0.0.1",
        description="The address it listens at. Beyond this machine only with `peers` or `tls_client_ca`, and "
        "`audit.keys`.",
    )
    peers: Networks = Field(
        default=(), description="Addresses or networks that may connect. Empty: all that can reach it."
    )
    tls_certificate: Path | None = Field(default=None, description="The certificate chain (PEM) for TLS.")
    tls_key: Path | None = Field(default=None, description="The certificate's private key (PEM), not encrypted.")
    tls_client_ca: Path | None = Field(
        default=None,
        description="The authorities (PEM) that a client has to have a certificate of. Not set: none is asked for.",
    )
    tenant: str = Field(default="local", min_length=1, max_length=100, description="Whose messages they are.")
    idle_seconds: int = Field(
        default=3600, ge=1, description="A connection on which nothing was sent for so long is closed."
    )
    connections: int = Field(default=100, ge=1, le=10_000, description="How many there may be at a time.")


class OutboxTable(Table):
    """Where the results of HL7 v2 messages go. They wait encrypted (`database.keys`) until they are delivered."""

    oru: str = Field(
        default="",
        description="`mllps://HOST:PORT`, or `mllp://HOST:PORT` without TLS: an ORU^R01 message for each note that was "
        "checked, until AA is answered. Empty: none.",
    )
    plain_mllp: bool = Field(
        default=False,
        description="Whether `mllp://` may lead to another machine: only where the network between them is protected.",
    )
    webhook: str = Field(
        default="",
        description="An https address that each report is posted to as JSON, until 2xx is answered. Empty: none.",
    )
    secrets: Annotated[Signing, _Secret()] = Field(
        default=NO_SECRETS,
        description="What webhooks are signed with (HMAC-SHA256, Standard Webhooks): 24 to 64 bytes in base64, with or "
        "without `whsec_`; several are separated by commas, and each signs.",
    )
    secrets_file: Path | None = Field(default=None, description="A file that holds the secrets.")
    tls_ca: Path | None = Field(
        default=None,
        description="The authorities (PEM) of the receivers' certificates. Not set: those the system trusts.",
    )
    tls_certificate: Path | None = Field(default=None, description="A certificate (PEM) to show to receivers.")
    tls_key: Path | None = Field(default=None, description="Its private key (PEM), not encrypted.")
    tenant: str = Field(
        default="local", min_length=1, max_length=100, description="Whose results are handed on; nobody else's are."
    )
    attempts: int = Field(
        default=20,
        ge=1,
        le=1000,
        description="How often it is tried, after 5 seconds, then twice as long each time, up to an hour. What is not "
        "delivered then is dead: `notegap outbox list` shows it, `notegap outbox retry` tries it again.",
    )


class Config(Table):
    """All that can be set."""

    store: Literal["counts", "reports", "full"] = Field(
        default="counts",
        description="What is kept of a note. `counts`: how often something was found, nothing else. `reports`: also "
        "reports, without a word of the note. `full`: also the note and its full report, encrypted.",
    )
    patterns: Paths = Field(default=(), description="Folders of your own concepts and checklists to add.")
    server: ServerTable = Field(default=ServerTable())
    limits: LimitsTable = Field(default=LimitsTable())
    database: DatabaseTable = Field(default=DatabaseTable())
    audit: AuditTable = Field(default=AuditTable())
    access: AccessTable = Field(default=AccessTable())
    oidc: OidcTable = Field(default=OidcTable())
    documents: DocumentsTable = Field(default=DocumentsTable())
    cds: CdsTable = Field(default=CdsTable())
    mllp: MllpTable = Field(default=MllpTable())
    outbox: OutboxTable = Field(default=OutboxTable())

    @property
    def database_url(self) -> str:
        """The URL of the database, also when none is set."""
        return self.database.url or f"sqlite:///{state_folder() / 'notegap.sqlite3'}"

    @property
    def local_only(self) -> bool:
        """Whether only this machine can reach it: no other address, no proxy, no other name."""
        return is_loopback(self.server.host) and not self.server.proxies and not self.server.names


def state_folder() -> Path:
    """Where this user's programs keep what has to last."""
    given = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(given) if given else Path.home() / ".local" / "state") / "notegap"


def is_loopback(host: str) -> bool:
    """Whether an address means this machine to itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# ── reading ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key of the schema. `table` is empty for the keys at the top."""

    table: str
    name: str
    field: FieldInfo = field(repr=False)

    @property
    def path(self) -> str:
        """As it is spoken of: `server.port`."""
        return f"{self.table}.{self.name}" if self.table else self.name

    @property
    def variable(self) -> str:
        """The variable that sets it."""
        return _variable(self.path)

    @property
    def secret(self) -> bool:
        """Whether its value is never printed."""
        return any(isinstance(each, _Secret) for each in self.field.metadata)


def schema() -> tuple[Key, ...]:
    """Every key, in order."""
    return tuple(_keys())


def _keys() -> Iterator[Key]:
    for name, info in Config.model_fields.items():
        table = _table(info)
        if table is None:
            yield Key(table="", name=name, field=info)
        else:
            for inner, inner_info in table.model_fields.items():
                yield Key(table=name, name=inner, field=inner_info)


def _table(info: FieldInfo) -> type[Table] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Table) else None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where each key that was set comes from: `notegap.toml:3`, `NOTEGAP_STORE`, `--port`."""

    config: Config
    origins: Mapping[str, str]


def load(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, object] | None = None,
) -> Loaded:
    """Read the configuration: `file`, else what NOTEGAP_CONFIG names, else notegap.toml where there is one.

    `options` are the command line's by key, None where one was not given. Raises UsageError for what is wrong.
    """
    variables = os.environ if environment is None else environment
    named = file or (Path(variables[FILE_VARIABLE]) if variables.get(FILE_VARIABLE) else None)
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for found, where in (
        _from_file(named or Path(FILE), must=named is not None),
        _from_variables(variables),
        _from_options(options or {}),
    ):
        values |= found
        origins |= where
    _read_secret_files(values, origins)
    config = _validated(values, origins)
    _check_pairs(config, origins)
    return Loaded(config, origins)


_Found = tuple[dict[str, object], dict[str, str]]


def _from_file(path: Path, *, must: bool) -> _Found:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if must:
            raise UsageError(f"{path}: there is no such file") from None
        return {}, {}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({(error.strerror or 'error').lower()})") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: is not UTF-8") from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        at = int(line[1]) if line else text.count("\n") + 1
        raise UsageError(f"{path}:{at}: this is not TOML") from None
    lines = _lines(text)
    known = {key.path: key for key in schema()}
    tables = {key.table for key in known.values()} - {""}
    values: dict[str, object] = {}
    for name, value in tree.items():
        if name in tables:
            if not isinstance(value, dict):
                raise UsageError(f"{path}:{_line(lines, name)}: '{name}' is a table, write [{name}] and its keys below")
            values |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            values[name] = value
    origins = {name: f"{path}:{_line(lines, name)}" for name in values}
    for name, value in values.items():
        if name not in known:
            raise UsageError(f"{origins[name]}: unknown key '{name}'{_nearest(name, [*known, *tables])}")
        if known[name].secret and not _may_stand_in_file(name, value):
            raise UsageError(
                f"{origins[name]}: '{name}' is a secret: set {known[name].variable}, or name a file with '{name}_file'"
            )
    return values, origins


def _may_stand_in_file(name: str, value: object) -> bool:
    """Whether a secret holds nothing secret: the URL of a database without a password."""
    return name == "database.url" and isinstance(value, str) and value == without_password(value)


def _lines(text: str) -> dict[str, int]:
    """The line of each key and table that is written plainly, by its path."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?\s*([\w.\"' -]+?)\s*\]", line)
        assigned = re.match(r"\s*([\w\"'-]+(?:\s*\.\s*[\w\"'-]+)*)\s*=", line)
        if header:
            table = re.sub(r"[\s\"']", "", header[1])
            lines.setdefault(table, number)
        elif assigned:
            name = re.sub(r"[\s\"']", "", assigned[1])
            lines.setdefault(f"{table}.{name}" if table else name, number)
    return lines


def _line(lines: Mapping[str, int], name: str) -> int:
    """Of a key inside an inline table, the table's line."""
    return lines.get(name) or lines.get(name.partition(".")[0], 1)


def _from_variables(variables: Mapping[str, str]) -> _Found:
    known = {key.variable: key.path for key in schema()}
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for variable, value in variables.items():
        if not variable.startswith(_PREFIX) or variable.startswith(_NOT_OURS) or variable == FILE_VARIABLE:
            continue
        if variable not in known:
            raise UsageError(f"{variable}: unknown variable{_nearest(variable, [*known, FILE_VARIABLE])}")
        values[known[variable]] = value
        origins[known[variable]] = variable
    return values, origins


def _from_options(options: Mapping[str, object]) -> _Found:
    given = {path: value for path, value in options.items() if value is not None and value != ()}
    return given, {path: "--" + path.rpartition(".")[2].replace("_", "-") for path in given}


def _read_secret_files(values: dict[str, object], origins: dict[str, str]) -> None:
    for key in (each for each in schema() if each.secret):
        pointer = f"{key.path}_file"
        if not values.get(pointer):
            continue
        by_variable, points_by_variable = (origins.get(path) == _variable(path) for path in (key.path, pointer))
        if by_variable and not points_by_variable:
            # A variable goes before the file, also before what the file points to.
            continue
        if key.path in values and by_variable == points_by_variable:
            raise UsageError(
                f"{origins[pointer]}: '{pointer}' is set beside '{key.path}' ({origins[key.path]}); keep one"
            )
        path = Path(str(values[pointer]))
        try:
            values[key.path] = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise UsageError(f"{origins[pointer]}: the file that '{pointer}' names cannot be read") from None
        origins[key.path] = f"the file of {origins[pointer]}"


def _validated(values: Mapping[str, object], origins: Mapping[str, str]) -> Config:
    tree: dict[str, Any] = {}
    for path, value in values.items():
        table, _, name = path.rpartition(".")
        (tree.setdefault(table, {}) if table else tree)[name] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        # Without a traceback of pydantic's: its error holds what was given, which may be a secret.
        wrong = error.errors(include_url=False, include_input=True)[0]
    path = ".".join(str(part) for part in wrong["loc"][: 2 if wrong["loc"][0] not in _top() else 1])
    raise UsageError(f"{origins.get(path, path)}: '{path}' {_what_is_wrong(wrong, path)}")


def _variable(path: str) -> str:
    return _PREFIX + path.replace(".", "_").upper()


def _top() -> frozenset[str]:
    return frozenset(key.name for key in schema() if not key.table)


def _what_is_wrong(error: ErrorDetails, path: str) -> str:
    context = error.get("ctx", {})
    if error["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", str(context["expected"]))
        return f"is none of {', '.join(choices)}{_nearest(str(error['input']), choices)}"
    if error["type"] == "value_error":
        return f"is wrong: {context['error']}"
    said = error["msg"]
    return f"is wrong: {said[:1].lower()}{said[1:]}"


def _check_pairs(config: Config, origins: Mapping[str, str]) -> None:
    """What one key says of another, and of which the value must not be said."""

    def at(*paths: str) -> str:
        return next((f"{origins[path]}: " for path in paths if path in origins), "")

    kind, there, _ = config.database.url.partition("://")
    if config.database.url and not (there and kind in _DATABASES):
        raise UsageError(
            f"{at('database.url')}'database.url' is no URL of a database that is known; write sqlite:///PATH or "
            "postgresql://USER@HOST/NAME"
        )

    if config.store == "full" and not config.database.keys:
        raise UsageError(
            f"{at('store')}'store' is 'full', which is only kept encrypted: set NOTEGAP_DATABASE_KEYS or "
            "'database.keys_file'"
        )
    if (config.server.tls_certificate is None) != (config.server.tls_key is None):
        raise UsageError(
            f"{at('server.tls_certificate', 'server.tls_key')}'server.tls_certificate' and 'server.tls_key' go together"
        )
    if config.oidc.issuer and not (config.oidc.audience and config.oidc.jwks):
        raise UsageError(f"{at('oidc.issuer')}'oidc.issuer' needs 'oidc.audience' and 'oidc.jwks'")
    for address in (config.oidc.jwks, *config.oidc.jku):
        parts = urlsplit(address)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise UsageError(f"{at('oidc.jwks', 'oidc.jku')}the keys of tokens are only fetched over https")
    if not {server for server, _ in config.documents.tokens.by_server} <= set(config.documents.servers):
        raise UsageError(
            f"{at('documents.tokens')}'documents.tokens' has a token for a server that is not in 'documents.servers'"
        )
    for name, table in (("mllp", config.mllp), ("outbox", config.outbox)):
        certificate, key = f"{name}.tls_certificate", f"{name}.tls_key"
        if (table.tls_certificate is None) != (table.tls_key is None):
            raise UsageError(f"{at(certificate, key)}'{certificate}' and '{key}' go together")
    if config.mllp.tls_client_ca is not None and config.mllp.tls_certificate is None:
        raise UsageError(
            f"{at('mllp.tls_client_ca')}'mllp.tls_client_ca' needs 'mllp.tls_certificate' and 'mllp.tls_key'"
        )
    _check_outbox(config, at)


def _check_outbox(config: Config, at: Callable[..., str]) -> None:
    outbox = config.outbox
    if outbox.oru:
        parts = _address(outbox.oru)
        if parts is None or parts.scheme not in ("mllp", "mllps") or not parts.port or parts.path.strip("/"):
            raise UsageError(f"{at('outbox.oru')}'outbox.oru' is wrong: write mllps://HOST:PORT or mllp://HOST:PORT")
        if parts.scheme == "mllp" and not (outbox.plain_mllp or is_loopback(parts.hostname or "")):
            raise UsageError(
                f"{at('outbox.oru')}'outbox.oru' leads to another machine without TLS: write mllps://, or set "
                "'outbox.plain_mllp' where the network is protected"
            )
    if outbox.webhook:
        parts = _address(outbox.webhook)
        plain = parts is not None and parts.scheme == "http" and is_loopback(parts.hostname or "")
        if parts is None or not (parts.scheme == "https" or plain) or parts.username is not None:
            raise UsageError(
                f"{at('outbox.webhook')}'outbox.webhook' is wrong: write an address that begins with https://"
            )
        if not outbox.secrets:
            raise UsageError(
                f"{at('outbox.webhook')}'outbox.webhook' is signed: set NOTEGAP_OUTBOX_SECRETS or 'outbox.secrets_file'"
            )
    if (outbox.oru or outbox.webhook) and not config.database.keys:
        raise UsageError(
            f"{at('outbox.oru', 'outbox.webhook')}results that are handed on are only kept encrypted until then: set "
            "NOTEGAP_DATABASE_KEYS or 'database.keys_file'"
        )


def _address(written: str) -> SplitResult | None:
    """An address with a host; None when it is none."""
    try:
        parts = urlsplit(written)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname else None


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean '{close[0]}'?" if close else ""


# ── printing ────────────────────────────────────────────────────────────────────────────────────


def without_password(url: str) -> str:
    """A database's URL as it may be shown."""
    parts = urlsplit(url)
    query = "&".join(part for part in parts.query.split("&") if not part.lower().startswith("password"))
    if parts.password is None and query == parts.query:
        return url
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{host}" if user else host, query=query))


def effective(loaded: Loaded) -> str:
    """The configuration as a notegap.toml, every key with what it means and where its value comes from."""
    lines = ["# The configuration in effect; secrets are not shown."]
    table = ""
    for key in schema():
        if key.table != table:
            table = key.table
            kind = _table(Config.model_fields[table])
            lines += ["", *_comment(kind.__doc__ or "" if kind else ""), f"[{table}]"]
        value = _value(loaded.config, key)
        origin = loaded.origins.get(key.path, "default")
        lines += ["", *_comment(key.field.description or "")]
        if key.path == "database.url":
            value = without_password(loaded.config.database_url)
        if value is None:
            lines.append(f"# {key.name} is not set")
        elif key.secret and isinstance(value, KeyRing | Secrets | ServerTokens):
            lines.append(f"# {key.name} is set, not shown  # {origin}" if value else f"# {key.name} is not set")
        else:
            lines.append(f"{key.name} = {_toml(value)}  # {origin}")
    return "\n".join(lines) + "\n"


def reference() -> str:
    """The documentation of every key, as Markdown (docs/configuration.md)."""
    lines = [
        "# Configuration",
        "",
        "<!-- Made from src/notegap/config.py by `make samples`. -->",
        "",
        f"One file, `{FILE}`, in the folder notegap is started in, or the one that `--config` or `{FILE_VARIABLE}`",
        "names. A variable goes before the file, an option of the command line before both. A list in a variable is",
        "separated by commas. An unknown key or a wrong value is an error that names its line or variable.",
        "",
        "Secrets are never written into the file and never printed: set the variable, or name a file that holds the",
        "secret with the key that ends in `_file`. `notegap config` shows what is in effect and where it comes from.",
    ]
    table = None
    for key in schema():
        if key.table != table:
            table = key.table
            kind = _table(Config.model_fields[table]) if table else None
            lines += ["", f"## `[{table}]`" if table else "## At the top of the file"]
            lines += ["", kind.__doc__ or ""] if kind else []
            lines += ["", "| key | variable | default | meaning |", "|---|---|---|---|"]
        default = key.field.default
        shown = (
            "" if default is None or isinstance(default, KeyRing | Secrets | ServerTokens) else f"`{_toml(default)}`"
        )
        name = f"`{key.name}` (secret)" if key.secret else f"`{key.name}`"
        meaning = (key.field.description or "").replace("|", "\\|")
        lines.append(f"| {name} | `{key.variable}` | {shown} | {meaning} |")
    return "\n".join(lines) + "\n"


def _value(config: Config, key: Key) -> object:
    return getattr(getattr(config, key.table) if key.table else config, key.name)


def _comment(text: str) -> list[str]:
    return [f"# {text}"] if text else []


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    # A TOML string is a JSON one; so are numbers and booleans.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | int | float) else json.dumps(str(value))
