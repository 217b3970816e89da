"""Batches that the service is stopped in the middle of: put by, encrypted, and gone on with when it starts again.

They hold notes, which are only ever kept encrypted: without a key (`database.keys`) nothing is put by. One whose key is
taken away waits for it until the retention period is over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Column, Index, LargeBinary, String, Table, delete, insert, select, update

from notegap.config import KeyRing
from notegap.errors import StoreError
from notegap.model import Note
from notegap.notes.document import RowError
from notegap.service.database import METADATA, Database, now
from notegap.service.guard import LOGGER
from notegap.service.principal import Principal
from notegap.service.sealing import decrypt, encrypt

PUT_BY = Table(
    "batches_put_by",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(100), nullable=False),
    Column("at", String(27), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("batches_put_by_by_age", "at"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A batch as it stands: its row on the shelf, what was read, and for whom the `rest` is to be read.

    Its results stay for some `seconds` more; the time that it is put by does not count.
    """

    id: str
    tenant: str
    seconds: float
    row: Mapping[str, object]
    lines: Sequence[str] = field(repr=False)
    rest: Sequence[Note | RowError] = field(repr=False)
    who: Principal | None = None


_SHAPE = TypeAdapter(Unfinished)


class PutBy:
    """What was put by. Every batch is taken up once, whichever process does."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
        database.ensure(PUT_BY)

    @property
    def can(self) -> bool:
        """Whether there is a key to encrypt with."""
        return bool(self._keys)

    def ask(self) -> None:
        """Raise StoreError when nothing can be kept now."""
        self._database.ask()

    def put(self, batch: Unfinished) -> None:
        """Put a batch by."""
        body: dict[str, Any] = asdict(batch)
        if batch.who is not None:
            body["who"]["scopes"] = sorted(batch.who.scopes)
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        key_id, sealed = encrypt(self._keys, data, bound_to=_bound_to(batch.id))
        with self._database.write() as connection:
            connection.execute(
                insert(PUT_BY).values(id=batch.id, tenant=batch.tenant, at=now(), key_id=key_id, body=sealed)
            )

    def take(self) -> Iterator[Unfinished]:
        """Every batch that was put by, which it then no longer is; one that cannot be read stays, and is told of."""
        with self._database.read() as connection:
            rows = connection.execute(select(PUT_BY).order_by(PUT_BY.c.at)).all()
        for row in rows:
            try:
                data = self._opened(row)
            except StoreError as error:
                # It must not keep the service from starting; the key may come back.
                LOGGER.error("a batch that was put by stays so: %s", error)
                continue
            with self._database.write() as connection:
                taken = connection.execute(delete(PUT_BY).where(PUT_BY.c.id == row.id).returning(PUT_BY.c.id)).first()
            if taken is not None:  # else another process has it
                yield _SHAPE.validate_python(json.loads(data.decode("utf-8", "surrogatepass")))

    # ── letting go ──

    def delete(self, batch_id: str, *, tenant: str) -> bool:
        """Delete a tenant's batch that is put by; whether it was there."""
        with self._database.write() as connection:
            done = connection.execute(delete(PUT_BY).where(PUT_BY.c.id == batch_id, PUT_BY.c.tenant == tenant))
        return bool(done.rowcount)

    def rotate(self) -> int:
        """Encrypt with the current key what is encrypted with another; how many."""
        with self._database.read() as connection:
            ids = list(connection.scalars(select(PUT_BY.c.id).where(PUT_BY.c.key_id != self._keys.current[0])))
        return sum(self._rotate_one(batch_id) for batch_id in ids)

    def _rotate_one(self, batch_id: str) -> int:
        with self._database.write() as connection:
            row = connection.execute(select(PUT_BY).where(PUT_BY.c.id == batch_id)).one_or_none()
            if row is None:  # taken up in the meantime
                return 0
            key_id, sealed = encrypt(self._keys, self._opened(row), bound_to=_bound_to(row.id))
            connection.execute(update(PUT_BY).where(PUT_BY.c.id == batch_id).values(key_id=key_id, body=sealed))
            return 1

    def _opened(self, row: Any) -> bytes:
        return decrypt(self._keys, row.key_id, row.body, bound_to=_bound_to(row.id))


def _bound_to(name: str) -> str:
    return f"batch\0{name}"
