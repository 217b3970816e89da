"""YAML in patterns/ and models/ → frozen Knowledge; a file that is wrong is refused with `file:line`."""

from notegap.knowledge.check import Coverage
from notegap.knowledge.load import (
    load_checklists,
    load_knowledge,
    load_query_rules,
    missing_examples,
    read_directory,
)
from notegap.knowledge.terms import expand

__all__ = [
    "Coverage",
    "expand",
    "load_checklists",
    "load_knowledge",
    "load_query_rules",
    "missing_examples",
    "read_directory",
]
