"""A FHIR DocumentReference as it is sent to the service → the text of its note, inline or fetched, and what it says of
itself.

Resources are walked, not validated: a mistake in what is not read is no reason to refuse a note.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from email.message import Message
from typing import Any

from notegap.errors import NoteError
from notegap.model import Part
from notegap.notes import document
from notegap.notes.document import Source, decode_base64
from notegap.notes.read import read_one
from notegap.service.fetch import Fetched, Fetcher, absolute, lies_under, parsed

Resource = Mapping[str, Any]

KIND = "DocumentReference"
SUPERSEDED = "superseded"
"""The state of a document that another one has replaced."""

NAMELESS = "-"
"""The id of a note whose document has none; none that a document has is like it."""

_WHERE = "the document"
_SHA1 = 20
# The plainer a format, the less is lost in reading it.
_PLAINEST_FIRST = ("text/plain", "html", "rtf", "xml", "word", "pdf")
_ACCEPT = "text/plain, text/html;q=0.9, application/rtf;q=0.9, application/xml;q=0.9, application/fhir+json;q=0.5"
_ID = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9.-]{1,64}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A note, the id of its DocumentReference ("" when it has none), the day it is of, and the parts of its file.

    `superseded`: the record has another one in its place.
    """

    text: str = field(repr=False)
    id: str = ""
    day: str | None = None
    parts: tuple[Part, ...] = field(default=(), repr=False)
    superseded: bool = False


def read_document(
    reference: Resource, fetcher: Fetcher, *, max_bytes: int, server: str = "", token: str = ""
) -> Document:
    """The note in a DocumentReference: the first of its contents that can be read, the plainest first.

    `server` is where the document comes from: relative addresses are its own, and it alone gets to see `token`.
    Raises NoteError when there is none; its message carries no word of the note and no address.
    """
    if reference.get("resourceType") != KIND:
        raise NoteError(f"What was sent is no {KIND}.")
    if is_wrong(reference):
        raise NoteError("The document is marked as entered in error; it is not read.")
    attachments = [
        (number, content["attachment"])
        for number, content in enumerate(objects(reference.get("content")))
        if isinstance(content.get("attachment"), dict)
    ]

    def fetch(address: str) -> Fetched:
        url = absolute(address, server or fetcher.base)
        return fetcher.get(url, accept=_ACCEPT, token=token if server and lies_under(url, server) else "")

    problem = NoteError(f"The {KIND} has no attachment.")
    for number, attachment in sorted(attachments, key=lambda each: _plainness(each[1])):
        try:
            found = _attached(attachment, fetch, max_bytes)
        except NoteError as error:
            problem = error
            continue
        title = attachment.get("title")
        whole = Part(0, len(found.text), "attachment", str(number), title=title if isinstance(title, str) else "")
        parts = (whole, *found.parts)
        return Document(
            text=found.text,
            id=resource_id(reference),
            day=day_of(reference),
            parts=parts,
            superseded=reference.get("status") == SUPERSEDED,
        )
    raise problem


def resource_id(resource: Resource) -> str:
    """The id of a resource; "" when it has none that FHIR allows."""
    given = resource.get("id")
    return given if isinstance(given, str) and _ID.fullmatch(given) else ""


def day_of(reference: Resource) -> str | None:
    """The day the document is about, else the one it was written; None when it does not say."""
    context = mapping(reference.get("context"))
    for given in (mapping(context.get("period")).get("start"), reference.get("date")):
        found = _DAY.match(given) if isinstance(given, str) else None
        if found and _is_day(found.group()):
            return found.group()
    return None


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def encounters_of(reference: Resource) -> frozenset[str]:
    """The ids of the encounters a document belongs to."""
    given = mapping(reference.get("context")).get("encounter")
    references = (each.get("reference") for each in objects(given))
    return frozenset(id_in(each) for each in references if isinstance(each, str))


def id_in(address: str) -> str:
    """The id in a reference to a resource, of one version or any: "1" of "Encounter/1/_history/2"."""
    return address.partition("/_history/")[0].rpartition("/")[2]


def is_wrong(reference: Resource) -> bool:
    """Whether a document was entered in error."""
    return "entered-in-error" in (reference.get("status"), reference.get("docStatus"))


def mapping(value: object) -> Resource:
    """`value` when it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> Iterator[Resource]:
    """The JSON objects in `value` when it is an array."""
    if isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict))


def _plainness(attachment: Resource) -> tuple[int, bool]:
    media_type, _ = _media_type(attachment.get("contentType"))
    rank = next((rank for rank, name in enumerate(_PLAINEST_FIRST) if name in (media_type or "text/plain")), 9)
    return rank, "data" not in attachment


def _attached(attachment: Resource, fetch: Callable[[str], Fetched], max_bytes: int) -> document.Document:
    media_type, charset = _media_type(attachment.get("contentType"))
    if "data" in attachment:
        data = _decoded(attachment["data"])
    elif isinstance(attachment.get("url"), str) and attachment["url"]:
        data, fetched_type, fetched_charset = _binary(fetch(attachment["url"]))
        media_type, charset = media_type or fetched_type, fetched_charset or charset
    else:
        raise NoteError("The document's attachment has neither data nor an address.")
    if not data:
        raise NoteError("The document's attachment is empty.")
    _refuse_other(attachment, data)
    # Its format is recognised by content, else by the media type.
    return read_one(Source(data=data, where=_WHERE, max_bytes=max_bytes, charset=charset), media_type)


def _refuse_other(attachment: Resource, data: bytes) -> None:
    """Raise NoteError when what was sent or fetched is not what the attachment says of it."""
    size, digest = attachment.get("size"), attachment.get("hash")
    if isinstance(size, int) and size != len(data):
        raise NoteError("The document's attachment is longer or shorter than its size says.")
    expected = decode_base64(digest, _WHERE) if isinstance(digest, str) else b""
    # A digest of another length is none that FHIR has here.
    if len(expected) == _SHA1 and expected != hashlib.sha1(data, usedforsecurity=False).digest():
        raise NoteError("The document's attachment is not the one that its hash is of.")


def _binary(fetched: Fetched) -> tuple[bytes, str, str]:
    """What was fetched, its media type and charset: a FHIR server may wrap it into a Binary."""
    media_type, charset = _media_type(fetched.content_type)
    if media_type in ("application/fhir+json", "application/json"):
        binary = mapping(parsed(fetched.data))
        if binary.get("resourceType") != "Binary":
            raise NoteError("The server that holds the document answers with something else.")
        return (_decoded(binary.get("data")), *_media_type(binary.get("contentType")))
    return fetched.data, media_type, charset


def _decoded(content: object) -> bytes:
    if not isinstance(content, str):
        raise NoteError("The document's attachment is not Base64.")
    return decode_base64(content, _WHERE)


def _media_type(value: object) -> tuple[str, str]:
    """("text/html", "utf-8") of "text/html; charset=utf-8"."""
    if not isinstance(value, str) or not value.strip():
        return "", ""
    header = Message()
    header["content-type"] = " ".join(value.split())
    return header.get_content_type(), str(header.get_param("charset", ""))
