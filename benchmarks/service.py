"""`POST /v1/check` over loopback at a steady rate, on notes of about 500 words, and how soon the service is ready.

    python benchmarks/service.py [--rate 10] [--seconds 30] [--rounds 2] [--workers 1] [--cds] [--notes FILE]

The notes are made up (benchmarks/notes.py), nearly every sentence a finding: five times the facts of a real note. With
`--notes` those of 440 to 640 words of a JSON Lines file with `text` are sent in turn.

With `--cds` CDS Hooks calls (a document is signed) instead, 20 a second unless told otherwise, without the peer.
Requests leave at their time whether or not the one before is answered, and are measured from that time: a service that
falls behind is not spared. Beside notegap, in turns, stock medspaCy behind the same FastAPI and uvicorn, with one
literal rule for each of notegap's terms; it answers with entities and whether they are negated, and no checklist.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import itertools
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from notes import note

HOST = "127.0.0.1"
_NOTEGAP = [sys.executable, "-m", "notegap", "serve", "--no-browser", "--port"]
_CODING = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "M24.28"}
_PEER = [sys.executable, __file__, "--peer"]


def main() -> None:
    """Measure both in turns, so that a busy machine is unfair to none, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, help="requests a second (default 10, of CDS Hooks 20)")
    parser.add_argument("--cds", action="store_true", help="call CDS Hooks")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service (default 1)")
    parser.add_argument("--seconds", type=float, default=30, help="how long a round is (default 30)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, each with a new process (default 2)")
    parser.add_argument("--notes", type=Path, help="JSON Lines with the text of notes, in the place of made-up ones")
    parser.add_argument("--peer", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer is not None:
        _serve_peer(options.peer)
        return
    rate = options.rate or (20.0 if options.cds else 10.0)
    number = int(rate * options.seconds)
    texts = _of_file(options.notes, number) if options.notes else [note(each) for each in range(number)]
    words = statistics.mean(len(text.split()) for text in texts)
    print(f"{options.rounds} rounds of {number} notes of {words:.0f} words, {rate:g} requests a second\n")
    print(f"{'':<24}{'ready':>9}{'p50':>9}{'p99':>9}{'longest':>9}{'CPU':>9}   for each request")
    ours = [*_NOTEGAP[:-1], "--workers", str(options.workers), "--rate", "0", "--port"]
    runs = [("notegap CDS Hooks", ours)] if options.cds else [("notegap /v1/check", ours), ("stock medspaCy", _PEER)]
    asked = [_call(text) if options.cds else _check(text) for text in texts]
    for _ in range(options.rounds):
        for name, command in runs:
            with _running(command) as (process, port, ready):
                if options.workers > 1:
                    # It is ready when one of them is; the others are still being built.
                    time.sleep(10)
                before = _cpu_seconds(process)
                took = sorted(_paced(port, asked, rate))
                cpu = 1000 * (_cpu_seconds(process) - before) / number
            p50, p99 = statistics.median(took), took[int(len(took) * 0.99)]
            print(f"{name:<24}{ready:>7.2f} s{p50:>6.0f} ms{p99:>6.0f} ms{took[-1]:>6.0f} ms{cpu:>6.0f} ms", flush=True)


def _of_file(path: Path, number: int) -> list[str]:
    """`number` notes of `path`, those of about 500 words in turn."""
    every = [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    fitting = [text for text in every if 440 <= len(text.split()) <= 640]
    if not fitting:
        raise SystemExit(f"{path}: no note has 440 to 640 words")
    print(f"{len(fitting)} notes of {path.name}")
    return list(itertools.islice(itertools.cycle(fitting), number))


@contextmanager
def _running(command: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """A service: its process, its port, and the seconds until it was ready."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as state,
        subprocess.Popen(
            [*command, str(port)], stdout=subprocess.DEVNULL, env={**os.environ, "XDG_STATE_HOME": state}
        ) as process,
    ):
        try:
            while not _is_ready(port):
                if process.poll() is not None:
                    raise SystemExit("the service ended before it was ready")
                time.sleep(0.02)
            yield process.pid, port, time.perf_counter() - start
        finally:
            os.kill(process.pid, signal.SIGTERM)


def _cpu_seconds(process: int) -> float:
    """What a process and its children have used of the processor; what others do beside it is not in it."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()
    ticks = 0
    for each in (process, *children):
        fields = Path(f"/proc/{each}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _check(text: str) -> tuple[str, str]:
    return "/v1/check", json.dumps({"text": text, "codes": ["M24.28"]})


def _call(text: str) -> tuple[str, str]:
    data = base64.b64encode(text.encode()).decode()
    document = {
        "resourceType": "DocumentReference",
        "id": "d",
        "status": "current",
        "content": [{"attachment": {"contentType": "text/plain", "data": data}}],
    }
    context = {
        "userId": "Practitioner/1",
        "patientId": "1",
        "document": document,
        "conditions": {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"resource": {"resourceType": "Condition", "code": {"coding": [_CODING]}}}],
        },
    }
    call = {
        "hook": "org.notegap.documentreference-sign",
        "hookInstance": "00000000-0000-4000-8000-000000000000",
        "context": context,
    }
    return "/cds-services/notegap-document-sign", json.dumps(call)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _paced(port: int, asked: Sequence[tuple[str, str]], rate: float) -> list[float]:
    """Milliseconds from the time each request was due until it was answered."""
    took: list[float] = []
    start = time.perf_counter() + 1

    def ask(path: str, body: str, due: float) -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        try:
            answer = connection.getresponse()
            answer.read()
        except TimeoutError:
            took.append(math.inf)
            return
        finally:
            connection.close()
        if answer.status == 200:
            took.append((time.perf_counter() - due) * 1000)

    threads = []
    for number, (path, body) in enumerate(asked):
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        threads.append(threading.Thread(target=ask, args=(path, body, due)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    if len(took) != len(asked):
        raise SystemExit("a request was refused")
    return took


def _serve_peer(port: int) -> None:
    import uvicorn
    from fastapi import FastAPI
    from speed import _phrases, _stock_medspacy

    read = _stock_medspacy(list(_phrases()))
    read(note(1))
    app = FastAPI()
    lock = threading.Lock()

    @app.get("/readyz")
    def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/v1/check")
    def check(asked: dict[str, object]) -> list[dict[str, object]]:
        with lock:
            doc = read(str(asked["text"]))
        return [
            {"start": entity.start_char, "end": entity.end_char, "label": entity.label_, "negated": entity._.is_negated}
            for entity in doc.ents  # type: ignore[attr-defined]
        ]

    uvicorn.run(app, host=HOST, port=port, log_level="critical", access_log=False)


if __name__ == "__main__":
    main()
