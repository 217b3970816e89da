"""The shape of patterns/queries/ and patterns/query_rules/: how a provider is asked, and what judges a query."""

from __future__ import annotations

import re
from types import MappingProxyType

from notegap.knowledge.nodes import (
    View,
    choice,
    choices,
    elements,
    entries,
    flag,
    items,
    mapping,
    text,
    texts,
    whole_number,
)
from notegap.knowledge.schema import check_ask, check_wording, patterns
from notegap.model import (
    Changes,
    FormKind,
    QueryExample,
    QueryForm,
    QueryItem,
    QueryRule,
    QueryTemplate,
    RuleExample,
    RulePart,
    Setting,
    Status,
    Trigger,
    YesNoReason,
)

ANY_ITEM = "*"
"""The item of the template that asks for whatever no other template asks for."""

CONDITION = "condition"
PARTS_OF_A_QUERY = ("title", "question", "option", "quote", "indicator", "own", "anywhere")
"""Where a rule may look: `indicator` is what tells of the record without quotation marks, `own` all but the quotes."""

CHECKS = (
    "length",
    "one_question",
    "option_order",
    "option_support",
    "emphasis",
    "undocumented_title",
    "undocumented_yes_no",
)
"""The checks in notegap.query.checks."""

OCCASIONS = ("question", "options", "yes_no", "line")
"""When a `need` applies: to every query, to one with options, to a yes/no query, to each line `given` matches."""

_ID = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_RULE_ID = re.compile(r"Q\d\d")
_ITEM = re.compile(r"[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?/[a-z][a-z0-9-]*")
_STATED = frozenset({Status.UNCERTAIN, Status.REFUTED, Status.RAISED})
"""The statuses whose evidence itself supports fixed choices: the note states the matter, and doubts or denies it."""


def template(view: View) -> QueryTemplate:
    """A file of patterns/queries/."""
    fields = mapping(view, required=("id", "title", "trigger", "items", "examples"), optional=("indicators", "forms"))
    title = _line(fields["title"])
    check_wording(fields["title"], title, codes=False)
    id_ = text(fields["id"])
    if _ID.fullmatch(id_) is None:
        raise fields["id"].error(f"'{id_}' is no name: use lower case and hyphens")
    fields["id"].use("query defined", id_)
    asked = tuple(_item(element) for element in items(fields["items"]))
    if not asked:
        raise fields["items"].error("'items' is empty")
    return QueryTemplate(
        id=id_,
        title=title,
        trigger=Trigger(choice(fields["trigger"], [t.value for t in Trigger], "trigger")),
        items=asked,
        indicators=_keys(fields["indicators"], condition=True) if "indicators" in fields else (),
        forms=tuple(_form(element) for element in items(fields["forms"])) if "forms" in fields else (),
        examples=tuple(_example(element) for element in items(fields["examples"])),
        file=view.source.file,
    )


def _item(view: View) -> QueryItem:
    fields = mapping(
        view,
        required=("item",),
        optional=("changes", "when", "after", "presumes", "unless_placed", "unless_elsewhere", "unless_raised", "ask"),
    )
    name = text(fields["item"])
    if name != ANY_ITEM and _ITEM.fullmatch(name) is None:
        raise fields["item"].error(f"'{name}' is no item of a checklist (like M24.28/region)")
    family = name.partition("/")[0]
    if name != ANY_ITEM:
        fields["item"].use("item", name)
    for key in ("after", "unless_raised"):
        for element in elements(fields[key]) if key in fields else ():
            element.use("item", f"{family}/{text(element)}")
    usual = QueryItem(item=name)
    return QueryItem(
        item=name,
        when=_statuses(fields["when"]) if "when" in fields else usual.when,
        changes=Changes(choice(fields["changes"], [c.value for c in Changes], "change"))
        if "changes" in fields
        else None,
        after=texts(fields["after"]) if "after" in fields else (),
        presumes=_keys(fields["presumes"], condition=True) if "presumes" in fields else (),
        unless_placed="unless_placed" in fields and flag(fields["unless_placed"]),
        unless_elsewhere="unless_elsewhere" in fields and flag(fields["unless_elsewhere"]),
        unless_raised=texts(fields["unless_raised"]) if "unless_raised" in fields else (),
        ask=_ask(fields["ask"]) if "ask" in fields else "",
        line=view.place.line,
    )


def _statuses(view: View) -> frozenset[Status]:
    open_ones = [s.value for s in Status if s.is_gap or s is Status.RAISED]
    return frozenset(Status(name) for name in choices(view, open_ones, "status"))


def _form(view: View) -> QueryForm:
    fields = mapping(
        view,
        required=("kind",),
        optional=("when", "ask", "of", "labels", "fewest", "choices", "reason", "documented"),
    )
    kind = FormKind(choice(fields["kind"], [k.value for k in FormKind], "kind of form"))
    when = _statuses(fields["when"]) if "when" in fields else frozenset()
    form = QueryForm(
        kind=kind,
        when=when,
        ask=_ask(fields["ask"]) if "ask" in fields else "",
        of=text(fields["of"]) if "of" in fields else "",
        labels=_labels(fields) if "labels" in fields else MappingProxyType({}),
        fewest=whole_number(fields["fewest"], least=1) if "fewest" in fields else 1,
        choices=texts(fields["choices"]) if "choices" in fields else (),
        reason=(
            YesNoReason(choice(fields["reason"], [r.value for r in YesNoReason], "reason"))
            if "reason" in fields
            else None
        ),
        documented=_keys(fields["documented"], condition=True) if "documented" in fields else (),
        line=view.place.line,
    )
    _check_form(view, fields, form)
    return form


def _check_form(view: View, fields: dict[str, View], form: QueryForm) -> None:
    """Refuse a form that would offer what nothing in the note supports."""
    belongs = {
        FormKind.OPEN: (),
        FormKind.CHOICE: ("of", "labels", "fewest", "choices"),
        FormKind.YES_NO: ("reason", "documented"),
    }
    for key in ("of", "labels", "fewest", "choices", "reason", "documented"):
        if key in fields and key not in belongs[form.kind]:
            raise fields[key].error(f"'{key}' does not belong to a form of kind {form.kind.value}")
    match form.kind:
        case FormKind.CHOICE if bool(form.choices) == bool(form.of):
            raise view.error("a choice has either 'choices' or 'of' with 'labels'")
        case FormKind.CHOICE if form.of:
            if not form.labels:
                raise view.error("'labels' is missing")
            fields["of"].use("concept", form.of)
        case FormKind.CHOICE:
            if not form.when or not form.when <= _STATED:
                raise view.error(
                    "fixed choices need 'when' with uncertain, refuted or raised: else the note does not support them"
                )
            neutral = sorted(form.choices, key=str.casefold)
            if list(form.choices) != neutral:
                raise fields["choices"].error(f"list them in the order {', '.join(neutral)}")
        case FormKind.YES_NO if form.reason is None or not form.documented or not form.ask:
            raise view.error("a yes/no form needs 'ask', 'reason' and 'documented': it introduces nothing new (Q09)")
        case _:
            pass


def _labels(fields: dict[str, View]) -> MappingProxyType[str, str]:
    labels: dict[str, str] = {}
    for value, label in entries(fields["labels"]).items():
        if "of" in fields:
            label.use("key", f"{text(fields['of'])}/{value}")
        labels[value] = text(label)
    return MappingProxyType(labels)


def _example(view: View) -> QueryExample:
    fields = mapping(view, required=("name", "code", "note"), optional=("query", "silent", "setting"))
    silent = "silent" in fields and flag(fields["silent"])
    if silent == ("query" in fields):
        raise view.error("an example has either 'query', its exact text, or 'silent: true'")
    return QueryExample(
        name=text(fields["name"]),
        code=text(fields["code"]),
        note=text(fields["note"]),
        query="" if silent else text(fields["query"]) + "\n",
        setting=(
            Setting(choice(fields["setting"], [s.value for s in Setting], "setting"))
            if "setting" in fields
            else Setting.OUTPATIENT
        ),
        line=view.place.line,
    )


# ── rules ───────────────────────────────────────────────────────────────────────────────────────


def rule(view: View) -> QueryRule:
    """A file of patterns/query_rules/."""
    fields = mapping(view, required=("id", "title", "why"), optional=("finds", "person", "good", "bad"))
    id_ = text(fields["id"])
    if _RULE_ID.fullmatch(id_) is None:
        raise fields["id"].error(f"'{id_}' is no id of a rule (like Q03)")
    fields["id"].use("rule defined", id_)
    if "finds" not in fields and "person" not in fields:
        raise view.error("a rule has 'finds', what is looked for, or 'person', why only a person can judge it")
    for key in ("good", "bad"):
        if ("finds" in fields) != (key in fields):
            raise view.error(f"'{key}' goes together with 'finds': a rule that is judged has examples")
    good = tuple(_good(element) for element in items(fields["good"])) if "good" in fields else ()
    bad = tuple(_bad(element) for element in items(fields["bad"])) if "bad" in fields else ()
    return QueryRule(
        id=id_,
        title=_line(fields["title"]),
        why=_line(fields["why"]),
        parts=tuple(_part(element) for element in items(fields["finds"])) if "finds" in fields else (),
        person=_line(fields["person"]) if "person" in fields else "",
        examples=(*bad, *good),
        file=view.source.file,
    )


def _part(view: View) -> RulePart:
    fields = mapping(
        view,
        required=("says",),
        optional=("forbid", "need", "check", "in", "when", "given", "case", "words", "most"),
    )
    kinds = [key for key in ("forbid", "need", "check") if key in fields]
    if len(kinds) != 1:
        raise view.error("say one of 'forbid', 'need' and 'check'")
    kind = kinds[0]
    if kind != "check" and "in" not in fields:
        raise view.error("'in' is missing")
    if ("when" in fields) != (kind == "need"):
        raise view.error("'when' goes together with 'need'")
    when = choice(fields["when"], OCCASIONS, "occasion") if "when" in fields else ""
    if (when == "line") != ("given" in fields):
        raise view.error("'given' goes together with 'when: line'")
    return RulePart(
        how=choice(fields["check"], CHECKS, "check") if kind == "check" else kind,
        says=_line(fields["says"]),
        where=choices(fields["in"], PARTS_OF_A_QUERY, "part of a query") if "in" in fields else (),
        patterns=patterns(fields[kind]) if kind != "check" else (),
        when=when,
        given=patterns(fields["given"]) if "given" in fields else (),
        case_kept="case" in fields and choice(fields["case"], ("kept",), "way to treat case") == "kept",
        words=texts(fields["words"]) if "words" in fields else (),
        most=whole_number(fields["most"], least=1) if "most" in fields else 0,
    )


def _good(view: View) -> RuleExample:
    return RuleExample(text=text(view), found=(), line=view.place.line)


def _bad(view: View) -> RuleExample:
    fields = mapping(view, required=("text", "found"))
    return RuleExample(
        text=text(fields["text"]),
        found=tuple(text(element) for element in items(fields["found"])),
        line=view.place.line,
    )


# ── small parts ─────────────────────────────────────────────────────────────────────────────────


def _keys(view: View, *, condition: bool = False) -> tuple[str, ...]:
    for element in elements(view):
        if not (condition and text(element) == CONDITION):
            element.use("key or concept", text(element))
    return texts(view)


def _ask(view: View) -> str:
    ask = _line(view)
    check_ask(view, ask)
    return ask


def _line(view: View) -> str:
    return " ".join(text(view).split())
