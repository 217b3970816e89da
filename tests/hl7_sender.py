"""For the tests of HL7 v2: messages, the service with a listener, certificates, and clients that are not ours."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import hl7
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from fastapi import FastAPI
from hl7.client import MLLPClient
from starlette.testclient import TestClient

from notegap.config import load
from notegap.service.app import ServiceConfig, create_app
from notegap.service.backend import Backend

KEYS = f"k:{base64.b64encode(b'2' * 32).decode()}"
TEXT = "Chronic ligamentous laxity of the lumbar spine on MRI."
MEDIA_TYPE = "application/hl7-v2"


def mdm(
    control_id: str = "1",
    text: str = TEXT,
    *,
    event: str = "T02",
    document: str = "D1",
    replaces: str = "",
    status: str = "AU",
    available: str = "AV",
    version: str = "2.5.1",
    modes: str = "|",
    charset: str = "",
    obx: str | None = None,
) -> str:
    """An MDM message about one document; `modes` are MSH-15 and MSH-16."""
    told = f"OBX|1|FT|11488-4^Consult^LN||{text}||||||F\r" if obx is None else obx
    return (
        f"MSH|^~\\&|EHR|Clinic|NOTEGAP|Hospital|20260430120000||MDM^{event}^MDM_{event}|{control_id}|P|{version}|||{modes}"
        f"||{charset}\r"
        f"EVN|{event}|20260430120000\r"
        "PID|1||4711^^^Hospital^MR||Doe^Jane^Q||19610203|F|||1 Street^^Town\r"
        "PV1|1|O|||||||||||||||||V9\r"
        "OBR|1|P7^EHR|F8^EHR|34117-2^H\\T\\P^LN\r"
        f"TXA|1|CN^Consultation|TX|202604301200||||||||{document}|{replaces}||||{status}||{available}\r"
        f"{told}"
    )


def oru(
    control_id: str = "1", text: str = TEXT, *, status: str = "F", order: str = "F8", obx: str | None = None
) -> str:
    """An ORU^R01 message with one observation."""
    told = f"OBX|1|TX|18782-3^Findings^LN||{text}||||||F\r" if obx is None else obx
    return (
        f"MSH|^~\\&|RIS|Clinic|NOTEGAP|Hospital|20260430120000||ORU^R01^ORU_R01|{control_id}|P|2.5.1\r"
        f"PID|1||4711||Doe^Jane\rOBR|1|P7|{order}|72148^MRI L-spine|||20260430{'|' * 18}{status}\r{told}"
    )


@dataclass(frozen=True)
class Served:
    """The service as it is served: over HTTP by a client, over MLLP at a port."""

    http: TestClient
    port: int
    app: FastAPI

    @property
    def backend(self) -> Backend:
        """What stands behind it."""
        backend: Backend = self.app.state.backend
        return backend

    def send(self, *messages: str | bytes) -> list[hl7.Message]:
        """Send messages on one connection with python-hl7's client, and read what it gets as answers."""
        with MLLPClient("127.0.0.1", self.port) as client:
            client.socket.settimeout(20)
            return [read(client.send_message(message)) for message in messages]

    def answers(self, *messages: str) -> list[str]:
        """What is answered to each: "AA 1", an acknowledgement's code and the control id it is for."""
        return [f"{field(answer, 'MSA', 1)} {field(answer, 'MSA', 2)}" for answer in self.send(*messages)]

    def post(self, message: str | bytes, content_type: str = MEDIA_TYPE, **headers: str) -> Any:
        """Send a message over HTTP."""
        content = message.encode() if isinstance(message, str) else message
        return self.http.post("/hl7v2", content=content, headers={"Content-Type": content_type, **headers})


@contextmanager
def served(analyzer: Any, url: str, **variables: str) -> Iterator[Served]:
    """The service, on a database, with a listener for MLLP; `variables` without NOTEGAP_."""
    environment = {f"NOTEGAP_{name}": value for name, value in {"DATABASE_URL": url, **variables}.items()}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        config = ServiceConfig(
            hosts=frozenset({"n"}),
            settings=load(environment=environment).config,
            mllp=listening,
            max_bytes=50_000,
            rate=0,
        )
        app = create_app(analyzer, config)
        with TestClient(app, base_url="http://n") as client:
            yield Served(client, port, app)


def read(block: bytes, encoding: str = "utf-8") -> hl7.Message:
    """The one message in a frame, read by python-hl7."""
    assert block[:1] == b"\x0b", block
    assert block[-2:] == b"\x1c\r", block
    assert block.count(b"\x0b") == 1, block
    return hl7.parse(block[1:-2].decode(encoding))


def field(message: hl7.Message, segment: str, number: int) -> str:
    """A field of the first segment of this name; "" when it is not there."""
    fields = message.segment(segment)
    return str(fields[number]) if len(fields) > number else ""


def certificate(folder: Path, name: str, signed_by: tuple[Path, Path] | None = None) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, signed by another or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, issuer_key = subject, key
    if signed_by is not None:
        issuer = x509.load_pem_x509_certificate(signed_by[0].read_bytes()).subject
        loaded = serialization.load_pem_private_key(signed_by[1].read_bytes(), None)
        assert isinstance(loaded, ec.EllipticCurvePrivateKey)
        issuer_key = loaded
    moment = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True)
        .sign(issuer_key, SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    paths[1].write_bytes(key.private_bytes(*private))
    return paths
