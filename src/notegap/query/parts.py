"""A query, whoever wrote it, taken apart: title, question, options, quotes of the record, and all else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from notegap.errors import NoteError


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a query: `start` is its offset in the file, or in the field of JSON that `path` names.

    `supported` says of an option of JSON whether indicators are named that support it; None when nobody can tell.
    """

    text: str = field(repr=False)
    start: int = 0
    path: str = ""
    supported: bool | None = None


@dataclass(frozen=True, slots=True)
class QueryParts:
    """One query's parts by name: title, question, option, quote, indicator, own (all but the quotes), anywhere (all).

    `asks` False: a stretch of a file that holds no question, where only forbidden words are looked for.
    """

    parts: Mapping[str, tuple[Part, ...]]
    asks: bool

    def of(self, name: str) -> tuple[Part, ...]:
        """The parts of one name."""
        return self.parts.get(name, ())

    @property
    def asks_yes_no(self) -> bool:
        """Whether it can be answered with yes or no: such options, or a closed question without any."""
        answers = {answer.lower() for option in self.of("option") for answer in _YES_NO.findall(option.text)}
        if self.of("option"):
            return answers == {"yes", "no"}
        return any(_CLOSED.match(part.text) for part in self.of("question"))


_JSON = re.compile(r"\s*(?:\{|\[\s*\{)")
_YES_NO = re.compile(r"^(yes|no)\b", re.IGNORECASE)
_CLOSED = re.compile(
    r"(?:is|are|was|were|do|does|did|has|have|had|should|can|could|would|will)\b(?! you\b)", re.IGNORECASE
)
_QUOTE = re.compile(r"“[^”]*”|«[^»]*»|\"[^\"\n]*\"|^[ \t]*>[^\n]*$", re.MULTILINE)
_BOX = re.compile(r"\[[ xX_]?\]|[☐☑☒□◯○❏❑▢]|\(\s?\)|(?<!\w)_{2,}(?=\s*[A-Za-z])")
_BULLET = re.compile(r"[ \t]*(?:[-*•·+–▪■‣➢]|[oO](?= +[A-Z])|\d{1,2}[.)]|[a-hA-H][.)])[ \t]+(?=\S)")
_HEADING = re.compile(
    r"[ \t]*(?:#{1,6}[ \t]+|\*\*)?(?:(?:query )?title|subject|re|regarding)[ \t]*:[ \t]*", re.IGNORECASE
)
_NUMBERED = re.compile(r"[ \t]*#{0,6}[ \t]*query[ \t]+\d+[ \t]+of[ \t]+\d+[ \t]*", re.IGNORECASE)
_ADMINISTRATIVE = re.compile(
    r"[ \t]*(?:to|from|date|dear|patient|mrn|account|encounter|provider|dob|id)\b[^\n]{0,12}[:,]", re.IGNORECASE
)
_RULER = re.compile(r"[ \t]*(?:-{3,}|={3,}|\*{3,})[ \t]*")
_END = re.compile(r"\?+|[.!:](?=\s|$)")
_REQUEST = re.compile(
    r"\b(?:please|kindly) (?:advise|choose|clarify|confirm|define|describe|document|explain|identify|indicate|provide|"
    r"respond|select|specify|state)\b(?! (?:your (?:answer|response)|in an addendum))",
    re.IGNORECASE,
)
_INDICATORS = re.compile(
    r"[ \t#*]*(?:(?:relevant |pertinent |supporting )?clinical (?:indicators?|findings?|evidence|picture|information)|"
    r"indicators?|(?:the )?(?:record|chart|documentation) (?:shows|states|includes|reveals|notes))\b"
    r"[^:\n]*(?::|\**[ \t]*$)",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"[\s:._]*_{2,}\s*$|[\s:]+$")


def take_apart(text: str, where: str) -> list[QueryParts]:
    """The queries of a file: our JSON, or plain text or Markdown of anyone.

    Raises NoteError when it is JSON of another shape.
    """
    if _JSON.match(text) is not None:
        return _from_json(text, where)
    return [_from_text(block, start) for block, start in _blocks(text)]


# ── plain text and Markdown ─────────────────────────────────────────────────────────────────────


def _lines(text: str, start: int = 0) -> Iterator[tuple[str, int]]:
    for line in text.splitlines(keepends=True):
        yield line.rstrip("\r\n"), start
        start += len(line)


def _blocks(text: str) -> Iterator[tuple[str, int]]:
    """One stretch for each query: they are parted by "Query 2 of 3", or by a ruled line after a question."""
    begin, asked = 0, False
    for line, start in _lines(text):
        numbered = _NUMBERED.fullmatch(line) is not None
        if (numbered and start > begin) or (asked and _RULER.fullmatch(line)):
            yield text[begin:start], begin
            begin, asked = start, False
        asked = asked or "?" in line
    yield text[begin:], begin


def _from_text(block: str, begin: int) -> QueryParts:
    quotes = [(match.start(), match.end()) for match in _QUOTE.finditer(block)]
    own = _masked(block, quotes)
    title = _title(own)
    lines = [
        (line, start) for line, start in _lines(own) if title is None or not start <= title.start <= start + len(line)
    ]
    asking = [(line, start) for line, start in lines if not _boxed(line)]
    # Without a question mark, what is requested is the question: "Please clarify the type of ...:".
    asked = [sentence for line, start in asking for sentence in _sentences(line, start)]
    questions = [part for part in asked if part.text.endswith("?")] or [p for p in asked if _REQUEST.search(p.text)]
    last = questions[-1].start if questions else len(own)
    options = [option for line, start in lines for option in _options(line, start, after_question=start > last)]
    indicators = [Part(line, start) for line, start in _indicators(lines, last)]
    return QueryParts(
        {
            "title": tuple(_moved([title] if title is not None else [], begin)),
            "question": tuple(_moved(questions, begin)),
            "option": tuple(_moved(options, begin)),
            "indicator": tuple(_moved(indicators, begin)),
            "quote": tuple(Part(block[start:end], begin + start) for start, end in quotes),
            "own": (Part(own, begin),),
            "anywhere": (Part(block, begin),),
        },
        asks=bool(questions),
    )


def _indicators(lines: Iterable[tuple[str, int]], question: int) -> Iterator[tuple[str, int]]:
    """Lines that tell of the record without quotation marks: bullets before the question, what is called indicators."""
    called = False
    for line, start in lines:
        if start + len(line) > question:
            return
        heading = _INDICATORS.match(line)
        if heading is not None:
            called = True
            line, start = line[heading.end() :], start + heading.end()
        elif not line.strip():
            called = False
        if line.strip() and (called or _BULLET.match(line)):
            yield line, start


def _sentences(line: str, start: int) -> Iterator[Part]:
    begin = 0
    for end in (*(match.end() for match in _END.finditer(line)), len(line)):
        if line[begin:end].strip(" \t#"):
            yield _trimmed(line[begin:end], start + begin)
        begin = end


def _boxed(line: str) -> bool:
    box = _BOX.search(line)
    return box is not None and not line[: box.start()].strip(" \t-*•+")


def _title(own: str) -> Part | None:
    """The title: what is called so, a heading, or a first line that is no sentence."""
    lines = [(line, start) for line, start in _lines(own) if line.strip() and not _NUMBERED.fullmatch(line)]
    for line, start in lines:
        called = _HEADING.match(line)
        if called is not None and line[called.end() :].strip():
            return _trimmed(line[called.end() :], start + called.end())
    for line, start in lines:
        if _RULER.fullmatch(line) or _ADMINISTRATIVE.match(line) or line.rstrip().endswith(","):
            continue
        if "?" in line or line.rstrip().endswith((".", ":")) or _BULLET.match(line) or _boxed(line):
            return None
        if _INDICATORS.match(line):
            return None
        return _trimmed(line, start)
    return None


def _options(line: str, start: int, *, after_question: bool) -> Iterator[Part]:
    if _boxed(line):
        boxes = list(_BOX.finditer(line))
        ends = [box.start() for box in boxes[1:]] + [len(line)]
        for box, end in zip(boxes, ends, strict=True):
            text = _BLANKS.sub("", line[box.end() : end])
            if text.strip():
                yield _trimmed(text, start + box.end())
        return
    bullet = _BULLET.match(line)
    if bullet is not None and after_question:
        text = _BLANKS.sub("", line[bullet.end() :])
        if text.strip():
            yield _trimmed(text, start + bullet.end())


def _trimmed(text: str, start: int) -> Part:
    inner = text.strip(" \t#")
    return Part(inner, start + text.index(inner))


def _moved(parts: Iterable[Part], by: int) -> Iterator[Part]:
    return (Part(part.text, part.start + by) for part in parts)


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with the spans blank: offsets stay, and what the record says is not taken for the query's own words."""
    for start, end in spans:
        text = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
    return text


# ── our JSON ────────────────────────────────────────────────────────────────────────────────────


def _from_json(text: str, where: str) -> list[QueryParts]:
    try:
        value = json.loads(text)
    except ValueError:
        raise NoteError(f"{where}: begins like JSON and is none; a query is JSON of `notegap query`, or text") from None
    if isinstance(value, list):
        sheets, prefix = value, True
    else:
        sheets, prefix = [value], False
    found: list[QueryParts] = []
    for number, sheet in enumerate(sheets):
        queries = sheet.get("queries") if isinstance(sheet, dict) else None
        if not isinstance(queries, list) or not all(isinstance(query, dict) for query in queries):
            raise NoteError(
                f"{where}: is JSON without `queries`; lint reads text, and JSON that `notegap query` writes"
            )
        lead = f"[{number}]." if prefix else ""
        found += [_from_query(query, f"{lead}queries[{index}]") for index, query in enumerate(queries)]
    return found


def _from_query(query: dict[str, Any], path: str) -> QueryParts:
    def part(value: object, name: str, supported: bool | None = None) -> tuple[Part, ...]:
        return (Part(value, 0, f"{path}.{name}", supported),) if isinstance(value, str) and value else ()

    def listed(name: str) -> list[dict[str, Any]]:
        values = query.get(name)
        return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []

    title, question = part(query.get("title"), "title"), part(query.get("question"), "question")
    quotes = tuple(
        found
        for number, indicator in enumerate(listed("indicators"))
        for found in part(indicator.get("quote"), f"indicators[{number}].quote")
    )
    options = tuple(
        found
        for number, option in enumerate(listed("options"))
        for found in part(option.get("text"), f"options[{number}].text", bool(option.get("supported_by")))
    )
    own = (*title, *question, *options, *part(query.get("closing"), "closing"))
    return QueryParts(
        {
            "title": title,
            "question": question,
            "option": options,
            "quote": quotes,
            "indicator": quotes,
            "own": own,
            "anywhere": (*own, *quotes),
        },
        asks=bool(question),
    )
