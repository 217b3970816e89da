"""Parquet → notes, batch by batch; the columns are those of other tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from notegap.errors import NoteError
from notegap.model import Note
from notegap.notes.document import RowError
from notegap.notes.table import FIELDS, SAID, Saying, read_values, refuse_columns, unsaid_of
from notegap.notes.text import NoteOptions, printable

_ROWS = 128
_BUFFER = 1024 * 1024


def read(file: BinaryIO, name: str, options: NoteOptions, say: Saying = unsaid_of) -> Iterator[Note | RowError]:
    """The notes of an open file of Parquet; `name` says where a row stands ("export.parquet:12")."""
    name = printable(name)
    number = 0
    try:
        # Whole groups of rows are not read ahead: one may be larger than memory.
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
        lower = {column.lower(): column for column in table.schema_arrow.names}
        refuse_columns(lower, name, options)
        wanted = {field: lower[field] for field in (*FIELDS, *SAID) if field in lower}
        wanted |= {field: lower[column.lower()] for field, column in options.columns.items()}
        for batch in table.iter_batches(batch_size=_ROWS, columns=sorted(set(wanted.values()))):
            for row in batch.to_pylist():
                number += 1
                fields = {field: row[column] for field, column in wanted.items()}
                yield read_values(fields, f"{name}:{number}", options, say)
    except pa.ArrowException:
        # Arrow's own sentence may hold a value.
        problem = f"{name}: is a Parquet file that is cut off or damaged"
    except OSError as error:
        problem = f"{name}: cannot be read as Parquet ({(error.strerror or 'cut off or damaged').lower()})"
    except UnicodeDecodeError:
        problem = f"{name}: row {number + 1} or one after it is not UTF-8"
    else:
        return
    raise NoteError(problem)
