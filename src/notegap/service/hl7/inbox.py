"""What becomes of a message: read, checked, written down with its result in one transaction, then acknowledged."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Connection

from notegap.errors import EmptyNoteError, NoteError, StoreError, crash_site
from notegap.model import Note, Report
from notegap.notes.document import Source
from notegap.notes.files import note_of
from notegap.notes.hl7v2 import document_of
from notegap.notes.text import NoteOptions
from notegap.service.backend import Backend
from notegap.service.database import now
from notegap.service.guard import LOGGER
from notegap.service.hl7.acknowledgements import Answer, accepted, refused
from notegap.service.hl7.messages import INTERNAL, WHERE, Asked, Message, RefusedMessageError, parse, unreadable
from notegap.service.hl7.received import Accepted, document_keys, key_of
from notegap.service.hl7.results import as_json, as_oru
from notegap.service.principal import Principal

_OUTCOMES = {Asked.NOTHING: "announced", Asked.WAIT: "unfinished", Asked.CANCEL: "cancelled"}


class Reader(Protocol):
    """What it needs of an analyzer."""

    def analyze(self, note: Note) -> Report:
        """As `Analyzer.analyze`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOn:
    """Where results are handed on, and whose."""

    destinations: Sequence[str] = ()
    tenant: str = ""


class Inbox:
    """Takes messages. Safe to share between threads; processes share its database."""

    def __init__(
        self,
        reader: Reader,
        backend: Backend,
        *,
        max_bytes: int,
        hand_on: HandOn,
        saw: Callable[[Report], None],
        count: Callable[[str, str], None],
    ) -> None:
        """`saw` is given each report that was kept; `count` is told where a message came in and what became of it."""
        self._reader = reader
        self._backend = backend
        self._max_bytes = max_bytes
        self._hand_on = hand_on
        self._saw = saw
        self._count = count
        self._turns = _Turns()

    def receive(self, data: bytes, who: Principal, *, by: str, charset: str = "") -> Answer:
        """Take one message and say what to answer. What is answered AA is in the database."""
        data = data.strip(b"\r\n \t")
        message = None
        try:
            message, problem = parse(data, charset)
            if problem is not None or message is None:
                raise problem or RefusedMessageError("AR", 100, "This is no HL7 v2 message.")
            found, outcome = self._take(message, data, who, charset)
        except RefusedMessageError as why:
            return self._refused(message, why, who, by)
        except StoreError as error:
            LOGGER.error("%s", error)
            self._count(by, "failed")
            return refused(
                message, RefusedMessageError("AR", INTERNAL, "Nothing can be kept now; send it again later.")
            )
        except Exception as error:  # noqa: BLE001 - whoever sent it is told; the error may hold words of the note
            LOGGER.error("notegap broke on a message: %s", crash_site(error))
            self._count(by, "failed")
            return refused(message, RefusedMessageError("AE", INTERNAL, "notegap broke on it; nothing was checked."))
        self._count(by, outcome)
        at = datetime.fromisoformat(found.at)
        return accepted(message, accepted_as=found.id, at=at.replace(microsecond=0))

    def too_long(self, beginning: bytes, who: Principal, *, by: str) -> Answer:
        """What to answer to a message of which only the beginning was taken."""
        message, _ = parse(beginning)
        why = RefusedMessageError("AE", 102, "The message is longer than the limit.")
        return self._refused(message, why, who, by)

    def _refused(self, message: Message | None, why: RefusedMessageError, who: Principal, by: str) -> Answer:
        self._count(by, "refused")
        try:
            self._backend.audit_log.append("hl7-receive", who, outcome="refused")
        except StoreError as error:
            LOGGER.error("%s", error)
        return refused(message, why)

    def _take(self, message: Message, data: bytes, who: Principal, charset: str) -> tuple[Accepted, str]:
        """The message as it was accepted, and what became of it now: "duplicate" when it had been before."""
        key = key_of(message, who.tenant)
        # A sender that waits no longer and sends again waits for what is being done already.
        with self._turns.of(key):
            known = self._backend.received.find(key)
            if known is None:
                note, report = self._checked(message, data, charset)
                known, is_new = self._keep(message, data, who, note, report)
                if is_new:
                    if report is not None:
                        self._saw(report)
                    return known, known.outcome
        if not self._backend.received.is_same(known, data):
            raise RefusedMessageError(
                "AE", 205, "Another message with this control id (MSH-10) was accepted before.", ("MSH", "1", "10")
            )
        self._backend.audit_log.append("hl7-receive", who, subject=known.id, outcome="duplicate")
        return known, "duplicate"

    def _checked(self, message: Message, data: bytes, charset: str) -> tuple[Note | None, Report | None]:
        """The note of a message and its report, None when there is nothing to check."""
        if message.asked is not Asked.CHECK:
            return None, None
        source = Source(data=data, where=WHERE, max_bytes=self._max_bytes, charset=charset)
        try:
            document = document_of(message.segments, source)
        except EmptyNoteError as error:
            if message.event == "R01":
                # A result need not have a text: an order was given up, a value is still to come.
                return None, None
            raise unreadable(error) from None
        except NoteError as error:
            raise unreadable(error) from None
        if len(document.text.encode()) > self._max_bytes:
            raise RefusedMessageError("AE", 102, f"Its text is longer than {self._max_bytes:,} bytes, the limit.")
        note = note_of(document, document.id, NoteOptions())
        try:
            return note, self._reader.analyze(note)
        except NoteError as error:
            raise unreadable(error) from None

    def _keep(
        self, message: Message, data: bytes, who: Principal, note: Note | None, report: Report | None
    ) -> tuple[Accepted, bool]:
        """Write down what came of a message, all of it or nothing; False when another process was faster."""
        backend = self._backend
        backend.store.purge_now_and_then()
        digest, digest_key = backend.received.digest(data, who.tenant)
        document, replaced = document_keys(message, who.tenant)
        new = Accepted(
            key=key_of(message, who.tenant),
            id=secrets.token_hex(10),
            tenant=who.tenant,
            at=now(),
            digest=digest,
            digest_key=digest_key,
            type=message.type,
            outcome=_outcome(message, report),
            document=document,
        )
        with backend.store.database.write() as connection:
            is_new = backend.received.add(connection, new)
            if is_new:
                self._keep_result(connection, message, who, new, report, replaced)
                backend.audit_log.append_in(
                    connection, "hl7-receive", who, note=note, subject=new.id, outcome=new.outcome
                )
        if not is_new:
            known = backend.received.find(new.key)
            if known is None:
                raise StoreError("a message that was just accepted is not there any more")
            return known, False
        backend.outbox.changed.set()
        return new, True

    def _keep_result(
        self,
        connection: Connection,
        message: Message,
        who: Principal,
        new: Accepted,
        report: Report | None,
        replaced: str,
    ) -> None:
        backend = self._backend
        if message.asked is Asked.CANCEL:
            backend.outbox.withdraw(connection, [new.document])
            for kept in backend.received.reports_of(connection, new.document) if new.document else ():
                if backend.store.delete_in(connection, kept, tenant=who.tenant):
                    backend.audit_log.append_in(connection, "report-delete", who, subject=kept)
        if report is None:
            return
        kept_id = backend.store.record_in(connection, report, tenant=who.tenant, client=who.client)
        if kept_id is not None:
            backend.received.keep(connection, new.key, kept_id)
        # What an older state of the document lacked is not what it lacks now.
        backend.outbox.withdraw(connection, [new.document, replaced])
        if self._hand_on.destinations and who.tenant == self._hand_on.tenant:
            backend.outbox.put(
                connection,
                message=new.id,
                tenant=who.tenant,
                document=new.document,
                bodies=dict(_bodies(self._hand_on.destinations, message, report)),
            )


def _bodies(destinations: Sequence[str], message: Message, report: Report) -> Iterator[tuple[str, tuple[str, bytes]]]:
    for destination in destinations:
        entry_id = secrets.token_hex(10)
        if destination == "oru":
            yield destination, (entry_id, as_oru(report, message, control_id=entry_id, at=datetime.now(UTC)))
        else:
            yield destination, (entry_id, as_json(report, message))


def _outcome(message: Message, report: Report | None) -> str:
    if report is not None:
        return "checked" if report.checks else "unchecked"
    return _OUTCOMES.get(message.asked, "empty")


class _Turns:
    """A lock for each name that somebody waits for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Hold the lock of a name."""
        with self._guard:
            lock, waiting = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, waiting = self._locks[name]
                if waiting == 1:
                    del self._locks[name]
                else:
                    self._locks[name] = lock, waiting - 1
