"""Boundaries: where lines, headings and sentences of a note begin and end, in characters.

Real notes are laid out in every way: headings with and without colon, alone or inline, "HEADING:,  text,1.  item"
(transcripts that lost their newlines to commas), bullets, numbered items, hard-wrapped paragraphs, double spaces for
full stops. Sentences here are what a negation may not leave: a line that ends, an item, a heading, a full stop.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

# A full stop after one of these ends no sentence.
_SHORT = frozenset(
    {"dr", "mr", "mrs", "ms", "st", "vs", "lig", "ligs", "approx", "no", "nos", "fig", "figs", "ant", "post", "e.g", "i.e", "eg", "ie", "wt", "ht", "q", "s.p", "jr", "sr", "inc", "dept", "est", "resp", "max", "min", "bilat", "lat", "med", "sup", "inf", "tab", "tabs", "cap", "caps"}
)  # fmt: skip

# A comma that stood for a line end: right after a full stop, colon or question mark, or before a numbered item or a heading.
_LOST_NEWLINE = re.compile(
    r"(?<=[.:;?!)]),(?=\s*(?:[A-Z0-9(\"*-]|$))"
    r"|,(?=\s{0,3}\d{1,2}[.)]\s{1,3}[A-Z])"
    r"|,(?=\s?[A-Z][A-Z][A-Z /&,'()-]{1,50}:)"
)
_ITEM = re.compile(r"^\s*(?:[-*+>#]|\(?\d{1,2}[.)](?!\d)|[a-z][.)]\s|\[[ xX]?\])\s*")
# The number of an item of a list within a line: "1) stenosis 2) r/o discitis", "1. MRI 2. therapy", "#1 ... #2 ...", "a) ... b) ...".
_NUMBERED = re.compile(
    r"(?<![^\s,;:.(])(?:\(?(?P<n>\d{1,2})[.)]|#(?P<h>\d{1,2})[.):]?|\(?(?P<a>[a-j])\))(?=\s*[A-Za-z?(])"
)
_STOP = re.compile(
    r"[.?!]+[\"')\]]*(?=\s+[\"'(\[]?[A-Z0-9+-]|,|\s*$)|(?<=[a-z])\.(?=[A-Z][a-z])|[.?!](?=\s{2,})|/{3,}|={2,}>?|-{2,}>"
)
_WIDE_GAP = re.compile(r"(?<=[\w)%]) {2,}(?=(?:nil|no|not|denies|neg|pos|without)\b)", re.IGNORECASE)
_TITLE_CHARS = r"[A-Za-z0-9][A-Za-z0-9 /&()\-',.+#]{0,68}?"
_LINE_TITLE = re.compile(rf"^\s*(?:[-*#>]+\s*|\(?\d{{1,2}}[.)]\s*)?(?P<title>{_TITLE_CHARS})\s*:(?!\d)")
# The verb of a statement, which a title has not.
_TELLS = re.compile(r"\b(?:is|are|was|were|shows?|showed|has|had|noted|seen|with|denies)\b", re.IGNORECASE)
_CAPS_LINE = re.compile(r"^\s*(?P<title>[A-Z][A-Z0-9 /&()\-',.]{2,70}?)\s*:?\s*$")
# "... lymphoma. Assessment and Plan: No fracture.": a known title after a full stop opens its section within a line too.
_MID_TITLE = re.compile(r"(?<=[.;!?])\s+(?P<title>[A-Z][a-z]+(?:(?: and | of | & |[ /])[A-Za-z][a-z]+){0,3})\s*:(?=\s)")
_INLINE_TITLE = re.compile(r"(?<=[.,;!?)\s])\s*(?P<title>[A-Z][A-Z]+(?:[ /&-]+[A-Z]+){0,5})\s*:(?!\d)")
# A system of the body, or several: a label within a review of systems or an examination.
_ONE_SYSTEM = (
    r"(?:neuro(?:logic(?:al)?)?|musculo-?skeletal|msk|extremit(?:y|ies)|general|constitutional|back|spine|neck|gait|sensation|sensory|motor|joints?"
    r"|psych\w*|heent|head|eyes?|ears?|nose|mouth|throat|ent|cardio-?vascular|cardiac|cv|cvs|heart|(?:peripheral )?vascular|respiratory|resp|pulmonary|pulm"
    r"|lungs?|chest|breasts?|gi|gastro-?intestinal|abd|abdom(?:en|inal)|gu|genito-?urinary|urinary|renal|endo|endocrine|heme?|h[ae]+matolog(?:y|ic|ical)|onc"
    r"|lymph|lymphatics?|allergic|immun\w+|skin|integument(?:ary)?|derm\w*|rheum\w*)"
)
_SYSTEM = re.compile(rf"^\W*{_ONE_SYSTEM}(?:\s*(?:[,/&-]|and|\s)+\s*{_ONE_SYSTEM})*(?: system)?\W*$", re.IGNORECASE)
# The parts of a note that a title with a full stop opens.
_PARTS = frozenset({"hpi", "exam", "imaging", "impression", "assessment", "assessment_plan", "plan", "indication"})
_BY_SYSTEM = frozenset({"ros", "exam", "vitals"})
# "EXAM: CT of the cervical spine" names a study, not an examination or an operation.
_STUDY_TITLE = re.compile(r"^\W*(?:exam(?:ination)?|study|procedure|test)\W*$", re.IGNORECASE)
_STUDY_BODY = re.compile(
    r"^[\s,]*(?:\w+[\s,]+){0,4}?(?:mri?|mra|ct|cat scan|x-?rays?|radiographs?|views?|films?|myelogram|bone scan|dexa|ultrasound|magnetic|computed)\b",
    re.IGNORECASE,
)
# A line that names a study and nothing of its report: in a plan it orders one.
_STUDY_LINE = re.compile(
    r"^[\s*#>+-]*(?:\w+[\s,]+){0,3}?(?:mri?s?|mra|ct|cat scans?|x-?rays?|xrs?|radiographs?|films?|myelogram|bone scan|dexa|dxa|ultrasound|emg|ncs|ncv)\b"
    r"(?!.*\b(?:findings?|reports?|results?|review(?:ed)?|interpretation|shows?|showed)\b)",
    re.IGNORECASE,
)
_THERAPY = re.compile(r"^\W*(?:physical|occupational|aqua\w*|massage|manual|traction|cognitive)\b", re.IGNORECASE)
_SHOWED = re.compile(
    r"\b(?:shows?|showed|shown|reveal\w*|demonstrat\w+|normal|unremarkable|negative|reviewed|read as|performed|underwent|currently|takes|taking|tried|failed|completed|has been|have been)\b",
    re.IGNORECASE,
)
# What is written for the patient at the end of a note, where a list of drugs stands among the history.
_PRESCRIBED = re.compile(r"^\W*(?:rx|prescriptions?)\W*$", re.IGNORECASE)
_AFTER_FINDINGS = frozenset({"assessment", "assessment_plan", "impression", "differential", "plan", "exam", "imaging"})
_ORDERING = frozenset({"plan", "assessment_plan", "assessment", "procedure"})
# What a plan names as things to do, a label within it or a line of its own, and another part of a note as its heading.
_DONE_OR_TO_DO = frozenset(
    {"imaging", "technique", "treatment", "electrodiagnostic", "labs", "procedure", "medications", "past_surgical"}
)
# A tick box. Items that are not ticked were not chosen: the note says nothing of them.
_BOX = re.compile(r"\[ ?(?P<tick>[xX✓✔*]?) ?\]|(?P<mark>[☐□❏▢◻☑☒✅✓✔■])|\( ?(?P<round>[xX✓✔]?) ?\)")
_EMPTY_BOX = re.compile(r"\[ {0,2}\]|[☐□❏▢◻]|\( {1,2}\)")
# The answer to what stands before it: "Fracture: none", "Numbness: [x] No". Such a label opens no section.
_ANSWER = re.compile(
    r"[\s,]*(?:no|none|nil|n|yes|y|neg(?:ative)?|pos(?:itive)?|absent|present|denie[sd]|[-+]ve|\([-+]\)|not (?:seen|present|noted))\s*(?=[.,;\n|/\[(]|\s{2}|$)",
    re.IGNORECASE,
)
_EMPTY_MARKS = frozenset("☐□❏▢◻")
# "Examination. She stands straight.": a heading that ends in a full stop, as narrative reports have them.
_DOT_TITLE = re.compile(
    r"^\s*(?P<title>(?!Findings|FINDINGS)[A-Z][A-Za-z]{3,20}(?: [A-Za-z]{2,12}){0,2}|CT|MRI|HPI)\.\s+(?=[A-Z0-9])"
)
_DASH_TITLE = re.compile(r"^\s*(?P<title>[A-Z][A-Za-z &/]{2,40}?)\s+-{1,2}\s+(?=\S)")

# Dictation without punctuation: a new statement begins with its subject and verb ("he has", "his films show"), or with
# words that open a part of the note ("on exam", "my diagnosis").
_SAYS = (
    r"(?:'s|is|are|was|were|has|had|have|does|did|do|can|cannot|can't|could|couldn't|will|would|says?|said|denies|denied"
    r"|reports?|reported|takes?|took|uses?|used|lives|works?|worked|feels?|felt|comes?|came|went|bent|fell|tried|describes?"
    r"|wants?|am|talked|walks?|also|now|never|still|gave|got|gets|wore|wears|started|began|begins|shows?|showed|remains?"
    r"|appears?|looks?|moves?|stands?|sits?|sleeps?|needs?|noticed|developed|underwent|received|completed|stopped|quit"
    r"|brought|complains?|opens?|gives?|keeps?|lost|hurts?|recommend|think|believe|discussed|reviewed|see|want|plan|agree"
    r"|explained|told|asked|ordered|spoke|suggest|saw)"
)
_STATEMENT = re.compile(
    r"\s(?:"
    rf"(?:(?:and|but|so)\s+)?(?:he|she|they|i|we|it|there|patient|the patient)\s+{_SAYS}\b"
    r"|(?:the|his|her|my|this|these|both|all)\s+"
    r"(?:(?!(?:the|his|her|my|this|that|a|an|he|she|it|they|of|in|on|and|or|plan)\b)[\w-]+\s+){1,3}"
    r"(?:is|are|was|were|shows?|showed|has|had|began|started|remains?|appears?)\b"
    r"|on (?:physical )?exam(?:ination)?\b|(?:so )?my (?:assessment|diagnosis|impression|plan)\b"
    r"|(?:the )?(?:plan|assessment|impression|diagnosis) is\b|(?:past|family|social) (?:medical |surgical )?history\b"
    r"|(?:ct|mri|x-?rays?|films) (?:shows?|showed|from|of|is|was)\b"
    r"|(?:reflexes|sensation|strength|legs|arms|grip|gait) (?:is|are|was|were)\b"
    r")",
    re.IGNORECASE,
)
_LEADS_ON = re.compile(
    r"\b(?:that|because|when|if|who|which|whose|where|while|after|before|since|until|as|than|what|how|whether|though"
    r"|although|unless|once|of|in|on|at|to|for|with|by|from|over|under|between|across|during|about|without|into|like"
    r"|says?|said|thinks?|thought|believes?|feels?|told|and|or|but|so|nor|not|the|an?|his|her|my|reports?|denies|states?"
    r"|also)\s*$"
    r"|\b(?:because|since|if|when|although|while|due to|as)(?:\s+[\w-]+){1,5}\s*$",
    re.IGNORECASE,
)
_RUN_ON = 40
"""Words without a full stop after which a stretch with hardly a comma is dictation that nobody punctuated."""
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading: its title's offsets, where its body starts, the section it opens ("" when unknown)."""

    start: int
    end: int
    body: int
    title: str
    section: str
    known: bool


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence's offsets, its section, its heading's index (-1: none) and the line item it starts, if any."""

    start: int
    end: int
    section: str
    heading: int
    item: bool
    line: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The note's skeleton: headings and sentences in text order."""

    headings: tuple[Heading, ...]
    sentences: tuple[Sentence, ...]

    def sentence_at(self, offset: int) -> int:
        """The index of the sentence that holds `offset` (the nearest before it)."""
        low, high = 0, len(self.sentences) - 1
        while low < high:
            mid = (low + high + 1) // 2
            if self.sentences[mid].start <= offset:
                low = mid
            else:
                high = mid - 1
        return low


def _lines(text: str) -> list[tuple[int, int]]:
    """Offsets of the lines, the newlines that a transcript lost to commas included."""
    cuts = {0, len(text)}
    for match in re.finditer(r"\n", text):
        cuts.add(match.end())
    for match in _LOST_NEWLINE.finditer(text):
        cuts.add(match.end())
    ordered = sorted(cuts)
    return [(a, b) for a, b in pairwise(ordered) if text[a:b].strip(" \n,")]


def _continues(text: str, before: tuple[int, int], line: tuple[int, int], width: int) -> bool:
    """Whether `line` goes on with the sentence of the line before: a wrapped paragraph, not a new entry."""
    if not width or before[1] != line[0] or text[before[1] - 1] != "\n":
        return False
    last = text[before[0] : before[1]].rstrip()
    first = text[line[0] : line[1]].lstrip(" ")
    if not last or not first or _ITEM.match(first) or first[0] == "\n":
        return False
    if last.endswith((":", ";")) or _LINE_TITLE.match(first):
        return False
    if last.endswith((",", "-")) or re.search(r"\b(?:of|the|and|or|with|no|at|to|in|for|a|an|by|from)$", last):
        return len(last) > 0.5 * width
    fits = len(last) + 1 + len(first.split(maxsplit=1)[0]) <= width
    return not fits and (
        first[0].islower() or (first[0].isdigit() and not last.endswith((".", "?", "!"))) or first[0] in "("
    )


def _wrap_width(text: str, lines: list[tuple[int, int]]) -> int:
    """The width the note was wrapped to by hand, 0 when it was not: three lines or more end near the longest."""
    lengths = [len(text[a:b].rstrip()) for a, b in lines]
    longest = max(lengths, default=0)
    near = sum(length >= 0.8 * longest for length in lengths)
    return longest if 40 <= longest <= 140 and near >= 3 else 0


def _headings_of_line(
    text: str, start: int, end: int, section_of: Callable[[str], str | None]
) -> list[tuple[int, int, int, str | None]]:
    """(title start, title end, body start, section or None) of every heading of one line."""
    line = text[start:end]
    found: list[tuple[int, int, int, str | None]] = []
    match = _LINE_TITLE.match(line)
    if match and len(match["title"].split()) <= 9:
        title = match["title"]
        section = section_of(title)
        if section in (None, "social_history") and _ANSWER.match(line, match.end()):
            return []
        looks = title.isupper() or section is not None or (len(title.split()) <= 5 and title[:1].isupper())
        if looks and not _TELLS.search(title):
            found.append((start + match.start("title"), start + match.end("title"), start + match.end(), section))
    if not found:
        whole = _CAPS_LINE.match(line.rstrip(" ,\n"))
        stripped = line.strip().rstrip(":")
        section = section_of(stripped) if len(stripped) <= 60 else None
        if section is not None and stripped and not (stripped.endswith(".") and _TELLS.search(stripped)):
            at = start + line.index(stripped)
            found.append((at, at + len(stripped), end, section))
        elif whole and len(whole["title"].split()) <= 7 and not re.search(r"\d\.\d|\.$", whole["title"]):
            # A note in capitals throughout: only titles we know are headings there (decided by the caller).
            found.append((start + whole.start("title"), start + whole.end("title"), end, None))
    if not found:
        dash = _DASH_TITLE.match(line)
        if dash and (section := section_of(dash["title"])) is not None:
            found.append((start + dash.start("title"), start + dash.end("title"), start + dash.end(), section))
    if not found:
        dot = _DOT_TITLE.match(line)
        if dot and line.lstrip() == line and section_of(dot["title"]) in _PARTS:
            found.append((start, start + dot.end("title"), start + dot.end("title") + 1, section_of(dot["title"])))
    for match in _INLINE_TITLE.finditer(line):
        at = start + match.start("title")
        if any(at < body and at >= begin for begin, _, body, _ in found):
            continue
        title = match["title"]
        section = section_of(title)
        if section is not None or len(title) >= 5:
            found.append((at, start + match.end("title"), start + match.end(), section))
    for match in _MID_TITLE.finditer(line):
        at = start + match.start("title")
        section = None if _ANSWER.match(line, match.end()) else section_of(match["title"])
        if section is not None and not any(begin <= at < body for begin, _, body, _ in found):
            found.append((at, start + match.end("title"), start + match.end(), section))
    return sorted(found)


def _boxes(text: str, start: int, end: int) -> list[tuple[int, int, bool]]:
    """The tick boxes of a line as (start, end, ticked); none when the line has no box that could be one."""
    found = []
    for match in _BOX.finditer(text, start, end):
        ticked = bool(match["tick"] or match["round"]) or (
            match["mark"] is not None and match["mark"] not in _EMPTY_MARKS
        )
        found.append((match.start(), match.end(), ticked))
    return found


def _boxed(text: str, start: int, end: int) -> list[tuple[int, int, bool]]:
    """The items of a line with tick boxes as (start, end, ticked).

    Each box goes with the words after it, or, where the line ends in a box, with those before it.
    """
    boxes = _boxes(text, start, end)
    if not boxes:
        return []
    edges = [a for a, _, _ in boxes]
    if not text[boxes[-1][1] : end].strip(" \n,.;") and text[start : edges[0]].strip(" \n,.;:-*"):
        colon = text.rfind(":", start, edges[0])
        begins = [colon + 1 if colon >= 0 else start, *(b for _, b, _ in boxes)]
        return [(begins[i], b, ticked) for i, (_, b, ticked) in enumerate(boxes)]
    return [(a, after, ticked) for (a, _, ticked), after in zip(boxes, [*edges[1:], end], strict=True)]


def chosen(text: str) -> str:
    """Plain `text` with spaces for what it lists and does not choose: the items whose box is empty.

    The box of a ticked answer goes too, so that "Fracture: [x] No" reads as "Fracture: No". Every offset is kept.
    """
    if not _EMPTY_BOX.search(text):
        return text
    pieces, at = [], 0
    for start, end in _lines(text):
        for a, b, ticked in _boxed(text, start, end):
            if ticked:
                box = _BOX.match(text, a)
                if box is None or not _ANSWER.match(text, box.end()):
                    continue
                b = box.end()
            pieces += [text[at:a], re.sub(r"[^\n]", " ", text[a:b])]
            at = b
    return "".join([*pieces, text[at:]])


def _numbered(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """The numbers of the list within a line that `text[start:end]` is: 1, 2 and so on; none when it is no such list.

    Words that lead into a list ("we discussed 1) ...") speak of all its items, which then stay one sentence.
    """
    marks: list[tuple[int, int]] = []
    for match in _NUMBERED.finditer(text, start, end):
        number = ord(match["a"]) - ord("a") + 1 if match["a"] else int(match["n"] or match["h"])
        if number != len(marks) + 1:
            continue
        if (
            not marks
            and text[start : match.start()].strip(" \n,;:*-")
            and text[: match.start()].rstrip()[-1:] not in ".;"
        ):
            return []
        marks.append(match.span())
    return marks if len(marks) > 1 else []


def _stops(text: str, start: int, end: int) -> list[int]:
    """Where sentences of `text[start:end]` end."""
    items = _numbered(text, start, end)
    out = [a for a, _ in items if text[start:a].strip(" \n,")]
    for match in _STOP.finditer(text, start, end):
        at = match.start()
        if text[at] == ".":
            word = re.search(r"([A-Za-z.]+)$", text[max(start, at - 12) : at])
            before = word.group(1).lower() if word else ""
            # "2 min." may end one: minutes, not "min. displacement"
            minutes = before == "min" and re.search(r"\d ?min$", text[max(start, at - 6) : at])
            if before in _SHORT and not minutes and not text.startswith("  ", match.end()):
                continue
            if not text.startswith("  ", match.end()) and (
                len(before) == 1 and before not in "lsc" and text[at - 1].isupper()
            ):
                continue
            if re.match(r"\s*\(?\d{1,2}$", text[start:at]) or any(a < at < b for a, b in items):  # "1." opens an item
                continue
        out.append(match.end())
    out.extend(a for a, _, _ in _boxed(text, start, end) if a > start and not _ANSWER.match(text, a))
    out.extend(match.end() for match in _WIDE_GAP.finditer(text, start, end))
    return sorted({*out, *_unpunctuated_stops(text, start, end, sorted(out))})


def _unpunctuated_stops(text: str, start: int, end: int, stops: Sequence[int]) -> list[int]:
    """Where statements of dictation without punctuation end: a denial in one must not reach the whole note."""
    out: list[int] = []
    edge = start
    for stop in (*stops, end):
        stretch = text[edge:stop]
        words = len(stretch.split())
        if words > _RUN_ON and len(re.findall(r"[,;:]", stretch)) * 25 < words:
            last = edge
            for match in _STATEMENT.finditer(text, edge, stop):
                cut = match.start() + 1
                long_enough = len(text[last:cut].split()) >= _SHORTEST
                if long_enough and not _LEADS_ON.search(text, max(last, cut - 60), cut):
                    out.append(cut)
                    last = cut
        edge = max(edge, stop)
    return out


def layout(text: str, section_of: Callable[[str], str | None]) -> Layout:
    """Split plain `text` (see words.plain) into headings and sentences.

    `section_of` gives the section a title opens, "" for a known heading that opens none of interest, None for a
    title it does not know. An unknown heading ends the section before it.
    """
    lines = _lines(text)
    width = _wrap_width(text, lines)
    letters = Counter(text)
    upper = sum(count for letter, count in letters.items() if letter.isupper())
    capitals = upper > 0.7 * max(1, sum(count for letter, count in letters.items() if letter.isalpha()))
    headings: list[Heading] = []
    sentences: list[Sentence] = []
    section, heading = "", -1
    first_word = len(text) - len(text.lstrip())
    pending: tuple[int, int, bool, int] | None = None  # a wrapped sentence: start, end, item, line

    def close() -> None:
        nonlocal pending
        if pending is not None:
            sentences.append(Sentence(pending[0], pending[1], section, heading, pending[2], pending[3]))
            pending = None

    before: tuple[int, int] | None = None
    for number, (start, end) in enumerate(lines):
        titles = [t for t in _headings_of_line(text, start, end, section_of) if not _to_do(t, section, text, end)]
        if capitals:
            titles = [t for t in titles if t[3] is not None or text[t[1] : t[2]].strip().startswith(":")]
        if pending is not None and (titles or before is None or not _continues(text, before, (start, end), width)):
            close()
        before = (start, end)
        item = bool(_ITEM.match(text[start:end]))
        at = start
        for begin, stop, body, name in [*titles, (end, end, end, "")]:
            if begin > at:
                for cut in [*_stops(text, at, begin), begin]:
                    if text[at:cut].strip(" \n,"):
                        if pending is not None:
                            at, item, line = pending[0], pending[2], pending[3]
                        else:
                            line = number
                        pending = (at, cut, item, line)
                        if cut != end:
                            close()
                            item = False
                    at = max(at, cut)
            if begin < end:
                close()
                if name == "plan" and begin == first_word and ":" not in text[stop:body]:
                    name = None  # "SPINE CLINIC FOLLOW-UP" over a note is its title
                name = _in_place(name, section, text[begin:stop], text[body : body + 80])
                if _label_of_plan(name, section, text, begin, stop, body):
                    name = ""
                known = name is not None
                if known and name == "":
                    pass  # a label inside the section ("C4-5:"), not a section of its own
                elif not known and section in _BY_SYSTEM and _SYSTEM.match(text[begin:stop]):
                    section = "exam" if section == "vitals" else section
                else:
                    section = name if name is not None else ("" if _opens(text[begin:stop]) else section)
                headings.append(Heading(begin, stop, body, text[begin:stop], section, known))
                heading = len(headings) - 1
                sentences.append(Sentence(begin, body, section, heading, item=False, line=number))
                at = body
        if pending is not None and text[pending[0] : pending[1]].rstrip(" \n,").endswith((".", "?", "!", ":")):
            close()
    close()
    sentences.sort(key=lambda s: s.start)
    return Layout(tuple(headings), tuple(sentences))


def _label_of_plan(name: str | None, section: str, text: str, begin: int, stop: int, body: int) -> bool:
    """Whether a heading is a label within a plan: "Imaging: MRI of the neck. Medications: naproxen." under "Plan:".

    In capitals, after an empty line, or before what a study showed it is a heading of its own.
    """
    if section not in ("plan", "assessment_plan") or name not in _DONE_OR_TO_DO or ":" not in text[stop:body]:
        return False
    apart = text[:begin].rstrip(" *#>-").endswith("\n\n")
    return (
        not apart
        and not text[begin:stop].isupper()
        and not _SHOWED.search(text[body : body + 120].lstrip().split("\n")[0])
    )


def _in_place(name: str | None, section: str, title: str, body: str) -> str | None:
    """The section a heading opens where it stands: after `section`, before `body`."""
    if section == "ros" and name == "exam" and _SYSTEM.match(title):
        return "ros"  # what the patient is asked of each system, not the examination of it
    if name in ("exam", "procedure", "imaging") and _STUDY_TITLE.match(title) and _STUDY_BODY.match(body):
        return "exam_study"
    if _PRESCRIBED.match(title) and section in _AFTER_FINDINGS:
        return "plan"
    return name


def _to_do(heading: tuple[int, int, int, str | None], section: str, text: str, end: int) -> bool:
    """Whether a line without a colon that looks like a heading is a thing to do: "MRI cervical spine" in a plan."""
    begin, stop, body, name = heading
    if section not in _ORDERING or name not in _DONE_OR_TO_DO or body < end or ":" in text[stop:body]:
        return False
    title = text[begin:stop]
    if name in ("imaging", "technique", "electrodiagnostic") and _STUDY_LINE.match(title):
        return True
    return section in ("plan", "assessment_plan") and (not title.isupper() or bool(_THERAPY.match(title)))


def _opens(title: str) -> bool:
    """Whether an unknown title opens a section of its own: in capitals, or more than a word and no level."""
    return title.isupper() and len(title) > 3 and not re.search(r"\d", title)


def blocks(sentences: Sequence[Sentence], size: int = 1200) -> list[tuple[int, int]]:
    """Index ranges of whole sentences, about `size` characters each.

    medspaCy's ConText compares every cue with every target of its document, so a long note in one piece costs the
    square of its length; no cue reaches past its sentence, so in blocks it reads the same.
    """
    out: list[tuple[int, int]] = []
    first = 0
    for i, sentence in enumerate(sentences):
        if sentence.end - sentences[first].start >= size:
            out.append((first, i + 1))
            first = i + 1
    if first < len(sentences):
        out.append((first, len(sentences)))
    return out
