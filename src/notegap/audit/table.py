"""The flat table on its way to a file: a bounded number of rows at a time, each column a list."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import notegap
from notegap.audit.rows import columns
from notegap.errors import NotegapError, UsageError
from notegap.notes.text import printable

if TYPE_CHECKING:
    import pyarrow as pa

CHANGE = "change"
"""The column that comes with a baseline: new, unchanged or gone for an item that is or was open, else ""."""

TABLE_VERSION = "1"
"""The version of the flat table. Columns may be added, none changes its meaning."""

ROWS_AT_ONCE = 65_536
"""Rows held in memory before they are written; one row group of the Parquet file."""
TEXT_AT_ONCE = 16_000_000
"""Characters of notes held with them, when text is asked for."""

Columns = Mapping[str, Sequence[Any]]
"""Some rows of the flat table: for each column its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Which columns the table has."""

    with_text: bool = False
    with_change: bool = False

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns and their types, as Arrow names them."""
        known = dict(columns(with_text=self.with_text))
        return {**known, CHANGE: "string"} if self.with_change else known


def need(*packages: str, what: str) -> None:
    """Raise `UsageError` when a package that `what` needs is not installed."""
    lacking = [name for name in packages if find_spec(name) is None]
    if lacking:
        raise UsageError(f"{what} needs {' and '.join(lacking)}, which is not installed: pip install 'notegap[audit]'")


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Make of a system that refuses a `NotegapError` that names the file, with no word of what was to be written."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: OSError) -> NotegapError:
    """What is said of a file that cannot be written."""
    # Libraries pass the system's error on in a message of their own, which names their place in the code.
    if error.errno in errno.errorcode:
        why = (error.strerror or type(error).__name__).lower()
        for known in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            if error.errno == known:
                why = {errno.ENOSPC: "no space left on device", errno.EFBIG: "file too large"}.get(known, "disk quota")
    else:
        why = type(error).__name__
    return NotegapError(f"{printable(str(path))}: cannot be written ({why})")


def arrow_schema(shape: Shape) -> pa.Schema:
    """The flat table's schema."""
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "list<string>": pa.list_(pa.field("element", pa.string())),
    }
    return pa.schema([pa.field(name, types[kind]) for name, kind in shape.columns.items()])


def arrow_batch(rows: Columns, schema: pa.Schema) -> pa.RecordBatch:
    """Some rows as Arrow has them. Half of a surrogate pair, which UTF-8 cannot say, becomes "?"."""
    import pyarrow as pa

    arrays = []
    for field in schema:
        try:
            arrays.append(pa.array(rows[field.name], type=field.type))
        except UnicodeEncodeError:
            arrays.append(pa.array([encodable(value) for value in rows[field.name]], type=field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def row_groups(path: Path) -> Iterator[Columns]:
    """The rows of a Parquet file, as many at a time as were written at a time."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        for number in range(table.num_row_groups):
            yield table.read_row_group(number).to_pydict()


def encodable(value: Any) -> Any:
    """A value with nothing in it that UTF-8 cannot say."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return [encodable(each) for each in value] if isinstance(value, list) else value


class ParquetSink:
    """Writes rows into a Parquet file, a row group at a time."""

    def __init__(self, path: Path, shape: Shape, *, asked: Path) -> None:
        """`asked` is the file that was asked for, which is told when there is no room."""
        import pyarrow.parquet as pq

        self._asked = asked
        self._schema = arrow_schema(shape)
        self._metadata = {"notegap": notegap.__version__, "notegap.table": TABLE_VERSION}
        with writing_to(asked):
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Columns) -> None:
        """Write some rows."""
        batch = arrow_batch(rows, self._schema)
        with writing_to(self._asked):
            self._writer.write_batch(batch)

    def end(self, metadata: Mapping[str, str]) -> None:
        """Write what is known at the end and close the file."""
        with writing_to(self._asked):
            self._writer.add_key_value_metadata({**self._metadata, **metadata})
            self._writer.close()

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in."""
        try:
            self._writer.close()
        except OSError:
            # The disk that refused the rows refuses the end too; the file is removed anyway.
            return
