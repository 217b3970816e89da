"""CDS Hooks over HTTP: what the cards say and hold to, who may call, and that no failure looks like an empty list."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import threading
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fhir.resources.R4B.task import Task
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from markdown_it import MarkdownIt
from starlette.testclient import TestClient

from cds_spec import DISCOVERY, RESPONSE, hold
from notegap.analyzer import Analyzer
from notegap.errors import UsageError
from notegap.model import Note
from notegap.report.cards import OVERRIDE_REASONS, SYSTEM, cards, escaped
from notegap.service.app import ServiceConfig, create_app
from notegap.service.cds_hooks import SERVICES, CdsConfig
from notegap.service.cds_jwt import Caller, CdsClient, Seen
from notegap.service.cds_notes import MOST_NOTES
from notegap.service.database import Database
from notegap.service.feedback import UNKNOWN, Counts, Feedback, FeedbackStore, Issued
from notegap.service.fetch import Fetcher, FetchError
from notegap.service.store import Store
from test_service import CANARY, HOST, TEXT, Breakable, is_problem
from test_tenants import as_
from test_tenants import service as with_keys

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = sorted((Path(__file__).resolve().parents[2] / "shared" / "interface" / "cdshooks").glob("*.json"))
NOTES = sorted(path for path in (ROOT / "sample_notes").glob("*.txt") if not path.name.endswith(".report.txt"))
ABOUT = tomllib.loads((ROOT / "sample_notes" / "samples.toml").read_text(encoding="utf-8"))
COMPLETE = (ROOT / "sample_notes" / "interspinous_laxity_soap.txt").read_text(encoding="utf-8")

SIGN = "notegap-document-sign"
PROBLEMS = "notegap-problem-list"
ORDERS = "notegap-order-sign"
DISCHARGE = "notegap-encounter-discharge"


@pytest.fixture(scope="module")
def client(analyzer: Analyzer) -> Iterator[TestClient]:
    """A client on this machine, which need not sign."""
    app = create_app(Breakable(analyzer), ServiceConfig(hosts=frozenset({HOST}), max_bytes=20_000))  # type: ignore[arg-type]
    with TestClient(app, base_url=f"http://{HOST}") as made:
        yield made


def document(text: str = TEXT, **fields: Any) -> dict[str, Any]:
    data = base64.b64encode(text.encode()).decode()
    return {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "content": [{"attachment": {"contentType": "text/plain; charset=utf-8", "data": data}}],
        **fields,
    }


def bundle(*resources: Any) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": each} for each in resources]}


def condition(code: str = "M24.28", system: str = "http://hl7.org/fhir/sid/icd-10-cm", **fields: Any) -> dict[str, Any]:
    return {"resourceType": "Condition", "code": {"coding": [{"system": system, "code": code}]}, **fields}


def order(code: str = "M24.28") -> dict[str, Any]:
    return {"resourceType": "ServiceRequest", "reasonCode": [condition(code)["code"]]}


CONTEXTS: dict[str, dict[str, Any]] = {
    SIGN: {"document": document()},
    PROBLEMS: {"conditions": bundle(condition())},
    ORDERS: {"draftOrders": bundle(order())},
    DISCHARGE: {"encounterId": "e1"},
}


def body(service: str, *, prefetch: Any = None, context: Any = None, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "hook": SERVICES[service].hook,
        "hookInstance": str(uuid4()),
        "context": {"userId": "Practitioner/1", "patientId": "p1", **CONTEXTS[service], **(context or {})},
        **fields,
    }
    if prefetch is not None:
        made["prefetch"] = prefetch
    return made


OFFICE = {"resourceType": "Encounter", "id": "e1", "class": {"code": "AMB"}}
FAILURE = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "forbidden"}]}


def at_discharge(*notes: Any, conditions: Any = None, **prefetch: Any) -> dict[str, Any]:
    """The prefetch of a discharge."""
    return {"notes": bundle(*notes), "conditions": conditions, "encounter": OFFICE, **prefetch}


def call(client: TestClient, service: str = SIGN, **given: Any) -> list[dict[str, Any]]:
    """The cards of a call that has to be answered with cards; every one is held to the specification."""
    answer = client.post(f"/cds-services/{service}", json=body(service, **given))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    hold(answer.json(), RESPONSE)
    return list(answer.json()["cards"])


def fails(client: TestClient, status: int, service: str = SIGN, **given: Any) -> str:
    return is_problem(client.post(f"/cds-services/{service}", json=body(service, **given)), status)


# ── discovery ──


def test_discovery_keeps_to_the_specification(client: TestClient) -> None:
    found = client.get("/cds-services")
    hold(found.json(), DISCOVERY)
    assert [service["hook"] for service in found.json()["services"]] == [
        "org.notegap.documentreference-sign",
        "problem-list-item-create",
        "order-sign",
        "encounter-discharge",
    ]


def test_every_service_is_documented() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"`{service.id}`" in readme and f"`{service.hook}`" in readme for service in SERVICES.values())


# ── cards ──


@pytest.mark.parametrize("path", NOTES, ids=lambda path: path.stem)
def test_the_cards_of_every_sample_note(path: Path, client: TestClient) -> None:
    about = ABOUT[path.stem]
    text = path.read_text(encoding="utf-8")
    given = {"document": document(text), "conditions": bundle(condition(about["code"]))}
    shown = call(client, context=given)
    assert bool(shown) == bool(about["gaps"] or about["alerts"])
    assert len(shown) <= 7
    for card in shown:
        for suggestion in card.get("suggestions", []):
            for action in suggestion["actions"]:
                Task.model_validate(action["resource"])


def test_a_card_for_each_open_finding_and_one_for_the_rest(analyzer: Analyzer) -> None:
    report = analyzer.analyze(Note(id="n", text="Neck pain.", codes=("M24.28", "M53.2X2", "M43.22", "M99.23")))
    open_ = [finding.id for check in report.checks for finding in check.findings if finding.is_open]
    made = cards(report, most=3)
    assert len(made) == 4
    assert sorted(rule for card in made for rule in card.findings) == sorted(open_)
    assert made[3].summary.endswith(f"{len(open_) - 3} more open items")
    ranks = [{"warning": 0, "info": 1}[card.indicator] for card in made[:3]]
    assert ranks == sorted(ranks)


def test_what_is_documented_elsewhere_gets_no_card(analyzer: Analyzer) -> None:
    report = analyzer.analyze(Note(id="n", text=TEXT, codes=("M24.28",)))
    first = cards(report)[0].findings[0]
    assert first not in {rule for card in cards(report, settled=frozenset({first})) for rule in card.findings}


def test_the_section_a_quote_stood_in_is_named(client: TestClient) -> None:
    sentence = "Chronic ligamentous laxity of the lumbar spine on MRI."
    ccda = f"""<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><component><structuredBody><component>
<section><title>Assessment *today*</title><text><paragraph ID="a1">{sentence}</paragraph></text>
</section></component></structuredBody></component></ClinicalDocument>"""
    given = document()
    given["content"] = [{"attachment": {"contentType": "text/xml", "data": base64.b64encode(ccda.encode()).decode()}}]
    context = {"document": given, "conditions": bundle(condition())}
    quotes = [line for card in call(client, context=context) for line in card["detail"].splitlines() if "“" in line]
    assert quotes
    assert {quote.rpartition("; in ")[2] for quote in quotes} == {"section “Assessment \\*today\\*”, element a1)"}
    plain = call(client, context={"document": document(), "conditions": bundle(condition())})
    assert not [card for card in plain if "; in " in card["detail"]]


def test_a_long_question_is_cut_at_a_word(analyzer: Analyzer) -> None:
    report = analyzer.analyze(Note(id="n", text=TEXT, codes=("M24.28",)))
    check = report.checks[0]
    finding = next(f for f in check.findings if f.is_open)
    long = replace(finding, ask="many words " * 40)
    made = cards(replace(report, checks=(replace(check, findings=(long,)),)))[0]
    assert len(made.summary) < 140
    assert made.summary.endswith(" many…")


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script> & <b>",
        "[a link](https://evil.example) ![x](y) <https://evil.example>",
        "https://evil.example www.evil.example me@evil.example",
        "# heading `code` ~~out~~ **bold** _it_ | cell | \\n $x^2$ - [ ] 1. = :smile:",
    ],
)
def test_the_words_of_a_note_are_shown_and_not_interpreted(text: str) -> None:
    made = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(f"- “{escaped(text)}”")
    inline = next(token for token in made if token.type == "inline")
    assert {child.type for child in inline.children or []} <= {"text", "text_special"}
    assert "".join(child.content for child in inline.children or []) == f"“{text}”"
    assert not any(found in escaped(text) for found in ("<", ">", "@", "://", "www."))


def test_a_complete_note_and_one_without_a_code_of_ours_give_no_card(client: TestClient) -> None:
    given = {"document": document(COMPLETE), "conditions": bundle(condition("M24.28"))}
    assert call(client, context=given) == []
    assert call(client, context={"document": document("Follow-up of asthma.")}) == []
    for code, system in [("I10", "http://hl7.org/fhir/sid/icd-10-cm"), ("16114001", "http://snomed.info/sct")]:
        assert call(client, PROBLEMS, context={"conditions": bundle(condition(code, system))}) == []


def test_the_codes_are_those_of_the_context(client: TestClient) -> None:
    prefetch = {"notes": bundle(document())}
    for service in (PROBLEMS, ORDERS):
        shown = call(client, service, prefetch=prefetch)
        assert shown
        assert all(card["summary"].startswith("M24.28: ") for card in shown)
    several = {"conditions": bundle(condition("m53.2x6"), condition("M24.28", "urn:oid:2.16.840.1.113883.6.90"))}
    shown = call(client, PROBLEMS, prefetch=prefetch, context=several)
    assert {card["summary"].partition(":")[0] for card in shown[:6]} == {"M53.2X6", "M24.28"}
    held = {"resourceType": "MedicationRequest", "contained": [condition("M24.28")]}
    assert call(client, ORDERS, prefetch=prefetch, context={"draftOrders": bundle(held)})


def test_a_code_that_is_none_is_said_and_not_repeated(client: TestClient) -> None:
    shown = call(client, PROBLEMS, context={"conditions": bundle(condition(CANARY))})
    assert [card["indicator"] for card in shown] == ["warning"]
    assert CANARY not in json.dumps(shown)


def test_the_query_is_offered_once_and_as_a_task(client: TestClient) -> None:
    given = {"document": document(), "conditions": bundle(condition()), "encounterId": "e1"}
    offered = [
        each
        for card in call(client, context=given, prefetch={"encounter": OFFICE})
        for each in card.get("suggestions", [])
    ]
    assert offered
    tasks = [action["resource"] for each in offered for action in each["actions"]]
    assert len({task["description"] for task in tasks}) == len(tasks)
    assert {task["for"]["reference"] for task in tasks} == {"Patient/p1"}
    assert {task["encounter"]["reference"] for task in tasks} == {"Encounter/e1"}
    assert {task["focus"]["reference"] for task in tasks} == {"DocumentReference/d1"}


def test_an_uncertain_diagnosis_counts_for_inpatients(client: TestClient) -> None:
    text = "Assessment: probable degenerative laxity of the L4-5 interspinous ligament, seen on MRI."
    given = {"document": document(text), "conditions": bundle(condition())}
    out = call(client, context=given)
    into = call(client, context=given, prefetch={"encounter": {"resourceType": "Encounter", "class": {"code": "IMP"}}})
    assert len(into) < len(out)


# ── several notes of an encounter ──


def of_encounter(encounter: str) -> dict[str, Any]:
    return {"context": {"encounter": [{"reference": f"Encounter/{encounter}"}]}}


def test_what_another_note_of_the_encounter_documents_is_settled(client: TestClient) -> None:
    newer = document(date="2026-02-02T08:00:00Z", **of_encounter("e1"))
    older = document(COMPLETE, id="d2", date="2026-02-01T08:00:00Z", **of_encounter("e1"))
    other = document(COMPLETE, id="d3", date="2026-02-01T08:00:00Z", **of_encounter("e2"))
    codes = bundle(condition())
    alone = call(client, DISCHARGE, prefetch=at_discharge(newer, conditions=codes))
    both = call(client, DISCHARGE, prefetch=at_discharge(older, newer, conditions=codes))
    strange = call(client, DISCHARGE, prefetch=at_discharge(other, newer, conditions=codes))
    assert both == []
    assert len(alone) == len(strange) > 0


def test_what_an_older_note_of_the_encounter_raises_stands(client: TestClient) -> None:
    newer = document(COMPLETE, date="2026-02-02T08:00:00Z")
    older = document("Sprain of the lumbar ligaments after a fall yesterday.", id="d2", date="2026-02-01T08:00:00Z")
    codes = bundle(condition())
    assert call(client, DISCHARGE, prefetch=at_discharge(newer, conditions=codes)) == []
    shown = call(client, DISCHARGE, prefetch=at_discharge(newer, older, conditions=codes))
    assert len(shown) == 1
    assert "M24.28/acute-injury" in shown[0]["detail"]
    twice = at_discharge(newer, older, {**older, "id": "d3"}, conditions=codes)
    assert len(call(client, DISCHARGE, prefetch=twice)) == 1


def test_without_an_encounter_only_the_newest_note_counts(client: TestClient) -> None:
    newer, older = document(date="2026-02-02"), document(COMPLETE, id="d2", date="2026-02-01")
    assert call(client, PROBLEMS, prefetch={"notes": bundle(older, newer)})
    newer, older = document(date="2026-02-01"), document(COMPLETE, id="d2", date="2026-02-02")
    assert call(client, PROBLEMS, prefetch={"notes": bundle(older, newer)}) == []


def newest(client: TestClient, *notes: Any, encounter: str = "e1") -> list[str]:
    """What an added problem's cards say of these notes; nothing when the one that was read is COMPLETE."""
    there = {"encounterId": encounter} if encounter else {}
    for name in (PROBLEMS, ORDERS):
        shown = call(client, name, prefetch={"notes": bundle(*notes)}, context=there)
    return [card["summary"] for card in shown]


def test_a_problem_is_held_against_one_note_the_newest(client: TestClient) -> None:
    """Of the encounter when one says that it is, else of all."""
    bare, whole = document(), document(COMPLETE, id="d2")
    early, late = {"date": "2026-02-01T08:00:00Z"}, {"date": "2026-02-02T08:00:00Z"}
    here, there = of_encounter("e1"), of_encounter("e2")
    # What an older note documents is not the newest note's.
    assert newest(client, {**bare, **late, **here}, {**whole, **early, **here})
    assert newest(client, {**bare, **late}, {**whole, **early})
    # The encounter's own goes first.
    assert newest(client, {**bare, **late, **there}, {**whole, **early, **here}) == []
    assert newest(client, {**bare, **late}, {**whole, **early, **here}) == []
    visit = {"context": {"encounter": [{"reference": "https://ehr.example.org/Encounter/e1/_history/3"}]}}
    assert newest(client, {**bare, **late, **there}, {**whole, **early, **visit}) == []
    # Without one the newest is read, and it is said which that is.
    says = ["Checked: the newest note, which is of another encounter"]
    assert newest(client, {**whole, **late, **there}, {**bare, **early, **there}) == says
    assert newest(client, {**whole, **late, **there}, encounter="") == []
    assert newest(client, {**whole, **late}) == []


def test_the_newest_note_is_found_by_when_not_by_how_it_is_written(client: TestClient) -> None:
    for older, newer in (
        ("2026-02-02T01:00:00+09:00", "2026-02-01T20:00:00-05:00"),
        ("2026-02-01T23:00:00+02:00", "2026-02-01T22:00:00Z"),
        ("2026-02-01T08:00:00.9Z", "2026-02-01T08:00:01Z"),
        ("0001-01-01T00:00:00+14:00", "2026-02-01"),
        ("yesterday", "2026-02-01"),
        (None, "2026-02-01"),
    ):
        for order_ in (1, -1):
            both = [document(date=older), document(COMPLETE, id="d2", date=newer)][::order_]
            assert newest(client, *both) == [], (older, newer)


def test_every_note_of_an_encounter_is_read_or_said_not_to_be(client: TestClient) -> None:
    codes = bundle(condition())
    notes = [document("No complaints.", id=f"n{day}", date=f"2026-02-{day:02}") for day in range(2, 9)]
    whole = document(COMPLETE, date="2026-02-01")
    assert call(client, DISCHARGE, prefetch=at_discharge(*notes, conditions=codes))
    assert call(client, DISCHARGE, prefetch=at_discharge(*notes, whole, conditions=codes)) == []
    many = [document("No complaints.", id=f"m{number}", date="2026-02-09") for number in range(MOST_NOTES - 1)]
    shown = call(client, DISCHARGE, prefetch=at_discharge(*many, *notes[:2], whole, conditions=codes))
    assert "Not checked: the 2 oldest notes of the encounter" in [card["summary"] for card in shown]
    pages = {**bundle(whole), "link": [{"relation": "next", "url": "https://ehr.example.org/2"}]}
    shown = call(client, DISCHARGE, prefetch={**at_discharge(conditions=codes), "notes": pages})
    assert [card["summary"] for card in shown] == ["The encounter may have more notes than were checked"]


def test_notes_of_another_encounter_are_not_said_to_be_none(client: TestClient) -> None:
    given = at_discharge(document(**of_encounter("e2")), conditions=bundle(condition()))
    (card,) = call(client, DISCHARGE, prefetch=given)
    assert card["summary"] == "M24.28: not checked, there is no note"
    assert "1 note of other encounters was not read" in card["detail"]


@pytest.mark.parametrize(
    ("subject", "is_read"),
    [
        ("Patient/p1", True),
        ("https://ehr.example.org/fhir/Patient/p1", True),
        ("Patient/p1/_history/4", True),
        ("urn:uuid:7d0e8bb4-6a5e-4b3e-9f51-0a8f8f2f7b61", True),
        ("#p", True),
        ("Patient/p2", False),
        ("Patient/1/p1", False),
        ("Group/p1", False),
    ],
)
def test_a_note_about_another_patient_is_not_read(client: TestClient, subject: str, is_read: bool) -> None:
    given = document(COMPLETE, subject={"reference": subject})
    codes = bundle(condition())
    if is_read:
        assert call(client, context={"document": given, "conditions": codes}) == []
    else:
        assert "another patient" in fails(client, 400, context={"document": given, "conditions": codes})
    for name in (PROBLEMS, ORDERS, DISCHARGE):
        shown = call(client, name, prefetch=at_discharge(given, conditions=codes))
        expected = ["Not checked: 1 note about another patient", "M24.28: not checked, there is no note"]
        assert [card["summary"] for card in shown] == ([] if is_read else expected)


def test_notes_that_no_longer_hold_are_not_read(client: TestClient) -> None:
    for gone in ({"status": "entered-in-error"}, {"status": "superseded"}, {"docStatus": "entered-in-error"}):
        shown = call(client, PROBLEMS, prefetch={"notes": bundle(document(COMPLETE, **gone))})
        assert [card["summary"] for card in shown] == ["M24.28: not checked, there is no note"]


def test_a_note_that_cannot_be_read_beside_one_that_can_is_said(client: TestClient) -> None:
    scan = document(id="d2")
    scan["content"][0]["attachment"]["data"] = base64.b64encode(b"%PDF-1.7 no text").decode()
    shown = call(client, DISCHARGE, prefetch=at_discharge(document(COMPLETE), scan))
    assert [card["summary"] for card in shown] == ["1 of 2 notes could not be read"]


# ── what was not fetched ──


def test_fetched_and_empty_is_said(client: TestClient) -> None:
    for empty in (None, {"resourceType": "Bundle", "type": "searchset", "total": 0}):
        for service in (PROBLEMS, ORDERS, DISCHARGE):
            shown = call(client, service, prefetch={"notes": empty, "conditions": None})
            assert len(shown) == 1
            assert "there is no note" in shown[0]["summary"]


def test_what_was_not_fetched_is_a_failed_precondition(client: TestClient) -> None:
    failure = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
    for service in (PROBLEMS, ORDERS, DISCHARGE):
        fails(client, 412, service)
        for prefetch in ({}, {"other": None}, {"notes": failure}, {"notes": bundle(failure)}, {"notes": CANARY}):
            fails(client, 412, service, prefetch=prefetch)
    remark = {"resourceType": "OperationOutcome", "issue": [{"severity": "information", "code": "informational"}]}
    assert call(client, PROBLEMS, prefetch={"notes": bundle(document(), remark)})


def test_conditions_that_were_not_fetched_are_a_failed_precondition(client: TestClient) -> None:
    notes = {"notes": bundle(document()), "encounter": OFFICE}
    fails(client, 412, DISCHARGE, prefetch=notes)
    wrong: tuple[Any, ...] = (FAILURE, bundle(FAILURE), bundle(condition(), FAILURE), CANARY, [], condition())
    for given in (*wrong, bundle(CANARY)):
        assert "conditions" in fails(client, 412, DISCHARGE, prefetch={**notes, "conditions": given})
    assert call(client, DISCHARGE, prefetch={**notes, "conditions": bundle(condition("M53.2X6"))})
    # Fetched, and there is none: the note's own codes are checked.
    assert call(client, DISCHARGE, prefetch={**notes, "conditions": None})


def test_an_encounter_that_cannot_be_had_is_said(client: TestClient) -> None:
    def says_so(**given: Any) -> bool:
        context = {"document": document(COMPLETE), "conditions": bundle(condition()), **given.pop("context", {})}
        shown = call(client, context=context, **given)
        assert len(shown) <= 1
        return [card["summary"] for card in shown] == ["Checked as an outpatient's note: the encounter is not known"]

    there = {"encounterId": "e1"}
    assert says_so(prefetch={"encounter": FAILURE})
    assert says_so(context=there)
    assert says_so(context=there, prefetch={"encounter": None})
    assert not says_so(context=there, prefetch={"encounter": OFFICE})
    assert not says_so()
    assert not says_so(prefetch={"encounter": None})


def test_conditions_that_are_no_fhir_are_refused(client: TestClient) -> None:
    wrong = [
        bundle({"resourceType": "Condition", "code": "M53.2X6"}),
        bundle({"resourceType": "Condition", "code": {"coding": ["M53.2X6"]}}),
        bundle({"resourceType": "Condition", "code": {"coding": "M53.2X6"}}),
        bundle({"code": condition()["code"]}),
        bundle(FAILURE),
        {"resourceType": "Bundle", "entry": ["abc"]},
        {"resourceType": "Bundle", "entry": condition()},
        {"resourceType": "Bundle", "entry": [condition()]},
    ]
    for given in wrong:
        assert "conditions" in fails(client, 400, PROBLEMS, context={"conditions": given}, prefetch={"notes": None})
        fails(client, 400, context={"conditions": given})
    for orders in (wrong[-1], bundle({**order(), "reasonCode": ["M53.2X6"]}), bundle({**order(), "contained": "x"})):
        fails(client, 400, ORDERS, context={"draftOrders": orders}, prefetch={"notes": None})


REFUTED: dict[str, Any] = {"verificationStatus": {"coding": [{"code": "refuted"}]}}


def test_conditions_that_the_patient_does_not_have_are_left_out(client: TestClient) -> None:
    notes = {"notes": bundle(document(COMPLETE))}
    two = bundle(condition("M53.2X6", **REFUTED), condition("M43.22", verificationStatus="entered-in-error"))
    assert call(client, PROBLEMS, prefetch=notes, context={"conditions": bundle(condition("M53.2X6"))})
    assert call(client, PROBLEMS, prefetch=notes, context={"conditions": two}) == []
    assert call(client, DISCHARGE, prefetch=at_discharge(document("No complaints."), conditions=two)) == []
    assert (
        call(
            client,
            ORDERS,
            prefetch=notes,
            context={"draftOrders": bundle(refers("Condition/c1"), condition("M53.2X6", id="c1", **REFUTED))},
        )
        == []
    )
    # A problem that is over is not one of today's; it may be one of the encounter's.
    over = bundle(condition("M53.2X6", clinicalStatus={"coding": [{"code": "resolved"}]}))
    assert call(client, PROBLEMS, prefetch=notes, context={"conditions": over}) == []
    assert call(client, DISCHARGE, prefetch=at_discharge(document("No complaints."), conditions=over))


def refers(address: str, **fields: Any) -> dict[str, Any]:
    return {"resourceType": "ServiceRequest", "id": "o1", "reasonReference": [{"reference": address}], **fields}


def test_the_reason_of_an_order_may_be_a_condition_that_is_sent_with_it(client: TestClient) -> None:
    notes = {"notes": bundle(document())}
    sent = condition("M53.2X6", id="c1")
    for address, url in (
        ("Condition/c1", ""),
        ("Condition/c1/_history/2", ""),
        ("https://ehr.example.org/fhir/Condition/c1", ""),
        ("urn:uuid:7d0e8bb4-6a5e-4b3e-9f51-0a8f8f2f7b61", "urn:uuid:7d0e8bb4-6a5e-4b3e-9f51-0a8f8f2f7b61"),
    ):
        orders = bundle(refers(address), sent)
        orders["entry"][1]["fullUrl"] = url
        shown = call(client, ORDERS, prefetch=notes, context={"draftOrders": orders})
        assert shown
        assert all(card["summary"].startswith("M53.2X6") for card in shown)
    inside = refers("#c1", contained=[sent])
    assert call(client, ORDERS, prefetch=notes, context={"draftOrders": bundle(inside)}) != []


def test_the_reason_of_an_order_that_was_not_sent_is_said(client: TestClient) -> None:
    orders = bundle(refers("Condition/c2"), refers("#c3"), {**refers(""), "reasonReference": [{"display": CANARY}]})
    shown = call(client, ORDERS, context={"draftOrders": orders})
    assert [card["summary"] for card in shown] == ["Not checked: 3 reasons that orders only refer to"]
    both = bundle({**refers("Condition/c2"), "reasonCode": order()["reasonCode"]})
    shown = call(client, ORDERS, context={"draftOrders": both}, prefetch={"notes": bundle(document(COMPLETE))})
    assert [card["summary"] for card in shown] == ["Not checked: 1 reason that orders only refer to"]
    # What is no condition has no diagnosis code.
    other = bundle(refers("Observation/o1"))
    assert call(client, ORDERS, context={"draftOrders": other}) == []


def test_a_document_that_cannot_be_read_is_a_failure(client: TestClient) -> None:
    for attachment in (
        {},
        {"contentType": "text/plain"},
        {"contentType": "text/plain", "data": "no Base64!"},
        {"contentType": "text/plain", "data": ""},
        {"contentType": "text/plain", "data": base64.b64encode(b" \n").decode()},
        {"contentType": "application/pdf", "data": base64.b64encode(b"%PDF-1.7").decode()},
        {"contentType": "text/plain", "url": f"https://ehr.example.org/Binary/{CANARY}"},
    ):
        given = document()
        given["content"] = [{"attachment": attachment}]
        fails(client, 412, context={"document": given})
    cut = document()
    cut["content"][0]["attachment"]["size"] = len(TEXT) + 1
    assert "size" in fails(client, 412, context={"document": cut})
    fails(client, 412, context={"document": document(status="entered-in-error")})
    fails(client, 412, context={"document": {"resourceType": "DocumentReference"}})


def test_a_signed_document_that_was_replaced_is_checked_and_said_to_be(client: TestClient) -> None:
    given = {"document": document(COMPLETE, status="superseded"), "conditions": bundle(condition())}
    assert [card["summary"] for card in call(client, context=given)] == [
        "Checked: a note that another one has replaced"
    ]


def test_a_charset_is_heeded(client: TestClient) -> None:
    given = document()
    text = "Morbus Bechterew – Instabilität. M24.28 laxity"
    data = base64.b64encode(text.encode("cp1252")).decode()
    given["content"] = [{"attachment": {"contentType": "text/plain; charset=windows-1252", "data": data}}]
    assert call(client, context={"document": given, "conditions": bundle(condition())})


# ── calls that are none ──


def test_another_hook_and_another_service_are_refused(client: TestClient) -> None:
    fails(client, 400, hook="patient-view")
    is_problem(client.post("/cds-services/nothing", json=body(SIGN)), 404)
    is_problem(client.post("/cds-services/nothing/feedback", json={"feedback": []}), 404)


def test_what_is_no_call_is_refused_without_its_words(client: TestClient) -> None:
    path = f"/cds-services/{SIGN}"
    for content in (CANARY, "[]", "{}", json.dumps({"hook": {"text": CANARY}}), '{"hook": "\ud83d'):
        is_problem(client.post(path, content=content.encode("utf-8", "replace")), 400)
    fails(client, 400, hookInstance=CANARY)
    fails(client, 400, fhirAuthorization={"access_token": CANARY, "token_type": "Bearer"})
    fails(client, 400, context={"patientId": ""})
    fails(client, 400, context={"userId": None})
    fails(client, 400, context={"document": CANARY})
    fails(client, 400, context={"document": {"resourceType": "Patient"}})
    fails(client, 400, DISCHARGE, context={"encounterId": ""}, prefetch={"notes": None})
    many = bundle(*(condition(f"M24.{number}") for number in range(10, 70)))
    fails(client, 400, PROBLEMS, context={"conditions": many}, prefetch={"notes": None})


def test_no_failure_is_an_empty_list(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        assert call(client)
        for text in (f"crash {TEXT}", f"damaged {TEXT}"):
            fails(client, 500, context={"document": document(text)})
        fails(client, 413, context={"document": document(TEXT * 3_000)})
        fails(client, 412, context={"document": document(TEXT * 300)})
    assert CANARY not in caplog.text


# ── the published samples ──


def hook_of(name: str) -> str:
    return name.removeprefix("fragment__").rpartition("_")[0]


@pytest.mark.skipif(not SAMPLES, reason="the published samples are not here")
def test_the_published_requests_go_through(client: TestClient) -> None:
    ours = {service.hook: name for name, service in SERVICES.items()}
    answered = []
    for path in SAMPLES:
        sample = json.loads(path.read_text(encoding="utf-8"))
        if path.name.startswith("request__"):
            hook = sample["hook"]
        elif path.name.startswith("fragment__") and hook_of(path.name) in ours:
            hook = hook_of(path.name)
            sample = {"hook": hook, "hookInstance": str(uuid4()), **sample}
        else:
            continue
        answer = client.post(f"/cds-services/{ours.get(hook, hook)}", json=sample)
        if hook not in ours:
            is_problem(answer, 404)
            is_problem(client.post(f"/cds-services/{SIGN}", json=sample), 400)
        elif "medications" in sample["context"]:
            # Of a draft before 1.0: its orders were no Bundle.
            is_problem(answer, 400)
        else:
            assert answer.status_code == 200
            hold(answer.json(), RESPONSE)
            answered.append(hook)
    assert set(answered) == {"order-sign", "problem-list-item-create"}


@pytest.mark.skipif(not SAMPLES, reason="the published samples are not here")
def test_the_published_feedback_goes_through(client: TestClient) -> None:
    told = [path for path in SAMPLES if path.name.startswith("feedback__")]
    assert told
    for path in told:
        answer = client.post(f"/cds-services/{SIGN}/feedback", content=path.read_bytes())
        assert answer.status_code == 200


# ── feedback ──


AT = "2026-02-01T10:00:00Z"


def tell(client: TestClient, *feedback: dict[str, Any]) -> Any:
    return client.post(f"/cds-services/{SIGN}/feedback", json={"feedback": list(feedback)})


def test_feedback_is_counted_for_each_rule(analyzer: Analyzer) -> None:
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({HOST})))
    feedback = app.state.cds_feedback

    def counts() -> Mapping[str, Counts]:
        counted: Mapping[str, Counts] = feedback.counts(tenant="local")
        return counted

    client = TestClient(app, base_url=f"http://{HOST}")
    shown = call(client, context={"conditions": bundle(condition())})
    card, other = shown[0], shown[1]
    rule = next(rule for rule, counts in counts().items() if counts.shown)
    why = {"reason": {"code": "false-positive", "system": SYSTEM}, "userComment": CANARY}
    over = {"card": card["uuid"], "outcome": "overridden", "overrideReason": why, "outcomeTimestamp": AT}
    for _ in range(3):
        assert tell(client, over).json() == {}
    assert counts()[rule] == Counts(1, 0, 1, {"false-positive": 1})
    taken = {
        "card": card["uuid"],
        "outcome": "accepted",
        "acceptedSuggestions": [{"id": str(uuid4())}],
        "outcomeTimestamp": "2026-02-01T12:00:00+01:00",
    }
    assert tell(client, taken).status_code == 200
    assert counts()[rule] == Counts(1, 1, 0)
    assert tell(client, over).status_code == 200, "what was told before comes late"
    assert counts()[rule] == Counts(1, 1, 0)
    foreign = {"reason": {"code": CANARY, "system": "https://elsewhere.example"}}
    assert tell(client, {**over, "card": other["uuid"], "overrideReason": foreign}).status_code == 200
    assert tell(client, {**over, "card": str(uuid4())}).status_code == 200
    assert counts()[UNKNOWN].overridden == 1
    with app.state.backend.store.database.read() as connection:
        assert CANARY not in str(connection.exec_driver_sql("SELECT * FROM cds_cards").all())
    assert CANARY not in str(app.state.backend.store.counts(tenant="local"))


def test_feedback_that_is_none_is_refused_whole(client: TestClient) -> None:
    over = {"card": str(uuid4()), "outcome": "overridden", "outcomeTimestamp": AT}
    for wrong in (
        {**over, "outcome": "ignored"},
        {**over, "outcome": "accepted"},
        {**over, "overrideReason": {}},
        {**over, "card": CANARY},
        {**over, "outcomeTimestamp": "2026-02-01T10:00:00"},
        {**over, "outcomeTimestamp": CANARY},
        {**over, "outcomeTimestamp": "0001-01-01T00:00:00+14:00"},
        {**over, "outcomeTimestamp": "9999-12-31T23:59:59-14:00"},
    ):
        is_problem(tell(client, over, wrong), 400)


def test_each_client_tells_of_its_own_cards_only(database_url: str) -> None:
    store = Store(Database(database_url))
    kept = FeedbackStore(store)
    card = str(uuid4())
    kept.issue([])
    kept.issue([Issued(tenant="a", client="x", service="s", card=card, rules=("r", "q"))])
    for tenant, client in (("b", "x"), ("a", "y")):
        told = Feedback(
            tenant=tenant, client=client, service="s", card=card, outcome="accepted", at=datetime.now(UTC), reason="why"
        )
        kept.put(told)
    assert kept.counts(tenant="a") == {"r": Counts(1), "q": Counts(1), UNKNOWN: Counts(1, 1, 0, {"why": 1})}
    assert kept.counts(tenant="b") == {UNKNOWN: Counts(1, 1, 0, {"why": 1})}
    assert "comment" not in repr(replace(told, comment=CANARY))
    store.close()


def test_who_calls_has_a_tenant_that_nobody_else_has() -> None:
    names = {
        Caller(issuer=issuer, tenant=tenant).principal.tenant
        for issuer, tenant in [("i", ""), ("i", "t"), ("j", "t"), ("i" * 99, "t"), ("i" * 99, "u"), ("i" * 200, "t")]
    }
    assert len(names) == 6
    assert all(name.startswith("cds ") and len(name) <= 100 for name in names)


# ── from a browser ──


def test_only_configured_origins_may_call_from_a_browser(analyzer: Analyzer) -> None:
    origin = "https://ehr.example.org"
    cds = CdsConfig(origins=frozenset({origin}))
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({HOST}), cds=cds))
    client = TestClient(app, base_url=f"http://{HOST}")
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    path = f"/cds-services/{SIGN}"
    allowed = client.options(path, headers={"Origin": origin, **asks})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == origin
    answer = client.post(path, json=body(SIGN), headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    for other in ("https://evil.example", "null"):
        assert client.options(path, headers={"Origin": other, **asks}).status_code == 403
        is_problem(client.post(path, json=body(SIGN), headers={"Origin": other}), 403)
        assert "access-control-allow-origin" not in client.get("/cds-services", headers={"Origin": other}).headers
    # Nothing else is shared.
    assert client.options("/page/report", headers={"Origin": origin, **asks}).status_code == 403
    is_problem(client.post("/page/report", json={"text": TEXT}, headers={"Origin": origin}), 403)
    assert "access-control-allow-origin" not in client.get("/", headers={"Origin": origin}).headers


def test_a_web_application_may_read_that_it_asks_too_often(analyzer: Analyzer) -> None:
    origin = "https://ehr.example.org"
    config = ServiceConfig(hosts=frozenset({HOST}), cds=CdsConfig(origins=frozenset({origin})), rate=0.1)
    client = TestClient(create_app(analyzer, config), base_url=f"http://{HOST}")
    assert client.get("/cds-services", headers={"Origin": origin}).status_code == 200
    later = client.post(f"/cds-services/{SIGN}", json=body(SIGN), headers={"Origin": origin})
    is_problem(later, 429)
    assert later.headers["access-control-allow-origin"] == origin
    assert later.headers["access-control-expose-headers"] == "Retry-After"
    # Whether it may ask is answered all the same.
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    assert client.options(f"/cds-services/{SIGN}", headers=asks).status_code == 200


# ── who calls ──


BASE = "https://notegap.example.org"
NAME = "notegap.example.org"
ISSUER = "https://ehr.example.org"
EC_KEY = ec.generate_private_key(ec.SECP384R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
OTHER_KEY = ec.generate_private_key(ec.SECP384R1())


def jwk(key: Any, kid: str) -> dict[str, Any]:
    algorithm = ECAlgorithm if isinstance(key, ec.EllipticCurvePrivateKey) else RSAAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}


KEYS = {
    "keys": [
        jwk(EC_KEY, "ec"),
        jwk(RSA_KEY, "rsa"),
        jwk(SMALL_KEY, "small"),
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
        {"kty": "EC", "kid": "broken"},
        "nonsense",
    ]
}


class Keys(BaseHTTPRequestHandler):
    """A server of keys, at /keys; elsewhere it redirects there."""

    asked: list[str] = []  # noqa: RUF012 - a test's own

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200 if self.path == "/keys" else 302)
        self.send_header("Location", "/keys")
        self.end_headers()
        if self.path == "/keys":
            self.wfile.write(json.dumps(KEYS).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def key_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def signed(analyzer: Analyzer, key_server: str) -> Iterator[TestClient]:
    """A client of a service that is reached from outside."""
    cds = CdsConfig(
        base_url=BASE,
        clients=(
            CdsClient(issuer=ISSUER, jwks=KEYS),
            CdsClient(issuer=f"{ISSUER}/jku", jku=f"{key_server}/keys"),
            CdsClient(issuer=f"{ISSUER}/moved", jku=f"{key_server}/moved"),
            CdsClient(issuer=f"{ISSUER}/gone", jku=f"{key_server}/gone"),
        ),
    )
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({NAME}), cds=cds))
    with TestClient(app, base_url=BASE) as made:
        yield made


def claims(path: str = "/cds-services", **changed: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"iss": ISSUER, "aud": BASE + path, "iat": now, "exp": now + 300, "jti": str(uuid4()), **changed}
    return {name: value for name, value in made.items() if value is not None}


def token(key: Any = EC_KEY, algorithm: str = "ES384", kid: Any = "ec", headers: Any = None, **changed: Any) -> str:
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers={"kid": kid, **(headers or {})})


def ask(client: TestClient, token_: str, path: str = "/cds-services") -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {token_}"})


def refused(client: TestClient, token_: str) -> str:
    answer = ask(client, token_)
    assert answer.headers["www-authenticate"] == "Bearer"
    return is_problem(answer, 401)


def test_a_signed_call_is_answered(signed: TestClient) -> None:
    assert ask(signed, token()).status_code == 200
    for algorithm in ("RS256", "RS384", "PS512"):
        assert ask(signed, token(RSA_KEY, algorithm, "rsa")).status_code == 200
    path = f"/cds-services/{SIGN}"
    auth = {"Authorization": f"Bearer {token(path=path)}"}
    answer = signed.post(path, json=body(SIGN, context={"conditions": bundle(condition())}), headers=auth)
    hold(answer.json(), RESPONSE)
    card = answer.json()["cards"][0]
    assert card["source"]["url"] == f"{BASE}/"
    auth = {"Authorization": f"Bearer {token(path=path + '/feedback')}"}
    told = {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": AT}
    assert signed.post(f"{path}/feedback", json={"feedback": [told]}, headers=auth).status_code == 200


def test_nothing_is_answered_without_a_token(signed: TestClient) -> None:
    path = f"/cds-services/{SIGN}"
    for answer in (
        signed.get("/cds-services"),
        signed.post(path, json=body(SIGN)),
        signed.post(f"{path}/feedback", json={"feedback": []}),
        signed.get("/cds-services", headers={"Authorization": f"Basic {token()}"}),
        signed.get("/cds-services", headers={"Authorization": "Bearer "}),
        signed.get("/cds-services", headers={"Authorization": f"Bearer {CANARY}"}),
        signed.get("/cds-services", headers={"Authorization": f"Bearer {'x' * 20_000}"}),
    ):
        is_problem(answer, 401)


def test_unsigned_and_shared_secrets_are_refused(signed: TestClient) -> None:
    def raw(header: dict[str, Any], key: bytes | None) -> str:
        def encoded(data: bytes) -> bytes:
            return base64.urlsafe_b64encode(data).rstrip(b"=")

        signing = encoded(json.dumps(header).encode()) + b"." + encoded(json.dumps(claims()).encode())
        signature = hmac.new(key, signing, hashlib.sha256).digest() if key else b""
        return (signing + b"." + encoded(signature)).decode()

    for algorithm in ("none", "None", "NONE", ""):
        refused(signed, raw({"alg": algorithm, "kid": "ec", "typ": "JWT"}, None))
    # The public key as the secret: what it signs must not count.
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    for kid in ("rsa", "ec", "oct"):
        assert "algorithm" in refused(signed, raw({"alg": "HS256", "kid": kid}, pem)) or kid == "oct"
        refused(signed, raw({"alg": "HS256", "kid": kid}, b"secret"))
    refused(signed, raw({"alg": "HS256"}, pem))


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": f"{BASE}/cds-services/{SIGN}"},
        {"aud": "https://elsewhere.example/cds-services"},
        {"aud": f"{BASE}/cds-services/"},
        {"aud": None},
        {"iss": None},
        {"iss": "https://evil.example"},
        {"iss": ["a"]},
        {"exp": None},
        {"exp": 1_000_000_000},
        {"iat": None},
        {"iat": 4_000_000_000, "exp": 4_000_000_300},
        {"exp": 4_000_000_000},
        {"jti": None},
        {"jti": ""},
        {"nbf": 4_000_000_000},
    ],
    ids=str,
)
def test_claims_that_do_not_hold_are_refused(signed: TestClient, changed: dict[str, Any]) -> None:
    if changed.get("iss") == ["a"]:
        made = jwt.api_jws.encode(json.dumps(claims(**changed)).encode(), EC_KEY, "ES384", headers={"kid": "ec"})
    else:
        made = token(**changed)
    refused(signed, made)


def test_a_token_is_good_for_one_call(signed: TestClient) -> None:
    made = token()
    assert ask(signed, made).status_code == 200
    assert "before" in refused(signed, made)
    # One that was refused was not used up: a stranger must not spend an issuer's ids.
    name = str(uuid4())
    refused(signed, token(OTHER_KEY, jti=name))
    assert ask(signed, token(jti=name)).status_code == 200


def test_keys_that_are_not_the_issuers_are_refused(signed: TestClient, key_server: str) -> None:
    refused(signed, token(OTHER_KEY))
    refused(signed, token(OTHER_KEY, headers={"jwk": jwk(OTHER_KEY, "ec")}))
    refused(signed, token(kid="other"))
    refused(signed, token(kid="broken"))
    refused(signed, token(RSA_KEY, "RS256", "ec"))
    refused(signed, token(headers={"typ": "at+jwt"}))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        small = token(SMALL_KEY, "RS256", "small")
    assert "shorter" in refused(signed, small)
    Keys.asked.clear()
    refused(signed, token(headers={"jku": f"{key_server}/keys"}))
    assert Keys.asked == [], "keys are fetched from nowhere a token names"


def test_keys_are_fetched_from_where_the_issuers_are(signed: TestClient, key_server: str) -> None:
    there = {"iss": f"{ISSUER}/jku"}
    Keys.asked.clear()
    assert ask(signed, token(headers={"jku": f"{key_server}/keys"}, **there)).status_code == 200
    assert ask(signed, token(**there)).status_code == 200
    refused(signed, token(headers={"jku": f"{key_server}/other"}, **there))
    refused(signed, token(kid="unknown", **there))
    assert Keys.asked == ["/keys"]
    # Not followed to where they have moved.
    refused(signed, token(iss=f"{ISSUER}/moved"))
    assert Keys.asked == ["/keys", "/moved"]


def test_a_key_without_the_scope_is_known_and_refused(analyzer: Analyzer, tmp_path: Path) -> None:
    with with_keys(analyzer, f"sqlite:///{tmp_path / 'n.sqlite3'}") as (client, keys):
        for role, status in (("scribe", 403), ("integration", 200)):
            ask = as_(client, keys.add("c", role=role, tenant="a")[1])
            assert ask("GET", "/cds-services").status_code == status
            assert ask("POST", f"/cds-services/{SIGN}", body(SIGN)).status_code == status
        is_problem(as_(client, "ngk_x_y")("GET", "/cds-services"), 401)


def test_a_service_reached_from_outside_is_closed_until_it_has_clients(analyzer: Analyzer) -> None:
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({NAME, HOST})))
    for base in (BASE, f"http://{HOST}"):
        answer = TestClient(app, base_url=base).get("/cds-services")
        is_problem(answer, 401)


def test_a_service_known_by_a_name_of_its_own_is_closed_too(analyzer: Analyzer) -> None:
    # Behind a proxy that says it is this machine.
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({HOST}), cds=CdsConfig(base_url=BASE)))
    is_problem(TestClient(app, base_url=f"http://{HOST}").get("/cds-services"), 401)


def test_a_server_of_keys_that_is_gone_is_not_asked_at_every_call(signed: TestClient) -> None:
    Keys.asked.clear()
    for _ in range(3):
        refused(signed, token(iss=f"{ISSUER}/gone"))
    assert len(Keys.asked) <= 1


def test_a_token_is_used_once_whichever_process_sees_it(database_url: str) -> None:
    now = [0.0]
    databases = [Database(database_url) for _ in range(2)]
    seen, other = (Seen(database, lambda: now[0]) for database in databases)
    assert seen.first("a", "1", 10)
    assert not other.first("a", "1", 10)
    assert other.first("b", "1", 10)
    now[0] = 11
    assert other.first("a", "1", 30)
    assert not seen.first("a", "1", 30)
    for database in databases:
        database.close()


# ── fetching ──


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://ehr.example.org/fhir/Binary/1", True),
        ("https://EHR.example.org:443/fhir/Binary/1?x=1", True),
        ("https://ehr.example.org/fhir", True),
        ("https://ehr.example.org/fhirs/Binary/1", False),
        ("https://ehr.example.org/Binary/1", False),
        ("http://ehr.example.org/fhir/Binary/1", False),
        ("https://ehr.example.org:8443/fhir/Binary/1", False),
        ("https://ehr.example.org.evil.example/fhir/Binary/1", False),
        ("https://ehr.example.org@evil.example/fhir/Binary/1", False),
        ("https://me@ehr.example.org/fhir/Binary/1", False),
        ("https://ehr.example.org/fhir/../admin", False),
        ("https://ehr.example.org/fhir/%2e%2e/admin", False),
        ("https://ehr.example.org/fhir/..%2fadmin", False),
        ("https://ehr.example.org/fhir/..\\admin", False),
        ("https://ehr.example.org:x/fhir/Binary/1", False),
        ("file:///fhir/passwd", False),
        ("Binary/1", False),
        ("https://[::1", False),
    ],
)
def test_only_configured_servers_are_fetched_from(url: str, allowed: bool) -> None:
    assert Fetcher(["https://ehr.example.org/fhir/"], max_bytes=10).allows(url) is allowed


def test_a_server_without_tls_is_this_machine_or_none() -> None:
    Fetcher(["http://127.0.0.1:8080", "http://localhost/fhir"], max_bytes=10)
    for server in ("http://ehr.example.org", "ftp://ehr.example.org", "ehr.example.org"):
        with pytest.raises(UsageError, match="https://"):
            Fetcher([server], max_bytes=10)


def test_what_cannot_be_fetched_says_no_address(key_server: str) -> None:
    fetcher = Fetcher([key_server, "http://127.0.0.1:9"], max_bytes=10)
    for url, said in (
        (f"{key_server}/keys", "longer"),
        (f"{key_server}/{CANARY}", "302"),
        (f"http://127.0.0.1:9/{CANARY}", "reached"),
        (f"https://evil.example/{CANARY}", "not configured"),
    ):
        with pytest.raises(FetchError, match=said) as raised:
            fetcher.get(url, accept="*/*")
        assert CANARY not in str(raised.value)


def test_a_day_that_is_none_is_left_out(client: TestClient) -> None:
    for day in ("2026-02-30", "yesterday", 7, None):
        assert call(client, context={"document": document(date=day), "conditions": bundle(condition())})


def test_every_override_reason_has_words() -> None:
    assert all(code and display for code, display in OVERRIDE_REASONS.items())
