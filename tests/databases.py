"""Databases for tests: an SQLite file, and a PostgreSQL server that is started for the run where one is installed.

NOTEGAP_TEST_POSTGRES names a server that runs already, by the URL of a database in which databases may be created.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

KINDS = ("sqlite", "postgresql")


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a server; skips the test where there is none."""
    if given := os.environ.get("NOTEGAP_TEST_POSTGRES"):
        yield given
        return
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL: neither NOTEGAP_TEST_POSTGRES nor initdb and pg_ctl are there")
    user = _user()
    if user is None and os.geteuid() == 0:
        pytest.skip("no PostgreSQL: it does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    if user is not None:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), "-D", str(folder / "data"), *arguments]
        # To a file: the server would keep a pipe open.
        with (folder.parent / f"{folder.name}.log").open("w") as log:
            subprocess.run(command, user=user, cwd=folder, stdout=log, stderr=log, check=True, timeout=120)

    settings = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c max_connections=50"
    try:
        run("initdb", "-U", "notegap", "-A", "trust", "-E", "UTF8", "--locale=C")
        run("pg_ctl", "-w", "-o", settings, "start")
        try:
            yield f"postgresql://notegap@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (folder.parent / f"{folder.name}.log").unlink(missing_ok=True)


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of an empty database on a server."""
    url = make_url(server).set(drivername="postgresql+psycopg")
    name = f"test_{uuid.uuid4().hex}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield url.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()


def _programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


def _user() -> str | None:
    """Whom the server runs as when we are root; None to run it as ourselves."""
    import pwd

    if os.geteuid() != 0:
        return None
    return next((entry.pw_name for entry in pwd.getpwall() if entry.pw_name == "postgres"), None)
