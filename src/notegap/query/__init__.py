"""The provider query a gap calls for, and the judge of any query.

    queries = compose(report, knowledge)
    print(text_query(queries[0]))

`compose_sheet` tells also what is not asked and why, `FORMATS` prints it; `lint` judges a text whoever wrote it.
"""

from notegap.query.compose import SHOWN, Indicator, Option, Query, Sheet, Unasked, compose, compose_sheet
from notegap.query.formats import FORMATS
from notegap.query.lint import Fault, Verdict, lint
from notegap.query.text import markdown_query, text_query
from notegap.query.waivers import Waiver, load_waivers

__all__ = [
    "FORMATS",
    "SHOWN",
    "Fault",
    "Indicator",
    "Option",
    "Query",
    "Sheet",
    "Unasked",
    "Verdict",
    "Waiver",
    "compose",
    "compose_sheet",
    "lint",
    "load_waivers",
    "markdown_query",
    "text_query",
]
