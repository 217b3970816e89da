"""The outbox: results that are to be handed on, each until it was delivered.

An entry is delivered at least once, with an id that stays the same, so that who gets it twice can tell. Whoever
delivers it holds a lease on it; when that runs out, because the process has died, another one takes it on. Of several
results of one document only the newest is handed on. What waits is encrypted.
"""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from notegap.config import KeyRing
from notegap.errors import StoreError
from notegap.service.audit_log import AuditLog
from notegap.service.database import METADATA, Database, now, stamp
from notegap.service.principal import Principal
from notegap.service.sealing import decrypt, encrypt

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", String(20), primary_key=True),
    Column("message", String(20), nullable=False),
    Column("tenant", String(100), nullable=False),
    Column("destination", String(10), nullable=False),
    # A hash of the document's number; empty: it has none.
    Column("document", String(64), nullable=False),
    Column("at", String(27), nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due", String(27), nullable=False),
    # Until when somebody delivers it, and who; empty: nobody does.
    Column("leased", String(27), nullable=False),
    Column("holder", String(32), nullable=False),
    # Why the last attempt failed, in words of ours.
    Column("problem", String(200), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("outbox_once", "message", "destination", unique=True),
    Index("outbox_due", "destination", "state", "due"),
    Index("outbox_of_document", "document"),
)

LEASE = timedelta(seconds=120)
"""How long an attempt may take at most, before somebody else makes one."""

_FIRST_DELAY, _LONGEST_DELAY = 5.0, 3600.0
_MOST_LISTED = 1000


class State(StrEnum):
    """What became of an entry. Only what waits and what is dead still has its body."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry: its id, where it goes, what became of it so far."""

    id: str
    tenant: str
    destination: str
    at: str
    state: State
    attempts: int
    due: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased(Entry):
    """An entry that is ours to deliver now."""

    holder: str
    body: bytes = field(repr=False)


class Outbox:
    """The outbox of one database. Safe to share between threads; processes share its database."""

    def __init__(
        self,
        database: Database,
        keys: KeyRing,
        audit_log: AuditLog,
        *,
        attempts: int = 20,
        first_delay: float = _FIRST_DELAY,
    ) -> None:
        self._database = database
        self._keys = keys
        self._audit_log = audit_log
        self._attempts = attempts
        self._first_delay = first_delay
        self.changed = threading.Event()
        database.ensure(OUTBOX)

    # ── putting in ──

    def put(
        self,
        connection: Connection,
        *,
        message: str,
        tenant: str,
        document: str,
        bodies: Mapping[str, tuple[str, bytes]],
    ) -> None:
        """Add one entry for each destination, by its id and body, in a transaction of the caller."""
        if not self._keys:
            raise StoreError("results are only kept encrypted until they are delivered, and there is no key")
        moment = now()
        for destination, (entry_id, body) in bodies.items():
            key_id, sealed = encrypt(self._keys, body, bound_to=_bound_to(tenant, entry_id))
            row = {
                "id": entry_id,
                "message": message,
                "tenant": tenant,
                "destination": destination,
                "document": document,
                "at": moment,
                "state": State.WAITING,
                "attempts": 0,
                "due": moment,
                "leased": "",
                "holder": "",
                "problem": "",
                "key_id": key_id,
                "body": sealed,
            }
            connection.execute(insert(OUTBOX).values(row))

    def withdraw(self, connection: Connection, documents: Sequence[str]) -> int:
        """Withdraw what waits of documents that were cancelled or replaced, in a transaction of the caller.

        What is being delivered at this moment is not tried again; if it was taken all the same, `delivered` says so.
        """
        known = [document for document in documents if document]
        if not known:
            return 0
        waiting = OUTBOX.c.document.in_(known) & OUTBOX.c.state.in_([State.WAITING, State.DEAD])
        # Whoever holds it keeps it: no newer result overtakes the attempt, and what came of it can still be said.
        values = {name: value for name, value in _over(State.WITHDRAWN).items() if name not in ("leased", "holder")}
        done = connection.execute(update(OUTBOX).where(waiting).values(values))
        return int(done.rowcount)

    # ── delivering ──

    def claim(self, destination: str) -> Leased | None:
        """The entry that is due longest, None when none is; nobody else gets it while the lease lasts."""
        with self._database.read() as connection:
            # Most of the time there is nothing to do, for which nobody has to wait for the right to write.
            if connection.execute(select(OUTBOX.c.id).where(*_due(destination)).limit(1)).first() is None:
                return None
        holder = secrets.token_hex(16)
        other = OUTBOX.alias()
        same = and_(other.c.document == OUTBOX.c.document, other.c.destination == destination, other.c.document != "")
        newer = exists().where(same, other.c.at > OUTBOX.c.at)
        held = exists().where(same, other.c.leased > now())
        with self._database.write() as connection:
            # What was being delivered when a newer result came in, and then failed.
            connection.execute(update(OUTBOX).where(*_due(destination), newer).values(**_over(State.WITHDRAWN)))
            first = (
                select(OUTBOX)
                # One at a time of a document, so that the newer does not overtake the older.
                .where(*_due(destination), ~held, ~newer)
                .order_by(OUTBOX.c.due, OUTBOX.c.at)
                .limit(1)
                .with_for_update(skip_locked=True, of=OUTBOX)
            )
            row = connection.execute(first).one_or_none()
            if row is None:
                return None
            # Counted before, so that one that kills whoever delivers it is not tried for ever.
            taken = {"leased": stamp(datetime.now(UTC) + LEASE), "holder": holder, "attempts": row.attempts + 1}
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == row.id).values(**taken))
        try:
            body = decrypt(self._keys, row.key_id, row.body, bound_to=_bound_to(row.tenant, row.id))
        except StoreError:
            with self._database.write() as connection:
                self._give_back(connection, row.id, holder, row.attempts + 1, "its key is not there any more")
            raise
        return Leased(**_told(row) | {"attempts": row.attempts + 1}, holder=holder, body=body)

    def delivered(self, entry: Leased) -> None:
        """It was taken, which the audit log tells: somebody else has now what was found in a note."""
        who = Principal(
            tenant=entry.tenant, client=entry.destination, role="integration", scopes=frozenset(), by="outbox"
        )
        with self._database.write() as connection:
            self._end(connection, entry.id, entry.holder, _over(State.DELIVERED))
            self._audit_log.append_in(connection, "result-deliver", who, subject=entry.id)

    def failed(self, entry: Leased, problem: str, *, after: float = 0.0) -> State:
        """It was not: it waits for its next attempt, no sooner than `after` seconds, or was tried often enough.

        One that was withdrawn meanwhile stays so.
        """
        with self._database.write() as connection:
            return self._give_back(connection, entry.id, entry.holder, entry.attempts, problem, after=after)

    def _give_back(
        self, connection: Connection, entry_id: str, holder: str, attempts: int, problem: str, *, after: float = 0.0
    ) -> State:
        withdrawn = select(OUTBOX.c.id).where(OUTBOX.c.id == entry_id, OUTBOX.c.state == State.WITHDRAWN)
        if connection.execute(withdrawn.with_for_update()).first() is not None:
            self._end(connection, entry_id, holder, _over(State.WITHDRAWN))
            return State.WITHDRAWN
        values = self._failed(attempts, problem, after=after)
        self._end(connection, entry_id, holder, values)
        return State(values["state"])

    def _failed(self, attempts: int, problem: str, *, after: float = 0.0) -> dict[str, Any]:
        delay = min(self._first_delay * 2 ** min(attempts - 1, 20), _LONGEST_DELAY)
        # Not all at once, when a receiver that was away comes back.
        delay = max(delay * random.uniform(0.5, 1.0), min(after, _LONGEST_DELAY))  # noqa: S311 - nobody's secret
        return {
            "state": State.DEAD if attempts >= self._attempts else State.WAITING,
            "due": stamp(datetime.now(UTC) + timedelta(seconds=delay)),
            "leased": "",
            "holder": "",
            "problem": problem[:200],
        }

    def _end(self, connection: Connection, entry_id: str, holder: str, values: Mapping[str, Any]) -> None:
        # When the lease ran out, what became of it is for the next holder to say.
        connection.execute(update(OUTBOX).where(OUTBOX.c.id == entry_id, OUTBOX.c.holder == holder).values(**values))

    # ── asking ──

    def list(self, *states: State) -> tuple[Entry, ...]:
        """The entries in one of these states, oldest first, without what is in them."""
        wanted = select(OUTBOX).where(OUTBOX.c.state.in_(states)).order_by(OUTBOX.c.at, OUTBOX.c.id).limit(_MOST_LISTED)
        with self._database.read() as connection:
            return tuple(Entry(**_told(row)) for row in connection.execute(wanted))

    def numbers(self) -> dict[tuple[str, str], int]:
        """How many entries there are, by destination and state."""
        counted = select(OUTBOX.c.destination, OUTBOX.c.state, func.count()).group_by(
            OUTBOX.c.destination, OUTBOX.c.state
        )
        with self._database.read() as connection:
            return {(destination, state): int(number) for destination, state, number in connection.execute(counted)}

    def retry(self, entry_id: str | None = None) -> int:
        """Try again what is dead: one entry, or all; how many."""
        dead = OUTBOX.c.state == State.DEAD
        wanted = dead if entry_id is None else dead & (OUTBOX.c.id == entry_id)
        with self._database.write() as connection:
            again = update(OUTBOX).where(wanted).values(state=State.WAITING, attempts=0, due=now(), problem="")
            number = int(connection.execute(again).rowcount)
        self.changed.set()
        return number

    # ── letting go ──

    def purge(self, before: str) -> int:
        """Delete what was put in before a moment, delivered or not; how many."""
        with self._database.write() as connection:
            return int(connection.execute(delete(OUTBOX).where(OUTBOX.c.at < before)).rowcount)

    def rotate(self) -> int:
        """Encrypt with the current key what is encrypted with another; how many."""
        other = select(OUTBOX.c.id).where(OUTBOX.c.key_id != self._keys.current[0], OUTBOX.c.key_id != "")
        with self._database.read() as connection:
            ids = list(connection.scalars(other))
        return sum(self._rotate_one(entry_id) for entry_id in ids)

    def _rotate_one(self, entry_id: str) -> int:
        with self._database.write() as connection:
            row = connection.execute(select(OUTBOX).where(OUTBOX.c.id == entry_id, OUTBOX.c.key_id != "")).one_or_none()
            if row is None:  # delivered in the meantime
                return 0
            bound_to = _bound_to(row.tenant, row.id)
            data = decrypt(self._keys, row.key_id, row.body, bound_to=bound_to)
            key_id, body = encrypt(self._keys, data, bound_to=bound_to)
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == entry_id).values(key_id=key_id, body=body))
            return 1


def _due(destination: str) -> tuple[ColumnElement[bool], ...]:
    moment = now()
    return (
        OUTBOX.c.destination == destination,
        OUTBOX.c.state == State.WAITING,
        OUTBOX.c.due <= moment,
        or_(OUTBOX.c.leased == "", OUTBOX.c.leased <= moment),
    )


def _over(state: State) -> dict[str, Any]:
    """How an entry looks that is done with."""
    return {"state": state, "leased": "", "holder": "", "problem": "", "key_id": "", "body": b""}


def _told(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "tenant": row.tenant,
        "destination": row.destination,
        "at": row.at,
        "state": State(row.state),
        "attempts": row.attempts,
        "due": row.due,
        "problem": row.problem,
    }


def _bound_to(tenant: str, entry_id: str) -> str:
    return f"outbox\0{tenant}\0{entry_id}"
