"""What a schema cannot say: names exist, ids are unique, examples bite, codes agree with the tabular."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from notegap.errors import KnowledgeError
from notegap.icd10cm import CodeSet
from notegap.icd10cm import load as load_code_set
from notegap.knowledge.marks import Marked, check_values, parse_marks
from notegap.knowledge.nodes import Place, Use, unknown
from notegap.knowledge.queries import ANY_ITEM
from notegap.knowledge.schema import ASSERTIONS, SEEN_ON_EXTRA
from notegap.knowledge.terms import GAP, NUMBER, expand
from notegap.model import Checklist, Concept, Cue, Knowledge, QueryTemplate

ANY = "any"
"""What `due_to` and `beside` may say for whatever is named."""


def check_part(concepts: Sequence[Concept], checklists: Sequence[Checklist]) -> None:
    """Refuse two files of one directory that define the same thing."""
    files: dict[tuple[str, str], str] = {}
    for kind, name, file in (
        *(("concept", concept.name, concept.file) for concept in concepts),
        *(("checklist", checklist.id, checklist.file) for checklist in checklists),
        *(("code", code, checklist.file) for checklist in checklists for code in checklist.codes),
    ):
        if (kind, name) in files:
            raise Place(file, 1).error(f"{kind} '{name}' is already in {files[kind, name]}")
        files[kind, name] = file


def check_defined_once(uses: Iterable[Use]) -> None:
    """Refuse two query templates or two query rules of one id in one directory."""
    places: dict[tuple[str, str], Place] = {}
    for use in uses:
        if use.kind in ("query defined", "rule defined"):
            first = places.setdefault((use.kind, use.name), use.place)
            if first is not use.place:
                raise use.place.error(f"{use.kind.split()[0]} '{use.name}' is already in {first}")


def check_knowledge(knowledge: Knowledge, uses: Collection[Use]) -> None:
    """Look up every name the files use, in rules and in examples."""
    _check_names(knowledge, uses)
    _check_items(knowledge, uses)
    _check_cues(uses)
    _check_marks(knowledge)


# ── names ───────────────────────────────────────────────────────────────────────────────────────


def _check_names(knowledge: Knowledge, uses: Iterable[Use]) -> None:
    concepts = set(knowledge.concepts)
    keys = _keys(knowledge)
    imaging = knowledge.concepts.get("imaging")
    names: dict[str, Collection[str]] = {
        "concept": concepts,
        "key": keys,
        "key or concept": concepts | keys,
        "cause": concepts | keys | {ANY},
        "seen_on": {*(imaging.values if imaging else ()), *SEEN_ON_EXTRA},
        "section": [section.name for section in knowledge.sections],
    }
    for use in uses:
        if use.kind == "prefix" and not load_code_set().has_under(use.name):
            raise use.place.error(f"no code of {load_code_set().release} starts with {use.name}")
        if use.kind not in names or use.name in names[use.kind]:
            continue
        if "/" in use.name and use.kind != "section":
            _check_key(use, knowledge.concepts)
        elif use.kind in ("key or concept", "cause"):
            raise use.place.error(unknown("concept", use.name, concepts))
        else:
            raise use.place.error(unknown(use.kind.replace("seen_on", "way of seeing"), use.name, names[use.kind]))


def _check_items(knowledge: Knowledge, uses: Iterable[Use]) -> None:
    """Refuse a query template that asks for an item no checklist has, for one twice, or for an alert without `ask`."""
    families = {checklist.id: checklist for checklist in knowledge.checklists}
    for use in uses:
        family, _, item = use.name.partition("/")
        if use.kind != "item":
            continue
        if family not in families:
            raise use.place.error(unknown("checklist", family, families))
        known = [*(r.id for r in families[family].requires), *(a.id for a in families[family].alerts)]
        if item not in known:
            raise use.place.error(unknown(f"item of {family}", item, known))
    owners: dict[str, Place] = {}
    for template in knowledge.query_templates:
        for asked in template.items:
            place = Place(template.file, asked.line)
            if asked.item in owners:
                raise place.error(f"{asked.item} is already asked for at {owners[asked.item]}")
            owners[asked.item] = place
            family, _, item = asked.item.partition("/")
            if not asked.ask and family in families and any(alert.id == item for alert in families[family].alerts):
                raise place.error(f"{asked.item} is an alert, which has no question of its own: 'ask' is missing")


def _check_key(use: Use, concepts: Mapping[str, Concept]) -> None:
    """Refuse "concept/value" unless the concept has that value, or open ones, or the value is `*`."""
    name, _, value = use.name.partition("/")
    if name not in concepts:
        raise use.place.error(unknown("concept", name, concepts))
    known = concepts[name].values
    if value != "*" and known and value not in known:
        raise use.place.error(unknown(f"{name} value", value, known))


def _keys(knowledge: Knowledge) -> set[str]:
    return {f"{concept.name}/{value}" for concept in knowledge.concepts.values() for value in concept.values}


def _check_cues(uses: Iterable[Use]) -> None:
    """Refuse words that stand in two cues: medspaCy would silently keep only one of them."""
    owners: dict[tuple[str, ...], tuple[int, str, Place]] = {}
    cue, says = 0, ""
    for use in uses:
        if use.kind == "cue":
            cue, says = cue + 1, use.name
        if use.kind != "cue term":
            continue
        for sequence in expand(use.name):
            number, other, place = owners.setdefault(tuple(map(_folded, sequence)), (cue, says, use.place))
            if number != cue:
                words = " ".join(sequence)
                raise use.place.error(
                    f"'{words}' is already in another cue ({other}, {place}); only one of them would be heard"
                )


def _folded(word: str) -> str:
    """`word` in lower case and singular, about as extract folds it."""
    low = word.lower()
    plural = len(low) > 4 and low.endswith("s") and not low.endswith(("ss", "us", "is", "as", "os"))
    return low[:-1] if plural else low


# ── marks in examples ───────────────────────────────────────────────────────────────────────────


def _check_marks(knowledge: Knowledge) -> None:
    """Parse every example sentence and look up the values it marks."""
    for concept in knowledge.concepts.values():
        for sentence, file, line in concept.examples:
            place = Place(file, line)
            marked = parse_marks(sentence, place)
            if concept.values:
                check_values(marked, concept.values, f"{concept.name} value", place)
    keys = _keys(knowledge)
    open_concepts = tuple(f"{concept.name}/" for concept in knowledge.concepts.values() if not concept.values)
    for sentence, file, line in knowledge.cue_examples:
        place = Place(file, line)
        marked = parse_marks(sentence, place)
        if not marked.marks:
            raise place.error(
                "an example of a cue has to mark what the cue speaks of: [text](concept/value, assertion)"
            )
        known = keys | {mark.value for mark in marked.marks if mark.value.startswith(open_concepts)}
        check_values(marked, known, "concept/value", place)


# ── examples that bite ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which examples must exist."""

    values: bool = True
    silence: bool = True
    items: bool = True
    cues: bool = True


def missing_examples(knowledge: Knowledge, uses: Iterable[Use], coverage: Coverage) -> list[KnowledgeError]:
    """Every value, item and cue without the examples that test it, in the order of the files.

    A reported value needs a sentence that marks it, a concept one that must stay silent, a requirement or alert an
    example that opens it and one that does not, a cue a sentence in which it stands.
    """
    places = {(use.kind, use.name): use.place for use in uses if use.kind.endswith(" defined")}
    found: list[KnowledgeError] = []
    for concept in knowledge.concepts.values():
        found += _unmarked(concept, places, coverage)
    if coverage.items:
        for checklist in knowledge.checklists:
            found += _untried(checklist, places)
        for template in knowledge.query_templates:
            if [asked.item for asked in template.items] != [ANY_ITEM]:
                found += _unasked(template)
    if coverage.cues:
        found += _unheard(knowledge)
    return found


_Places = Mapping[tuple[str, str], Place]


def _unmarked(concept: Concept, places: _Places, coverage: Coverage) -> list[KnowledgeError]:
    marked = [parse_marks(sentence, Place(file, line)) for sentence, file, line in concept.examples]
    found = []
    if coverage.values and concept.reported:
        shown = {mark.value for example in marked for mark in example.marks}
        for value in concept.values:
            if value not in shown:
                place = places.get(("value defined", f"{concept.name}/{value}"), Place(concept.file, 1))
                found.append(place.error(f"no example marks '{value}'"))
    if coverage.silence and all(example.marks for example in marked):
        found.append(
            Place(concept.file, 1).error("no example is without a mark: add a sentence that must find nothing")
        )
    return found


def _untried(checklist: Checklist, places: _Places) -> list[KnowledgeError]:
    found = []
    opened = [{*example.gaps, *example.alerts} for example in checklist.examples]
    for item, kind in (
        *((item.id, "requirement") for item in checklist.requires),
        *((item.id, "alert") for item in checklist.alerts),
    ):
        place = places.get(("item defined", f"{checklist.id}/{item}"), Place(checklist.file, 1))
        verb = "opens" if kind == "requirement" else "raises"
        if not any(item in ids for ids in opened):
            found.append(place.error(f"no example {verb} the {kind} '{item}'"))
        elif all(item in ids for ids in opened):
            found.append(place.error(f"every example {verb} the {kind} '{item}': add one that does not"))
    return found


def _unasked(template: QueryTemplate) -> list[KnowledgeError]:
    """A template needs an example in which it asks and one in which it is silent."""
    place = Place(template.file, 1)
    found = []
    if not any(example.query for example in template.examples):
        found.append(place.error("no example shows the query: add one with 'query'"))
    if all(example.query for example in template.examples):
        found.append(place.error("no example is silent: add one in which nothing is to be asked"))
    return found


def _unheard(knowledge: Knowledge) -> list[KnowledgeError]:
    """Cues that stand in no example, and, where they give an assertion, in none that shows it."""
    examples = [(parse_marks(s, Place(file, line)), file) for s, file, line in knowledge.cue_examples]
    file = examples[0][1] if examples else "models/context.yaml"
    return [
        Place(file, cue.line).error(f"no example holds this cue ('{cue.terms[0]}', {cue.says})")
        for cue in knowledge.cues
        if not any(_shows(cue, marked) for marked, _ in examples)
    ]


def _shows(cue: Cue, marked: Marked) -> bool:
    if cue.says in ASSERTIONS and not any(mark.assertion.value == cue.says for mark in marked.marks):
        return False
    text = marked.text.lower()
    return any(re.search(pattern, text) for pattern in map(_term_pattern, cue.terms))


def _term_pattern(term: str) -> str:
    """A rough regular expression of a term: enough to see whether a sentence holds it."""
    ways = {GAP: r"(?:\S+ ){0,3}?", NUMBER: r"\d+(?:[.,]\d+)? ?"}
    sequences = (
        "".join(
            ways.get(word, re.escape(word.lower()) + (r"(?:e?s)?\b\W*?" if word[-1].isalnum() else r"\s*"))
            for word in sequence
        )
        for sequence in expand(term)
    )
    return rf"(?:(?<!\w)|(?=\W))(?:{'|'.join(sequences)})"


# ── codes ───────────────────────────────────────────────────────────────────────────────────────


def settle_codes(checklist: Checklist, uses: Iterable[Use]) -> Checklist:
    """The checklist with `M53.2X*` replaced by its billable codes, and each example's code filled in.

    Refuses a code the tabular does not have or that cannot be reported, and a title that is not the tabular's.
    """
    codes = load_code_set()
    found: list[str] = []
    for use in uses:
        match use.kind:
            case "code" if use.name.endswith("*"):
                found += _leaves(use, codes)
            case "code":
                _check_billable(use, codes)
                found.append(use.name)
            case "stem" if codes.get(use.name) is None:
                raise use.place.error(f"{use.name} does not exist in {codes.release}{_meant(use.name, codes)}")
            case "title":
                _check_title(use, codes)
            case _:
                pass
    unique = tuple(dict.fromkeys(found))
    examples = tuple(e if e.code else replace(e, code=unique[0]) for e in checklist.examples)
    return replace(checklist, codes=unique, examples=examples)


def _leaves(use: Use, codes: CodeSet) -> tuple[str, ...]:
    leaves = codes.leaves(use.name.removesuffix("*"))
    if not leaves:
        raise use.place.error(f"no code of {codes.release} starts with {use.name.removesuffix('*')}")
    return leaves


def _check_billable(use: Use, codes: CodeSet) -> None:
    problem = codes.problem(use.name)
    if problem is not None:
        raise use.place.error(problem.rstrip(".") + _meant(use.name, codes))


def _check_title(use: Use, codes: CodeSet) -> None:
    id_, _, written = use.name.partition(" ")
    title = codes.title(id_)
    if not title:
        raise use.place.error(f"{id_} does not exist in {codes.release}{_meant(id_, codes)}")
    if _letters(written) != _letters(title):
        raise use.place.error(f"the title of {id_} is '{title}', not '{written}'")


def _meant(code: str, codes: CodeSet) -> str:
    near = codes.meant(code)
    return f", did you mean {near[0]}?" if near else ""


def _letters(title: str) -> str:
    return re.sub(r"\W+", " ", title).strip().casefold()
