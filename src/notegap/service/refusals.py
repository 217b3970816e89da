"""Access that was refused, as the audit log tells of it: who, what, when; of many a minute the first, and how many more
there were.

So nobody fills the disk by asking, least of all somebody who is not known.
"""

from __future__ import annotations

import re
import threading
from collections import Counter

from notegap.errors import StoreError
from notegap.service.audit_log import AuditLog
from notegap.service.guard import LOGGER
from notegap.service.principal import Principal

NOBODY = Principal(tenant="", client="", role="", scopes=frozenset(), by="none")
"""Who asks without credentials that are good."""

ACTION = "access"

_EVERY = 60.0
_Key = tuple[Principal, str, str]


class Refusals:
    """What was refused. Safe to share between threads."""

    def __init__(self, audit_log: AuditLog, *, every: float = _EVERY) -> None:
        """`every`: seconds in which one refusal of a kind is told, and the number of those that followed."""
        self._audit_log = audit_log
        self._every = every
        self._more: Counter[_Key] = Counter()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def add(self, who: Principal | None, what: str, outcome: str) -> None:
        """Somebody was refused `what`, a method and a route of ours."""
        if not self._audit_log.is_kept:
            return
        subject = re.sub(r"[^A-Za-z0-9._:/-]", "", what)[:80]
        # Of those who are not known it is one kind, whatever they ask.
        key = (NOBODY, "", outcome) if who is None else (who, subject, outcome)
        with self._lock:
            is_first = key not in self._more
            self._more[key] += 0 if is_first else 1
            if self._timer is None:
                self._timer = threading.Timer(self._every, self.flush)
                self._timer.daemon = True
                self._timer.start()
        if is_first:
            self._append(key[0], subject, outcome)

    def flush(self) -> None:
        """Write how many more there were."""
        with self._lock:
            more, self._more, self._timer = self._more, Counter(), None
        for (who, subject, outcome), number in more.items():
            if number:
                self._append(who, f"{subject}:{number}-more".lstrip(":"), outcome)

    def close(self) -> None:
        """Write what waits."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self.flush()

    def _append(self, who: Principal, subject: str, outcome: str) -> None:
        try:
            self._audit_log.append(ACTION, who, subject=subject, outcome=outcome)
        except StoreError as error:
            # It was refused already, which is what matters.
            LOGGER.error("a refusal is not in the audit log: %s", error)
