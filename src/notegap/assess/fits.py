"""Which ICD-10-CM codes a documented fact is coded with, so that an alert suggests only the codes its evidence fits."""

from __future__ import annotations

from collections.abc import Iterable

from notegap.model import Coding

ACUTE = frozenset({"acute", "mechanism/traumatic"})
RECURRENT = frozenset({"recurrent"})


def fits(code: str, fact: str, said: Iterable[str], coding: Coding) -> bool:
    """Whether `fact` ("concept/value") is coded under `code`, or `code` under what it is coded with.

    `said` are the fact's qualities and causes: one that recurs is no injury, one that is acute does not recur.
    """
    known = coding.facts.get(fact, ())
    words = set(said)
    if words & RECURRENT:
        known = tuple(stem for stem in known if not stem.startswith("S"))
    elif words & ACUTE:
        known = tuple(stem for stem in known if not stem.startswith(("M43.3", "M43.4", "M43.5")))
    return is_under(code, known) or any(stem.startswith(code) for stem in known)


def is_under(code: str, stems: Iterable[str]) -> bool:
    """Whether `code` is one of `stems` or stands under one."""
    return code.startswith(tuple(stems))


def injury_regions(code: str, coding: Coding) -> tuple[str, ...]:
    """The regions the injury `code` can stand for, none when it is no injury of the spine; the longest stem wins."""
    stems = [stem for stem in coding.injuries if code.startswith(stem)]
    return coding.injuries[max(stems, key=len)] if stems else ()
