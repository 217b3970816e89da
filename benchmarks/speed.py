"""How many notes a second, beside stock medspaCy with as many target rules, in turns in the same process.

    python benchmarks/speed.py [--notes 20] [--rounds 3]

The notes are those of notes.py. The peer is `medspacy.load()` as it comes (PyRuSH sentences, target matcher, ConText),
with one literal rule for each of notegap's terms; it finds phrases and their assertion, and no regions, levels or
checklists. PyRuSH's logging of every token is off.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence

from notes import note

from notegap import Analyzer, Note
from notegap.knowledge import load_knowledge
from notegap.knowledge.terms import GAP, expand, slots

CODES = ("M24.28",)
Read = Callable[[str], object]


def main() -> None:
    """Measure all in turns, so that a busy machine is unfair to none, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=20, help="notes in a round (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    options = parser.parse_args()
    texts = [note(number) for number in range(options.notes)]
    words = statistics.mean(len(text.split()) for text in texts)
    rules = list(_phrases())
    readers = {
        "notegap extract": _extract(),
        "notegap analyze": _analyze(),
        f"stock medspaCy, {len(rules)} rules": _stock_medspacy(rules),
    }
    for read in readers.values():
        read(texts[0])
    rates: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(options.rounds):
        for name, read in readers.items():
            rates[name].append(len(texts) / _seconds(read, texts))
    print(f"{options.rounds} rounds of {len(texts)} notes of {words:.0f} words, one process\n")
    print(f"{'':<32}{'min':>8}{'median':>8}{'max':>8}   notes/s")
    for name, rate in rates.items():
        print(f"{name:<32}{min(rate):>8.1f}{statistics.median(rate):>8.1f}{max(rate):>8.1f}")


def _seconds(read: Read, texts: Sequence[str]) -> float:
    start = time.perf_counter()
    for text in texts:
        read(text)
    return time.perf_counter() - start


def _extract() -> Read:
    analyzer = Analyzer()
    return lambda text: analyzer.extract(Note(id="benchmark", text=text))


def _analyze() -> Read:
    analyzer = Analyzer()
    return lambda text: analyzer.analyze(Note(id="benchmark", text=text, codes=CODES))


def _stock_medspacy(phrases: Sequence[tuple[str, str]]) -> Read:
    from loguru import logger

    logger.disable("PyRuSH")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import medspacy
        from medspacy.ner import TargetRule

        nlp = medspacy.load()
        nlp.get_pipe("medspacy_target_matcher").add([TargetRule(phrase, concept) for phrase, concept in phrases])

    def read(text: str) -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return nlp(text)

    return read


def _phrases() -> Iterator[tuple[str, str]]:
    """One literal phrase for each term of a reported concept, with the concept it means."""
    for concept in load_knowledge().concepts.values():
        for value in concept.values.values() if concept.reported else ():
            for term in value.terms:
                yield _shortest(term), concept.name.upper()


def _shortest(term: str) -> str:
    """The first alternative of every word that a term asks for."""
    places = slots(term)
    if places is not None:
        return " ".join(place.words[0] for place in places if not place.optional and place.words[0] != GAP)
    return " ".join(word for word in expand(term)[0] if word != GAP)


if __name__ == "__main__":
    main()
