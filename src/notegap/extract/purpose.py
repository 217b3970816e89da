"""What a treatment is for: a drug for migraine or a knee brace is no treatment of the spinal condition (LABELS 16)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from notegap.extract.boundaries import Sentence
from notegap.extract.pipeline import Raw

# From the treatment to what it is for: "amitriptyline at night for treatment of her migraines".
_FOR = re.compile(
    r"^(?:(?!\bfor\b)[^.;\n]){0,60}?\b(?:(?:for|to (?:treat|control|prevent|manage|help)|because of|due to|secondary to|on account of)\b(?:[\s,]+(?!for\b)[\w'-]+){0,5}"
    r"|(?:in|into|to|of|on|over)(?: (?:the|his|her|both|left|right|bilateral)){1,2})\s*$",
)
# From what it is for to the treatment: "her migraines are treated with amitriptyline", "asthma, on prednisone".
_WITH = re.compile(
    r"^[\s,]*(?:(?:pain|arthritis|oa|djd|surgery|replacement|arthroplasty|injury|sprain|strain|attacks?|flares?|symptoms?|which|is|are|was|were|has|have|been|currently|now|well)[\s,]+){0,4}"
    r"(?:(?:treated|managed|controlled|relieved|helped)\s+(?:with|by|on)|on|takes?|taking|uses?|using|requir\w+|receiv\w+)\s+(?:[\w'-]+\s+){0,3}$",
)
# "Oxycodone 30 mg with Lunesta 3 mg for sleep": the purpose is the nearer drug's.
_NEARER = re.compile(r"(?:,|\bwith\b|\bplus\b)\s+[a-z][\w-]+ \d[\d./]* ?(?:mg|mcg|g|ml)\b")
_SPINE = re.compile(
    r"\b(?:back|neck|spin\w+|backache|lumb\w+|cervic\w+|thoracic|radic\w+|sciatic\w*|dis[ck]s?|facet\w*|legs?|arms?|nerve pain|spasms?|myelopath\w+|stenosis)\b",
)
# "Stopped naproxen because of stomach upset": what it did, not what it was for.
_BECAUSE = re.compile(r"\b(?:because of|due to|secondary to|on account of)\b")
_STOPPED = re.compile(
    r"\b(?:stop\w*|quit|discontinu\w*|held|d/?c'?e?d|intoleran\w+|unable to (?:take|tolerate)|(?:can|could)(?:not|n't| not) (?:take|tolerate))\b",
)
_ALSO = 30
"""Characters after a complaint in which the back may still be named beside it: "for her knee and low back pain"."""


def is_for_another(text: str, raw: Raw, sentence: Sentence, spans: Iterable[Raw]) -> bool:
    """Whether the sentence says that the treatment `raw` is for something else than the spine."""
    for other in spans:
        if other.concept != "unrelated" and not other.key.startswith("part/other_"):
            continue
        if raw.end <= other.start:
            near = text[raw.end : min(other.end + _ALSO, sentence.end)]
            between = text[raw.end : other.start]
            if _BECAUSE.search(between) and _STOPPED.search(text[sentence.start : other.start]):
                continue
            if _FOR.match(between) and not _NEARER.search(between) and not _SPINE.search(near):
                return True
        elif (
            other.end <= raw.start
            and _WITH.match(text[other.end : raw.start])
            and not _SPINE.search(text[sentence.start : raw.end])
        ):
            return True
    return False
