"""What became of the cards: accepted or overridden, counted for each rule; a card counts once, as it was last told."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

UNKNOWN = "unknown"
"""The rule that feedback on a card nobody remembers is counted for."""

_MOST_CARDS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A card that was shown: to whom, by which service, about which findings."""

    client: str
    service: str
    card: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a user did with a card. `reason` is the code of why it was overridden, `comment` what the user wrote."""

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


class FeedbackStore(Protocol):
    """Keeps what was shown and what became of it."""

    def issue(self, cards: Iterable[Issued]) -> None:
        """Remember that these cards were shown."""

    def put(self, feedback: Feedback) -> None:
        """Take the feedback on a card; what was told later replaces what was told before."""

    def counts(self) -> Mapping[str, Counts]:
        """Rule → what became of its cards."""


class FeedbackInMemory:
    """Counts for as long as the process runs. A user's comment, which may hold anything, is not kept."""

    def __init__(self, most: int = _MOST_CARDS) -> None:
        self._most = most
        self._cards: OrderedDict[tuple[str, str, str], tuple[tuple[str, ...], datetime | None]] = OrderedDict()
        self._outcomes: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._counts: dict[str, Counts] = {}
        self._lock = threading.Lock()

    def issue(self, cards: Iterable[Issued]) -> None:
        """As `FeedbackStore.issue`; of more cards than fit, the oldest keep their counts and take no more feedback."""
        with self._lock:
            for card in cards:
                self._remember((card.client, card.service, card.card), card.rules)

    def put(self, feedback: Feedback) -> None:
        """As `FeedbackStore.put`."""
        with self._lock:
            key = (feedback.client, feedback.service, feedback.card)
            if key not in self._cards:
                self._remember(key, (UNKNOWN,))
            rules, last = self._cards[key]
            if last is not None and feedback.at < last:
                return
            self._count(rules, self._outcomes.pop(key, None), -1)
            self._outcomes[key] = (feedback.outcome, feedback.reason)
            self._count(rules, self._outcomes[key], 1)
            self._cards[key] = (rules, feedback.at)

    def counts(self) -> Mapping[str, Counts]:
        """As `FeedbackStore.counts`."""
        with self._lock:
            return dict(self._counts)

    def _remember(self, key: tuple[str, str, str], rules: tuple[str, ...]) -> None:
        self._cards[key] = (rules, None)
        for rule in rules:
            was = self._counts.get(rule, Counts())
            self._counts[rule] = Counts(was.shown + 1, was.accepted, was.overridden, was.reasons)
        while len(self._cards) > self._most:
            oldest, _ = self._cards.popitem(last=False)
            self._outcomes.pop(oldest, None)

    def _count(self, rules: tuple[str, ...], outcome: tuple[str, str] | None, by: int) -> None:
        if outcome is None:
            return
        what, reason = outcome
        for rule in rules:
            was = self._counts.get(rule, Counts())
            reasons = dict(was.reasons)
            if reason:
                reasons[reason] = reasons.get(reason, 0) + by
            self._counts[rule] = Counts(
                was.shown,
                was.accepted + by * (what == "accepted"),
                was.overridden + by * (what == "overridden"),
                {name: number for name, number in reasons.items() if number},
            )
