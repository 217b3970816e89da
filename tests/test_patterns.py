"""Every example in patterns/ and models/ is a test; its id is the sentence."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import pytest

from notegap.analyzer import Analyzer
from notegap.assess.checks import CHECKS
from notegap.knowledge import load_knowledge, missing_examples
from notegap.model import Check
from notegap.testing import HELPER, Example, collect, run_example


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "example" in metafunc.fixturenames:
        examples = collect(load_knowledge())
        metafunc.parametrize("example", examples, ids=[example.id for example in examples])


def test_example(request: pytest.FixtureRequest, example: Example) -> None:
    analyzer: Analyzer = request.getfixturevalue("helper_analyzer" if example.kind == HELPER else "analyzer")
    result = run_example(analyzer, example)
    assert result.ok, str(result)


def test_every_named_check_exists() -> None:
    named = {check for checklist in load_knowledge().checklists for check in _checks(checklist)}
    assert sorted(named - set(CHECKS)) == []


def test_every_value_item_and_cue_has_the_examples_that_test_it() -> None:
    assert missing_examples() == []


def _checks(value: object) -> set[str]:
    """The names of the checks anywhere in a checklist."""
    if isinstance(value, Check):
        return {value.name}
    if isinstance(value, tuple):
        return {name for part in value for name in _checks(part)}
    if is_dataclass(value):
        return {name for field in fields(value) for name in _checks(getattr(value, field.name))}
    return set()
