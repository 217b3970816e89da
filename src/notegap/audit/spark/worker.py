"""What Spark's Python processes do: analyze the notes of a partition, and put together what belongs to each row.

They know of no partition but their own. Nothing here imports Spark, and what is raised holds no word of a note: Spark
repeats it in its logs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from functools import cache
from itertools import groupby, islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import from_json, to_json

from notegap.audit.bare import Published
from notegap.audit.batch import Auditor, rules_of
from notegap.audit.ledger import key_of
from notegap.audit.near import bands, nearest
from notegap.audit.rows import AuditedNote, Outcome, columns, flat_rows, from_error, from_report, hash_of
from notegap.audit.select import can_be_judged, with_claimed
from notegap.audit.work import Analyzes, Done, analyzed, prepared
from notegap.errors import NotegapError, crash_site
from notegap.model import Knowledge, Metadata, Note, Part, Setting
from notegap.notes.document import RowError
from notegap.notes.inputs import Row
from notegap.notes.table import FIELDS, SAID, read_values
from notegap.notes.text import NoteOptions

if TYPE_CHECKING:
    from pandas import DataFrame

_T = TypeVar("_T")

STRING, FLOAT, DECIMAL, LIST, OTHER, TOO_LONG = b"s", b"f", b"d", b"l", b"o", b"x"
"""What stands before a value: a string follows, or a number or a list as one; or nothing, as its type is not read, or
it is too long."""

READ_SCHEMA = "slot binary, row bigint, note string, text string, signature binary, report binary, error string"
"""What `analyze` gives: for each note a record of its own, whose slot is its key, and one for each of its bands.

The lowest row of a slot is the first note of its kind: with this text, or with this band.
"""

_READ = ("slot", "row", "note", "text", "signature", "report", "error")
_COMPARED = ("row", "note", "text", "first", "signature", "report", "error")
_TOLD = ("row", "note", "rows")
_NOT_UTF8 = b"\xff"  # no value of a table is bytes, so that these are refused
_NOT_READ = b""
_AT_ONCE = 64  # notes
_REMEMBERED = 1024  # notes
_TYPES = {"string": "string", "int64": "bigint", "double": "double", "bool": "boolean", "list<string>": "array<string>"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is asked of Spark's processes.

    `build` makes an analyzer; equal ones are built once in a process. `rules` is what they are expected to check by.
    `check_claims`: whether the codes of a claim are checked too. `words`: the texts travel with the notes, as reports
    and `with_text` need them. `rows` and `notes`: whether the flat
    table's rows are told, and the audited notes themselves.
    """

    build: Callable[[], Auditor]
    rules: str
    options: NoteOptions
    timeout: float | None = None
    check_claims: bool = False
    with_text: bool = False
    words: bool = False
    rows: bool = True
    notes: bool = False


def told_schema(work: Work) -> str:
    """What `compare` gives for each note: its number, itself as JSON, its rows of the flat table."""
    struct = ", ".join(f"`{name}`: {_TYPES[kind]}" for name, kind in columns(with_text=work.with_text).items())
    return f"row bigint, note string, rows array<struct<{struct}>>"


# ── a note on its way ───────────────────────────────────────────────────────────────────────────


def kept(row: Row) -> str:
    """What was read of a row, as JSON: in ASCII, so that half of a surrogate pair is no matter."""
    said: dict[str, Any] = asdict(row.note)
    return json.dumps({"error" if isinstance(row.note, RowError) else "note": said})


def _unkept(text: str) -> Note | RowError:
    said = json.loads(text)
    return RowError(**said["error"]) if "error" in said else _note_of(said["note"])


def _note_of(said: Mapping[str, Any]) -> Note:
    claim = said["claim_codes"]
    return Note(
        **{
            **said,
            "codes": tuple(said["codes"]),
            "claim_codes": None if claim is None else tuple(claim),
            "setting": Setting(said["setting"]),
            "metadata": Metadata(**said["metadata"]),
            "parts": tuple(Part(**part) for part in said["parts"]),
        }
    )


def audited_of(told: str) -> AuditedNote:
    """The audited note that `compare` told as JSON."""
    said = from_json(told)
    claim = said.pop("claim_codes")
    said["claims_unchecked"] = tuple(said["claims_unchecked"])
    return AuditedNote(
        **{**said, "outcome": Outcome(said["outcome"]), "claim_codes": None if claim is None else tuple(claim)}
    )


# ── reading and analyzing ───────────────────────────────────────────────────────────────────────


def analyze(frames: Iterable[DataFrame], *, work: Work) -> Iterator[DataFrame]:
    """Analyze the notes of a partition; for each the records that `READ_SCHEMA` tells of."""
    with _telling():
        done = _Remembering(work)
        for some in _by(_AT_ONCE, _rows(frames, work)):
            yield _frame(_READ, [record for row in some for record in _records(row, done, work)])


@cache
def _analyzer(build: Callable[[], Auditor]) -> tuple[Analyzes, Knowledge, str]:
    """An analyzer, what it knows and the rules it checks by, built once for all partitions that a process is given."""
    built = build()
    return prepared(lambda: built), built.knowledge, rules_of(built.knowledge)


class _Remembering:
    """Analyzes, and does not analyze again what it just has: copies of a note often stand together."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._done: dict[bytes, Done] = {}

    def of(self, note: Note, key: bytes) -> Done:
        """What comes of a note."""
        if key not in self._done:
            if len(self._done) == _REMEMBERED:
                del self._done[next(iter(self._done))]
            analyzer, _, rules = _analyzer(self._work.build)
            if rules != self._work.rules:
                raise NotegapError(
                    "a worker has another version of notegap, or other patterns, than the program that asks it; "
                    "install the same on both"
                )
            self._done[key] = analyzed(note, analyzer, self._work.timeout)
        return self._done[key]


def _rows(frames: Iterable[DataFrame], work: Work) -> Iterator[Row]:
    for frame in frames:
        for values in frame.to_dict("records"):
            number = values["row"]
            if number is None or number != number:
                raise NotegapError("the column `row` has no number in some row")
            where = str(values["where"])
            note = _unkept(values["kept"]) if "kept" in values else _read(values, where, work.options)
            if work.check_claims:
                note = with_claimed(note, _analyzer(work.build)[1])
            yield Row(int(number), str(values["source"]), note)


def _read(values: Mapping[str, Any], where: str, options: NoteOptions) -> Note | RowError:
    plain = {name: _plain(values[name], options) for name in (*FIELDS, *SAID) if values.get(name) is not None}
    if plain.get("text") is not _NOT_UTF8:
        return read_values(plain, where, options)
    refused = read_values({**plain, "text": None}, where, options)
    assert isinstance(refused, RowError)
    # Where its id cannot be read either, that is told.
    return refused if "`id`" in refused.message else replace(refused, message="`text` is not UTF-8")


def _plain(value: bytes, options: NoteOptions) -> object:
    """A value as other tables have it."""
    kind, rest = value[:1], value[1:]
    if kind == STRING:
        try:
            return rest.decode()
        except UnicodeDecodeError:
            return _NOT_UTF8
    if kind in (FLOAT, DECIMAL):
        # Spark writes some numbers in another way than Python.
        return float(rest) if kind == FLOAT else Decimal(rest.decode())
    if kind == LIST:
        return json.loads(rest.decode("utf-8", "replace"))
    # One that is too long was left behind: any that is will do.
    return "x" * (options.max_bytes + 1) if kind == TOO_LONG else _NOT_READ


def _records(row: Row, done: _Remembering, work: Work) -> Iterator[tuple[Any, ...]]:
    own: dict[str, Any] = {"source": row.source}
    note = row.note
    if isinstance(note, RowError):
        slot = b"u" + row.number.to_bytes(8, "big", signed=True)
        yield slot, row.number, json.dumps({**own, "error": asdict(note)}), None, b"", b"", note.message
        return
    note_hash = hash_of(note.text)
    key = key_of(note, note_hash, work.rules)
    found = done.of(note, key)
    # Titles of its parts are words of it.
    own |= {"hash": note_hash, "note": asdict(replace(note, text="", parts=note.parts if work.words else ()))}
    knowledge = _analyzer(work.build)[1]
    own["judged"] = [code for code in note.claim_codes or () if can_be_judged(code, knowledge)]
    text = note.text if work.words and not found.error else None
    yield b"k" + key, row.number, json.dumps(own), text, found.signature, found.report, found.error
    for band in bands(found.signature):
        yield b"b" + band.to_bytes(8, "big", signed=True), row.number, None, None, found.signature, None, ""


# ── putting together ────────────────────────────────────────────────────────────────────────────


def compare(frames: Iterable[DataFrame], *, work: Work) -> Iterator[DataFrame]:
    """What came of each note of a partition, which has all records of a row one after another; see `told_schema`.

    A record has the number, the note and the text of its row, and of the first row of its slot the number, the
    signature, the report and the error.
    """
    with _telling():
        records = (record for frame in frames for record in frame[list(_COMPARED)].itertuples(index=False, name=None))
        notes = (_audited(row, list(group), work) for row, group in groupby(records, itemgetter(0)))
        for some in _by(_AT_ONCE, notes):
            yield _frame(_TOLD, [_told(note, work) for note in some])


def _audited(row: int, records: Sequence[tuple[Any, ...]], work: Work) -> AuditedNote:
    owns = [record for record in records if isinstance(record[1], str)]
    if len(owns) != 1:
        raise NotegapError("the column `row` has the same number twice")
    _, told, text, first, signature, report, error = owns[0]
    own = json.loads(told)
    place = {"row": int(row), "source": own["source"], "rules": work.rules}
    if "error" in own:
        return from_error(RowError(**own["error"]), **place)
    note = replace(_note_of(own["note"]), text=text if isinstance(text, str) else "")
    if error:
        audited = from_error(RowError(note.id, f"row {row}", error), note, **place)
    else:
        others = {(int(record[3]), record[4]) for record in records if record is not owns[0]}
        near = nearest(signature, others) if first == row else None
        audited = from_report(
            note,
            Published(report, note),
            **place,
            duplicate_of=None if first == row else int(first),
            near_duplicate_of=near[0] if near else None,
            similarity=near[1] if near else None,
            note_hash=own["hash"],
            with_text=work.words,
            judged=frozenset(own["judged"]).__contains__,
        )
    # The text it would be the hash of need not be here.
    return replace(audited, note_hash=own["hash"])


def _told(note: AuditedNote, work: Work) -> tuple[Any, ...]:
    said = {part.name: getattr(note, part.name) for part in fields(note)} if work.notes else None
    if said is not None and note.report is not None:
        said["report"] = dict(note.report)
    rows = list(flat_rows(note, with_text=work.with_text)) if work.rows else None
    return note.row, None if said is None else to_json(said).decode(), rows


# ── frames ──────────────────────────────────────────────────────────────────────────────────────


def _frame(names: Sequence[str], records: Sequence[tuple[Any, ...]]) -> DataFrame:
    import pandas as pd

    # As objects: pandas would make a float of a number that may be missing.
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=object)
            for name, values in zip(names, zip(*records, strict=True), strict=True)
        }
    )


def _by(size: int, items: Iterable[_T]) -> Iterator[list[_T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


@contextmanager
def _telling() -> Iterator[None]:
    """Let nothing out but our own sentences: another's may quote what it was given."""
    try:
        yield
    except NotegapError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, its message may hold words of a note
        problem = f"notegap broke: {crash_site(error)}"
    else:
        return
    raise NotegapError(problem)
