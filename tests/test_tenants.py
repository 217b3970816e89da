"""Over HTTP, with keys: who may do what, what each tenant sees of what is kept, and what is in no file by default."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from notegap import cli
from notegap.analyzer import Analyzer
from notegap.config import load
from notegap.service.access import ApiKeys
from notegap.service.app import ServiceConfig, create_app
from notegap.service.database import Database, stamp
from notegap.service.principal import ROLES
from notegap.service.put_by import PUT_BY
from test_service import CANARY

TEXT = f"{CANARY} has chronic ligamentous laxity of the lumbar spine."
NOTE = {"id": f"visit {CANARY}", "text": TEXT, "codes": ["M24.28"]}
DOCUMENT = {
    "resourceType": "DocumentReference",
    "status": "current",
    "content": [
        {"attachment": {"contentType": "text/plain", "data": base64.b64encode(TEXT.encode()).decode()}},
    ],
}
CALL = {
    "hook": "org.notegap.documentreference-sign",
    "hookInstance": "00000000-0000-4000-8000-000000000000",
    "context": {"userId": "Practitioner/1", "patientId": "1", "document": DOCUMENT},
}
KEYS = f"k:{base64.b64encode(b'2' * 32).decode()}"
ASKED: dict[str, tuple[str, str, object]] = {
    "check": ("POST", "/v1/check", NOTE),
    "extract": ("POST", "/v1/extract", {"text": TEXT}),
    "query": ("POST", "/v1/query", NOTE),
    "codes": ("GET", "/v1/codes/M24.28", None),
    "batch": ("POST", "/v1/batches", [NOTE]),
    "cds": ("POST", "/cds-services/notegap-document-sign", CALL),
    "fhir": ("POST", "/fhir/DocumentReference/$check", DOCUMENT),
    "reports": ("GET", "/v1/reports", None),
    "delete": ("DELETE", "/v1/reports/none", None),
    "metrics": ("GET", "/v1/counts", None),
}
"""Scope → a request that needs it."""

Ask = Callable[..., Any]


@contextmanager
def service(analyzer: Analyzer, url: str, **variables: str) -> Iterator[tuple[TestClient, ApiKeys]]:
    """The service with authentication, on a database."""
    environment = {"NOTEGAP_DATABASE_URL": url, "NOTEGAP_ACCESS_AUTHENTICATION": "required", **variables}
    config = load(environment=environment).config
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({"n"}), settings=config))
    with TestClient(app, base_url="http://n") as client:
        yield client, ApiKeys(app.state.backend.store.database)


def as_(client: TestClient, secret: str) -> Ask:
    def ask(method: str, path: str, body: object = None, **headers: str) -> Any:
        content = None if body is None else json.dumps(body)
        sent = {"Content-Type": "application/json", "Authorization": f"Bearer {secret}", **headers}
        return client.request(method, path, content=content, headers=sent)

    return ask


def kept_by(ask: Ask) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = ask("GET", "/v1/reports").json()["reports"]
    return listed


def test_each_role_may_do_what_it_may_and_nothing_else(analyzer: Analyzer, database_url: str) -> None:
    with service(analyzer, database_url) as (client, keys):
        may: dict[str, set[str]] = {}
        for role in ROLES:
            ask = as_(client, keys.add("c", role=role, tenant="a")[1])
            answers = {scope: ask(*asked) for scope, asked in ASKED.items()}
            refused = {scope for scope, answer in answers.items() if answer.status_code in (401, 403)}
            may[role] = set(ASKED) - refused
            done = {answers[scope].status_code for scope in may[role] - {"delete"}}
            assert done <= {200, 202}, role
        assert may == {role: scopes & set(ASKED) for role, scopes in ROLES.items()}
        for asked in ASKED.values():
            assert as_(client, "ngk_x_y")(*asked).status_code == 401
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert client.get(path).status_code == 200
        assert client.get("/metrics").status_code == 401


def test_scopes_narrow_a_role(analyzer: Analyzer, database_url: str) -> None:
    with service(analyzer, database_url) as (client, keys):
        ask = as_(client, keys.add("c", role="admin", tenant="a", scopes=["codes"])[1])
        assert {scope for scope, asked in ASKED.items() if ask(*asked).status_code == 200} == {"codes"}


def test_tenants_never_see_each_others_data(analyzer: Analyzer, database_url: str) -> None:
    with service(analyzer, database_url, NOTEGAP_STORE="reports") as (client, keys):
        one, two = (as_(client, keys.add("c", role="admin", tenant=tenant)[1]) for tenant in ("one", "two"))
        for ask, times in ((one, 2), (two, 1)):
            for _ in range(times):
                assert ask("POST", "/v1/check", NOTE).status_code == 200
        (theirs,) = kept_by(two)
        assert {each["tenant"] for each in kept_by(one)} == {"one"}
        assert len(kept_by(one)) == 2
        assert one("GET", f"/v1/reports/{theirs['id']}").status_code == 404
        assert one("DELETE", f"/v1/reports/{theirs['id']}").status_code == 404
        assert [ask("GET", "/v1/counts").json()["counts"]["reports"] for ask in (one, two)] == [2, 1]
        batch = two("POST", "/v1/batches", [NOTE]).headers["location"]
        for method, path in (("GET", batch), ("GET", f"{batch}/results"), ("DELETE", batch)):
            assert one(method, path).status_code == 404
        # The same key of a repeated request is another one in another's hands.
        again = {"Idempotency-Key": "k"}
        assert two("POST", "/v1/check", NOTE, **again).headers.get("idempotency-replayed") is None
        assert one("POST", "/v1/check", NOTE, **again).headers.get("idempotency-replayed") is None
        assert one("POST", "/v1/check", NOTE, **again).headers["idempotency-replayed"] == "true"


def test_a_report_is_kept_without_a_word_of_the_note_and_deleted(analyzer: Analyzer, database_url: str) -> None:
    with service(analyzer, database_url, NOTEGAP_STORE="reports") as (client, keys):
        ask = as_(client, keys.add("c", role="admin", tenant="a")[1])
        report = ask("POST", "/v1/check", NOTE).json()
        (kept,) = kept_by(ask)
        answer = ask("GET", f"/v1/reports/{kept['id']}")
        assert CANARY not in answer.text
        shape = answer.json()
        assert shape["note"] is None
        statuses = [[finding["status"] for finding in check["findings"]] for check in report["checks"]]
        assert [[each["status"] for each in check["findings"]] for check in shape["report"]["checks"]] == statuses
        assert ask("DELETE", f"/v1/reports/{kept['id']}").status_code == 204
        assert ask("GET", f"/v1/reports/{kept['id']}").status_code == 404
        assert kept_by(ask) == []


def test_the_whole_is_kept_when_it_is_told_to(analyzer: Analyzer, database_url: str) -> None:
    variables = {"NOTEGAP_STORE": "full", "NOTEGAP_DATABASE_KEYS": KEYS}
    with service(analyzer, database_url, **variables) as (client, keys):
        ask = as_(client, keys.add("c", role="admin", tenant="a")[1])
        report = ask("POST", "/v1/check", NOTE).json()
        (kept,) = kept_by(ask)
        shape = ask("GET", f"/v1/reports/{kept['id']}").json()
        assert shape["report"] == report
        assert (shape["note"]["id"], shape["note"]["text"]) == (NOTE["id"], TEXT)


def test_a_note_is_found_again_and_deleted(analyzer: Analyzer, database_url: str) -> None:
    variables = {"NOTEGAP_STORE": "full", "NOTEGAP_DATABASE_KEYS": KEYS}
    named = {"note": str(NOTE["id"])}
    with service(analyzer, database_url, **variables) as (client, keys):
        one, two = (
            {"Authorization": f"Bearer {keys.add('c', role='admin', tenant=tenant)[1]}"} for tenant in ("one", "two")
        )
        again = {**one, "Idempotency-Key": "k"}
        first, replayed = (client.post("/v1/check", json=NOTE, headers=again) for _ in range(2))
        kept = first.headers["notegap-report-id"]
        assert replayed.headers["notegap-report-id"] == kept
        asked = client.post("/v1/query", json=NOTE, headers=one).headers["notegap-report-id"]
        client.post("/v1/check", json={**NOTE, "id": "other"}, headers=one)
        theirs = client.post("/v1/check", json=NOTE, headers=two).headers["notegap-report-id"]

        def found(headers: dict[str, str]) -> list[str]:
            answer = client.get("/v1/reports", headers=headers, params=named)
            return [each["id"] for each in answer.json()["reports"]]

        assert found(one) == [asked, kept]
        assert found(two) == [theirs]
        assert client.delete(f"/v1/reports/{kept}", headers=one).status_code == 204
        assert found(one) == [asked]
    other = f"k2:{base64.b64encode(b'3' * 32).decode()}"
    with service(analyzer, database_url, **variables | {"NOTEGAP_DATABASE_KEYS": f"{other},{KEYS}"}) as (client, _):
        assert found(one) == [asked]
        store = client.app.state.backend.store  # type: ignore[attr-defined]
        assert store.rotate() == 3
    with service(analyzer, database_url, **variables | {"NOTEGAP_DATABASE_KEYS": other}) as (client, _):
        assert found(one) == [asked]
    # What is not kept is not said not to be there.
    with service(analyzer, database_url, NOTEGAP_STORE="reports") as (client, _):
        assert client.get("/v1/reports", headers=one, params=named).status_code == 409
        assert client.post("/v1/check", json=NOTE, headers=one).headers["notegap-report-id"]
    with service(analyzer, database_url) as (client, _):
        assert "notegap-report-id" not in client.post("/v1/check", json=NOTE, headers=one).headers


def test_what_cannot_be_read_any_more_can_be_deleted(analyzer: Analyzer, database_url: str) -> None:
    with service(analyzer, database_url, NOTEGAP_STORE="full", NOTEGAP_DATABASE_KEYS=KEYS) as (client, keys):
        secret = keys.add("c", role="admin", tenant="a")[1]
        kept = as_(client, secret)("POST", "/v1/check", NOTE).headers["notegap-report-id"]
    with service(analyzer, database_url) as (client, _):
        ask = as_(client, secret)
        assert ask("GET", f"/v1/reports/{kept}").status_code == 503
        assert ask("DELETE", f"/v1/reports/{kept}").status_code == 204
        assert ask("DELETE", f"/v1/reports/{kept}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v1/reports/%00",
        "/v1/reports/none",
        "/v1/reports?before=%00",
        "/v1/reports?before=yesterday",
        "/v1/reports?before=2026-02-30T00:00:00.000000Z",
        "/v1/reports?note=%00",
        "/v1/counts?since=2026-13-45",
        "/v1/counts?since=2026-02-30",
    ],
)
def test_what_is_no_id_and_no_date_is_said_to_be_none(analyzer: Analyzer, database_url: str, path: str) -> None:
    with service(analyzer, database_url, NOTEGAP_STORE="full", NOTEGAP_DATABASE_KEYS=KEYS) as (client, keys):
        ask = as_(client, keys.add("c", role="admin", tenant="a")[1])
        assert ask("GET", path).status_code == (422 if "note" not in path else 200)
        if "reports/" in path:
            assert ask("DELETE", path).status_code == 422


def test_every_interface_keeps_and_logs(analyzer: Analyzer, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    variables = {"NOTEGAP_STORE": "reports", "NOTEGAP_AUDIT_KEYS": KEYS}
    with service(analyzer, url, **variables) as (client, keys):
        ask = as_(client, keys.add("c", role="admin", tenant="a")[1])
        for scope in ("check", "query", "cds", "fhir", "extract"):
            assert ask(*ASKED[scope]).status_code == 200
        job = ask(*ASKED["batch"]).headers["location"]
        while ask("GET", job).json()["state"] != "done":
            time.sleep(0.01)
        for each in kept_by(ask)[:1]:
            ask("GET", f"/v1/reports/{each['id']}")
            ask("DELETE", f"/v1/reports/{each['id']}")
        assert len(kept_by(ask)) == 4
        assert ask("GET", "/v1/counts").json()["counts"]["reports"] == 5
        backend = client.app.state.backend  # type: ignore[attr-defined]
        with backend.store.database.read() as connection:
            logged = connection.exec_driver_sql("SELECT action, tenant, client FROM audit_log ORDER BY number")
            entries = [tuple(row) for row in logged]
        actions = ["check", "query", "cds", "fhir", "extract", "batch"]
        actions += ["report-list", "report-read", "report-delete", "report-list"]
        assert entries == [(action, "a", "c") for action in actions]
        assert backend.audit_log.verify().faults == ()


def test_who_was_refused_what_is_in_the_audit_log(analyzer: Analyzer, database_url: str) -> None:
    variables = {"NOTEGAP_STORE": "reports", "NOTEGAP_AUDIT_KEYS": KEYS}
    with service(analyzer, database_url, **variables) as (client, keys):
        admin, scribe, stranger = (
            as_(client, keys.add(name, role=role, tenant=tenant)[1])
            for name, role, tenant in (("a", "admin", "one"), ("s", "scribe", "one"), ("x", "admin", "two"))
        )
        kept = admin("POST", "/v1/check", NOTE).headers["notegap-report-id"]
        assert stranger("GET", f"/v1/reports/{kept}").status_code == 404
        assert stranger("DELETE", f"/v1/reports/{kept}").status_code == 404
        for _ in range(20):
            assert as_(client, f"ngk_{CANARY}_x")("GET", f"/v1/codes/{CANARY}").status_code == 401
            assert client.post("/page/report", json={}).status_code == 401
        for _ in range(3):
            assert scribe("GET", "/v1/reports").status_code == 403
        assert scribe("DELETE", f"/v1/reports/{kept}").status_code == 403
        backend = client.app.state.backend  # type: ignore[attr-defined]
        backend.refusals.flush()
        # The next minute tells again.
        assert scribe("GET", "/v1/reports").status_code == 403
        with backend.store.database.read() as connection:
            logged = connection.exec_driver_sql(
                "SELECT tenant, client, action, outcome, subject FROM audit_log ORDER BY number"
            )
            entries = [" ".join(row) for row in logged]
        assert entries == [
            f"one a check ok {kept}",
            f"two x report-read not-found {kept}",
            f"two x report-delete not-found {kept}",
            "  access unauthorized GET:/v1/codes/code",
            "one s access forbidden GET:/v1/reports",
            "one s access forbidden DELETE:/v1/reports/kept_id",
            "  access unauthorized 39-more",
            "one s access forbidden GET:/v1/reports:2-more",
            "one s access forbidden GET:/v1/reports",
        ]
        assert backend.audit_log.verify().faults == ()


def test_a_batch_goes_on_after_a_stop(analyzer: Analyzer, database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that was accepted is lost, nothing is read twice, and in between nobody can read it."""
    notes = [{**NOTE, "id": f"n{number}"} for number in range(40)] + [{"id": "bad", "text": 1}]
    variables = {"NOTEGAP_DATABASE_KEYS": KEYS, "NOTEGAP_STORE": "reports"}
    with service(analyzer, database_url, **variables) as (client, keys):
        secret = keys.add("c", role="admin", tenant="a")[1]
        ask = as_(client, secret)
        job = ask("POST", "/v1/batches", notes).headers["location"]
        waiting = ask("POST", "/v1/batches", notes[:2]).headers["location"]
        while not ask("GET", job).json()["done"]:
            time.sleep(0.001)
    with service(analyzer, database_url, **variables) as (client, keys):
        database = client.app.state.backend.store.database  # type: ignore[attr-defined]
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM batches_put_by").scalar() == 0
        ask = as_(client, secret)
        for each in (job, waiting):
            while ask("GET", each).json()["state"] != "done":
                time.sleep(0.01)
        progress = ask("GET", job).json()
        assert (progress["notes"], progress["gaps"], progress["failed"]) == (41, 40, 1)
        lines = [json.loads(line) for line in ask("GET", f"{job}/results").text.splitlines()]
        assert [line["id"] for line in lines] == [note["id"] for note in notes]
        assert ask("GET", "/v1/counts").json()["counts"]["reports"] == 42
        assert len(kept_by(ask)) == 42
        other = as_(client, keys.add("c", role="admin", tenant="b")[1])
        assert other("GET", job).status_code == 404
    # Fetched or not, results stay until they expire.
    database = Database(database_url)
    with database.read() as connection:
        (bodies,) = zip(*connection.exec_driver_sql("SELECT body FROM batches_put_by"), strict=True)
    database.close()
    assert len(bodies) == 2
    assert not any(CANARY.encode() in bytes(body) for body in bodies)
    assert caplog.messages == []


def test_a_batch_whose_key_is_gone_does_not_keep_the_service_from_starting(
    analyzer: Analyzer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    with service(analyzer, url, NOTEGAP_DATABASE_KEYS=KEYS) as (client, keys):
        secret = keys.add("c", role="coder", tenant="a")[1]
        job = as_(client, secret)("POST", "/v1/batches", [NOTE]).headers["location"]
    other = f"new:{base64.b64encode(b'9' * 32).decode()}"
    for variables in ({"NOTEGAP_DATABASE_KEYS": other}, {}):
        with service(analyzer, url, **variables) as (client, _):
            assert as_(client, secret)("GET", job).status_code == 404
    assert caplog.messages == 2 * [
        "a batch that was put by stays so: the key 'k' that something kept was encrypted with is not among "
        "'database.keys'"
    ]
    with service(analyzer, url, NOTEGAP_DATABASE_KEYS=KEYS) as (client, _):
        assert as_(client, secret)("GET", job).status_code == 200


def test_batches_that_are_put_by_are_rotated_deleted_and_purged(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    with service(analyzer, url, NOTEGAP_DATABASE_KEYS=KEYS) as (client, keys):
        secret = keys.add("c", role="coder", tenant="a")[1]
        ask = as_(client, secret)
        first, second, third = (ask("POST", "/v1/batches", [NOTE]).headers["location"] for _ in range(3))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTEGAP_DATABASE_URL", url)
    new = f"new:{base64.b64encode(b'9' * 32).decode()}"
    monkeypatch.setenv("NOTEGAP_DATABASE_KEYS", f"{new},{KEYS}")
    assert [cli.main(["store", "rotate"]) for _ in range(2)] == [0, 0]
    unwanted = second.rpartition("/")[2]
    assert [cli.main(["store", "delete", unwanted, "--tenant", tenant]) for tenant in ("b", "a", "a")] == [3, 0, 3]
    database = Database(url)
    with database.write() as connection:
        old = update(PUT_BY).where(PUT_BY.c.id == third.rpartition("/")[2])
        connection.execute(old.values(at=stamp(datetime.now(UTC) - timedelta(days=31))))
    database.close()
    assert cli.main(["store", "purge"]) == 0
    assert capsys.readouterr().out == "3 encrypted again\n0 encrypted again\n1 purged\n"
    with service(analyzer, url, NOTEGAP_DATABASE_KEYS=new) as (client, _):
        ask = as_(client, secret)
        assert [ask("GET", each).status_code for each in (first, second, third)] == [200, 404, 404]


def test_the_time_that_a_batch_is_put_by_does_not_count(
    analyzer: Analyzer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    with service(analyzer, url, NOTEGAP_DATABASE_KEYS=KEYS) as (client, keys):
        secret = keys.add("c", role="coder", tenant="a")[1]
        job = as_(client, secret)("POST", "/v1/batches", [NOTE]).headers["location"]
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 86_400)
    with service(analyzer, url, NOTEGAP_DATABASE_KEYS=KEYS) as (client, _):
        assert as_(client, secret)("GET", job).status_code == 200


def test_without_a_key_what_is_lost_at_a_stop_is_said(
    analyzer: Analyzer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with service(analyzer, f"sqlite:///{tmp_path / 'n.sqlite3'}") as (client, keys):
        ask = as_(client, keys.add("c", role="coder", tenant="a")[1])
        ask("POST", "/v1/batches", [NOTE])
    assert caplog.messages == [
        "a batch that was handed in is lost, since it is only put by encrypted; set NOTEGAP_DATABASE_KEYS"
    ]


def test_what_cannot_be_logged_is_not_answered(analyzer: Analyzer, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    with service(analyzer, url, NOTEGAP_AUDIT_KEYS=KEYS) as (client, keys):
        ask = as_(client, keys.add("c", role="admin", tenant="a")[1])
        database = client.app.state.backend.store.database  # type: ignore[attr-defined]
        with database.write() as connection:
            connection.exec_driver_sql("DROP TABLE audit_log")
        for scope in ("check", "query", "extract"):
            answer = ask(*ASKED[scope])
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert ask(*ASKED["cds"]).status_code == 503
        outcome = ask(*ASKED["fhir"])
        assert (outcome.status_code, outcome.json()["resourceType"]) == (503, "OperationOutcome")


def test_by_default_no_word_of_a_note_is_in_the_database(analyzer: Analyzer, tmp_path: Path) -> None:
    with service(analyzer, f"sqlite:///{tmp_path / 'n.sqlite3'}", NOTEGAP_AUDIT_KEYS=KEYS) as (client, keys):
        ask = as_(client, keys.add("c", role="admin", tenant="a")[1])
        for asked in ASKED.values():
            ask(*asked)
        assert CANARY not in client.get("/metrics", headers={"Authorization": ""}).text
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    files |= {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert "n.sqlite3" in files
    assert [name for name, data in files.items() if CANARY.encode() in data] == []


def test_both_databases_give_the_same_answers(analyzer: Analyzer, tmp_path: Path, postgres: str) -> None:
    answers: list[Mapping[str, object]] = []
    for url in (f"sqlite:///{tmp_path / 'n.sqlite3'}", postgres):
        with service(analyzer, url, NOTEGAP_STORE="reports", NOTEGAP_AUDIT_KEYS=KEYS) as (client, keys):
            ask = as_(client, keys.add("c", role="admin", tenant="same")[1])
            said = {scope: ask(*asked) for scope, asked in ASKED.items() if scope not in ("batch", "cds", "fhir")}
            (first, _) = kept_by(ask)
            answers.append(
                {scope: (answer.status_code, answer.json()) for scope, answer in said.items() if scope != "reports"}
                | {"kept": ask("GET", f"/v1/reports/{first['id']}").json()["report"]}
            )
    assert answers[0] == answers[1]


def test_a_browser_is_asked_for_a_key_and_may_send_it_as_a_password(analyzer: Analyzer, tmp_path: Path) -> None:
    with service(analyzer, f"sqlite:///{tmp_path / 'n.sqlite3'}") as (client, keys):
        _, secret = keys.add("c", role="scribe", tenant="a")
        asked = client.get("/")
        assert (asked.status_code, "Basic realm=" in asked.headers["www-authenticate"]) == (401, True)
        assert "Basic" not in client.post("/v1/check", json=NOTE).headers["www-authenticate"]

        def basic(password: str) -> dict[str, str]:
            return {"Authorization": f"Basic {base64.b64encode(f'anyone:{password}'.encode()).decode()}"}

        assert client.get("/", headers=basic(secret)).status_code == 200
        for wrong in (secret[:-1], "", "a.b.c", "x" * 20_000):
            assert client.get("/", headers=basic(wrong)).status_code == 401
        assert client.get("/", headers=[(b"Authorization", "Basic é".encode())]).status_code == 401
