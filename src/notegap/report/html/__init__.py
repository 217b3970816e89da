"""The report as a page: what `--format html` writes into one file, and what the live page shows as one types."""

from notegap.report.html.render import html_report, live_report

__all__ = ["html_report", "live_report"]
