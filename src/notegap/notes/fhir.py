"""FHIR R4 as JSON: DocumentReference with inline attachments, alone, in a Bundle or one a line (NDJSON).

fhir.resources has no R4 any more; of what is read here, R4B is the same. A DocumentReference's contents are one
document in several formats, so the first that can be read is taken, the plainest first.
"""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from email.message import Message
from typing import Any, cast

from fhir.resources.R4B.documentreference import DocumentReference
from pydantic import ValidationError

from notegap.errors import NoteError
from notegap.model import Metadata, Part
from notegap.notes.bulk import person_name
from notegap.notes.document import NO_DOCUMENT, Document, RowError, Source, decode_base64, iso_date
from notegap.notes.read import read_one
from notegap.notes.text import decode

_KIND = "DocumentReference"
# The rest of a resource is not read, so a mistake in it is no reason to refuse the note.
_READ = (
    "resourceType", "id", "status", "docStatus", "type", "date", "author", "authenticator", "custodian", "relatesTo",
    "content", "context",
)  # fmt: skip
# The plainer a format, the less is lost in reading it.
_PLAINEST_FIRST = ("text/plain", "html", "rtf", "xml", "word", "pdf")

Resource = Mapping[str, Any]


def read(source: Source) -> Iterator[Document | RowError]:
    """The DocumentReferences of a file, in order; other resources are passed over, and said when there are no more."""
    text = decode(source.data, where=source.where, max_bytes=len(source.data), say=source.say)
    found = 0
    for number, line in _resources(text):
        where = f"{source.where}:{number}"
        resource = line if isinstance(line, dict) else {}
        if not resource:
            found += 1
            yield RowError("", where, "is not a FHIR resource: not a JSON object, or nested too deep")
            continue
        for reference, binaries in _documents_in(resource):
            found += 1
            yield from document_of(reference, source, where=where, binaries=binaries)
    if not found:
        source.say(NO_DOCUMENT)


def document_of(
    resource: Resource, source: Source, *, where: str, binaries: Mapping[str, Resource] | None = None
) -> Iterator[Document | RowError]:
    """The document a DocumentReference holds, or why there is none; `binaries` are what its addresses may mean."""
    given = resource.get("id")
    own_id = given if isinstance(given, str) else ""
    try:
        yield _document(resource, source, ChainMap(dict(binaries or {}), cast(dict[str, Resource], source.binaries)))
    except NoteError as error:
        yield RowError(own_id, where, str(error).removeprefix(f"{source.where}: "))


def _resources(text: str) -> Iterator[tuple[int, object]]:
    """(line, value) of the one JSON value that a file is, else of each line that is not empty; None for a bad one."""
    whole = _parsed(text)
    if whole is not None:
        yield 1, whole
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, _parsed(line)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None  # the error holds the text


def _documents_in(resource: Resource) -> Iterator[tuple[Resource, Mapping[str, Resource]]]:
    kind = resource.get("resourceType")
    if kind == _KIND:
        yield resource, {}
    elif kind == "Bundle":
        entries = resource.get("entry")
        held = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
        binaries: dict[str, Resource] = {}
        for entry in held:
            inner = entry.get("resource")
            if isinstance(inner, dict) and inner.get("resourceType") == "Binary":
                binaries |= {str(entry.get("fullUrl")): inner, f"Binary/{inner.get('id')}": inner}
        for entry in held:
            inner = entry.get("resource")
            if isinstance(inner, dict) and inner.get("resourceType") == _KIND:
                yield inner, binaries


def _document(resource: Resource, source: Source, binaries: Mapping[str, Resource]) -> Document:
    reference = _valid({key: value for key, value in resource.items() if key in _READ}, source.where)
    if "entered-in-error" in (reference.status, reference.docStatus):
        raise NoteError(f"{source.where}: is marked as entered in error")
    problems: list[NoteError] = []
    for number in _plainest_first([content.attachment.contentType or "" for content in reference.content]):
        attachment = reference.content[number].attachment
        try:
            document = _attached(attachment, source, binaries)
        except NoteError as error:
            problems.append(error)
            continue
        parts = (Part(0, len(document.text), "attachment", str(number), title=attachment.title or ""), *document.parts)
        return Document(document.text, reference.id or "", _metadata(reference, resource.get("contained")), parts)
    raise problems[0]


def _valid(resource: Resource, where: str) -> DocumentReference:
    try:
        return DocumentReference.model_validate(resource)
    except ValidationError as error:
        # Of each mistake only where it is: the rest of it quotes the resource.
        mistakes = [mistake["loc"] for mistake in error.errors(include_input=False, include_context=False)]
    # A name that the resource made up is not repeated either.
    known = sorted({".".join(map(str, place[:3])) for place in mistakes if place and place[0] in _READ})
    raise NoteError(f"{where}: is no valid DocumentReference of FHIR R4: {', '.join(known[:3]) or 'its structure'}")


def _plainest_first(types: Sequence[str]) -> list[int]:
    def rank(number: int) -> int:
        kind = types[number].lower()
        return next((n for n, name in enumerate(_PLAINEST_FIRST) if name in kind), len(_PLAINEST_FIRST))

    return sorted(range(len(types)), key=rank)


def _attached(attachment: Any, source: Source, binaries: Mapping[str, Resource]) -> Document:
    media_type, charset = _media_type(attachment.contentType or "")
    data = attachment.data
    if data is None and attachment.url:
        binary = binaries.get(attachment.url) or binaries.get("/".join(attachment.url.split("/")[-2:]))
        content = None if binary is None else binary.get("data")
        if not isinstance(content, str):
            raise NoteError(f"{source.where}: its text is not inline but at an address, which is not fetched")
        data = decode_base64(content, source.where)
    if not data:
        raise NoteError(f"{source.where}: its attachment is empty")
    return read_one(source.inside(bytes(data), charset=charset), media_type)


def _media_type(value: str) -> tuple[str, str]:
    """("text/html", "utf-8") of "text/html; charset=utf-8"."""
    header = Message()
    header["content-type"] = " ".join(value.split())
    return header.get_content_type() if value else "", str(header.get_param("charset", ""))


def _metadata(reference: DocumentReference, contained: object) -> Metadata:
    context = reference.context
    period = context.period if context else None
    encounters = (context.encounter if context else None) or []
    coding = (reference.type.coding or []) if reference.type else []
    named = [each.display for each in coding] + [reference.type.text if reference.type else None]
    authors = reference.author or []
    return Metadata(
        provider=next((author.display for author in authors if author.display), "")
        or next(filter(None, (_contained(author, contained) or referred(author) for author in authors)), ""),
        encounter=referred(encounters[0]) if encounters else "",
        date=iso_date(str((period.start if period else None) or reference.date or "")),
        department=(context.practiceSetting.text if context and context.practiceSetting else None)
        or (reference.custodian.display if reference.custodian else None)
        or "",
        document_type=next(filter(None, named), ""),
        type_code=(coding[0].code if coding else None) or "",
        status=reference.docStatus or reference.status or "",
        replaces=next((referred(relation.target) for relation in reference.relatesTo or []), ""),
    )


def _contained(author: Any, contained: object) -> str:
    """The name of an author who stands in the document itself: "#pr9"."""
    for person in contained if isinstance(contained, list) else ():
        if isinstance(person, dict) and author.reference == f"#{person.get('id')}":
            return person_name(person)
    return ""


def referred(reference: Any) -> str:
    """The id in "Encounter/63f2", or what identifies it in "Practitioner?identifier=SYSTEM|99"."""
    address: str = reference.reference or ""
    _, asked, identifier = address.partition("?identifier=")
    return identifier if asked else address.rpartition("/")[2]
