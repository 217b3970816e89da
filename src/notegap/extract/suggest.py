"""Diseases the lexicon has no name for, looked up in the tabular's own names: what scispaCy's linker would propose.

A suggestion is a stretch of the note beside the name it reads like, with a score, for a person to judge. It never
becomes a mention. scispaCy's KnowledgeBase and CandidateGenerator do the work over the list `make models` builds; in
place of the approximate index that the generator expects stands an exact one, which at this size is faster to build
than the other is to load, and gives the same answer everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from notegap.extract.boundaries import Layout
from notegap.extract.words import edit_distance, fold, words
from notegap.knowledge.diseases import diseases

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

THRESHOLD = 0.85
"""The least score, see models/README.md."""
_NEIGHBORS = 12
_BATCH = 512
"""Phrases looked up together: each takes a row of the size of the list."""
_MOST_WORDS = 7
_BEGIN = 4
"""Letters that are right in every word."""

# Sections that speak of others, of what may be, or of things named like a disease.
_NEVER = frozenset(
    {
        "family_history",
        "differential",
        "consent",
        "allergies",
        "ros",
        "exam",
        "medications",
        "technique",
        "vitals",
        "exam_study",
    }
)
# Marks no name runs over.
_PART = re.compile(r"[,;:.!?()\[\]\n/*]|\s-\s")
# No name begins or ends with one of these.
_EDGE = frozenset(
    ["a", "an", "the", "of", "in", "on", "at", "to", "for", "from", "with", "without", "by", "and", "or", "as", "due"]
)
# What a name calls the thing: one stands for another ("Behçet's syndrome").
_KINDS = frozenset(["disease", "syndrome", "disorder"])
_SMALL = frozenset(["of", "the"])
_NOT_HIS = frozenset({"negated", "family", "hypothetical", "uncertain"})


@dataclass(frozen=True, slots=True)
class Match:
    """A stretch of the note, and the disease whose name it reads like."""

    start: int
    end: int
    code: str
    title: str
    alias: str
    score: float


class Suggester:
    """Looks stretches of a note up among the names of diseases."""

    def matches(self, text: str, layout: Layout, taken: Sequence[tuple[int, int]]) -> list[Match]:
        """The stretches of `text` that read like the name of a disease and touch none of `taken`, in text order.

        Of stretches that overlap the best stands, then the longest; of codes that share a name all stand.
        """
        spans = list(dict.fromkeys(_stretches(text, layout, taken)))
        found = [match for span, best in zip(spans, self._looked_up(text, spans), strict=True) for match in best]
        found.sort(key=lambda m: (-m.score, m.start - m.end, m.start, m.code))
        kept: list[Match] = []
        for match in found:
            if all(
                m.end <= match.start or match.end <= m.start or (m.start, m.end) == (match.start, match.end)
                for m in kept
            ):
                kept.append(match)
        return sorted(kept, key=lambda m: (m.start, -m.score, m.code))

    def _looked_up(self, text: str, spans: Sequence[tuple[int, int]]) -> Iterator[list[Match]]:
        titles = {disease.code: disease.title for disease in diseases()}
        phrases = list(dict.fromkeys(_normal(text[start:end]) for start, end in spans))
        candidates = dict(zip(phrases, self.candidates(phrases), strict=True))
        for start, end in spans:
            scored = candidates[_normal(text[start:end])]
            alike: dict[str, str] = {}
            for score, code, alias in scored:
                # A category stands for what is below it.
                if scored[0][0] == score >= THRESHOLD and not any(code.startswith(above) for above in alike):
                    alike[code] = alias
            yield [Match(start, end, code, titles[code], alias, scored[0][0]) for code, alias in alike.items()]

    def candidates(self, phrases: Sequence[str]) -> list[list[tuple[float, str, str]]]:
        """(score, code, name) of the names each of `phrases` could be: best first, equal ones by code."""
        found: list[list[tuple[float, str, str]]] = []
        if not phrases:
            return found
        batches = (list(phrases[first : first + _BATCH]) for first in range(0, len(phrases), _BATCH))
        for phrase, near in (
            (p, n) for batch in batches for p, n in zip(batch, self._generator(batch, _NEIGHBORS), strict=True)
        ):
            scored = [
                (round(float(score), 2), candidate.concept_id, alias)
                for candidate in near
                for alias, score in zip(candidate.aliases, candidate.similarities, strict=True)
                if _says_all(phrase, alias)
            ]
            found.append(sorted(scored, key=lambda c: (-c[0], c[1], c[2])))
        return found

    @cached_property
    def _generator(self) -> Any:
        """The candidate generator of scispaCy; its imports take more than a second, so they wait until it is needed."""
        import numpy as np
        from scispacy.candidate_generation import CandidateGenerator
        from scispacy.linking_utils import Entity, KnowledgeBase
        from sklearn.feature_extraction.text import TfidfVectorizer

        base = KnowledgeBase([Entity(d.code, d.names[0], list(d.names), [], d.title) for d in diseases()])
        # The order of a set of strings differs from run to run.
        aliases = sorted(base.alias_to_cuis)
        # As scispaCy's own, but for min_df: at this size a rare trigram is what tells two names apart.
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32, preprocessor=_normal)
        return CandidateGenerator(ExactIndex(vectorizer.fit_transform(aliases)), vectorizer, aliases, base)


class ExactIndex:
    """Stands in for the nmslib index that CandidateGenerator asks: the true nearest neighbours, by a sparse product."""

    def __init__(self, vectors: Any) -> None:
        self._columns = vectors.T.tocsr()

    def knnQueryBatch(self, vectors: Any, k: int) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:  # noqa: N802
        """For each row of `vectors` the `k` nearest rows, nearest first, and their cosine distances.

        Rows that share nothing with it are no neighbours; those equally near come in their own order.
        """
        import numpy as np

        products = (vectors @ self._columns).tocsr()
        found = []
        for row in range(products.shape[0]):
            first, last = products.indptr[row], products.indptr[row + 1]
            near, alike = products.indices[first:last], products.data[first:last]
            order = np.lexsort((near, -alike))[:k]
            found.append((near[order], 1 - alike[order]))
        return found


def _stretches(text: str, layout: Layout, taken: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Every run of a few words that could be a name: all of its words begin like words of names."""
    begins = _begins()
    spoken_for = bytearray(len(text))
    for start, end in taken:
        spoken_for[start:end] = b"\1" * (end - start)
    for low, high in _parts(text, layout):
        found = [(fold(w), low + a, low + b) for w, a, b in words(text[low:high]) if w[0].isalnum()]
        for first, (word, start, _) in enumerate(found):
            if word in _EDGE:
                continue
            for last, begin, end in found[first : first + _MOST_WORDS]:
                if _bare(last)[:_BEGIN] not in begins or 1 in spoken_for[begin:end]:
                    break
                if last not in _EDGE and end - start > _BEGIN:
                    yield start, end


def _parts(text: str, layout: Layout) -> Iterator[tuple[int, int]]:
    """The parts of sentences between marks, headings left out."""
    for sentence in layout.sentences:
        if sentence.section in _NEVER:
            continue
        low = sentence.start
        if sentence.heading >= 0:
            low = max(low, min(layout.headings[sentence.heading].body, sentence.end))
        said = text[low : sentence.end]
        cuts = [0, *(cut for mark in _PART.finditer(said) for cut in mark.span()), len(said)]
        yield from ((low + a, low + b) for a, b in zip(cuts[::2], cuts[1::2], strict=True))


@cache
def _begins() -> frozenset[str]:
    """How the words of names begin."""
    return frozenset(
        word[:_BEGIN] for disease in diseases() for name in disease.names for word in _normal(name).split()
    )


def _normal(text: str) -> str:
    """`text` as names are compared: without accents, plurals, possessives and marks, in US spelling."""
    return " ".join(fold(word) for word, _, _ in words(_bare(text)) if word[0].isalnum())


def _bare(text: str) -> str:
    """`text` without accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _says_all(phrase: str, alias: str) -> bool:
    """Whether `phrase` has every word of `alias` that tells one disease from another, a slip in a long one forgiven.

    Letters alone find "schwannomatosis" in "schwannoma", "chronic renal failure" in any, a disease in a Wilson frame.
    """
    said, name = _normal(phrase).split(), _normal(alias).split()
    own = [word for word in name if word not in _KINDS and word not in _SMALL]
    if not _KINDS.isdisjoint(name) and _KINDS.isdisjoint(said):
        return False
    return all(any(_same(word, other) for other in said) for word in own)


def _same(word: str, other: str) -> bool:
    if word == other:
        return True
    # Words that begin alike: "micro" and "macro", "hypo" and "hyper" are a slip or two apart, and opposites.
    return any(
        len(word) >= length and word[:begin] == other[:begin] and edit_distance(word, other, slips) <= slips
        for length, begin, slips in ((6, _BEGIN, 1), (10, _BEGIN + 1, 2))
    )


def not_his(said: frozenset[str]) -> bool:
    """Whether what the cues say of a stretch keeps it from being a disease the patient has or had."""
    return bool(said & _NOT_HIS)
