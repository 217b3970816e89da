"""What CDS Hooks 2.0 says of a response, a discovery and a feedback, written down from the specification's text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

_TEXT = {"type": "string", "minLength": 1}
_URL = {"type": "string", "pattern": "^https?://"}
_CODING = {
    "type": "object",
    "required": ["code", "display"],
    "properties": {"code": _TEXT, "system": _URL, "display": _TEXT},
    "additionalProperties": False,
}
_ACTION = {
    "type": "object",
    "required": ["type", "description"],
    "properties": {
        "type": {"enum": ["create", "update", "delete"]},
        "description": _TEXT,
        "resource": {"type": "object", "required": ["resourceType"]},
        "resourceId": _TEXT,
    },
    "additionalProperties": False,
    "if": {"properties": {"type": {"const": "delete"}}},
    "then": {"required": ["resourceId"]},
    "else": {"required": ["resource"]},
}
_SUGGESTION = {
    "type": "object",
    "required": ["label"],
    "properties": {
        "label": _TEXT,
        "uuid": {"type": "string", "format": "uuid"},
        "isRecommended": {"type": "boolean"},
        "actions": {"type": "array", "minItems": 1, "items": _ACTION},
    },
    "additionalProperties": False,
}
_LINK = {
    "type": "object",
    "required": ["label", "url", "type"],
    "properties": {
        "label": _TEXT,
        "url": _URL,
        "type": {"enum": ["absolute", "smart"]},
        "appContext": _TEXT,
        "autolaunchable": {"type": "boolean"},
    },
    "additionalProperties": False,
    "if": {"required": ["appContext"]},
    "then": {"properties": {"type": {"const": "smart"}}},
}
_CARD = {
    "type": "object",
    "required": ["uuid", "summary", "indicator", "source"],
    "properties": {
        "uuid": {"type": "string", "format": "uuid"},
        "summary": {"type": "string", "minLength": 1, "maxLength": 139},
        "detail": _TEXT,
        "indicator": {"enum": ["info", "warning", "critical"]},
        "source": {
            "type": "object",
            "required": ["label"],
            "properties": {"label": _TEXT, "url": _URL, "icon": _URL, "topic": _CODING},
            "additionalProperties": False,
        },
        "suggestions": {"type": "array", "minItems": 1, "items": _SUGGESTION},
        "selectionBehavior": {"enum": ["at-most-one", "any"]},
        "overrideReasons": {"type": "array", "minItems": 1, "items": _CODING},
        "links": {"type": "array", "minItems": 1, "items": _LINK},
    },
    "additionalProperties": False,
    "dependentRequired": {"suggestions": ["selectionBehavior"], "selectionBehavior": ["suggestions"]},
}
RESPONSE: Mapping[str, Any] = {
    "type": "object",
    "required": ["cards"],
    "properties": {"cards": {"type": "array", "items": _CARD}},
    "additionalProperties": False,
}
DISCOVERY: Mapping[str, Any] = {
    "type": "object",
    "required": ["services"],
    "properties": {
        "services": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["hook", "description", "id"],
                "properties": {
                    "hook": {"type": "string", "pattern": r"^([a-z0-9]+\.)*[a-z0-9-]+$"},
                    "title": _TEXT,
                    "description": _TEXT,
                    "id": {"type": "string", "pattern": "^[A-Za-z0-9._-]+$"},
                    "prefetch": {"type": "object", "minProperties": 1, "additionalProperties": _TEXT},
                    "usageRequirements": _TEXT,
                },
                "additionalProperties": False,
            },
        }
    },
    "additionalProperties": False,
}


def hold(value: Any, schema: Mapping[str, Any]) -> None:
    """`value` keeps to `schema`; what the schema cannot say of cards is checked too."""
    Draft202012Validator(schema, format_checker=FormatChecker()).validate(value)
    for card in value.get("cards", []):
        suggestions = card.get("suggestions", [])
        if card.get("selectionBehavior") == "at-most-one":
            assert sum(each.get("isRecommended", False) for each in suggestions) <= 1
    uuids = [each["uuid"] for card in value.get("cards", []) for each in (card, *card.get("suggestions", []))]
    assert len(uuids) == len(set(uuids))
    assert not _empties(value, top=True)


def _empties(value: Any, *, top: bool = False) -> bool:
    """Whether there is a null or an empty string, array or object, which CDS Hooks allows nowhere but as `cards`."""
    if isinstance(value, dict):
        return (
            (not value and not top)
            or any(_empties(each) for name, each in value.items() if not (top and name in ("cards", "services")))
            or any(_empties(each) for name in ("cards", "services") if top for each in value.get(name, []))
        )
    if isinstance(value, list):
        return not value or any(_empties(each) for each in value)
    return value in (None, "")
