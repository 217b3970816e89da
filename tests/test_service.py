"""The service over HTTP: who is answered, with what headers, and that no failure ever looks like a report."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from notegap import cli
from notegap.analyzer import Analyzer
from notegap.errors import DataError, UsageError
from notegap.model import Note, Report
from notegap.query import FORMATS as QUERY_FORMATS
from notegap.query import compose_sheet
from notegap.service import commands, serve
from notegap.service.app import ServiceConfig, create_app
from notegap.service.guard import HEADERS
from notegap.service.page.router import PRINTED

CANARY = "Quetzalcoatlus"
HOST = "127.0.0.1:8765"
TEXT = f"{CANARY} has chronic ligamentous laxity of the lumbar spine. No stenosis."


class Breakable:
    """The analyzer, which breaks on the word "crash" with an error that quotes the note, and on "damaged" with ours."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.codes = analyzer.codes
        self.knowledge = analyzer.knowledge
        self._analyzer = analyzer

    def analyze(self, note: Note) -> Report:
        """As `Analyzer.analyze`, unless it breaks."""
        if "crash" in note.text:
            raise IndexError(note.text)
        if "damaged" in note.text:
            raise DataError("a file is damaged")
        return self._analyzer.analyze(note)


@pytest.fixture(scope="module")
def client(analyzer: Analyzer) -> Iterator[TestClient]:
    """A client of the application, as a browser on the page would ask."""
    app = create_app(Breakable(analyzer), ServiceConfig(hosts=frozenset({HOST}), max_bytes=5_000))  # type: ignore[arg-type]
    with TestClient(app, base_url=f"http://{HOST}", headers={"Origin": f"http://{HOST}"}) as made:
        yield made


def ask(client: TestClient, text: str = TEXT, path: str = "/page/report", **asked: Any) -> Any:
    return client.post(path, json={"text": text, **asked})


def is_problem(answer: Any, status: int) -> str:
    """The answer is a failure that nobody can take for a report; what it says."""
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert set(said) == {"type", "title", "status", "detail"}
    assert said["status"] == status
    assert CANARY not in answer.text
    assert "omplete" not in answer.text
    return str(said["detail"])


# ── what is answered ──


def test_the_page_and_what_it_loads(client: TestClient) -> None:
    page = client.get("/")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    named = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert named
    for path in named:
        assert path.startswith("/assets/")
        assert client.get(path).status_code == 200
    assert "<style" not in page.text
    assert re.findall(r"<script(?! type=\"module\" src)", page.text) == []
    assert re.findall(r"\son\w+=|\sstyle=", page.text) == []


def test_every_module_that_a_module_imports_is_served(client: TestClient) -> None:
    waiting, seen = ["page.js"], set()
    while waiting:
        name = waiting.pop()
        answer = client.get(f"/assets/{name}")
        assert answer.headers["content-type"].startswith("text/javascript")
        seen.add(name)
        waiting += [found for found in re.findall(r'from "\./([^"]+)"', answer.text) if found not in seen]
    assert seen == {"page.js", "report.js", "note.js", "codes.js", "morph.js"}


def test_a_report(client: TestClient) -> None:
    answer = ask(client, codes=["m2428"])
    assert answer.status_code == 200
    said = answer.json()
    assert set(said) == {"html", "looks", "marks", "places", "summary"}
    assert said["summary"].startswith("M24.28: Incomplete: ")
    read = {TEXT[start:end]: said["looks"][look][0] for start, end, look in said["marks"]}
    assert read["lumbar"] == "c-region a-affirmed"
    assert read["stenosis"] == "c-finding a-negated"


def test_a_report_of_two_codes_beside_each_other(client: TestClient) -> None:
    said = ask(client, codes=["M24.28", "M53.2X6"], comparing=True).json()
    assert "M24.28 beside M53.2X6" in said["html"]


def test_a_code_nobody_covers_is_not_complete(client: TestClient) -> None:
    said = ask(client, codes=["M54.50"]).json()
    assert "Not checked, no checklist covers this code" in said["summary"]


def test_a_note_that_points_nowhere_is_not_complete(client: TestClient) -> None:
    said = ask(client, "Seen for a cold.").json()
    assert said["summary"] == "No code to check."
    assert "Nothing was checked" in said["html"]


@pytest.mark.parametrize("form", PRINTED)
def test_what_can_be_copied_and_saved(client: TestClient, form: str) -> None:
    answer = ask(client, path=f"/page/report/{form}", codes=["M24.28"], name="visit.txt")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(PRINTED[form][0])
    assert answer.headers["content-disposition"] == "attachment"
    # A query names no code: it must not lead.
    assert ("M24.28" in answer.text) == (form != "queries")
    if form == "json":
        assert answer.json()["id"] == "visit.txt"


def test_the_gaps_are_only_what_is_open(client: TestClient) -> None:
    text = "Dx: Ligamentous laxity, lumbar. Physical therapy for 6 weeks."
    lines = ask(client, text, "/page/report/gaps", codes=["M24.28"]).text.splitlines()
    assert lines[0] == "M24.28 Disorder of ligament, vertebrae"
    asked, _, about = lines[1].partition(" (")
    assert asked == "- Which ligament or ligaments are affected?"
    assert about == "vague; belongs in: assessment; the note says 'Ligamentous laxity')"
    assert all(line.startswith("- ") for line in lines[1:])


def test_the_queries_are_those_of_the_command(client: TestClient, analyzer: Analyzer) -> None:
    answer = ask(client, path="/page/report/queries", codes=["M24.28"])
    report = analyzer.analyze(Note(id="note", text=TEXT, codes=("M24.28",)))
    assert answer.text == QUERY_FORMATS["text"](compose_sheet(report, analyzer.knowledge))
    assert answer.text.startswith("Query 1 of ")


def test_codes_by_a_part_of_their_name(client: TestClient) -> None:
    found = client.post("/page/codes", json={"text": "m24.2"}).json()["codes"]
    assert found[0] == {
        "code": "M24.28",
        "title": "Disorder of ligament, vertebrae",
        "billable": True,
        "checklist": True,
    }
    assert client.post("/page/codes", json={"text": "instabilities lumbar"}).json()["codes"][0]["code"] == "M53.2X6"
    every = client.post("/page/codes", json={"text": ""}).json()
    assert all(code["checklist"] for code in every["codes"])


def test_a_file(client: TestClient) -> None:
    answer = client.post("/page/read", content=b"\xef\xbb\xbfLaxity \xf0\x9f\x98\x80")
    assert answer.json() == {"text": "Laxity \U0001f600"}
    assert "PDF" in is_problem(client.post("/page/read", content=b"%PDF-1.4 " + CANARY.encode()), 422)
    assert "not UTF-8" in is_problem(client.post("/page/read", content=CANARY.encode() + b"\x81"), 422)
    assert client.post("/page/read", content=b"the patient\x92s spine").json() == {"text": "the patient\u2019s spine"}


# ── who is answered ──


@pytest.mark.parametrize("host", ["evil.example:8765", "127.0.0.1", "127.0.0.1:80", "localhost:8765.evil.example", ""])
@pytest.mark.parametrize("path", ["/", "/assets/page.js"])
def test_another_host_is_not_served(client: TestClient, host: str, path: str) -> None:
    is_problem(client.get(path, headers={"Host": host}), 421)
    is_problem(client.post("/page/report", json={"text": TEXT}, headers={"Host": host}), 421)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8765", "http://127.0.0.1:9", ""])
def test_another_site_may_not_ask(client: TestClient, origin: str) -> None:
    is_problem(client.post("/page/report", json={"text": TEXT}, headers={"Origin": origin}), 403)


@pytest.mark.parametrize(("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200)])
def test_a_browser_that_names_no_origin(analyzer: Analyzer, site: str, status: int) -> None:
    app = create_app(analyzer, ServiceConfig(hosts=frozenset({HOST})))
    with TestClient(app, base_url=f"http://{HOST}") as plain:
        assert ask(plain).status_code == 200
        answer = plain.post("/page/report", json={"text": TEXT}, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/assets/report.css", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/assets/..%2Frouter.py", 404),
        ("GET", "/page/report", 405),
        ("POST", "/page/report", 422),
        ("POST", "/page/report/exe", 422),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/redoc", 404),
    ],
)
def test_every_answer_has_the_headers(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert {name: answer.headers[name] for name in HEADERS} == dict(HEADERS)
    assert "set-cookie" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


def test_the_policy_is_strict() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    for rule in ("default-src 'none'", "script-src 'self'", "form-action 'none'", "frame-ancestors 'none'"):
        assert rule in policy


# ── what is refused, and what breaks ──


def test_what_is_too_long(client: TestClient) -> None:
    assert "5,000 bytes" in is_problem(ask(client, "word " * 1_001), 422)
    assert "5,000 bytes" in is_problem(ask(client, "é" * 2_501), 422)
    assert "limit" in is_problem(ask(client, CANARY * 20_000), 413)


def test_a_body_of_no_told_length(client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        yield b'{"text": "'
        for _ in range(200):
            yield CANARY.encode() * 50
        yield b'"}'

    assert "limit" in is_problem(client.post("/page/report", content=pieces()), 413)


@pytest.mark.parametrize(
    "sent",
    [
        CANARY.encode(),
        b'{"text": "' + CANARY.encode(),
        json.dumps({"text": [CANARY]}).encode(),
        json.dumps({"text": TEXT, CANARY: 1}).encode(),
        json.dumps({"text": TEXT, "codes": [CANARY * 3]}).encode(),
        json.dumps({"text": TEXT, "codes": ["M24.28"] * 13}).encode(),
        json.dumps({"text": TEXT, "setting": CANARY}).encode(),
        json.dumps({"text": TEXT, "date_of_service": CANARY}).encode(),
        json.dumps({"text": f"{CANARY} \ud800"}).encode(),
        json.dumps({"text": " \n\u200b"}).encode(),
        b"",
        b"[]",
        b"\xff",
    ],
)
def test_what_is_no_request(client: TestClient, sent: bytes) -> None:
    answer = client.post("/page/report", content=sent, headers={"Content-Type": "application/json"})
    is_problem(answer, 400 if sent == b"\xff" else 422)


def test_a_code_that_is_none(client: TestClient) -> None:
    assert is_problem(ask(client, codes=["back pain"]), 422)


@pytest.mark.parametrize("path", ["/page/report", *(f"/page/report/{form}" for form in PRINTED)])
def test_what_breaks_is_never_a_report(
    client: TestClient, path: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    assert is_problem(ask(client, f"crash {CANARY}", path), 500) == "notegap broke; nothing was checked."
    told = [record.getMessage() for record in caplog.records if record.name == "notegap.service"]
    assert [line.rpartition(":")[0] for line in told] == ["notegap broke: IndexError at notegap/service/app.py"]
    captured = capfd.readouterr()
    assert CANARY not in caplog.text + captured.out + captured.err


def test_damaged_files_are_no_fault_of_the_note(client: TestClient) -> None:
    assert is_problem(ask(client, "damaged"), 500) == "notegap's own files are damaged; nothing was checked."


# ── the command ──


def test_it_listens_to_this_machine_only() -> None:
    with serve._listen(0) as listening:
        address, port = listening.getsockname()
        assert address == "127.0.0.1"
        with pytest.raises(UsageError, match=f"port {port}: cannot be listened on"):
            serve._listen(port)


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "find_spec", lambda name: None if name == "uvicorn" else object())
    assert cli.main(["serve"]) == cli.BROKEN
    assert capsys.readouterr().err == (
        "notegap: `notegap serve` needs uvicorn, which is not installed: pip install 'notegap[serve]'\n"
    )


def test_the_command_serves_until_it_is_stopped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "notegap", "serve", "--port", str(port), "--no-browser"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background has it ignored, and so would the command.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[3]
        assert address == f"http://127.0.0.1:{port}/"
        sent = urllib.request.Request(
            f"{address}page/report",
            data=json.dumps({"text": TEXT, "codes": ["M24.28"]}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(sent, timeout=60) as answer:
            assert json.load(answer)["summary"].startswith("M24.28: Incomplete")
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (cli.INTERRUPTED, "", "\nnotegap: stopped\n")
