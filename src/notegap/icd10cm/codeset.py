"""The ICD-10-CM code set, as the tabular has it: what exists, what is billable, sites, notes both ways.

The compiled data is read on first use, its notes only when a note is asked for.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from notegap.errors import DataError, UsageError
from notegap.icd10cm.ranges import covers, dotted
from notegap.icd10cm.sites import MULTIPLE, UNSPECIFIED, axis_of, is_spinal, titled_site, worded_site

# The second character is a digit, or A (QA0); typed as a letter O or I, `meant` reads it as the digit.
_SHAPE = re.compile(r"[A-Z][0-9AOIL][0-9A-Z](?:\.?[0-9A-Z]{1,4})?")
_MANY = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One node of the tabular: a chapter ("CH13"), a block ("M50-M54"), a category, a subcategory or a code.

    `valid`: it is a code of the tabular (a header too), not a chapter or block. `billable`: it may be reported as
    it stands. `needs_seventh`: it may be reported once a 7th character is added; `seventh` says which and what
    they mean. `ancestors` run from the parent up to the chapter.
    """

    code: str
    title: str
    valid: bool
    billable: bool
    needs_seventh: bool
    parent: str | None
    children: tuple[str, ...]
    ancestors: tuple[str, ...]
    seventh: Mapping[str, str] = field(hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A note of the tabular: its words, the codes it names (ranges, see `in_range`), the node it stands at."""

    text: str
    codes: tuple[str, ...]
    at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExcludesNote(Instruction):
    """An Excludes note that concerns a code. `reverse`: it stands elsewhere (`at`) and points at the code."""

    reverse: bool


def normalize(code: str) -> str:
    """`code` dotted and upper-case: "m532x6" → "M53.2X6", "M53.2-" → "M53.2".

    Raises UsageError for a text that is not shaped like an ICD-10-CM code; the code need not exist.
    """
    text = code.strip().upper().rstrip("-_").rstrip(".")
    bare = text.replace(".", "")
    if not _SHAPE.fullmatch(text) or not any(char.isdigit() for char in bare):
        shown = f"{code.strip()!r} is" if len(code) <= _MANY else f"A text of {len(code)} characters is"
        raise UsageError(f"{shown} not an ICD-10-CM code: codes look like M24.28 or M53.2X6.")
    return dotted(bare)


class CodeSet:
    """The codes of one release. Get it with `load()`; every method takes a code as `normalize` gives it or not."""

    def __init__(self, data: Path) -> None:
        """`data` is the directory of the files compile.py writes."""
        head, *lines = _read(data / "codes.txt.gz").split("\n")
        facts: dict[str, Any] = json.loads(head)
        self.release: str = facts["release"]
        self._lines = lines
        self._data = data
        self._seventh: list[dict[str, str]] = facts["seventh"]
        self._titles: dict[str, str] = dict(facts["chapters"])
        self._above: dict[str, str] = {}
        self._below: dict[str, list[str]] = {id_: [] for id_ in self._titles}
        for block, title, chapter in facts["blocks"]:
            self._titles[block] = title
            self._above[block] = chapter
            self._below[chapter].append(block)
            self._below[block] = []
        for category, block in facts["categories"]:
            self._above[category] = block
            self._below[block].append(category)
        self._order = {category: place for place, (category, _) in enumerate(facts["categories"])}

    # ── what a code is ──────────────────────────────────────────────────────────────────────────

    def get(self, code: str) -> Code | None:
        """The code, or None when the tabular has no such code."""
        return self._get(normalize(code))

    def node(self, node_id: str) -> Code | None:
        """Like `get`, for chapters ("CH13") and blocks ("M50-M54") too."""
        if node_id not in self._titles:
            return self._get(normalize(node_id))
        above = self._above.get(node_id)
        return Code(
            code=node_id,
            title=self._titles[node_id],
            valid=False,
            billable=False,
            needs_seventh=False,
            parent=above,
            children=tuple(self._below[node_id]),
            ancestors=(above,) if above else (),
            seventh=MappingProxyType({}),
        )

    def title(self, node_id: str) -> str:
        """The title of a code, block or chapter; "" when there is none."""
        found = self.node(node_id)
        return found.title if found else ""

    def leaves(self, code: str) -> tuple[str, ...]:
        """The billable codes at and below `code`, 7th characters included, in order."""
        found = self.get(code)
        if found is None:
            return ()
        if found.billable:
            return (found.code,)
        return tuple(leaf for child in found.children for leaf in self.leaves(child))

    def has_under(self, prefix: str) -> bool:
        """Whether a code begins with `prefix`, dotted; it need not be a node itself ("M0", "S1", "C")."""
        place = bisect_left(self._lines, prefix)
        return place < len(self._lines) and self._lines[place].startswith(prefix)

    def _get(self, code: str) -> Code | None:
        place = self._place(code)
        if place is None:
            return self._with_seventh(code)
        _, title, *extension = self._lines[place].split("\t")
        seventh = {char: self._seventh[int(extension[0])][char] for char in extension[1]} if extension else {}
        children = tuple(self._children(place, code)) or tuple(_extended(code, char) for char in seventh)
        above = self._ancestors(code)
        return Code(
            code=code,
            title=title,
            valid=True,
            billable=not children,
            needs_seventh=bool(seventh),
            parent=above[0],
            children=children,
            ancestors=above,
            seventh=MappingProxyType(seventh),
        )

    def _with_seventh(self, code: str) -> Code | None:
        """S13.4XXA, which stands in no list: its stem S13.4 and the meaning of A."""
        if len(code) != 8:
            return None
        for stem in (code[:7], *(code[:end] for end in (6, 5, 3) if set(code[max(end, 4) : 7]) == {"X"})):
            place = self._place(stem)
            if place is None:
                continue
            found = self._get(stem)
            if found is None or code[7] not in found.seventh:
                return None
            return Code(
                code=code,
                title=f"{found.title}, {found.seventh[code[7]]}",
                valid=True,
                billable=True,
                needs_seventh=False,
                parent=stem,
                children=(),
                ancestors=(stem, *found.ancestors),
                seventh=MappingProxyType({}),
            )
        return None

    def _place(self, code: str) -> int | None:
        place = bisect_left(self._lines, code + "\t")
        return place if place < len(self._lines) and self._lines[place].startswith(code + "\t") else None

    def _children(self, place: int, code: str) -> Iterator[str]:
        last = "\t"
        for line in self._below_lines(place, code):
            if not line.startswith(last):
                last = line.partition("\t")[0]
                yield last

    def _below_lines(self, place: int, code: str) -> Iterator[str]:
        for at in range(place + 1, len(self._lines)):
            if not self._lines[at].startswith(code):
                return
            yield self._lines[at]

    def _ancestors(self, code: str) -> tuple[str, ...]:
        """From the parent to the chapter; every parent is one character shorter, which compile.py checks."""
        above = [code[:end].rstrip(".") for end in range(len(code) - 1, 2, -1) if code[end - 1] != "."]
        block = self._above[code[:3]]
        return (*above, block, self._above[block])

    # ── sites ───────────────────────────────────────────────────────────────────────────────────

    def site_axis(self, family: str) -> Mapping[str, str]:
        """Site → code of the family: the regions of `model.REGIONS`, "unspecified", "multiple" (M99: OTHER_SITES).

        `family` is a stem (M53.2, M53.2X) or any of its codes. Empty when titles tell no site apart (M24.2). A site
        with codes below it (M48.06) gives that stem.
        """
        return self._axis(normalize(family))

    @cache  # noqa: B019 - one CodeSet lives as long as the process
    def _axis(self, family: str) -> Mapping[str, str]:
        found = self._get(family)
        if found is None:
            stem = self._existing_stem(family)
            return self._axis(stem) if stem else MappingProxyType({})
        if len(found.children) == 1 and not found.seventh:
            return self._axis(found.children[0])
        axis = {} if found.seventh else axis_of((child, self.title(child)) for child in found.children)
        if not axis and found.parent is not None and "-" not in found.parent:
            above = self._get(found.parent)
            if above is not None and len(above.children) > 1:
                return self._axis(found.parent)
        return MappingProxyType(axis)

    def at_site(self, stem: str, region: str) -> str:
        """The code of `stem`'s family for `region`, or the stem itself when the family has none for it.

        A 7th character is kept: M48.46XA in the cervical region is M48.42XA.
        """
        code = normalize(stem)
        found = self._axis(code).get(region)
        if found is None:
            return code
        extended = _extended(found, code[7]) if len(code) == 8 else ""
        return extended if extended and self._get(extended) is not None else found

    def region_of(self, code: str) -> str | None:
        """The site `code` stands for: a name of `model.REGIONS`, "unspecified", "multiple", one of OTHER_SITES.

        None when its title, and those above it, name no site or several.
        """
        found = self.get(code)
        if found is None or not (is_spinal(found.code) or self._axis(found.code)):
            return None
        titles = [found.title, *(self.title(id_) for id_ in found.ancestors if "-" not in id_ and len(id_) > 4)]
        for title in titles:
            site = titled_site(title)
            site = site or (worded_site(title) if is_spinal(found.code) else None)
            if site:
                return site
        return None

    # ── notes ───────────────────────────────────────────────────────────────────────────────────

    def in_range(self, code: str, written: str) -> bool:
        """Whether `code` lies in a range as the tabular writes it: "A18.01", "M24.2-", "M40-M54", "M23.5-M23.8X9"."""
        return covers(written, normalize(code), self._order)

    def excludes1(self, code: str) -> tuple[ExcludesNote, ...]:
        """What may not be coded with `code`: notes at it and above it, then notes elsewhere that point at it."""
        return self._excludes(normalize(code), "excludes1")

    def excludes2(self, code: str) -> tuple[ExcludesNote, ...]:
        """What `code` does not include but may stand beside it: notes at it and above it, then notes elsewhere."""
        return self._excludes(normalize(code), "excludes2")

    def excludes1_between(self, code: str, other: str) -> tuple[ExcludesNote, ...]:
        """The Excludes1 notes that forbid both codes together; `reverse` when it stands at `other`'s side."""
        return self._between(code, other, reverse=False) + self._between(other, code, reverse=True)

    def code_first(self, code: str) -> tuple[Instruction, ...]:
        """The "code first" lines at `code` and above it; lines without codes ("such as:") included."""
        return self._inherited(code, "code_first")

    def use_additional(self, code: str) -> tuple[Instruction, ...]:
        """The "use additional code" lines at `code` and above it."""
        return self._inherited(code, "use_additional")

    def code_also(self, code: str) -> tuple[Instruction, ...]:
        """The "code also" lines at `code` and above it."""
        return self._inherited(code, "code_also")

    def inclusion_terms(self, code: str) -> tuple[Instruction, ...]:
        """Terms the code is used for: "includes" and inclusion terms at `code` and above it."""
        return self._inherited(code, "inclusion") + self._inherited(code, "includes")

    def notes(self, code: str) -> tuple[Instruction, ...]:
        """Other notes at `code` and above it, those on 7th characters included."""
        return self._inherited(code, "notes") + self._inherited(code, "seventh")

    def is_manifestation(self, code: str) -> bool:
        """Whether `code` is a manifestation ("… in diseases classified elsewhere"): never first, never alone."""
        found = self.get(code)
        if found is None:
            return False
        titles = [found.title, *(self.title(id_) for id_ in found.ancestors if "-" not in id_ and id_[:2] != "CH")]
        return any(_is_manifestation_title(title) for title in titles)

    def _inherited(self, code: str, kind: str) -> tuple[Instruction, ...]:
        return tuple(
            Instruction(text=text, codes=_codes(codes), at=at)
            for at in self._self_and_above(normalize(code))
            for text, *codes in self._notes.get(at, {}).get(kind, ())
        )

    @cache  # noqa: B019 - one CodeSet lives as long as the process
    def _excludes(self, code: str, kind: str) -> tuple[ExcludesNote, ...]:
        line = self._self_and_above(code)
        own = tuple(note for at in line for note in self._excludes_at.get((at, kind), ()))
        elsewhere = tuple(
            replace(note, reverse=True)
            for (at, of), notes in self._excludes_at.items()
            if of == kind and at not in line
            for note in notes
            if any(covers(written, code, self._order) for written in note.codes)
        )
        return own + elsewhere

    def _between(self, code: str, other: str, *, reverse: bool) -> tuple[ExcludesNote, ...]:
        code, other = normalize(code), normalize(other)
        return tuple(
            replace(note, reverse=reverse)
            for at in self._self_and_above(code)
            for note in self._excludes_at.get((at, "excludes1"), ())
            if any(covers(written, other, self._order) for written in note.codes)
            # A note that covers both is about neither of them against the other.
            and not any(covers(written, code, self._order) for written in note.codes)
        )

    def _self_and_above(self, code: str) -> tuple[str, ...]:
        found = self._get(code)
        if found is None:
            # A code that does not exist still belongs to its family: M43.29 to M43.2.
            stem = self._existing_stem(code)
            found = self._get(stem) if stem else None
        return (found.code, *found.ancestors) if found else ()

    @cached_property
    def _notes(self) -> dict[str, dict[str, list[list[Any]]]]:
        """The notes that are no Excludes, by node and kind: [text] or [text, codes]."""
        read: dict[str, dict[str, list[list[Any]]]] = json.loads(_read(self._data / "notes.json.gz"))
        return read

    @cached_property
    def _excludes_at(self) -> dict[tuple[str, str], list[ExcludesNote]]:
        """The Excludes notes by node and kind."""
        read: dict[str, list[list[Any]]] = json.loads(_read(self._data / "excludes.json.gz"))
        found: dict[tuple[str, str], list[ExcludesNote]] = {}
        for kind, rows in read.items():
            for at, text, *codes in rows:
                note = ExcludesNote(text=text, codes=_codes(codes), at=at, reverse=False)
                found.setdefault((at, kind), []).append(note)
        return found

    # ── what was meant ──────────────────────────────────────────────────────────────────────────

    def problem(self, code: str) -> str | None:
        """One sentence on why `code` cannot be reported as it stands, or None when it can."""
        code = normalize(code)
        found = self._get(code)
        if found is None:
            stem = self._existing_stem(code)
            said = f"{code} does not exist in {self.release}"
            axis = self._axis(stem) if stem else {}
            if stem and axis and MULTIPLE not in axis and code[-1] == "9" and UNSPECIFIED in axis:
                return f"{said}: {stem} has no code for multiple sites, each region has its own."
            return f"{said}."
        if found.billable:
            return None
        if found.seventh:
            chars = ", ".join(found.seventh)
            return f"{code} cannot be reported as it stands: it needs a 7th character ({chars})."
        return f"{code} cannot be reported as it stands: it is a header, its codes have more characters."

    def meant(self, code: str) -> tuple[str, ...]:
        """The codes probably meant by one that does not exist or is not billable, nearest first, at most twelve.

        Empty when `code` is billable or nothing comes near. Where more than twelve codes lie below a header, the
        headers one level down are given.
        """
        code = normalize(code)
        found = self._get(code)
        if found is not None and found.billable:
            return ()
        # A swap of two characters is only likely where the code as typed has nothing to do with the spine.
        typos = () if is_spinal(code) else self._typos(code)
        if found is not None:
            return _first(typos + self._some_below(found.code))
        digits = code[0] + code[1:].translate(str.maketrans("OIL", "011"))
        if digits != code and self._get(digits) is not None:
            return _first((digits,) if self._billable(digits) else self._some_below(digits))
        placed = self._placeholder(code)
        if placed and titled_site(self.title(placed[0])) not in (UNSPECIFIED, MULTIPLE):
            return _first(placed)
        stem = self._existing_stem(code)
        if stem is None:
            return _first(typos or self._one_off(code))
        near = self._some_below(stem)
        unspecified = tuple(leaf for leaf in near if titled_site(self.title(leaf)) == UNSPECIFIED)
        return _first(typos + placed + unspecified + near)

    def _some_below(self, code: str) -> tuple[str, ...]:
        """The billable codes below, or where they are too many the headers one level down."""
        leaves = self.leaves(code)
        if len(leaves) <= _MANY:
            return leaves
        found = self._get(code)
        while found is not None and len(found.children) == 1:
            found = self._get(found.children[0])
        return found.children if found else ()

    def _existing_stem(self, code: str) -> str | None:
        """The longest beginning of `code` the tabular has: M43.2 for M43.29."""
        for end in range(len(code) - 1, 2, -1):
            if self._place(code[:end]) is not None:
                return code[:end]
        return None

    def _placeholder(self, code: str) -> tuple[str, ...]:
        """M53.26 → M53.2X6, S13.4A → S13.4XXA: placeholders left out, or one too many."""
        bare = code.replace(".", "")
        stem, last = bare[:-1].rstrip("X"), bare[-1]
        tried = [dotted(stem + "X" * count + last) for count in range(4) if len(stem) + count < 7]
        return tuple(guess for guess in tried if len(stem) >= 3 and guess != code and self._billable(guess))

    def _typos(self, code: str) -> tuple[str, ...]:
        """Billable spinal codes with two neighbouring characters the other way round: M24.82 → M24.28."""
        bare = code.replace(".", "")
        swapped = [bare[:i] + bare[i + 1] + bare[i] + bare[i + 2 :] for i in range(1, len(bare) - 1)]
        guesses = [dotted(guess) for guess in swapped if guess != bare]
        placed = [guess for swap in guesses for guess in self._placeholder(swap)]
        return tuple(guess for guess in guesses + placed if is_spinal(guess) and self._billable(guess))

    def _one_off(self, code: str) -> tuple[str, ...]:
        """Billable spinal codes of the same length with one character different."""
        chars = "0123456789AXDS"
        guesses = [code[:i] + char + code[i + 1 :] for i in range(1, len(code)) if code[i] != "." for char in chars]
        return tuple(guess for guess in guesses if is_spinal(guess) and self._billable(guess))

    def _billable(self, code: str) -> bool:
        found = self._get(code) if _SHAPE.fullmatch(code) else None
        return found is not None and found.billable

    # ── search ──────────────────────────────────────────────────────────────────────────────────

    def search(self, text: str, *, limit: int = 50) -> tuple[Code, ...]:
        """Codes that start with `text`, else those whose title has all its words; spinal ones first.

        A word stands for every word that begins with it; plural endings are forgiven. When no spinal title has all
        words, inclusion terms are searched too ("ossification of posterior longitudinal ligament").
        """
        wanted = text.strip()
        if not wanted:
            return ()
        bare = wanted.upper().rstrip("-").replace(".", "")
        if re.fullmatch(r"[A-Z][0-9A][0-9A-Z]{0,5}", bare):
            return self._found(self._starting(dotted(bare)), limit)
        words = [_word_start(word) for word in re.findall(r"\w+", wanted.lower())]
        patterns = [re.compile(rf"\b{re.escape(word)}", re.IGNORECASE) for word in words]
        if not patterns:
            return ()
        matches = [
            code
            for code, title, *_ in (line.split("\t", 2) for line in self._lines if _has(line, words))
            if all(pattern.search(title) for pattern in patterns)
        ]
        if not any(is_spinal(code) for code in matches):
            matches += [
                at
                for at, kinds in self._notes.items()
                if at not in self._titles
                for text, *_ in (*kinds.get("inclusion", ()), *kinds.get("includes", ()))
                if _has(text, words) and all(pattern.search(text) for pattern in patterns)
            ]
        return self._found(matches, limit)

    def _starting(self, prefix: str) -> list[str]:
        place = bisect_left(self._lines, prefix)
        found = []
        while place < len(self._lines) and self._lines[place].startswith(prefix):
            found.append(self._lines[place].partition("\t")[0])
            place += 1
        if len(found) <= 1:
            # One leaf, or none because the text reaches into the placeholders: show its 7th characters.
            stem = found[0] if found else prefix.rstrip("X")
            node = self._get(prefix) or (self._get(stem) if self._place(stem) is not None else None)
            found += [child for child in node.children if child.startswith(prefix)] if node else []
            found += [node.code] if node and not found and node.code == prefix else []
        return found

    def _found(self, codes: list[str], limit: int) -> tuple[Code, ...]:
        ordered = sorted(dict.fromkeys(codes), key=lambda code: not is_spinal(code))[:limit]
        return tuple(found for code in ordered if (found := self._get(code)) is not None)


@cache
def load() -> CodeSet:
    """The code set notegap ships; read once. Raises DataError when its files are missing or damaged."""
    return CodeSet(Path(__file__).parent / "data")


def _read(file: Path) -> str:
    try:
        return gzip.decompress(file.read_bytes()).decode()
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"The compiled code set ({file.name}) is missing or damaged: install notegap again, "
            "or run `make icd10cm` in a checkout."
        ) from error


def _codes(codes: list[list[str]]) -> tuple[str, ...]:
    return tuple(codes[0]) if codes else ()


def _has(text: str, words: list[str]) -> bool:
    lower = text.lower()
    return all(word in lower for word in words)


def _extended(stem: str, char: str) -> str:
    return dotted(stem.replace(".", "").ljust(6, "X") + char)


def _is_manifestation_title(title: str) -> bool:
    lower = title.lower()
    return "as the cause of" not in lower and bool(
        re.search(r"\bin\b.*\bdiseases?\b.*(?<!not )\bclassified elsewhere", lower)
    )


def _word_start(word: str) -> str:
    """The part of a word its singular and plural share: "instability" and "instabilities" both begin so."""
    for ending in ("ies", "es", "is", "y", "s"):
        if len(word) - len(ending) >= 4 and word.endswith(ending):
            return word[: -len(ending)]
    return word


def _first(codes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(codes))[:_MANY]
