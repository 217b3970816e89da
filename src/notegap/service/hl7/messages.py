"""A message as it comes in: what its header says, what it asks for, and messages of ours, put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from notegap.errors import NoteError, NotegapError
from notegap.notes.hl7v2 import Segment, header_of, segments_in
from notegap.service.hl7.charsets import CharsetError, decoded

WHERE = "the message"
"""What a message is called in what is raised."""

SEPARATORS = "^~\\&|"
"""Component, repetition, escape, subcomponent, field: those of our own messages."""

INTERNAL = 207
"""The condition of what is not the message's fault."""

CONDITIONS: Mapping[int, str] = MappingProxyType(
    {
        100: "Segment sequence error",
        101: "Required field missing",
        102: "Data type error",
        200: "Unsupported message type",
        201: "Unsupported event code",
        203: "Unsupported version id",
        205: "Duplicate key identifier",
        INTERNAL: "Application internal error",
    }
)
"""Why a message is refused (table 0357)."""

_HEAD = re.compile(rb"MSH([^A-Za-z0-9\s])[^A-Za-z0-9\s]{2,5}\1")
_AGAIN = re.compile(rb"[\r\n][ \t]*MSH[^A-Za-z0-9\s]")
_EVENTS = re.compile(r"T(?:0[1-9]|1[01])")
_ANNOUNCING = frozenset({"T01", "T03", "T05", "T07", "T09"})
_CANCELLED = frozenset({"CA", "OB"})
_UNFINISHED = frozenset({"IP", "IN"})
_NO_RESULT = frozenset({"I", "O", "S"})
_LONGEST_ID = 199
_ESCAPED = "SRETF"


class RefusedMessageError(NotegapError):
    """A message that is not accepted. The sentence is ours.

    `code`: AE, there is something wrong with it; AR, it is not for us, or cannot be taken now. `place`: the segment,
    its number and the field that it is about.
    """

    def __init__(self, code: str, condition: int, message: str, place: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.condition = condition
        self.place = place


class Asked(StrEnum):
    """What a message asks for."""

    CHECK = "check"
    NOTHING = "nothing"  # it announces a document, or a change of its state
    WAIT = "wait"  # the document is not finished
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Message:
    """A message that came in. `codec` is the encoding it was read in, in which it is answered too."""

    segments: tuple[Segment, ...] = field(repr=False)
    codec: str

    @property
    def header(self) -> Segment:
        """Its MSH."""
        return self.segments[0]

    @property
    def control_id(self) -> str:
        """MSH-10 as it was sent."""
        return echoed(self.header, 10)

    @property
    def sender(self) -> tuple[str, str]:
        """The application and the facility it is from."""
        return echoed(self.header, 3), echoed(self.header, 4)

    @property
    def event(self) -> str:
        """What happened: T02, R01."""
        return self.header.get(9, 2) or ("R01" if self.header.get(9) == "ORU" else "")

    @property
    def type(self) -> str:
        """Its type and event: MDM^T02."""
        return f"{self.header.get(9)}^{self.event}"

    @property
    def has_observations(self) -> bool:
        """Whether it carries anything that could be a text."""
        return any(segment.id == "OBX" for segment in self.segments)

    def first(self, name: str) -> Segment:
        """Its first segment of this name; an empty one where there is none."""
        none = Segment((name,), self.header.separators)
        return next((segment for segment in self.segments if segment.id == name), none)

    @property
    def document(self) -> str:
        """The number of the document it is about (TXA-12, or the order's OBR-3, OBR-2); "" when it has none."""
        txa, obr = self.first("TXA"), self.first("OBR")
        return txa.get(12) or ("" if self.header.get(9) == "MDM" else obr.get(3) or obr.get(2))

    @property
    def replaced(self) -> str:
        """The number of the document that this one replaces; "" when it replaces none."""
        return self.first("TXA").get(13) if self.event in ("T09", "T10") else ""

    @property
    def asked(self) -> Asked:
        """What it asks for, by its event and by what it says of the document's state."""
        txa, result = self.first("TXA"), self.first("OBR").get(25)
        if self.event == "T11" or txa.get(19) in _CANCELLED or (self.event == "R01" and result == "X"):
            return Asked.CANCEL
        if txa.get(17) in _UNFINISHED:
            return Asked.WAIT
        announces = self.event in _ANNOUNCING or (self.event == "R01" and result in _NO_RESULT)
        return Asked.NOTHING if announces and not self.has_observations else Asked.CHECK


def parse(data: bytes, charset: str = "") -> tuple[Message | None, RefusedMessageError | None]:
    """A message, and why it is refused; the message only as far as it can be read, None when it is none at all."""
    data = data.strip(b"\r\n \t")
    if not _HEAD.match(data):
        return None, RefusedMessageError(
            "AR", 100, "This is no HL7 v2 message: it does not begin with MSH.", ("MSH", "1")
        )
    try:
        text, codec = decoded(data, charset)
        segments = tuple(segments_in(text, WHERE))
    except CharsetError as error:
        return _header_only(data), RefusedMessageError("AE", 102, str(error), ("MSH", "1", "18"))
    except NoteError as error:
        return _header_only(data), RefusedMessageError("AE", 102, _sentence(error))
    message = Message(segments, codec)
    return message, _refusal(message, several=bool(_AGAIN.search(data)))


def _header_only(data: bytes) -> Message:
    """Of a message that cannot be decoded, what is needed to answer it; in Latin-1, in which its bytes come back."""
    return Message((header_of(re.split(rb"[\r\n]", data, maxsplit=1)[0].decode("latin-1")),), "latin-1")


def unreadable(error: NoteError) -> RefusedMessageError:
    """Why a message is refused whose note cannot be read."""
    return RefusedMessageError("AE", 102, _sentence(error), ("OBX",))


def _sentence(error: NoteError) -> str:
    said = str(error).removeprefix(f"{WHERE}: ")
    return f"{said[:1].upper()}{said[1:]}."


def _refusal(message: Message, *, several: bool) -> RefusedMessageError | None:
    header, event = message.header, message.event
    if not (header.get(12).startswith("2") or not header.get(12)):
        return RefusedMessageError("AR", 203, "This version of HL7 is not read; 2.x is.", ("MSH", "1", "12"))
    if header.get(9) not in ("MDM", "ORU"):
        return RefusedMessageError("AR", 200, "Only MDM^T01 to T11 and ORU^R01 carry notes.", ("MSH", "1", "9"))
    if not (event == "R01" if header.get(9) == "ORU" else _EVENTS.fullmatch(event)):
        return RefusedMessageError("AR", 201, "Only MDM^T01 to T11 and ORU^R01 carry notes.", ("MSH", "1", "9"))
    if not message.control_id:
        return RefusedMessageError("AE", 101, "MSH-10, the message's control id, is missing.", ("MSH", "1", "10"))
    if len(header.raw(10)) > _LONGEST_ID:
        return RefusedMessageError("AE", 102, "MSH-10, the message's control id, is too long.", ("MSH", "1", "10"))
    if several:
        return RefusedMessageError("AR", 100, "There is more than one MSH; send one message at a time.", ("MSH", "2"))
    return None


def echoed(segment: Segment, number: int) -> str:
    """A field as it was sent, to be sent back: without what would break a segment, and no longer than any is."""
    return re.sub(r"[\x00-\x1f]", "", segment.raw(number))[:_LONGEST_ID]


# ── messages of ours ────────────────────────────────────────────────────────────────────────────

Field = str | tuple[str, ...]
"""A field of ours: as it is to be written, or its components, which are escaped."""


def written(segments: Iterable[Sequence[Field]], separators: str = SEPARATORS) -> str:
    """Segments as a message; the second field of an MSH is its separators."""
    return "".join(f"{_segment(fields, separators)}\r" for fields in segments)


def _segment(fields: Sequence[Field], separators: str) -> str:
    made = [each if isinstance(each, str) else joined(each, separators) for each in fields]
    while made and not made[-1]:
        made.pop()
    return separators[4].join(made)


def joined(components: Sequence[str], separators: str = SEPARATORS) -> str:
    """Components as a field, without empty ones at its end."""
    return separators[0].join(escaped(each, separators) for each in components).rstrip(separators[0])


def escaped(text: str, separators: str = SEPARATORS) -> str:
    """A text in which no character separates anything; line ends are spaces."""
    marks = dict(zip(separators, _ESCAPED, strict=True))
    mark = separators[2]
    line = re.sub(r"[\x00-\x1f]+", " ", text)
    return "".join(f"{mark}{marks[char]}{mark}" if char in marks else char for char in line)


def translated(segment: Segment, number: int) -> str:
    """A field of someone else's message with the separators of ours."""
    theirs = segment.separators
    return SEPARATORS[1].join(
        SEPARATORS[0].join(
            SEPARATORS[3].join(escaped(segment.plain(each).strip()) for each in one.split(theirs[3]))
            for one in value.split(theirs[0])
        )
        for value in segment.repetitions(number)
    )


def time_of(moment: datetime) -> str:
    """A time as HL7 writes it."""
    return moment.strftime("%Y%m%d%H%M%S%z")
