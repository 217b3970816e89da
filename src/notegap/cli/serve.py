"""`serve`: the service."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import click

from notegap.cli import base
from notegap.cli.base import COMPLETE, loading, patterns_option
from notegap.report.sink import print_out
from notegap.service.commands import config_option, need_packages


@click.command()
@click.option("--host", metavar="ADDRESS", help="Where it listens; beyond this machine only when it is protected.")
@click.option("--port", type=click.IntRange(0, 65535), help="8765 unless configured; 0 takes any free one.")
@click.option("--tls-certificate", type=click.Path(path_type=Path), metavar="FILE", help="Certificate chain for HTTPS.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="The certificate's private key.")
@config_option
@click.option("--browser/--no-browser", default=True, show_default=True, help="Open the page in a browser.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that read side by side; 1 unless configured.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    help="Requests a second that one client may ask of each process; 0 is any number, 200 unless configured.",
)
@patterns_option
@click.option("--max-bytes", type=click.IntRange(min=1), help="The longest note that is read; 1 MB unless configured.")
def serve(
    host: str | None,
    port: int | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    config_file: Path | None,
    browser: bool,
    workers: int | None,
    rate: float | None,
    patterns: tuple[Path, ...],
    max_bytes: int | None,
) -> int:
    """Serve the page, the HTTP interface (its documentation is at /docs), CDS Hooks, FHIR and HL7 v2.

    It answers to this machine only and keeps nothing but counts, unless notegap.toml says otherwise.
    """
    need_packages("serve")
    with loading():
        from notegap.config import load
        from notegap.service.serve import serve as run_server
        from notegap.service.serve import serve_by_processes

    options = {
        "patterns": patterns,
        "server.host": host,
        "server.port": port,
        "server.tls_certificate": tls_certificate,
        "server.tls_key": tls_key,
        "server.workers": workers,
        "server.max_bytes": max_bytes,
        "limits.rate": rate,
    }
    config = load(config_file, options=options).config

    def ready(address: str) -> None:
        print_out(f"notegap is at {address}  (Ctrl+C stops it)\n")
        if config.mllp.port is not None:
            print_out(f"HL7 v2 messages come in at {config.mllp.host}, port {config.mllp.port} (MLLP)\n")
        if browser and sys.stdout.isatty():
            import webbrowser

            webbrowser.open(address)

    if config.server.workers == 1:
        run_server(base.build_analyzer(config.patterns), config, ready=ready)
    else:
        # A mistake in a folder of knowledge is told once, before any process starts.
        base.build_analyzer(config.patterns)
        serve_by_processes(partial(base.build_analyzer, config.patterns), config, ready=ready)
    return COMPLETE


COMMANDS = (serve,)
