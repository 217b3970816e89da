"""What is kept for the next start: what would be made, never older than what it is made of, never a duty."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest

from notegap import kept as module
from notegap.analyzer import Analyzer
from notegap.errors import KnowledgeError
from notegap.kept import kept
from notegap.knowledge import load, load_knowledge
from notegap.model import Note

SAMPLES = Path(__file__).resolve().parents[1] / "sample_notes"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "notegap"


class Maker:
    """Makes a list, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> list[int]:
        self.made += 1
        return [1, 2, 3]


def test_it_is_made_once_for_the_same_content(cache: Path) -> None:
    maker = Maker()
    assert kept("list", [b"a", b"b"], maker) == kept("list", [b"a", b"b"], maker) == [1, 2, 3]
    assert maker.made == 1
    kept("list", [b"ab"], maker)
    kept("other", [b"a", b"b"], maker)
    assert maker.made == 3
    assert len(list(cache.iterdir())) == 3


def test_it_is_made_anew_when_the_code_changes(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maker = Maker()
    kept("list", [b"a"], maker)
    monkeypatch.setattr(module, "_code", lambda: b"other code")
    kept("list", [b"a"], maker)
    assert maker.made == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes().replace(b"\x01", b"\x02")),
        lambda path: path.chmod(0o666),
        lambda path: path.chmod(0o620),
    ],
    ids=["cut off", "empty", "changed", "anyone writes", "the group writes"],
)
def test_what_is_damaged_or_may_be_anothers_is_not_read(cache: Path, spoil: Callable[[Path], object]) -> None:
    maker = Maker()
    kept("list", [b"a"], maker)
    (path,) = cache.iterdir()
    spoil(path)
    assert kept("list", [b"a"], maker) == [1, 2, 3]
    assert maker.made == 2
    assert kept("list", [b"a"], maker) == [1, 2, 3]
    assert maker.made == 2, "it was kept again"


def test_only_this_user_may_read_it(cache: Path) -> None:
    kept("list", [b"a"], Maker())
    (path,) = cache.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert cache.stat().st_mode & 0o077 == 0


def test_a_place_that_cannot_be_written_is_no_error(cache: Path) -> None:
    cache.write_text("a file where the folder would be", encoding="utf-8")
    maker = Maker()
    assert kept("list", [b"a"], maker) == kept("list", [b"a"], maker) == [1, 2, 3]
    assert maker.made == 2


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    maker = Maker()
    assert kept("list", [b"a"], maker) == kept("list", [b"a"], maker) == [1, 2, 3]
    assert maker.made == 2


def test_what_breaks_is_not_kept(cache: Path) -> None:
    def broken() -> list[int]:
        raise KnowledgeError("file:1: wrong")

    for _ in range(2):
        with pytest.raises(KnowledgeError, match="file:1: wrong"):
            kept("list", [b"a"], broken)
    assert not cache.exists()


def test_of_one_kind_the_newest_four_stay(cache: Path) -> None:
    kept("other", [b"x"], Maker())
    for number in range(6):
        kept("list", [bytes([number])], Maker())
        newest = max(cache.glob("list-*"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, ns=(number, number))
    assert len(list(cache.glob("list-*"))) == 4
    assert len(list(cache.glob("other-*"))) == 1
    maker = Maker()
    kept("list", [bytes([5])], maker)
    assert maker.made == 0


def test_knowledge_that_was_kept_is_what_the_files_say(cache: Path) -> None:
    load._load_knowledge.cache_clear()
    first = load_knowledge()
    load._load_knowledge.cache_clear()
    again = load_knowledge()
    assert len(list(cache.glob("knowledge-*"))) == 1
    assert first is not again
    assert first == again == load._read_knowledge(())
    assert isinstance(again.concepts, MappingProxyType)
    assert isinstance(next(iter(again.concepts.values())).values, MappingProxyType)


def test_an_analyzer_of_kept_parts_reads_the_same(cache: Path, analyzer: Analyzer) -> None:
    load._load_knowledge.cache_clear()
    Analyzer().analyze(Note(id="n", text="MRI of the lumbar spine."))
    load._load_knowledge.cache_clear()
    parts = {path.name.partition("-")[0] for path in cache.iterdir()}
    assert parts == {"knowledge", "patterns", "vocabulary"}
    kept_one = Analyzer()
    for path in sorted(SAMPLES.glob("*.txt")):
        note = Note(id=path.stem, text=path.read_text(encoding="utf-8"))
        assert kept_one.analyze(note) == analyzer.analyze(note), path.name


def test_a_change_in_a_directory_of_ones_own_is_seen(cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "own" / "concepts" / "disease.yaml"
    file.parent.mkdir(parents=True)
    for name in ("alpha", "beta"):
        file.write_text(
            f"concept: disease\ntitle: Disease\nvalues:\n  own_{name}:\n    terms: [{name} syndrome]\nexamples:\n"
            f'  - "She has [{name} syndrome](own_{name})."\n',
            encoding="utf-8",
        )
        load._load_knowledge.cache_clear()
        values = load_knowledge([tmp_path / "own"]).concepts["disease"].values
        assert f"own_{name}" in values
    assert "own_alpha" not in values


def test_nothing_of_a_note_is_kept(cache: Path) -> None:
    load._load_knowledge.cache_clear()
    text = "Zebrafinch canarybird has instability at L4-5. Quuxword."
    Analyzer().analyze(Note(id="n", text=text, codes=("M53.2X6",)))
    kept_bytes = b"".join(path.read_bytes() for path in cache.iterdir())
    assert b"instability" in kept_bytes
    assert not [word for word in (b"ebrafinch", b"anarybird", b"uuxword") if word in kept_bytes]
