"""A Spark of one's own for one audit: quiet, and what it leaves on this machine's disk is in one private folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from notegap.errors import NotegapError, UsageError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JAVA = 17
"""The lowest version of Java that Spark 4 runs on."""

_AT_ONCE = 64  # notes that go to a worker together
_OURS = re.compile(r"notegap\.errors\.\w+: (?P<said>[^\n]+)")
_VERSION = re.compile(r'version "(\d+)')


@contextmanager
def session(master: str, folder: Path) -> Iterator[SparkSession]:
    """A Spark at `master` that keeps what it needs in `folder`; one that this program already has is used as it is."""
    need_spark()
    from pyspark.sql import SparkSession

    active = SparkSession.getActiveSession()
    if active is not None:
        yield active
        return
    need_java()
    # The workers have to have what this program has, and may be told otherwise where they are elsewhere.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("notegap audit").master(master)
    for name, value in _settings(master, folder).items():
        builder = builder.config(name, value)
    log = folder / "spark.log"
    try:
        with _standard_error_to(log):
            started = builder.getOrCreate()
    except Exception as error:  # noqa: BLE001 - Py4J, the system and Spark each have errors of their own for it
        raise NotegapError(f"Spark did not start: {_last_line(log) or type(error).__name__}") from None
    try:
        started.sparkContext.setLogLevel("ERROR")
        yield started
    finally:
        started.stop()


def _settings(master: str, folder: Path) -> Mapping[str, str]:
    said = {
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": str(_AT_ONCE),
        # Times in Parquet are read as our own reader has them.
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.hadoop.fs.permissions.umask-mode": "077",
    }
    if not master.startswith("local"):
        return said
    return said | {
        "spark.ui.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(folder / "local"),
        # The texts of notes may be among what does not fit into memory.
        "spark.io.encryption.enabled": "true",
        # Java only passes on what Python works at: compiling it thoroughly takes longer than it saves.
        "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
        "spark.sql.shuffle.partitions": "16",
    }


def need_spark() -> None:
    """Raise `UsageError` when a package that Spark needs is not installed."""
    lacking = [name for name in ("pyspark", "pandas", "pyarrow") if find_spec(name) is None]
    if lacking:
        raise UsageError(
            f"--engine spark needs {' and '.join(lacking)}, which is not installed: pip install 'notegap[spark]'"
        )


def need_java() -> None:
    """Raise `UsageError` when there is no Java, or one that is too old."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")
    version = ""
    if java is not None:
        with suppress(OSError, subprocess.TimeoutExpired):
            command = [java, "-version"]
            version = subprocess.run(  # noqa: S603 - Java, as the environment names it
                command, capture_output=True, text=True, errors="replace", timeout=60, check=False
            ).stderr
    found = _VERSION.search(version)
    if found is not None and int(found[1]) >= JAVA:
        return
    where = " where JAVA_HOME says it is" if home else ""
    what = f"and finds Java {found[1]}" if found else f"and finds none{where}"
    raise UsageError(
        f"--engine spark needs Java {JAVA} or newer, {what}; on Debian: apt-get install openjdk-{JAVA}-jre-headless"
    )


@contextmanager
def telling() -> Iterator[None]:
    """Make of Spark's errors a `NotegapError` with none of their words but ours: they may quote what they read."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError) as error:
        said = _OURS.search(str(error))
        # Spark 3.5 calls it otherwise.
        condition = getattr(error, "getCondition", getattr(error, "getErrorClass", str))()
        problem = said["said"] if said else f"Spark gave up ({condition or type(error).__name__})"
    else:
        return
    raise NotegapError(problem)


@contextmanager
def _standard_error_to(path: Path) -> Iterator[None]:
    """What is started inside writes its standard error to a file: Java and the workers say much, and never to us."""
    before = os.dup(2)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(log, 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(log)


def _last_line(log: Path) -> str:
    """The last line that says why; no note was read by then."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    why = [line for line in lines if line and not line.startswith(("at ", "\tat", "WARNING"))]
    return why[-1] if why else ""
