"""C-CDA R2.1: the narrative of every section in order, or the document that an unstructured one embeds.

A file may be a whole document or one section of it. Entries are not read: the narrative has to say what they say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from lxml import etree

from notegap.errors import EmptyNoteError, NoteError
from notegap.model import Metadata
from notegap.notes.document import Document, Source, Writer, decode_base64, iso_date
from notegap.notes.loinc import section_title
from notegap.notes.markup import local_name, parse_xml, write_element
from notegap.notes.read import read_one

_LOINC = "2.16.840.1.113883.6.1"
_NAME_PARTS = ("prefix", "given", "family", "suffix")
_XML_ID = "{http://www.w3.org/XML/1998/namespace}id"
_FRAME: Mapping[str, str] = MappingProxyType({"structuredbody": "sections", "nonxmlbody": "embedded"})


def read(source: Source) -> Iterator[Document]:
    """The one document, or the one section, that the file is."""
    root = parse_xml(source)
    if local_name(root) == "section":
        writer = Writer()
        _write_section(root, writer)
        yield writer.document()
        return
    body = next((child for part in _children(root, "component") for child in part if local_name(child) in _FRAME), None)
    if body is None:
        raise NoteError(f"{source.where}: is a C-CDA document without a body")
    if local_name(body) == "nonxmlbody":
        document = _embedded(body, source)
    else:
        writer = Writer()
        for component in _children(body, "component"):
            for section in _children(component, "section"):
                _write_section(section, writer)
        document = writer.document()
        if not document.text:
            raise EmptyNoteError(f"{source.where}: no section of it has a narrative; coded entries are not read")
    yield Document(document.text, _id_of(_first(root, "id")), _metadata(root), document.parts)


def _write_section(section: etree._Element, writer: Writer) -> None:
    """A section's title and narrative, then the sections inside it; nothing when it says that there is nothing."""
    code = _first(section, "code")
    loinc = code.get("code", "") if code is not None and code.get("codeSystem", _LOINC) == _LOINC else ""
    given = _text_of(_first(section, "title"))
    known = code.get("displayName", "") if code is not None else ""
    title = given or section_title(loinc) or known
    text = None if section.get("nullFlavor") else _first(section, "text")
    inner = [each for component in _children(section, "component") for each in _children(component, "section")]
    said = text is not None and bool("".join(text.itertext()).strip())
    if not said and not inner:
        return
    writer.open("section", id=_xml_id(section), code=loinc, title=title)
    if said or given:
        writer.heading(title)
    if text is not None and said:
        write_element(text, writer, marked=_xml_id)
        writer.end_line()
    for each in inner:
        _write_section(each, writer)
    writer.close()


def _embedded(body: etree._Element, source: Source) -> Document:
    text = _first(body, "text")
    if text is None:
        raise NoteError(f"{source.where}: is an unstructured C-CDA document without a text")
    if _first(text, "reference") is not None:
        raise NoteError(
            f"{source.where}: its text is in another file, to which it only refers; give that file, or embed it"
        )
    if text.get("compression"):
        raise NoteError(f"{source.where}: its text is compressed, which is not read")
    content = "".join(text.itertext())
    media_type = text.get("mediaType", "text/plain")
    if text.get("representation") == "B64":
        data = decode_base64(content, source.where)
        return read_one(source.inside(data, charset=text.get("charset", "")), media_type)
    return read_one(source.inside(content.strip().encode()), media_type)


# ── what stands above the body ──────────────────────────────────────────────────────────────────


def _metadata(root: etree._Element) -> Metadata:
    encounter = _path(root, "componentOf", "encompassingEncounter")
    code = _first(root, "code")
    title = _text_of(_first(root, "title")) or (code.get("displayName", "") if code is not None else "")
    related = _path(root, "relatedDocument", "parentDocument")
    return Metadata(
        provider=_provider(root, encounter),
        encounter=_id_of(_first(encounter, "id")),
        date=_time(_first(encounter, "effectiveTime")) or _time(_first(root, "effectiveTime")),
        department=_department(root, encounter),
        document_type=title,
        type_code=code.get("code", "") if code is not None else "",
        replaces=_id_of(_first(related, "id")),
    )


def _provider(root: etree._Element, encounter: etree._Element | None) -> str:
    """Who answers for the document: its legal authenticator, else the encounter's responsible party, else an author."""
    people = (
        _path(root, "legalAuthenticator", "assignedEntity", "assignedPerson", "name"),
        _path(encounter, "responsibleParty", "assignedEntity", "assignedPerson", "name"),
        *(_path(author, "assignedAuthor", "assignedPerson", "name") for author in _children(root, "author")),
    )
    return next((name for name in map(_person, people) if name), "")


def _person(name: etree._Element | None) -> str:
    if name is None:
        return ""
    parts = [_text_of(child) for part in _NAME_PARTS for child in _children(name, part)]
    return " ".join(part for part in parts if part) or _text_of(name)


def _department(root: etree._Element, encounter: etree._Element | None) -> str:
    facility = _path(encounter, "location", "healthCareFacility")
    return (
        _text_of(_path(facility, "location", "name"))
        or _text_of(_path(facility, "serviceProviderOrganization", "name"))
        or _text_of(_path(root, "custodian", "assignedCustodian", "representedCustodianOrganization", "name"))
    )


def _time(element: etree._Element | None) -> str:
    if element is None:
        return ""
    low = _first(element, "low")
    return iso_date(element.get("value", "") or (low.get("value", "") if low is not None else ""))


def _id_of(element: etree._Element | None) -> str:
    if element is None or element.get("nullFlavor"):
        return ""
    return element.get("extension", "") or element.get("root", "")


# ── the tree, whatever its namespace ────────────────────────────────────────────────────────────


def _children(element: etree._Element, name: str) -> Iterator[etree._Element]:
    return (child for child in element if local_name(child) == name.lower())


def _first(element: etree._Element | None, name: str) -> etree._Element | None:
    return None if element is None else next(_children(element, name), None)


def _path(element: etree._Element | None, *names: str) -> etree._Element | None:
    for name in names:
        element = _first(element, name)
    return element


def _text_of(element: etree._Element | None) -> str:
    return "" if element is None else " ".join("".join(element.itertext()).split())


def _xml_id(element: etree._Element) -> str:
    return element.get("ID", "") or element.get(_XML_ID, "")
