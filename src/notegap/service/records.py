"""What is left of a note that was read: figures, what the store keeps of its report, an entry of the audit log."""

from __future__ import annotations

from notegap.model import Note, Report
from notegap.service.backend import Backend
from notegap.service.metrics import Metrics
from notegap.service.principal import Principal

KEPT = "Notegap-Report-Id"
"""The header of an answer that says under which id its report is kept, where it is."""


class Records:
    """Writes down that notes were read, for whom. Raises StoreError: what cannot be logged is not answered."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._metrics = metrics

    def report(self, report: Report, who: Principal, action: str) -> str | None:
        """A report was made, which `who` gets; the id it is kept under, if it is.

        All of it is written down, or nothing: whoever tries again counts nothing twice.
        """
        store, audit_log = self._backend.store, self._backend.audit_log
        store.purge_now_and_then()
        kept = None
        if store.keep == "counts":
            audit_log.append(action, who, note=report.note)
            # Counted in memory first, which does not fail.
            store.record(report, tenant=who.tenant, client=who.client)
        else:
            with store.database.write() as connection:
                kept = store.record_in(connection, report, tenant=who.tenant, client=who.client)
                audit_log.append_in(connection, action, who, note=report.note, subject=kept or "")
        self._metrics.saw(report)
        return kept

    def read(self, note: Note, who: Principal, action: str) -> None:
        """A note was read and no report was made."""
        self._backend.audit_log.append(action, who, note=note)

    def failed(self) -> None:
        """A note could not be read."""
        self._metrics.failed()
