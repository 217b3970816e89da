"""HL7 v2: MDM^T01–T11 and ORU^R01, one document a message; a file or batch may hold many.

Files are read as they are found: any line end, MLLP's framing, a value that runs over a line end, segments that a
print-out put on one line. A part is one OBX (or the NTE below it), so that an offset can be given back as set id and
character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from notegap.errors import EmptyNoteError, NoteError
from notegap.model import Metadata
from notegap.notes.document import Document, RowError, Source, Writer, decode_base64, iso_date
from notegap.notes.loinc import section_title
from notegap.notes.read import read_one
from notegap.notes.text import decode

MESSAGE = re.compile(rb"(?:\A|[\r\n\x0b\x1c])[ \t]*(?=MSH[^A-Za-z0-9\s])")
"""Where a message begins."""
_FRAMING = re.compile(r"[\x0b\x1c]")
_ENVELOPE = ("FHS", "BHS", "BTS", "FTS")
# A segment begins a line; in a print-out it may also follow the end of another on the same line.
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}(?=[^A-Za-z0-9\s])")
_ON_ONE_LINE = re.compile(
    r"(?<![ \t])[ \t]+(?=OBX\|\d{1,5}\|[A-Z]{2,3}\|)|(?<=[|~])[ \t]+(?=(?:EVN|PID|PV1|TXA\|\d{1,5})\|)"
)
# Table 0211, with the names Python has for them.
_CHARSETS: Mapping[str, str] = MappingProxyType(
    {
        "ASCII": "",
        "UNICODE UTF-8": "utf-8",
        "UNICODE": "utf-16",
        "UNICODE UTF-16": "utf-16",
        "UNICODE UTF-32": "utf-32",
        "ISO IR6": "",
        "ISO IR14": "shift_jis",
        "ISO IR87": "iso2022_jp",
        "GB 18030-2000": "gb18030",
        "KS X 1001": "euc_kr",
        "BIG-5": "big5",
        # Senders that declare Latin-1 write Windows-1252, which has all of its letters.
        "8859/1": "cp1252",
        **{f"8859/{number}": f"iso8859-{number}" for number in (*range(2, 12), *range(13, 17))},
    }
)
# What the second part of an observation's identifier says of the text (chapter 7, identifier suffixes).
_SUFFIXES: Mapping[str, str] = MappingProxyType(
    {"IMP": "Impression", "GDT": "Findings", "REC": "Recommendation", "ADT": "Addendum", "CMT": "Comment"}
)
_TEXT_TYPES = ("TX", "FT")
_CODED_TYPES = ("CE", "CWE", "CNE", "CF")
_WITHDRAWN = ("D", "W")


def read(source: Source) -> Iterator[Document | RowError]:
    """The messages of a file, in order; one that is no note is a `RowError` in its place."""
    starts = [match.end() for match in MESSAGE.finditer(source.data)]
    if not starts:
        raise NoteError(f"{source.where}: is not HL7 v2, there is no MSH segment in it")
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(source.data)], strict=True), start=1):
        where = source.where if len(starts) == 1 else f"{source.where}#{number}"
        try:
            yield document_of(segments_of(source.data[start:end], source), source)
        except NoteError as error:
            yield RowError("", where, str(error).removeprefix(f"{source.where}: "))


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: its fields as they were sent (of MSH too, field 1 is the separator) and the message's separators."""

    fields: tuple[str, ...] = field(repr=False)
    separators: str

    @property
    def id(self) -> str:
        """Its name: "OBX"."""
        return self.fields[0]

    def raw(self, number: int) -> str:
        """A field as it was sent; "" where there is none."""
        return self.fields[number] if len(self.fields) > number else ""

    def repetitions(self, number: int) -> list[str]:
        """A field's repetitions as they were sent."""
        return self.raw(number).split(self.separators[1])

    def get(self, number: int, component: int = 1, subcomponent: int = 0) -> str:
        """A component of a field's first repetition, or one of its parts, without escapes; "" where there is none."""
        value = _nth(self.repetitions(number)[0], self.separators[0], component)
        if subcomponent:
            value = _nth(value, self.separators[3], subcomponent)
        return self.plain(value).strip()

    def plain(self, value: str) -> str:
        """A value without its escape sequences; what is none of them (a lone backslash) stays as it is."""
        return _escapes(self.separators[2]).sub(self._meant, value)

    def _meant(self, match: re.Match[str]) -> str:
        if match["sign"]:
            # H and N, highlighting, are nothing.
            return dict(zip("SRETFP", f"{self.separators}#", strict=True)).get(match["sign"], "")
        if match["hex"]:
            return bytes.fromhex(match["hex"]).decode("cp1252", "replace").replace("\0", "")
        if match["format"] == ".sp":
            return "\n" * max(1, int(match["count"].lstrip("+-") or 1))
        if match["format"] in (".br", ".ce"):
            return "\n"
        return " " if match["format"] else ""


def _nth(value: str, separator: str, number: int) -> str:
    parts = value.split(separator)
    return parts[number - 1] if len(parts) >= number else ""


@lru_cache(maxsize=8)
def _escapes(escape: str) -> re.Pattern[str]:
    mark = re.escape(escape)
    return re.compile(
        rf"{mark}(?:(?P<sign>[FSTREPHN])|(?P<format>\.(?:br|sp|fi|nf|in|ti|sk|ce))(?P<count>[+-]?\d{{0,2}})"
        rf"|X(?P<hex>(?:[0-9A-Fa-f]{{2}}){{1,200}})|C[0-9A-Fa-f]{{4}}|M[0-9A-Fa-f]{{4,6}}|Z[^{mark}\r\n]{{0,60}}){mark}"
    )


def document_of(segments: Sequence[Segment], source: Source) -> Document:
    """The document that a message carries. Raises EmptyNoteError when it has no text."""
    _refuse_other_messages(segments[0], source.where)
    named = {name for segment in segments if _is_text(segment) and (name := _name(segment))}
    writer = Writer()
    said, kept = "", False
    for segment in segments:
        if segment.id == "OBX":
            kept = segment.get(11) not in _WITHDRAWN
            name = _name(segment)
            if kept and name != said and _is_text(segment) and (len(named) > 1 or _is_section(segment)):
                writer.heading(name)
                said = name
            if kept:
                _write_observation(segment, writer, source)
        elif segment.id == "NTE" and kept:
            writer.open("nte", id=segment.get(1))
            _write_lines(segment, 3, writer)
            writer.close()
        elif segment.id in ("PID", "OBR"):
            kept = False  # notes below these are on the patient or the order
    document = writer.document(_document_id(segments), _metadata(segments))
    if not document.text:
        only = "; it only announces or changes a document" if segments[0].get(9) == "MDM" else ""
        raise EmptyNoteError(f"{source.where}: {message_type(segments[0])} carries no text{only}")
    return document


def segments_of(data: bytes, source: Source) -> list[Segment]:
    """The segments of one message, which `data` begins with; the first is its MSH."""
    text = decode(
        data,
        where=source.where,
        max_bytes=len(data),
        charset=source.charset or declared_charset(data),
        say=source.say,
    )
    return segments_in(text, source.where)


def segments_in(text: str, where: str) -> list[Segment]:
    """The segments of one message that was decoded; the first is its MSH."""
    if not text.startswith("MSH"):
        raise NoteError(f"{where}: is not in the encoding that it says it is in")
    separator = text[3]
    found: list[str] = []
    for line in re.split(r"\r\n|\r|\n", _FRAMING.sub("", text)):
        for piece in _ON_ONE_LINE.split(line) if separator == "|" else [line]:
            stripped = piece.strip(" \t")
            if _SEGMENT.match(stripped) and stripped[3] == separator:
                found.append(stripped)
            elif stripped:
                # A value that runs over a line end: HL7 has no such thing, and files have.
                found[-1] += f"\n{piece.rstrip()}"
    separators = _separators(found[0])
    return [Segment(_fields(segment, separator), separators) for segment in found if segment[:3] not in _ENVELOPE]


def header_of(line: str) -> Segment:
    """The MSH that `line` is, of a message of which nothing else can be read."""
    return Segment(_fields(line, line[3]), _separators(line))


def _separators(header: str) -> str:
    given = header.split(header[3])[1][:4]
    return given + "^~\\&"[len(given) :] + header[3]


def _fields(segment: str, separator: str) -> tuple[str, ...]:
    name, *rest = segment.split(separator)
    return (name, separator, *rest) if name == "MSH" else (name, *rest)


def declared_charset(data: bytes) -> str:
    """The encoding that MSH-18 declares, by the name Python has for it; "" when it declares none."""
    fields = re.split(rb"[\r\n]", data, maxsplit=1)[0].split(data[3:4])
    declared = fields[17].split(data[5:6])[0].decode("ascii", "replace").strip().upper() if len(fields) > 17 else ""
    return _CHARSETS.get(declared, declared)


def _refuse_other_messages(header: Segment, where: str) -> None:
    kind, event = header.get(9), header.get(9, 2)
    if (kind == "MDM" and re.fullmatch(r"T(?:0[1-9]|1[01])|", event)) or (kind == "ORU" and event in ("R01", "")):
        return
    named = re.fullmatch(r"[A-Z]{3}", kind) and re.fullmatch(r"[A-Z0-9]{0,3}", event)
    said = f"is {message_type(header)}" if named else "has no message type"
    raise NoteError(f"{where}: {said}, no message that carries a note (MDM^T01 to T11, ORU^R01)")


def message_type(header: Segment) -> str:
    """What MSH-9 says: "MDM^T02"."""
    return "^".join(filter(None, (header.get(9), header.get(9, 2))))


# ── one observation ─────────────────────────────────────────────────────────────────────────────


def _write_observation(segment: Segment, writer: Writer, source: Source) -> None:
    kind, name = segment.get(2), _name(segment)
    writer.open("obx", id=segment.get(1), code=segment.get(3), title=name)
    if kind == "RP":
        raise NoteError(f"{source.where}: its text is in another file, to which {_told(segment)} only refers")
    if kind == "ED":
        _write_embedded(segment, writer, source)
    elif kind in _TEXT_TYPES:
        _write_lines(segment, 5, writer)
    else:
        value = (segment.get(5, 2) if kind in _CODED_TYPES else "") or segment.get(5)
        if value:
            writer.write(" ".join(filter(None, (f"{name}:" if name else "", value, segment.get(6)))))
            writer.end_line()
    writer.close()


def _write_lines(segment: Segment, number: int, writer: Writer) -> None:
    """Each repetition is a line or more; an empty one is an empty line, as a report's sender means it."""
    for repetition in segment.repetitions(number):
        writer.end_line()
        if repetition.strip():
            # Components are no part of a text: a "^" in one was not escaped, and stays.
            writer.write_lines(segment.plain(repetition))
        else:
            writer.break_line()
    writer.end_line()


def _write_embedded(segment: Segment, writer: Writer, source: Source) -> None:
    subtype, encoding, content = segment.get(5, 3), segment.get(5, 4).lower(), segment.get(5, 5)
    data = content.encode()
    if encoding == "base64":
        data = decode_base64(content, f"{source.where}: {_told(segment)}")
    elif encoding == "hex":
        if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", content):
            raise NoteError(f"{source.where}: what {_told(segment)} embeds is not hexadecimal")
        data = bytes.fromhex(content)
    writer.add(read_one(source.inside(data), subtype))
    writer.end_line()


def _told(segment: Segment) -> str:
    return f"OBX {segment.get(1)}" if segment.get(1).isdigit() else "an OBX"


def _name(segment: Segment) -> str:
    """What an observation is called: by its suffix, its LOINC code, else by the name that the sender gives it."""
    suffix = segment.get(3, 1, 2)
    return _SUFFIXES.get(suffix) or section_title(segment.get(3)) or segment.get(3, 2)


def _is_section(segment: Segment) -> bool:
    return segment.get(3, 1, 2) in _SUFFIXES or bool(section_title(segment.get(3)))


def _is_text(segment: Segment) -> bool:
    return segment.id == "OBX" and segment.get(2) in ("TX", "FT", "ED")


# ── what stands above the text ──────────────────────────────────────────────────────────────────


def _document_id(segments: Sequence[Segment]) -> str:
    """TXA-12, the document's unique number, else MSH-10, the message's."""
    return next((s.get(12) for s in segments if s.id == "TXA" and s.get(12)), "") or segments[0].get(10)


def _metadata(segments: Sequence[Segment]) -> Metadata:
    first = {segment.id: segment for segment in reversed(segments)}
    none = Segment(("",), segments[0].separators)
    txa, obr, pv1 = (first.get(name, none) for name in ("TXA", "OBR", "PV1"))
    dates = (txa.get(4), obr.get(7), pv1.get(44), txa.get(6), segments[0].get(7))
    people = (_person(txa, 9), _person(txa, 5), _person(obr, 32), _person(obr, 16), _person(pv1, 7))
    return Metadata(
        provider=next(filter(None, people), ""),
        encounter=pv1.get(19),
        date=next(filter(None, map(iso_date, dates)), ""),
        department=pv1.get(3) or pv1.get(3, 4),
        document_type=txa.get(2, 2) or obr.get(4, 2) or txa.get(2),
        type_code=txa.get(2) or obr.get(4),
        status=obr.get(25) if txa is none else txa.get(17),
        replaces=txa.get(13),
    )


def _person(segment: Segment, number: int) -> str:
    """A name as "Given Family", else the identifier; in OBR-32 both stand one level further down."""
    family, given = segment.get(number, 2, 1), segment.get(number, 3)
    if not family:
        family, given = segment.get(number, 1, 2), segment.get(number, 1, 3)
    return " ".join(filter(None, (given, family))) or segment.get(number, 1, 1)
