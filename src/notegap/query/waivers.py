"""Waivers: items that are not asked for, each with a reason, an author and the last day it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from notegap.errors import KnowledgeError
from notegap.knowledge.nodes import Place, View, compose, items, mapping, text, unknown
from notegap.model import Knowledge
from notegap.notes.text import printable

EVERY_NOTE = "all"

_ID = re.compile(r"[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?/[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A finding, "M24.28/region", that is not to be asked for in one note, or in "all", up to and with a day."""

    id: str
    note: str
    reason: str = field(repr=False)
    author: str
    expires: date
    place: str = ""

    def covers(self, finding_id: str, note_id: str) -> bool:
        """Whether it is about this finding in this note."""
        return self.id == finding_id and self.note in (EVERY_NOTE, note_id)

    def has_expired(self, today: date) -> bool:
        """Whether its last day is over."""
        return self.expires < today


def load_waivers(path: Path, knowledge: Knowledge) -> tuple[Waiver, ...]:
    """The waivers of a YAML file.

    Raises KnowledgeError, `file:line: what`: a waiver without a reason, an item no checklist has, a date that is none.
    """
    name = printable(str(path))
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise KnowledgeError(f"{name}: cannot be read: {(error.strerror or type(error).__name__).lower()}") from None
    try:
        written = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Place(name, raw[: error.start].count(b"\n") + 1).error("this is not UTF-8 text") from None
    fields = mapping(compose(written, name), required=("waivers",))
    return tuple(_waiver(element, knowledge) for element in items(fields["waivers"]))


def expired(waivers: Iterable[Waiver], today: date) -> tuple[Waiver, ...]:
    """Those that no longer hold."""
    return tuple(waiver for waiver in waivers if waiver.has_expired(today))


def _waiver(view: View, knowledge: Knowledge) -> Waiver:
    fields = mapping(view, required=("id", "note", "reason", "author", "expires"))
    id_ = text(fields["id"])
    if _ID.fullmatch(id_) is None:
        raise fields["id"].error(f"'{id_}' is no finding's id (like M24.28/region)")
    code, _, item = id_.partition("/")
    checklist = knowledge.checklist(code)
    if checklist is None:
        raise fields["id"].error(f"no checklist covers {code}, so nothing is asked for it")
    known = [*(r.id for r in checklist.requires), *(a.id for a in checklist.alerts)]
    if item not in known:
        raise fields["id"].error(unknown(f"item of {checklist.id}", item, known))
    return Waiver(
        id=id_,
        note=text(fields["note"]),
        reason=text(fields["reason"]),
        author=text(fields["author"]),
        expires=_date(fields["expires"]),
        place=str(view.place),
    )


def _date(view: View) -> date:
    written = text(view)
    try:
        return date.fromisoformat(written)
    except ValueError:
        raise view.error(f"'{written}' is no date; write it as 2027-04-30") from None
