"""Spelling, and what the cues say of spans of one's own: no example in patterns/ or models/ can show these."""

from __future__ import annotations

import pytest

from notegap.extract import Extractor
from notegap.extract.words import Speller, fold
from notegap.knowledge import load_knowledge


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(load_knowledge())


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("hyperextension", "hypertension"),
        ("deceased", "decreased"),
        ("medially", "medically"),
        ("swallowing", "scalloping"),
    ],
)
def test_real_word_is_not_mended_to_a_clinical_one(word: str, near: str) -> None:
    assert Speller({near})(word) == near, "without the list it would be: the pair tests nothing else"
    assert Speller({near}, keep=load_knowledge().spelling_keep)(word) == word


def test_every_kept_word_is_left_alone() -> None:
    knowledge = load_knowledge()
    terms = " ".join(t for c in knowledge.concepts.values() for v in c.values.values() for t in v.terms)
    speller = Speller({fold(w) for w in terms.replace("|", " ").split() if w.isalpha()}, keep=knowledge.spelling_keep)
    assert {w: speller(w) for w in knowledge.spelling_keep if speller(w) != fold(w)} == {}


def test_typo_is_mended_beside_the_kept_words() -> None:
    speller = Speller({"hypertension", "ligamentum"}, keep=load_knowledge().spelling_keep)
    assert [speller("hypertenson"), speller("ligamntum")] == ["hypertension", "ligamentum"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("She denies fever.", {"negated"}),
        ("No history of fever.", {"negated"}),
        ("History of fever.", {"historical"}),
        ("Her mother had fever.", {"family"}),
        ("Possible fever.", {"uncertain"}),
        ("PAST MEDICAL HISTORY: fever", {"historical"}),
        ("There is fever, no cough.", set()),
    ],
)
def test_what_the_cues_say_of_a_span_of_ones_own(extractor: Extractor, text: str, said: set[str]) -> None:
    start = text.index("fever")
    assert extractor.said_of(text, [(start, start + 5)]) == (frozenset(said),)


def test_cue_inside_a_span_says_nothing_of_it(extractor: Extractor) -> None:
    text = "Pain without fever was noted."
    assert extractor.said_of(text, [(0, 18), (13, 18)]) == (frozenset(), frozenset({"negated"}))
