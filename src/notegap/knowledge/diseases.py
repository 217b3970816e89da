"""The diseases of the tabular that can make a spine ill, with the names it gives them: a list built by `make models`.

    python -m notegap.knowledge.diseases

models/diseases.yaml says which parts of the tabular to take; names are the titles and the inclusion terms there, each
written as a note could write it. The same tabular gives the same bytes. What checks a note only reads the list.
"""

from __future__ import annotations

import gzip
import re
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from notegap.errors import DataError
from notegap.icd10cm import CodeSet, load
from notegap.knowledge import nodes
from notegap.knowledge.load import shipped_root

SELECTION, LIST = "diseases.yaml", "diseases.tsv.gz"

# "Amyloidosis, unspecified", "Histiocytosis NOS": a note says the name alone.
_TAIL = re.compile(
    r",? \(?(?:NOS|unspecified(?: (?:type|form|site|organism))?|not elsewhere classified|NEC)\)?$", re.IGNORECASE
)
_HEAD = re.compile(r"^(?:unspecified|other and unspecified) ", re.IGNORECASE)
# One name with what comes with it, or without: letters are too alike to tell such names apart.
_MORE = re.compile(
    r"\b(?:with|without|not|non|due to|in|following|resulting|from|caused|associated|related|secondary to|other|others"
    r"|unspecified|specified|elsewhere|classifiable|except|sequelae|history|carrier|complicating|and|or|during|after|by"
    r"|stage|initial|subsequent|encounter|right|left|bilateral)\b",
    re.IGNORECASE,
)
_PARENTHESES = re.compile(r"\s*\([^()]*\)")
_BRACKETS = re.compile(r"\s*\[([^\[\]]*)\]")
_FEWEST_LETTERS, _MOST_LETTERS, _MOST_WORDS = 6, 60, 6


@dataclass(frozen=True, slots=True)
class Disease:
    """A code, its title and the names the tabular has for it."""

    code: str
    title: str
    names: tuple[str, ...]


@cache
def diseases() -> tuple[Disease, ...]:
    """The list as it is shipped. Raises DataError when it is missing or damaged."""
    file = shipped_root("models") / LIST
    if not file.is_file():
        raise DataError(f"models/{LIST} is missing; install notegap again, or run 'make models' in a checkout")
    try:
        text = gzip.decompress(file.read_bytes()).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"models/{LIST} is damaged ({type(error).__name__}); install notegap again") from error
    rows = (line.split("\t") for line in text.splitlines()[1:])
    return tuple(Disease(code, title, tuple(names)) for code, title, *names in rows)


def build(selection: Path, codes: CodeSet) -> bytes:
    """The bytes of the list: a line with the release, then one for each code: code, title, names."""
    view = nodes.compose(selection.read_text(encoding="utf-8"), selection.name)
    fields = nodes.mapping(view, required=("take", "leave_out", "no_names"))
    take, leave_out = nodes.texts(fields["take"]), nodes.texts(fields["leave_out"])
    no_names = frozenset(name.lower() for name in nodes.texts(fields["no_names"]))
    taken: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for code in _walk(codes):
        if not any(codes.in_range(code, written) for written in take):
            continue
        if any(codes.in_range(code, written) for written in leave_out) or codes.is_manifestation(code):
            continue
        for name in _names(code, codes):
            key = name.lower()
            # A name that stands at a category stands for what is below it too.
            if key in no_names or (key in owner and code.startswith(owner[key])):
                continue
            owner[key] = code
            taken.setdefault(code, []).append(name)
    rows = ["\t".join([code, codes.title(code), *sorted(set(names))]) for code, names in sorted(taken.items())]
    return gzip.compress("\n".join([codes.release, *rows, ""]).encode(), 9, mtime=0)


def _walk(codes: CodeSet) -> Iterator[str]:
    """Every code of the tabular up to six characters, those above before those below."""

    def below(node_id: str) -> Iterator[str]:
        node = codes.node(node_id)
        if node is None or (len(node_id.replace(".", "")) > 6 and node.valid):
            return
        if node.valid:
            yield node_id
        for child in () if node.seventh else node.children:
            yield from below(child)

    for chapter in range(1, 18):
        yield from below(f"CH{chapter:02d}")


def _names(code: str, codes: CodeSet) -> Iterator[str]:
    """What the tabular calls the disease of `code`, each as a note could write it."""
    found = codes.get(code)
    assert found is not None
    above = codes.title(found.parent) if found.parent else ""
    if not found.title.startswith((f"{above},", f"{above} of ")):
        yield from _written(found.title)
    for term in codes.inclusion_terms(code):
        if term.at == code:
            yield from _written(term.text)


def _written(term: str) -> Iterator[str]:
    """`term` without what only the tabular writes; nothing when the name cannot stand without it."""
    bare = _HEAD.sub("", _TAIL.sub("", _PARENTHESES.sub("", term))).strip(" ,;:")
    # In brackets stands another name, or, as one word, what a factor is called: "[stable]".
    variants = [_BRACKETS.sub("", bare), *(other for other in _BRACKETS.findall(bare) if " " in other.strip())]
    for variant in variants:
        name = " ".join(_TAIL.sub("", variant).split()).strip(" ,-")
        letters = sum(char.isalpha() for char in name)
        if _FEWEST_LETTERS <= letters <= _MOST_LETTERS and len(name.split()) <= _MOST_WORDS and not _MORE.search(name):
            yield name


def main() -> int:
    """Write the list and say how large it is."""
    folder = shipped_root("models")
    content = build(folder / SELECTION, load())
    (folder / LIST).write_bytes(content)
    rows = gzip.decompress(content).decode().splitlines()[1:]
    names = sum(row.count("\t") - 1 for row in rows)
    sys.stdout.write(f"models/{LIST}: {len(rows):,} codes, {names:,} names, {len(content):,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
