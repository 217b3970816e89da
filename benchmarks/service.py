"""`POST /v1/check` over loopback at a steady rate, on notes of about 500 words, and how soon the service is ready.

    python benchmarks/service.py [--rate 10] [--seconds 30] [--rounds 2]

Requests leave at their time whether or not the one before is answered, and are measured from that time: a service that
falls behind is not spared. Beside notegap, in turns, stock medspaCy behind the same FastAPI and uvicorn, with one
literal rule for each of notegap's terms; it answers with entities and whether they are negated, and no checklist.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from notes import note

HOST = "127.0.0.1"
_NOTEGAP = [sys.executable, "-m", "notegap", "serve", "--no-browser", "--port"]
_PEER = [sys.executable, __file__, "--peer"]


def main() -> None:
    """Measure both in turns, so that a busy machine is unfair to none, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=10, help="requests a second (default 10)")
    parser.add_argument("--seconds", type=float, default=30, help="how long a round is (default 30)")
    parser.add_argument("--rounds", type=int, default=2, help="rounds, each with a new process (default 2)")
    parser.add_argument("--peer", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer is not None:
        _serve_peer(options.peer)
        return
    number = int(options.rate * options.seconds)
    texts = [note(each) for each in range(number)]
    words = statistics.mean(len(text.split()) for text in texts)
    print(f"{options.rounds} rounds of {number} notes of {words:.0f} words, {options.rate:g} requests a second\n")
    print(f"{'':<24}{'ready':>9}{'p50':>9}{'p99':>9}{'longest':>9}{'CPU':>9}   for each request")
    for _ in range(options.rounds):
        for name, command in (("notegap /v1/check", _NOTEGAP), ("stock medspaCy", _PEER)):
            with _running(command) as (process, port, ready):
                before = _cpu_seconds(process)
                took = sorted(_paced(port, texts, options.rate))
                cpu = 1000 * (_cpu_seconds(process) - before) / number
            p50, p99 = statistics.median(took), took[int(len(took) * 0.99)]
            print(f"{name:<24}{ready:>7.2f} s{p50:>6.0f} ms{p99:>6.0f} ms{took[-1]:>6.0f} ms{cpu:>6.0f} ms", flush=True)


@contextmanager
def _running(command: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """A service: its process, its port, and the seconds until it was ready."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    start = time.perf_counter()
    with subprocess.Popen([*command, str(port)], stdout=subprocess.DEVNULL) as process:
        try:
            while not _is_ready(port):
                if process.poll() is not None:
                    raise SystemExit("the service ended before it was ready")
                time.sleep(0.02)
            yield process.pid, port, time.perf_counter() - start
        finally:
            os.kill(process.pid, signal.SIGTERM)


def _cpu_seconds(process: int) -> float:
    """What a process has used of the processor; what others do beside it is not in it."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _paced(port: int, texts: Sequence[str], rate: float) -> list[float]:
    """Milliseconds from the time each request was due until it was answered."""
    took: list[float] = []
    start = time.perf_counter() + 1

    def ask(text: str, due: float) -> None:
        connection = http.client.HTTPConnection(HOST, port, timeout=60)
        body = json.dumps({"text": text, "codes": ["M24.28"]})
        connection.request("POST", "/v1/check", body, {"Content-Type": "application/json"})
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
    for number, text in enumerate(texts):
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        threads.append(threading.Thread(target=ask, args=(text, due)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    if len(took) != len(texts):
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
