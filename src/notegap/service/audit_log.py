"""The audit log: who did what, when, to which note. Never a word of the note.

Each entry is sealed with a key together with the seal of the one before, and a head tells, sealed too, how many there
are and how the last one is sealed. So whoever changes, removes, inserts or reorders entries, or cuts off the last ones,
is found out by `verify`, unless they have the key. Someone who can write to the database could put back an old state as
a whole, head and all; a head that was kept elsewhere finds that out (`notegap audit-log head`, then `verify --head`).

A note is named by a keyed hash: the same note gives the same hash, and without the key no short note can be guessed
from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, insert, select, update

from notegap.config import Config, KeyRing
from notegap.errors import StoreError, UsageError
from notegap.model import Note
from notegap.service.database import METADATA, Database, now
from notegap.service.principal import Principal
from notegap.service.sealing import seal

ENTRIES = Table(
    "audit_log",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(27), nullable=False),
    Column("tenant", String(100), nullable=False),
    Column("client", String(200), nullable=False),
    Column("role", String(100), nullable=False),
    Column("known_by", String(10), nullable=False),
    Column("action", String(64), nullable=False),
    Column("outcome", String(64), nullable=False),
    Column("subject", String(100), nullable=False),
    Column("note", String(64), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("seal", String(64), nullable=False),
)
HEAD = Table(
    "audit_log_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("last", String(64), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("seal", String(64), nullable=False),
)

_SEALED = ("number", "at", "tenant", "client", "role", "known_by", "action", "outcome", "subject", "note", "key_id")
# What we name ourselves: no sentence fits into it.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SUBJECT = re.compile(r"[A-Za-z0-9._:/-]{0,100}")
_START = "0" * 64
_LOCK_HEAD = select(HEAD).where(HEAD.c.id == 1).with_for_update()
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Head:
    """How many entries there are, and the seal of the last one; written `NUMBER:SEAL`."""

    number: int
    last: str

    def __str__(self) -> str:
        return f"{self.number}:{self.last}"

    @classmethod
    def parse(cls, written: str) -> Head:
        """Read what `str` writes."""
        match = re.fullmatch(r"\s*(\d{1,18}):([0-9a-f]{64})\s*", written)
        if match is None:
            raise UsageError("this is not a head of the audit log; `notegap audit-log head` prints one")
        return cls(int(match[1]), match[2])


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found: the number of entries that were read, and what is wrong, if anything."""

    entries: int
    faults: tuple[str, ...]
    head: Head | None


class AuditLog:
    """The audit log. Without keys none is kept: `append` then does nothing."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
        if keys:
            database.ensure(ENTRIES, HEAD)

    @classmethod
    def from_config(cls, config: Config, database: Database) -> AuditLog:
        """The log that the configuration describes."""
        return cls(database, config.audit.keys)

    @property
    def is_kept(self) -> bool:
        """Whether there is a key, so that there is a log."""
        return bool(self._keys)

    def append(
        self, action: str, who: Principal, *, note: Note | str | None = None, subject: str = "", outcome: str = "ok"
    ) -> None:
        """Write down that `who` did `action` (a name such as "check"), to which note, with which outcome.

        `subject` is an id of ours, such as that of a report that was deleted. Raises StoreError when it cannot be
        written: what cannot be logged is not to be done.
        """
        with self._database.write() if self._keys else nullcontext() as connection:
            self.append_in(connection, action, who, note=note, subject=subject, outcome=outcome)

    def append_in(
        self,
        connection: Connection | None,
        action: str,
        who: Principal,
        *,
        note: Note | str | None = None,
        subject: str = "",
        outcome: str = "ok",
    ) -> None:
        """As `append`, in a transaction of the caller: what is logged is done, or neither."""
        if not (_NAME.fullmatch(action) and _NAME.fullmatch(outcome) and _SUBJECT.fullmatch(subject)):
            raise ValueError("an action, outcome or subject of the audit log is a name or an id, not a text")
        if connection is None or not self._keys:
            return
        key_id, key = self._keys.current
        entry: dict[str, Any] = {
            "tenant": who.tenant,
            "client": who.client,
            "role": who.role,
            "known_by": who.by,
            "action": action,
            "outcome": outcome,
            "subject": subject,
            "note": self.note_hash(note, tenant=who.tenant) if note is not None else "",
            "key_id": key_id,
        }
        head = self._locked_head(connection, key_id, key)
        entry |= {"number": head.number + 1, "at": now()}
        sealed = _seal_of(entry, head.last, key)
        connection.execute(insert(ENTRIES).values(**entry, seal=sealed))
        connection.execute(
            update(HEAD).where(HEAD.c.id == 1).values(_head_row(Head(head.number + 1, sealed), key_id, key))
        )

    def note_hash(self, note: Note | str, *, tenant: str) -> str:
        """How a note is named in the log of a tenant: nobody can tell that two tenants have the same one."""
        self._must_be_kept()
        text = note if isinstance(note, str) else note.text
        return seal(self._keys.current[1], "audit note", f"{tenant}\0{text}".encode("utf-8", "surrogatepass"))

    def head(self) -> Head | None:
        """The head as it stands, to be kept elsewhere; None while nothing was ever written."""
        self._must_be_kept()
        with self._database.read() as connection:
            row = connection.execute(select(HEAD)).one_or_none()
        return None if row is None else Head(row.number, row.last)

    def verify(self, kept: Head | None = None) -> Verdict:
        """Check every entry and the head; with `kept`, also that the log still goes on from that head."""
        self._must_be_kept()
        with self._database.read() as connection:
            row = connection.execute(select(HEAD)).one_or_none()
            entries = connection.execute(select(ENTRIES).order_by(ENTRIES.c.number).execution_options(yield_per=1000))
            walk = _Walk(self._keys, kept)
            for entry in entries.mappings():
                walk.step(dict(entry))
        return walk.verdict(None if row is None else dict(row._mapping))

    def _must_be_kept(self) -> None:
        if not self._keys:
            raise UsageError("there is no key of the audit log: set NOTEGAP_AUDIT_KEYS or 'audit.keys_file'")

    def _locked_head(self, connection: Connection, key_id: str, key: bytes) -> Head:
        """The head, which nobody else changes until this transaction ends."""
        row = connection.execute(_LOCK_HEAD).one_or_none()
        if row is None:
            start = _head_row(Head(0, _START), key_id, key)
            connection.execute(self._database.upsert(HEAD).values(id=1, **start).on_conflict_do_nothing())
            row = connection.execute(_LOCK_HEAD).one()
        head = Head(row.number, row.last)
        if not _is_sealed_head(self._keys, dict(row._mapping)):
            # To go on would give what was done to it a good seal.
            raise StoreError("the audit log was changed, or its key is not there; see `notegap audit-log verify`")
        return head


class _Walk:
    """Goes along the entries and notes what is wrong."""

    def __init__(self, keys: KeyRing, kept: Head | None) -> None:
        self._keys = keys
        self._kept = kept
        self._last = Head(0, _START)
        self._entries = 0
        self._faults: list[str] = []

    def step(self, entry: dict[str, Any]) -> None:
        number = int(entry["number"])
        due = self._last.number + 1
        if number != due:
            self._faults.append(
                f"entry {due} is missing" if number - due == 1 else f"entries {due} to {number - 1} are missing"
            )
        key = self._keys.get(entry["key_id"])
        if key is None:
            self._faults.append(f"entry {number} is sealed with the key '{entry['key_id']}', which is not there")
        elif number == due and _seal_of(entry, self._last.last, key) != entry["seal"]:
            self._faults.append(f"entry {number} was changed, or stands in another's place")
        if self._kept is not None and number == self._kept.number and entry["seal"] != self._kept.last:
            self._faults.append(f"entry {number} is not the one of the head that was kept")
        self._last = Head(number, entry["seal"])
        self._entries += 1

    def verdict(self, row: dict[str, Any] | None) -> Verdict:
        if row is None:
            self._faults += ["the head is missing"] if self._entries else []
        elif not _is_sealed_head(self._keys, row):
            self._faults.append("the head was changed, or its key is not there")
        elif row["number"] > self._last.number:
            self._faults.append(
                f"the last entries are missing: there are {self._last.number}, the head says {row['number']}"
            )
        elif (row["number"], row["last"]) != (self._last.number, self._last.last):
            self._faults.append(f"the head says that entry {row['number']} is the last one, and another one is")
        if self._kept is not None and self._kept.number > self._last.number:
            self._faults.append(
                f"the last entries are missing: there are {self._last.number}, "
                f"the head that was kept says {self._kept.number}"
            )
        head = None if row is None else Head(row["number"], row["last"])
        return Verdict(self._entries, tuple(_few(self._faults)), head)


def _few(faults: list[str]) -> Iterator[str]:
    yield from faults[:_MOST_TOLD]
    if len(faults) > _MOST_TOLD:
        yield f"and {len(faults) - _MOST_TOLD} more"


def _seal_of(entry: dict[str, Any], before: str, key: bytes) -> str:
    # As JSON, so that no two different entries are the same bytes.
    return seal(key, "audit entry", json.dumps([*(entry[name] for name in _SEALED), before]).encode())


def _head_row(head: Head, key_id: str, key: bytes) -> dict[str, Any]:
    return {
        "number": head.number,
        "last": head.last,
        "key_id": key_id,
        "seal": seal(key, "audit head", str(head).encode()),
    }


def _is_sealed_head(keys: KeyRing, row: dict[str, Any]) -> bool:
    key = keys.get(row["key_id"])
    return key is not None and seal(key, "audit head", str(Head(row["number"], row["last"])).encode()) == row["seal"]
