"""A report without its note's words, to be kept, and with them again.

What is the note's own (the words, the id, the date, what its file said) is left out, and put back from the note: it is
read again anyway. The mentions are packed apart: most of a report, and no table needs them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from pydantic_core import from_json, to_json

from notegap.model import Note
from notegap.report.json import metadata_as_dict, one_line_fast

_LISTS = ("mentions", "suggestions")
_LENGTH = 4


def packed(report: Mapping[str, Any], note: Note) -> bytes:
    """A published report without what its note knows."""
    own = metadata_as_dict(note)
    bare = {name: value for name, value in report.items() if name not in own}
    bare |= {"id": None, "date_of_service": None, **dict.fromkeys(_LISTS)}  # None keeps a field's place
    bare["points_to"] = [_quoting(pointer) for pointer in report["points_to"]]
    bare["checks"] = [
        {**check, "findings": [_quoting(finding) for finding in check["findings"]]} for check in report["checks"]
    ]
    # pydantic's JSON is three times as fast as json, and every note goes through it.
    head = zlib.compress(to_json(bare), 1)
    return (
        len(head).to_bytes(_LENGTH, "big")
        + head
        + zlib.compress(to_json([_columns(report[name]) for name in _LISTS]), 1)
    )


class Published(Mapping[str, Any]):
    """A published report out of what was packed of it and its note; `line` is it as JSON on one line."""

    def __init__(self, kept: bytes, note: Note, line: str = "") -> None:
        self._kept = kept
        self._note = note
        self._line = line

    def __getitem__(self, name: str) -> Any:
        return self._lists[name] if name in _LISTS else self._head[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._head)

    def __len__(self) -> int:
        return len(self._head)

    def __repr__(self) -> str:
        """Where it comes from, no word of it."""
        return "<a published report>"

    @property
    def line(self) -> str:
        """The report as JSON on one line."""
        return self._line or one_line_fast(dict(self))

    @cached_property
    def _head(self) -> dict[str, Any]:
        end = _LENGTH + int.from_bytes(self._kept[:_LENGTH], "big")
        head: dict[str, Any] = from_json(zlib.decompress(self._kept[_LENGTH:end]))
        head |= {"id": self._note.id, "date_of_service": self._note.date_of_service}
        text = self._note.text
        for part in (*head["points_to"], *(finding for check in head["checks"] for finding in check["findings"])):
            for quote in part["evidence"]:
                quote["text"] = text[quote["start"] : quote["end"]]
        return head | metadata_as_dict(self._note)

    @cached_property
    def _lists(self) -> dict[str, list[dict[str, Any]]]:
        start = _LENGTH + int.from_bytes(self._kept[:_LENGTH], "big")
        columns = from_json(zlib.decompress(self._kept[start:]))
        return {name: _parts(each, self._note.text) for name, each in zip(_LISTS, columns, strict=True)}


def _columns(parts: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Parts alike, of which a note has hundreds: the names of their fields once, then the values of each."""
    if not parts:
        return []
    names: list[Any] = [*parts[0]]
    quote = names.index("text")
    columns: list[list[Any]] = [names, *([*part.values()] for part in parts)]
    for values in columns[1:]:
        values[quote] = None
    return columns


def _parts(columns: Sequence[list[Any]], text: str) -> list[dict[str, Any]]:
    if not columns:
        return []
    names = columns[0]
    start, end, quote = names.index("start"), names.index("end"), names.index("text")
    for values in columns[1:]:
        values[quote] = text[values[start] : values[end]]
    return [dict(zip(names, values, strict=True)) for values in columns[1:]]


def _bare(part: Mapping[str, Any]) -> dict[str, Any]:
    return {**part, "text": None}


def _quoting(part: Mapping[str, Any]) -> dict[str, Any]:
    return {**part, "evidence": [_bare(quote) for quote in part["evidence"]]}
