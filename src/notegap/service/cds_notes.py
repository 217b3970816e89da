"""Which of the notes that a call of CDS Hooks holds are read.

For a discharge: those of the encounter, up to a limit, the newest first. For a problem or an order: one, the newest of
the encounter when one says that it is of the encounter, else the newest there is. A note of another patient is never
read, nor one that no longer stands in the record. What is left out without being asked for is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from notegap.service.cds_codes import in_prefetch, resources_of
from notegap.service.documents import (
    KIND,
    SUPERSEDED,
    Resource,
    day_of,
    encounters_of,
    id_in,
    is_wrong,
    mapping,
    objects,
)

MOST_NOTES = 50
"""How many notes of an encounter are read; the declared prefetch asks for as many."""

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The notes to read, the newest first, and what is to be told of the others.

    `strangers` are of another patient, `left` are more than the limit; `elsewhere`: the one note is of another
    encounter, `others` how many of other encounters were left out. `more`: there may be notes that were not sent.
    """

    references: tuple[Resource, ...] = field(default=(), repr=False)
    strangers: int = 0
    left: int = 0
    elsewhere: bool = False
    others: int = 0
    more: bool = False


def chosen_notes(context: Mapping[str, Any], prefetch: Mapping[str, Any], *, whole_encounter: bool) -> Chosen:
    """The notes of the prefetch to read. Raises RefusedError when they could not be had."""
    given = in_prefetch("notes", prefetch, needed=True)
    # One alone is no search, and is taken all the same.
    alone = mapping(given.value)
    resources = [alone] if alone.get("resourceType") == KIND else [each for _, each in resources_of(given)]
    standing = [
        each
        for each in resources
        if each.get("resourceType") == KIND and each.get("status") != SUPERSEDED and not is_wrong(each)
    ]
    own = [each for each in standing if not is_of_another(each, context["patientId"])]
    own.sort(key=_written, reverse=True)
    strangers, encounter = len(standing) - len(own), context.get("encounterId")
    wanted = id_in(encounter) if isinstance(encounter, str) else ""
    if whole_encounter:
        of_it = [each for each in own if not encounters_of(each) or wanted in encounters_of(each)]
        return Chosen(
            references=tuple(of_it[:MOST_NOTES]),
            strangers=strangers,
            left=len(of_it[MOST_NOTES:]),
            others=len(own) - len(of_it),
            more=any(link.get("relation") == "next" for link in objects(alone.get("link"))),
        )
    newest = next((each for each in own if wanted and wanted in encounters_of(each)), own[0] if own else None)
    if newest is None:
        return Chosen(strangers=strangers)
    encounters = encounters_of(newest)
    return Chosen(
        references=(newest,), strangers=strangers, elsewhere=bool(wanted and encounters and wanted not in encounters)
    )


def is_of_another(reference: Resource, patient: str) -> bool:
    """Whether a document says that it is about somebody else; one that does not say whom it is about may be."""
    subject = mapping(reference.get("subject")).get("reference")
    if not isinstance(subject, str) or "/" not in subject:
        # Of an address that means nothing outside its own Bundle or resource nothing can be told.
        return False
    return subject.partition("/_history/")[0].split("/")[-2:] != ["Patient", id_in(patient)]


def _written(reference: Resource) -> datetime:
    """When a document was written, else the day it is about; a time without an offset is UTC's."""
    for given in (reference.get("date"), day_of(reference)):
        try:
            moment = datetime.fromisoformat(given) if isinstance(given, str) else _NEVER
        except ValueError:
            continue  # no such moment
        if moment is not _NEVER:
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return _NEVER
