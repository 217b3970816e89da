"""The region a title names. Read from the words, never from the digit: 9 is "multiple" in M49.8 and
"unspecified" in M53.2X.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

UNSPECIFIED = "unspecified"
MULTIPLE = "multiple"
OTHER_SITES = ("pelvic", "lower_extremity", "upper_extremity", "rib_cage", "abdomen")
"""Sites of the M99 axis that are no spinal region."""

SPINE = (
    *("M40", "M41", "M42", "M43", "M45", "M46", "M47", "M48", "M49", "M50", "M51", "M53", "M54"),
    *("M24.28", "M96.0", "M96.1", "M96.2", "M96.3", "M96.4", "M96.5", "M99", "M80.08", "M80.88", "M88.1"),
    *("S12", "S13", "S22.0", "S23", "S32.0", "S32.1", "S32.2", "S33", "Q76.0", "Q76.1", "Q76.2", "Q76.3", "Q76.4"),
)
"""The stems whose codes are about the spine."""

_SITE = re.compile(
    r"\b(occipito-atlanto-axial|cervicothoracic|thoracolumbar|lumbosacral|sacral and sacrococcygeal"
    r"|cervical|thoracic|lumbar|sacral|head|pelvic) region\b"
    r"|\b(lower extremity|upper extremity|rib cage|abdomen)(?: and other regions)?$"
    r"|\b(site unspecified|unspecified sites? in spine|unspecified site|unspecified region)\b|\b(multiple sites)\b"
)
_NAMES = {
    "occipito-atlanto-axial": "occipito_atlanto_axial",
    "head": "occipito_atlanto_axial",
    "sacral and sacrococcygeal": "sacral",
    "lower extremity": "lower_extremity",
    "upper extremity": "upper_extremity",
    "rib cage": "rib_cage",
}
# "high cervical", "mid-cervical" (M50) are parts of the region, "unspecified cervical region" is all of it.
_PART = re.compile(r"\b(high |mid-)cervical\b")

# The Alphabetical Index sends the junctions of M99 to the region above, occipitocervical to the head.
_M99_JUNCTIONS = {"cervicothoracic": "cervical", "thoracolumbar": "thoracic", "lumbosacral": "lumbar"}

_WORDS = re.compile(
    r"\b(?:(?P<occipito_atlanto_axial>atlanto-?(?:axial|occipital)|(?:first|second) cervical vertebra|C0/C1|C1/C2)"
    r"|(?P<cervicothoracic>cervicothoracic|C7/T1)|(?P<thoracolumbar>thoracolumbar|T12/L1)"
    r"|(?P<lumbosacral>lumbosacral|L5/S1)|(?P<cervical>cervical|cervicalgia)|(?P<thoracic>thoracic)|(?P<lumbar>lumbar)"
    r"|(?P<sacral>sacral|sacrum|coccyx|sacrococcygeal|sacroiliac|sacroiliitis))\b",
    re.IGNORECASE,
)


def is_spinal(code: str) -> bool:
    """Whether the dotted `code` belongs to the spine."""
    return code.startswith(SPINE)


def titled_site(title: str) -> str | None:
    """The site of the site axis `title` ends in, such as "lumbar region" or "multiple sites in spine"."""
    found = None
    for match in _SITE.finditer(title):
        region, other, unspecified, multiple = match.groups()
        named = region or other
        found = _NAMES.get(named, named) if named else UNSPECIFIED if unspecified else MULTIPLE if multiple else found
    return found


def worded_site(title: str) -> str | None:
    """The one region `title` names in any words ("Fracture of sacrum"); None when it names none or several."""
    match = next(_WORDS.finditer(title), None)
    # "C0/C1 cervical vertebrae": a level or a numbered vertebra says more than the word after it.
    if match is not None and match.lastgroup and ("/" in match[0] or match.lastgroup == "occipito_atlanto_axial"):
        return match.lastgroup
    named = {match.lastgroup for match in _WORDS.finditer(title)}
    return named.pop() if len(named) == 1 else None


def axis_of(children: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Site → code from (code, title) of the children; a site several of them share is left out.

    Fewer than two sites are no axis.
    """
    whole: dict[str, list[str]] = {}
    unspecified_cervical = None
    family = ""
    for code, title in children:
        family = code[:3]
        site = titled_site(title)
        if site is None or _PART.search(title):
            continue
        if "unspecified cervical region" in title:
            unspecified_cervical = code
        whole.setdefault(site, []).append(code)
    axis = {site: codes[0] for site, codes in whole.items() if len(codes) == 1}
    if unspecified_cervical:
        axis[UNSPECIFIED] = unspecified_cervical
    if len(axis) < 2:
        return {}
    if family == "M99":
        axis |= {junction: axis[above] for junction, above in _M99_JUNCTIONS.items() if above in axis}
    return axis
