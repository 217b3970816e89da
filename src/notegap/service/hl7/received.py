"""Which messages were accepted, and what came of each: one row a message, so that none is taken twice.

Of a message its hash is kept, nothing of what it says.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Column, Connection, Index, String, Table, select, update

from notegap.config import KeyRing
from notegap.service.database import METADATA, Database
from notegap.service.hl7.messages import Message
from notegap.service.sealing import seal

RECEIVED = Table(
    "hl7_received",
    METADATA,
    # A hash of whose it is, who sent it (MSH-3, MSH-4) and its control id (MSH-10).
    Column("key", String(64), primary_key=True),
    Column("id", String(20), nullable=False),
    Column("tenant", String(100), nullable=False),
    Column("at", String(27), nullable=False),
    # A hash of what it says; with a key of the database, if there is one, whose id this is.
    Column("digest", String(64), nullable=False),
    Column("digest_key", String(32), nullable=False),
    Column("type", String(10), nullable=False),
    Column("outcome", String(16), nullable=False),
    # A hash of the document's number; empty: it has none.
    Column("document", String(64), nullable=False),
    # The id of the report that is kept; empty: none is.
    Column("report", String(36), nullable=False),
    Index("hl7_received_by_age", "at"),
    Index("hl7_received_document", "document"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A message that was accepted: its id in our acknowledgements and in the audit log, when, and what came of it."""

    key: str
    id: str
    tenant: str
    at: str
    digest: str
    digest_key: str
    type: str
    outcome: str
    document: str
    report: str = ""


class Received:
    """The messages that were accepted."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
        database.ensure(RECEIVED)

    def find(self, key: str) -> Accepted | None:
        """The message of this key."""
        with self._database.read() as connection:
            row = connection.execute(select(RECEIVED).where(RECEIVED.c.key == key)).one_or_none()
        return None if row is None else Accepted(**row._mapping)

    def add(self, connection: Connection, accepted: Accepted) -> bool:
        """Write down that a message was accepted, in a transaction of the caller; False when it was already."""
        row = {name: getattr(accepted, name) for name in RECEIVED.columns.keys()}  # noqa: SIM118 - not a mapping
        # Told by what it returns: not every driver knows how many rows an insert has added.
        adding = self._database.upsert(RECEIVED).values(row).on_conflict_do_nothing().returning(RECEIVED.c.key)
        return connection.execute(adding).first() is not None

    def keep(self, connection: Connection, key: str, report: str) -> None:
        """Note the id of the report that is kept of a message."""
        connection.execute(update(RECEIVED).where(RECEIVED.c.key == key).values(report=report))

    def reports_of(self, connection: Connection, document: str) -> tuple[str, ...]:
        """The ids of the reports that were kept of a document."""
        wanted = select(RECEIVED.c.report).where(RECEIVED.c.document == document, RECEIVED.c.report != "")
        return tuple(connection.scalars(wanted))

    def digest(self, data: bytes, tenant: str) -> tuple[str, str]:
        """A hash of a message, and the id of the key it was made with, "" when there is none."""
        if not self._keys:
            return sha256(_of(data, tenant)).hexdigest(), ""
        key_id, key = self._keys.current
        return seal(key, "hl7 message", _of(data, tenant)), key_id

    def is_same(self, accepted: Accepted, data: bytes) -> bool:
        """Whether a message says what the one that was accepted said; no, when its key is not there any more."""
        key = self._keys.get(accepted.digest_key)
        if key is None and accepted.digest_key:
            return False
        sent = _of(data, accepted.tenant)
        made = sha256(sent).hexdigest() if key is None else seal(key, "hl7 message", sent)
        return hmac.compare_digest(made, accepted.digest)


def key_of(message: Message, tenant: str) -> str:
    """By what a message is known again."""
    return _hash("message", tenant, *message.sender, message.control_id)


def document_keys(message: Message, tenant: str) -> tuple[str, str]:
    """By what its document is known again, and the one that it replaces; "" when there is none."""
    own, replaced = (
        _hash("document", tenant, *message.sender, number) if number else ""
        for number in (message.document, message.replaced)
    )
    return own, replaced


def _of(data: bytes, tenant: str) -> bytes:
    """What a message says, but for what is another when it is sent again: its times (MSH-7, EVN-2) and line ends."""
    mark = data[3:4]
    lines = [line.split(mark) for line in re.split(rb"[\r\n]+", data.strip(b"\r\n \t"))]
    for fields in lines:
        # In an MSH the separator itself is the first field.
        number = {b"MSH": 6, b"EVN": 2}.get(fields[0], len(fields))
        fields[number : number + 1] = [b""] if number < len(fields) else []
    return tenant.encode() + b"\0" + b"\r".join(mark.join(fields) for fields in lines)


def _hash(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
