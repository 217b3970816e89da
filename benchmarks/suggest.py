"""How often a disease is suggested, and how often another than the one that is written.

    python benchmarks/suggest.py [NOTES.jsonl]... [--show]

Each line of NOTES holds `text`. Every note is read as if an open item asked for the underlying disease. `--show` prints
each suggestion with the words around it: those files hold notes, so keep what it prints where they are.

Without notes the list tests itself, on names as somebody could write them with one slip (a letter left out of the
longest word, a plural, "syndrome" for "disease") and on names of diseases that it does not know, each category being
taken out of the list while its names are looked up: whatever is then suggested is wrong, if only too general.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from notegap.extract import Extractor
from notegap.extract.suggest import Suggester
from notegap.knowledge import load_knowledge
from notegap.knowledge.diseases import diseases

THRESHOLDS = (0.75, 0.80, 0.85, 0.90, 0.95)
_AROUND = 40


def slips(name: str) -> Iterator[str]:
    """`name` as somebody could write it who knows the disease."""
    longest = max(name.split(), key=len)
    if len(longest) >= 7:
        middle = len(longest) // 2 + 1
        yield name.replace(longest, longest[:middle] + longest[middle + 1 :])
    if "disease" in name:
        yield name.replace("disease", "syndrome")
    if name.endswith(("y", "a", "e", "r")):
        yield f"{name}s"


def measure_names() -> None:
    """Print, for each threshold, how many names with a slip are found and how many unknown ones are mistaken."""
    suggester = Suggester()
    names = [(disease.code, name) for disease in diseases() for name in disease.names]
    written = [(code, slip) for code, name in names for slip in slips(name)]
    with_slips = suggester.candidates([slip for _, slip in written])
    unknown = suggester.candidates([name for _, name in names])
    print(f"{len(written):,} names with a slip; {len(names):,} names of diseases taken out of the list")
    print("threshold  found  another category   unknown taken for another category")
    for threshold in THRESHOLDS:
        tally: Counter[str] = Counter()
        for (code, _), scored in zip(written, with_slips, strict=True):
            if scored and scored[0][0] >= threshold:
                best = {found[:3] for score, found, _ in scored if score == scored[0][0]}
                tally["found" if code[:3] in best else "wrong"] += 1
        taken = sum(
            any(score >= threshold and found[:3] != code[:3] for score, found, _ in scored)
            for (code, _), scored in zip(names, unknown, strict=True)
        )
        found, wrong = tally["found"] / len(written), tally["wrong"] / len(written)
        print(f"{threshold:9.2f} {found:6.1%} {wrong:17.1%} {taken / len(names):36.1%}")


def measure_notes(file: Path, extractor: Extractor, *, show: bool) -> None:
    """Print how many notes of `file` get a suggestion."""
    notes = firing = suggested = 0
    for line in file.read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["text"]
        found = extractor.suggestions(text, extractor.mentions(text))
        notes, firing, suggested = notes + 1, firing + bool(found), suggested + len(found)
        for s in found if show else ():
            around = " ".join(text[max(0, s.start - _AROUND) : s.end + _AROUND].split())
            print(f"  {s.score:.2f} {s.code:7} {s.alias}: {around}")
    print(f"{file.name}: {suggested} suggestions in {firing} of {notes} notes")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notes", nargs="*", type=Path)
    parser.add_argument("--show", action="store_true")
    asked = parser.parse_args()
    if not asked.notes:
        measure_names()
        return
    extractor = Extractor(load_knowledge())
    for file in asked.notes:
        measure_notes(file, extractor, show=asked.show)


if __name__ == "__main__":
    main()
