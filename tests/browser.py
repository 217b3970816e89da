"""A real browser and a served page, for the tests, the screenshots and the benchmark."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from playwright.sync_api import Browser, sync_playwright

from notegap.analyzer import Analyzer
from notegap.service.app import ServiceConfig
from notegap.service.serve import ADDRESS, hosts, server_of

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The system's Chromium, None where there is none."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, asking nothing of the network by itself."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def served(analyzer: Analyzer) -> Iterator[tuple[str, uvicorn.Server]]:
    """The page's address and its server, as `notegap serve` runs it, in a thread."""
    with socket.create_server((ADDRESS, 0)) as listening:
        port = listening.getsockname()[1]
        server = server_of(analyzer, ServiceConfig(hosts=hosts(port)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://{ADDRESS}:{port}/", server
        finally:
            server.should_exit = True
            thread.join(10)
