"""How terms and patterns are found: the graph of words, and the letters that spare a pattern most of a note."""

from __future__ import annotations

import re

import pytest
from spacy.vocab import Vocab

from notegap.extract.lexicon import TermMatcher, literal, paths
from notegap.extract.patterns import Patterns
from notegap.extract.words import Speller, Tokenizer, lowered
from notegap.knowledge import load_knowledge
from notegap.knowledge.terms import needed, within_clause, within_line


def found(term: str, text: str, *, starts: tuple[int, ...] = ()) -> list[str]:
    """The stretches of `text` that `term` matches, words as written."""
    vocab = Vocab()
    matcher = TermMatcher(vocab.strings, "norms")
    matcher.add("rule", [list(paths(term, tuple))])
    doc = Tokenizer(vocab, Speller(()))(text, starts)
    assert all(vocab.strings[key] == "rule" for key, _, _ in matcher(doc))
    return [doc[start:end].text for _, start, end in matcher(doc)]


@pytest.mark.parametrize(
    ("term", "text", "expected"),
    [
        ("narrow canal", "a narrow canal", ["narrow canal"]),
        ("narrow|tight canal|foramen", "tight foramen, narrow disc", ["tight foramen"]),
        ("narrow (spinal|bony) canal", "narrow canal, narrow bony canal", ["narrow canal", "narrow bony canal"]),
        ("[narrow|very tight] canal", "very tight canal", ["very tight canal"]),
        ("loss ... height", "loss of the disc height", ["loss of the disc height"]),
        ("loss ... height", "loss of the whole lumbar disc height", []),
        ("loss ... height", "loss. height", []),
        ("# level fusion", "a 2 level fusion", ["2 level fusion"]),
        ("# level fusion", "a # level fusion", []),
        ("(two|#) level fusion", "two level fusion", ["level fusion"]),
        ("the two|# level", "the 3 level, the two level", ["the 3 level", "the two level"]),
    ],
)
def test_term_matches(term: str, text: str, expected: list[str]) -> None:
    assert found(term, text) == expected


def test_gap_ends_with_its_sentence() -> None:
    text = "loss of motion disc height"
    assert found("loss ... height", text) == [text]
    assert found("loss ... height", text, starts=(8,)) == []


def test_alternative_of_several_tokens_in_a_wide_place() -> None:
    vocab = Vocab()
    matcher = TermMatcher(vocab.strings, "norms")
    matcher.add("rule", [list(paths("plain film|x-ray", lambda ws: tuple(t for w in ws for t in w.split("-"))))])
    doc = Tokenizer(vocab, Speller(()))("plain film, plain x ray, plain ray")
    assert [doc[start:end].text for _, start, end in matcher(doc)] == ["plain film", "plain x ray"]


def test_matches_come_in_text_order_and_rules_in_the_order_added() -> None:
    vocab = Vocab()
    matcher = TermMatcher(vocab.strings, "words")
    matcher.add("second", [[literal(["canal"])]])
    matcher.add("first", [[literal(["canal"]), literal(["the", "canal"])]])
    doc = Tokenizer(vocab, Speller(()))("the canal")
    assert [(vocab.strings[key], start, end) for key, start, end in matcher(doc)] == [
        ("first", 0, 2),
        ("second", 1, 2),
        ("first", 1, 2),
    ]


@pytest.mark.parametrize("text", ["the canal", " a -b  c/d \n\n e. ", "x", " ", "5/5, L4-5;\nno  pain "])
def test_words_across_characters_are_those_of_spacy(text: str) -> None:
    doc = Tokenizer(Vocab(), Speller(()))(text)
    for start in range(len(text)):
        for end in range(start + 1, len(text) + 2):
            span = doc.char_span(start, end, alignment_mode="expand")
            assert doc.user_data["words"].across(start, end) == (None if span is None else (span.start, span.end))


def test_letters_across_words_are_looked_for_word_by_word() -> None:
    patterns = Patterns([("a", r"moth-eaten"), ("b", r"\bno (?:loss|gain) of\b"), ("c", r"\d ?/ ?5")])
    text = "a moth-eaten canal. no loss of height, 4/5"
    assert [label for label, _, _ in patterns.find(text)] == ["a", "b", "c"]
    assert [label for label, _, _ in patterns.find("no loss. moth, of")] == []


def test_letters_that_all_lie_across_words_are_looked_for_whole() -> None:
    patterns = Patterns([("a", r"\bon and off for\b"), ("b", r"\brock solid\b|\bstays put\b")])
    assert [label for label, _, _ in patterns.find("solid as rock; on, and off for a year. it stays put")] == ["b"]
    assert [label for label, _, _ in patterns.find("off for good\non and off for years")] == ["a"]


def test_patterns_compiled_beforehand_find_the_same() -> None:
    patterns = Patterns([("a", r"\bcanal\b")])
    patterns.compile()
    assert list(patterns.find("the canal")) == [("a", 4, 9)]


def test_lower_case_keeps_every_offset() -> None:
    text = "İSTANBUL MRI: Σ ẞ no fracture"
    assert len(lowered(text)) == len(text)
    assert lowered("MRI of L4-5") == "mri of l4-5"


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"\bcanal\b", {(" canal ",)}),
        (r"canals?", {("canal",)}),
        (r"\b(?:canal|sac)\b.{0,9}narrow", {(" canal ", " sac "), ("narrow",)}),
        (r"(?:canal|sac)+ narrow", {("canal", "sac"), (" narrow",)}),
        (r"(?:canal)?narrow", {("narrow",)}),
        (r"(?:canal|)narrow", {("narrow",)}),
        (r"(?<=loss of )height(?! gain)", {("loss of ",), ("height",)}),
        (r"moth-eaten", {("moth eaten",)}),
        (r"\d ?/ ?\d", {("/",)}),
        (r"[abc]\d", set()),
        (r"(?i)canal", set()),
    ],
)
def test_letters_a_pattern_needs(pattern: str, groups: set[tuple[str, ...]]) -> None:
    assert set(needed(pattern)) == groups


@pytest.mark.parametrize(
    ("pattern", "line", "clause"),
    [
        (r"loss[^.\n]{0,9}height", True, True),
        (r"loss [^\n]{0,9}height", True, False),
        (r"loss\s+of", False, False),
        (r"loss[^.]{0,9}height", False, False),
        (r"\d+(?!\.\d)", True, False),
        (r"height$", False, False),
        (r"loss .of", True, False),
    ],
)
def test_where_a_pattern_stays(pattern: str, line: bool, clause: bool) -> None:
    assert (within_line(pattern), within_clause(pattern)) == (line, clause)


def test_sieve_loses_no_match() -> None:
    """On a quarter of our own examples, every pattern finds what it finds when it is tried everywhere."""
    knowledge = load_knowledge()
    concepts = knowledge.concepts.values()
    rules = [(f"{c.name}/{v.name}", p) for c in concepts for v in c.values.values() for p in v.patterns]
    text = "\n".join(sentence for concept in concepts for sentence, _, _ in concept.examples)
    text = re.sub(r"\[([^\[\]]+)\]\([^()]*\)", r"\1", text).lower()
    patterns = Patterns(rules)
    for at in range(0, len(text), 4800):
        part = text[at : at + 1200]
        every = {
            (label, match.start(), match.end())
            for label, pattern in rules
            for match in re.finditer(pattern, part)
            if match.end() > match.start()
        }
        assert set(patterns.find(part)) == every
