"""spaCy and medspaCy, without what importing them loads and notegap never uses."""

from __future__ import annotations

import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def import_spacy() -> None:
    """Import spaCy without its command line (requests, typer): a fifth of its time.

    `spacy.info` is the one function it takes from there; it still works.
    """
    if "spacy" in sys.modules:
        return

    def info(*args: object, **options: object) -> object:
        from spacy.cli.info import info as real

        return real(*args, **options)

    with _standing_in("spacy.cli"), _standing_in("spacy.cli.info", info=info):
        import spacy  # noqa: F401


def import_medspacy() -> types.SimpleNamespace:
    """The parts of medspaCy, without two things its import does: silencing all warnings, and loading QuickUMLS.

    QuickUMLS costs 1.3 s (nltk, scipy.stats); medspaCy imports its name for an optional component.
    """
    with _standing_in("quickumls", spacy_component=None), warnings.catch_warnings():
        from medspacy.context import ConText, ConTextRule
        from medspacy.context.context_graph import ConTextGraph
        from medspacy.context.context_modifier import ConTextModifier
        from medspacy.section_detection import Sectionizer, SectionRule
        from medspacy.target_matcher import TargetMatcher, TargetRule
    return types.SimpleNamespace(
        ConText=ConText,
        ConTextGraph=ConTextGraph,
        ConTextModifier=ConTextModifier,
        ConTextRule=ConTextRule,
        SectionRule=SectionRule,
        Sectionizer=Sectionizer,
        TargetMatcher=TargetMatcher,
        TargetRule=TargetRule,
    )


@contextmanager
def _standing_in(name: str, **holding: object) -> Iterator[None]:
    """Let an empty module stand for one that is not imported yet, and be gone after."""
    if name in sys.modules:
        yield
        return
    module = types.ModuleType(name)
    module.__dict__.update(holding)
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]
