"""The files an audit writes: the suffix says the format, and a file appears under its name only once it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast

from notegap.audit.rows import AuditedNote
from notegap.errors import NotegapError, UsageError
from notegap.notes.text import printable


class Writer(Protocol):
    """Takes the notes of an audit in order, one at a time, and keeps no more of them in memory than it must."""

    def add(self, note: AuditedNote) -> None:
        """Write one note."""

    def close(self) -> None:
        """Write what comes last; the file is whole then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """What was asked of every output alike. `snippets`: a format that can do without the note's words may carry some.

    `baseline` is the table of an earlier audit to compare with; a provider with fewer notes than `small_number` is not
    shown alone.
    """

    with_text: bool = False
    snippets: bool = False
    baseline: Path | None = None
    small_number: int = 10


Factory = Callable[[Path, WriterOptions], Writer]

WRITERS: Mapping[str, str] = MappingProxyType(
    {
        ".jsonl": "notegap.audit.reports:open_jsonl",
        ".ndjson": "notegap.audit.reports:open_jsonl",
        ".json": "notegap.audit.reports:open_json",
        ".sarif": "notegap.audit.reports:open_sarif",
        ".parquet": "notegap.audit.out.parquet:open_file",
        ".csv": "notegap.audit.out.csv:open_file",
        ".xlsx": "notegap.audit.out.xlsx:open_file",
        ".duckdb": "notegap.audit.out.duckdb:open_file",
        ".html": "notegap.audit.out.html:open_file",
    }
)
"""Suffix → the module and the function in it that makes a `Writer`; it is imported when it is first needed.

The path such a function is given is not the one asked for but one beside it, and what is there is its to overwrite.
"""

KEPT = frozenset({".jsonl", ".ndjson", ".json", ".sarif"})
"""The suffixes of files whose beginning is of use when the audit is stopped."""


@contextmanager
def open_writer(
    out: Path, options: WriterOptions, *, format_: str = "", left_over: Callable[[str], None]
) -> Iterator[Writer]:
    """What writes `out`, which is replaced only by a whole file.

    The format is `format_`, a suffix without its dot, else what the file's own suffix says.

    When the audit is stopped, the beginning of a file that can be read without its end is kept beside it and
    `left_over` is told where. Raises `NotegapError` when writing fails or a package is missing.
    """
    name = printable(str(out))
    suffix = f".{format_}" if format_ else out.suffix.lower()
    factory = _factory(out, suffix)
    # A device or a pipe cannot be replaced by a file, only written to.
    replaced = not out.exists() or out.is_file()
    target = out.resolve()
    partial = target.with_name(f"{target.name}.partial") if replaced else target
    whole = False
    try:
        with _telling(name):
            writer = factory(partial, options)
        yield _Told(writer, name)
        with _telling(name):
            writer.close()
        whole = True
    finally:
        if not whole and replaced:
            _leave(partial, left_over, keep=suffix in KEPT)
    if replaced:
        with _telling(name):
            partial.replace(target)


@dataclass(frozen=True, slots=True)
class _Told:
    """A writer whose failures name the file."""

    writer: Writer
    name: str

    def add(self, note: AuditedNote) -> None:
        with _telling(self.name):
            self.writer.add(note)

    def close(self) -> None:
        """Closed by `open_writer`."""


@contextmanager
def _telling(name: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        problem = f"{name}: cannot be written ({(error.strerror or type(error).__name__).lower()})"
    else:
        return
    raise NotegapError(problem)


def _leave(partial: Path, left_over: Callable[[str], None], *, keep: bool) -> None:
    if not keep:
        partial.unlink(missing_ok=True)
    elif partial.exists():
        left_over(f"what was written until then is in {printable(str(partial))}")


def _factory(out: Path, suffix: str) -> Factory:
    name = printable(str(out))
    if suffix not in WRITERS:
        raise UsageError(f"--out {name}: give a name that ends in one of {', '.join(WRITERS)}")
    module, _, function = WRITERS[suffix].partition(":")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("notegap"):
            raise
        missing = error.name
    else:
        return cast(Factory, getattr(found, function))
    raise NotegapError(f"{name}: writing {suffix} needs the package {missing}: pip install 'notegap[audit]'")
