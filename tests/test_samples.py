"""The sample notes: each reads as a careful reader reads it, and its report stands beside it.

`FIX_GOLDEN=1 pytest tests/test_samples.py` (or `make samples`) rewrites sample_notes/*.report.txt; review the diff.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from notegap.analyzer import Analyzer
from notegap.model import Note, Report, Setting
from notegap.notes.text import decode
from notegap.report import FORMATS, Page

SAMPLES = Path(__file__).resolve().parents[1] / "sample_notes"
FAMILIES = ("M24.28", "M99.2", "M53.2", "M49.8", "M43.2")
STYLES = {"SOAP", "dictated run-on", "all capitals", "template", "operative", "radiology", "chiropractic"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One table of samples.toml; an unknown key is an error."""

    style: str
    code: str
    gaps: dict[str, str]
    alerts: list[str]
    claim_codes: list[str] | None = None
    setting: str = "outpatient"


INDEX = {name: Sample(**table) for name, table in tomllib.loads((SAMPLES / "samples.toml").read_text("utf-8")).items()}


@pytest.fixture(scope="module")
def reports(analyzer: Analyzer) -> dict[str, Report]:
    return {name: analyzer.analyze(_note(name, sample)) for name, sample in INDEX.items()}


@pytest.mark.parametrize("name", INDEX)
def test_the_sample_is_read_as_a_careful_reader_reads_it(name: str, reports: dict[str, Report]) -> None:
    (check,) = reports[name].checks
    gaps = {f.item: f.status.value for f in check.findings if f.kind == "requirement" and f.status.is_gap}
    alerts = {f.item for f in check.findings if f.kind == "alert" and f.is_open}
    assert (gaps, alerts) == (INDEX[name].gaps, set(INDEX[name].alerts))


@pytest.mark.parametrize("name", INDEX)
def test_the_report_beside_the_sample_is_what_notegap_says(name: str, reports: dict[str, Report]) -> None:
    said = FORMATS["text"](reports[name], Page(width=80, source=f"{name}.txt"))
    file = SAMPLES / f"{name}.report.txt"
    if os.environ.get("FIX_GOLDEN"):
        file.write_text(said, encoding="utf-8")
    assert said == file.read_text(encoding="utf-8")


def test_every_file_is_in_the_index_and_every_entry_has_its_files() -> None:
    there = {file.name for file in SAMPLES.iterdir()} - {"samples.toml"}
    assert there == {f"{name}{ending}" for name in INDEX for ending in (".txt", ".report.txt")}


def test_there_are_enough_samples_of_every_family_and_style() -> None:
    assert len(INDEX) >= 20
    assert {style for style in STYLES if style not in {sample.style for sample in INDEX.values()}} == set()
    for family in FAMILIES:
        of_it = [sample for sample in INDEX.values() if sample.code.startswith(family)]
        assert any(sample.gaps for sample in of_it), f"{family} has no incomplete note"
        assert any(not sample.gaps for sample in of_it), f"{family} has no complete note"


def _note(name: str, sample: Sample) -> Note:
    return Note(
        id=name,
        text=decode((SAMPLES / f"{name}.txt").read_bytes(), where=name),
        codes=(sample.code,),
        claim_codes=None if sample.claim_codes is None else tuple(sample.claim_codes),
        setting=Setting(sample.setting),
    )
