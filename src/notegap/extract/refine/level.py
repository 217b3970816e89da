"""Vertebral levels: "C5-6", "L4/5", "L3 through S1", "D12", "L5 over S1", "L45", "T11 and 12",
"the fifth lumbar vertebra", "lumbar 4-5".

Normal form: upper-case, hyphen, both letters ("L4-L5" for a motion segment, "L4" for a vertebra; C0 is the occiput).
A span of operated or described segments is every segment in it, a span of vertebral bodies every vertebra.
Not levels: nerve roots, dermatomes, myotomes, MRI sequences (T1, T2), heart sounds (S1, S2), laboratory values and
ICD codes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from notegap.extract.words import lowered

ORDER: tuple[str, ...] = (
    *(f"C{n}" for n in range(8)),
    *(f"T{n}" for n in range(1, 13)),
    *(f"L{n}" for n in range(1, 6)),
    *(f"S{n}" for n in range(1, 6)),
    "CO1",
)
_RANK = {name: i for i, name in enumerate(ORDER)}
_MOST = {"C": 7, "T": 12, "L": 6, "S": 5, "CO": 1}

_LETTER = r"(?:Th|TH|Co|CO|C|T|D|L|S|c|t|d|l|s)"
# A letter apart from its number ("L 4-5", "T 12 fracture"); "L 4/5" alone may be the strength of the left side.
_SPINAL_WORD = r"(?i:dis[ck]|levels?|vertebra|bod(?:y|ies)|compression|burst|wedge|fracture|pedicle|lamina|spinous|(?:superior|inferior) endplate|facet|bulge|protrusion|hernia|stenosis|inter(?:space|vert)|foram|fusion)"
_APART = rf" (?=\d\s?-\s?(?:\d|[STLst]))| (?=\d\s?/\s?(?:\d\s{_SPINAL_WORD}|[STL] ?\d))| (?=\d{{1,2}}\s(?:vertebra|compression|burst|wedge|fracture|pedicle|lamina|spinous))"
_ATOM = rf"(?P<letter>{_LETTER})(?P<gap>-|{_APART}|)(?P<number>\d{{1,2}})"
_START = re.compile(
    rf"(?:(?<![A-Za-z0-9.])|(?:(?<=\b[Aa]t)|(?<=\b[Oo]f))(?=[A-Z]\d))(?:{_ATOM}|(?P<occiput>occiput|Occiput|OCCIPUT|Oc|OC|O)(?=\s?(?:-|to|through)\s?C\s?-?\d))(?!\d)(?!\.\d)(?!%)"
)
_NEXT = re.compile(
    rf"(?P<sep>\s?(?:-|/|_|\\)\s?(?i:and )?|\s?,\s?(?i:and |or )?|\s?[&+]\s?|\s?;\s?(?=\d)|\s+(?i:to|through|though|thorugh|thourgh|throught|throug|thru|thr|and|or|on|over|upon|relative to|with respect to|in relation to|as well as|down to)\s+(?i:the\s+)?|\s?)"
    rf"(?:(?P<letter>{_LETTER})(?P<gap>-| (?=\d\b)|))?(?P<number>\d{{1,2}})(?!\d)(?!\.\d)(?!\s?(?:%|mm|cm|mg|cc|ml|week|month|year|day|hour|x\b|degrees?|views?|pm|am\b))"
)
_GLUED = re.compile(r"(?<![A-Za-z0-9.])(?P<letter>[CLcl])(?P<a>\d)(?P<b>\d)(?![\d.%])(?!\s?(?:mm|cm|mg|cc|ml))")

# What may stand around a level, in lower case unless the capitals tell.
_ROOT_AFTER = re.compile(
    r"^[\s,()]*(?:(?:and|or|the|versus|vs\.?|[clts]\d\)?|left|right|bilateral(?:ly)?|exit(?:ing)?|traversing|spinal|through [a-z]?\d)\s+)*"
    r"(?:n[er]\w{0,4}ves?\b|n\w{2,6} ro+[ts]{1,3}\b|(?:nerve )?ro+ts?\b|(?:nerve )?roost\b|radicul|dermat|myotom|distribution|innervat|sensory|motor|selective|transforaminal block|pattern|(?:medial|lateral) branch|radio-?frequency|rhizotom|rfa\b|rftc\b|(?:posterior |dorsal |ventral )?(?:primary )?ram(?:us|i)\b|dorsal root|drgs?\b|pals(?:y|ies)|transforaminal|epidurogram|weakness|sensation|numbness|reflex|strength)"
)
_ROOT_BEFORE = re.compile(
    r"(?:roots?|nerves?|dermatomes?|myotomes?|dermatomal|radiculopathy|distribution|radiculitis|(?:medial|lateral) branch(?:es)?|ram(?:us|i)|drgs?)\s*(?:(?:of|at|from|in|:|,|right|left|\()\s*)*(?:(?<=of )the\s+)?$"
)
_MUSCLE_BEFORE = re.compile(
    r"\b(?:biceps|triceps|brachioradialis|deltoids?|quadriceps|hamstrings?|gastrocnemius|tibialis \w+|teres \w+|pronator \w+|extensor \w+|flexor \w+|intrinsics?|interossei|iliopsoas|ehl|apb|fdi|jerks?|kj|aj|reflex(?:es)?|patellar|achilles)\s*[(:,]?\s*$|\b(?:flexion|extension|dorsiflexion|plantarflexion|abduction|flexors?|extensors?)\s*\($"
)
# Tumour stage: "T3 N0 M0", "T2N1".
_STAGE_AFTER = re.compile(r"^[a-d]?[\s,/]*[pc]?N[0-3Xx]")
_ANESTHESIA_BEFORE = re.compile(
    r"\ban[a]?esthe\w+ (?:level )?(?:up )?(?:to|till|until) (?:about |the )?(?:level of )?(?:the )?$|\b(?:an[a]?esthe\w+|sensory|block) level (?:of |at |was |is |to )*(?:about )?$"
    r"|\bblock (?:up )?to (?:about |the )?(?:level of )?$"
)
_THYROID = re.compile(r"\b(?:TSH|thyro\w+|thyroid|hormones?)\b|\b[Ff]ree T[34]\b")
_COMPLEMENT = re.compile(r"\b(?:complements?|ANA|ds-?DNA|ANCA|CH50|immunoglobulins?|lupus)\b")
_SPINE_NEAR = re.compile(
    r"dis[ck]|fus|screw|sacr|foram|level|vertebra|root|spin|lumb|\bl-?5|facet|canal|block|branch|ram(?:us|i)\b|bod(?:y|ies)|endplate|fracture|segment|alar|iliac|tender|pain|pedicle|lamin|cyst|lesion|needle|hardware|s[23]-s[34]"
)
_SENSORIMOTOR = re.compile(
    r"\b(?:sensation|sensory|light touch|pin ?prick|motor|strength|power|dermatom\w*|myotom\w*|dtrs?|reflex\w*)\b[^.;\n]*$"
)
_SENSORY_LEVEL = re.compile(
    r"\bsensory level\b[^.;\n]*$|\bradiculopath(?:y|ies) (?:below|above|at|from|down to)(?: \w+)? $"
)
# Light touch and pinprick; "LT PARACENTRAL" is the left side.
_TOUCH = re.compile(
    r"\b(?:LT|PP)\b(?=\s*[/,&]|\s+(?i:and|is|was|in|at|over|of|to|decreased|reduced|intact|loss)\b)[^.;\n]*$"
)
_SEQUENCE_AFTER = re.compile(
    r"^[\s,/-]*(?:(?:and|or|the|sagittal|axial|coronal|fat|t[12])[\s,/-]+)*(?:-?weight|w\b|wi\b|sequences?|signal|hyper-?intens|hypo-?intens|iso-?intens|images?|imaging"
    r"|fse\b|fs\b|tse\b|stir|flair|gre\b|relax|bright|dark|fluid|prolong|sagittal|axial|coronal|with (?:and|fat)|without|pre-?contrast|post-?contrast|marrow|cord signal|gadolin|edema|change|spin)"
)
_SEQUENCE_BEFORE = re.compile(
    r"(?:sagittal|axial|coronal|sequences?|weighted|signal|on|low|high|both|bright on|stir|flair|pd|gre|images?|technique:?|increased|decreased|(?:hyper|hypo|iso)-?intense|intermediate)[\s,:(-]*(?:and\s+)?$"
)
_INTENSE_BEFORE = re.compile(r"(?:hyper|hypo|iso)-?intense (?:on )?$")
_VERTEBRA_AFTER = re.compile(
    r"^[\s,]*(?:(?:and|or)\s+t?\d+\s+)?(?:vertebra|bod(?:y|ies)|level|spinous|pedicle|lamina|compression|fracture|transverse|superior|inferior|endplate|burst|process|wedg|facet|kyphoplast|vertebroplast|collapse|lesion)"
)
_HEART = re.compile(
    r"\b(?:heart|cardiac|cardio\w*|murmurs?|gallops?|rhythm|rrr|auscult\w*|cvs?|regular rate|rubs?|chest)\b|\b(?:no|or|without) (?:an? )?s[34]\b|\bs3 or s4\b",
    re.IGNORECASE,
)
_OTHER_BEFORE = re.compile(
    r"(?:vitamin|vit\.?|free|total|serum|complements?|hepatitis|grade|stage|staged|phase|type|class|classified as(?: an?)?|schedule|factor|clade|figure|table|room|bed|lot|group|model|unit|section|age|ribs?|intercostal|tumou?r|carcinoma|cancer)\s*$"
)
_OTHER_AFTER = re.compile(
    r"^\s*(?:esterase|complement|inhibitor|antibod|toxin|w\b|ns\b|lr\b|gallop|sound|normal\b.*murmur|ribs?\b|quadripleg|tetrapleg|parapleg|segment of the liver|receptor|thyro|(?:double[- ]arm(?:ed)? |tapered |cutting ){0,2}needles?\b|-?glucose|(?:nss?|rl|water|normal saline|iu|units)\b|\d{3,} ?(?:iu|units|mg|mcg))"
)
_BODIES_AFTER = re.compile(
    r"^\s*(?:(?:and|the)\s+)?(?:(?:vertebral\s+)?bodies|pedicles|spinous processes|transverse processes)"
)
_BODIES_BEFORE = re.compile(r"\b(?:fractures|bodies|vertebrae)\s+(?:of\s+|at\s+|involving\s+|from\s+)?(?:the\s+)?$")
_MOVES = re.compile(
    r"^(?=(?:[^.;\n]|(?<=\d)\.(?=\d))*\b(?:sublux\w*|slip\w*|slid\w*|\w*listh\w*|translat\w*|displac\w*|offset|shift\w*|mov(?:es|ed|ing)|rid(?:es|ing)|rode|glid\w*|set|sits?|sat|lies"
    r"|(?:for|back)wards?|back|anterior\w*|posterior\w*|dorsal\w*|ventral\w*|malposition\w*|rotat\w*|tilt\w*|rocks?)\b)"
    r"(?:[^.;\n]|(?<=\d)\.(?=\d)){0,70}\b(?:on|over|upon|against|relative to|with respect to|in relation to|behind|in front of)\s+(?:the\s+)?$"
)
_NAMED_BEFORE = re.compile(r"\b(?:at|of|level|body|vertebra|involving|through|and)\s*$")
_BETWEEN = re.compile(r"\bbetween\s+(?:the\s+)?$")


@dataclass(frozen=True, slots=True)
class LevelSpan:
    """Where levels are named and which."""

    start: int
    end: int
    values: tuple[str, ...]


def region_of(level: str) -> str:
    """The region of a level: "L5-S1" → lumbosacral, "C2" → occipito_atlanto_axial (vocabulary.yaml, LABELS 11)."""
    first, _, second = level.partition("-")
    if second:
        if first == "C7" and second == "T1":
            return "cervicothoracic"
        if first == "T12" and second == "L1":
            return "thoracolumbar"
        if first in ("L5", "L6") and second == "S1":
            return "lumbosacral"
        if second in ("C1", "C2"):
            return "occipito_atlanto_axial"
        return _BY_LETTER[second[0]] if first[0] == second[0] else _BY_LETTER[first[0]]
    if first in ("C0", "C1", "C2"):
        return "occipito_atlanto_axial"
    return "sacral" if first.startswith("CO") else _BY_LETTER[first[0]]


_BY_LETTER = {"C": "cervical", "T": "thoracic", "L": "lumbar", "S": "sacral"}


def _vertebra(letter: str, number: str) -> str | None:
    letter = letter.upper()
    letter = {"TH": "T", "D": "T"}.get(letter, letter)
    n = int(number)
    if letter not in _MOST or n > _MOST[letter] or (n == 0 and letter != "C"):
        return None
    return f"{letter}{n}"


def _next_below(level: str) -> str | None:
    if level == "L6":
        return "S1"
    rank = _RANK.get(level)
    return ORDER[rank + 1] if rank is not None and rank + 1 < len(ORDER) else None


def _between(a: str, b: str) -> tuple[str, ...] | None:
    """The vertebrae from `a` to `b`, or None when b is not below a."""
    if "L6" in (a, b):
        return (a, b)
    if a not in _RANK or b not in _RANK or _RANK[b] <= _RANK[a]:
        return None
    return ORDER[_RANK[a] : _RANK[b] + 1]


def _elided(before: str, number: str) -> str | None:
    """The vertebra a bare number means after `before`: "L4-5" → L5, "L5-1" → S1, "T12-1" → L1."""
    n = int(number)
    letter = "CO" if before.startswith("CO") else before[0]
    last = int(before[len(letter) :])
    below = _next_below(before)
    if n > last:
        return _vertebra(letter, number)
    if below is not None and below[0] != before[0] and n == int(below.lstrip("CTLSO")):
        return below
    return None


def _kind(separator: str) -> str:
    word = separator.strip().lower()
    if word in ("-", "_", "\\", "–", ""):
        return "dash" if word else "glue"
    if word == "/":
        return "slash"
    if word.startswith(("to", "th", "down")):
        return "span"
    if word.startswith(("on", "over", "upon", "relative", "with", "in")):
        return "over"
    return "list"


_SIGNS = str.maketrans(dict.fromkeys("‐‑‒–—−~", "-"))
_FIRST_AS_LETTER = re.compile(r"[Il](?:(?<=[LS]5[-/ ]S[Il])\b|(?<=[TL]I)(?=\d?\s?-\s?[TLS][I\d])|(?<=[-/]TI)(?=\d?\b))")
_TENS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_NTH = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12,
}  # fmt: skip
_ORDINAL = re.compile(
    rf"\b(?P<nth>{'|'.join(_NTH)}|(?P<n>\d{{1,2}})(?:st|nd|rd|th)) (?P<part>cervical|thoracic|dorsal|lumbar|sacral) (?:vertebra\w*|bod(?:y|ies)|segment|spinous)"
)
_WRITTEN_OUT = re.compile(
    rf"\b(?P<part>cervical|thoracic|dorsal|lumbar|[CTL])[ -](?P<a>\d{{1,2}}|{'|'.join(_TENS)})\s?[-/]\s?(?P<sacral>sacral[ -]|S)?(?P<b>\d{{1,2}}|{'|'.join(_TENS)})\b"
    r"(?!\s?(?:%|mm|cm|mg|cc|ml|x\b|times|weeks?|months?|years?|days?|hours?|views?|degrees?|/|injections?|surger))",
    re.IGNORECASE,
)


def find_levels(text: str) -> list[LevelSpan]:
    """Every place of plain `text` that names vertebral levels, in text order."""
    signs = text.replace("~", "-") if text.isascii() else text.translate(_SIGNS)
    text = _FIRST_AS_LETTER.sub("1", signs)
    found = _symbols(text)
    taken = [(s.start, s.end) for s in found]
    words = [s for s in _words(text) if not any(s.start < e and b < s.end for b, e in taken)]
    return _joined(text, sorted([*found, *words], key=lambda s: s.start))


def _words(text: str) -> list[LevelSpan]:
    """Levels written out: "the fifth lumbar vertebra", "lumbar 4-5", "L four-five"."""
    out = []
    for match in _ORDINAL.finditer(lowered(text)):
        number = match["n"] or str(_NTH[match["nth"]])
        vertebra = _vertebra(match["part"][0], number)
        if vertebra:
            out.append(LevelSpan(match.start(), match.end("part"), (vertebra,)))
    for match in _WRITTEN_OUT.finditer(text):
        a, b = (str(_TENS.get(match[k].lower(), match[k])) for k in ("a", "b"))
        if len(match["part"]) == 1 and (a == match["a"] or not match["part"].isupper()):
            continue  # "L 4-5" is read sign by sign
        upper = _vertebra(match["part"][0], a)
        lower = _vertebra("S", b) if match["sacral"] else upper and _elided(upper, b)
        if upper and lower and _next_below(upper) == lower:
            values = (f"{upper}-{lower}",)
            if _is_level(text, match.start(), match.end(), values, single=False):
                out.append(LevelSpan(match.start(), match.end(), values))
    return out


def _symbols(text: str) -> list[LevelSpan]:
    """Levels written with letter and number."""
    out: list[LevelSpan] = []
    at = 0
    while match := _START.search(text, at):
        at = match.end()
        chain = _read_chain(text, match)
        if chain is None:
            continue
        end, values, single = chain
        at = end
        if not _is_level(text, match.start(), end, values, single=single):
            continue
        out.append(LevelSpan(match.start(), end, values))
    return [*out, *_glued(text, out)]


def _joined(text: str, found: list[LevelSpan]) -> list[LevelSpan]:
    """Two vertebrae of which one moved on the other are the segment: "L5 has slipped 5 mm forward over S1"."""
    out = list(found)
    for number, (upper, lower) in enumerate(pairwise(found)):
        if len(upper.values) != 1 or len(lower.values) != 1:
            continue
        (a,), (b,) = upper.values, lower.values
        if "-" in a or "-" in b:
            continue
        first, second = (a, b) if _next_below(a) == b else (b, a)
        between = text[upper.end : lower.start].lower()
        if _next_below(first) != second or not _MOVES.match(between):
            continue
        segment = (f"{first}-{second}",)
        out[number] = LevelSpan(upper.start, upper.end, segment)
        out[number + 1] = LevelSpan(lower.start, lower.end, segment)
    return out


def _glued(text: str, found: list[LevelSpan]) -> list[LevelSpan]:
    """Both numbers run together: "L45", "C56"."""
    taken = [(s.start, s.end) for s in found]
    out = []
    for match in _GLUED.finditer(text):
        a, b = int(match["a"]), int(match["b"])
        letter = match["letter"].upper()
        if any(s < match.end() and match.start() < e for s, e in taken):
            continue
        below = "S1" if (letter, a, b) == ("L", 5, 1) else f"{letter}{b}" if b == a + 1 and b <= _MOST[letter] else None
        if below and a > 0:
            values = (f"{letter}{a}-{below}",)
            if _is_level(text, match.start(), match.end(), values, single=False):
                out.append(LevelSpan(match.start(), match.end(), values))
    return out


def _read_chain(text: str, match: re.Match[str]) -> tuple[int, tuple[str, ...], bool] | None:
    """Read "L3-4, L4-5 and L5-S1" from its first atom: its end, its levels, whether it names lone vertebrae only."""
    first = "C0" if match["occiput"] else _vertebra(match["letter"], match["number"])
    if first is None:
        return None
    if match["letter"] and match["letter"].islower() and match["letter"] in "dst" and not match["gap"]:
        follows = text[match.end() : match.end() + 1]
        if (follows not in "-/" or not follows) and not (
            match["letter"] in "td" and _VERTEBRA_AFTER.match(text[match.end() : match.end() + 40].lower())
        ):
            return None
    groups: list[list[tuple[str, str]]] = [[("", first)]]
    end = match.end()
    while step := _NEXT.match(text, end):
        before = groups[-1][-1][1]
        kind = _kind(step["sep"])
        if _ends_chain(text, step, kind, spanned=len(groups[-1]) > 1):
            break
        if step["letter"]:
            here = _vertebra(step["letter"], step["number"])
        elif kind == "list" and len(groups[-1]) > 1:
            here = _vertebra(before[0], step["number"])  # "L3-4, 4-5"
            comma = groups[-1][-1][0] == "comma" and _next_below(before) == here
            if here is None or not (
                comma or re.match(r"\s?[-/]\s?[A-Z]?\d(?!\d|/)", text[step.end() : step.end() + 6])
            ):
                break
            if comma:
                groups[-1].append(("comma", here))  # "C5, 6 and 7"
                end = step.end()
                continue
        else:
            here = _elided(before, step["number"])
        if here is None:
            break
        if kind == "slash" and not step["letter"] and _next_below(before) != here:
            break  # "L5/5": strength, not a level
        if kind in ("dash", "slash", "glue", "span", "over") and (_between(before, here) is not None):
            groups[-1].append((kind, here))
        elif (
            kind in ("dash", "span") and step["letter"] and len(groups[-1]) == 1 and _between(here, before) is not None
        ):
            groups[-1] = [("", here), (kind, before)]  # read from below: "S1-L4"
        elif (
            kind == "list" and not step["letter"] and re.match(r"\s?,\s?$", step["sep"]) and _next_below(before) == here
        ):
            groups[-1].append(("comma", here))  # "L4,5"
        elif kind in ("list", "slash"):
            groups.append([("", here)])
        else:
            break
        end = step.end()
    values: list[str] = []
    before = text[max(0, match.start() - 40) : match.start()].lower()
    bodies = bool(_BODIES_AFTER.match(text[end : end + 40].lower()) or _BODIES_BEFORE.search(before))
    if _BETWEEN.search(before) and len(groups) == 2 and all(len(g) == 1 for g in groups):
        groups = [[groups[0][0], ("span", groups[1][0][1])]]  # "between C4 and C6"
    for group in groups:
        values.extend(_expand(group, bodies=bodies, listed=bodies or text[end:].lstrip().startswith("vertebrae")))
    return end, tuple(dict.fromkeys(values)), all(len(g) == 1 for g in groups)


def _ends_chain(text: str, step: re.Match[str], kind: str, *, spanned: bool) -> bool:
    """Whether the number after `step`'s separator is no further level of the chain."""
    if kind == "span" and spanned and re.match(r"\s+(?i:level)\b", text[step.end() : step.end() + 8]):
        return True  # "from T12-L1 to the S1 level" ends at a level of its own
    if step["letter"]:
        return step["gap"] == " " and kind not in ("dash", "slash")
    separator = step["sep"].lower()
    if step["number"].startswith("0") or (
        kind in ("span", "over") and re.match(r"\s?/\s?\d", text[step.end() : step.end() + 3])
    ):
        return True
    if kind in ("list", "glue") and re.match(r"\s?/\s?\d{1,2}(?:/|\s?\d{3})", text[step.end() : step.end() + 6]):
        return True  # a date
    return kind == "glue" or (kind == "list" and "and" not in separator and not re.match(r"\s?[,;&+]\s?$", separator))


def _expand(group: list[tuple[str, str]], *, bodies: bool, listed: bool) -> list[str]:
    if len(group) == 1:
        return [group[0][1]]
    if all(kind == "comma" for kind, _ in group[1:]) and (listed or len(group) > 2):
        return [vertebra for _, vertebra in group]
    out: list[str] = []
    for (_, a), (kind, b) in pairwise(group):
        run = _between(a, b) or (a, b)
        if bodies and (len(run) > 2 or kind in ("span", "dash")):
            out.extend(run)
        else:
            out.extend(f"{x}-{y}" for x, y in pairwise(run))
    return out


def _is_level(text: str, start: int, end: int, values: tuple[str, ...], *, single: bool) -> bool:
    before, after = text[max(0, start - 60) : start], text[end : end + 60]
    low_before, low_after = before.lower(), after.lower()
    line_start = text.rfind("\n", 0, start) + 1
    line = text[max(line_start, start - 120) : end + 80]
    # A root leaves by one foramen: "L2-L3 transforaminal injection" is given at a segment.
    segment = not single and re.match(r"\s*transforaminal\b", low_after)
    if (
        (_ROOT_AFTER.match(low_after) and not segment)
        or _ROOT_BEFORE.search(low_before)
        or _MUSCLE_BEFORE.search(low_before)
    ):
        return False
    if values[0].startswith("T") and _STAGE_AFTER.match(after):
        return False
    if _OTHER_BEFORE.search(low_before) or _OTHER_AFTER.match(low_after):
        return False
    if _ANESTHESIA_BEFORE.search(low_before):
        return False
    if set(values) <= {"T3", "T4", "T3-T4"} and (
        _THYROID.search(line) or re.match(r"\s*(?:of|was|is|=|:)?\s*\d+\.\d", after)
    ):
        return False
    if set(values) <= {"C3", "C4"} and _COMPLEMENT.search(line):
        return False
    if (
        text[start] in "Dd"
        and single
        and values[0] in ("T5", "T10")
        and not _VERTEBRA_AFTER.match(low_after)
        and not _NAMED_BEFORE.search(low_before)
    ):
        return False  # a sugar solution
    if single and _SENSORY_LEVEL.search(text[max(line_start, start - 160) : start].lower()):
        return False
    tested = [found.start() for found in (_SENSORIMOTOR.search(low_before), _TOUCH.search(before)) if found]
    if tested and not re.search(r"\b(?:at the level of|fracture|disc|disk|vertebra)", low_before[min(tested) :]):
        return False
    if set(values) <= {"T1", "T2", "T1-T2"}:
        # "C7 glides 3 mm on T1" is the vertebra below, not what is bright on T1.
        seventh = re.search(r"\bC7\b", before)
        moved_on = seventh is not None and _MOVES.match(low_before[seventh.end() :])
        named = _VERTEBRA_AFTER.match(low_after) or moved_on
        if (
            _INTENSE_BEFORE.search(low_before)
            or _SEQUENCE_AFTER.match(low_after)
            or (_SEQUENCE_BEFORE.search(low_before) and not named)
        ):
            return False
        if single and not named and not re.search(r"\b(?:at|of|through|to|from|between|level|c7|and)\s*$", low_before):
            return False
    if values == ("S1",) and re.match(r"\s*joint\b", after):
        return False  # "S1 joint" is a slip for "SI joint"
    heart = set(values) <= {"S1", "S2", "S3", "S4", "S1-S2", "S3-S4"} and _HEART.search(line)
    if set(values) in ({"S2"}, {"S1", "S2"}, {"S1-S2"}, {"S1", "S2", "S3"}) and not _SPINE_NEAR.search(line.lower()):
        return False
    return not heart
