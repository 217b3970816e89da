"""A query as plain text and as Markdown: what the provider reads. No code, no name of ours, one question."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from notegap.report.lines import shown

if TYPE_CHECKING:
    from notegap.query.compose import Indicator, Query

BLANK = "________"
CLOSING = "Please answer from your own clinical judgment, in an addendum to the note."
OPEN_ENDED = "Other"

_NAMES = {"hpi": "history", "ros": "review of systems"}
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+.!|<>~&$^=-])")


def text_query(query: Query) -> str:
    """One query as plain text."""
    lines = [query.title, "", f"Clinical indicators{_from(query)}"]
    lines += [f"- “{shown(indicator.quote)}” ({where(indicator)})" for indicator in query.indicators]
    lines += ["", "Question", query.question]
    lines += [f"[ ] {option.text}{_blank(option.text)}" for option in query.options]
    return "\n".join([*lines, "", CLOSING]) + "\n"


def markdown_query(query: Query) -> str:
    """One query as Markdown; whatever a note or its name holds is shown, not interpreted."""
    lines = [f"## {query.title}", "", f"**Clinical indicators**{escaped(_from(query))}", ""]
    lines += [f"- “{escaped(shown(indicator.quote))}” ({escaped(where(indicator))})" for indicator in query.indicators]
    lines += ["", "**Question**", "", query.question]
    if query.options:
        lines += ["", *(f"- [ ] {escaped(option.text + _blank(option.text))}" for option in query.options)]
    return "\n".join([*lines, "", CLOSING]) + "\n"


def count_words(query: Query) -> int:
    """The words of the query as the provider reads it."""
    return len(re.findall(r"\w[\w'’.-]*", text_query(query)))


def where(indicator: Indicator) -> str:
    """Where in the note it stands: "imaging, line 7, characters 412–441"; the characters are code points from 0."""
    section = section_name(indicator.section)
    place = f"line {indicator.line}, characters {indicator.start}–{indicator.end}"
    return f"{section}, {place}" if section else place


def section_name(section: str) -> str:
    """A section as one says it."""
    return _NAMES.get(section, section.replace("_", " "))


def escaped(text: str) -> str:
    """Text with every character that Markdown could take for markup escaped."""
    return _MARKUP.sub(r"\\\1", text)


def _from(query: Query) -> str:
    return f" (note of {query.date_of_service})" if query.date_of_service else ""


def _blank(option: str) -> str:
    return f": {BLANK}" if option.startswith(OPEN_ENDED) else ""
