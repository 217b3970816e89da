"""The shape of every YAML file in patterns/ and models/, and the frozen values made from it.

Each function takes a file as a `View` and gives the model's value; an unknown key, a wrong type or a word outside
a fixed list is a KnowledgeError with its line. Names that another file has to define (concepts, values, codes) are
noted as `Use`s in the view's source, and looked up by check.py once everything is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from notegap.errors import KnowledgeError
from notegap.knowledge.nodes import (
    View,
    choice,
    choices,
    elements,
    entries,
    flag,
    is_empty,
    items,
    mapping,
    text,
    texts,
    unknown,
    whole_number,
)
from notegap.knowledge.terms import check_term, expand, regex
from notegap.model import (
    REGIONS,
    Alert,
    AlertKind,
    AllOf,
    AnyOf,
    Assertion,
    AtLeast,
    Check,
    Checklist,
    ChecklistExample,
    Claimed,
    Coding,
    Concept,
    Cue,
    Expr,
    ItemIs,
    NoneOf,
    Pair,
    Regions,
    Requirement,
    SectionRule,
    Select,
    Setting,
    Severity,
    Status,
    Value,
)

ASSERTIONS = tuple(a.value for a in Assertion)
CUE_SAYS = (*ASSERTIONS, "pseudo", "terminate")
DIRECTIONS = ("forward", "backward", "both")
PLACES_OF_AT = ("condition", "condition_strict", "area", "elsewhere", "code")
CONDITION = "condition"
"""The name a selector uses for the checklist's own condition."""

SEEN_ON_EXTRA = ("exam", "operation", "any")
"""What `seen_on` may say besides an imaging modality."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_ITEM = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_CODE = re.compile(r"[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?")
_DEEPEST = 40


# ── concepts ────────────────────────────────────────────────────────────────────────────────────


def concept(view: View) -> Concept:
    """A file of patterns/concepts/. Without `values` its values are open: a grammar in extract/refine makes them."""
    fields = mapping(view, required=("concept", "title", "examples"), optional=("reported", "values"))
    name = _name(fields["concept"])
    named = _named(fields["values"], "value") if "values" in fields else {}
    for key, body in named.items():
        body.use("value defined", f"{name}/{key}")
    values = {key: _value(key, body) for key, body in named.items()}
    return Concept(
        name=name,
        title=text(fields["title"]),
        reported=flag(fields["reported"]) if "reported" in fields else True,
        values=MappingProxyType(values),
        examples=tuple((text(e), e.place.file, e.place.line) for e in items(fields["examples"])),
        file=view.source.file,
    )


def _value(name: str, view: View) -> Value:
    """One value; empty when only a grammar in extract/refine makes it."""
    if is_empty(view):
        return Value(name=name)
    fields = mapping(view, optional=("terms", "acronyms", "patterns", "pairs"))
    return Value(
        name=name,
        terms=_terms(fields["terms"], check_term) if "terms" in fields else (),
        acronyms=texts(fields["acronyms"]) if "acronyms" in fields else (),
        patterns=patterns(fields["patterns"]) if "patterns" in fields else (),
        pairs=tuple(_pair(element) for element in items(fields["pairs"])) if "pairs" in fields else (),
    )


def _pair(view: View) -> Pair:
    fields = mapping(view, required=("part", "says"), optional=("assertion",))
    return Pair(
        part=frozenset(_pair_name(element, "part") for element in elements(fields["part"])),
        says=frozenset(_pair_name(element, "change") for element in elements(fields["says"])),
        assertion=_assertion(fields["assertion"]) if "assertion" in fields else None,
    )


def _pair_name(view: View, concept_name: str) -> str:
    """The full name: `canal` becomes part/canal, `ligament/*` stays."""
    written = text(view)
    name = written if "/" in written else f"{concept_name}/{written}"
    view.use("key", name)
    return name


def _terms(view: View, check: Callable[[str], object]) -> tuple[str, ...]:
    """Terms, each right as `check` sees it: cues and titles are always written out, values may stay in slots."""
    found = []
    for element in elements(view):
        term = _LIST.sub(lambda match, at=element: "|".join(_listed(at, match[1])), text(element))  # type: ignore[misc]
        try:
            check(term)
        except KnowledgeError as error:
            raise element.error(str(error)) from None
        found.append(term)
    return tuple(found)


_LIST = re.compile(r"<([^<>]*)>")


def _listed(view: View, name: str) -> tuple[str, ...]:
    """The words of a list of patterns/words.yaml."""
    if name not in view.source.words:
        raise view.error(unknown("list of words", name, view.source.words))
    return view.source.words[name]


def patterns(view: View) -> tuple[str, ...]:
    """Regular expressions; one that is wrong, or that matches nothing at all, is an error."""
    # Compiling ours takes longer than all the rest of loading; the tests do it (tests/test_knowledge.py).
    for element in () if view.source.tested else elements(view):
        try:
            compiled = regex(text(element))
        except re.error as error:
            raise element.error(f"this regular expression is wrong: {error}") from None
        if compiled.match("") is not None:
            raise element.error("this regular expression matches nothing at all, so it would match anywhere")
    return texts(view)


# ── checklists ──────────────────────────────────────────────────────────────────────────────────


def checklist(view: View) -> Checklist:
    """A file of patterns/checklists/. `codes` are as written; load.py expands a trailing `*`."""
    fields = mapping(
        view,
        required=("id", "codes", "title", "why", "source", "condition", "requires", "examples"),
        optional=("points_to", "alerts"),
    )
    id_ = _code(fields["id"])
    fields["title"].use("title", f"{id_} {_paragraph(fields['title'])}")
    codes = tuple(_code(element, star=True) for element in elements(fields["codes"]))
    if not codes:
        raise fields["codes"].error("'codes' is empty")
    for element, code in zip(elements(fields["codes"]), codes, strict=True):
        if not code.startswith(id_):
            raise element.error(f"{code} is not in the family {id_} this file is about")
        element.use("code", code)
    known: dict[str, str] = {}
    condition = expr(fields["condition"], items_before=None)
    asked = items(fields["requires"])
    if not asked:
        raise fields["requires"].error("'requires' is empty")
    warned = items(fields["alerts"]) if "alerts" in fields else []
    requires = tuple(_requirement(element, known) for element in asked)
    alerts = tuple(_alert(element, known) for element in warned)
    for element, item in zip((*asked, *warned), known, strict=True):
        element.use("item defined", f"{id_}/{item}")
    gaps = [item.id for item in requires]
    raised = [item.id for item in alerts]
    return Checklist(
        id=id_,
        codes=codes,
        title=text(fields["title"]),
        why=_paragraph(fields["why"]),
        source=_paragraph(fields["source"]),
        condition=condition if isinstance(condition, AnyOf) else AnyOf((condition,)),
        requires=requires,
        alerts=alerts,
        examples=tuple(_example(element, id_, gaps, raised) for element in items(fields["examples"])),
        points_to=expr(fields["points_to"], items_before=None) if "points_to" in fields else None,
        file=view.source.file,
    )


def _requirement(view: View, known: dict[str, str]) -> Requirement:
    fields = mapping(
        view,
        required=("id", "severity", "basis", "needed_for", "message", "ask", "why", "met"),
        optional=("when", "vague", "uncertain", "refuted", "order", "accepts", "denials", "place", "codes", "suggest"),
    )
    id_ = _item_id(fields["id"], known)
    tried = (Status.MET, Status.VAGUE, Status.UNCERTAIN, Status.REFUTED)
    severity = Severity(choice(fields["severity"], [s.value for s in Severity], "severity"))
    if severity is Severity.CONDITIONAL and "when" not in fields:
        raise fields["severity"].error("a conditional requirement has to say its condition: 'when' is missing")
    ask = _paragraph(fields["ask"])
    check_ask(fields["ask"], ask)
    check_wording(fields["message"], _paragraph(fields["message"]), codes=True)

    def optional(key: str) -> Expr | None:
        return expr(fields[key], items_before=known) if key in fields else None

    requirement = Requirement(
        id=id_,
        severity=severity,
        basis=texts(fields["basis"]),
        needed_for=text(fields["needed_for"]),
        message=_paragraph(fields["message"]),
        ask=ask,
        why=_paragraph(fields["why"]),
        met=expr(fields["met"], items_before=known),
        when=optional("when"),
        vague=optional("vague"),
        uncertain=optional("uncertain"),
        refuted=optional("refuted"),
        order=(
            tuple(Status(name) for name in choices(fields["order"], [s.value for s in tried], "status"))
            if "order" in fields
            else tried
        ),
        accepts=_assertions(fields["accepts"]) if "accepts" in fields else frozenset({Assertion.AFFIRMED}),
        denials=flag(fields["denials"]) if "denials" in fields else True,
        place=text(fields["place"]) if "place" in fields else "",
        codes=_stems(fields["codes"]) if "codes" in fields else (),
        suggest=choice(fields["suggest"], ["disease"], "concept with suggestions") if "suggest" in fields else "",
    )
    known[id_] = "requirement"
    return requirement


def _alert(view: View, known: dict[str, str]) -> Alert:
    fields = mapping(
        view,
        required=("id", "alert", "basis", "message", "why", "raised"),
        optional=("unless", "codes"),
    )
    id_ = _item_id(fields["id"], known)
    check_wording(fields["message"], _paragraph(fields["message"]), codes=True)
    alert = Alert(
        id=id_,
        alert=AlertKind(choice(fields["alert"], [a.value for a in AlertKind], "kind of alert")),
        basis=texts(fields["basis"]),
        message=_paragraph(fields["message"]),
        why=_paragraph(fields["why"]),
        raised=expr(fields["raised"], items_before=known),
        unless=expr(fields["unless"], items_before=known) if "unless" in fields else None,
        codes=_stems(fields["codes"]) if "codes" in fields else (),
    )
    known[id_] = "alert"
    return alert


def _example(view: View, family: str, gaps: list[str], alerts: list[str]) -> ChecklistExample:
    """One example; `code` is "" when the file does not say it, load.py then takes the first of the family."""
    fields = mapping(view, required=("name", "note", "gaps"), optional=("alerts", "code", "setting", "claim_codes"))
    claim = fields.get("claim_codes")
    code = ""
    if "code" in fields:
        code = _code(fields["code"])
        if not code.startswith(family):
            raise fields["code"].error(f"{code} is not in the family {family} this file is about")
    return ChecklistExample(
        name=text(fields["name"]),
        note=text(fields["note"]),
        code=code,
        gaps=_in_order(fields["gaps"], gaps, "requirement"),
        alerts=_in_order(fields["alerts"], alerts, "alert") if "alerts" in fields else (),
        setting=(
            Setting(choice(fields["setting"], [s.value for s in Setting], "setting"))
            if "setting" in fields
            else Setting.OUTPATIENT
        ),
        claim_codes=None if claim is None else tuple(_code(element) for element in elements(claim)),
        line=view.place.line,
    )


def _in_order(view: View, ids: list[str], what: str) -> tuple[str, ...]:
    names = choices(view, ids, what)
    if list(names) != sorted(names, key=ids.index):
        raise view.error(f"list them in the order of the file: {', '.join(sorted(names, key=ids.index))}")
    return names


# ── expressions ─────────────────────────────────────────────────────────────────────────────────

_SELECT_KEYS = (
    *("concept", "values", "not_values", "at", "seen_on", "section", "not_section", "due_to", "not_due_to", "beside"),
    *("qualities", "not_qualities", "same_sentence", "not_same_sentence", "has_region", "has_level", "assertion"),
)
_EXPR_KEYS: dict[str, tuple[str, ...]] = {
    "concept": _SELECT_KEYS,
    "any": ("any",),
    "all": ("all",),
    "none": ("none",),
    "of": ("at_least", "of"),
    "item": ("item", "is"),
    "claimed": ("claimed",),
    "regions_of": ("regions_of", "at_least"),
    "check": ("check",),
}


def expr(view: View, *, items_before: dict[str, str] | None, depth: int = 0) -> Expr:
    """An expression. `items_before`: the items `item:` may name; None where no item may be named."""
    if depth > _DEEPEST:
        raise view.error("this expression is nested too deeply")
    written = entries(view)
    kind = next((key for key in _EXPR_KEYS if key in written), None)
    if kind is None:
        known = sorted({*_SELECT_KEYS, *(key for keys in _EXPR_KEYS.values() for key in keys)})
        wrong = next(iter(written), "")
        if wrong in known:
            missing = "of" if wrong == "at_least" else "item" if wrong == "is" else "concept"
            raise view.error(f"'{missing}' is missing")
        raise view.error(unknown("key", wrong, known) if written else "this expression is empty")
    fields = mapping(view, optional=_EXPR_KEYS[kind])

    def inner(key: str) -> tuple[Expr, ...]:
        found = tuple(expr(part, items_before=items_before, depth=depth + 1) for part in items(fields[key]))
        if not found:
            raise fields[key].error(f"'{key}' is empty")
        return found

    match kind:
        case "concept":
            return _select(fields)
        case "any":
            return AnyOf(inner("any"))
        case "all":
            return AllOf(inner("all"))
        case "none":
            return NoneOf(inner("none"))
        case "of":
            return _at_least(view, fields, inner("of"))
        case "item":
            return _item_is(view, fields, items_before)
        case "claimed":
            return Claimed(_stems(fields["claimed"]))
        case "regions_of":
            return _regions(view, fields, items_before)
        case _:
            return Check(_name(fields["check"]))


def _at_least(view: View, fields: dict[str, View], parts: tuple[Expr, ...]) -> AtLeast:
    if "at_least" not in fields:
        raise view.error("'at_least' is missing")
    number = whole_number(fields["at_least"], least=1)
    if number > len(parts):
        raise fields["at_least"].error(f"at_least: {number} can never hold, there are only {len(parts)} parts")
    return AtLeast(number, parts)


def _item_is(view: View, fields: dict[str, View], items_before: dict[str, str] | None) -> ItemIs:
    if "is" not in fields:
        raise view.error("'is' is missing")
    if items_before is None:
        raise fields["item"].error("'item' cannot be used here, only in requirements and alerts")
    name = choice(fields["item"], items_before, "item (only items listed before may be named)")
    if items_before[name] == "alert":
        statuses = [s.value for s in (Status.RAISED, Status.CLEAR)]
    else:
        statuses = [s.value for s in Status if s not in (Status.RAISED, Status.CLEAR)]
    return ItemIs(name, frozenset(Status(s) for s in choices(fields["is"], statuses, "status")))


def _regions(view: View, fields: dict[str, View], items_before: dict[str, str] | None) -> Regions:
    if "at_least" not in fields:
        raise view.error("'at_least' is missing")
    of = expr(fields["regions_of"], items_before=items_before)
    if not isinstance(of, Select):
        raise fields["regions_of"].error("'regions_of' takes one selector (concept: …)")
    return Regions(of, whole_number(fields["at_least"], least=1))


def _select(fields: dict[str, View]) -> Select:
    name = _concept_name(fields["concept"])

    def values(key: str) -> frozenset[str]:
        if key not in fields:
            return frozenset()
        for element in elements(fields[key]):
            if name == CONDITION:
                raise element.error(f"'{key}' cannot narrow the condition; name the concept instead")
            element.use("key", f"{name}/{text(element)}")
        return frozenset(texts(fields[key]))

    def names(key: str, kind: str, prefix: str = "") -> frozenset[str]:
        if key not in fields:
            return frozenset()
        for element in elements(fields[key]):
            element.use(kind, prefix + text(element))
        return frozenset(texts(fields[key]))

    def given(key: str, found: frozenset[str]) -> frozenset[str] | None:
        return found if key in fields else None

    return Select(
        concept=name,
        values=given("values", values("values")),
        not_values=values("not_values"),
        assertion=_assertions(fields["assertion"]) if "assertion" in fields else None,
        at=_at(fields["at"]) if "at" in fields else None,
        seen_on=given("seen_on", names("seen_on", "seen_on")),
        section=given("section", names("section", "section")),
        not_section=names("not_section", "section"),
        due_to=given("due_to", names("due_to", "cause")),
        not_due_to=names("not_due_to", "cause"),
        beside=given("beside", names("beside", "cause")),
        qualities=given("qualities", names("qualities", "key", "quality/")),
        not_qualities=names("not_qualities", "key", "quality/"),
        same_sentence=given("same_sentence", names("same_sentence", "key or concept")),
        not_same_sentence=names("not_same_sentence", "key or concept"),
        has_region=flag(fields["has_region"]) if "has_region" in fields else None,
        has_level=flag(fields["has_level"]) if "has_level" in fields else None,
    )


def _concept_name(view: View) -> str:
    name = text(view)
    if name != CONDITION:
        view.use("concept", name)
    return name


def _at(view: View) -> str | tuple[str, ...]:
    written = texts(view)
    if len(written) == 1 and written[0] in PLACES_OF_AT:
        return written[0]
    return choices(view, REGIONS, f"region (or one of {', '.join(PLACES_OF_AT)})")


# ── models/ ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class ContextFile:
    """models/context.yaml: cues, and marked sentences as (sentence, file, line)."""

    cues: tuple[Cue, ...]
    examples: tuple[tuple[str, str, int], ...]


def context(view: View) -> ContextFile:
    """models/context.yaml."""
    fields = mapping(view, required=("cues", "examples"))
    return ContextFile(
        cues=tuple(_cue(element) for element in items(fields["cues"])),
        examples=tuple((text(e), e.place.file, e.place.line) for e in items(fields["examples"])),
    )


def _cue(view: View) -> Cue:
    fields = mapping(
        view,
        required=("says", "terms"),
        optional=("direction", "concepts", "not_concepts", "words"),
    )
    says = choice(fields["says"], CUE_SAYS, "meaning of a cue")
    view.use("cue", says)
    for element in elements(fields["terms"]):
        element.use("cue term", text(element))
    if "direction" not in fields and says in ASSERTIONS:
        raise view.error("'direction' is missing")
    return Cue(
        says=says,
        direction=choice(fields["direction"], DIRECTIONS, "direction") if "direction" in fields else "both",
        terms=_terms(fields["terms"], expand),
        concepts=_keys(fields["concepts"]) if "concepts" in fields else (),
        not_concepts=_keys(fields["not_concepts"]) if "not_concepts" in fields else (),
        words=whole_number(fields["words"], least=1) if "words" in fields else None,
        line=view.place.line,
    )


def sections(view: View) -> tuple[SectionRule, ...]:
    """models/sections.yaml."""
    fields = mapping(view, required=("sections",))
    return tuple(_section(name, body) for name, body in _named(fields["sections"], "section").items())


def _section(name: str, view: View) -> SectionRule:
    fields = mapping(view, required=("titles",), optional=("assertions",))
    assertions: dict[str, Assertion] = {}
    if "assertions" in fields:
        for key, body in entries(fields["assertions"]).items():
            body.use("key or concept", key)
            assertions[key] = _assertion(body)
    return SectionRule(name=name, titles=_terms(fields["titles"], expand), assertions=MappingProxyType(assertions))


def words(view: View) -> dict[str, tuple[str, ...]]:
    """patterns/words.yaml: lists of single words that terms name as `<list>`, each without its plurals."""
    lists = {}
    for name, body in _named(view, "list of words").items():
        for element in elements(body):
            if re.fullmatch(r"[^\s()\[\]|<>]+", text(element)) is None:
                raise element.error(f"'{text(element)}' is not one word; a list holds single words")
        lists[name] = texts(body)
    return lists


def coding(view: View) -> Coding:
    """patterns/coding.yaml."""
    fields = mapping(view, required=("facts", "injuries", "etiologies"))
    etiologies = mapping(fields["etiologies"], required=("among", "without", "incidental"))
    return Coding(
        facts=MappingProxyType({key: _prefixes(body) for key, body in _keyed(fields["facts"]).items()}),
        injuries=MappingProxyType(
            {
                stem: choices(body, REGIONS, "region")
                for stem, body in entries(fields["injuries"]).items()
                if _is_prefix(body, stem)
            }
        ),
        etiologies=_prefixes(etiologies["among"]),
        not_etiologies=_prefixes(etiologies["without"]),
        incidental=frozenset(_keys(etiologies["incidental"])),
    )


def _keyed(view: View) -> dict[str, View]:
    """Entries whose keys are "concept/value"."""
    found = entries(view)
    for key, body in found.items():
        body.use("key", key)
    return found


def _prefixes(view: View) -> tuple[str, ...]:
    """Codes and the beginnings of codes."""
    for element in elements(view):
        _is_prefix(element, text(element))
    return texts(view)


def _is_prefix(view: View, written: str) -> bool:
    """True; the code set is asked later whether a code begins like this."""
    view.use("prefix", written)
    return True


def abbreviations(view: View) -> dict[str, str]:
    """models/abbreviations.yaml."""
    fields = mapping(view, required=("abbreviations",))
    return {short: text(long) for short, long in entries(fields["abbreviations"]).items()}


def spelling(view: View) -> tuple[frozenset[str], frozenset[str]]:
    """models/spelling.yaml: the words never mended, the short words whose slips are."""
    fields = mapping(view, required=("keep",), optional=("short",))
    return frozenset(texts(fields["keep"])), frozenset(texts(fields["short"]) if "short" in fields else ())


# ── wording ─────────────────────────────────────────────────────────────────────────────────────

_MONEY = re.compile(
    r"\b(?:reimburs\w*|pay(?:s|er|ers|or|ors|ing|ment|ments)?|paid|bill(?:s|ed|ing|able)?|insur\w+|revenue|"
    r"profit\w*|money|dollars?|costs?|fees?|DRG|RVU|HCC|CMI|underpa\w+|upcod\w*)\b|\$",
    re.IGNORECASE,
)
_WRITTEN_CODE = re.compile(r"\b[A-Z]\d[0-9A-Z]\.[0-9A-Z]+|\bICD\b")


def check_ask(view: View, ask: str) -> None:
    """Refuse a question that is none, or that names a code or money (AHIMA/ACDIS 2022)."""
    if not ask.endswith("?"):
        raise view.error("an 'ask' is a question: it has to end with '?'")
    check_wording(view, ask, codes=False)


def check_wording(view: View, sentence: str, *, codes: bool) -> None:
    """Refuse a sentence with money in it, or, unless `codes`, a code: it may lead the clinician."""
    money = _MONEY.search(sentence)
    if money is not None:
        raise view.error(f"'{money[0]}' speaks of money; say what is missing from the note")
    code = None if codes else _WRITTEN_CODE.search(sentence)
    if code is not None:
        raise view.error(f"'{code[0]}' is a code; a clinician is asked for facts, not codes")


# ── small parts ─────────────────────────────────────────────────────────────────────────────────


def _named(view: View, what: str) -> dict[str, View]:
    """Entries whose keys are names in snake_case."""
    found = entries(view)
    if not found:
        raise view.error(f"there is no {what}")
    for name, body in found.items():
        if _NAME.fullmatch(name) is None:
            raise body.error(f"'{name}' is no name for a {what}: use lower case and underscores")
    return found


def _name(view: View) -> str:
    return _matching(view, _NAME, "lower case and underscores")


def _item_id(view: View, known: dict[str, str]) -> str:
    name = _matching(view, _ITEM, "lower case and hyphens")
    if name in known:
        raise view.error(f"'{name}' is already the id of another item")
    return name


def _matching(view: View, shape: re.Pattern[str], use: str) -> str:
    name = text(view)
    if shape.fullmatch(name) is None:
        raise view.error(f"'{name}' is no name: use {use}")
    return name


def _code(view: View, *, star: bool = False) -> str:
    written = text(view)
    if _CODE.fullmatch(written.removesuffix("*") if star else written) is None:
        raise view.error(f"'{written}' has not the form of an ICD-10-CM code (like M53.2X1)")
    return written


def _stems(view: View) -> tuple[str, ...]:
    for element in elements(view):
        element.use("stem", _code(element))
    return texts(view)


def _keys(view: View) -> tuple[str, ...]:
    for element in elements(view):
        element.use("key or concept", text(element))
    return texts(view)


def _assertion(view: View) -> Assertion:
    return Assertion(choice(view, ASSERTIONS, "assertion"))


def _assertions(view: View) -> frozenset[Assertion]:
    return frozenset(Assertion(name) for name in choices(view, ASSERTIONS, "assertion"))


def _paragraph(view: View) -> str:
    """Text with its line breaks folded."""
    return " ".join(text(view).split())
