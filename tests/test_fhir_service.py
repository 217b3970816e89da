"""FHIR over HTTP: what `$check` gives back, held to R4B's models, and that every failure is an OperationOutcome."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import threading
import tomllib
from collections.abc import Iterator
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B import get_fhir_model_class
from starlette.testclient import TestClient

from notegap.analyzer import Analyzer
from notegap.model import Note
from notegap.notes.files import read_data
from notegap.notes.text import NoteOptions
from notegap.service.app import ServiceConfig, create_app
from notegap.service.cds_hooks import CdsConfig
from notegap.service.fhir import FINDINGS, PART, RANGE
from test_service import CANARY, HOST, TEXT, Breakable

ROOT = Path(__file__).resolve().parents[1]
NOTES = sorted(path for path in (ROOT / "sample_notes").glob("*.txt") if not path.name.endswith(".report.txt"))
ABOUT = tomllib.loads((ROOT / "sample_notes" / "samples.toml").read_text(encoding="utf-8"))
CCDAS = sorted((ROOT.parent / "shared" / "interface" / "ccda").rglob("*.xml"))
CHECK = "/fhir/DocumentReference/$check"
FHIR_JSON = "application/fhir+json"
COMPLETE = (ROOT / "sample_notes" / "interspinous_laxity_soap.txt").read_text(encoding="utf-8")


class Documents(BaseHTTPRequestHandler):
    """A FHIR server with a note in several forms."""

    asked: list[tuple[str, str | None]] = []  # noqa: RUF012 - a test's own

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization")))
        name = self.path.rpartition("/")[2]
        kinds = {"plain": "text/plain; charset=utf-8", "binary": FHIR_JSON, "other": FHIR_JSON, "long": "text/plain"}
        self.send_response(200 if name in kinds else 302 if name == "moved" else 404)
        self.send_header("Location", "/fhir/Binary/plain")
        self.send_header("Content-Type", kinds.get(name, "text/plain"))
        self.end_headers()
        binary = {"resourceType": "Binary", "contentType": "text/plain", "data": encoded(TEXT)}
        contents = {
            "plain": TEXT,
            "binary": json.dumps(binary),
            "other": json.dumps({"resourceType": "Patient", "id": CANARY}),
            "long": TEXT * 2_000,
        }
        self.wfile.write(contents.get(name, TEXT).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Documents)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}/fhir"
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture(scope="module")
def client(analyzer: Analyzer, server: str) -> Iterator[TestClient]:
    config = ServiceConfig(hosts=frozenset({HOST}), max_bytes=20_000, servers=(server,))
    app = create_app(Breakable(analyzer), config)  # type: ignore[arg-type]
    with TestClient(app, base_url=f"http://{HOST}") as made:
        yield made


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def document(text: str = TEXT, **attachment: Any) -> dict[str, Any]:
    given = attachment or {"contentType": "text/plain; charset=utf-8", "data": encoded(text)}
    return {
        "resourceType": "DocumentReference",
        "id": "d1",
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "date": "2026-02-01T08:00:00Z",
        "content": [{"attachment": given}],
    }


def parameters(text: str = TEXT, *, codes: tuple[str, ...] = ("M24.28",), **values: Any) -> dict[str, Any]:
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "document", "resource": document(text)},
            *({"name": "code", "valueCode": code} for code in codes),
            *(
                {"name": name, "valueBoolean" if isinstance(value, bool) else "valueCode": value}
                for name, value in values.items()
            ),
        ],
    }


def post(client: TestClient, resource: Any, **headers: str) -> Any:
    return client.post(CHECK, content=json.dumps(resource), headers={"Content-Type": FHIR_JSON, **headers})


def valid(answer: Any) -> dict[str, Any]:
    """The resource of an answer, which R4B's model of it takes."""
    assert answer.headers["content-type"] == FHIR_JSON
    resource: dict[str, Any] = answer.json()
    get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    return resource


def check(client: TestClient, resource: Any) -> dict[str, list[dict[str, Any]]]:
    """The resources of the Bundle that is answered, by type."""
    answer = post(client, resource)
    assert answer.status_code == 200, answer.text
    bundle = valid(answer)
    assert bundle["resourceType"] == "Bundle"
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in bundle["entry"]:
        assert entry["fullUrl"].startswith("urn:uuid:")
        get_fhir_model_class(entry["resource"]["resourceType"]).model_validate(entry["resource"])
        found.setdefault(entry["resource"]["resourceType"], []).append(entry["resource"])
    assert len(found["Provenance"]) == 1
    assert len(found["OperationOutcome"]) == 1
    return found


def is_outcome(answer: Any, status: int) -> str:
    """The answer is a failure; what it says."""
    assert answer.status_code == status
    resource = valid(answer)
    assert set(resource) == {"resourceType", "issue"}
    assert resource["resourceType"] == "OperationOutcome"
    assert resource["issue"][0]["severity"] == "error"
    assert CANARY not in answer.text
    assert "omplete" not in answer.text
    return str(resource["issue"][0]["diagnostics"])


# ── what is found ──


@pytest.mark.parametrize("path", NOTES, ids=lambda path: path.stem)
def test_every_sample_note_gives_what_the_report_says(path: Path, client: TestClient, analyzer: Analyzer) -> None:
    text, code = path.read_text(encoding="utf-8"), ABOUT[path.stem]["code"]
    found = check(client, parameters(text, codes=(code,), query=True))
    report = analyzer.analyze(Note(id="d1", text=text, codes=(code,), date_of_service="2026-02-01"))
    open_ = [finding for finding in report.checks[0].findings if finding.is_open]
    issues = found.get("DetectedIssue", [])
    assert [issue["code"]["coding"][0] for issue in issues] == [{"system": FINDINGS, "code": f.id} for f in open_]
    for issue, finding in zip(issues, open_, strict=True):
        quotes = [
            (evidence["code"][0]["text"], *(part["valueInteger"] for part in evidence["extension"][0]["extension"]))
            for evidence in issue.get("evidence", [])
        ]
        assert quotes == [(evidence.text, evidence.start, evidence.end) for evidence in finding.evidence]
        assert all(text[start:end] == quote for quote, start, end in quotes)
        assert all(evidence["extension"][0]["url"] == RANGE for evidence in issue.get("evidence", []))
        assert issue["patient"] == {"reference": "Patient/p1"}
        assert issue["implicated"][0]["reference"] == "DocumentReference/d1"
    assert len(found["Provenance"][0]["target"]) == max(len(issues), 1)


def test_the_provenance_is_of_every_issue(client: TestClient) -> None:
    bundle = post(client, parameters()).json()
    urls = [entry["fullUrl"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == "DetectedIssue"]
    provenance = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Provenance")
    assert urls
    assert [target["reference"] for target in provenance["target"]] == urls


def test_the_questionnaire_comes_when_it_is_asked_for(client: TestClient) -> None:
    assert "Questionnaire" not in check(client, parameters())
    assert "Questionnaire" not in check(client, parameters(query=False))
    asked = check(client, parameters(query=True))["Questionnaire"]
    assert asked[0]["item"]
    found = check(client, parameters(COMPLETE, query=True))
    assert "Questionnaire" not in found
    assert "nothing to ask" in found["OperationOutcome"][0]["issue"][1]["diagnostics"]


def test_finding_nothing_is_told_from_checking_nothing(client: TestClient) -> None:
    def said(resource: Any) -> tuple[str, str]:
        found = check(client, resource)
        assert "DetectedIssue" not in found
        issue = found["OperationOutcome"][0]["issue"][0]
        return issue["severity"], issue["diagnostics"].partition(",")[0]

    assert said(parameters(COMPLETE)) == ("information", "M24.28: complete")
    assert said(document("Follow-up of asthma."))[0] == "warning"
    assert said(parameters(codes=("I10",))) == (
        "warning",
        "I10: no checklist covers it; only what the code set says was checked.",
    )


def test_a_document_alone_is_checked_for_what_it_is_about(client: TestClient) -> None:
    assert {
        issue["code"]["coding"][0]["code"].partition("/")[0] for issue in check(client, document())["DetectedIssue"]
    } == {"M24.28"}
    nameless = document()
    del nameless["id"], nameless["subject"]
    issue = check(client, nameless)["DetectedIssue"][0]
    assert "patient" not in issue
    assert set(issue["implicated"][0]) == {"type", "identifier"}


def test_claim_and_setting_are_heeded(client: TestClient) -> None:
    def rules(resource: Any) -> set[str]:
        return {issue["code"]["coding"][0]["code"] for issue in check(client, resource).get("DetectedIssue", [])}

    text = "Assessment: probable degenerative laxity of the L4-5 interspinous ligament, seen on MRI."
    assert rules(parameters(text, setting="inpatient")) < rules(parameters(text, setting="outpatient"))
    assert "M49.82/sequencing" in rules(parameters(codes=("M49.82",), claim="M49.82"))
    assert "M49.82/sequencing" not in rules(parameters(codes=("M49.82",)))


def test_the_plainest_content_is_read(client: TestClient) -> None:
    several = document()
    pdf = {"attachment": {"contentType": "application/pdf", "data": base64.b64encode(b"%PDF-1.7").decode()}}
    several["content"] = [pdf, *several["content"]]
    assert check(client, several)["DetectedIssue"]


SENTENCE = "Chronic ligamentous laxity of the lumbar spine on MRI."
CCDA = f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><component><structuredBody><component><section>
<code code="51848-0" codeSystem="2.16.840.1.113883.6.1"/><title>Assessment</title>
<text><paragraph>{SENTENCE}</paragraph></text>
</section></component></structuredBody></component></ClinicalDocument>"""
FORMS = {
    "text/html": f"<html><body><h1>Assessment</h1><p>{SENTENCE}</p><script>x</script></body></html>",
    "application/xhtml+xml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>{SENTENCE}</p></body></html>',
    "application/rtf": "{\\rtf1\\ansi Assessment:\\par " + SENTENCE + "\\par}",
    "application/cda+xml": CCDA,
}


@pytest.mark.parametrize("media_type", FORMS)
def test_a_note_may_be_html_rtf_or_ccda(media_type: str, client: TestClient) -> None:
    given = document(contentType=f"{media_type}; charset=utf-8", data=encoded(FORMS[media_type]))
    issues = check(client, given)["DetectedIssue"]
    plain = check(client, document(f"Assessment:\n{SENTENCE}"))["DetectedIssue"]
    assert [issue["code"] for issue in issues] == [issue["code"] for issue in plain]
    quotes = {quote["code"][0]["text"] for issue in issues for quote in issue.get("evidence", [])}
    assert quotes
    assert all(quote in SENTENCE for quote in quotes)


def test_where_a_quote_stood_in_its_file_is_told(client: TestClient) -> None:
    """As `parts` of a report tells it, for each part that holds the quote."""
    marked = CCDA.replace("<paragraph>", '<paragraph ID="a1">')
    given = document(contentType="application/cda+xml", data=encoded(marked), title="Visit")
    (note,) = read_data(json.dumps(given).encode(), "n", "n", NoteOptions())
    assert isinstance(note, Note)
    parts = [{name: value for name, value in asdict(part).items() if value != ""} for part in note.parts]
    assert [(part["kind"], part.get("title", part.get("id"))) for part in parts] == [
        ("attachment", "Visit"),
        ("section", "Assessment"),
        ("element", "a1"),
    ]
    evidence = [each for issue in check(client, given)["DetectedIssue"] for each in issue.get("evidence", [])]
    assert evidence
    for each in evidence:
        place, *held_by = each["extension"]
        assert (place["url"], {part["url"] for part in held_by}) == (RANGE, {PART})
        told = [
            {said["url"]: said.get("valueString", said.get("valueInteger")) for said in part["extension"]}
            for part in held_by
        ]
        assert told == parts


@pytest.mark.skipif(not CCDAS, reason="the published documents are not here")
@pytest.mark.parametrize("path", CCDAS, ids=lambda path: path.stem[:60])
def test_every_published_ccda_is_checked_or_refused(path: Path, analyzer: Analyzer) -> None:
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({HOST})))
    data = base64.b64encode(path.read_bytes()).decode()
    answer = post(TestClient(app, base_url=f"http://{HOST}"), document(contentType="text/xml", data=data))
    assert answer.status_code in (200, 422)
    assert valid(answer)["resourceType"] == ("Bundle" if answer.status_code == 200 else "OperationOutcome")


PUBLISHED = sorted((ROOT.parent / "shared" / "interface" / "fhir").rglob("*DocumentReference*"))


@pytest.mark.skipif(not PUBLISHED, reason="the published documents are not here")
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_published_fhir_documents_go_through(path: Path, analyzer: Analyzer) -> None:
    client = TestClient(create_app(analyzer, ServiceConfig(hosts=frozenset({HOST}))), base_url=f"http://{HOST}")
    found: list[Any] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict) and value.get("resourceType") == "DocumentReference":
            found.append(value)
        else:
            for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
                walk(each)

    text = path.read_text(encoding="utf-8")
    for part in text.splitlines() if path.suffix == ".ndjson" else [text]:
        walk(json.loads(part))
    assert found
    for given in found[:: len(found) // 20 + 1]:
        said = check(client, given)["OperationOutcome"][0]["issue"]
        assert any("superseded" in issue["diagnostics"] for issue in said) == (given["status"] == "superseded")


# ── what is fetched ──


def test_a_note_is_fetched_from_a_configured_server(client: TestClient, server: str) -> None:
    for name in ("plain", "binary"):
        assert check(client, document(contentType="text/plain", url=f"{server}/Binary/{name}"))["DetectedIssue"]
    Documents.asked.clear()
    for url, said in (
        (f"{server}/Binary/moved", "302"),
        (f"{server}/Binary/none", "404"),
        (f"{server}/Binary/other", "something else"),
        (f"{server}/Binary/long", "longer"),
        (f"{server}s/Binary/plain", "not configured"),
        (f"{server}/../Binary/plain", "not configured"),
        (f"https://evil.example/{CANARY}", "not configured"),
        ("file:///etc/hostname", "not configured"),
        ("//evil.example/Binary/plain", "not configured"),
        ("../Binary/plain", "not configured"),
        ("/Binary/plain", "not configured"),
        ("#plain", "not configured"),
        ("", "neither"),
    ):
        assert said in is_outcome(post(client, document(contentType="text/plain", url=url)), 422)
    assert [path for path, _ in Documents.asked] == [
        f"/fhir/Binary/{name}" for name in ("moved", "none", "other", "long")
    ]
    assert {token for _, token in Documents.asked} == {None}


def test_a_relative_address_is_the_servers_where_there_is_one(
    client: TestClient, server: str, analyzer: Analyzer
) -> None:
    for url in ("Binary/plain", "./Binary/plain", "/fhir/Binary/plain"):
        assert check(client, document(contentType="text/plain", url=url))["DetectedIssue"]
    assert "404" in is_outcome(post(client, document(contentType="text/plain", url=f"Binary/{CANARY}")), 422)
    config = ServiceConfig(hosts=frozenset({HOST}), servers=(server, "https://ehr.example.org"))
    two = TestClient(create_app(analyzer, config), base_url=f"http://{HOST}")
    assert "not configured" in is_outcome(post(two, document(contentType="text/plain", url="Binary/plain")), 422)


def test_each_server_is_shown_its_own_token_and_no_other(analyzer: Analyzer, server: str) -> None:
    inner, other = f"{server}/inner", "http://127.0.0.1:9"
    tokens = {f"{server}/": "outer", inner: "inner", other: CANARY}
    config = ServiceConfig(hosts=frozenset({HOST}), servers=(f"{server}/", inner, other), tokens=tokens)
    client = TestClient(create_app(analyzer, config), base_url=f"http://{HOST}")
    Documents.asked.clear()
    for path in ("plain", "inner/plain", "innermost/plain"):
        check(client, document(contentType="text/plain", url=f"{server}/{path}"))
    is_outcome(post(client, document(contentType="text/plain", url=f"{server}/moved")), 422)
    shown = ["Bearer outer", "Bearer inner", "Bearer outer", "Bearer outer"]
    assert [token for _, token in Documents.asked] == shown, "and not to where it has moved"
    assert CANARY not in repr(config)


def test_a_cds_clients_address_is_its_servers_and_so_is_its_token(analyzer: Analyzer, server: str) -> None:
    cds = CdsConfig(servers=(server, f"{server}2"))
    config = ServiceConfig(hosts=frozenset({HOST}), cds=cds, servers=cds.servers, tokens={server: CANARY})
    client = TestClient(create_app(analyzer, config), base_url=f"http://{HOST}")

    def called(url: str, **fields: Any) -> int:
        body = {
            "hook": "org.notegap.documentreference-sign",
            "hookInstance": "00000000-0000-4000-8000-000000000000",
            "context": {
                "userId": "Practitioner/1",
                "patientId": "p1",
                "document": document(contentType="text/plain", url=url),
            },
            **fields,
        }
        return client.post("/cds-services/notegap-document-sign", json=body).status_code

    authorized = {"fhirAuthorization": {"access_token": "theirs", "token_type": "Bearer"}}
    Documents.asked.clear()
    assert called("Binary/plain", fhirServer=f"{server}/", **authorized) == 200
    assert called(f"{server}/Binary/plain", fhirServer=server, **authorized) == 200
    # Another server than the client's gets no token, and of a client without one none of ours.
    assert called(f"{server}2/Binary/plain", fhirServer=server, **authorized) == 200
    assert called("Binary/plain", fhirServer=server) == 200
    assert [token for _, token in Documents.asked] == ["Bearer theirs", "Bearer theirs", None, None]
    # Whose server it is decides nothing: only what is configured is asked.
    assert called("Binary/plain", fhirServer="https://evil.example", **authorized) == 412
    assert called("Binary/plain") == 412
    assert len(Documents.asked) == 4


def test_a_document_that_was_replaced_is_checked_and_said_to_be(client: TestClient) -> None:
    def said(resource: Any) -> list[str]:
        return [issue["diagnostics"] for issue in check(client, resource)["OperationOutcome"][0]["issue"]]

    assert not any("superseded" in each for each in said(document()))
    gone = {**document(), "status": "superseded"}
    assert said(gone)[:-1] == said(document())
    assert "superseded" in said(gone)[-1]
    assert check(client, gone)["DetectedIssue"]


def test_an_attachment_is_the_one_its_size_and_hash_are_of(client: TestClient, server: str) -> None:
    digest = base64.b64encode(hashlib.sha1(TEXT.encode()).digest()).decode()
    inside = {"contentType": "text/plain", "data": encoded(TEXT)}
    for content in (inside, {"contentType": "text/plain", "url": f"{server}/Binary/binary"}):
        assert check(client, document(**content, size=len(TEXT.encode()), hash=digest))["DetectedIssue"]
        assert "size" in is_outcome(post(client, document(**content, size=len(TEXT) + 1)), 422)
        assert "hash" in is_outcome(post(client, document(**content, hash=digest.swapcase())), 422)
    assert check(client, document(**inside, hash=base64.b64encode(b"0" * 32).decode()))["DetectedIssue"]


# ── what is refused ──


def test_what_is_no_document_is_refused(client: TestClient) -> None:
    refused: tuple[Any, ...] = (
        None,
        [],
        CANARY,
        {"resourceType": "Patient"},
        {"resourceType": "Parameters"},
        {"resourceType": "Parameters", "parameter": [{"name": CANARY, "valueCode": "x"}]},
        {"resourceType": "Parameters", "parameter": [{"name": "document", "valueCode": CANARY}]},
        {"resourceType": "Parameters", "parameter": [{"name": "document", "resource": document()}] * 2},
        parameters(codes=(CANARY,)),
        parameters(claim=CANARY),
        parameters(setting=CANARY),
        parameters(query="true"),
        parameters(codes=tuple(f"M24.{number}" for number in range(10, 70))),
    )
    for resource in refused:
        is_outcome(post(client, resource), 400)
    is_outcome(client.post(CHECK, content=CANARY, headers={"Content-Type": FHIR_JSON}), 400)
    is_outcome(client.post(CHECK, content="[" * 50_000, headers={"Content-Type": FHIR_JSON}), 400)


def test_what_cannot_be_read_is_refused(client: TestClient) -> None:
    for attachment in (
        {"contentType": "text/plain"},
        {"contentType": "text/plain", "data": CANARY + "!"},
        {"contentType": "text/plain", "data": encoded(" \n")},
        {"contentType": "application/pdf", "data": base64.b64encode(b"%PDF-1.7").decode()},
    ):
        is_outcome(post(client, document(**attachment)), 422)
    for wrong in ({"status": "entered-in-error"}, {"docStatus": "entered-in-error"}):
        is_outcome(post(client, {**document(), **wrong}), 422)
    is_outcome(post(client, {"resourceType": "Parameters", "parameter": [{"name": "document", "resource": {}}]}), 422)
    is_outcome(post(client, document(TEXT * 300)), 422)


def test_failures_of_the_service_are_outcomes_too(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        is_outcome(post(client, document(f"crash {TEXT}")), 500)
        is_outcome(post(client, document(f"damaged {TEXT}")), 500)
        is_outcome(post(client, document(TEXT * 3_000)), 413)
        is_outcome(client.get("/fhir/metadata", headers={"Host": "evil.example"}), 421)
        is_outcome(post(client, document(), Origin="https://evil.example"), 403)
    assert CANARY not in caplog.text


def test_asking_too_often_is_an_outcome(analyzer: Analyzer) -> None:
    client = TestClient(
        create_app(analyzer, ServiceConfig(hosts=frozenset({HOST}), rate=0.1)), base_url=f"http://{HOST}"
    )
    assert client.get("/fhir/metadata").status_code == 200
    later = client.get("/fhir/metadata")
    assert is_outcome(later, 429).endswith("ask again later.")
    assert later.headers["retry-after"] in ("8", "9", "10")  # some of it has passed
    assert later.json()["issue"][0]["code"] == "throttled"


def test_other_addresses_and_methods_are_outcomes(client: TestClient) -> None:
    is_outcome(client.get("/fhir"), 404)
    is_outcome(client.get(f"/fhir/Patient/{CANARY}"), 404)
    is_outcome(client.put("/fhir/DocumentReference/1", json={}), 404)
    is_outcome(client.get(CHECK), 404)


# ── forms ──


def test_only_fhirs_json_comes_in_and_goes_out(client: TestClient) -> None:
    for accept in (
        FHIR_JSON,
        "application/json",
        "*/*",
        f"text/html, {FHIR_JSON};q=0.5",
        f"{FHIR_JSON}; fhirVersion=4.0",
    ):
        assert post(client, document(), Accept=accept).status_code == 200
    is_outcome(post(client, document(), Accept="application/fhir+xml"), 406)
    is_outcome(client.get("/fhir/metadata", headers={"Accept": "text/html"}), 406)
    is_outcome(client.get("/fhir/metadata?_format=xml"), 406)
    for wanted in ("json", "application/fhir+json", "application/fhir%2Bjson"):
        assert client.get(f"/fhir/metadata?_format={wanted}", headers={"Accept": "text/html"}).status_code == 200
    for kind in ("text/plain", "application/fhir+xml"):
        is_outcome(client.post(CHECK, content=json.dumps(document()), headers={"Content-Type": kind}), 415)
    assert client.post(CHECK, json=document()).status_code == 200


def test_what_is_served_is_stated(client: TestClient) -> None:
    stated = valid(client.get("/fhir/metadata"))
    assert stated["resourceType"] == "CapabilityStatement"
    assert stated["fhirVersion"] == "4.0.1"
    operation = stated["rest"][0]["resource"][0]["operation"][0]
    definition = valid(client.get("/fhir/OperationDefinition/DocumentReference-check"))
    assert (operation["definition"], operation["name"]) == (definition["url"], definition["code"])
