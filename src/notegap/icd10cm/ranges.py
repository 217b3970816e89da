"""The codes an instruction of the tabular names in its parentheses, and whether a code is one of them.

A range is written as the tabular writes it: `A18.01` (with everything below it), `M24.2-`, `M45.-`, `M40-M54`,
`M23.5-M23.8X9`; and, where the tabular says "M51.- with fifth character 4", as `M51.?4`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_CODE = r"[A-Z][0-9A][0-9A-Z](?:\.[0-9A-Z]{1,4})?"
_TOKEN = re.compile(rf"(?<![A-Za-z0-9.])({_CODE})(\.?-?)(?:\s*(?:-|to)\s*({_CODE})(\.?-?))?(?![A-Za-z0-9])")
_PARENTHESES = re.compile(r"\(([^()]*)\)")
_QUALIFIED = re.compile(r"^(.*?),?\s*\bwith\b\s*(.*)$")
_ENDINGS = re.compile(r"^(?:final characters )?(\.\d+-?(?:(?:,|\.| or|-)?\s*\.\d+-?)*)$")
_NTH = re.compile(r"^(fifth|5th|seventh|7th)[ -]character ([0-9A-Z])(?: or ([0-9A-Z]))?$")

# NOTE: M45.0 is a leaf (multiple sites); "ankylosing spondylitis (M45.0-)" at M43.2 and M08.1 can only mean M45.-.
_MISPRINTS = {"M45.0-": "M45.-"}


def parse_codes(text: str, order: Mapping[str, int]) -> tuple[str, ...]:
    """The ranges `text` names; `order` is each category's place in the tabular. Codes it does not know are no codes.

    A qualifier we cannot express ("with final characters -23") gives no code rather than too many.
    """
    found: list[str] = []
    for inside in _PARENTHESES.findall(text):
        found += _ranges(inside, order)
    if not found and not _QUALIFIED.match(text):
        found = _ranges(_PARENTHESES.sub("", text), order)
    return tuple(dict.fromkeys(found))


def _ranges(text: str, order: Mapping[str, int]) -> list[str]:
    qualified = _QUALIFIED.match(text.strip())
    if qualified is None:
        return [written for written, _, _ in _tokens(text, order)]
    stems = _stems(qualified[1], order)
    qualifier = qualified[2].strip()
    endings = _ENDINGS.match(qualifier)
    if endings:
        return [f"{stem}.{end}" for stem in stems if "." not in stem for end in re.findall(r"\d+", endings[1])]
    nth = _NTH.match(qualifier)
    if nth:
        place = 5 if nth[1] in ("fifth", "5th") else 7
        return [_nth(stem, place, char) for stem in stems for char in nth.group(2, 3) if char]
    return []


def _tokens(text: str, order: Mapping[str, int]) -> list[tuple[str, str, str]]:
    """(as written, first code, last code or "") of every code or range in `text`."""
    tokens = []
    for match in _TOKEN.finditer(text):
        first, tail, last, _ = match.groups()
        if first[:3] not in order or (last and last[:3] not in order):
            continue
        # "M51.1.-" is a misprint for "M51.1-".
        written = first + (".-" if tail == ".-" and "." not in first else "-" if tail.endswith("-") else "")
        if last:
            written = f"{first}-{last}"
        tokens.append((_MISPRINTS.get(written, written), first, last or ""))
    return tokens


def _stems(text: str, order: Mapping[str, int]) -> list[str]:
    """The codes before a qualifier, ranges of categories spelt out; a range inside a category cannot be."""
    categories = sorted(order, key=lambda category: order[category])
    stems: list[str] = []
    for _, first, last in _tokens(text, order):
        if not last:
            stems.append(first)
        elif "." not in first + last:
            stems += categories[order[first] : order[last] + 1]
    return stems


def _nth(stem: str, place: int, char: str) -> str:
    bare = stem.replace(".", "")
    return dotted(bare + "?" * (place - 1 - len(bare)) + char)


def dotted(bare: str) -> str:
    """`M532X6` → `M53.2X6`."""
    return bare if len(bare) <= 3 else f"{bare[:3]}.{bare[3:]}"


def covers(written: str, code: str, order: Mapping[str, int]) -> bool:
    """Whether the dotted `code`, and so all below it, lies in the range `written`."""
    if "?" in written:
        mask, bare = written.replace(".", ""), code.replace(".", "")
        return len(bare) >= len(mask) and all(m in ("?", c) for m, c in zip(mask, bare, strict=False))
    low, dash, high = written.partition("-")
    low, high = low.rstrip("."), high.rstrip(".-")
    if not dash or not high:
        return code.startswith(low)
    place, first, last = order.get(code[:3]), order.get(low[:3]), order.get(high[:3])
    if place is None or first is None or last is None:
        return False
    # Categories follow the tabular, where M1A stands before M10 and C7B before C76; below them ASCII does.
    rest = code[4:]
    return (first, low[4:]) <= (place, rest) and (place, rest[: len(high[4:])]) <= (last, high[4:])
