"""Fixtures that several test files share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import KINDS, fresh_database, postgres_server
from notegap.analyzer import Analyzer
from notegap.testing import showing_helpers


@pytest.fixture(scope="session", autouse=True)
def _state_folder() -> Iterator[None]:
    """The service's database, and what is kept for the next start, go to a folder that is gone after the tests."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_STATE_HOME"] = os.environ["XDG_CACHE_HOME"] = folder
        yield


@pytest.fixture(scope="session")
def analyzer() -> Analyzer:
    """One analyzer with all of patterns/ and models/: building it takes a second or two."""
    return Analyzer()


@pytest.fixture(scope="session")
def helper_analyzer(analyzer: Analyzer) -> Analyzer:
    """An analyzer that gives the mentions of helper concepts too."""
    return Analyzer(showing_helpers(analyzer.knowledge))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server; skips where there is none."""
    with postgres_server() as url:
        yield url


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'notegap.sqlite3'}"
    else:
        with fresh_database(request.getfixturevalue("postgres")) as url:
            yield url
