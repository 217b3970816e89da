"""Batches that the service is stopped in the middle of: put by, encrypted, and gone on with when it starts again.

They hold notes, which are only ever kept encrypted: without a key (`database.keys`) nothing is put by.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Column, LargeBinary, String, Table, delete, insert

from notegap.config import KeyRing
from notegap.errors import StoreError
from notegap.model import Note
from notegap.notes.document import RowError
from notegap.service.database import METADATA, Database
from notegap.service.guard import LOGGER
from notegap.service.principal import Principal
from notegap.service.sealing import decrypt, encrypt

_BATCHES = Table(
    "batches_put_by",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("key_id", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A batch as it stands: its row on the shelf, what was read, and for whom the `rest` is to be read."""

    id: str
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
        database.ensure(_BATCHES)

    @property
    def can(self) -> bool:
        """Whether there is a key to encrypt with."""
        return bool(self._keys)

    def put(self, batch: Unfinished) -> None:
        """Put a batch by."""
        body: dict[str, Any] = asdict(batch)
        if batch.who is not None:
            body["who"]["scopes"] = sorted(batch.who.scopes)
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        key_id, sealed = encrypt(self._keys, data, bound_to=_bound_to(batch.id))
        with self._database.write() as connection:
            connection.execute(insert(_BATCHES).values(id=batch.id, key_id=key_id, body=sealed))

    def take(self) -> Iterator[Unfinished]:
        """Every batch that was put by, which it then no longer is."""
        if not self.can:
            return
        with self._database.write() as connection:
            taken = connection.execute(delete(_BATCHES).returning(*_BATCHES.c)).all()
        for row in taken:
            try:
                data = decrypt(self._keys, row.key_id, row.body, bound_to=_bound_to(row.id))
            except StoreError as error:
                # One that is lost must not keep the service from starting.
                LOGGER.error("a batch that was put by is lost: %s", error)
                continue
            yield _SHAPE.validate_python(json.loads(data.decode("utf-8", "surrogatepass")))


def _bound_to(name: str) -> str:
    return f"batch\0{name}"
