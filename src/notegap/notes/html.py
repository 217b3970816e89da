"""HTML and XHTML: what a reader of the page sees of it, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree, html

from notegap.errors import NoteError
from notegap.notes.document import Document, Source, Writer
from notegap.notes.markup import write_element
from notegap.notes.text import decode

_CHARSET = re.compile(rb"<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)


def read(source: Source) -> Iterator[Document]:
    """The one document a page is."""
    declared = _CHARSET.search(source.data[:2048])
    text = decode(
        source.data,
        where=source.where,
        max_bytes=len(source.data),
        charset=source.charset or (declared[1].decode("ascii") if declared else ""),
        say=source.say,
    )
    # Given as UTF-8, so that no declaration in the page has a say any more.
    parser = html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False)
    writer = Writer()
    root = _parse(text.replace("\0", "").encode(), parser)
    if root is not None:
        if any(entry.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for entry in parser.error_log):
            raise NoteError(f"{source.where}: is nested deeper than 256 elements")
        write_element(root, writer)
    yield writer.document()


def _parse(data: bytes, parser: html.HTMLParser) -> etree._Element | None:
    try:
        return html.document_fromstring(data, parser=parser)
    except etree.ParserError:
        return None  # there is no element in it
