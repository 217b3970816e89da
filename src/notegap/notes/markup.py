"""What HTML and C-CDA have in common: a hardened parser for XML, and an element tree put into lines of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from lxml import etree

from notegap.errors import NoteError
from notegap.notes.document import Source, Writer
from notegap.notes.read import past_prolog
from notegap.notes.text import MARKS, looks_like_cp1252

_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "div", "dl", "dt", "fieldset",
    "footer", "form", "header", "hr", "legend", "list", "main", "nav", "ol", "p", "paragraph", "section", "table",
    "tbody", "tfoot", "thead", "tr", "ul",
))  # fmt: skip
_TITLES = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_ITEMS = frozenset(("li", "item"))
_CELLS = frozenset(("td", "th"))
# What nobody sees who reads the note: programs, styles, pictures, and what was struck out of it.
_UNSEEN = frozenset((
    "applet", "audio", "canvas", "colgroup", "datalist", "del", "embed", "head", "iframe", "math", "noframes",
    "noscript", "object", "rendermultimedia", "s", "script", "select", "strike", "style", "svg", "template", "textarea",
    "title", "video",
))  # fmt: skip
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|mso-hide\s*:\s*all|line-through", re.IGNORECASE)
_KEPT_SPACE = re.compile(r"white-space\s*:\s*(?:pre|break-spaces)", re.IGNORECASE)
_DECLARED_ENCODING = re.compile(rb"<\?xml[^>]{0,200}encoding\s*=\s*[\"'](?P<name>[\w.:-]+)")
_TOO_DEEP = "nested deeper than 256 elements, or a text in it is over 10 MB"


def parse_xml(source: Source) -> etree._Element:
    """The root of an XML document, read without entities, DTD or network; raises `NoteError` for what is not safe."""
    data, where = source.data, source.where
    plain = next((data.decode(name, "replace").encode() for mark, name in MARKS if data.startswith(mark)), data)
    plain = plain.removeprefix(b"\xef\xbb\xbf")
    if plain[past_prolog(plain) :].startswith(b"<!DOCTYPE"):
        raise _has_dtd(where)
    encoding = None
    if plain is data and _is_cp1252(data):
        source.say("read as Windows-1252")
        encoding = "cp1252"
    elif source.charset and not _DECLARED_ENCODING.match(plain) and plain == data:
        encoding = source.charset if source.charset.lower() in ("iso-8859-1", "windows-1252") else None
    parser = etree.XMLParser(
        encoding=encoding,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        attribute_defaults=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(data.lstrip(), parser)
    except etree.XMLSyntaxError as error:
        # Its message may quote the document.
        deep, line = error.code == etree.ErrorTypes.ERR_RESOURCE_LIMIT, error.position[0]
    except (LookupError, ValueError):
        deep, line = False, 1
    else:
        if root.getroottree().docinfo.doctype:
            raise _has_dtd(where)
        return root
    problem = f"is {_TOO_DEEP}" if deep else f"is not well-formed XML (line {line}); it is cut off or damaged there"
    raise NoteError(f"{where}: {problem}")


def _has_dtd(where: str) -> NoteError:
    return NoteError(
        f"{where}: has a document type declaration (DTD), which can reach outside the file or blow it up; "
        "take it out, C-CDA has none"
    )


def _is_cp1252(data: bytes) -> bool:
    declared = _DECLARED_ENCODING.match(data)
    if declared and declared["name"].lower() != b"utf-8":
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return looks_like_cp1252(data)
    return False


def write_element(
    element: etree._Element,
    writer: Writer,
    *,
    marked: Callable[[etree._Element], str] = lambda _element: "",
    unseen: Callable[[etree._Element], bool] = lambda _element: False,
) -> None:
    """Write what a reader sees of `element`: paragraphs, items and rows as lines, cells apart by bars.

    `marked` gives the id under which an element is kept as a part, "" for none; `unseen` what else to leave out.
    """
    _write(element, writer, marked, unseen, kept=False, bullet="-")


def _write(
    element: etree._Element,
    writer: Writer,
    marked: Callable[[etree._Element], str],
    unseen: Callable[[etree._Element], bool],
    *,
    kept: bool,
    bullet: str,
) -> None:
    name = local_name(element)
    if not name or name in _UNSEEN or _is_hidden(element) or unseen(element):
        return
    kept = kept or name in ("pre", "listing", "xmp") or bool(_KEPT_SPACE.search(element.get("style", "")))
    if name in _TITLES:
        writer.heading("".join(_texts(element)))
        return
    mark = marked(element)
    if mark:
        writer.open("element", id=mark)
    items = count(1) if _is_ordered(element, name) else None
    with _framed(element, name, writer, bullet):
        _write_text(element.text, writer, kept=kept)
        for child in element:
            number = next(items) if items is not None and local_name(child) in _ITEMS else None
            _write(child, writer, marked, unseen, kept=kept, bullet=f"{number}." if number else "-")
            _write_text(child.tail, writer, kept=kept)
    if mark:
        writer.close()


@contextmanager
def _framed(element: etree._Element, name: str, writer: Writer, bullet: str) -> Iterator[None]:
    """What stands before and after the content of an element: line ends, a bullet, the bar between cells."""
    if name == "br":
        writer.break_line()
        yield
    elif name in _CELLS:
        yield
        if _labels_its_row(element, name):
            writer.end_label()
        else:
            writer.end_cell()
    elif name in _ITEMS:
        writer.end_line()
        writer.begin_item(bullet)
        yield
        writer.begin_item("")
        writer.end_line()
    elif name in _BLOCKS or name == "pre":
        writer.end_line()
        yield
        writer.end_line()
    else:
        yield


def _write_text(text: str | None, writer: Writer, *, kept: bool) -> None:
    if text and kept:
        writer.write_lines(text)
    elif text:
        writer.write(text)


def _labels_its_row(element: etree._Element, name: str) -> bool:
    """Whether a cell is the one header of a row of data, as in "Pulse: 72"."""
    row = element.getparent()
    if name != "th" or row is None or element.getprevious() is not None:
        return False
    return [local_name(cell) for cell in row[:3]] == ["th", "td"] and bool("".join(_texts(row[1])).strip())


def _is_ordered(element: etree._Element, name: str) -> bool:
    return name == "ol" or element.get("listType") == "ordered"


def _is_hidden(element: etree._Element) -> bool:
    # `revised="delete"`: CDA's own mark for what a later version took out.
    return (
        element.get("hidden") is not None
        or element.get("revised") == "delete"
        or (element.get("type") == "hidden")
        or bool(_HIDDEN_STYLE.search(element.get("style", "")))
    )


def _texts(element: etree._Element) -> Iterator[str]:
    if not local_name(element) or local_name(element) in _UNSEEN or _is_hidden(element):
        return
    yield element.text or ""
    for child in element:
        yield from _texts(child)
        yield child.tail or ""


def local_name(element: etree._Element) -> str:
    """The name of an element without its namespace, in lower case; "" for comments, instructions and entities."""
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""
