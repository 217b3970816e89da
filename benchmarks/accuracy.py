"""Accuracy on labelled notes: the tables of ../shared/tools/score.py, the errors by class, and benchmarks/accuracy.md.

    python benchmarks/accuracy.py [--write]                           every set of ../shared/corpus
    python benchmarks/accuracy.py --facts NOTES.jsonl GOLD.jsonl      any other labelled set
    python benchmarks/accuracy.py --gaps NOTES.jsonl
    python benchmarks/accuracy.py --errors not-found [--concept neuro]    list what is wrong, with the words around it

A third of the labelled notes, by a hash of their ids, was set aside unread when the rules were written; each table is
given for both parts. `--errors` lists the notes that were worked on only, so that the others stay unread. It prints
words of the notes: they are published or made up, none is a patient's of yours.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import negation

from notegap.analyzer import Analyzer
from notegap.audit import audit
from notegap.notes.document import RowError
from notegap.notes.inputs import read_notes
from notegap.notes.text import NoteOptions
from notegap.report import FORMATS, Page

SHARED = Path(__file__).resolve().parents[2] / "shared"
CORPUS = SHARED / "corpus"
PAGE = Path(__file__).with_name("accuracy.md")
PARTS = ("worked on", "set aside", "all")
CLASSES = ("not-found", "spurious", "assertion", "tie", "item")
# Read before the third was set aside.
READ_BEFORE = frozenset({"aci-D2N107", "mts-1986", "lmri-569", "lmri-132", "lmri-239", "lmri-516"})
AROUND = 60
"""Characters shown on either side of a quote."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Error:
    """One thing wrong: its class, what it is about, and where."""

    kind: str
    about: str
    note: str
    words: str


def set_aside(row: Row, number: int, kind: str) -> bool:
    """Whether the `number`th note (from 0) of a set of ../shared/corpus belongs to the third set aside."""
    seen = row["id"] in READ_BEFORE if kind == "facts" else number % 6 == 0
    return not seen and int(hashlib.sha1(f"split{row['id']}".encode(), usedforsecurity=False).hexdigest(), 16) % 3 == 0


def reports(analyzer: Analyzer, notes: Path) -> list[Row]:
    """The report of every note of `notes`, as `notegap audit --format jsonl` prints it; a failed note is an error."""
    rows = []
    for outcome in audit(read_notes(str(notes), NoteOptions()), analyzer.analyze):
        if isinstance(outcome, RowError):
            raise SystemExit(f"{outcome.where}: {outcome.message}")
        rows.append(json.loads(FORMATS["jsonl"](outcome, Page())))
    return rows


def score(kind: str, gold: Sequence[Row], said: Sequence[Row]) -> tuple[str, Row]:
    """What ../shared/tools/score.py prints, and its figures."""
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / n for n in ("gold.jsonl", "reports.jsonl", "figures.json")]
        for file, rows in zip(files, (gold, said), strict=False):
            file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        command = [sys.executable, str(SHARED / "tools" / "score.py"), kind, *map(str, files[:2])]
        done = subprocess.run(
            [*command, "--worst", "0", "--json", str(files[2])], check=True, capture_output=True, text=True
        )
        return done.stdout, json.loads(files[2].read_text(encoding="utf-8"))


def fact_errors(text: str, gold: Row, said: Row) -> Iterator[Error]:
    """What is wrong with the facts read in one note."""
    mentions = said["mentions"]
    want = {(f["concept"], f["value"], f["assertion"]): f for f in gold["facts"]}
    have = {(m["concept"], m["value"], m["assertion"]): m for m in reversed(mentions)}
    for (concept, value, assertion), fact in want.items():
        about = f"{concept} {value}"
        ours = sorted(a for c, v, a in have if (c, v) == (concept, value))
        regions = {r for m in mentions if (m["concept"], m["value"], m["assertion"]) == (concept, value, assertion)
                   for r in m["at"]}  # fmt: skip
        if not ours:
            yield Error("not-found", f"{about} {assertion}", gold["id"], fact["quote"])
        elif assertion not in ours:
            yield Error("assertion", f"{about} {assertion}, read as {', '.join(ours)}", gold["id"], fact["quote"])
        elif not set(fact.get("at") or ()) <= regions:
            tied = f"at {', '.join(fact['at'])}, tied to {', '.join(sorted(regions)) or 'none'}"
            yield Error("tie", f"{about} {tied}", gold["id"], fact["quote"])
    values = {key[:2] for key in want}
    for (concept, value, assertion), mention in have.items():
        where = slice(max(0, mention["start"] - AROUND), mention["end"] + AROUND)
        if (concept, value) not in values:
            yield Error("spurious", f"{concept} {value} {assertion}", gold["id"], text[where])
        elif (concept, value, assertion) not in want:
            gold_says = ", ".join(sorted(a for c, v, a in want if (c, v) == (concept, value)))
            yield Error("assertion", f"{concept} {value} {assertion}, labelled {gold_says}", gold["id"], text[where])


def gap_errors(text: str, gold: Row, said: Row) -> Iterator[Error]:
    """What is wrong with the checklist decided for one note."""
    check = next(c for c in said["checks"] if c["code"] == gold["code"])
    have = {f["id"].partition("/")[2]: f for f in check["findings"]}
    for item, want in gold["findings"].items():
        if item not in gold.get("debatable", ()) and have[item]["status"] != want:
            words = " / ".join(text[e["start"] : e["end"]] for e in have[item]["evidence"])
            yield Error("item", f"{gold['code']}/{item} {have[item]['status']}, labelled {want}", gold["id"], words)


def list_errors(errors: Iterable[Error], kind: str, concept: str) -> None:
    """Print the errors of one class, those that are alike together."""
    chosen = [e for e in errors if e.kind == kind and concept in e.about]
    count = Counter(e.about for e in chosen)
    for error in sorted(chosen, key=lambda e: (-count[e.about], e.about, e.note)):
        print(f"{error.about} [{error.note}]: {' '.join(error.words.split())}")


ERRORS: dict[str, Callable[[str, Row, Row], Iterator[Error]]] = {"facts": fact_errors, "gaps": gap_errors}


@dataclass(slots=True)
class Measured:
    """A labelled set, read: its figures by part and what is wrong in the part that was worked on."""

    kind: str
    figures: dict[str, Row]
    errors: list[Error]


def measure(analyzer: Analyzer, kind: str, notes: Path, gold: Path, *, split: bool) -> Measured:
    """Read `notes`, hold them against `gold` and print the tables. `split`: by the third set aside."""
    said, labels, texts = reports(analyzer, notes), _rows(gold), [row["text"] for row in _rows(notes)]
    aside = [split and set_aside(row, number, kind) for number, row in enumerate(labels)]
    chosen = {
        "worked on": [i for i, a in enumerate(aside) if not a],
        "set aside": [i for i, a in enumerate(aside) if a],
        "all": list(range(len(labels))),
    }
    figures = {}
    for part in PARTS if split else ("all",):
        table, figures[part] = score(kind, [labels[i] for i in chosen[part]], [said[i] for i in chosen[part]])
        print(f"\n{kind}, {part}: {len(chosen[part])} notes\n{table}", end="")
    errors = [e for i in chosen["worked on"] for e in ERRORS[kind](texts[i], labels[i], said[i])]
    if not split:
        errors = [e for i in chosen["all"] for e in ERRORS[kind](texts[i], labels[i], said[i])]
    return Measured(kind, figures, errors)


def spurious(analyzer: Analyzer, notes: Path) -> tuple[int, int]:
    """How many notes that are not about the spine there are, and how many findings or ligaments were read in them.

    Every one counts, in any assertion, whether or not a reader would let it stand.
    """
    said = reports(analyzer, notes)
    return len(said), sum(m["concept"] in ("finding", "ligament") for row in said for m in row["mentions"])


def page(measured: Sequence[Measured], cues: Sequence[str], negatives: tuple[int, int]) -> str:
    """benchmarks/accuracy.md."""
    facts, gaps = (next(m for m in measured if m.kind == kind) for kind in ("facts", "gaps"))
    lines = [
        "# Accuracy on the labelled notes",
        "",
        "Written by `make accuracy`; not edited by hand. The notes and their labels are kept beside this repository,",
        "and `tools/score.py` there gives the figures. A third of the notes was set aside unread when the rules were",
        "written: it tells what to expect of other notes, the rest tells what the rules were fitted to. The texts of",
        "those set aside for facts are also among the unlabelled notes on which later rules were tried, without their",
        "labels: read that figure as an upper limit.",
        "",
        "## Facts",
        "",
        "F1 over every distinct (concept, value, assertion) of a note; `value` asks for no assertion.",
        "",
        "| concept | worked on | value | of | set aside | value | of | all |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for concept in facts.figures["all"]:
        if concept != "linked":
            cells = []
            for part in ("worked on", "set aside"):
                f = facts.figures[part].get(concept, {"F1": 1.0, "value_F1": 1.0, "gold": 0})
                cells += [f"{f['F1']:.3f}", f"{f['value_F1']:.3f}", str(f["gold"])]
            lines.append(f"| {concept} | {' | '.join(cells)} | {facts.figures['all'][concept]['F1']:.3f} |")
    linked = (f"{facts.figures[part]['linked']:.3f}" for part in PARTS)
    lines += [
        "",
        "Of the facts found, the share tied to all their regions: {} worked on, {} set aside, {} all.".format(*linked),
        "",
        "## Checklist decisions",
        "",
        "Decision: documented or not, raised or not, agrees. Status: the very status agrees.",
        "",
        "| notes | items | decision | status | gap P | gap R | gap F1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for part in PARTS:
        f = gaps.figures[part]
        row = " | ".join(f"{f[name]:.3f}" for name in ("decision", "status", "P", "R", "F1"))
        lines.append(f"| {part} | {f['n']} | {row} |")
    count, found = negatives
    lines += [
        "",
        "## Assertion cues",
        "",
        "Beside stock medspaCy ConText, on the sentences of the NegEx/ConText test kit.",
        "",
        "| notes | reader | says | P | R | F1 | sentences |",
        "|---|---|---|---|---|---|---|",
        *cues,
        "",
        "## Notes that are not about the spine",
        "",
        f"{found} findings or ligaments in {count} notes that use the spine's words for other things: "
        f"{found / count:.3f} a note.",
        "",
        "## What is wrong, by class",
        "",
        "In the notes that were worked on; `python benchmarks/accuracy.py --errors CLASS` lists them.",
        "",
        "| set | class | how many |",
        "|---|---|---|",
    ]
    for m in measured:
        for kind, number in sorted(Counter(e.kind for e in m.errors).items()):
            lines.append(f"| {m.kind} | {kind} | {number} |")
    return "\n".join(lines) + "\n"


def cue_rows() -> list[str]:
    """The table of benchmarks/negation.py as rows of Markdown."""
    cases = negation.read_cases(negation.FILE)
    readers = {"notegap": negation.ours(), "stock ConText": negation.stock()}
    said = {name: [read(case) for case in cases] for name, read in readers.items()}
    rows = []
    for part, wanted in (("worked on", (False,)), ("set aside", (True,)), ("all", (False, True))):
        chosen = [i for i, case in enumerate(cases) if case.held in wanted]
        for name in readers:
            for kind in negation.KINDS:
                *prf, gold = negation.figures([cases[i] for i in chosen], [said[name][i] for i in chosen], kind)
                if gold:
                    rows.append(f"| {part} | {name} | {kind} | {' | '.join(f'{f:.3f}' for f in prf)} | {gold} |")
    return rows


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--facts", nargs=2, type=Path, metavar=("NOTES", "GOLD"), help="a set labelled with facts")
    parser.add_argument("--gaps", type=Path, metavar="NOTES", help="a set labelled with checklist decisions")
    parser.add_argument("--errors", choices=CLASSES, help="list the errors of this class")
    parser.add_argument("--concept", default="", help="of the errors, only those about this concept or item")
    parser.add_argument("--write", action="store_true", help=f"write benchmarks/{PAGE.name}")
    options = parser.parse_args()
    given = options.facts is not None or options.gaps is not None
    if given and options.write:
        parser.error(f"{PAGE.name} tells of the sets of ../shared/corpus: leave --facts and --gaps out to write it")
    if not given and not CORPUS.is_dir():
        raise SystemExit(f"the labelled notes are not beside this checkout: {CORPUS} is not there")
    facts = options.facts or (None if given else (CORPUS / "facts/dev.notes.jsonl", CORPUS / "facts/dev.gold.jsonl"))
    gaps = options.gaps or (None if given else CORPUS / "gaps/dev.jsonl")
    analyzer = Analyzer()
    measured = []
    if facts:
        measured.append(measure(analyzer, "facts", *facts, split=not given))
    if gaps:
        measured.append(measure(analyzer, "gaps", gaps, gaps, split=not given))
    if options.errors:
        print()
        list_errors((e for m in measured for e in m.errors), options.errors, options.concept)
    if options.write:
        negatives = spurious(analyzer, CORPUS / "unlabelled" / "hard_negatives_dev.jsonl")
        PAGE.write_text(page(measured, cue_rows(), negatives), encoding="utf-8")
        print(f"\nwrote benchmarks/{PAGE.name}")


def _rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


if __name__ == "__main__":
    main()
