"""Results that are handed on: an MLLP receiver that is python-hl7's, a webhook's that checks signatures on its own.

Both fail as receivers do: not there, slow to say yes, saying no, leading elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.mllp import start_hl7_server
from sqlalchemy import select, update

from hl7_sender import KEYS, TEXT, Served, certificate, mdm, oru, served
from hl7_sender import field as field_of
from notegap import cli
from notegap.analyzer import Analyzer
from notegap.config import OutboxTable, Secrets, load
from notegap.errors import StoreError, UsageError
from notegap.model import Note
from notegap.report.json import as_dict
from notegap.service.audit_log import ENTRIES, AuditLog
from notegap.service.backend import Backend
from notegap.service.database import Database, stamp
from notegap.service.hl7.delivery import (
    Delivery,
    MllpSender,
    NotDeliveredError,
    WebhookSender,
    senders_of,
    signatures,
)
from notegap.service.hl7.messages import Message, parse
from notegap.service.hl7.outbox import OUTBOX, Leased, Outbox, State
from notegap.service.hl7.results import as_oru

SECRET, OLD_SECRET = b"3" * 32, b"4" * 24
SECRETS = f"whsec_{base64.b64encode(SECRET).decode()},{base64.b64encode(OLD_SECRET).decode()}"


@dataclass
class Receiver:
    """An MLLP receiver, python-hl7's: what it got, and what it answers in turn ("" closes the connection)."""

    answers: list[str]
    port: int = 0
    got: list[hl7.Message] = field(default_factory=list)


@contextmanager
def receiver(*answers: str, context: Any = None) -> Iterator[Receiver]:
    made = Receiver(list(answers))
    loop = asyncio.new_event_loop()
    stop, ready = asyncio.Event(), threading.Event()

    async def connected(reader: Any, writer: Any) -> None:
        message = await reader.readmessage()
        made.got.append(hl7.parse(str(message)))
        code = made.answers.pop(0) if made.answers else "AA"
        if code == "other":
            message["MSH.F10"] = "other"
        if code:
            writer.writemessage(message.create_ack(code if len(code) == 2 else "AA"))
            await writer.drain()
        writer.close()

    async def run() -> None:
        server = await start_hl7_server(connected, "127.0.0.1", 0, encoding="utf-8", ssl=context)
        made.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


@dataclass
class Posted:
    """What a webhook got."""

    path: str
    headers: dict[str, str]
    body: bytes


@contextmanager
def webhook(*answers: tuple[int, dict[str, str]]) -> Iterator[tuple[str, list[Posted]]]:
    """A receiver of webhooks: its address, and what it got."""
    waiting, got = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(Posted(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status, headers = waiting.pop(0) if waiting else (204, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", got
        server.shutdown()
        thread.join()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def states(outbox: Outbox) -> list[str]:
    return [
        f"{entry.destination} {entry.state} {entry.attempts} {entry.problem}".strip() for entry in outbox.list(*State)
    ]


def woken(outbox: Outbox) -> list[str]:
    """The states, once more, and whoever delivers does not wait until it looks again."""
    outbox.changed.set()
    return states(outbox)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return made(database)


def made(database: Database, **options: Any) -> Outbox:
    keys = load(environment={"NOTEGAP_DATABASE_KEYS": KEYS, "NOTEGAP_AUDIT_KEYS": KEYS}).config.database.keys
    return Outbox(database, keys, AuditLog(database, keys), **{"first_delay": 0.01, **options})


def put(outbox: Outbox, database: Database, name: str, *, document: str = "", body: bytes = b"result") -> None:
    with database.write() as connection:
        outbox.put(connection, message=name, tenant="a", document=document, bodies={"oru": (name, body)})


def as_message(text: str) -> Message:
    message, refused = parse(text.encode())
    assert message is not None
    assert refused is None
    return message


# ── the message ──


def oru_of(analyzer: Analyzer, message: str, text: str = TEXT, codes: tuple[str, ...] = ()) -> hl7.Message:
    report = analyzer.analyze(Note(id="D1", text=text, codes=codes))
    moment = datetime(2026, 4, 30, 12, tzinfo=UTC)
    return hl7.parse(as_oru(report, as_message(message), control_id="r1", at=moment).decode())


def test_the_result_as_a_message(analyzer: Analyzer) -> None:
    result = oru_of(analyzer, mdm("42"))
    header = [field_of(result, "MSH", number) for number in (3, 4, 5, 6, 7, 9, 10, 11, 12, 18)]
    assert header == [
        *("NOTEGAP", "Hospital", "EHR", "Clinic", "20260430120000+0000"),
        *("ORU^R01^ORU_R01", "r1", "P", "2.5.1", "UNICODE UTF-8"),
    ]
    # Who it is about, and nothing of where she lives.
    assert str(result.segment("PID")) == "PID|1||4711^^^Hospital^MR||Doe^Jane^Q||19610203|F"
    assert str(result.segment("PV1")) == "PV1|1|O|||||||||||||||||V9"
    order = {number: field_of(result, "OBR", number) for number in (2, 3, 4, 7, 22, 25, 29)}
    assert order == {
        2: "P7^EHR",
        3: "r1^notegap",
        4: "documentation^Documentation of what was coded^99NOTEGAP",
        7: "20260430120000+0000",
        22: "20260430120000+0000",
        25: "F",
        29: "P7&EHR^F8&EHR",
    }
    observed = [[str(each[number]) for number in (1, 2, 3, 4, 5, 8, 11)] for each in result.segments("OBX")]
    assert [each[0] for each in observed] == [str(number) for number in range(1, len(observed) + 1)]
    assert {each[6] for each in observed} == {"F"}
    assert [each[1:6] for each in observed[:4]] == [
        ["ST", "document^Document that was checked^99NOTEGAP", "", "D1", ""],
        ["ST", "message^Message that was checked^99NOTEGAP", "", "42", ""],
        ["CWE", "code^Code that was checked^99NOTEGAP", "1", "M24.28^Disorder of ligament, vertebrae^I10C", ""],
        ["ST", "outcome^Outcome^99NOTEGAP", "1", "Not complete: 4 met, 2 open, 0 raised.", ""],
    ]
    assert [[each[2].partition("^")[0], *each[4:6]] for each in observed[4:6]] == [
        ["M24.28/disorder", "met^met^99NOTEGAP", "N"],
        ["M24.28/ligament", "vague^vague^99NOTEGAP", "A"],
    ]
    assert [str(each[3]) for each in result.segments("NTE")] == [
        "Which ligament or ligaments are affected?",
        "What treatment was tried before today, for how long, and with what response?",
    ]


def test_findings_of_the_message_are_those_of_the_report(analyzer: Analyzer) -> None:
    text = "Suspected laxity of the ligamentum flavum after a fall. Canal stenosis at L4-5."
    codes = ("M24.28", "M53.2X6", "M99")
    report = analyzer.analyze(Note(id="D1", text=text, codes=codes))
    result = oru_of(analyzer, mdm(), text, codes)
    told = {
        (str(each[4]), str(each[3]).partition("^")[0]): str(each[5]).partition("^")[0]
        for each in result.segments("OBX")
        if "/" in str(each[3])
    }
    assert told == {
        (str(number), finding.id): finding.status.value
        for number, check in enumerate(report.checks, start=1)
        for finding in check.findings
        if finding.status.value not in ("not_applicable", "clear")
    }
    quotes = {each.text for check in report.checks for finding in check.findings for each in finding.evidence}
    assert quotes
    assert not [quote for quote in quotes if len(quote) > 12 and quote in str(result)]


def test_what_was_not_checked_says_so(analyzer: Analyzer) -> None:
    result = oru_of(analyzer, oru(), "Here for her flu shot.")
    assert [str(each[5]) for each in result.segments("OBX")][-1].startswith("Not checked: ")
    assert "omplete" not in str(result)
    assert field_of(result, "OBR", 29) == "P7^F8"


def test_other_separators_and_escapes_are_translated(analyzer: Analyzer) -> None:
    message = mdm("4&2").replace("&", "%", 2).replace("4%2", "4&2").replace("^~\\%", "^~\\%")
    result = as_oru(
        analyzer.analyze(Note(id="D1", text=TEXT)), as_message(message), control_id="r", at=datetime.now(UTC)
    ).decode()
    assert "|4\\T\\2|" in result
    assert "MSH|^~\\&|" in result


# ── delivering ──


def test_over_mllp_until_it_is_taken(analyzer: Analyzer, database_url: str) -> None:
    with receiver("", "AE", "other", "AR") as other:
        variables = {"DATABASE_KEYS": KEYS, "AUDIT_KEYS": KEYS, "OUTBOX_ORU": f"mllp://127.0.0.1:{other.port}"}
        with served(analyzer, database_url, **variables) as service:
            service.backend.outbox._first_delay = 0.01
            assert service.answers(mdm("42")) == ["AA 42"]
            until(lambda: woken(service.backend.outbox) == ["oru delivered 5"])
            figures = service.http.get("/metrics").text
            with service.backend.store.database.read() as connection:
                logged = [(row.action, row.client, row.subject) for row in connection.execute(select(ENTRIES))]
            (entry,) = service.backend.outbox.list(State.DELIVERED)
    assert len(other.got) == 5
    assert len({str(message) for message in other.got}) == 1
    assert field_of(other.got[0], "MSH", 10) == entry.id
    assert logged[1:] == [("result-deliver", "oru", entry.id)]
    assert 'notegap_deliveries_total{destination="oru",outcome="failed"} 4.0' in figures
    assert 'notegap_deliveries_total{destination="oru",outcome="delivered"} 1.0' in figures


def test_as_a_webhook_until_it_is_taken(analyzer: Analyzer, database_url: str) -> None:
    elsewhere = {"Location": "http://127.0.0.1:1/"}
    with webhook((500, {}), (302, elsewhere), (410, {}), (200, {})) as (address, got):
        variables = {"OUTBOX_WEBHOOK": f"{address}/hook", "OUTBOX_SECRETS": SECRETS, "DATABASE_KEYS": KEYS}
        with served(analyzer, database_url, **variables) as service:
            service.backend.outbox._first_delay = 0.01
            assert service.post(mdm("42")).status_code == 200
            until(lambda: woken(service.backend.outbox) == ["webhook delivered 4"])
            (entry,) = service.backend.outbox.list(State.DELIVERED)
    assert [(each.path, each.headers["webhook-id"]) for each in got] == [("/hook", entry.id)] * 4
    for each in got:
        assert each.body == got[0].body
        moment = each.headers["webhook-timestamp"]
        assert abs(int(moment) - time.time()) < 60
        signed = f"{entry.id}.{moment}.".encode() + each.body
        expected = [base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)) for secret in (SECRET, OLD_SECRET)]
        assert each.headers["webhook-signature"] == " ".join(f"v1,{one.decode()}" for one in expected)
    sent = json.loads(got[0].body)
    assert sent.pop("hl7") == {"control_id": "42", "event": "MDM^T02"}
    assert sent.pop("metadata")["document_type"] == "Consultation"
    assert [(part["kind"], part["id"]) for part in sent.pop("parts")] == [("obx", "1")]
    assert (sent.pop("id"), sent.pop("date_of_service")) == ("D1", "2026-04-30")
    report = as_dict(analyzer.analyze(Note(id="D1", text=TEXT)))
    assert {name: value for name, value in report.items() if name in sent and name != "mentions"}["checks"] == [
        check | {"findings": found["findings"]} for check, found in zip(report["checks"], sent["checks"], strict=True)
    ]
    assert [check["code"] for check in sent["checks"]] == ["M24.28"]


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of the Standard Webhooks specification."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signatures([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def leased(body: bytes = b"{}") -> Leased:
    return Leased(
        id="r1",
        tenant="a",
        destination="x",
        at="",
        state=State.WAITING,
        attempts=1,
        due="",
        problem="",
        holder="h",
        body=body,
    )


def test_why_it_was_not_taken() -> None:
    def why(sender: Any) -> str:
        with pytest.raises(NotDeliveredError) as caught:
            sender(leased(as_body()))
        assert caught.value.__cause__ is None
        return f"{caught.value} {caught.value.after or ''}".strip()

    with webhook((503, {"Retry-After": "7"}), (303, {"Location": "/"}), (400, {"Retry-After": "soon"})) as (address, _):
        sender = WebhookSender(address, [SECRET])
        assert [why(sender) for _ in range(3)] == [
            "the receiver answered 503 7.0",
            "the receiver answered 303",
            "the receiver answered 400",
        ]
    assert why(WebhookSender(address, [SECRET])) == "the receiver cannot be reached (ConnectionRefusedError)"
    with receiver("", "AE", "CR", "other") as other:
        to = MllpSender("127.0.0.1", other.port)
        assert [why(to) for _ in range(4)] == [
            "the receiver closed the connection without an answer",
            "the receiver answered AE",
            "the receiver answered CR",
            "the receiver acknowledged another message",
        ]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        to = MllpSender("127.0.0.1", silent.getsockname()[1], seconds=0.2)
        assert why(to) == "the receiver did not answer in time"


def as_body() -> bytes:
    return b"MSH|^~\\&|a|b|c|d|20260430||ORU^R01^ORU_R01|r1|P|2.5.1\rOBR|1\r"


def test_only_to_who_has_the_certificate(tmp_path: Path) -> None:
    server = certificate(tmp_path, "server")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*server)
    with receiver(context=context) as other:
        address = f"mllps://127.0.0.1:{other.port}"
        with pytest.raises(NotDeliveredError, match="no TLS connection"):
            senders_of(OutboxTable(oru=address))["oru"](leased(as_body()))
        trusting = OutboxTable(oru=address, tls_ca=server[0])
        senders_of(trusting)["oru"](leased(as_body()))
        assert len(other.got) == 1
    with webhook() as (plain, _):
        https = OutboxTable(webhook=plain.replace("http:", "https:"), secrets=Secrets((SECRET,)))
        with pytest.raises(NotDeliveredError, match="no TLS connection"):
            senders_of(https)["webhook"](leased())
    for wrong in (OutboxTable(tls_ca=tmp_path), OutboxTable(tls_certificate=server[1], tls_key=server[1])):
        with pytest.raises(UsageError, match=r"'outbox.tls_\w+'.* (?:is|are) no PEM"):
            senders_of(wrong)


def test_whose_results_are_handed_on(analyzer: Analyzer, tmp_path: Path) -> None:
    variables = {"DATABASE_KEYS": KEYS, "OUTBOX_ORU": "mllp://127.0.0.1:1", "OUTBOX_TENANT": "clinic"}
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    with served(analyzer, url, **variables) as service:
        assert service.answers(mdm(event="T01", obx=""), mdm("2")) == ["AA 1", "AA 2"]
        assert states(service.backend.outbox) == []
    with served(analyzer, url, **variables, MLLP_TENANT="clinic") as service:
        assert service.answers(mdm("1", event="T01", obx=""), mdm("2"), mdm("3", status="IN")) == [
            "AA 1",
            "AA 2",
            "AA 3",
        ]
        assert [entry.tenant for entry in service.backend.outbox.list(*State)] == ["clinic"]


# ── the queue ──


def test_what_is_never_taken_is_dead_until_it_is_tried_again(database: Database) -> None:
    outbox = made(database, attempts=3)
    put(outbox, database, "r1")
    counted: list[str] = []

    def away(_: Leased) -> None:
        raise NotDeliveredError("nobody is there")

    delivery = Delivery(outbox, {"oru": away}, count=lambda *told: counted.append(" ".join(told)), poll=0.01)
    delivery.start()
    until(lambda: states(outbox) == ["oru dead 3 nobody is there"])
    assert counted == ["oru failed", "oru failed", "oru dead"]
    assert outbox.retry("nobody") == 0
    assert outbox.retry("r1") == 1
    until(lambda: states(outbox) == ["oru dead 3 nobody is there"] and len(counted) == 6)
    delivery.stop()
    assert (outbox.retry(), outbox.retry()) == (1, 0)
    assert outbox.numbers() == {("oru", "waiting"): 1}
    Delivery(outbox, {}, count=lambda *_: None).step("oru", lambda _: None)
    assert states(outbox) == ["oru delivered 1"]


def test_a_sender_that_breaks_is_not_the_end(
    outbox: Outbox, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, database, "r1", body=b"Quetzalcoatlus")
    nothing: dict[bytes, None] = {}
    delivery = Delivery(outbox, {"oru": lambda entry: nothing[entry.body]}, count=lambda *_: None, poll=0.01)
    delivery.start()
    until(lambda: "KeyError at" in caplog.text)
    delivery.stop()
    assert "Quetzal" not in caplog.text
    assert states(outbox) == ["oru waiting 1"]


def test_how_long_it_waits(outbox: Outbox, database: Database) -> None:
    outbox = made(database, first_delay=5.0, attempts=99)
    put(outbox, database, "r1")
    waits = []
    for attempt in range(1, 14):
        entry = outbox.claim("oru")
        assert entry is not None
        assert entry.attempts == attempt
        asked = datetime.now(UTC)
        assert outbox.failed(entry, "away", after=7200.0 if attempt == 13 else 0.0) is State.WAITING
        assert outbox.claim("oru") is None
        (told,) = outbox.list(State.WAITING)
        waits.append((datetime.fromisoformat(told.due) - asked).total_seconds())
        with database.write() as connection:
            connection.execute(update(OUTBOX).values(due=stamp(asked)))
    for number, wait in enumerate(waits[:-1]):
        longest = min(5 * 2**number, 3600)
        assert longest / 2 <= wait <= longest + 1
    assert 3600 <= waits[-1] <= 3601


def test_nobody_delivers_what_another_one_does(database_url: str) -> None:
    databases = [Database(database_url) for _ in range(4)]
    boxes = [made(each) for each in databases]
    for number in range(20):
        put(boxes[0], databases[0], f"r{number}")

    def claimed(outbox: Outbox) -> list[str]:
        got = []
        while (entry := outbox.claim("oru")) is not None:
            got.append(entry.id)
        return got

    with ThreadPoolExecutor(4) as pool:
        got = [name for names in pool.map(claimed, boxes) for name in names]
    assert sorted(got) == sorted(f"r{number}" for number in range(20))
    for each in databases:
        each.close()


def test_a_lease_that_ran_out(outbox: Outbox, database: Database) -> None:
    put(outbox, database, "r1")
    first = outbox.claim("oru")
    assert first is not None
    assert outbox.claim("oru") is None
    with database.write() as connection:
        connection.execute(update(OUTBOX).values(leased=stamp(datetime.now(UTC) - timedelta(seconds=1))))
    second = outbox.claim("oru")
    assert second is not None
    assert (first.id, first.body) == (second.id, second.body)
    # What the first one says now does not count.
    outbox.failed(first, "too late")
    assert states(outbox) == ["oru waiting 2"]
    outbox.delivered(second)
    assert states(outbox) == ["oru delivered 2"]


def test_of_a_document_only_the_newest_result_is_handed_on(outbox: Outbox, database: Database) -> None:
    def newest(name: str, *documents: str) -> None:
        with database.write() as connection:
            outbox.withdraw(connection, documents)
            outbox.put(connection, message=name, tenant="a", document=documents[0], bodies={"oru": (name, b"x")})

    newest("r1", "D1")
    newest("r2", "D1")
    newest("other", "D2")
    newest("r3", "D3", "D2")
    first = outbox.claim("oru")
    assert first is not None
    # Being delivered when a newer one comes: that one waits, and when it fails it is not tried again.
    newest("r4", "D1")
    assert first.id == "r2"
    third = outbox.claim("oru")
    assert third is not None
    assert third.id == "r3"
    assert outbox.claim("oru") is None
    outbox.failed(first, "away")
    time.sleep(0.02)
    fourth = outbox.claim("oru")
    assert fourth is not None
    assert fourth.id == "r4"
    outbox.delivered(fourth)
    assert [f"{entry.id} {entry.state}" for entry in outbox.list(*State)] == [
        "r1 withdrawn",
        "r2 withdrawn",
        "other withdrawn",
        "r3 waiting",
        "r4 delivered",
    ]


def test_a_cancelled_document_is_not_handed_on(analyzer: Analyzer, tmp_path: Path) -> None:
    variables = {"DATABASE_KEYS": KEYS, "OUTBOX_ORU": "mllp://127.0.0.1:1"}
    with served(analyzer, f"sqlite:///{tmp_path / 'n.sqlite3'}", **variables) as service:
        service.answers(mdm("1"), mdm("2", document="D2"))
        until(lambda: len(service.backend.outbox.list(State.WAITING)) == 2 and not being_delivered(service))
        assert service.answers(mdm("3", event="T11", obx="")) == ["AA 3"]
        assert [entry.split()[1] for entry in states(service.backend.outbox)] == ["withdrawn", "waiting"]


@pytest.mark.parametrize("taken", [True, False])
def test_what_is_withdrawn_while_it_is_sent_is_not_sent_again(outbox: Outbox, database: Database, taken: bool) -> None:
    put(outbox, database, "r1", document="D1")
    entry = outbox.claim("oru")
    assert entry is not None
    with database.write() as connection:
        assert outbox.withdraw(connection, ["D1"]) == 1
        assert connection.execute(select(OUTBOX.c.body)).scalar_one() == b""
    put(outbox, database, "r2", document="D1")
    assert outbox.claim("oru") is None  # it would overtake the one in flight
    if taken:
        outbox.delivered(entry)
    else:
        assert outbox.failed(entry, "away") is State.WITHDRAWN
    assert states(outbox)[0].startswith("oru delivered" if taken else "oru withdrawn")
    time.sleep(0.02)
    newer = outbox.claim("oru")
    assert newer is not None
    assert newer.id == "r2"
    assert outbox.claim("oru") is None
    assert outbox.retry() == 0


def being_delivered(service: Served) -> bool:
    with service.backend.store.database.read() as connection:
        return any(row.leased or not row.attempts for row in connection.execute(select(OUTBOX)))


def test_what_waits_is_encrypted_and_keys_can_change(outbox: Outbox, database: Database) -> None:
    put(outbox, database, "r1", body=b"Doe^Jane")
    put(outbox, database, "r2", body=b"Doe^John")
    with database.read() as connection:
        assert b"Doe" not in b"".join(row.body for row in connection.execute(select(OUTBOX)))
    other = f"new:{base64.b64encode(b'9' * 32).decode()}"
    both = load(environment={"NOTEGAP_DATABASE_KEYS": f"{other},{KEYS}"}).config.database.keys
    new = load(environment={"NOTEGAP_DATABASE_KEYS": other}).config.database.keys
    log = AuditLog(database, new)
    done = outbox.claim("oru")
    assert done is not None
    outbox.delivered(done)
    with pytest.raises(StoreError, match="the key 'k'"):
        Outbox(database, new, log, first_delay=0.0).claim("oru")
    assert states(outbox)[1] == "oru waiting 1 its key is not there any more"
    assert (Outbox(database, both, log).rotate(), Outbox(database, both, log).rotate()) == (1, 0)
    entry = Outbox(database, new, log).claim("oru")
    assert entry is not None
    assert entry.body == b"Doe^John"
    assert outbox.purge("9") == 2


def test_without_a_key_nothing_waits(database: Database) -> None:
    keys = load(environment={}).config.database.keys
    outbox = Outbox(database, keys, AuditLog(database, keys))
    with pytest.raises(StoreError, match="only kept encrypted"):
        put(outbox, database, "r1")


# ── commands and configuration ──


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    told = capsys.readouterr()
    return code, told.out, told.err


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("NOTEGAP_")]:
        monkeypatch.delenv(name)
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    for name, value in {"URL": url, "KEYS": KEYS}.items():
        monkeypatch.setenv(f"NOTEGAP_DATABASE_{name}", value)
    monkeypatch.setenv("NOTEGAP_AUDIT_KEYS", KEYS)
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "outbox", "list") == (3, "", "")
    assert run(capsys, "outbox", "retry") == (3, "", "notegap: nothing is dead\n")
    database = Database(url)
    outbox = made(database, attempts=1)
    put(outbox, database, "r1")
    entry = outbox.claim("oru")
    assert entry is not None
    outbox.failed(entry, "the receiver answered AE")
    code, out, _ = run(capsys, "outbox", "list")
    line = out.rstrip("\n").split("\t")
    assert (code, line[:3], line[4:]) == (0, ["r1", "a", "oru"], ["dead", "1", "the receiver answered AE"])
    assert run(capsys, "outbox", "retry", "r2") == (3, "", "notegap: no entry of this id is dead\n")
    assert run(capsys, "outbox", "retry", "r1") == (0, "1 tried again\n", "")
    assert states(outbox) == ["oru waiting 0"]
    assert run(capsys, "store", "rotate")[:2] == (0, "0 encrypted again\n")
    database.close()
    backend = Backend.from_config(load().config)
    with backend.store.database.read() as connection:
        assert [row.action for row in connection.execute(select(ENTRIES))] == ["outbox-retry", "store-encrypted"]
    backend.close()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ORU": "ehr:2575"}, "'outbox.oru' is wrong: write mllps://HOST:PORT"),
        ({"ORU": "mllps://ehr"}, "'outbox.oru' is wrong"),
        ({"ORU": "mllps://ehr:x"}, "'outbox.oru' is wrong"),
        ({"ORU": "mllp://ehr:2575"}, "leads to another machine without TLS"),
        ({"ORU": "mllps://ehr:2575"}, "only kept encrypted until then: set NOTEGAP_DATABASE_KEYS"),
        ({"WEBHOOK": "http://ehr/x", "SECRETS": SECRETS}, "begins with https://"),
        ({"WEBHOOK": "https://u:p@ehr/x", "SECRETS": SECRETS}, "begins with https://"),
        ({"WEBHOOK": "https://ehr/x"}, "is signed: set NOTEGAP_OUTBOX_SECRETS"),
        ({"SECRETS": "whsec_x"}, "a secret is not base64"),
        ({"SECRETS": "QUJD"}, "a secret is too short or too long"),
        ({"TLS_KEY": "k"}, "'outbox.tls_certificate' and 'outbox.tls_key' go together"),
        ({"TENANT": ""}, "'outbox.tenant' is wrong"),
    ],
)
def test_a_configuration_that_is_wrong(variables: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(environment={f"NOTEGAP_OUTBOX_{name}": value for name, value in variables.items()})
    assert said in str(caught.value)
    assert "whsec" not in str(caught.value).replace("write it as whsec_", "")


def test_secrets_are_not_shown() -> None:
    config = load(environment={"NOTEGAP_OUTBOX_SECRETS": SECRETS, "NOTEGAP_OUTBOX_PLAIN_MLLP": "true"}).config
    assert config.outbox.secrets == Secrets((SECRET, OLD_SECRET))
    assert "333" not in repr(config)
    assert "444" not in str(config)
