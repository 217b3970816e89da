"""Which codes a call of CDS Hooks asks about: those of its conditions, or of the reasons that its orders give.

What is not shaped as FHIR shapes it is refused: passed over, it would look like something that asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from notegap.errors import UsageError
from notegap.icd10cm import normalize
from notegap.service.documents import Resource, mapping, objects
from notegap.service.problems import RefusedError

ICD10CM = frozenset({"http://hl7.org/fhir/sid/icd-10-cm", "urn:oid:2.16.840.1.113883.6.90"})
"""The names of ICD-10-CM in a coding."""

_MOST_CODES = 50
_NOT_SO = frozenset({"refuted", "entered-in-error"})
_PAST = frozenset({"inactive", "remission", "resolved"})
# What else than a condition an order may refer to as its reason; it has no diagnosis code.
_OTHER_REASONS = frozenset({"Observation", "DiagnosticReport", "DocumentReference"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a call holds under a name of its context or prefetch, and the status that says that it is not as it should.

    A context is the client's own (400); a prefetch is what the client could get, or why it could not (412).
    """

    name: str
    status: HTTPStatus
    value: object = field(repr=False)

    @property
    def refusal(self) -> RefusedError:
        """To be raised when it is not as it should be."""
        return RefusedError(
            self.status, f"{self.name} is not what FHIR has for it, or tells why it cannot be had; nothing was checked."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The codes; how many codings are not shaped like one, and how many reasons are conditions that were not sent."""

    codes: tuple[str, ...]
    misshapen: int = 0
    unresolved: int = 0


def asked_codes(hook: str, context: Mapping[str, Any], prefetch: Mapping[str, Any], *, needed: bool) -> Asked:
    """What a call asks about. `needed`: without conditions in the context they have to be in the prefetch.

    Raises RefusedError when they are not, or what is there is not what it should be.
    """
    if hook == "order-sign":
        given = _in_context("draftOrders", context)
        concepts, unresolved = _reasons(given)
    else:
        given = _in_context("conditions", context)
        if given.value is None:
            given = in_prefetch("conditions", prefetch, needed=needed)
        left_out = _NOT_SO | _PAST if hook == "problem-list-item-create" else _NOT_SO
        conditions = [each for _, each in resources_of(given) if each["resourceType"] == "Condition"]
        concepts, unresolved = [each.get("code") for each in conditions if not left_out & _statuses(each)], 0
    found: dict[str, None] = {}
    misshapen = 0
    for coding in _codings(concepts, given):
        if coding.get("system") in ICD10CM:
            try:
                found[normalize(str(coding.get("code", "")))] = None
            except UsageError:
                misshapen += 1
    if len(found) > _MOST_CODES:
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"More than {_MOST_CODES} codes are asked about at once.")
    return Asked(codes=tuple(found), misshapen=misshapen, unresolved=unresolved)


def in_prefetch(name: str, prefetch: Mapping[str, Any], *, needed: bool) -> Given:
    """What the prefetch holds; None: it was fetched, and there is none. Raises when it is needed and not there."""
    if needed and name not in prefetch:
        raise RefusedError(HTTPStatus.PRECONDITION_FAILED, f"The prefetch lacks {name}; nothing was checked.")
    return Given(name=f"prefetch.{name}", status=HTTPStatus.PRECONDITION_FAILED, value=prefetch.get(name))


def resources_of(given: Given) -> Sequence[tuple[str, Resource]]:
    """The resources of a Bundle, each with its full address ("" when it has none); none of None.

    Raises when it is no Bundle of resources, or one of them tells that something could not be had.
    """
    if given.value is None:
        return ()
    bundle = mapping(given.value)
    entries = bundle.get("entry", [])
    if bundle.get("resourceType") != "Bundle" or not isinstance(entries, list):
        raise given.refusal
    found = [(mapping(entry).get("fullUrl"), mapping(mapping(entry).get("resource"))) for entry in entries]
    if not all(isinstance(each.get("resourceType"), str) and not _is_failure(each) for _, each in found):
        raise given.refusal
    return [(url if isinstance(url, str) else "", each) for url, each in found]


def _in_context(name: str, context: Mapping[str, Any]) -> Given:
    return Given(name=f"context.{name}", status=HTTPStatus.BAD_REQUEST, value=context.get(name))


def _is_failure(resource: Resource) -> bool:
    return resource["resourceType"] == "OperationOutcome" and any(
        issue.get("severity") in ("error", "fatal") for issue in objects(resource.get("issue"))
    )


def _codings(concepts: Sequence[object], given: Given) -> Iterator[Resource]:
    """Every coding of CodeableConcepts; None is one that is not there."""
    for concept in concepts:
        if concept is not None and not isinstance(concept, dict):
            raise given.refusal
        yield from _list_of_objects(mapping(concept).get("coding"), given)


def _list_of_objects(value: object, given: Given) -> Sequence[Resource]:
    """A list of objects, or one object alone, as before R4 some fields were; None is none."""
    listed: list[Any] = value if isinstance(value, list) else [value] if value is not None else []
    if not all(isinstance(each, dict) for each in listed):
        raise given.refusal
    return listed


def _statuses(condition: Resource) -> frozenset[str]:
    """The codes of both statuses of a condition; before R4 each was a code itself."""
    found: set[str] = set()
    for status in (condition.get("verificationStatus"), condition.get("clinicalStatus")):
        if isinstance(status, str):
            found.add(status)
        found.update(str(coding.get("code")) for coding in objects(mapping(status).get("coding")))
    return frozenset(found)


# ── the reasons of orders ───────────────────────────────────────────────────────────────────────


def _reasons(given: Given) -> tuple[list[object], int]:
    """The concepts that orders give as their reasons, and how many reasons are conditions that were not sent."""
    resources = resources_of(given)
    named = {f"{each['resourceType']}/{each['id']}": each for _, each in resources if each.get("id")}
    named |= {url: each for url, each in resources if url}
    concepts: list[object] = []
    unresolved = 0
    for _, order in resources:
        concepts += _list_of_objects(order.get("reasonCode"), given)
        contained = _list_of_objects(order.get("contained"), given)
        conditions = [each for each in contained if each.get("resourceType") == "Condition"]
        inner = {f"#{each['id']}": each for each in contained if each.get("id")}
        for reference in _list_of_objects(order.get("reasonReference"), given):
            address = reference.get("reference")
            target = _target(address, {**named, **inner}) if isinstance(address, str) else None
            if target is not None:
                conditions += [target] if target.get("resourceType") == "Condition" else []
            elif _kind(reference) not in _OTHER_REASONS:
                unresolved += 1
        concepts += [each.get("code") for each in conditions if not _NOT_SO & _statuses(each)]
    return concepts, unresolved


def _target(address: str, named: Mapping[str, Resource]) -> Resource | None:
    """The resource that an address means, of one version or any; None when it was not sent."""
    unversioned = address.partition("/_history/")[0]
    return named.get(unversioned) or named.get("/".join(unversioned.split("/")[-2:]))


def _kind(reference: Resource) -> object:
    """The type of what a reference leads to, where it says one."""
    steps = str(reference.get("reference", "")).partition("/_history/")[0].split("/")
    return steps[-2] if len(steps) > 1 else reference.get("type")
