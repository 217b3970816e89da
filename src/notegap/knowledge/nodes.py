"""YAML read as nodes that know their line, so that every mistake can be told as `file:line: what`.

A scalar is taken as the text that was written: `no` is the word "no", never False.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import cast

import yaml

from notegap.errors import KnowledgeError

try:
    from yaml import CSafeLoader as _Parser
except ImportError:
    # PyYAML built without libyaml: ten times slower, the same nodes.
    from yaml import SafeLoader as _Parser  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def error(self, message: str) -> KnowledgeError:
        """The error `file:line: message`."""
        return KnowledgeError(f"{self}: {message}")


@dataclass(frozen=True, slots=True)
class Use:
    """A name some rule uses and another file has to define; `kind` says which names it is looked up in."""

    kind: str
    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Source:
    """One file being read, the word lists its terms may name, and the names it uses."""

    file: str
    tested: bool = False  # shipped with notegap, whose tests compile its regular expressions
    words: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    uses: list[Use] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class View:
    """One node of a file. `line` is that of its key, 0 for what has none."""

    source: Source
    node: yaml.Node
    line: int = 0

    @property
    def place(self) -> Place:
        """Where the node's key stands, or else where the node starts."""
        return Place(self.source.file, self.line or self.node.start_mark.line + 1)

    def error(self, message: str) -> KnowledgeError:
        """The error `file:line: message`."""
        return self.place.error(message)

    def use(self, kind: str, name: str) -> None:
        """Note that `name` is used here."""
        self.source.uses.append(Use(kind, name, self.place))


class _Loader(_Parser):
    """The parser without guessing types: every scalar is a string."""

    def resolve(self, kind: type, value: str, implicit: object) -> str:
        """One tag for each kind of node."""
        return _TAGS[kind]


_TAGS: dict[type, str] = {
    yaml.ScalarNode: "tag:yaml.org,2002:str",
    yaml.SequenceNode: "tag:yaml.org,2002:seq",
    yaml.MappingNode: "tag:yaml.org,2002:map",
}


def compose(
    text: str, file: str, *, tested: bool = False, words: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> View:
    """Read YAML `text` of `file`, whose terms may name the lists `words`.

    Raises KnowledgeError when it is no YAML or empty.
    """
    source = Source(file, tested, words)
    try:
        node = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem = error.problem or error.context
        raise Place(file, line).error(f"this is not YAML: {problem}{_hint(text, line)}") from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise Place(file, line).error(f"this is not YAML: {error.reason}") from None
    if node is None:
        raise Place(file, 1).error("the file is empty")
    return View(source, node)


def _hint(text: str, line: int) -> str:
    """What is most often wrong with a line that is not YAML."""
    lines = text.splitlines()
    written = lines[line - 1].strip().removeprefix("- ") if line <= len(lines) else ""
    first = written[:1]
    if first in ("[", "{") or (first and first in "*&!%@`|>?"):
        return f"; a text that begins with {first} has to stand in quotes"
    return "; a text with a colon has to stand in quotes" if written.count(": ") > 1 else ""


def mapping(view: View, *, required: Collection[str] = (), optional: Collection[str] = ()) -> dict[str, View]:
    """The fields of a mapping; a key that is not expected, doubled or lacking is an error."""
    fields = entries(view)
    for key, value in fields.items():
        if key not in required and key not in optional:
            raise value.error(f"unknown key '{key}'{nearest(key, [*required, *optional])}")
        if is_empty(value):
            raise value.error(f"'{key}' is empty")
    for key in required:
        if key not in fields:
            raise view.error(f"'{key}' is missing")
    return fields


def entries(view: View) -> dict[str, View]:
    """The entries of a mapping whose keys are free names; a doubled key is an error."""
    if not isinstance(view.node, yaml.MappingNode):
        raise view.error(f"expected 'key: value' pairs, found {_kind(view.node)}")
    fields: dict[str, View] = {}
    for key, value in view.node.value:
        at = View(view.source, key)
        name = text(at)
        if name in fields:
            raise at.error(f"'{name}' is given twice")
        fields[name] = View(view.source, value, key.start_mark.line + 1)
    return fields


def items(view: View) -> list[View]:
    """The elements of a list."""
    if not isinstance(view.node, yaml.SequenceNode):
        raise view.error(f"expected a list, found {_kind(view.node)}")
    return [View(view.source, node) for node in view.node.value]


def text(view: View) -> str:
    """The text of a scalar, without space at its ends."""
    if not isinstance(view.node, yaml.ScalarNode):
        hint = " (a text with a colon has to stand in quotes)" if isinstance(view.node, yaml.MappingNode) else ""
        raise view.error(f"expected text, found {_kind(view.node)}{hint}")
    value = cast(str, view.node.value).strip()
    if not value:
        raise view.error("expected text, found nothing")
    return value


def texts(view: View) -> tuple[str, ...]:
    """The texts of a list, or a single text; a repeat is an error."""
    return tuple(text(element) for element in elements(view))


def elements(view: View) -> list[View]:
    """The scalars of a list, or the single scalar; a repeat is an error."""
    if isinstance(view.node, yaml.ScalarNode):
        return [view]
    seen: set[str] = set()
    found = items(view)
    for element in found:
        name = text(element)
        if name in seen:
            raise element.error(f"'{name}' is listed twice")
        seen.add(name)
    return found


def whole_number(view: View, *, least: int) -> int:
    """A whole number of at least `least`."""
    written = text(view)
    if not written.isdecimal() or int(written) < least:
        raise view.error(f"expected a whole number of at least {least}, found '{written}'")
    return int(written)


def flag(view: View) -> bool:
    """`true` or `false`."""
    return choice(view, ("true", "false"), "value") == "true"


def choice(view: View, names: Collection[str], what: str) -> str:
    """One of `names`; anything else is an error that names the nearest."""
    name = text(view)
    if name not in names:
        raise view.error(unknown(what, name, names))
    return name


def choices(view: View, names: Collection[str], what: str) -> tuple[str, ...]:
    """Some of `names`, as a list or a single one."""
    return tuple(choice(element, names, what) for element in elements(view))


def is_empty(view: View) -> bool:
    """Whether nothing was written after the key."""
    return isinstance(view.node, yaml.ScalarNode) and view.node.value.strip() in ("", "~", "null")


def unknown(what: str, name: str, names: Iterable[str]) -> str:
    """The message of an unknown name: unknown concept 'findng', did you mean 'finding'?"""
    return f"unknown {what} '{name}'{nearest(name, names)}"


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a message that names the nearest of `names`, or all of them when they are few."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f", did you mean '{close[0]}'?"
    return f", expected one of: {', '.join(known)}" if 0 < len(known) <= 12 else ""


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return f"'{node.value}'" if node.value.strip() else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "'key: value' pairs"
