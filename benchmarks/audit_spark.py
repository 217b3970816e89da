"""The rate of an audit on Spark with two workers beside that of the local engine with two, in turns in the same run.

    python benchmarks/audit_spark.py [--notes 400] [--rounds 3]

The notes are those of notes.py, in a file of Parquet. Both are warm: each worker has built its pipeline and read some
notes. A round of Spark is a whole job, from the file to the flat table in Parquet; a round of the local engine goes
from the same file to a file of reports, ledger included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from audit import audited as audited_here
from notes import note

from notegap import Analyzer
from notegap.audit.batch import rules_of
from notegap.audit.spark.frames import Patterns, audited, flat, read_parquet
from notegap.audit.spark.session import session
from notegap.audit.spark.worker import Work
from notegap.audit.work import Pool
from notegap.notes.text import NoteOptions

CODES = ("M24.28",)
AIM = 0.8


def main() -> None:
    """Measure in turns, so that a busy machine is unfair to none, and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=400, help="notes in a round (default 400)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, few = folder / "notes.parquet", folder / "few.parquet"
        write(source, 0, options.notes)
        write(few, options.notes, 32)
        with session("local[2]", folder) as spark, Pool(Analyzer, 2, 60) as pool:
            spark.conf.set("spark.sql.files.minPartitionNum", "16")
            spark.conf.set("spark.sql.files.openCostInBytes", "16384")
            rules = rules_of(Patterns()().knowledge)
            engines: dict[str, Callable[[Path], object]] = {
                "local engine, 2 workers": lambda path: local(path, folder, pool),
                "Spark, local[2]": lambda path: on_spark(spark, path, folder, rules),
            }
            for run in engines.values():
                run(few)
                run(few)
            rates: dict[str, list[float]] = {name: [] for name in engines}
            for _ in range(options.rounds):
                for name, run in engines.items():
                    start = time.perf_counter()
                    run(source)
                    rates[name].append(options.notes / (time.perf_counter() - start))
    print(
        f"{options.rounds} rounds of {options.notes} notes; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
    )
    print(f"{'':<28}{'min':>8}{'median':>8}{'max':>8}   notes/s")
    for name, rate in rates.items():
        print(f"{name:<28}{min(rate):>8.1f}{statistics.median(rate):>8.1f}{max(rate):>8.1f}")
    here, there = rates.values()
    shares = [spark_rate / local_rate for local_rate, spark_rate in zip(here, there, strict=True)]
    print(f"\nSpark is {statistics.median(shares):.2f} times the local engine (median of rounds; aim: {AIM})")


def write(path: Path, first: int, count: int) -> None:
    """A file of notes, so many to a group of rows that each worker has several."""
    numbers = range(first, first + count)
    table = pa.table({"id": [str(number) for number in numbers], "text": [note(number) for number in numbers]})
    pq.write_table(table, path, row_group_size=max(count // 32, 4))


def local(path: Path, folder: Path, pool: Pool) -> None:
    """One audit by the local engine."""
    out = folder / "local.jsonl"
    for old in folder.glob("local.jsonl*"):
        old.unlink()
    for _ in audited_here(path, out, pool, CODES):
        pass


def on_spark(spark: Any, path: Path, folder: Path, rules: str) -> None:
    """One audit by Spark."""
    options = NoteOptions(codes=CODES)
    notes, _ = read_parquet(spark, path, options)
    told = audited(notes, Work(build=Patterns(), rules=rules, options=options, timeout=60))
    flat(told).write.mode("overwrite").parquet(str(folder / "spark.parquet"))


if __name__ == "__main__":
    main()
