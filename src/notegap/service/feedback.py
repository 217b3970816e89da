"""What became of the cards: accepted or overridden, counted for each rule; a card counts once, as it was last told.

The counts are those of the store ("cds shown M24.28/region"), so that they stay when the cards are forgotten.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Column, Connection, Index, String, Table, delete, select, update

from notegap.service.database import METADATA, now, stamp
from notegap.service.store import Store

UNKNOWN = "unknown"
"""The rule that feedback on a card nobody remembers is counted for."""

SHOWN, ACCEPTED, OVERRIDDEN = "shown", "accepted", "overridden"

_REMEMBERED = timedelta(days=30)
_FORGET_EVERY = 3600.0
_CARDS = Table(
    "cds_cards",
    METADATA,
    Column("tenant", String(100), primary_key=True),
    Column("client", String(200), primary_key=True),
    Column("service", String(100), primary_key=True),
    Column("card", String(36), primary_key=True),
    # Names of ours, a space between.
    Column("rules", String(4000), nullable=False),
    Column("shown", String(27), nullable=False),
    # Empty: nothing was told of it.
    Column("told", String(27), nullable=False),
    Column("outcome", String(20), nullable=False),
    Column("reason", String(100), nullable=False),
    Index("cds_cards_by_age", "shown"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A card that was shown: to whom, by which service, about which findings."""

    tenant: str
    client: str
    service: str
    card: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a user did with a card. `reason` is the code of why it was overridden, `comment` what the user wrote."""

    tenant: str
    client: str
    service: str
    card: str
    outcome: str
    at: datetime
    suggestions: tuple[str, ...] = ()
    reason: str = ""
    comment: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the cards of one rule."""

    shown: int = 0
    accepted: int = 0
    overridden: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


class FeedbackStore:
    """Keeps what was shown and what became of it, for a month; what users write, which may be anything, it does not."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._database = store.database
        self._forgot = -_FORGET_EVERY
        store.database.ensure(_CARDS)

    def issue(self, cards: Iterable[Issued]) -> None:
        """Remember that these cards were shown, all of them to one tenant."""
        shown = tuple(cards)
        if not shown:
            return
        with self._database.write() as connection:
            if time.monotonic() - self._forgot >= _FORGET_EVERY:
                self._forgot = time.monotonic()
                connection.execute(delete(_CARDS).where(_CARDS.c.shown < stamp(datetime.now(UTC) - _REMEMBERED)))
            self._remember(connection, shown)

    def put(self, feedback: Feedback) -> None:
        """Take the feedback on a card; what was told later replaces what was told before."""
        at = stamp(feedback.at)
        this = (
            (_CARDS.c.tenant == feedback.tenant)
            & (_CARDS.c.client == feedback.client)
            & (_CARDS.c.service == feedback.service)
            & (_CARDS.c.card == feedback.card)
        )
        with self._database.write() as connection:
            known = connection.execute(select(_CARDS).where(this).with_for_update()).one_or_none()
            if known is None:
                self._remember(connection, [_unknown(feedback)])
                known = connection.execute(select(_CARDS).where(this)).one()
            if known.told > at:
                return
            told = {"told": at, "outcome": feedback.outcome, "reason": feedback.reason}
            connection.execute(update(_CARDS).where(this).values(told))
            numbers: Counter[str] = Counter()
            for rule in known.rules.split():
                for name in _names(rule, known.outcome, known.reason):
                    numbers[name] -= 1
                for name in _names(rule, feedback.outcome, feedback.reason):
                    numbers[name] += 1
            self._store.add(connection, feedback.tenant, numbers)

    def counts(self, *, tenant: str) -> Mapping[str, Counts]:
        """Rule → what became of a tenant's cards about it."""
        counted: dict[str, dict[str, Any]] = {}
        for name, number in self._store.counts(tenant=tenant).items():
            kind, *words = name.split()
            if kind != "cds" or not number:
                continue
            what, rule, reason = (*words, "")[:3]
            of_rule = counted.setdefault(rule, {"reasons": {}})
            if reason:
                of_rule["reasons"][reason] = number
            else:
                of_rule[what] = number
        return {rule: Counts(**numbers) for rule, numbers in counted.items()}

    def _remember(self, connection: Connection, cards: Sequence[Issued]) -> None:
        """Write down cards of one tenant."""
        moment = now()
        rows = [
            {
                "tenant": card.tenant,
                "client": card.client,
                "service": card.service,
                "card": card.card,
                "rules": " ".join(card.rules),
                "shown": moment,
                "told": "",
                "outcome": "",
                "reason": "",
            }
            for card in cards
        ]
        connection.execute(self._database.upsert(_CARDS).on_conflict_do_nothing(), rows)
        rules = Counter(f"cds {SHOWN} {rule}" for card in cards for rule in card.rules)
        self._store.add(connection, cards[0].tenant, rules)


def _unknown(feedback: Feedback) -> Issued:
    return Issued(
        tenant=feedback.tenant,
        client=feedback.client,
        service=feedback.service,
        card=feedback.card,
        rules=(UNKNOWN,),
    )


def _names(rule: str, outcome: str, reason: str) -> tuple[str, ...]:
    """The counts that an outcome goes into."""
    if not outcome:
        return ()
    return (f"cds {outcome} {rule}", *((f"cds {outcome} {rule} {reason}",) if reason else ()))
