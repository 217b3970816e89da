"""The medspaCy pipeline: TargetMatcher for words, ConText for assertion, Sectionizer for headings, our rules in each.

medspaCy's own tokenizer, sentence splitter and rule files are not used: the splitter prints every token of a note
to stderr, and the rules read "FINDINGS: No fracture" as affirmed and "cannot exclude fracture" as negated.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from loguru import logger
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab

from notegap.extract.boundaries import Layout, blocks, chosen, layout
from notegap.extract.lexicon import Path, TermMatcher, literal, no_matches, paths
from notegap.extract.libraries import import_medspacy
from notegap.extract.patterns import Patterns
from notegap.extract.refine.level import find_levels
from notegap.extract.risks import risk_sentences
from notegap.extract.words import Speller, Tokenizer, Words, fold, lowered, plain, words
from notegap.kept import kept
from notegap.knowledge.terms import GAP, NUMBER, expand, slots
from notegap.model import Cue, Knowledge

# PyRuSH logs every token it sees at DEBUG to stderr; it is imported by medspaCy and never used here.
logger.disable("PyRuSH")


GIVEN = "given"
"""The concept of spans that are not found but given to `read`."""
_NEVER = "\x00"
_BREAK = re.compile(r"\s*\n\s*")
_REACHING_NOTHING = frozenset({"TERMINATE", "PSEUDO"})
_DIRECTIONS = {"forward": "FORWARD", "backward": "BACKWARD", "both": "BIDIRECTIONAL"}


@dataclass(slots=True)
class Reach:
    """A cue that ConText says reaches a span: which, and where it stands."""

    cue: Cue
    start: int
    end: int


@dataclass(slots=True)
class Raw:
    """A span as found, before assertion and ties: offsets in characters of the note.

    `key` is the name rules use for it: concept/value.
    """

    concept: str
    value: str
    start: int
    end: int
    sentence: int = -1
    reaches: list[Reach] = field(default_factory=list)
    heading: bool = False
    levels: tuple[str, ...] = ()
    key: str = field(init=False)

    def __post_init__(self) -> None:
        self.key = f"{self.concept}/{self.value}"


@dataclass(frozen=True, slots=True)
class Span:
    """Words of a text, by number, and what they were found as ("concept/value").

    It has of spaCy's Span what ConText asks of a target. spaCy's own refers to a document, which nothing else needs.
    """

    start: int
    end: int
    label_: str


class _Cue(NamedTuple):
    """Words of a text, by number, and the rule of ConText they were found by."""

    rule: Any
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Scope:
    """A sentence in words, which stands for each of its words where ConText asks a document for their sentence."""

    start: int
    end: int

    @property
    def sent(self) -> _Scope:
        """The sentence itself."""
        return self


@dataclass(frozen=True, slots=True)
class Reading:
    """What the pipeline saw of one note: its plain text in lower case, its skeleton, its spans, every cue."""

    text: str
    layout: Layout
    spans: tuple[Raw, ...]
    cues: tuple[Reach, ...]
    stops: tuple[tuple[int, int], ...]
    risks: frozenset[int]


class Pipeline:
    """Builds the medspaCy pipeline from `knowledge` once; `read` runs it over a note's text."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._medspacy = medspacy = import_medspacy()
        words_of = kept("vocabulary", _written(knowledge), lambda: _vocabulary(knowledge))
        speller = Speller(*words_of, keep=knowledge.spelling_keep, short=knowledge.spelling_short)
        # A bare vocabulary: the lexical attributes of English cost a second to compute for our terms and serve nothing.
        vocab = Vocab()
        self.tokenizer = Tokenizer(vocab, speller)
        self.nlp = Language(vocab, create_tokenizer=lambda _: self.tokenizer)
        self._normal: dict[str, tuple[str, ...]] = {}
        self._labels: dict[int, str] = {}  # of the rules for concepts
        self._phrases = medspacy.TargetMatcher(self.nlp, name="phrases", result_type=None, prune=False)
        self._acronyms = medspacy.TargetMatcher(self.nlp, name="acronyms", result_type=None, prune=False)
        self._context = medspacy.ConText(self.nlp, rules=None, span_attrs=None)
        self._sectionizer = medspacy.Sectionizer(self.nlp, rules=None, span_attrs=None)
        self._find_cues = _by_terms(self._context, "ConText", vocab, "norms")
        self._find_targets = (
            _by_terms(self._phrases, "TargetMatcher", vocab, "norms"),
            _by_terms(self._acronyms, "TargetMatcher", vocab, "words"),
        )
        _by_terms(self._sectionizer, "Sectionizer", vocab, "norms")
        self._cues = knowledge.cues
        self._add_concepts(knowledge)
        self._context.add([self._context_rule(number, cue) for number, cue in enumerate(knowledge.cues)])
        self._sectionizer.add(
            [self._rule(medspacy.SectionRule, t, s.name, whole=True) for s in knowledge.sections for t in s.titles]
        )
        self.section_of: Callable[[str], str | None] = lru_cache(maxsize=4096)(self._section_of)

    # ── building ──────────────────────────────────────────────────────────────────────────────

    def _add_concepts(self, knowledge: Knowledge) -> None:
        """Fill the matchers of concepts."""
        target = self._medspacy.TargetRule
        patterns: list[tuple[str, str]] = []
        for concept in knowledge.concepts.values():
            for value in concept.values.values():
                label = f"{concept.name}/{value.name}"
                self._phrases.add([self._rule(target, term, label) for term in value.terms])
                self._acronyms.add([target(a, label, pattern=[literal(a.split(" "))]) for a in value.acronyms])
                patterns.extend((label, pattern) for pattern in value.patterns)
        self._patterns = kept("patterns", ("\0".join(rule).encode() for rule in patterns), lambda: Patterns(patterns))
        for short, long in knowledge.abbreviations.items():
            # The short form means what the long form means: "LBP" is what "low back pain" is.
            for span in self._meanings(long):
                self._acronyms.add([target(short, span.label_, pattern=[literal(short.split(" "))])])

    def _targets(self, matcher: Any, words: Words) -> list[Span]:
        """What `matcher`, the inner one of a TargetMatcher, finds: the spans without a document to refer to."""
        labels = self._labels
        return [Span(start, end, labels.get(key) or self._label(matcher, key)) for key, start, end in matcher(words)]

    def _label(self, matcher: Any, key: int) -> str:
        """What the rule `key` of `matcher` finds."""
        label: str = matcher.rule_map[self.nlp.vocab.strings[key]].category
        self._labels[key] = label
        return label

    def _meanings(self, long: str) -> list[Span]:
        """The concepts the words of a long form name; parts and what is said of them mean nothing alone."""
        found = _prune(self._targets(self._find_targets[0], self.tokenizer.cut(long)))
        return [span for span in found if span.label_.partition("/")[0] not in ("part", "change", "quality")]

    def _rule(self, rule: Any, term: str, label: str, *, whole: bool = False) -> Any:
        return rule(term, label, pattern=list(paths(term, self._tokens, whole=whole)))

    def _context_rule(self, number: int, cue: Cue) -> Any:
        ways: list[Path] = [path for term in cue.terms for path in paths(term, self._tokens)]
        return self._medspacy.ConTextRule(
            cue.says,
            cue.says.upper(),
            pattern=ways,
            direction={"pseudo": "PSEUDO", "terminate": "TERMINATE"}.get(cue.says, _DIRECTIONS.get(cue.direction, "")),
            max_scope=cue.words,
            metadata={"cue": number},
        )

    def _tokens(self, sequence: Sequence[str]) -> tuple[str, ...]:
        """The words of a term in normal form."""
        out: list[str] = []
        for word in sequence:
            known = self._normal.get(word)
            if known is None:
                known = self._normal[word] = tuple(map(self.tokenizer.speller, _term_words(word)))
            out.extend(known)
        return tuple(out)

    def _section_of(self, title: str) -> str | None:
        """The section `title` opens: the longest listed title it is, or starts or ends with; None when unknown."""
        doc = self.tokenizer(title.strip().lower())
        if not len(doc) or len(doc) > 12:
            return None
        matches = [(s.title_span, s.category) for s in self._sectionizer(doc)._.sections if s.category]
        best: tuple[int, str] | None = None
        for (start, end), category in matches:
            if category == "never":
                continue
            length = end - start
            if length < len(doc):
                # A part of a longer title counts when it is the head of it: "MRI of the lumbar spine" is imaging by
                # its first word, "detailed neurological examination" an examination by its last.
                lead = start == 0 and (length > 1 or category in ("imaging", "procedure", "operation"))
                tail = end == len(doc) and length * 2 >= len(doc)
                if not (lead or tail) or len(doc[start:end].text.strip()) < 2:
                    continue
            rank = 2 * length + (100 if length == len(doc) else 1 if start == 0 else 0)
            if best is None or rank > best[0]:
                best = (rank, category)
        return best[1] if best else None

    # ── reading ───────────────────────────────────────────────────────────────────────────────

    def prepare(self) -> None:
        """Do now what is else done when a note first calls for it."""
        self._patterns.compile()

    def read(self, note: str, given: Sequence[tuple[int, int]] = ()) -> Reading:
        """Every span and cue of `note`, offsets in the text as given.

        `given` are spans of the caller's own: they come back as spans of the concept `GIVEN`, numbered.
        """
        text = chosen(plain(note))
        skeleton = layout(text, self.section_of)
        found: list[Raw] = []
        cues: list[Reach] = []
        short = self._defined(text)
        for first, last in blocks(skeleton.sentences):
            start, end = skeleton.sentences[first].start, skeleton.sentences[last - 1].end
            starts = [_first_word(text, s.start, s.end) - start for s in skeleton.sentences[first:last]]
            cut = self.tokenizer.cut(text[start:end], starts)
            targets = self._match(cut, set(starts), short)
            for number, (a, b) in enumerate(given):
                if start <= a < end and (here := cut.across(a - start, min(b, end) - start)) is not None:
                    targets.append(Span(*here, f"{GIVEN}/{number}"))
            spans, reaches = self._apply_context(cut, targets, start)
            found.extend(spans)
            cues.extend(reaches)
        found.extend(Raw("level", "|".join(s.values), s.start, s.end, levels=s.values) for s in find_levels(text))
        found.sort(key=lambda r: (r.start, -r.end))
        for raw in found:
            raw.sentence = skeleton.sentence_at(raw.start)
            sentence = skeleton.sentences[raw.sentence]
            raw.heading = (
                sentence.heading >= 0
                and raw.end <= skeleton.headings[sentence.heading].body
                and (raw.start >= skeleton.headings[sentence.heading].start)
            )
        stops = sorted((c.start, c.end) for c in cues if c.cue.says == "terminate")
        # Regular expressions that need not look past capitals take a third of the time.
        low = lowered(text)
        risks = risk_sentences(low, skeleton.sentences)
        return Reading(low, skeleton, tuple(found), tuple(cues), tuple(stops), risks)

    def _match(self, cut: Words, starts: set[int], short: Sequence[tuple[str, str]]) -> list[Span]:
        # A phrase may be broken over two lines of a sentence, and none runs from one sentence into the next.
        low = _BREAK.sub(lambda m: m.group() if m.end() in starts else " " * len(m.group()), cut.text.lower())
        found = [span for matcher in self._find_targets for span in self._targets(matcher, cut)]
        written = list(self._patterns.find(low))
        for word, label in short:
            alone = re.finditer(rf"(?<![A-Za-z]){re.escape(word)}(?![A-Za-z])", cut.text)
            written.extend((label, match.start(), match.end()) for match in alone)
        for label, a, b in written:
            if (here := cut.across(a, b)) is not None:
                found.append(Span(*here, label))
        return _prune(found)

    def _apply_context(self, cut: Words, spans: Sequence[Span], offset: int) -> tuple[list[Raw], list[Reach]]:
        starts, ends = cut.starts, cut.ends
        rules, strings = self._find_cues.rule_map, self.nlp.vocab.strings
        cues = [_Cue(rules[strings[key]], start, end) for key, start, end in self._find_cues(cut)]
        raws: dict[tuple[int, int, str], Raw] = {}
        for span in spans:
            concept, _, value = span.label_.partition("/")
            raw = Raw(concept, value, starts[span.start] + offset, ends[span.end - 1] + offset)
            raws[span.start, span.end, span.label_] = raw
        reaches = [
            Reach(self._cues[cue.rule.metadata["cue"]], starts[cue.start] + offset, ends[cue.end - 1] + offset)
            for cue in cues
        ]
        for target, number in self._edges(cut, cues, spans):
            cue = cues[number]
            # A cue inside its own target ("stenosis without claudication") says nothing about the whole of it.
            if cue.start < target.end and target.start < cue.end:
                continue
            raws[target.start, target.end, target.label_].reaches.append(reaches[number])
        return list(raws.values()), reaches

    def _edges(self, cut: Words, cues: Sequence[_Cue], spans: Sequence[Span]) -> Iterator[tuple[Span, int]]:
        """ConText: which of `spans` each of `cues` reaches, cues by number.

        ConText compares every cue with every span and every other cue of a document; no cue reaches past its sentence,
        so here it is given the sentences one by one, and for the spans only the cues that reach any.
        """
        new, graph_of = self._medspacy.ConTextModifier, self._medspacy.ConTextGraph
        scopes = _scopes(cut)
        for here, targets in _by_sentence(cut, cues, spans):
            numbers: dict[int, int] = {}
            modifiers = []
            for number in here:
                modifier = new(cues[number].rule, cues[number].start, cues[number].end, scopes)
                numbers[id(modifier)] = number
                modifiers.append(modifier)
            graph_of([], modifiers).update_scopes()
            graph = graph_of(targets, [m for m in modifiers if m.rule.direction not in _REACHING_NOTHING])
            graph.apply_modifiers()
            for target, modifier in graph.edges:
                yield target, numbers[id(modifier)]

    def _defined(self, text: str) -> list[tuple[str, str]]:
        """Abbreviations this note defines, "long form (SHORT)": each short form with the concepts of its long form."""
        if not re.search(r"\(\s?[A-Z][A-Za-z]{1,7}\s?\)", text):
            return []
        out: list[tuple[str, str]] = []
        for short, long in _find_abbreviations(self.nlp, text):
            out.extend((short, span.label_) for span in self._meanings(long))
        return out


def _find_abbreviations(nlp: Any, text: str) -> list[tuple[str, str]]:
    """(short, long) pairs that scispaCy's AbbreviationDetector (Schwartz & Hearst 2003) finds in `text`."""
    from scispacy.abbreviation import AbbreviationDetector

    detector = _detector(nlp, AbbreviationDetector)
    # Its matcher for the whole text is empty when the text defines none, and spaCy warns of that.
    detector.global_matcher.add("never", [[{"ORTH": _NEVER}]])
    doc = Doc(nlp.vocab, words=[w for w, _, _ in words(text)])
    return [(span.text, span._.long_form.text) for span in detector(doc)._.abbreviations if 2 <= len(span.text) <= 8]


@lru_cache(maxsize=4)
def _detector(nlp: Any, factory: Any) -> Any:
    return factory(nlp)


def _first_word(text: str, start: int, end: int) -> int:
    """Where the first word of `text[start:end]` begins."""
    return end - len(text[start:end].lstrip(" \n,"))


def _by_terms(component: Any, name: str, vocab: Vocab, form: str) -> Any:
    """Let `component`, a `name` of medspaCy's, find its rules by a TermMatcher; gives back its inner matcher."""
    matcher = getattr(component, f"_{name}__matcher")
    matcher._MedspacyMatcher__matcher = TermMatcher(vocab.strings, form)
    matcher._MedspacyMatcher__phrase_matcher = no_matches
    matcher._MedspacyMatcher__regex_matcher = no_matches
    return matcher


def _scopes(cut: Words) -> list[_Scope]:
    """The sentence of each word."""
    edges = [*sorted(cut.opens), len(cut)]
    return [scope for start, end in pairwise(edges) for scope in [_Scope(start, end)] * (end - start)]


def _by_sentence(cut: Words, cues: Sequence[_Cue], spans: Sequence[Span]) -> Iterator[tuple[list[int], list[Span]]]:
    """The cues, by number, and spans of each sentence that has both; sentences that one lies across go together."""
    if not cues or not spans:
        return
    across = {at for cue in cues for at in range(cue.start + 1, cue.end)}
    across.update(at for span in spans for at in range(span.start + 1, span.end))
    opens = sorted(cut.opens - across)
    cues_of: dict[int, list[int]] = {}
    for number, cue in enumerate(cues):
        cues_of.setdefault(bisect_right(opens, cue.start), []).append(number)
    spans_of: dict[int, list[Span]] = {}
    for span in spans:
        spans_of.setdefault(bisect_right(opens, span.start), []).append(span)
    for sentence, here in cues_of.items():
        if sentence in spans_of:
            yield here, spans_of[sentence]


@lru_cache(maxsize=20_000)
def _term_words(word: str) -> list[str]:
    """A term's word as the tokenizer would cut it, hyphens and slashes between letters dropped."""
    return [w for w, _, _ in words(word) if w not in "-/_" or len(word) == 1]


def _vocabulary(knowledge: Knowledge) -> tuple[set[str], set[str]]:
    """(the words typos are mended to: those of concepts; the words left alone: those of cues and headings)."""
    concepts = _words_of(term for c in knowledge.concepts.values() for v in c.values.values() for term in v.terms)
    others = [term for c in knowledge.cues for term in c.terms] + [t for s in knowledge.sections for t in s.titles]
    return concepts, _words_of(others)


def _written(knowledge: Knowledge) -> Iterator[bytes]:
    """What `_vocabulary` reads."""
    for concept in knowledge.concepts.values():
        for value in concept.values.values():
            yield "\n".join(value.terms).encode()
    for terms in (*(c.terms for c in knowledge.cues), *(s.titles for s in knowledge.sections)):
        yield "\0".join(terms).encode()


def _words_of(terms: Iterable[str]) -> set[str]:
    written: set[str] = set()
    for term in terms:
        places = slots(term)
        for sequence in [slot.words for slot in places] if places is not None else expand(term):
            written.update(sequence)
    return {fold(w) for word in written - {GAP, NUMBER} for w in _term_words(word)}


def _prune(spans: Sequence[Span]) -> list[Span]:
    """Of spans of one concept that overlap only the longest stays; different concepts may overlap.

    A swallowing concept (`not_spinal`, `other_…`) takes every span inside it with it.
    """
    unique = {(span.start, span.end, span.label_): span for span in spans}
    kept: list[tuple[int, int, str]] = []
    at: dict[int, list[tuple[int, int, str, str]]] = {}  # those kept, by each of their words
    for key in sorted(unique, key=lambda key: (key[0] - key[1], key[0])):
        start, end, label = key
        concept = label.partition("/")[0]
        near = (one for word in range(start, end) if word in at for one in at[word])
        if not any(_takes(one, start, end, label, concept) for one in near):
            kept.append(key)
            for word in range(start, end):
                at.setdefault(word, []).append((start, end, label, concept))
    return [unique[key] for key in sorted(kept, key=lambda key: key[:2])]


def _takes(one: tuple[int, int, str, str], start: int, end: int, label: str, concept: str) -> bool:
    """Whether a span that is kept takes the place of another that overlaps it, or swallows it."""
    other_start, other_end, other_label, other = one
    if other == concept and (other_end - other_start > end - start or other_label == label):
        return True
    return other_start <= start and end <= other_end and _swallows(other, concept)


def swallowed(raw: Raw, spans: Iterable[Raw]) -> bool:
    """Whether a fact made of several spans lies inside one that takes it with it, as `_prune` does with single spans."""
    return any(_swallows(s.concept, raw.concept) and s.start <= raw.start and raw.end <= s.end for s in spans)


def _swallows(outer: str, inner: str) -> bool:
    if outer == "not_spinal":
        return inner not in ("extraspinal", "body_site")
    return outer.startswith("other_") and inner == outer.removeprefix("other_")
