"""What is kept of notes: counts, and as far as the configuration says reports and notes.

Every question names a tenant and is answered from what is that tenant's alone. What is encrypted is bound to its tenant
and id, so that a row that was moved to another tenant cannot be read there.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)

from notegap.config import NO_KEYS, Config, KeyRing
from notegap.errors import StoreError
from notegap.model import Note, Report
from notegap.report.json import as_dict
from notegap.service.database import METADATA, Database, now, stamp
from notegap.service.guard import LOGGER
from notegap.service.sealing import decrypt, encrypt, seal

COUNTS = Table(
    "counts",
    METADATA,
    Column("tenant", String(100), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
REPORTS = Table(
    "reports",
    METADATA,
    Column("id", String(36), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("client", String(200), nullable=False),
    Column("at", String(27), nullable=False),
    Column("kept", String(10), nullable=False),
    # Empty: not encrypted.
    Column("key_id", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("reports_of_tenant", "tenant", "at"),
    Index("reports_by_age", "at"),
)
# Which of them are of the note of a name: where the whole is kept, so that its sender can ask for it, and delete it.
OF_NOTE = Table(
    "reports_of_note",
    METADATA,
    Column("report", String(36), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("at", String(27), nullable=False),
    # A keyed hash of the note's id.
    Column("note", String(64), nullable=False),
    Index("reports_of_note_by_note", "note"),
    Index("reports_of_note_by_age", "at"),
)

# What `reports` keeps, so that a field that a report comes to have is not kept before somebody has looked at it.
_KEPT_OF_REPORT = frozenset(
    ["schema_version", "notegap", "code_set", "setting", "codes_from", "mentions", "checks", "suggestions", "points_to"]
)
_KEPT_INSIDE = frozenset(
    [
        "concept",
        "value",
        "assertion",
        "start",
        "end",
        "section",
        "at",
        "levels",
        "seen_on",
        "due_to",
        "beside",
        "qualities",
        "code",
        "title",
        "valid",
        "billable",
        "findings",
        "suggested_codes",
        "suggested_because",
        "summary",
        "met",
        "open",
        "raised",
        "complete",
        "id",
        "kind",
        "severity",
        "alert",
        "status",
        "message",
        "ask",
        "basis",
        "why",
        "place",
        "evidence",
        "codes",
        "alias",
        "score",
    ]
)

_PURGE_EVERY = 3600.0
_FLUSH_AFTER = 1.0
_MOST_LISTED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Something that is kept: its id, whose it is, since when, and whether it is "reports" or "full"."""

    id: str
    tenant: str
    client: str
    at: str
    kept: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReport(Kept):
    """A report that is kept, in its published shape; of one without words, what was the note's is left out."""

    report: Mapping[str, Any] = field(repr=False)
    note: Mapping[str, Any] | None = field(default=None, repr=False)


class Store:
    """What is kept. Safe to share between threads; processes share its database."""

    def __init__(self, database: Database, *, keep: str = "counts", keys: KeyRing = NO_KEYS, retention_days: int = 30):
        if keep == "full" and not keys:
            raise StoreError("notes are only kept encrypted, and there is no key")
        self.database = database
        self.keep = keep
        self._keys = keys
        self._retention = timedelta(days=retention_days)
        self._purged = -_PURGE_EVERY
        self._purging = threading.Lock()
        self._waiting: dict[tuple[str, str], Counter[str]] = {}
        self._waits = threading.Lock()
        self._flusher: threading.Timer | None = None
        self._aging: tuple[Table, ...] = (REPORTS, OF_NOTE)
        database.ensure(COUNTS, REPORTS, OF_NOTE)

    @classmethod
    def from_config(cls, config: Config) -> Store:
        """The store that the configuration describes. Its `database` is there for other tables."""
        return cls(
            Database(config.database_url),
            keep=config.store,
            keys=config.database.keys,
            retention_days=config.database.retention_days,
        )

    # ── keeping ──

    def record(self, report: Report, *, tenant: str, client: str) -> str | None:
        """Count a report's findings, and keep as much of it as is to be kept; the id of that, or None."""
        self.purge_now_and_then()
        if self.keep == "counts":
            self._count_soon(tenant, _countable(report))
            return None
        with self.database.write() as connection:
            return self.record_in(connection, report, tenant=tenant, client=client)

    def record_in(self, connection: Connection, report: Report, *, tenant: str, client: str) -> str | None:
        """As `record`, in a transaction of the caller."""
        kept_id = str(uuid.uuid4()) if self.keep != "counts" else None
        self.add(connection, tenant, _countable(report))
        if kept_id is not None:
            key_id, body = self._sealed(self._body(report), tenant, kept_id)
            row = {"id": kept_id, "tenant": tenant, "client": client, "at": now(), "kept": self.keep}
            connection.execute(insert(REPORTS).values(**row, key_id=key_id, body=body))
            if self.keep == "full":
                self._name(connection, kept_id, tenant, row["at"], report.note.id)
        return kept_id

    def count(self, name: str, *, tenant: str, number: int = 1) -> None:
        """Add to a count of our own naming ("cds cards shown"); never name one with a word that a client sent."""
        with self.database.write() as connection:
            self.add(connection, tenant, {name: number})

    def add(self, connection: Connection, tenant: str, numbers: Mapping[str, int], day: str = "") -> None:
        """Add to counts, as `count` does, in a transaction of whoever calls."""
        if not numbers:
            return
        day = day or _today()
        # In order: two transactions that lock the same rows in another order would wait for each other.
        rows = [
            {"tenant": tenant, "day": day, "name": name, "number": number} for name, number in sorted(numbers.items())
        ]
        added = self.database.upsert(COUNTS)
        key = [COUNTS.c.tenant, COUNTS.c.day, COUNTS.c.name]
        summed = {"number": COUNTS.c.number + added.excluded.number}
        connection.execute(added.on_conflict_do_update(index_elements=key, set_=summed), rows)

    def flush(self) -> None:
        """Write the counts that wait."""
        with self._waits:
            waiting, self._waiting, self._flusher = self._waiting, {}, None
        if not waiting:
            return
        try:
            with self.database.write() as connection:
                for (tenant, day), numbers in sorted(waiting.items()):
                    self.add(connection, tenant, numbers, day)
        except StoreError:
            with self._waits:
                for key, numbers in waiting.items():
                    self._waiting.setdefault(key, Counter()).update(numbers)
            raise

    def _count_soon(self, tenant: str, numbers: Mapping[str, int]) -> None:
        """Count within a second: a note's answer does not wait for a disk that holds nothing of it."""
        with self._waits:
            self._waiting.setdefault((tenant, _today()), Counter()).update(numbers)
            if self._flusher is None:
                self._flusher = threading.Timer(_FLUSH_AFTER, self._flush_aside)
                self._flusher.daemon = True
                self._flusher.start()

    def _flush_aside(self) -> None:
        try:
            self.flush()
        except StoreError as error:
            # They wait for the next one.
            LOGGER.error("%s", error)

    def _body(self, report: Report) -> dict[str, Any]:
        shape = as_dict(report)
        if self.keep == "full":
            return {"report": shape, "note": _note(report.note)}
        return {"report": without_words(shape)}

    # ── asking ──

    def report(self, kept_id: str, *, tenant: str) -> KeptReport | None:
        """What is kept under an id; None when it is not there, too old, or another tenant's."""
        wanted = select(REPORTS).where(
            REPORTS.c.id == kept_id, REPORTS.c.tenant == tenant, REPORTS.c.at >= self._oldest()
        )
        with self.database.read() as connection:
            row = connection.execute(wanted).one_or_none()
        if row is None:
            return None
        body = json.loads(self._opened(row.key_id, row.body, row.tenant, row.id))
        return KeptReport(**_told(row), report=body["report"], note=body.get("note"))

    def reports(
        self, *, tenant: str, before: str | None = None, limit: int = 100, note: str | None = None
    ) -> tuple[Kept, ...]:
        """What a tenant has, newest first, without what is in it; `before` is the `at` of the last one seen.

        With `note`, what is kept as a whole of the note of this id.
        """
        wanted = select(REPORTS).where(REPORTS.c.tenant == tenant, REPORTS.c.at >= self._oldest())
        if before is not None:
            wanted = wanted.where(REPORTS.c.at < before)
        if note is not None:
            names = [_name_of(key, tenant, note) for _, key in self._keys.keys]
            of_note = select(OF_NOTE.c.report).where(OF_NOTE.c.tenant == tenant, OF_NOTE.c.note.in_(names))
            wanted = wanted.where(REPORTS.c.id.in_(of_note))
        newest_first = wanted.order_by(REPORTS.c.at.desc(), REPORTS.c.id).limit(min(limit, _MOST_LISTED))
        with self.database.read() as connection:
            return tuple(Kept(**_told(row)) for row in connection.execute(newest_first))

    def counts(self, *, tenant: str, since: str = "") -> dict[str, int]:
        """How often each thing was counted, on the day `since` (2026-04-30) and later."""
        self.flush()
        wanted = (
            select(COUNTS.c.name, func.sum(COUNTS.c.number))
            .where(COUNTS.c.tenant == tenant, COUNTS.c.day >= since)
            .group_by(COUNTS.c.name)
            .order_by(COUNTS.c.name)
        )
        with self.database.read() as connection:
            return {name: int(number) for name, number in connection.execute(wanted)}

    # ── letting go ──

    def delete(self, kept_id: str, *, tenant: str) -> bool:
        """Delete what is kept under an id; whether it was there."""
        with self.database.write() as connection:
            return self.delete_in(connection, kept_id, tenant=tenant)

    def delete_in(self, connection: Connection, kept_id: str, *, tenant: str) -> bool:
        """As `delete`, in a transaction of the caller."""
        done = connection.execute(delete(REPORTS).where(REPORTS.c.id == kept_id, REPORTS.c.tenant == tenant))
        if done.rowcount:
            connection.execute(delete(OF_NOTE).where(OF_NOTE.c.report == kept_id))
        return bool(done.rowcount)

    def purge(self) -> int:
        """Delete what is older than the retention period; how many."""
        with self.database.write() as connection:
            return sum(
                int(connection.execute(delete(table).where(table.c.at < self._oldest())).rowcount)
                for table in self._aging
            )

    def let_go(self, *tables: Table) -> None:
        """Purge these tables too: their rows are as old as their column `at` says."""
        self._aging += tables

    def rotate(self) -> int:
        """Encrypt with the current key what is encrypted with another or with none; how many."""
        if not self._keys:
            raise StoreError("there is no key to encrypt with: set NOTEGAP_DATABASE_KEYS")
        current = self._keys.current[0]
        with self.database.read() as connection:
            ids = list(connection.scalars(select(REPORTS.c.id).where(REPORTS.c.key_id != current)))
        return sum(self._rotate_one(kept_id) for kept_id in ids)

    def close(self) -> None:
        """Write the counts that wait, and close the database."""
        with self._waits:
            if self._flusher is not None:
                self._flusher.cancel()
        try:
            self.flush()
        finally:
            self.database.close()

    def _rotate_one(self, kept_id: str) -> int:
        with self.database.write() as connection:
            row = connection.execute(select(REPORTS).where(REPORTS.c.id == kept_id)).one_or_none()
            if row is None:  # deleted in the meantime
                return 0
            data = self._opened(row.key_id, row.body, row.tenant, row.id)
            key_id, body = encrypt(self._keys, data, bound_to=_bound_to(row.tenant, row.id))
            connection.execute(update(REPORTS).where(REPORTS.c.id == kept_id).values(key_id=key_id, body=body))
            note = json.loads(data).get("note")
            if note is not None:
                connection.execute(delete(OF_NOTE).where(OF_NOTE.c.report == kept_id))
                self._name(connection, kept_id, row.tenant, row.at, note["id"])
            return 1

    def _name(self, connection: Connection, kept_id: str, tenant: str, at: str, note_id: str) -> None:
        name = _name_of(self._keys.current[1], tenant, note_id)
        connection.execute(insert(OF_NOTE).values(report=kept_id, tenant=tenant, at=at, note=name))

    def purge_now_and_then(self) -> None:
        """Purge, unless it was done within the hour."""
        # Nobody has to run it: whoever keeps something also sees that the old goes, also what was kept when more was.
        with self._purging:
            due = time.monotonic() - self._purged >= _PURGE_EVERY
            if due:
                self._purged = time.monotonic()
        if due:
            self.purge()

    def _oldest(self) -> str:
        return stamp(datetime.now(UTC) - self._retention)

    def _sealed(self, body: Mapping[str, Any], tenant: str, kept_id: str) -> tuple[str, bytes]:
        data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        return encrypt(self._keys, data, bound_to=_bound_to(tenant, kept_id)) if self._keys else ("", data)

    def _opened(self, key_id: str, body: bytes, tenant: str, kept_id: str) -> bytes:
        return decrypt(self._keys, key_id, body, bound_to=_bound_to(tenant, kept_id)) if key_id else body


def without_words(shape: Mapping[str, Any]) -> dict[str, Any]:
    """A report in its published shape without a word of the note: no quotes, and nothing of its id, date or sender."""
    return {name: _without_text(value) for name, value in shape.items() if name in _KEPT_OF_REPORT}


def _without_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_text(each) for name, each in value.items() if name in _KEPT_INSIDE}
    return [_without_text(each) for each in value] if isinstance(value, list) else value


def _countable(report: Report) -> dict[str, int]:
    """What is counted of a report: that there was one, and each finding that is open or raised."""
    found = (
        f"{finding.id} {finding.status.value}"
        for check in report.checks
        for finding in check.findings
        if finding.is_open
    )
    numbers = {"reports": 1}
    for name in found:
        numbers[name] = numbers.get(name, 0) + 1
    return numbers


def _name_of(key: bytes, tenant: str, note_id: str) -> str:
    return seal(key, "note id", f"{tenant}\0{note_id}".encode("utf-8", "surrogatepass"))


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _note(note: Note) -> dict[str, Any]:
    return {
        "id": note.id,
        "text": note.text,
        "codes": list(note.codes),
        "claim_codes": None if note.claim_codes is None else list(note.claim_codes),
        "setting": note.setting.value,
        "date_of_service": note.date_of_service,
        "metadata": asdict(note.metadata),
    }


def _told(row: Any) -> dict[str, str]:
    return {"id": row.id, "tenant": row.tenant, "client": row.client, "at": row.at, "kept": row.kept}


def _bound_to(tenant: str, kept_id: str) -> str:
    return f"report\0{tenant}\0{kept_id}"
