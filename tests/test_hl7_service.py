"""HL7 v2 in: what is taken over MLLP and HTTP, how it is acknowledged, and that nothing is lost or taken twice.

The other side is python-hl7's client, over real sockets.
"""

from __future__ import annotations

import base64
import logging
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.client import MLLPClient
from sqlalchemy import select

from hl7_sender import KEYS, MEDIA_TYPE, TEXT, Served, certificate, field, mdm, oru, read, served
from notegap import cli
from notegap.analyzer import Analyzer
from notegap.config import load
from notegap.errors import StoreError, UsageError
from notegap.model import Note, Report
from notegap.service import serve
from notegap.service.access import ApiKeys
from notegap.service.audit_log import ENTRIES
from notegap.service.backend import Backend, check_exposure
from notegap.service.database import Database
from notegap.service.hl7 import mllp
from notegap.service.hl7.delivery import signatures
from notegap.service.hl7.framing import Deframer, framed
from notegap.service.hl7.inbox import HandOn, Inbox
from notegap.service.hl7.messages import parse
from notegap.service.hl7.outbox import OUTBOX, State
from notegap.service.hl7.received import RECEIVED
from notegap.service.principal import LOCAL, ROLES

CANARY = "Quetzalcoatlus"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "interface" / "hl7v2"


class Breakable:
    """The analyzer, which breaks on "crash" with an error that quotes the note, and waits on "slow" to be let go on."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.codes = analyzer.codes
        self.knowledge = analyzer.knowledge
        self.go_on = threading.Event()
        self.read: list[str] = []
        self._analyzer = analyzer

    def analyze(self, note: Note) -> Report:
        """As `Analyzer.analyze`, unless it breaks."""
        if note.id != "first":
            self.read.append(note.id)
        if "crash" in note.text:
            raise IndexError(note.text)
        if "slow" in note.text:
            assert self.go_on.wait(20)
        return self._analyzer.analyze(note)

    def prepare(self) -> None:
        """As `Analyzer.prepare`."""


@pytest.fixture
def breakable(analyzer: Analyzer) -> Breakable:
    return Breakable(analyzer)


@pytest.fixture
def service(breakable: Breakable, tmp_path: Path) -> Iterator[Served]:
    with served(breakable, f"sqlite:///{tmp_path / 'n.sqlite3'}", DATABASE_KEYS=KEYS, AUDIT_KEYS=KEYS) as made:
        yield made


def rows(backend: Backend) -> list[Any]:
    """What is written down of each message, oldest first."""
    with backend.store.database.read() as connection:
        return list(connection.execute(select(RECEIVED).order_by(RECEIVED.c.at)))


def outcomes(backend: Backend) -> list[str]:
    return [f"{row.type} {row.outcome}" for row in rows(backend)]


def codes(answer: hl7.Message) -> str:
    """An acknowledgement's code, and the condition when it has one."""
    condition = field(answer, "ERR", 3).partition("^")[0] if "\rERR|" in str(answer) else ""
    return f"{field(answer, 'MSA', 1)} {condition}".strip()


# ── acknowledgements ──


def test_an_acknowledgement(service: Served) -> None:
    (answer,) = service.send(mdm("42"))
    assert [field(answer, "MSH", number) for number in (3, 4, 5, 6)] == ["NOTEGAP", "Hospital", "EHR", "Clinic"]
    assert [field(answer, "MSH", number) for number in (9, 11, 12)] == ["ACK^T02^ACK", "P", "2.5.1"]
    assert re.fullmatch(r"[0-9a-f]{20}", field(answer, "MSH", 10))
    assert re.fullmatch(r"\d{14}\+0000", field(answer, "MSH", 7))
    assert str(answer).split("\r")[1] == "MSA|AA|42"
    assert len(str(answer).strip().split("\r")) == 2
    assert outcomes(service.backend) == ["MDM^T02 checked"]
    assert service.backend.store.counts(tenant="local")["reports"] == 1


REFUSED = {
    "ADT": (mdm().replace("MDM^T02^MDM_T02", "ADT^A01"), "AR 200"),
    "an event that is none": (mdm(event="T12"), "AR 201"),
    "no event": (mdm().replace("MDM^T02^MDM_T02", "MDM"), "AR 201"),
    "another result": (oru().replace("ORU^R01^ORU_R01", "ORU^R30"), "AR 201"),
    "version 3": (mdm(version="3.0"), "AR 203"),
    "no control id": (mdm(""), "AE 101"),
    "a control id that is too long": (mdm("x" * 200), "AE 102"),
    "two at once": (mdm("1") + mdm("2"), "AR 100"),
    "no text": (mdm(obx=""), "AE 102"),
    "a text that is withdrawn": (mdm(obx="OBX|1|TX|1||gone||||||W\r"), "AE 102"),
    "a text that is elsewhere": (mdm(obx="OBX|1|RP|1||\\\\server\\note.txt||||||F\r"), "AE 102"),
    "Base64 that is damaged": (mdm(obx="OBX|1|ED|1||^TEXT^^Base64^QUJ||||||F\r"), "AE 102"),
    "longer than a note may be": (mdm(text="a b " * 20_000), "AE 102"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(service: Served, name: str) -> None:
    message, said = REFUSED[name]
    (answer,) = service.send(message)
    assert codes(answer) == said
    assert field(answer, "ERR", 4) == "E"
    assert field(answer, "ERR", 8).endswith(".")
    assert rows(service.backend) == []
    # The connection goes on, and so does the control id: whoever mends the message sends it again.
    assert service.answers(mdm("1")) == ["AA 1"]


UNREADABLE = {
    "no encoding of text": mdm(charset="BASE64").encode() + b"\xe9",
    "no encoding": mdm(charset="undefined").encode() + b"\xe9",
    "another encoding": mdm(charset="UNICODE UTF-16").encode() + b"\xe9",
    "zeros in the header": mdm().encode().replace(b"|P|", b"|P" + b"\0" * 900 + b"|"),
    "zeros": b"MSH|^~\\&|" + b"\0" * 5_000,
    "bytes": b"MSH|^~|" + b"\xff" * 50,
    "another format": b"MSH|^~\\&|".ljust(128, b"_") + b"DICM\xff|",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_answered(service: Served, name: str) -> None:
    with MLLPClient("127.0.0.1", service.port) as client:
        answer = client.send_message(UNREADABLE[name])
    assert re.search(rb"\rMSA\|A[ER]\b", answer)
    assert b"|207^" not in answer
    assert service.post(UNREADABLE[name]).status_code in (400, 422)


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1", b"MSH", b"FHS|^~\\&|a\rMSH|^~\\&|b", b"\xff\xfe\x00"])
def test_what_is_no_message(service: Served, data: bytes) -> None:
    (answer,) = service.send(data)
    assert codes(answer) == "AR 100"
    assert field(answer, "MSA", 2) == ""


def test_before_version_2_5_the_reason_is_in_the_msa(service: Served) -> None:
    (answer,) = service.send(mdm(version="2.3.1", event="T12"))
    assert str(answer).split("\r")[1:] == ["MSA|AR|1|Only MDM\\S\\T01 to T11 and ORU\\S\\R01 carry notes.", ""]


@pytest.mark.parametrize(
    ("modes", "good", "bad"),
    [
        ("|", ["AA"], ["AE"]),
        ("AL|AL", ["CA", "AA"], ["CE"]),
        ("AL|NE", ["CA"], ["CE"]),
        ("AL|", ["CA"], ["CE"]),
        ("NE|AL", ["AA"], ["AE"]),
        ("ER|AL", ["AA"], ["CE"]),
        ("SU|ER", ["CA"], ["AE"]),
        ("NE|SU", ["AA"], []),
        ("NE|NE", [], []),
    ],
)
def test_enhanced_mode(service: Served, modes: str, good: list[str], bad: list[str]) -> None:
    def answered(message: str) -> list[str]:
        # What comes back before the answer to a message that is always answered.
        with MLLPClient("127.0.0.1", service.port) as client:
            client.socket.settimeout(20)
            client.socket.sendall(framed(message.encode()) + framed(mdm("last", document="D9").encode()))
            got = b""
            while b"MSA|AA|last" not in got:
                got += client.socket.recv(4096)
        blocks = [hl7.parse(block.data.decode()) for block in Deframer(10_000).feed(got + b"\x1c\r")]
        return [field(block, "MSA", 1) for block in blocks if field(block, "MSA", 2) == "1"]

    assert answered(mdm(obx="", modes=modes)) == bad
    assert answered(mdm(modes=modes)) == good
    assert outcomes(service.backend).count("MDM^T02 checked") == 2


def test_the_senders_separators_and_names_are_kept(service: Served) -> None:
    message = mdm("a#b").replace("#", "\\H\\").replace("|", "#").replace("^~\\&", "$*!@", 1)
    message = message.replace("^", "$").replace("\\H\\", "!H!")
    with MLLPClient("127.0.0.1", service.port) as client:
        answer = client.send_message(message)
    assert answer.startswith(b"\x0bMSH#$*!@#NOTEGAP#Hospital#EHR#Clinic#")
    assert b"\rMSA#AA#a!H!b\r" in answer


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("8859/1", "latin-1"), ("8859/15", "iso8859-15"), ("UNICODE UTF-8", "utf-8"), ("", "utf-8"), ("", "cp1252")],
)
def test_character_sets(service: Served, breakable: Breakable, charset: str, codec: str) -> None:
    message = mdm(
        text=f"{TEXT} Laxité at L4–L5." if codec in ("utf-8", "cp1252") else f"{TEXT} Laxité.", charset=charset
    )
    message = message.replace("|Clinic|", "|Hôpital|").replace("|D1|", "|é1|")
    with MLLPClient("127.0.0.1", service.port, encoding=codec) as client:
        answer = read(client.send_message(message), codec)
    assert codes(answer) == "AA"
    assert field(answer, "MSH", 6) == "Hôpital"
    assert field(answer, "MSH", 18) == charset
    assert breakable.read == ["é1"]


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("ASCII", "ascii", "Laxity"),
        ("UNICODE", "utf-8", "Laxité"),
        ("ISO IR87", "iso2022_jp", "腰椎不安定症"),
        ("~ISO IR87", "iso2022_jp", "腰椎不安定症"),
        ("ASCII~ISO IR87~ISO IR159", "iso2022_jp_ext", "腰椎 丂"),
        ("ISO IR14", "shift_jis", "ﾖｳﾂｳ"),
        ("GB 18030-2000", "gb18030", "腰椎"),
        ("BIG-5", "big5", "腰椎功"),
        ("8859/5", "iso8859-5", "боль"),
        ("utf-8", "utf-8", "Laxité"),
    ],
)
def test_the_character_set_that_is_declared_decides(charset: str, codec: str, text: str) -> None:
    message, why = parse(mdm(text=text, charset=charset).encode(codec))
    assert why is None
    assert message is not None
    assert message.first("OBX").get(5) == text


@pytest.mark.parametrize(
    ("charset", "more", "said"),
    [
        ("ASCII", b"\x81\xff", "The message is not in the character set that it says it is in."),
        ("ASCII", "Laxité".encode(), "The message is not in the character set that it says it is in."),
        ("UNICODE UTF-8", b"Laxit\xe9", "The message is not in the character set that it says it is in."),
        ("ISO IR87", b"\xa1\xa1", "The message is not in the character set that it says it is in."),
        *(
            (name, b"", "The character set that the message says it is in is not one that is read.")
            for name in ("KLINGON", "CNS 11643-1992", "UNICODE UTF-16", "rot13", "cp500", "8859/1~8859/5")
        ),
    ],
)
def test_no_character_set_is_guessed_at(service: Served, charset: str, more: bytes, said: str) -> None:
    (answer,) = service.send(mdm(charset=charset).encode() + b"NTE|1||" + more + b"\r")
    assert codes(answer) == "AE 102"
    assert field(answer, "MSA", 2) == "1"
    assert field(answer, "ERR", 8) == said
    assert "18" in field(answer, "ERR", 2)
    assert outcomes(service.backend) == []


def test_formats_and_escapes_in_a_text(service: Served, breakable: Breakable) -> None:
    rtf = base64.b64encode(rb"{\rtf1 Ligamentous laxity of the \b lumbar\b0  spine.}").decode()
    obx = f"OBX|1|ED|11488-4^Consult^LN||^TEXT^RTF^Base64^{rtf}||||||F\r"
    sent = mdm("2", obx=obx, document="D2"), mdm("3", text="Laxity\\.br\\L4-5 \\T\\ L5-S1", document="D3")
    assert service.answers(*sent) == ["AA 2", "AA 3"]
    assert breakable.read == ["D2", "D3"]
    assert service.backend.store.counts(tenant="local")["reports"] == 2


@pytest.mark.skipif(not SHARED.is_dir(), reason="no published samples here")
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.hl7")), ids=lambda path: path.stem)
def test_published_messages(service: Served, path: Path) -> None:
    data = path.read_bytes()
    (answer,) = service.send(data)
    message, _ = parse(data)
    assert message is not None
    expected = {"nodehl7__adt-example": "AR", "nodehl7__oru-example": "CA"}
    assert codes(answer) == expected.get(path.stem, "AA")
    assert field(answer, "MSA", 2) == message.control_id


# ── frames ──


def test_frames_in_pieces() -> None:
    stream = (
        b"junk\r\n" + framed(b"one") + b"\n" + framed(b"") + framed(b"two\r\x1cx") + b"\x0bbroken \x0bthree\x1c\r\x0b"
    )
    for size in (1, 2, 3, 7, len(stream)):
        deframer = Deframer(100)
        pieces = (stream[at : at + size] for at in range(0, len(stream), size))
        blocks = [block.data for piece in pieces for block in deframer.feed(piece)]
        assert blocks == [b"one", b"", b"two\r\x1cx", b"three"]
        assert deframer.inside
        assert not deframer.lost


@pytest.mark.parametrize("size", [1, 100, 4096, 1_000_000])
def test_frames_that_are_too_long(size: int) -> None:
    long = b"MSH|^~\\&|a" + b"x" * 50_000
    stream = framed(long) + framed(b"y" * 11) + framed(b"z" * 10)
    deframer = Deframer(10)
    held = 0
    found: list[tuple[bytes, bool]] = []
    for at in range(0, len(stream), size):
        found += [(block.data[:10], block.too_long) for block in deframer.feed(stream[at : at + size])]
        held = max(held, len(deframer._buffer))
    assert found == [(b"MSH|^~\\&|a", True), (b"yyyyyyyyyy", True), (b"zzzzzzzzzz", False)]
    assert held < 10 + 4096 + 2 * size


def test_what_is_no_mllp_at_all() -> None:
    deframer = Deframer(100)
    assert list(deframer.feed(b"x" * 65_536)) == []
    assert not deframer.lost
    assert list(deframer.feed(b"x")) == []
    assert deframer.lost


def test_packets_do_not_matter(service: Served) -> None:
    one, two, three = (framed(mdm(str(number), document=f"D{number}").encode()) for number in (1, 2, 3))
    with MLLPClient("127.0.0.1", service.port) as client:
        client.socket.settimeout(20)
        client.socket.sendall(b"\r\nnoise" + one + b"\n" + two + three[:30])
        time.sleep(0.05)
        client.socket.sendall(three[30:-1])
        time.sleep(0.05)
        client.socket.sendall(three[-1:])
        got = b""
        while got.count(b"\x1c\r") < 3:
            got += client.socket.recv(4096)
    assert re.findall(rb"MSA\|AA\|(\d)", got) == [b"1", b"2", b"3"]


def test_half_a_message_is_none(service: Served) -> None:
    with MLLPClient("127.0.0.1", service.port) as client:
        client.socket.sendall(framed(mdm().encode())[:-1])
    assert service.answers(mdm("2")) == ["AA 2"]
    assert len(rows(service.backend)) == 1


def test_a_message_that_is_too_long_is_answered_and_the_next_one_too(service: Served) -> None:
    long = mdm("long", text="word " * 100_000).encode()
    with MLLPClient("127.0.0.1", service.port) as client:
        client.socket.settimeout(20)
        client.socket.sendall(framed(long))
        answer = read(client.socket.recv(4096))
        assert (codes(answer), field(answer, "MSA", 2)) == ("AE 102", "long")
        assert codes(read(client.send_message(mdm()))) == "AA"


def test_noise_without_end_is_cut_off(service: Served) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection, suppress(ConnectionError):
        connection.sendall(b"x" * 200_000)
        assert connection.recv(10) == b""
    assert service.answers(mdm()) == ["AA 1"]


def closed(connection: socket.socket) -> bool:
    """Whether the other side closes the connection, within a while, without a word."""
    connection.settimeout(5)
    try:
        return connection.recv(10) == b""
    except ConnectionError:
        return True


def test_connections_that_are_not_taken(analyzer: Analyzer, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    with (
        served(analyzer, url, MLLP_PEERS="10.0.0.0/8") as made,
        socket.create_connection(("127.0.0.1", made.port)) as connection,
    ):
        assert closed(connection)
    with served(analyzer, url, MLLP_CONNECTIONS="1", MLLP_IDLE_SECONDS="1", MLLP_PEERS="127.0.0.1") as made:
        with MLLPClient("127.0.0.1", made.port) as client:
            assert codes(read(client.send_message(mdm()))) == "AA"
            with socket.create_connection(("127.0.0.1", made.port)) as second:
                assert closed(second)
            # Nothing comes for a second: closed, and there is room again.
            assert closed(client.socket)
        assert made.answers(mdm("2", document="D2")) == ["AA 2"]


def test_a_message_that_takes_too_long_to_come(service: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mllp, "_BLOCK_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        started = time.monotonic()
        with suppress(ConnectionError):
            # A byte now and then does not keep it open.
            while time.monotonic() - started < 10:
                connection.sendall(b"\x0bMSH")
                time.sleep(0.1)
        assert time.monotonic() - started < 10
    assert service.answers(mdm()) == ["AA 1"]


def test_a_port_that_is_taken(service: Served) -> None:
    config = load(environment={"NOTEGAP_MLLP_PORT": str(service.port)}).config
    with pytest.raises(UsageError, match=rf"{service.port}: cannot be listened on \(address already in use\)"):
        mllp.listen(config.mllp)


def test_what_is_in_hand_is_answered_before_it_stops(breakable: Breakable, tmp_path: Path) -> None:
    answers: list[bytes] = []
    with served(breakable, f"sqlite:///{tmp_path / 'n.sqlite3'}") as made:
        idle = socket.create_connection(("127.0.0.1", made.port))
        client = MLLPClient("127.0.0.1", made.port)
        thread = threading.Thread(target=lambda: answers.append(client.send_message(mdm(text=f"{TEXT} slow"))))
        thread.start()
        while not breakable.read:
            time.sleep(0.01)
        threading.Timer(0.3, breakable.go_on.set).start()
    thread.join()
    assert codes(read(answers[0])) == "AA"
    assert closed(idle)
    client.close()
    idle.close()


def test_tls(analyzer: Analyzer, tmp_path: Path) -> None:
    authority = certificate(tmp_path, "authority")
    server, client = (certificate(tmp_path, name, authority) for name in ("server", "Ward 3"))
    secured = {
        "MLLP_TLS_CERTIFICATE": str(server[0]),
        "MLLP_TLS_KEY": str(server[1]),
        "MLLP_TLS_CLIENT_CA": str(authority[0]),
        "MLLP_TENANT": "clinic",
        "AUDIT_KEYS": KEYS,
    }
    context = ssl.create_default_context(cafile=authority[0])
    with served(analyzer, f"sqlite:///{tmp_path / 'n.sqlite3'}", **secured) as made:

        def sent(context: ssl.SSLContext) -> bytes:
            plain = socket.create_connection(("127.0.0.1", made.port), timeout=20)
            with plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as connection:
                connection.sendall(framed(mdm().encode()))
                return bytes(connection.recv(4096))

        # In TLS 1.3 a client hears only after its handshake that it is not let in.
        with suppress(ssl.SSLError, ConnectionError):
            assert sent(context) == b""
        with socket.create_connection(("127.0.0.1", made.port)) as plain:
            plain.sendall(framed(mdm().encode()))
            plain.settimeout(20)
            with suppress(ConnectionError):
                assert b"MSA" not in plain.recv(4096)
        context.load_cert_chain(*client)
        assert codes(read(sent(context))) == "AA"
        with made.backend.store.database.read() as connection:
            (entry,) = connection.execute(select(ENTRIES))
    assert (entry.tenant, entry.client, entry.known_by) == ("clinic", "Ward 3", "tls")


def test_others_are_let_in_only_when_it_is_said_who() -> None:
    def exposed(**variables: str) -> None:
        named = {f"NOTEGAP_{name}": value for name, value in variables.items()}
        check_exposure(load(environment={"NOTEGAP_MLLP_PORT": "2575", "NOTEGAP_MLLP_HOST": "0.0.0.0", **named}).config)

    with pytest.raises(UsageError, match=r"without those who may connect \(mllp.peers\).*; a key of the audit log"):
        exposed()
    with pytest.raises(UsageError, match="without a key of the audit log"):
        exposed(MLLP_PEERS="10.1.2.3")
    exposed(MLLP_PEERS="10.1.2.3", AUDIT_KEYS=KEYS)
    exposed(AUDIT_KEYS=KEYS, MLLP_TLS_CERTIFICATE="c", MLLP_TLS_KEY="k", MLLP_TLS_CLIENT_CA="a")


# ── once ──


def test_a_message_that_comes_again(service: Served) -> None:
    with MLLPClient("127.0.0.1", service.port) as client:
        first, again = (client.send_message(mdm("7")) for _ in range(2))
    assert first == again
    assert service.post(mdm("7")).content == first[1:-2]
    assert len(rows(service.backend)) == 1
    assert service.backend.store.counts(tenant="local")["reports"] == 1
    later = (
        mdm("7").replace("|20260430120000|", "|20260430120103|", 1).replace("T02|20260430120000", "T02|20260430120103")
    )
    assert service.post(later).content == service.post(mdm("7").replace("\r", "\n")).content == first[1:-2]
    for other in (mdm("7", text="Something else."), mdm("7").replace("|19610203|", "|19610204|"), mdm("7") + "NTE|1\r"):
        (answer,) = service.send(other)
        assert codes(answer) == "AE 205"
    # Another sender's control ids are its own.
    assert service.answers(mdm("7", text="Something else.").replace("|EHR|", "|LAB|")) == ["AA 7"]
    with service.backend.store.database.read() as connection:
        logged = [entry.outcome for entry in connection.execute(select(ENTRIES).order_by(ENTRIES.c.number))]
    assert logged == ["checked", *["duplicate"] * 4, *["refused"] * 3, "unchecked"]


def test_a_message_that_comes_many_times_at_once(service: Served, breakable: Breakable) -> None:
    with ThreadPoolExecutor(8) as pool:
        for answers in zip(*pool.map(lambda _: service.send(mdm("7"), mdm("8", document="D8")), range(8)), strict=True):
            assert {str(answer) for answer in answers} == {str(answers[0])}
    assert sorted(breakable.read) == ["D1", "D8"]
    assert service.backend.store.counts(tenant="local")["reports"] == 2


def test_two_processes_get_the_same_message(analyzer: Analyzer, database_url: str) -> None:
    config = load(environment={"NOTEGAP_DATABASE_URL": database_url, "NOTEGAP_AUDIT_KEYS": KEYS}).config
    backends = [Backend.from_config(config) for _ in range(4)]
    together = threading.Barrier(4)

    report = analyzer.analyze(Note(id="D1", text=TEXT))

    class Together:
        def analyze(self, _: Note) -> Report:
            together.wait(20)
            return report

    def receive(backend: Backend) -> bytes:
        counted: list[str] = []
        inbox = Inbox(
            Together(),
            backend,
            max_bytes=10_000,
            hand_on=HandOn(),
            saw=lambda _: None,
            count=lambda _, outcome: counted.append(outcome),
        )
        answer = inbox.receive(mdm("7").encode(), LOCAL, by="mllp")
        return answer.acknowledgements[0] + counted[0].encode()

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(receive, backends))
    assert len({answer.partition(b"MSA|AA|7\r")[0] for answer in answers}) == 1
    assert [answer.partition(b"MSA|AA|7\r")[2] for answer in answers] == [b"checked", *[b"duplicate"] * 3]
    assert backends[0].store.counts(tenant="local")["reports"] == 1
    assert backends[0].audit_log.verify().faults == ()
    for backend in backends:
        backend.close()


def test_without_its_key_nobody_can_tell_whether_it_is_the_same(analyzer: Analyzer, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    other = KEYS.replace("k:", "other:")
    for keys, said in ((f"{other}", "AA"), (f"{KEYS},{other}", "AA"), (KEYS, "AE 205")):
        with served(analyzer, url, DATABASE_KEYS=keys) as made:
            assert codes(made.send(mdm())[0]) == said


def test_what_cannot_be_written_down_is_not_accepted(
    service: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreError("the database is away")

    monkeypatch.setattr(service.backend.audit_log.__class__, "append_in", away)
    (answer,) = service.send(mdm())
    assert codes(answer) == "AR 207"
    assert service.post(mdm()).status_code == 503
    assert rows(service.backend) == []
    assert "reports" not in service.backend.store.counts(tenant="local")
    monkeypatch.undo()
    assert service.answers(mdm()) == ["AA 1"]
    assert "the database is away" in caplog.text


def test_a_crash_is_no_acceptance(service: Served, caplog: pytest.LogCaptureFixture) -> None:
    message = mdm(text=f"{CANARY} crash")
    (answer,) = service.send(message)
    assert codes(answer) == "AE 207"
    posted = service.post(message)
    assert (posted.status_code, posted.headers["content-type"]) == (500, f"{MEDIA_TYPE}; charset=utf-8")
    assert CANARY not in str(answer) + posted.text + caplog.text
    assert "IndexError at" in caplog.text
    assert rows(service.backend) == []


# ── what a document's state asks for ──


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (mdm(event="T01", obx=""), "announced"),
        (mdm(event="T03", obx=""), "announced"),
        (mdm(event="T09", obx="", replaces="D0"), "announced"),
        (mdm(event="T10", replaces="D0"), "checked"),
        (mdm(event="T06"), "checked"),
        (mdm(status="DI"), "checked"),
        (mdm(status="LA"), "checked"),
        (mdm(status="IP"), "unfinished"),
        (mdm(status="IN"), "unfinished"),
        (mdm(event="T11", obx=""), "cancelled"),
        (mdm(available="CA"), "cancelled"),
        (mdm(available="OB"), "cancelled"),
        (mdm(text="Here for her flu shot."), "unchecked"),
        (oru(), "checked"),
        (oru(status="P"), "checked"),
        (oru(status="X"), "cancelled"),
        (oru(status="I", obx=""), "announced"),
        (oru(obx="OBX|1|TX|1||||||||F\r"), "empty"),
        (oru(obx=""), "empty"),
    ],
)
def test_states(service: Served, breakable: Breakable, message: str, outcome: str) -> None:
    assert service.answers(message) == ["AA 1"]
    assert [row.outcome for row in rows(service.backend)] == [outcome]
    assert len(breakable.read) == (outcome in ("checked", "unchecked"))


def test_what_is_kept_of_a_cancelled_document_is_deleted(analyzer: Analyzer, tmp_path: Path) -> None:
    with served(analyzer, f"sqlite:///{tmp_path / 'n.sqlite3'}", STORE="reports", AUDIT_KEYS=KEYS) as made:
        made.answers(mdm("1"), mdm("2", document="D2"), mdm("3", event="T08"))
        assert len(made.backend.store.reports(tenant="local")) == 3
        assert made.answers(mdm("4", event="T11", obx="")) == ["AA 4"]
        (left,) = made.backend.store.reports(tenant="local")
        assert left.id == rows(made.backend)[1].report
        assert made.backend.audit_log.verify().faults == ()


def test_what_is_too_old_is_forgotten(service: Served) -> None:
    service.answers(mdm())
    assert service.backend.store.purge() == 0
    with service.backend.store.database.write() as connection:
        connection.execute(RECEIVED.update().values(at="2020-01-01T00:00:00.000000Z"))
    assert service.backend.store.purge() == 1
    assert rows(service.backend) == []


# ── over HTTP ──


def test_over_http(service: Served) -> None:
    for number, media_type in enumerate((MEDIA_TYPE, "x-application/hl7-v2+er7", "Application/HL7-v2; charset=UTF-8")):
        answer = service.post(mdm(str(number), document=f"D{number}"), media_type)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == f"{media_type.partition(';')[0].lower()}; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert field(hl7.parse(answer.text), "MSA", 1) == "AA"
    assert service.post(mdm("e", modes="AL|AL")).text.count("MSA|AA|e") == 1
    assert "MSA|CA|f" in service.post(mdm("f", modes="AL|NE")).text
    assert service.post(mdm("g", modes="NE|NE")).status_code == 204
    refused = service.post(mdm("h", obx=""))
    assert (refused.status_code, field(hl7.parse(refused.text), "MSA", 1)) == (422, "AE")
    assert service.post(mdm("h", obx="", modes="NE|NE")).status_code == 422
    refused = service.post(mdm("h", event="T12"))
    assert (refused.status_code, field(hl7.parse(refused.text), "MSA", 1)) == (400, "AR")
    assert service.post(mdm("h"), "text/plain").status_code == 415
    assert service.post(b"").status_code == 400


def test_its_character_set_may_be_told_by_http(service: Served) -> None:
    answer = service.post(mdm().replace("|Clinic|", "|Hôpital|").encode("latin-1"), f"{MEDIA_TYPE}; charset=iso-8859-1")
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{MEDIA_TYPE}; charset=iso8859-1")
    assert "|Hôpital|".encode("latin-1") in answer.content


def test_over_http_only_for_who_may(analyzer: Analyzer, tmp_path: Path) -> None:
    with served(analyzer, f"sqlite:///{tmp_path / 'n.sqlite3'}", ACCESS_AUTHENTICATION="required") as made:
        keys = ApiKeys(made.backend.store.database)
        assert made.post(mdm()).status_code == 401
        answers = {
            role: made.post(mdm(), Authorization=f"Bearer {keys.add('c', role=role, tenant=role)[1]}") for role in ROLES
        }
        assert {role: answer.status_code for role, answer in answers.items()} == {
            role: 200 if "hl7" in scopes else 403 for role, scopes in ROLES.items()
        }
        # A tenant's messages are not another's.
        assert [row.tenant for row in rows(made.backend)] == ["integration", "admin"]


# ── not a word ──


def test_no_word_of_a_note_is_left(analyzer: Analyzer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver = socket.create_server(("127.0.0.1", 0))
    port = receiver.getsockname()[1]
    receiver.close()
    secret = base64.b64encode(b"3" * 32).decode()
    handing_on = {
        "DATABASE_KEYS": KEYS,
        "OUTBOX_ORU": f"mllp://127.0.0.1:{port}",
        "OUTBOX_WEBHOOK": f"http://127.0.0.1:{port}/x",
        "OUTBOX_SECRETS": secret,
    }
    text = f"{CANARY} has {TEXT} {CANARY}"
    messages = (
        mdm("1", text),
        mdm("2", f"{text} \x81"),
        mdm("3", obx=f"OBX|1|RP|1||{CANARY}||||||F\r"),
        mdm("4", obx=f"OBX|1|ED|1||^TEXT^^Base64^{CANARY}!||||||F\r"),
        mdm("5", text, event="T12"),
        mdm("1", f"{text} again"),
        f"{CANARY} is no message",
    )
    # Four digits stand in a hash now and then.
    sent = tuple(message.replace("4711", "MRN-4711-Q") for message in messages)
    for name, variables in (("default", {}), ("handing on", handing_on)):
        with served(analyzer, f"sqlite:///{tmp_path / f'{name}.sqlite3'}", AUDIT_KEYS=KEYS, **variables) as made:
            answers = [str(answer) for answer in made.send(*sent)] + [made.post(message).text for message in sent]
            figures = made.http.get("/metrics").text
            while made.backend.outbox.list(State.WAITING) and "not delivered" not in caplog.text:
                time.sleep(0.05)
            names = ("Doe", "MRN-4711-Q", CANARY)
            files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        files += b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert not [name for name in names if name.encode() in files], name
        assert not [name for name in names if name in figures]
        assert CANARY not in "".join(answers)
    assert CANARY not in caplog.text
    assert CANARY not in repr(parse(mdm(text=CANARY).encode()))
    assert "was not delivered to 'oru'" in caplog.text


# ── the real thing ──


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def process(url: str, port: int, workers: int = 1) -> Iterator[subprocess.Popen[str]]:
    """The service of hl7_server.py, once it takes messages; killed at the end if it still runs."""
    variables = {
        "NOTEGAP_DATABASE_URL": url,
        "NOTEGAP_MLLP_PORT": str(port),
        "NOTEGAP_AUDIT_KEYS": KEYS,
        "NOTEGAP_SERVER_WORKERS": str(workers),
    }
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("hl7_server.py"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
    ) as made:
        try:
            assert made.stdout is not None
            assert made.stdout.readline().startswith("ready")
            yield made
        finally:
            made.kill()


class Sender:
    """Sends messages on one connection until each is acknowledged, as an interface engine does."""

    def __init__(self, name: int, port: int, number: int) -> None:
        self.waiting = [f"{name}-{each}" for each in range(number)]
        self.acknowledged: dict[str, set[str]] = {}
        self._port = port

    def run(self) -> None:
        """Send what is not acknowledged; after a connection broke off, what was acknowledged last too."""
        last: list[str] = []
        while self.waiting:
            try:
                with MLLPClient("127.0.0.1", self._port) as client:
                    client.socket.settimeout(30)
                    for control_id in last:
                        self._send(client, control_id)
                    while self.waiting:
                        self._send(client, self.waiting[0])
                        last = [self.waiting.pop(0)]
            except OSError:
                time.sleep(0.05)

    def _send(self, client: MLLPClient, control_id: str) -> None:
        block = client.send_message(mdm(control_id, text="gaps", document=control_id))
        if not block.endswith(b"\x1c\r"):
            raise ConnectionError
        answer = read(block)
        assert codes(answer) == "AA"
        self.acknowledged.setdefault(control_id, set()).add(field(answer, "MSH", 10))


# python-hl7's client forgets its socket when nobody listens.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_that_was_acknowledged_is_lost_or_taken_twice(database_url: str) -> None:
    """kill -9 while many send, twice; who has no acknowledgement sends again."""
    port = free_port()
    senders = [Sender(name, port, 40) for name in range(4)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(sender.run) for sender in senders]
        for wanted in (30, 80):
            with process(database_url, port) as killed:
                deadline = time.monotonic() + 120
                while sum(len(sender.acknowledged) for sender in senders) < wanted:
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
                killed.kill()
        assert not all(each.done() for each in done)
        with process(database_url, port) as last:
            for each in done:
                each.result(120)
            last.terminate()
            assert last.wait(30) in (0, -signal.SIGTERM)
            assert last.stderr is not None
            assert last.stderr.read() == ""
    acknowledged = {name: ids for sender in senders for name, ids in sender.acknowledged.items()}
    assert len(acknowledged) == 160
    assert all(len(ids) == 1 for ids in acknowledged.values())
    backend = Backend.from_config(
        load(environment={"NOTEGAP_DATABASE_URL": database_url, "NOTEGAP_AUDIT_KEYS": KEYS}).config
    )
    found = rows(backend)
    assert len(found) == len({row.key for row in found}) == 160
    assert backend.store.counts(tenant="local")["reports"] == 160
    with backend.store.database.read() as connection:
        logged = [row.subject for row in connection.execute(select(ENTRIES)) if row.outcome == "checked"]
    assert sorted(logged) == sorted(row.id for row in found)
    assert backend.audit_log.verify().faults == ()
    backend.close()


def test_several_processes_listen_at_one_port(tmp_path: Path) -> None:
    port = free_port()
    url = f"sqlite:///{tmp_path / 'n.sqlite3'}"
    sample = tmp_path / "messages.hl7"
    sample.write_text("".join(framed(mdm(str(number), document=str(number)).encode()).decode() for number in range(6)))
    with process(url, port, workers=2) as made:
        asked = [sys.executable, "-m", "hl7.client", "--port", str(port), "--file", str(sample), "127.0.0.1"]
        sending = [subprocess.Popen(asked, stdout=subprocess.PIPE) for _ in range(3)]
        answers = [each.communicate(timeout=120)[0] for each in sending]
        made.terminate()
        assert made.wait(30) in (0, -signal.SIGTERM)
    assert [re.findall(rb"MSA\|(\w+\|\d)", answer) for answer in answers] == [
        [f"AA|{number}".encode() for number in range(6)]
    ] * 3
    database = Database(url)
    with database.read() as connection:
        assert len(list(connection.execute(select(RECEIVED)))) == 6
    database.close()


def test_the_command_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli.base, "build_analyzer", lambda _patterns: None)
    monkeypatch.setattr(serve, "serve", lambda _analyzer, _config, ready: ready("http://127.0.0.1:1/"))
    monkeypatch.setenv("NOTEGAP_MLLP_PORT", "2575")
    assert cli.main(["serve"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "notegap is at http://127.0.0.1:1/  (Ctrl+C stops it)",
        "HL7 v2 messages come in at 127.0.0.1, port 2575 (MLLP)",
    ]


# ── the documentation ──


def test_the_documentation_shows_what_happens(analyzer: Analyzer, tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "hl7.md").read_text(encoding="utf-8")
    sent, acknowledged, result = re.findall(r"```hl7\n(.*?)```", text, re.DOTALL)
    (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    secret = f"whsec_{base64.b64encode(b'3' * 32).decode()}"
    for name, content in {"webhook_secrets": secret, "database_keys": KEYS}.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "notegap.toml").write_text(toml.replace("/etc/notegap/", f"{tmp_path}/"))
    config = load(tmp_path / "notegap.toml", environment={}).config
    assert config.outbox.secrets.values == (b"3" * 32,)

    def plain(message: str) -> str:
        return re.sub(r"[0-9a-f]{20}", "ID", re.sub(r"\d{14}\+0000", "NOW", message.replace("\r", "\n")))

    with served(
        analyzer, f"sqlite:///{tmp_path / 'n.sqlite3'}", DATABASE_KEYS=KEYS, OUTBOX_ORU="mllp://127.0.0.1:1"
    ) as made:
        answer = made.post(sent.replace("\n", "\r"))
        assert plain(answer.text) == plain(acknowledged)
    variables = {"DATABASE_URL": f"sqlite:///{tmp_path / 'n.sqlite3'}", "DATABASE_KEYS": KEYS}
    backend = Backend.from_config(
        load(environment={f"NOTEGAP_{name}": value for name, value in variables.items()}).config
    )
    with backend.store.database.write() as connection:
        connection.execute(OUTBOX.update().values(due=""))
    entry = backend.outbox.claim("oru")
    backend.close()
    assert entry is not None
    assert plain(entry.body.decode()) == plain(result)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    moment = str(int(time.time()))
    signature = signatures([b"4" * 32, b"3" * 32], "r1", moment, b"{}")
    headers = {"webhook-id": "r1", "webhook-timestamp": moment, "webhook-signature": signature}
    assert namespace["is_ours"](headers, b"{}", secret) is True
    assert namespace["is_ours"](headers, b"{} ", secret) is False
    assert namespace["is_ours"](headers | {"webhook-timestamp": "1"}, b"{}", secret) is False
