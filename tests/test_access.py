"""Who may ask: keys and tokens that open something, all those that must not, and what is served beyond this machine."""

from __future__ import annotations

import base64
import hmac
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from fastapi import Depends, Request
from sqlalchemy import text
from starlette.testclient import TestClient

from handmade import FakeAnalyzer
from notegap import cli
from notegap.analyzer import Analyzer
from notegap.config import Config, OidcTable, load
from notegap.errors import StoreError, UsageError
from notegap.model import Note
from notegap.service.access import Access, ApiKeys, Tokens, require
from notegap.service.app import ServiceConfig, create_app
from notegap.service.audit_log import AuditLog
from notegap.service.backend import Backend, check_exposure
from notegap.service.clients import CLIENT
from notegap.service.database import Database
from notegap.service.guard import HSTS
from notegap.service.principal import LOCAL, ROLES, SCOPES, Principal, allowed
from notegap.service.store import Store

ISSUER, AUDIENCE, TENANT = "https://issuer.example/", "https://notegap.example/", "clinic"
KEY = f"k:{base64.b64encode(b'1' * 32).decode()}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


# ── roles ──


def test_roles_and_scopes() -> None:
    assert list(ROLES) == ["scribe", "coder", "integration", "admin"]
    assert all(scopes <= set(SCOPES) for scopes in ROLES.values())
    assert allowed(["admin"]) == frozenset(SCOPES)
    assert allowed(["scribe"], ["check", "delete"]) == {"check"}
    assert allowed(["scribe", "coder"]) == ROLES["scribe"] | ROLES["coder"]
    assert allowed(["root"]) == frozenset()
    assert allowed(["scribe"], ["delete"]) == frozenset()


def test_a_scope_that_is_none_cannot_be_required() -> None:
    with pytest.raises(ValueError, match="no scope 'chekc'"):
        require("chekc")


# ── API keys ──


def test_a_key_opens_what_its_role_may(database: Database) -> None:
    keys = ApiKeys(database)
    made, secret = keys.add("Ward 3", role="coder", tenant="a", scopes=["reports", "check"])
    who = keys.principal(secret)
    assert who == Principal(tenant="a", client="Ward 3", role="coder", scopes=frozenset({"check", "reports"}), by="key")
    assert keys.list() == (made,)


def test_only_a_hash_of_a_key_is_kept(database: Database) -> None:
    _, secret = ApiKeys(database).add("c", role="scribe", tenant="a")
    with database.read() as connection:
        stored = str(connection.execute(text("SELECT * FROM api_keys")).all())
    assert secret.rpartition("_")[2] not in stored
    assert secret not in stored


def test_keys_that_open_nothing(database: Database) -> None:
    keys = ApiKeys(database)
    made, secret = keys.add("c", role="scribe", tenant="a")
    other, other_secret = keys.add("d", role="admin", tenant="b")
    mixed = f"ngk_{other.id}_{secret.split('_', 2)[2]}"
    for wrong in (secret[:-1], f"{secret}x", mixed, f"ngk_{made.id}_", "ngk_", f"ngk_{made.id}", "ngk_nobody_x"):
        assert keys.principal(wrong) is None
    assert keys.revoke(made.id) is True
    assert (keys.revoke(made.id), keys.revoke("nobody")) == (False, False)
    assert keys.principal(secret) is None
    assert keys.principal(other_secret) is not None
    assert [key.is_good for key in keys.list()] == [False, True]


def test_a_key_expires(database: Database) -> None:
    keys = ApiKeys(database)
    _, gone = keys.add("c", role="scribe", tenant="a", expires=datetime.now(UTC) - timedelta(seconds=1))
    _, good = keys.add("c", role="scribe", tenant="a", expires=datetime.now(UTC) + timedelta(days=1))
    assert keys.principal(gone) is None
    assert keys.principal(good) is not None


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"role": "root"}, "there is no role 'root'"),
        ({"scopes": ["delete"]}, "the role scribe has no scope 'delete'"),
        ({"tenant": ""}, "a client and a tenant are named"),
        ({"tenant": "a\nb"}, "a client and a tenant are named"),
        ({"tenant": "a" * 101}, "a client and a tenant are named"),
    ],
)
def test_keys_that_are_not_made(database: Database, asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ApiKeys(database).add("c", **{"role": "scribe", "tenant": "a", **asked})


def test_the_commands(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEGAP_DATABASE_URL", database_url)
    monkeypatch.setenv("NOTEGAP_AUDIT_KEYS", KEY)
    assert cli.main(["keys", "list"]) == 3
    assert cli.main(["keys", "add", "Ward 3", "--role", "scribe", "--tenant", "a", "--days", "2"]) == 0
    made = capsys.readouterr()
    secret = made.out.strip()
    key_id = secret.split("_")[1]
    assert made.err == f"notegap: this is the key of 'Ward 3', shown this once; its id is {key_id}\n"
    config = load().config
    backend = Backend.from_config(config)
    assert backend.access.principal(f"Bearer {secret}") is not None
    assert cli.main(["keys", "list"]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith(f"{key_id}\ta\tWard 3\tscribe\tall\tuntil 20")
    assert secret not in listed
    assert cli.main(["keys", "revoke", key_id]) == 0
    assert backend.access.principal(f"Bearer {secret}") is None
    assert cli.main(["keys", "revoke", key_id]) == 3
    assert cli.main(["keys", "add", "x", "--role", "root", "--tenant", "a"]) == cli.BROKEN
    with backend.store.database.read() as connection:
        logged = connection.execute(text("SELECT action, subject, tenant FROM audit_log ORDER BY number")).all()
    assert [tuple(row) for row in logged] == [("key-add", key_id, "a"), ("key-revoke", key_id, "a")]
    backend.close()


def test_the_commands_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEGAP_STORE", "reports")
    monkeypatch.setenv("NOTEGAP_DATABASE_URL", f"sqlite:///{tmp_path / 'n.sqlite3'}")
    store = Store.from_config(load().config)
    kept_id = store.record(FakeAnalyzer().analyze(Note(id="n", text="gaps")), tenant="a", client="c")
    store.close()
    monkeypatch.setenv("NOTEGAP_DATABASE_KEYS", KEY)
    assert cli.main(["store", "purge"]) == 0
    assert cli.main(["store", "rotate"]) == 0
    assert cli.main(["store", "rotate"]) == 0
    assert cli.main(["store", "delete", str(kept_id), "--tenant", "b"]) == 3
    assert cli.main(["store", "delete", str(kept_id), "--tenant", "a"]) == 0
    assert cli.main(["store", "delete", str(kept_id), "--tenant", "a"]) == 3
    assert capsys.readouterr().out == "0 purged\n1 encrypted again\n0 encrypted again\n"


# ── tokens ──

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: Any, key_id: str, **more: str) -> dict[str, Any]:
    makers: dict[type, Callable[[Any], Any]] = {
        rsa.RSAPrivateKey: lambda each: jwt.algorithms.RSAAlgorithm.to_jwk(each, as_dict=True),
        ec.EllipticCurvePrivateKey: lambda each: jwt.algorithms.ECAlgorithm.to_jwk(each, as_dict=True),
        ed25519.Ed25519PrivateKey: lambda each: jwt.algorithms.OKPAlgorithm.to_jwk(each, as_dict=True),
    }
    maker = next(make for kind, make in makers.items() if isinstance(key, kind))
    return {**maker(key.public_key()), "kid": key_id, **more}


SECRET_JWK = {"kty": "oct", "kid": "oct", "k": base64.urlsafe_b64encode(b"s" * 64).decode().rstrip("=")}
JWKS = {
    "keys": [public(RSA, "rsa"), public(EC, "ec"), public(ED, "ed"), public(RSA, "only256", alg="RS256"), SECRET_JWK]
}


def claims(**other: Any) -> dict[str, Any]:
    moment = int(time.time())
    base = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ehr-1",
        "iat": moment,
        "nbf": moment,
        "exp": moment + 300,
        "roles": ["integration"],
        "tenant": TENANT,
    }
    return {name: value for name, value in {**base, **other}.items() if value is not None}


def token(key: Any = RSA, algorithm: str = "RS256", headers: dict[str, Any] | None = None, **other: Any) -> str:
    return jwt.encode(claims(**other), key, algorithm, headers={"kid": "rsa"} if headers is None else headers)


def forged(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(JWKS))
    return path


def tokens(where: object, **other: Any) -> Tokens:
    return Tokens(OidcTable(issuer=ISSUER, audience=AUDIENCE, jwks=str(where), **other))


@pytest.mark.parametrize(
    ("key", "key_id", "algorithm"),
    [(RSA, "rsa", "RS256"), (RSA, "rsa", "RS384"), (RSA, "rsa", "PS256"), (EC, "ec", "ES384"), (ED, "ed", "EdDSA")],
)
def test_a_token_opens_what_its_role_may(jwks: Path, key: Any, key_id: str, algorithm: str) -> None:
    who = tokens(jwks).principal(token(key, algorithm, {"kid": key_id}))
    assert who == Principal(tenant=TENANT, client="ehr-1", role="integration", scopes=ROLES["integration"], by="token")


def test_what_a_token_says_of_itself(jwks: Path) -> None:
    def who(settings: dict[str, Any] | None = None, **other: Any) -> Principal | None:
        return tokens(jwks, **(settings or {})).principal(token(**other))

    narrowed = who(scope="openid notegap:check notegap:delete profile")
    assert narrowed is not None
    assert narrowed.scopes == {"check"}
    listed = who({"scope_claim": "scp"}, scp=["notegap:fhir"])
    assert listed is not None
    assert listed.scopes == {"fhir"}
    several = who(roles=["scribe", "coder", "something"])
    assert several is not None
    assert (several.role, several.scopes) == ("scribe coder", ROLES["coder"])
    deep = who({"role_claim": "realm_access.roles"}, roles=None, realm_access={"roles": ["scribe"]})
    assert deep is not None
    assert deep.role == "scribe"
    fixed = who({"tenant": "all"}, tenant=None)
    assert fixed is not None
    assert fixed.tenant == "all"
    assert who({"leeway_seconds": 60}, exp=int(time.time()) - 30) is not None
    assert who(aud=["https://other.example/", AUDIENCE]) is not None


BAD_CLAIMS: list[dict[str, Any]] = [
    {"exp": None},
    {"exp": int(time.time()) - 3600},
    {"nbf": int(time.time()) + 3600},
    {"aud": None},
    {"aud": "https://other.example/"},
    {"aud": f"{AUDIENCE}x"},
    {"iss": None},
    {"iss": "https://evil.example/"},
    {"sub": None},
    {"sub": "a" * 201},
    {"sub": "a\nb"},
    {"roles": None},
    {"roles": ["root"]},
    {"roles": {"admin": True}},
    {"tenant": None},
    {"tenant": ["clinic"]},
    {"tenant": ""},
]


@pytest.mark.parametrize("wrong", BAD_CLAIMS, ids=[str(number) for number in range(len(BAD_CLAIMS))])
def test_a_token_whose_claims_are_not_good(jwks: Path, wrong: dict[str, Any]) -> None:
    assert tokens(jwks).principal(token(**wrong)) is None


def test_a_token_that_is_not_signed_by_the_issuer(jwks: Path) -> None:
    good = token()
    head, body, signature = good.split(".")
    other_body = token(roles=["admin"]).split(".")[1]
    pem = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    hs_header = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}
    signed = forged(hs_header, claims()).rpartition(".")[0]
    by_public_key = hmac.new(pem, signed.encode(), "sha256").digest()
    wrong = {
        "another key": token(OTHER),
        "another body": f"{head}.{other_body}.{signature}",
        "no signature": f"{head}.{body}.",
        "alg none": forged({"alg": "none", "kid": "rsa"}, claims()),
        "alg None": forged({"alg": "None", "kid": "rsa"}, claims()),
        "no alg": forged({"kid": "rsa"}, claims()),
        "HMAC by the public key": forged(hs_header, claims(), by_public_key),
        "HMAC by a secret in the set": jwt.encode(claims(), b"s" * 64, "HS512", headers={"kid": "oct"}),
        "a key of its own": jwt.encode(claims(), OTHER, "RS256", headers={"kid": "rsa", "jwk": public(OTHER, "rsa")}),
        "the id of another key": token(headers={"kid": "ec"}),
        "an id nobody knows": token(headers={"kid": "../../etc/passwd"}),
        "no id among several": token(headers={}),
        "an algorithm the key is not for": token(algorithm="RS384", headers={"kid": "only256"}),
        "an extension": jwt.encode(claims(), RSA, "RS256", headers={"kid": "rsa", "crit": ["x"], "x": 1}),
        "an address of keys": token(headers={"kid": "rsa", "jku": "https://evil.example/jwks"}),
        "no token": "a.b.c",
        "a word": "token",
    }
    taken = tokens(jwks)
    assert {name for name, each in wrong.items() if taken.principal(each) is not None} == set()
    assert taken.principal(good) is not None


class _Answers(BaseHTTPRequestHandler):
    asked: list[str]
    answers: dict[str, tuple[int, dict[str, str], bytes]]

    def do_GET(self) -> None:
        """Answer what is set."""
        self.asked.append(self.path)
        status, headers, body = self.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


@contextmanager
def issuer() -> Iterator[tuple[str, type[_Answers]]]:
    class Answers(_Answers):
        asked: list[str] = []  # noqa: RUF012 - one list for each server
        answers: dict[str, tuple[int, dict[str, str], bytes]] = {}  # noqa: RUF012

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", Answers
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_keys_are_fetched_once_and_again_when_the_issuer_changes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = 1e6
    monkeypatch.setattr("notegap.service.access.time.monotonic", lambda: moment)
    with issuer() as (address, answers):
        answers.answers["/jwks"] = (200, {}, json.dumps({"keys": [public(RSA, "rsa")]}).encode())
        taken = tokens(f"{address}/jwks")
        assert all(taken.principal(token()) for _ in range(3))
        assert answers.asked == ["/jwks"]
        new = token(OTHER, headers={"kid": "new"})
        assert taken.principal(new) is None
        assert answers.asked == ["/jwks"], "a token that names keys at random must not make us ask"
        answers.answers["/jwks"] = (200, {}, json.dumps({"keys": [public(OTHER, "new")]}).encode())
        moment += 31
        assert taken.principal(new) is not None
        assert taken.principal(token()) is None
        assert answers.asked == ["/jwks"] * 2
        answers.answers.clear()
        moment += 3600
        assert taken.principal(new) is not None, "an issuer that is away for an hour locks nobody out"
        moment += 86_400
        with pytest.raises(StoreError, match=r"oidc\.jwks"):
            taken.principal(new)


def test_keys_that_cannot_be_read_are_a_failure_and_not_a_refusal(tmp_path: Path) -> None:
    for body in ("", "[]", '{"keys": 1}', "{", "{}"):
        path = tmp_path / "jwks.json"
        path.write_text(body)
        with pytest.raises(StoreError):
            tokens(path).principal(token())
    with pytest.raises(StoreError):
        tokens(tmp_path / "nowhere.json").principal(token())


def test_for_a_token_of_somebody_else_no_keys_are_asked_for(tmp_path: Path) -> None:
    """A CDS client signs its own tokens, and calls also while the issuer of the others is away."""
    assert tokens(tmp_path / "nowhere.json").principal(token(iss="https://ehr.example")) is None


def test_only_the_configured_address_is_asked() -> None:
    keys = json.dumps({"keys": [public(OTHER, "rsa")]}).encode()
    with issuer() as (address, answers), issuer() as (elsewhere, others):
        others.answers["/jwks"] = (200, {}, keys)
        answers.answers["/jwks"] = (302, {"Location": f"{elsewhere}/jwks"}, b"")
        with pytest.raises(StoreError):
            tokens(f"{address}/jwks").principal(token(OTHER))
        answers.answers["/jwks"] = (200, {}, json.dumps(JWKS).encode())
        pointing = token(OTHER, headers={"kid": "rsa", "jku": f"{elsewhere}/jwks"})
        assert tokens(f"{address}/jwks").principal(pointing) is None
        assert others.asked == []
        assert tokens(f"{address}/jwks", jku=[f"{elsewhere}/jwks"]).principal(pointing) is not None
        assert tokens(f"{address}/jwks").principal(token(headers={"kid": "rsa", "jku": f"{address}/jwks"})) is not None


# ── over HTTP ──


def client_of(analyzer: Analyzer, access: Access) -> TestClient:
    database = Database("sqlite://")
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({"n"})))
    app.state.backend = replace(
        Backend.in_memory(),
        store=Store(database),
        audit_log=AuditLog.from_config(Config(), database),
        access=access,
    )

    @app.get("/reports")
    def reports(who: Principal = Depends(require("reports"))) -> dict[str, Any]:  # noqa: B008
        return {"tenant": who.tenant, "client": who.client}

    @app.get("/name")
    def name(request: Request) -> str:
        return str(request.scope.get(CLIENT, ""))

    return TestClient(app, base_url="http://n")


def test_an_endpoint_lets_in_who_has_the_scope(analyzer: Analyzer, database: Database) -> None:
    keys = ApiKeys(database)
    client = client_of(analyzer, Access(required=True, keys=keys))
    coder, scribe = (keys.add("c", role=role, tenant=role)[1] for role in ("coder", "scribe"))
    answer = client.get("/reports", headers={"Authorization": f"Bearer {coder}"})
    assert answer.json() == {"tenant": "coder", "client": "c"}
    refused = client.get("/reports", headers={"Authorization": f"bearer {scribe}"})
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
    for wrong in ("", "Bearer", "Bearer ", f"Basic {coder}", coder, "Bearer é", "Bearer " + "x" * 9000, "Bearer a.b.c"):
        answer = client.get("/reports", headers=[(b"Authorization", wrong.encode())] if wrong else [])
        assert (answer.status_code, answer.json()["detail"]) == (401, "Unauthorized.")
        assert answer.headers["www-authenticate"] == 'Bearer realm="notegap"'


def test_every_client_has_a_name_of_its_own(analyzer: Analyzer, database: Database) -> None:
    """What is counted and kept by that name is never another's."""
    keys = ApiKeys(database)
    client = client_of(analyzer, Access(required=True, keys=keys))
    owners = [("a", "b c"), ("a b", "c"), ("a", "b")]
    secrets = [keys.add(owner, role="scribe", tenant=tenant)[1] for tenant, owner in owners]
    names = [client.get("/name", headers={"Authorization": f"Bearer {secret}"}).json() for secret in secrets]
    assert names == [f"{tenant}\n{owner}" for tenant, owner in owners]
    assert client.get("/name").json() == ""
    assert client.get("/name", headers={"Authorization": "Bearer ngk_x_y"}).json() == ""


def test_the_page_asks_who_it_is_too(analyzer: Analyzer, database: Database) -> None:
    keys = ApiKeys(database)
    client = client_of(analyzer, Access(required=True, keys=keys))
    assert client.get("/").status_code == 401
    assert client.post("/page/report", json={"text": "gaps"}).status_code == 401
    _, secret = keys.add("c", role="scribe", tenant="a")
    assert client.post("/page/codes", json={"text": "x"}).status_code == 401
    assert client.get("/assets/page.js", headers={"Authorization": f"Bearer {secret}"}).status_code == 200


def test_on_this_machine_nobody_is_asked_but_wrong_credentials_are_refused(
    analyzer: Analyzer, database: Database
) -> None:
    client = client_of(analyzer, Access(required=False, keys=ApiKeys(database)))
    assert client.get("/reports").json() == {"tenant": LOCAL.tenant, "client": LOCAL.client}
    assert client.get("/reports", headers={"Authorization": "Bearer ngk_x_y"}).status_code == 401


def test_a_note_on_the_page_is_in_no_file(analyzer: Analyzer, tmp_path: Path) -> None:
    variables = {"NOTEGAP_DATABASE_URL": f"sqlite:///{tmp_path / 'n.sqlite3'}", "NOTEGAP_AUDIT_KEYS": KEY}
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({"n"}), settings=load(environment=variables).config))
    note = {"text": "Quetzalcoatlus has chronic laxity of the lumbar spine.", "name": "Quetzalcoatlus"}
    assert TestClient(app, base_url="http://n").post("/page/report", json=note).status_code == 200
    app.state.backend.close()
    assert [path for path in tmp_path.rglob("*") if b"Quetzalcoatlus" in path.read_bytes()] == []
    assert (tmp_path / "n.sqlite3").exists()


def test_a_database_that_is_away_opens_nothing(analyzer: Analyzer, database: Database) -> None:
    keys = ApiKeys(database)
    _, secret = keys.add("c", role="coder", tenant="a")
    with database.write() as connection:
        connection.execute(text("DROP TABLE api_keys"))
    answer = client_of(analyzer, Access(required=True, keys=keys)).get(
        "/reports", headers={"Authorization": f"Bearer {secret}"}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


# ── beyond this machine ──

PROTECTED = {
    "NOTEGAP_SERVER_HOST": "0.0.0.0",
    "NOTEGAP_ACCESS_AUTHENTICATION": "required",
    "NOTEGAP_SERVER_PROXIES": "10.0.0.0/24",
    "NOTEGAP_SERVER_NAMES": "notegap.example",
    "NOTEGAP_AUDIT_KEYS": KEY,
}


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("NOTEGAP_ACCESS_AUTHENTICATION", "authentication"),
        ("NOTEGAP_SERVER_PROXIES", "TLS"),
        ("NOTEGAP_SERVER_NAMES", "names"),
        ("NOTEGAP_AUDIT_KEYS", "audit log"),
    ],
)
def test_it_does_not_serve_others_unprotected(without: str, said: str) -> None:
    check_exposure(load(environment=PROTECTED).config)
    check_exposure(Config())
    with pytest.raises(UsageError, match=said):
        check_exposure(load(environment={name: each for name, each in PROTECTED.items() if name != without}).config)


@pytest.mark.parametrize(
    "variables",
    [
        {"NOTEGAP_SERVER_HOST": "192.0.2.1"},
        {"NOTEGAP_SERVER_HOST": "::"},
        {"NOTEGAP_SERVER_HOST": ""},
        {"NOTEGAP_SERVER_HOST": "localhost.example"},
        {"NOTEGAP_SERVER_PROXIES": "127.0.0.1"},
        {"NOTEGAP_SERVER_NAMES": "notegap.example"},
    ],
)
def test_what_counts_as_others(variables: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="does not serve others"):
        check_exposure(load(environment=variables).config)


def test_the_command_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: FakeAnalyzer())
    assert cli.main(["serve", "--host", "0.0.0.0", "--no-browser"]) == cli.BROKEN
    assert "does not serve others than this machine without authentication" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("peer", "proto", "status"),
    [
        ("10.0.0.7", "https", 200),
        ("10.0.0.7", "http", 403),
        ("10.0.0.7", None, 403),
        ("10.0.1.7", "https", 403),
        ("testclient", "https", 403),
    ],
)
def test_behind_a_proxy_only_the_proxy_is_answered(
    analyzer: Analyzer, peer: str, proto: str | None, status: int
) -> None:
    app = create_app(
        analyzer,
        ServiceConfig(hosts=frozenset({"n"}), proxies=(ip_network("10.0.0.0/24"),)),
    )
    client = TestClient(app, base_url="http://n", client=(peer, 1))
    answer = client.get("/assets/page.js", headers={} if proto is None else {"X-Forwarded-Proto": proto})
    assert answer.status_code == status
    assert answer.headers["strict-transport-security"] == HSTS
    asked = client.post(
        "/page/codes",
        json={"text": 1},
        headers={"X-Forwarded-Proto": "https", "Origin": "http://n"},
    )
    assert asked.status_code == 403


def test_whether_it_is_ready_may_be_asked_on_the_machine_itself(analyzer: Analyzer) -> None:
    """A container's health check comes through no proxy, by no configured name."""
    config = ServiceConfig(hosts=frozenset({"n"}), proxies=(ip_network("10.0.0.0/24"),))
    client = TestClient(create_app(analyzer, config), base_url="http://127.0.0.1:8765", client=("127.0.0.1", 1))
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").status_code in (200, 503)
    assert client.post("/healthz").status_code == 403
    assert client.get("/metrics").status_code == 403


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "notegap test")])
    moment = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(RSA.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(RSA, SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        RSA.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_a_certificate_that_is_none(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: FakeAnalyzer())
    (tmp_path / "no.pem").write_text("nothing")
    for chain, key in ((certificate[0], tmp_path / "no.pem"), (tmp_path / "nowhere", certificate[1])):
        asked = ["serve", "--port", "0", "--no-browser", "--tls-certificate", str(chain), "--tls-key", str(key)]
        assert cli.main(asked) == cli.BROKEN
        assert "are no PEM certificate and its key" in capsys.readouterr().err


def test_it_serves_over_https_and_asks_for_a_key(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (tmp_path / "notegap.toml").write_text(
        f'[server]\nport = {port}\ntls_certificate = "{certificate[0]}"\ntls_key = "{certificate[1]}"\n'
        f'[access]\nauthentication = "required"\n[database]\nurl = "sqlite:///{tmp_path / "n.sqlite3"}"\n'
    )
    keys = ApiKeys(Database(f"sqlite:///{tmp_path / 'n.sqlite3'}"))
    _, secret = keys.add("c", role="scribe", tenant="a")
    trusting = ssl.create_default_context(cafile=certificate[0])
    command = [sys.executable, "-m", "notegap", "serve", "--no-browser", "--config", str(tmp_path / "notegap.toml")]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split()[3]
            assert address == f"https://127.0.0.1:{port}/"
            sent = urllib.request.Request(
                f"{address}page/report",
                data=json.dumps({"text": "Chronic laxity of the lumbar spine.", "codes": ["M24.28"]}).encode(),
                headers={"Content-Type": "application/json", "Authorization": f"Bearer {secret}"},
            )
            with urllib.request.urlopen(sent, timeout=60, context=trusting) as answer:
                assert json.load(answer)["summary"].startswith("M24.28: Incomplete")
                assert answer.headers["strict-transport-security"] == HSTS
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(address, timeout=60, context=trusting)
        finally:
            process.terminate()
            process.communicate(timeout=30)
