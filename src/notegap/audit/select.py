"""Which rows of an input are audited, those since a day, a sample, the first so many, the same each time; and which of
their codes.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

from notegap.errors import UsageError
from notegap.icd10cm import load
from notegap.model import Knowledge, Note
from notegap.notes.document import RowError
from notegap.notes.inputs import Row

_WHOLE = 1 << 64


@dataclass(frozen=True, slots=True)
class Sample:
    """A number of rows, or a share of them between 0 and 1; the other is None."""

    number: int | None = None
    share: float | None = None


def parse_sample(text: str) -> Sample:
    """What "200", two hundred rows, or "5%", a share of them, asks for. Raises `UsageError` for anything else."""
    try:
        if text.endswith("%"):
            share = float(text.removesuffix("%")) / 100
            if 0 < share <= 1:
                return Sample(share=share)
        elif int(text) > 0:
            return Sample(number=int(text))
    except ValueError:
        pass
    raise UsageError("a sample is a number of notes (200) or a share of them (5%)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is left of an input: `since` a day (2026-04-30), a `sample` of that, at most `limit` of that."""

    since: str = ""
    sample: Sample | None = None
    limit: int | None = None

    def of(self, rows: Callable[[bool], Iterable[Row]], undated: Callable[[int], None]) -> Iterator[Row]:
        """The rows that are audited. `rows` begins to read, and reads in silence what is read only to draw a number.

        A row without a date may be of any day and is kept; `undated` is told at the end how many of them there were.
        """
        chosen: frozenset[int] | None = None
        if self.sample is not None and self.sample.number is not None:
            places = ((_drawn(row), row.number) for row in self._since(rows(True), lambda _count: None))
            chosen = frozenset(number for _, number in heapq.nsmallest(self.sample.number, places))
        share = self.sample.share if self.sample is not None else None
        kept = (
            row
            for row in self._since(rows(False), undated)
            if (chosen is None or row.number in chosen) and (share is None or _drawn(row) < share * _WHOLE)
        )
        return islice(kept, self.limit)

    def _since(self, rows: Iterable[Row], undated: Callable[[int], None]) -> Iterator[Row]:
        count = 0
        for row in rows:
            note = row.note
            day = (note.metadata.date or note.date_of_service or "") if isinstance(note, Note) else ""
            if self.since and isinstance(note, Note) and not day:
                count += 1
            if not self.since or not day or day >= self.since:
                yield row
        if count:
            undated(count)


def with_claimed(note: Note | RowError, knowledge: Knowledge) -> Note | RowError:
    """A note that is also asked about the codes of its claim: those that can be judged.

    That are those with a checklist, and those that cannot be reported at all.
    """
    if isinstance(note, RowError) or not note.claim_codes:
        return note
    judged = (code for code in note.claim_codes if can_be_judged(code, knowledge))
    return replace(note, codes=tuple(dict.fromkeys((*note.codes, *judged))))


def can_be_judged(code: str, knowledge: Knowledge) -> bool:
    """Whether a check of a code says if the note supports it: it has a checklist, or cannot be reported at all."""
    return knowledge.checklist(code) is not None or load().problem(code) is not None


def _drawn(row: Row) -> int:
    """A number at random for a row, the same each time, another for the same row of another file."""
    place = f"{row.number}\0{row.source}".encode()
    return int.from_bytes(hashlib.blake2b(place, digest_size=8).digest(), "little")
