"""How far an audit is, on a terminal's standard error: how many notes, how fast, how long still. Elsewhere nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """What is told of the work as it goes on."""

    def took(self, size: int) -> None:
        """So many bytes more of the input were read."""

    def count(self, read: int, failed: int) -> None:
        """So many notes are done by now, so many of them failed."""


class _Quiet:
    def took(self, size: int) -> None:
        pass

    def count(self, read: int, failed: int) -> None:
        pass


@contextmanager
def progress(size: Callable[[], int | None], limit: int | None) -> Iterator[Progress]:
    """Show progress while inside. `size` tells the input's bytes, None when nobody knows; `limit` the most notes."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield _Quiet()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    with Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        yield _Shown(bar.update, bar.add_task("reading", total=limit or size()), by_notes=limit is not None)


class _Shown:
    def __init__(self, update: Callable[..., None], task: object, *, by_notes: bool) -> None:
        self._update = update
        self._task = task
        self._by_notes = by_notes
        self._taken = 0
        self._began = time.monotonic()

    def took(self, size: int) -> None:
        self._taken += size

    def count(self, read: int, failed: int) -> None:
        rate = read / max(time.monotonic() - self._began, 0.001)
        told = f"{read:,} notes, {rate:,.0f} a second" + (f", {failed:,} failed" if failed else "")
        self._update(self._task, completed=read if self._by_notes else self._taken, description=told)
