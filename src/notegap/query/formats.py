"""The queries for one note in every format they can be printed in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import notegap
from notegap.model import FormKind
from notegap.query.compose import Query, Sheet
from notegap.query.text import CLOSING, markdown_query, text_query, where
from notegap.query.waivers import Waiver
from notegap.report.lines import shown

SCHEMA_VERSION = 1
"""The version of the JSON shape: fields may be added, none changes its meaning."""

NOTHING = "There is nothing to ask the provider."


def text_sheet(sheet: Sheet) -> str:
    """The queries that are to be sent, as plain text."""
    return _one_after_another(sheet, text_query, "Query {} of {}", "\n\n")


def markdown_sheet(sheet: Sheet) -> str:
    """The queries that are to be sent, as Markdown."""
    return _one_after_another(sheet, markdown_query, "# Query {} of {}", "\n---\n\n")


def json_sheet(sheet: Sheet) -> str:
    """Every query with all that is known of it, what is folded, waived and not asked."""
    return _dumped(
        {
            "schema_version": SCHEMA_VERSION,
            "id": sheet.report.note.id,
            "notegap": notegap.__version__,
            "knowledge": sheet.knowledge,
            "code_set": sheet.report.code_set,
            "queries": [as_dict(query) for query in sheet.queries[: sheet.shown]],
            "folded": [
                {"id": query.id, "findings": list(query.findings), "title": query.title, "changes": query.changes.value}
                for query in sheet.queries[sheet.shown :]
            ],
            "waived": [{"finding": finding, **_waiver(waiver)} for finding, waiver in sheet.waived],
            "expired_waivers": [{"finding": waiver.id, **_waiver(waiver)} for waiver in sheet.expired],
            "not_asked": [{"finding": unasked.finding, "why": unasked.why} for unasked in sheet.unasked],
        }
    )


def fhir_sheet(sheet: Sheet) -> str:
    """The queries that are to be sent as a FHIR R4 Questionnaire, a group of items for each."""
    questionnaire: dict[str, Any] = {
        "resourceType": "Questionnaire",
        "status": "draft",
        "title": "Clarification requested",
        "subjectType": ["Patient"],
        "description": CLOSING,
    }
    queries = sheet.queries[: sheet.shown]
    if queries:  # FHIR knows no empty list.
        questionnaire["item"] = [_group(query) for query in queries]
    return _dumped(questionnaire)


FORMATS: Mapping[str, Callable[[Sheet], str]] = MappingProxyType(
    {
        "text": text_sheet,
        "markdown": markdown_sheet,
        "json": json_sheet,
        "fhir": fhir_sheet,
    }
)
"""Format name → what prints the queries in it."""


def as_dict(query: Query) -> dict[str, Any]:
    """One query in its published shape."""
    return {
        "id": query.id,
        "findings": list(query.findings),
        "template": query.template,
        "trigger": query.trigger.value,
        "changes": query.changes.value,
        "title": query.title,
        "indicators": [
            {
                "start": indicator.start,
                "end": indicator.end,
                "line": indicator.line,
                "quote": indicator.quote,
                "section": indicator.section,
                "assertion": indicator.assertion.value if indicator.assertion is not None else None,
                "contrary": indicator.contrary,
                "note_id": query.note_id,
                "date_of_service": query.date_of_service,
            }
            for indicator in query.indicators
        ],
        "question": query.question,
        "kind": query.kind.value,
        "yes_no_reason": query.reason or None,
        "options": [{"text": option.text, "supported_by": list(option.supported_by)} for option in query.options],
        "closing": CLOSING,
        "place": query.place,
    }


def _one_after_another(sheet: Sheet, write: Callable[[Query], str], heading: str, between: str) -> str:
    queries = sheet.queries[: sheet.shown]
    if not queries:
        return f"{NOTHING}\n"
    return between.join(
        f"{heading.format(number, len(queries))}\n\n{write(query)}" for number, query in enumerate(queries, 1)
    )


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return {
        "note": waiver.note,
        "reason": waiver.reason,
        "author": waiver.author,
        "expires": waiver.expires.isoformat(),
    }


def _group(query: Query) -> dict[str, Any]:
    """One query: what the note says, the question, and a line for what is none of the options."""
    items: list[dict[str, Any]] = [
        {
            "linkId": f"{query.id}.indicator{number}",
            "type": "display",
            "text": f"“{shown(indicator.quote)}” ({where(indicator)})",
        }
        for number, indicator in enumerate(query.indicators, 1)
    ]
    question: dict[str, Any] = {
        "linkId": f"{query.id}.answer",
        "text": query.question,
        "type": "text" if query.kind is FormKind.OPEN else "choice",
        "required": False,
        "repeats": False,
    }
    if query.options:
        question["answerOption"] = [{"valueString": option.text} for option in query.options]
        other = query.options[-2].text
        question["item"] = [
            {
                "linkId": f"{query.id}.other",
                "text": "Please specify",
                "type": "string",
                "enableWhen": [{"question": f"{query.id}.answer", "operator": "=", "answerString": other}],
            }
        ]
    return {"linkId": query.id, "type": "group", "text": query.title, "item": [*items, question]}


def _dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
