"""The names of ../shared/contract/vocabulary.yaml are ours, to the letter; skipped where that folder is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from handmade import CHECK, report
from notegap.knowledge import load_knowledge
from notegap.model import FACTS, REGIONS, Assertion
from notegap.report import FORMATS, Page

CONTRACT = Path(__file__).resolve().parents[2] / "shared" / "contract"
OPEN = "open"

pytestmark = pytest.mark.skipif(not CONTRACT.is_dir(), reason="the contract's folder is not beside this checkout")


def vocabulary() -> dict[str, list[str] | str]:
    read: dict[str, dict[str, list[str] | str]] = yaml.safe_load((CONTRACT / "vocabulary.yaml").read_text())
    return read["concepts"]


def test_every_concept_and_value_of_the_contract_is_known_and_reported() -> None:
    concepts = load_knowledge().concepts
    lacking = [
        f"{name}/{value}"
        for name, values in vocabulary().items()
        for value in ([] if values == OPEN else values)
        if name not in concepts or not concepts[name].reported or value not in concepts[name].values
    ]
    assert lacking == []


def test_open_concepts_of_the_contract_are_known() -> None:
    concepts = load_knowledge().concepts
    assert [name for name, values in vocabulary().items() if values == OPEN and name not in concepts] == []


def test_published_concepts_are_those_of_the_contract() -> None:
    assert list(FACTS) == list(vocabulary())


def test_regions_are_those_of_the_contract() -> None:
    assert list(REGIONS) == vocabulary()["region"]


def test_the_report_has_every_field_of_the_contract_and_names_what_it_adds() -> None:
    written = (CONTRACT / "REPORT.md").read_text(encoding="utf-8")
    example = json.loads(written.partition("```json\n")[2].partition("```")[0])
    shape = json.loads(FORMATS["json"](report(CHECK), Page()))
    assert set(shape) - set(example) == {"notegap", "date_of_service", "codes_from", "suggestions", "points_to"}
    assert set(example) <= set(shape)
    assert set(example["checks"][0]) <= set(shape["checks"][0])
    assert shape["suggestions"] == []


def test_assertions_are_those_of_the_contract() -> None:
    lines = (CONTRACT / "vocabulary.yaml").read_text().splitlines()
    written = next(line for line in lines if line.startswith("# assertion:")).removeprefix("# assertion:")
    assert [name.strip() for name in written.split("|")] == [assertion.value for assertion in Assertion]
