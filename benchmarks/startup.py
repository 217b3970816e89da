"""How long whole commands take from a cold start: a new process each time, as a person at a terminal has it.

    python benchmarks/startup.py [--runs 10]

The first run of each, which fills the file cache and compiles what was just installed, is not counted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from notes import note

COMMANDS: dict[str, list[str]] = {
    "codes": ["codes"],
    "explain": ["explain", "M24.28/ligament"],
    "check": ["check", "-", "--code", "M24.28"],
}
BROKEN = 2


def main() -> None:
    """Run every command and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10, help="runs of each command (default 10)")
    runs = parser.parse_args().runs
    text = note(0)
    print(f"{runs} runs each; the note of check has {len(text.split())} words\n")
    print(f"{'command':<10}{'min':>8}{'median':>8}{'max':>8}   seconds")
    for name, arguments in COMMANDS.items():
        seconds = [once(arguments, text) for _ in range(runs + 1)][1:]
        print(f"{name:<10}{min(seconds):>8.2f}{statistics.median(seconds):>8.2f}{max(seconds):>8.2f}", flush=True)


def once(arguments: Sequence[str], text: str) -> float:
    """The seconds one process takes from start to end."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "notegap", *arguments], input=text, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode >= BROKEN:
        sys.exit(f"notegap {' '.join(arguments)} broke: {done.stderr}")
    return seconds


if __name__ == "__main__":
    main()
