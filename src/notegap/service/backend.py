"""What stands behind the application: the store, the audit log, who may ask; and what protects it from others."""

from __future__ import annotations

from dataclasses import dataclass

from notegap.config import NO_KEYS, Config, is_loopback
from notegap.errors import UsageError
from notegap.service.access import Access
from notegap.service.audit_log import AuditLog
from notegap.service.database import IN_MEMORY, Database
from notegap.service.hl7.outbox import OUTBOX, Outbox
from notegap.service.hl7.received import RECEIVED, Received
from notegap.service.put_by import PUT_BY, PutBy
from notegap.service.refusals import Refusals
from notegap.service.store import Store


@dataclass(frozen=True, slots=True)
class Backend:
    """The store, the audit log, the access, and what HL7 v2 and batches need of one configuration.

    They share one database.
    """

    store: Store
    audit_log: AuditLog
    access: Access
    received: Received
    outbox: Outbox
    put_by: PutBy
    refusals: Refusals

    @classmethod
    def from_config(cls, config: Config) -> Backend:
        """Open what the configuration describes."""
        store = Store.from_config(config)
        database, keys = store.database, config.database.keys
        store.let_go(RECEIVED, OUTBOX, PUT_BY)
        audit_log = AuditLog.from_config(config, database)
        return cls(
            store,
            audit_log,
            Access.from_config(config, database),
            Received(database, keys),
            Outbox(database, keys, audit_log, attempts=config.outbox.attempts),
            PutBy(database, keys),
            Refusals(audit_log),
        )

    @classmethod
    def in_memory(cls) -> Backend:
        """What counts in memory, logs nothing and asks nobody who they are: for this machine, and for tests."""
        database = Database(IN_MEMORY)
        audit_log = AuditLog(database, NO_KEYS)
        return cls(
            Store(database),
            audit_log,
            Access(required=False),
            Received(database, NO_KEYS),
            Outbox(database, NO_KEYS, audit_log),
            PutBy(database, NO_KEYS),
            Refusals(audit_log),
        )

    def rotate(self) -> int:
        """Encrypt with the current key what is encrypted with another or with none; how many."""
        return self.store.rotate() + self.outbox.rotate() + self.put_by.rotate()

    def close(self) -> None:
        """Write what waits, and close the database."""
        self.refusals.close()
        self.store.close()


def check_exposure(config: Config) -> None:
    """Raise UsageError when others could reach the service and something that protects it is lacking."""
    _check_mllp(config)
    if config.local_only:
        return
    lacking = []
    if config.access.authentication != "required":
        lacking.append('authentication (access.authentication = "required")')
    if config.server.tls_certificate is None and not config.server.proxies:
        lacking.append("TLS (server.tls_certificate and server.tls_key) or the proxy that ends it (server.proxies)")
    if not config.server.names:
        lacking.append("the names it is called by (server.names)")
    if not config.audit.keys:
        lacking.append("a key of the audit log (NOTEGAP_AUDIT_KEYS)")
    if lacking:
        raise UsageError(f"it does not serve others than this machine without {'; '.join(lacking)}")


def _check_mllp(config: Config) -> None:
    if config.mllp.port is None or is_loopback(config.mllp.host):
        return
    lacking = []
    if not config.mllp.peers and config.mllp.tls_client_ca is None:
        lacking.append("those who may connect (mllp.peers), or certificates of theirs (mllp.tls_client_ca)")
    if not config.audit.keys:
        lacking.append("a key of the audit log (NOTEGAP_AUDIT_KEYS)")
    if lacking:
        raise UsageError(f"it takes no MLLP from others than this machine without {'; '.join(lacking)}")
