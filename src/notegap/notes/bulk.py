"""A folder of FHIR bulk exports (NDJSON): what stands beside its DocumentReferences, found by their references.

Condition, Encounter, Practitioner and Binary files of the folder are read once into a temporary database on disk, so
that an export of any size can be joined. Of each resource only what a note is told with is kept; a Binary is found by
its place in its file, or kept whole where the file is compressed.
"""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from notegap.errors import NoteError, UsageError
from notegap.icd10cm import normalize
from notegap.model import Note, Setting
from notegap.notes.document import iso_date
from notegap.notes.text import cannot_read, printable

_KINDS = ("Binary", "Condition", "Encounter", "Practitioner")
_NAME = re.compile(rf"(?:^|[^A-Za-z])({'|'.join(_KINDS)})(?![A-Za-z])[^/]*\.(?:ndjson|jsonl)(?:\.gz)?$")
_ICD10CM = ("http://hl7.org/fhir/sid/icd-10-cm", "urn:oid:2.16.840.1.113883.6.90")
_NOT_SO = frozenset({"refuted", "entered-in-error"})
_LONGEST = 64 * 1024 * 1024
_TABLES = """
PRAGMA journal_mode=OFF;
PRAGMA synchronous=OFF;
CREATE TABLE practitioners (id TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID;
CREATE TABLE encounters (
  id TEXT PRIMARY KEY, provider TEXT, department TEXT, date TEXT, inpatient INTEGER
) WITHOUT ROWID;
CREATE TABLE conditions (number INTEGER PRIMARY KEY, id TEXT, encounter TEXT, code TEXT);
CREATE TABLE ranks (encounter TEXT, condition TEXT, rank INTEGER);
CREATE TABLE binaries (id TEXT PRIMARY KEY, file INTEGER, start INTEGER, length INTEGER, data BLOB) WITHOUT ROWID;
BEGIN;
"""
_INDEXES = """
CREATE INDEX conditions_by_encounter ON conditions (encounter);
CREATE INDEX conditions_by_id ON conditions (id);
CREATE INDEX ranks_by_encounter ON ranks (encounter);
"""

_INPATIENT = frozenset({"IMP", "ACUTE", "NONAC"})
"""The classes of an encounter (HL7 v3 ActCode) by which an inpatient's is known."""

Resource = Mapping[str, Any]


def is_neighbour(name: str) -> bool:
    """Whether a file of this name holds what stands beside the documents: "Condition.000.ndjson"."""
    return _NAME.search(name) is not None


class Bulk:
    """What stands in one folder beside its documents. `covers` tells the codes that can be checked."""

    def __init__(self, folder: Path, covers: Callable[[str], bool]) -> None:
        self._covers = covers
        self._files: list[Path] = []
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_TABLES)
        for path in sorted(folder.iterdir()):
            if is_neighbour(path.name) and path.is_file():
                self._read(path)
        self._database.executescript(_INDEXES)
        self.binaries: Mapping[str, Resource] = _Binaries(self._binary)

    def joined(self, note: Note) -> Note:
        """A note with what is known of its encounter: who was seen by whom, where, when, as an inpatient, and what was
        coded.

        The ICD-10-CM codes of an encounter's conditions are its claim, in the order of the encounter's diagnoses where
        it ranks them; those that can be checked are checked, unless others were asked for.
        """
        said = note.metadata
        asked = "SELECT provider, department, date, inpatient FROM encounters WHERE id = ?"
        provider, department, day, inpatient = self._one(asked, said.encounter) or ("", "", "", False)
        provider = said.provider or provider
        name = self._one("SELECT name FROM practitioners WHERE id = ?", provider)
        said = replace(
            said,
            provider=name[0] if name else provider,
            department=department or said.department,
            date=day or said.date,
        )
        codes = self._codes(said.encounter)
        claim = note.claim_codes if note.claim_codes is not None or not codes else codes
        checked = tuple(code for code in codes if self._covers(code))
        return replace(
            note,
            metadata=said,
            claim_codes=claim,
            codes=note.codes or checked,
            setting=Setting.INPATIENT if inpatient else note.setting,
            date_of_service=said.date or note.date_of_service,
        )

    def _codes(self, encounter: str) -> tuple[str, ...]:
        if not encounter:
            return ()
        found = self._database.execute(
            "SELECT code, min(coalesce(rank, 1000000)), min(number) FROM conditions "
            "LEFT JOIN ranks ON ranks.condition = conditions.id AND ranks.encounter = ? "
            "WHERE conditions.encounter = ? "
            "OR conditions.id IN (SELECT condition FROM ranks WHERE ranks.encounter = ?) "
            "GROUP BY code ORDER BY 2, 3",
            (encounter, encounter, encounter),
        )
        return tuple(str(code) for code, _, _ in found)

    def _one(self, sql: str, key: str) -> Sequence[str] | None:
        found: Sequence[str] | None = self._database.execute(sql, (key,)).fetchone() if key else None
        return found

    # ── reading ──

    def _read(self, path: Path) -> None:
        self._files.append(path)
        packed = path.name.endswith(".gz")
        where = printable(str(path))
        try:
            with gzip.open(path) if packed else path.open("rb") as file:
                for start, line in _lines(file):
                    self._add(line, start, keep=packed)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise NoteError(f"{where}: is cut off or damaged") from None
        except OSError as error:
            raise cannot_read(where, error) from None

    def _add(self, line: bytes, start: int, *, keep: bool) -> None:
        try:
            resource = json.loads(line)
        except (ValueError, RecursionError):
            return  # the documents' own file tells its bad lines; what is not known of a note is left open
        if not isinstance(resource, dict):
            return
        match resource.get("resourceType"):
            case "Binary":
                place = (len(self._files) - 1, start, len(line), line if keep else None)
                self._put("INSERT OR IGNORE INTO binaries VALUES (?, ?, ?, ?, ?)", _text(resource.get("id")), *place)
            case "Condition":
                self._add_condition(resource)
            case "Encounter":
                self._add_encounter(resource)
            case "Practitioner":
                for name in _names_of(resource):
                    self._put("INSERT OR IGNORE INTO practitioners VALUES (?, ?)", name, person_name(resource))

    def _add_condition(self, resource: Resource) -> None:
        if _NOT_SO & _codes_in(resource.get("verificationStatus")):
            return
        kinds = [kind for each in _list(resource.get("category")) for kind in _codes_in(each)]
        if kinds and "encounter-diagnosis" not in kinds:
            return
        encounter = _referred(resource.get("encounter"))
        for coding in _list(_dict(resource.get("code")).get("coding")):
            if _dict(coding).get("system") in _ICD10CM:
                try:
                    code = normalize(_text(_dict(coding).get("code")))
                except UsageError:
                    continue
                self._put(
                    "INSERT INTO conditions (id, encounter, code) VALUES (?, ?, ?)",
                    _text(resource.get("id")),
                    encounter,
                    code,
                )

    def _add_encounter(self, resource: Resource) -> None:
        people = [_dict(each).get("individual") for each in _list(resource.get("participant"))]
        places = [_dict(each).get("location") for each in _list(resource.get("location"))]
        service = _dict(resource.get("serviceType"))
        department = next(filter(None, (*map(_display, places), _text(service.get("text")))), "")
        told = (
            next(filter(None, (_referred(person) or _display(person) for person in people)), ""),
            department or _display(resource.get("serviceProvider")),
            iso_date(_text(_dict(resource.get("period")).get("start"))),
            _text(_dict(resource.get("class")).get("code")).upper() in _INPATIENT,
        )
        for name in _names_of(resource):
            self._put("INSERT OR IGNORE INTO encounters VALUES (?, ?, ?, ?, ?)", name, *told)
        for diagnosis in _list(resource.get("diagnosis")):
            condition, rank = _referred(_dict(diagnosis).get("condition")), _dict(diagnosis).get("rank")
            if condition:
                rank = rank if isinstance(rank, int) else None
                self._put("INSERT INTO ranks VALUES (?, ?, ?)", _text(resource.get("id")), condition, rank)

    def _put(self, sql: str, *values: object) -> None:
        self._database.execute(sql, values)

    def _binary(self, name: str) -> Resource | None:
        found = self._database.execute(
            "SELECT file, start, length, data FROM binaries WHERE id = ?", (name,)
        ).fetchone()
        if found is None:
            return None
        number, start, length, data = found
        if data is None:
            with self._files[number].open("rb") as file:
                file.seek(start)
                data = file.read(length)
        resource = json.loads(data)
        return resource if isinstance(resource, dict) else None


class _Binaries(Mapping[str, Resource]):
    """Binary resources by the addresses attachments give them: "Binary/7", "https://fhir.example/Binary/7"."""

    def __init__(self, find: Callable[[str], Resource | None]) -> None:
        self._find = find

    def __getitem__(self, address: str) -> Resource:
        kind, _, name = address.rpartition("/")
        found = self._find(name) if kind.rpartition("/")[2] == "Binary" else None
        if found is None:
            raise KeyError
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _lines(file: BinaryIO | gzip.GzipFile) -> Iterator[tuple[int, bytes]]:
    """Each line and where it starts; one that is too long to be kept in memory is passed over."""
    start = 0
    while line := file.readline(_LONGEST):
        length, whole = len(line), line.endswith(b"\n") or len(line) < _LONGEST
        while not line.endswith(b"\n") and len(line) == _LONGEST:
            line = file.readline(_LONGEST)
            length += len(line)
        if whole:
            yield start, line
        start += length


def _names_of(resource: Resource) -> list[str]:
    """The id of a resource, and its identifiers as conditional references give them: "SYSTEM|VALUE"."""
    identifiers = (_dict(each) for each in _list(resource.get("identifier")))
    named = [f"{_text(each.get('system'))}|{_text(each.get('value'))}" for each in identifiers if each.get("value")]
    return list(filter(None, (_text(resource.get("id")), *named)))


def person_name(resource: Resource) -> str:
    """The name of a practitioner, else the id."""
    for name in map(_dict, _list(resource.get("name"))):
        parts = [*_list(name.get("prefix")), *_list(name.get("given")), name.get("family")]
        spoken = _text(name.get("text")) or " ".join(filter(None, map(_text, parts)))
        if spoken:
            return spoken
    return _text(resource.get("id"))


def _referred(reference: object) -> str:
    address = _text(_dict(reference).get("reference"))
    _, asked, identifier = address.partition("?identifier=")
    return identifier if asked else address.rpartition("/")[2]


def _display(reference: object) -> str:
    return _text(_dict(reference).get("display"))


def _codes_in(concept: object) -> set[str]:
    return {_text(_dict(coding).get("code")) for coding in _list(_dict(concept).get("coding"))}


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
