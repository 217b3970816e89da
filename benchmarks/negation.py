"""Negated, historical, another person's: our cues beside stock medspaCy ConText, on sentences with a marked condition.

    python benchmarks/negation.py [FILE.jsonl] [--part work|held|all] [--errors KIND]

Each line of FILE holds `id`, `condition`, `sentence` (with the condition in capitals), `negation` (Negated, Affirmed),
`temporality` (Historical, …) and `experiencer` (Patient, …): the NegEx/ConText test kit. Both readers get the same
sentence and the same span in the same run, the condition in the case it was written in; for stock ConText the whole
line is one sentence. A third of the lines, by a hash of their ids, was set aside unread when the cues were written:
both parts are reported. `--errors` lists what ours gets wrong in the part that was worked on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy
from loguru import logger
from spacy.tokens import Span

from notegap.extract import Extractor
from notegap.knowledge import load_knowledge

# PyRuSH, which medspaCy imports, logs every token it sees to stderr.
logger.disable("PyRuSH")

FILE = Path(__file__).resolve().parents[2] / "shared" / "corpus" / "negation" / "dev.jsonl"
KINDS = ("negated", "historical", "family")
MARKS = {"negated": 0.96, "historical": 0.80}
"""The F1 to reach."""


@dataclass(frozen=True, slots=True)
class Case:
    """A sentence, where its condition stands in it, and what is said of it."""

    id: str
    text: str
    start: int
    end: int
    gold: frozenset[str]

    @property
    def held(self) -> bool:
        """Whether it belongs to the third set aside."""
        return int(hashlib.sha1(self.id.encode(), usedforsecurity=False).hexdigest(), 16) % 3 == 0


Reader = Callable[[Case], frozenset[str]]


def read_cases(path: Path) -> list[Case]:
    """The labelled sentences of `path`; a condition that does not stand in its sentence is an error."""
    return [_case(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _case(row: dict[str, str]) -> Case:
    text, words = row["sentence"], row["condition"].split()
    # A few conditions run past the end of their sentence: then as much of the condition as stands in it.
    spaced = [r"\s*".join(re.escape(c) for c in "".join(words[:n])) for n in range(len(words), 0, -1)]
    found = next((m for pattern in spaced if (m := _in_capitals(pattern, text))), None)
    if found is None:
        raise ValueError(f"{row['id']}: the condition does not stand in the sentence")
    start, end = found.span()
    condition = row["condition"] if len(row["condition"]) == end - start else text[start:end].lower()
    says = {
        "negated": row["negation"] == "Negated",
        "historical": row["temporality"] == "Historical",
        "family": row["experiencer"] != "Patient",
    }
    gold = frozenset(kind for kind, is_said in says.items() if is_said)
    return Case(row["id"], text[:start] + condition + text[end:], start, end, gold)


def _in_capitals(pattern: str, text: str) -> re.Match[str] | None:
    """The last match that is written in capitals (the first may be a heading), else the last."""
    matches = list(re.finditer(pattern, text, re.IGNORECASE))
    return next((m for m in reversed(matches) if m.group() == m.group().upper()), matches[-1] if matches else None)


def ours() -> Reader:
    """What notegap's cues say."""
    extractor = Extractor(load_knowledge())
    return lambda case: extractor.said_of(case.text, [(case.start, case.end)])[0]


def stock() -> Reader:
    """What medspaCy's ConText says with its own rules and tokenizer."""
    with warnings.catch_warnings():
        # The import silences every warning of the process; the empty matchers inside are no fault of ours.
        warnings.filterwarnings("ignore", message=r".*W036.*")
        from medspacy.context import ConText
        from medspacy.custom_tokenizer import create_medspacy_tokenizer

        nlp = spacy.blank("en")
        nlp.tokenizer = create_medspacy_tokenizer(nlp)
        context: Any = ConText(nlp)

    def read(case: Case) -> frozenset[str]:
        doc = nlp.make_doc(case.text)
        for token in doc:
            token.is_sent_start = token.i == 0
        span = doc.char_span(case.start, case.end, label="CONDITION", alignment_mode="expand")
        assert isinstance(span, Span)
        doc.ents = [span]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*W036.*")
            context(doc)
        flags = doc.ents[0]._
        said = {"negated": flags.is_negated, "historical": flags.is_historical, "family": flags.is_family}
        return frozenset(kind for kind, is_said in said.items() if is_said)

    return read


def figures(cases: Sequence[Case], said: Sequence[frozenset[str]], kind: str) -> tuple[float, float, float, int]:
    """Precision, recall, F1 and how many cases are labelled `kind`."""
    right = sum(kind in case.gold and kind in s for case, s in zip(cases, said, strict=True))
    found = sum(kind in s for s in said)
    gold = sum(kind in case.gold for case in cases)
    precision, recall = right / found if found else 0.0, right / gold if gold else 0.0
    return precision, recall, 2 * right / (found + gold) if found + gold else 0.0, gold


def main() -> int:
    """Print the table; 1 when a mark is missed on all lines asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=FILE)
    parser.add_argument("--part", choices=("work", "held", "all"), default="all")
    parser.add_argument("--errors", choices=KINDS)
    options = parser.parse_args()
    cases = [c for c in read_cases(options.file) if options.part in ("all", "held" if c.held else "work")]
    readers = {"notegap": ours(), "stock ConText": stock()}
    said = {name: [read(case) for case in cases] for name, read in readers.items()}
    if options.errors:
        for case, s in zip(cases, said["notegap"], strict=True):
            if not case.held and (options.errors in s) != (options.errors in case.gold):
                marked = f"{case.text[: case.start]}[{case.text[case.start : case.end]}]{case.text[case.end :]}"
                print(f"{'+' if options.errors in s else '-'} {case.id}: {' '.join(marked.split())}")
    missed = False
    print(f"{'':8}{'':14}{'':12}{'P':>7}{'R':>7}{'F1':>7}{'cases':>8}")
    for part in ("work", "held", "all") if options.part == "all" else (options.part,):
        chosen = [i for i, case in enumerate(cases) if part in ("all", "held" if case.held else "work")]
        for name in readers:
            for kind in KINDS:
                p, r, f1, gold = figures([cases[i] for i in chosen], [said[name][i] for i in chosen], kind)
                below = name == "notegap" and part == options.part and f1 < MARKS.get(kind, 0.0)
                missed = missed or below
                mark = "  below the mark" if below else ""
                print(f"{part:8}{name:14}{kind:12}{p:7.3f}{r:7.3f}{f1:7.3f}{gold:8}{mark}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
