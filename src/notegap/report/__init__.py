"""A report in every format it can be printed in: what is open comes first, nothing is said without its evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from notegap.model import Report
from notegap.report.json import json_report, jsonl_report
from notegap.report.page import Page
from notegap.report.sarif import sarif_report, sarif_run
from notegap.report.text import text_report


def _html_report(report: Report, page: Page) -> str:
    # Jinja2 is imported only where it is used: `explain` does without.
    from notegap.report.html import html_report

    return html_report(report, page)


FORMATS: Mapping[str, Callable[[Report, Page], str]] = MappingProxyType(
    {
        "text": text_report,
        "json": json_report,
        "jsonl": jsonl_report,
        "html": _html_report,
        "sarif": sarif_report,
    }
)
"""Format name → what prints a report in it."""

PIECES: Mapping[str, Callable[[Report, Page], str]] = MappingProxyType({**FORMATS, "sarif": sarif_run})
"""Format name → what prints a report as one of the pieces that sink.Pieces makes a whole of."""

__all__ = ["FORMATS", "PIECES", "Page"]
