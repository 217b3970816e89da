"""Risks: the sentences that name what might go wrong at an operation; nothing in them happened (LABELS 21)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from notegap.extract.boundaries import Sentence

_RISK = re.compile(r"\b(?:risks?|complications?|consent(?:ed)?|hazards?)\b")
_HARMS = re.compile(
    r"\b(?:infections?|bleeding|hemorrhage|death|paralysis|stroke|hematoma|spinal fluid leak|csf leak|dural (?:tear|puncture)|nerve (?:injury|damage)|"
    r"blood clots?|heart attack|non-?union|anesthe\w+|hoarseness|swallowing|worsen\w*|failure|reaction|pneumothorax|embol\w+|quadripleg\w+|recurrence)\b",
)
_MODAL = re.compile(
    r"\b(?:may|could|can|might|possible|possibility|potential(?:ly)?|danger|development of|requir\w+|would)\b",
)


def risk_sentences(text: str, sentences: Sequence[Sentence]) -> frozenset[int]:
    """The sentences that name what might go wrong: they speak of risk and harms, or go on with such a list."""
    out = set()
    running = 0
    for number, sentence in enumerate(sentences):
        words = text[sentence.start : sentence.end]
        harms = len(_HARMS.findall(words))
        if (_RISK.search(words) and harms >= 1) or (harms >= 3 and (running or _MODAL.search(words))):
            out.add(number)
            running = 4
        elif running and _MODAL.search(words) and sentence.section != "assessment":
            out.add(number)
            running -= 1
        else:
            running = 0
    return frozenset(out)
