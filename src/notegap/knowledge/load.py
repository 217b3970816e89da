"""Find patterns/ and models/, read every file, check what files say of each other, freeze.

The installed package carries both folders inside itself, a checkout at its root; the package is looked at first.
A further directory holds `concepts/`, `checklists/`, `queries/`, `query_rules/`, or any of the files of models/,
directly or in folders named `patterns` and `models`: its concepts add values and ways to write them, a checklist, a
query template or a query rule of a known id takes the place of ours, a template also asks for its items in place of
ours, cues and sections are added after ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from notegap.errors import KnowledgeError
from notegap.kept import kept
from notegap.knowledge import check, queries, schema
from notegap.knowledge.check import Coverage
from notegap.knowledge.nodes import Place, Use, View, compose
from notegap.model import Checklist, Coding, Concept, Cue, Knowledge, Pair, QueryRule, QueryTemplate, SectionRule, Value

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = Path(__file__).resolve().parents[3]

ITEMS = Coverage(values=False, silence=False, cues=False)
"""Without these examples a directory is not loaded. Ours are held to all of Coverage by tests/test_patterns.py."""

T = TypeVar("T")

MODEL_FILES = ("context", "sections", "abbreviations", "spelling")
_FOLDERS = ("concepts", "checklists", "queries", "query_rules")
_SINGLE_FILES = ("words.yaml", "patterns/words.yaml", "coding.yaml", "patterns/coding.yaml")
NO_CODING = Coding(
    facts=MappingProxyType({}), injuries=MappingProxyType({}), etiologies=(), not_etiologies=(), incidental=frozenset()
)


def load_knowledge(extra: Sequence[Path] = ()) -> Knowledge:
    """Everything notegap knows, and what the directories `extra` add; read once per process.

    Raises KnowledgeError, `file:line: what`, when a file is missing or wrong.
    """
    return _load_knowledge(tuple(extra))


def load_checklists(extra: Sequence[Path] = ()) -> tuple[Checklist, ...]:
    """The checklists alone, in a fraction of the time: for commands that print them and read no note.

    The names of concepts they use are not looked up; load_knowledge does that.
    """
    return _load_checklists(tuple(extra))


def load_query_rules(extra: Sequence[Path] = ()) -> tuple[QueryRule, ...]:
    """The rules that judge a query alone, in a fraction of the time."""
    return _load_query_rules(tuple(extra))


def read_directory(directory: Path, *, check_names: bool = False) -> Knowledge:
    """What `directory` alone holds, for its examples; `check_names` looks its names up as if there were no others."""
    part = _read_part([_Root(directory, str(directory))], needs_all=False)
    check.check_part(part.concepts, part.checklists)
    check.check_defined_once(part.uses)
    knowledge = _freeze(part)
    if check_names:
        check.check_knowledge(knowledge, part.uses)
    return knowledge


def missing_examples(directory: Path | None = None, *, coverage: Coverage | None = None) -> list[str]:
    """Every value, item and cue of `directory` (ours when None) that no example tests, as `file:line: what`."""
    roots = _shipped_roots() if directory is None else [_Root(directory, str(directory))]
    part = _read_part(roots, needs_all=directory is None)
    return [str(error) for error in check.missing_examples(_freeze(part), part.uses, coverage or Coverage())]


@lru_cache(maxsize=8)
def _load_knowledge(extra: tuple[Path, ...]) -> Knowledge:
    roots = [*_shipped_roots(), *(_Root(directory, str(directory)) for directory in extra)]
    return kept("knowledge", _contents(roots), lambda: _read_knowledge(extra))


def _read_knowledge(extra: tuple[Path, ...]) -> Knowledge:
    part = _read_part(_shipped_roots(), needs_all=True)
    check.check_part(part.concepts, part.checklists)
    check.check_defined_once(part.uses)
    for directory in extra:
        added = _read_part([_Root(directory, str(directory))], needs_all=False)
        check.check_part(added.concepts, added.checklists)
        check.check_defined_once(added.uses)
        for error in check.missing_examples(_freeze(added), added.uses, ITEMS):
            raise error
        part = _merge(part, added)
    knowledge = _freeze(part)
    check.check_knowledge(knowledge, part.uses)
    return knowledge


@lru_cache(maxsize=8)
def _load_checklists(extra: tuple[Path, ...]) -> tuple[Checklist, ...]:
    part = _Part()
    for root in _shipped_roots():
        part = _merge(part, _read_checklists(root))
    for directory in extra:
        part = _merge(part, _read_checklists(_Root(directory, str(directory))))
    if not part.checklists:
        raise KnowledgeError("patterns/checklists: there is no checklist")
    return part.checklists


@lru_cache(maxsize=8)
def _load_query_rules(extra: tuple[Path, ...]) -> tuple[QueryRule, ...]:
    part = _Part()
    for root in _shipped_roots():
        part = _merge(part, _read_query_rules(root))
    for directory in extra:
        part = _merge(part, _read_query_rules(_Root(directory, str(directory))))
    return _freeze(part).query_rules


# ── where the files are ─────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Root:
    """A directory, and the name messages give it."""

    path: Path
    shown: str
    shipped: bool = False


def _shipped_roots() -> list[_Root]:
    """patterns/ and models/ of the package, else of the checkout."""
    return [_Root(shipped_root(name), name, shipped=True) for name in ("patterns", "models")]


def shipped_root(name: str) -> Path:
    """Where notegap's own folder patterns/ or models/ is: in the package, else in the checkout."""
    places = [place / name for place in (_PACKAGE, _CHECKOUT) if (place / name).is_dir()]
    if not places:
        raise KnowledgeError(f"{name}/: notegap's folder of that name is missing; install notegap again")
    return places[0]


def _files(root: _Root, folder: str) -> list[_Root]:
    """The YAML files in `folder` of a root, also where the root holds a folder patterns/; sorted by name."""
    found = []
    for base, shown in ((root.path / folder, folder), (root.path / "patterns" / folder, f"patterns/{folder}")):
        if not base.is_dir():
            continue
        for path in sorted(base.iterdir()):
            name = f"{root.shown}/{shown}/{path.name}"
            if path.suffix in (".yml", ".YAML", ".YML"):
                raise KnowledgeError(f"{name}: name it {path.stem}.yaml, or it would not be read")
            if path.suffix == ".yaml":
                found.append(_Root(path, name, root.shipped))
    return found


def _contents(roots: Iterable[_Root]) -> Iterator[bytes]:
    """The names and bytes of every file in `roots` that is read; a file that cannot be read is told when it is."""
    for root in roots:
        yield f"{root.shown}\0{root.shipped}".encode()
        single = [_Root(root.path / inner, f"{root.shown}/{inner}") for inner in _SINGLE_FILES]
        models = [file for name in MODEL_FILES if (file := _model_file(root, name)) is not None]
        for file in (*single, *models, *(file for folder in _FOLDERS for file in _files(root, folder))):
            with suppress(OSError):
                yield file.path.read_bytes()
                yield file.shown.encode()


def _model_file(root: _Root, name: str) -> _Root | None:
    """One file of models/ in a root, or None."""
    for inner in (f"{name}.yaml", f"models/{name}.yaml"):
        if (root.path / inner).is_file():
            return _Root(root.path / inner, f"{root.shown}/{inner}", root.shipped)
    return None


# ── reading ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Part:
    """What some files say, before it is frozen into Knowledge."""

    concepts: tuple[Concept, ...] = ()
    checklists: tuple[Checklist, ...] = ()
    coding: Coding = NO_CODING
    cues: tuple[Cue, ...] = ()
    cue_examples: tuple[tuple[str, str, int], ...] = ()
    sections: tuple[SectionRule, ...] = ()
    abbreviations: dict[str, str] = field(default_factory=dict)
    spelling_keep: frozenset[str] = frozenset()
    spelling_short: frozenset[str] = frozenset()
    query_templates: tuple[QueryTemplate, ...] = ()
    query_rules: tuple[QueryRule, ...] = ()
    uses: tuple[Use, ...] = ()
    digests: tuple[str, ...] = ()


def _read_part(roots: Iterable[_Root], *, needs_all: bool) -> _Part:
    """Everything in `roots`; `needs_all`: a lacking file of models/ is an error, else only an empty directory is."""
    roots = list(roots)
    for root in roots:
        if not root.path.is_dir():
            raise KnowledgeError(f"{root.shown}: there is no such directory")
    words = _read_words(roots)
    part = _Part()
    for root in roots:
        part = _append(part, _read_concepts(root, words))
        part = _append(part, _read_checklists(root))
        part = _append(part, _read_coding(root))
        part = _append(part, _read_query_templates(root))
        part = _append(part, _read_query_rules(root))
    found = 0
    for name in MODEL_FILES:
        files = [file for root in roots if (file := _model_file(root, name)) is not None]
        found += len(files)
        if files:
            part = _append(part, _read_model(name, files[0], words))
        elif needs_all:
            raise KnowledgeError(f"models/{name}.yaml: the file is missing")
    if needs_all and not part.concepts:
        raise KnowledgeError("patterns/concepts: there is no concept")
    if needs_all and not part.checklists:
        raise KnowledgeError("patterns/checklists: there is no checklist")
    if not (part.concepts or part.checklists or part.query_templates or part.query_rules or found):
        raise KnowledgeError(
            f"{roots[0].shown}: there is nothing to read; put YAML files into {roots[0].shown}/concepts or "
            f"{roots[0].shown}/checklists"
        )
    return part


def _read_words(roots: Sequence[_Root]) -> Mapping[str, tuple[str, ...]]:
    """The lists of words that terms may name: ours, and those of `roots`, which may add to ours."""
    lists: dict[str, tuple[str, ...]] = {}
    for root in dict.fromkeys((*_shipped_roots(), *roots)):
        for inner in ("words.yaml", "patterns/words.yaml"):
            if (root.path / inner).is_file():
                found, _ = _read(_Root(root.path / inner, f"{root.shown}/{inner}", root.shipped), schema.words)
                for name, words in found.items():
                    lists[name] = tuple(dict.fromkeys((*lists.get(name, ()), *words)))
    return MappingProxyType(lists)


def _read_concepts(root: _Root, words: Mapping[str, tuple[str, ...]]) -> _Part:
    part = _Part()
    for file in _files(root, "concepts"):
        concept, more = _read(file, schema.concept, words)
        part = _append(part, replace(more, concepts=(concept,)))
    return part


def _read_checklists(root: _Root) -> _Part:
    part = _Part()
    for file in _files(root, "checklists"):
        checklist, more = _read(file, schema.checklist)
        part = _append(part, replace(more, checklists=(check.settle_codes(checklist, more.uses),)))
    return part


def _read_coding(root: _Root) -> _Part:
    """What facts are coded with, where the root says so."""
    for inner in ("coding.yaml", "patterns/coding.yaml"):
        if (root.path / inner).is_file():
            coding, part = _read(_Root(root.path / inner, f"{root.shown}/{inner}", root.shipped), schema.coding)
            return replace(part, coding=coding)
    return _Part()


def _read_query_templates(root: _Root) -> _Part:
    part = _Part()
    for file in _files(root, "queries"):
        template, more = _read(file, queries.template)
        part = _append(part, replace(more, query_templates=(template,)))
    return part


def _read_query_rules(root: _Root) -> _Part:
    part = _Part()
    for file in _files(root, "query_rules"):
        rule, more = _read(file, queries.rule)
        part = _append(part, replace(more, query_rules=(rule,)))
    return part


def _read_model(name: str, file: _Root, words: Mapping[str, tuple[str, ...]]) -> _Part:
    match name:
        case "context":
            context, part = _read(file, schema.context, words)
            return replace(part, cues=context.cues, cue_examples=context.examples)
        case "sections":
            sections, part = _read(file, schema.sections)
            return replace(part, sections=sections)
        case "abbreviations":
            abbreviations, part = _read(file, schema.abbreviations)
            return replace(part, abbreviations=abbreviations)
        case _:
            (keep, short), part = _read(file, schema.spelling)
            return replace(part, spelling_keep=keep, spelling_short=short)


def _read(
    file: _Root, shape: Callable[[View], T], words: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> tuple[T, _Part]:
    """One file's value, and a part with the names it uses and its digest."""
    try:
        raw = file.path.read_bytes()
    except OSError as error:
        raise KnowledgeError(f"{file.shown}: cannot be read: {error.strerror}") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise Place(file.shown, line).error("this is not UTF-8 text") from None
    view = compose(text, file.shown, tested=file.shipped, words=words)
    value = shape(view)
    digest = hashlib.sha256(file.shown.encode() + b"\0" + raw).hexdigest()
    return value, _Part(uses=tuple(view.source.uses), digests=(digest,))


# ── joining ─────────────────────────────────────────────────────────────────────────────────────


def _append(left: _Part, right: _Part) -> _Part:
    """Both parts, one after the other."""
    return _Part(
        concepts=left.concepts + right.concepts,
        checklists=left.checklists + right.checklists,
        coding=_join_coding(left.coding, right.coding),
        cues=left.cues + right.cues,
        cue_examples=left.cue_examples + right.cue_examples,
        sections=left.sections + right.sections,
        abbreviations={**left.abbreviations, **right.abbreviations},
        spelling_keep=left.spelling_keep | right.spelling_keep,
        spelling_short=left.spelling_short | right.spelling_short,
        query_templates=left.query_templates + right.query_templates,
        query_rules=left.query_rules + right.query_rules,
        uses=left.uses + right.uses,
        digests=left.digests + right.digests,
    )


def _join_coding(left: Coding, right: Coding) -> Coding:
    """Both; what the right one says of a fact or a stem takes the place of what the left one says."""
    return Coding(
        facts=MappingProxyType({**left.facts, **right.facts}),
        injuries=MappingProxyType({**left.injuries, **right.injuries}),
        etiologies=left.etiologies + right.etiologies,
        not_etiologies=left.not_etiologies + right.not_etiologies,
        incidental=left.incidental | right.incidental,
    )


def _merge(shipped: _Part, added: _Part) -> _Part:
    """What a hospital adds to ours: concepts and sections of one name join, its other files replace ours."""
    concepts = {concept.name: concept for concept in shipped.concepts}
    for concept in added.concepts:
        ours = concepts.get(concept.name)
        concepts[concept.name] = concept if ours is None else _join_concepts(ours, concept)
    checklists = {checklist.id: checklist for checklist in (*shipped.checklists, *added.checklists)}
    rules = {rule.id: rule for rule in (*shipped.query_rules, *added.query_rules)}
    sections = {section.name: section for section in shipped.sections}
    for section in added.sections:
        known = sections.get(section.name)
        sections[section.name] = section if known is None else _join_sections(known, section)
    joined = _append(shipped, added)
    return replace(
        joined,
        concepts=tuple(concepts.values()),
        checklists=tuple(checklists.values()),
        query_templates=(*_not_asked_by(added.query_templates, shipped.query_templates), *added.query_templates),
        query_rules=tuple(rules.values()),
        sections=tuple(sections.values()),
    )


def _not_asked_by(theirs: Sequence[QueryTemplate], ours: Sequence[QueryTemplate]) -> Iterator[QueryTemplate]:
    """Our templates without the items that theirs ask for; one of a known id is replaced whole."""
    ids = {template.id for template in theirs}
    taken = {asked.item for template in theirs for asked in template.items}
    for template in ours:
        left = tuple(asked for asked in template.items if asked.item not in taken)
        if left and template.id not in ids:
            yield replace(template, items=left)


def _join_concepts(ours: Concept, theirs: Concept) -> Concept:
    if ours.reported != theirs.reported:
        said = "reported: true" if ours.reported else "reported: false"
        raise Place(theirs.file, 1).error(f"concept '{ours.name}' of notegap is {said}, this file has to say so too")
    values = dict(ours.values)
    for name, value in theirs.values.items():
        known = values.get(name, Value(name=name))
        values[name] = Value(
            name=name,
            terms=known.terms + value.terms,
            acronyms=known.acronyms + value.acronyms,
            patterns=known.patterns + value.patterns,
            pairs=known.pairs + value.pairs,
        )
    return replace(ours, values=MappingProxyType(values), examples=ours.examples + theirs.examples)


def _join_sections(ours: SectionRule, theirs: SectionRule) -> SectionRule:
    assertions = MappingProxyType({**ours.assertions, **theirs.assertions})
    return replace(ours, titles=ours.titles + theirs.titles, assertions=assertions)


def _freeze(part: _Part) -> Knowledge:
    concepts = {concept.name: concept for concept in part.concepts}
    keys = [f"{concept.name}/{value}" for concept in part.concepts for value in concept.values]
    return Knowledge(
        concepts=MappingProxyType({name: _settle_pairs(concept, keys) for name, concept in concepts.items()}),
        checklists=tuple(sorted(part.checklists, key=lambda checklist: checklist.id)),
        coding=part.coding,
        cues=part.cues,
        sections=part.sections,
        abbreviations=MappingProxyType(part.abbreviations),
        spelling_keep=part.spelling_keep,
        spelling_short=part.spelling_short,
        query_templates=tuple(sorted(part.query_templates, key=lambda template: template.id)),
        query_rules=tuple(sorted(part.query_rules, key=lambda rule: rule.id)),
        cue_examples=part.cue_examples,
        version=hashlib.sha256("".join(part.digests).encode()).hexdigest()[:12],
    )


def _settle_pairs(concept: Concept, keys: Sequence[str]) -> Concept:
    """The concept with `ligament/*` in its pairs replaced by every value of ligament."""
    starred = any("*" in name for value in concept.values.values() for pair in value.pairs for name in _names(pair))
    if not starred:
        return concept

    def settle(names: frozenset[str]) -> frozenset[str]:
        plain = {name for name in names if not name.endswith("/*")}
        stems = tuple(name.removesuffix("*") for name in names if name.endswith("/*"))
        return frozenset(plain | {key for key in keys if stems and key.startswith(stems)})

    values = {
        name: replace(value, pairs=tuple(replace(p, part=settle(p.part), says=settle(p.says)) for p in value.pairs))
        for name, value in concept.values.items()
    }
    return replace(concept, values=MappingProxyType(values))


def _names(pair: Pair) -> frozenset[str]:
    return pair.part | pair.says
