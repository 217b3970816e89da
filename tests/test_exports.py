"""The public names: sorted, complete, and quick to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import notegap
from notegap import errors


def test_all_is_sorted_and_every_name_is_there() -> None:
    assert notegap.__all__ == sorted(notegap.__all__)
    for name in notegap.__all__:
        assert getattr(notegap, name).__name__ == name


def test_every_error_is_public() -> None:
    ours = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert ours <= set(notegap.__all__)
    assert all(issubclass(getattr(notegap, name), notegap.NotegapError) for name in ours)


def test_every_error_stands_in_the_tree() -> None:
    assert errors.__doc__ is not None
    for name in (n for n in notegap.__all__ if n.endswith("Error")):
        assert name in errors.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Analyser'"):
        notegap.Analyser  # noqa: B018


def test_dir_lists_the_public_names() -> None:
    assert set(notegap.__all__) <= set(dir(notegap))


@pytest.mark.parametrize("module", ["notegap", "notegap.cli", "notegap.report", "notegap.notes.table"])
def test_import_does_not_load_spacy(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('spacy', 'medspacy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
