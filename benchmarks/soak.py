"""Many requests to the service, over every interface that reads notes: its memory should stay where it was.

    python benchmarks/soak.py [--requests 20000] [--workers 1]

Resident memory is read from /proc after every twentieth of the requests. Notes differ from each other, so that nothing
can be remembered; they are short, so that it takes minutes and not hours. Prints a line for each reading, then how much
the memory grew a request over the second half.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from notes import note

HOST = "127.0.0.1"
_READINGS = 20
_WORDS = 60


def main() -> None:
    """Run the soak and print the readings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="requests in all (default 20000)")
    parser.add_argument("--workers", type=int, default=1, help="processes of the service (default 1)")
    options = parser.parse_args()
    step = max(1, options.requests // _READINGS)
    readings: list[tuple[int, float]] = []
    with _running(options.workers) as (process, port):
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        print(f"{'requests':>9}{'memory':>11}{'a second':>10}")
        start = time.perf_counter()
        for number in range(1, options.requests + 1):
            _ask(connection, number)
            if number % step == 0:
                readings.append((number, _megabytes(process)))
                rate = step / (time.perf_counter() - start)
                print(f"{number:>9,}{readings[-1][1]:>8.1f} MB{rate:>10.0f}", flush=True)
                start = time.perf_counter()
    middle, last = readings[len(readings) // 2], readings[-1]
    grown = (last[1] - middle[1]) * 1_000_000 / max(1, last[0] - middle[0])
    print(f"\nsecond half: {last[1] - middle[1]:+.1f} MB, {grown:+.0f} bytes a request")


def _ask(connection: http.client.HTTPConnection, number: int) -> None:
    path, body = _request(number)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise SystemExit(f"request {number}, {path}: {answer.status} {said[:200]!r}")


def _request(number: int) -> tuple[str, object]:
    """One of the interfaces in turn, with a note of its own."""
    words = note(number).split()
    first = random.Random(number).randrange(max(1, len(words) - _WORDS))
    text = f"Visit {number}. {' '.join(words[first : first + _WORDS])}"
    document = {
        "resourceType": "DocumentReference",
        "id": f"d{number}",
        "status": "current",
        "content": [{"attachment": {"contentType": "text/plain", "data": base64.b64encode(text.encode()).decode()}}],
    }
    call = {
        "hook": "org.notegap.documentreference-sign",
        "hookInstance": f"00000000-0000-4000-8000-{number:012}",
        "context": {"userId": "Practitioner/1", "patientId": "1", "document": document},
    }
    every: list[tuple[str, object]] = [
        ("/v1/check", {"id": f"n{number}", "text": text, "codes": ["M24.28"]}),
        ("/v1/check", {"id": f"n{number}", "text": text}),
        ("/v1/extract", {"text": text}),
        ("/v1/query", {"text": text, "codes": ["M24.28"]}),
        ("/cds-services/notegap-document-sign", call),
        ("/fhir/DocumentReference/$check", document),
    ]
    return every[number % len(every)]


@contextmanager
def _running(workers: int) -> Iterator[tuple[int, int]]:
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "notegap", "serve", "--no-browser", "--rate", "0", "--port", str(port)]
    with (
        tempfile.TemporaryDirectory() as state,
        subprocess.Popen(
            [*command, "--workers", str(workers)],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "XDG_STATE_HOME": state},
        ) as process,
    ):
        try:
            while not _is_ready(port):
                if process.poll() is not None:
                    raise SystemExit("the service ended before it was ready")
                time.sleep(0.1)
            yield process.pid, port
        finally:
            process.send_signal(signal.SIGTERM)


def _is_ready(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False


def _megabytes(process: int) -> float:
    """Resident memory of a process and its children."""
    family = [process, *(int(child) for child in _children(process))]
    kilobytes = 0
    for each in family:
        status = Path(f"/proc/{each}/status").read_text(encoding="ascii")
        kilobytes += int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))
    return kilobytes / 1000


def _children(process: int) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()


if __name__ == "__main__":
    main()
