"""The OpenAPI document, and a page that shows it without a word of script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from jinja2 import Environment, PackageLoader
from starlette.responses import HTMLResponse, JSONResponse, Response

import notegap
from notegap.service.idempotency import KEY, REPLAYED
from notegap.service.rest.answered import Problem

_DESCRIPTION = f"""\
What a clinical note still has to document before an ICD-10-CM spine code is supported. Reports have the same published,
versioned shape as on the command line: fields may be added, none changes its meaning.

Whatever goes wrong is answered as `application/problem+json` (RFC 9457), never as a report, and never with a word of
the note. What is kept beyond counts is the service's configuration; unless it says otherwise, nothing but the results
of a batch, until they were fetched or expire, and for some minutes the answer to a request with an `{KEY}`.

Where the service asks for it, a request has `Authorization: Bearer` and an API key or a token of its issuer. Without
one that is good the answer is 401, without the scope 403.

A POST under /v1 with the header `{KEY}` (1 to 255 visible ASCII characters) may be sent again: with the same body it
gets the answer it got first, with `{REPLAYED}: true`; with another body, 422; while the first is being answered, 409.

Whoever asks too often is answered 429, with `Retry-After`.
"""
_TAGS = (
    {"name": "notes", "description": "One note, answered at once."},
    {"name": "batches", "description": "Many notes, read one after another."},
    {"name": "codes", "description": "The code set and the checklists."},
    {"name": "what is kept", "description": "Reports that the service was told to keep, and counts."},
    {"name": "operation", "description": "For whoever watches the service."},
)
PROBLEM: dict[str, Any] = {
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
}
"""What an operation answers when it cannot, but for its description."""

_METHODS = ("get", "post", "delete")


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of what `app` serves."""
    if app.openapi_schema is None:
        made = get_openapi(
            title="notegap",
            version=notegap.__version__,
            openapi_version="3.1.0",
            description=_DESCRIPTION,
            routes=app.routes,
            tags=list(_TAGS),
            license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        )
        schemas = made["components"]["schemas"]
        # FastAPI's own, of which no answer here is one.
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        schemas["Problem"] = Problem.model_json_schema()
        made["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
        # None is asked for on a machine that serves itself only.
        made["security"] = [{}, {"bearer": []}]
        for _, _, operation in _operations(made):
            _add_problems(operation)
        app.openapi_schema = made
    return app.openapi_schema


def document_router(app: FastAPI) -> APIRouter:
    """Where the document is read, by programs and by people."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    def openapi() -> Response:
        return JSONResponse(document(app))

    @router.get("/docs")
    def docs() -> Response:
        return HTMLResponse(_page(json.dumps(document(app))))

    @router.get("/docs/docs.css")
    def style() -> Response:
        return Response(_style(), media_type="text/css")

    return router


def _operations(made: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in made["paths"].items():
        for method in _METHODS:
            if method in methods:
                yield path, method, methods[method]


def _add_problems(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for status, said in (("422", "What was sent cannot be read."), ("default", "Whatever else went wrong.")):
        if status == "default" or status in responses or "requestBody" in operation:
            responses[status] = PROBLEM | {"description": said}


# ── the page ──


@cache
def _page(made: str) -> str:
    described = json.loads(made)
    # Not strict: most of what OpenAPI knows need not be there.
    environment = Environment(loader=PackageLoader("notegap.service.rest"), autoescape=True, trim_blocks=True)
    by_tag = [
        (tag, [each for each in _operations(described) if tag["name"] in each[2].get("tags", ())])
        for tag in described["tags"]
    ]
    return environment.get_template("docs.html").render(
        info=described["info"],
        by_tag=by_tag,
        schemas=described["components"]["schemas"],
        kind=_kind,
        refers=_refers,
        pretty=_pretty,
    )


@cache
def _style() -> str:
    return (files("notegap.service.rest") / "assets" / "docs.css").read_text(encoding="utf-8")


def _pretty(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def _refers(schema: dict[str, Any]) -> str:
    """The name of the shape a schema is, or is a list of; "" when it is none of the named ones."""
    for each in (schema, schema.get("items", {}), *schema.get("anyOf", ())):
        if "$ref" in each:
            return str(each["$ref"]).rpartition("/")[2]
    return ""


def _kind(schema: dict[str, Any]) -> str:
    """A schema in a few words: "list of string", "string or null"."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    return str(schema.get("format") or schema.get("type", "anything"))
