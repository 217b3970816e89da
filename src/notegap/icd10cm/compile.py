"""Compiles the tabular into `data/`: run by `make icd10cm`, needs the development dependency simple-icd-10-cm.

That package carries the official XML and code list, but its import takes seconds and 190 MB. We read its two
files without importing it and keep: titles, tree and 7th characters (codes.txt.gz), Excludes notes
(excludes.json.gz), all other notes (notes.json.gz). Each is read only when it is asked for.
The same input gives the same bytes.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from notegap.errors import DataError
from notegap.icd10cm.ranges import parse_codes

DATA = Path(__file__).parent / "data"

_NOTE_TAGS = {
    "inclusionTerm": "inclusion",
    "includes": "includes",
    "excludes1": "excludes1",
    "excludes2": "excludes2",
    "codeFirst": "code_first",
    "useAdditionalCode": "use_additional",
    "codeAlso": "code_also",
    "notes": "notes",
    "sevenChrNote": "seventh",
}
_WITH_CODES = frozenset({"excludes1", "excludes2", "code_first", "use_additional", "code_also"})


@dataclass(frozen=True, slots=True)
class _Node:
    """One element of the XML: its id, title and the element."""

    id: str
    title: str
    element: ET.Element
    extensions: tuple[tuple[str, str], ...]


def main() -> int:
    """Write the files and say how large they are."""
    DATA.mkdir(exist_ok=True)
    for name, content in compile_tabular().items():
        (DATA / name).write_bytes(content)
        sys.stdout.write(f"{name}: {len(content):,} bytes\n")
    return 0


def compile_tabular() -> dict[str, bytes]:
    """The bytes of each data file, by name. Raises DataError when simple-icd-10-cm is not installed."""
    tabular, listed = _source()
    root = ET.parse(tabular).getroot()  # noqa: S314 - a file of a pinned package, not of a user
    exists = {line.split(" ")[0].replace(".", "") for line in listed.read_text("utf-8").splitlines()}
    chapters: list[list[str]] = []
    blocks: list[list[str]] = []
    categories: list[list[str]] = []
    codes: list[_Node] = []
    noted: list[tuple[str, ET.Element]] = []
    for chapter in root.findall("chapter"):
        chapter_id = f"CH{int(_text(chapter, 'name')):02d}"
        chapters.append([chapter_id, _text(chapter, "desc")])
        noted.append((chapter_id, chapter))
        for section in chapter.findall("section"):
            # A block of one category is called like it (M99); "M99-M99" tells them apart.
            block_id = section.attrib["id"] if "-" in section.attrib["id"] else f"{section.attrib['id']}-" * 2
            block_id = block_id.rstrip("-")
            blocks.append([block_id, _text(section, "desc"), chapter_id])
            noted.append((block_id, section))
            for diag in section.findall("diag"):
                categories.append([_text(diag, "name"), block_id])
                codes += _walk(diag, ())
    noted += [(node.id, node.element) for node in codes]
    order = {category: place for place, (category, _) in enumerate(categories)}
    tables = sorted({node.extensions for node in codes if node.extensions})
    head = {
        "release": _release(root, tabular),
        "source": tabular.name,
        "chapters": chapters,
        "blocks": blocks,
        "categories": categories,
        "seventh": [dict(table) for table in tables],
    }
    known = {node.id for node in codes}
    lines = []
    for node in sorted(codes, key=lambda node: node.id):
        if len(node.id) > 3 and node.id[:-1].rstrip(".") not in known:
            raise DataError(f"{node.id} has no parent one character shorter: the tabular changed its shape.")
        line = f"{node.id}\t{node.title}"
        if node.extensions and node.element.find("diag") is None:
            stem = node.id.replace(".", "").ljust(6, "X")
            chars = "".join(char for char, _ in node.extensions if stem + char in exists)
            line += f"\t{tables.index(node.extensions)}\t{chars}" if chars else ""
        lines.append(line)
    text = "\n".join([json.dumps(head, ensure_ascii=False, sort_keys=True), *lines])
    notes = {id_: found for id_, element in noted if (found := _notes(element, order))}
    excludes = {
        kind: [[id_, *note] for id_, found in notes.items() for note in found.pop(kind, ())]
        for kind in ("excludes1", "excludes2")
    }
    return {
        "codes.txt.gz": gzip.compress(text.encode(), 9, mtime=0),
        "excludes.json.gz": _packed(excludes),
        "notes.json.gz": _packed({id_: found for id_, found in notes.items() if found}),
    }


def _packed(content: object) -> bytes:
    text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return gzip.compress(text.encode(), 9, mtime=0)


def _source() -> tuple[Path, Path]:
    """The package's XML and code list, found without importing it."""
    spec = importlib.util.find_spec("simple_icd_10_cm")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("simple-icd-10-cm is not installed: install the development dependencies first.")
    data = Path(spec.submodule_search_locations[0]) / "data"
    tabular, listed = sorted(data.glob("*tabular*.xml")), sorted(data.glob("code-list*.txt"))
    if len(tabular) != 1 or len(listed) != 1:
        raise DataError("simple-icd-10-cm does not carry exactly one tabular and one code list: use version 1.5.0.")
    return tabular[0], listed[0]


def _release(root: ET.Element, tabular: Path) -> str:
    named = re.search(r"-([A-Z][a-z]+)-\d+-(\d{4})", tabular.stem)
    if named is None:
        raise DataError("The tabular's file name does not say its month: the release cannot be named.")
    return f"ICD-10-CM FY{_text(root, 'version')} ({named[1]} {named[2]})"


def _walk(diag: ET.Element, inherited: tuple[tuple[str, str], ...]) -> Iterator[_Node]:
    """`diag` and all below it; a 7th-character table holds for all below unless they have their own."""
    own = diag.find("sevenChrDef")
    if own is not None:
        inherited = tuple((ext.attrib["char"], " ".join((ext.text or "").split())) for ext in own.findall("extension"))
    yield _Node(_text(diag, "name"), _text(diag, "desc"), diag, inherited)
    for child in diag.findall("diag"):
        yield from _walk(child, inherited)


def _notes(element: ET.Element, order: dict[str, int]) -> dict[str, list[list[object]]]:
    """The node's own notes by kind: [text] or [text, ranges]."""
    found: dict[str, list[list[object]]] = {}
    for tag, kind in _NOTE_TAGS.items():
        for group in element.findall(tag):
            for note in group.findall("note"):
                text = " ".join((note.text or "").split())
                if text:
                    ranges = parse_codes(text, order) if kind in _WITH_CODES else ()
                    found.setdefault(kind, []).append([text, list(ranges)] if ranges else [text])
    return found


def _text(element: ET.Element, tag: str) -> str:
    return " ".join((element.findtext(tag) or "").split())


if __name__ == "__main__":
    sys.exit(main())
