"""Accuracy on the labelled notes beside this checkout never falls below what was reached: tests/accuracy_floor.toml.

Only totals are read: the notes judge the rules, so no rule may be made from a look at the single errors.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from notegap.analyzer import Analyzer
from notegap.audit import audit
from notegap.notes.document import RowError
from notegap.notes.inputs import read_notes
from notegap.notes.text import NoteOptions
from notegap.report import FORMATS, Page

SHARED = Path(__file__).resolve().parents[2] / "shared"
SCORE = SHARED / "tools" / "score.py"
FLOORS: dict[str, dict[str, float]] = tomllib.loads(
    Path(__file__).with_name("accuracy_floor.toml").read_text(encoding="utf-8")
)
# kind → the notes, the gold labels
CORPORA = {
    "gaps": ("gaps/dev.jsonl", "gaps/dev.jsonl"),
    "facts": ("facts/dev.notes.jsonl", "facts/dev.gold.jsonl"),
}

pytestmark = pytest.mark.skipif(not SCORE.is_file(), reason="the labelled notes are not beside this checkout")


@pytest.mark.parametrize("kind", CORPORA)
def test_accuracy_is_at_least_what_was_reached(kind: str, analyzer: Analyzer, tmp_path: Path) -> None:
    notes, gold = (SHARED / "corpus" / name for name in CORPORA[kind])
    reports = tmp_path / "reports.jsonl"
    with reports.open("w", encoding="utf-8") as file:
        for outcome in audit(read_notes(str(notes), NoteOptions()), analyzer.analyze):
            assert not isinstance(outcome, RowError), f"{outcome.where}: {outcome.message}"
            file.write(FORMATS["jsonl"](outcome, Page()))
    figures = _score(kind, gold, reports)
    below = {name: figures[name] for name, floor in FLOORS[kind].items() if figures[name] < floor}
    assert below == {}, f"below the floor {FLOORS[kind]}"


def _score(kind: str, gold: Path, reports: Path) -> dict[str, float]:
    """The totals of ../shared/tools/score.py."""
    out = reports.with_suffix(".score.json")
    command = [sys.executable, str(SCORE), kind, str(gold), str(reports), "--worst", "0", "--json", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    figures: dict[str, float] | dict[str, dict[str, float]] = json.loads(out.read_text(encoding="utf-8"))
    total = figures.get("ALL", figures)
    assert isinstance(total, dict)
    return {name: value for name, value in total.items() if isinstance(value, int | float)}
