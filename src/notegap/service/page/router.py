"""What the page asks for: itself, reports, codes by a part of their name, the text of a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from types import MappingProxyType
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, HTTPException, Request
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, JSONResponse, Response

import notegap
from notegap.icd10cm import Code, CodeSet
from notegap.model import Knowledge, Note, Report, Setting
from notegap.notes.text import decode
from notegap.query import FORMATS as QUERY_FORMATS
from notegap.query import compose_sheet
from notegap.report import FORMATS, Page
from notegap.report.html import live_report
from notegap.report.html.render import asset, legend
from notegap.report.text import gaps_text
from notegap.service.texts import refuse_halves, refuse_unreadable

_MOST_CODES = 50
_Codes = Annotated[list[Annotated[str, Field(max_length=20)]], Field(max_length=12)]


class Reader(Protocol):
    """What the page needs of an analyzer."""

    codes: CodeSet
    knowledge: Knowledge

    def analyze(self, note: Note) -> Report:
        """As `Analyzer.analyze`."""


class Asked(BaseModel):
    """A note as it stands on the page, and what is asked of it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: str = Field(repr=False)
    name: str = Field(default="note", max_length=200)
    codes: _Codes = []
    setting: Setting = Setting.OUTPATIENT
    date_of_service: date | None = None
    comparing: bool = False


class Search(BaseModel):
    """A part of a code or of its title."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: str = Field(max_length=200, repr=False)


_Print = Callable[[Report, Page, Knowledge], str]


def _as(form: str) -> _Print:
    return lambda report, page, _knowledge: FORMATS[form](report, page)


def _gaps(report: Report, page: Page, _knowledge: Knowledge) -> str:
    return gaps_text(report, page)


def _queries(report: Report, _page: Page, knowledge: Knowledge) -> str:
    return QUERY_FORMATS["text"](compose_sheet(report, knowledge))


PRINTED: Mapping[str, tuple[str, _Print]] = MappingProxyType(
    {
        "gaps": ("text/plain", _gaps),
        "queries": ("text/plain", _queries),
        "text": ("text/plain", _as("text")),
        "json": ("application/json", _as("json")),
        "html": ("text/html", _as("html")),
    }
)
"""What can be copied or downloaded: media type and what prints it."""

_SHARED = frozenset({"report.css", "report.js"})
_ASSETS: Mapping[str, str] = MappingProxyType(
    {
        "page.css": "text/css",
        "page.js": "text/javascript",
        "note.js": "text/javascript",
        "codes.js": "text/javascript",
        "morph.js": "text/javascript",
        "icon.svg": "image/svg+xml",
        "report.css": "text/css",
        "report.js": "text/javascript",
    }
)


def page_router(reader: Reader, *, max_bytes: int) -> APIRouter:
    """The page's routes. Notes come in bodies, never in an address, and are kept nowhere."""
    router = APIRouter(include_in_schema=False)

    def analyze(asked: Asked) -> Report:
        return reader.analyze(_note(asked, max_bytes))

    @router.get("/")
    def page() -> Response:
        return HTMLResponse(_page(reader.codes.release))

    @router.get("/assets/{name}")
    def assets(name: str) -> Response:
        if name not in _ASSETS:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(_asset(name), media_type=_ASSETS[name])

    @router.post("/page/report")
    def report(asked: Asked) -> Response:
        live = live_report(analyze(asked), comparing=asked.comparing)
        return JSONResponse(
            {
                "html": live.html,
                "looks": live.looks,
                "marks": live.marks,
                "places": live.places,
                "summary": live.summary,
            }
        )

    @router.post("/page/report/{form}")
    def printed(form: str, asked: Asked) -> Response:
        if form not in PRINTED:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        media_type, print_ = PRINTED[form]
        made = print_(analyze(asked), Page(source=asked.name), reader.knowledge)
        return Response(made, media_type=media_type, headers={"Content-Disposition": "attachment"})

    @router.post("/page/codes")
    def codes(search: Search) -> Response:
        found, more = _search(search.text, reader)
        return JSONResponse({"codes": found, "more": more})

    @router.post("/page/read")
    async def read(request: Request) -> Response:
        return JSONResponse({"text": decode(await request.body(), where="the file", max_bytes=max_bytes)})

    return router


def _note(asked: Asked, max_bytes: int) -> Note:
    refuse_unreadable(asked.text, max_bytes=max_bytes)
    refuse_halves(asked.name, "`name`")
    return Note(
        id=asked.name,
        text=asked.text,
        codes=tuple(asked.codes),
        setting=asked.setting,
        date_of_service=asked.date_of_service.isoformat() if asked.date_of_service else None,
    )


def _search(text: str, reader: Reader) -> tuple[list[dict[str, Any]], bool]:
    """Codes for `text`, those with a checklist first; without text, every code that has one."""
    if text.strip():
        found = list(reader.codes.search(text, limit=10 * _MOST_CODES))
    else:
        names = dict.fromkeys(code for checklist in reader.knowledge.checklists for code in checklist.codes)
        found = [code for name in names if (code := reader.codes.get(name)) is not None]
    found.sort(key=lambda code: reader.knowledge.checklist(code.code) is None)
    return [_choice(code, reader) for code in found[:_MOST_CODES]], len(found) > _MOST_CODES


def _choice(code: Code, reader: Reader) -> dict[str, Any]:
    return {
        "code": code.code,
        "title": code.title,
        "billable": code.billable,
        "checklist": reader.knowledge.checklist(code.code) is not None,
    }


@cache
def _asset(name: str) -> str:
    if name in _SHARED:
        return asset(name)
    return (files("notegap.service.page") / "assets" / name).read_text(encoding="utf-8")


@cache
def _page(release: str) -> str:
    environment = Environment(
        loader=PackageLoader("notegap.service.page"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("page.html").render(release=release, version=notegap.__version__, legend=legend())
