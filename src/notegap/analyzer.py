"""The whole flow of one note, top to bottom."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from notegap.assess import assess, pointers
from notegap.errors import NoteError, UsageError
from notegap.icd10cm import CodeSet, load, normalize
from notegap.knowledge import load_knowledge
from notegap.model import FACTS, Assertion, CodeCheck, Knowledge, Mention, Note, Pointer, Report, Suggestion

if TYPE_CHECKING:
    from notegap.extract import Extractor

# A code as notes write it, with its dot: "M53.2X6", "S33.5XXA". Without one, "M54" could be anything.
_WRITTEN = re.compile(r"(?<![A-Za-z0-9.])[A-TV-Z][0-9][0-9A-Z]\.[0-9A-Z]{1,4}(?![A-Za-z0-9])")

_HALF = re.compile("[\ud800-\udfff]")

_PATIENTS = frozenset({Assertion.AFFIRMED, Assertion.UNCERTAIN, Assertion.HISTORICAL})
"""How a disease stands that the patient has, may have or had."""


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection while what lasts is built: it finds nothing and takes a tenth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Analyzer:
    """Reads notes and says what each still has to document before its codes are supported.

    Build it once: the pipeline takes about a second. `knowledge` defaults to the patterns/ and models/ shipped with
    notegap; `notegap.knowledge.load_knowledge([DIR])` adds a directory of one's own.
    """

    def __init__(self, knowledge: Knowledge | None = None) -> None:
        with _no_collection():
            self.knowledge = load_knowledge() if knowledge is None else knowledge
        self.codes: CodeSet = load()

    @cached_property
    def _extractor(self) -> Extractor:
        with _no_collection():
            from notegap.extract import Extractor

            return Extractor(self.knowledge)

    def analyze(self, note: Note) -> Report:
        """Say what `note` still has to document before each of its codes is supported.

        Without codes asked for, those written in the note are checked, else those its facts point to.

        Raises UsageError when a code is not shaped like one, NoteError when the text is no Unicode. A code that is well
        shaped and does not exist is no error: its check says so.
        """
        asked = tuple(dict.fromkeys(normalize(code) for code in note.codes))
        mentions = self.read(note)
        pointed = pointers(mentions, self.knowledge, self.codes)
        codes, chosen = self._choose(asked, note, pointed)
        checks = tuple(
            assess(self.knowledge.checklist(code), code, mentions, note, self.codes, self.knowledge.coding)
            for code in codes
        )
        facts = tuple(m for m in mentions if m.concept in FACTS)
        return Report(
            note=note,
            code_set=self.codes.release,
            mentions=facts,
            checks=checks,
            codes_from=chosen,
            suggestions=self._suggestions(note, mentions, checks),
            helpers=tuple(m for m in mentions if m.concept not in FACTS),
            points_to=pointed,
        )

    def prepare(self) -> None:
        """Do now what is else done when a note first calls for it: for whoever reads many, and wants none to wait."""
        self._extractor.prepare()

    def another(self) -> Analyzer:
        """An analyzer of the same knowledge with a pipeline of its own: to read in one thread while this one does."""
        return Analyzer(self.knowledge)

    def extract(self, note: Note) -> tuple[Mention, ...]:
        """Every fact `note` states of the published concepts, in text order, offsets into `note.text` as given."""
        return tuple(m for m in self.read(note) if m.concept in FACTS)

    def read(self, note: Note) -> tuple[Mention, ...]:
        """As `extract`, with the mentions of the concepts that only help to assess."""
        half = _HALF.search(note.text)
        if half is not None:
            # spaCy's own error would carry the words around it.
            raise NoteError(f"the note has half of a surrogate pair at character {half.start()}")
        return self._extractor.mentions(note.text)

    def _suggestions(
        self, note: Note, mentions: Sequence[Mention], checks: Sequence[CodeCheck]
    ) -> tuple[Suggestion, ...]:
        """What may be a disease the concepts have no name for, where an open item asks for one and none was read."""
        read = {(m.start, m.end) for m in mentions if m.concept == "disease" and m.assertion in _PATIENTS}
        findings = tuple(
            finding.id
            for check in checks
            for finding in check.findings
            if finding.status.is_gap
            and finding.item in self._suggesting(check.code)
            and not any((evidence.start, evidence.end) in read for evidence in finding.evidence)
        )
        if not findings:
            return ()
        return tuple(replace(s, findings=findings) for s in self._extractor.suggestions(note.text, mentions))

    def _suggesting(self, code: str) -> frozenset[str]:
        """The items of the checklist of `code` that take suggestions."""
        checklist = self.knowledge.checklist(code)
        return frozenset(r.id for r in checklist.requires if r.suggest) if checklist is not None else frozenset()

    def _choose(self, asked: Sequence[str], note: Note, pointed: Sequence[Pointer]) -> tuple[Sequence[str], str]:
        if asked:
            return asked, "asked"
        written = self._written(note.text)
        if written:
            return written, "note"
        return tuple(pointer.code for pointer in pointed), "facts" if pointed else "none"

    def _written(self, text: str) -> tuple[str, ...]:
        """The codes written in the note that a checklist covers, or that the code set knows."""
        found: dict[str, None] = {}
        for match in _WRITTEN.finditer(text):
            try:
                code = normalize(match.group())
            except UsageError:
                continue
            if self.knowledge.checklist(code) is not None or self.codes.get(code) is not None:
                found[code] = None
        return tuple(found)
