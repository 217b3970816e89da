"""`notegap audit --engine spark`: files in, Spark at work, the files of the local audit out."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import notegap
from notegap.audit.batch import Auditor, Plan, Quarantine, Writing, chosen_rows, ours, refuse_reading_twice, rules_of
from notegap.audit.progress import progress
from notegap.audit.rows import AuditedNote
from notegap.audit.run import Tally
from notegap.audit.spark.frames import audited, read_parquet, staged
from notegap.audit.spark.session import need_spark, session, telling
from notegap.audit.spark.worker import Work, audited_of, kept
from notegap.audit.table import ROWS_AT_ONCE, TABLE_VERSION, Shape, arrow_schema, writing_to
from notegap.errors import NotegapError, UsageError
from notegap.notes.inputs import How, Row, size_of
from notegap.notes.table import Saying
from notegap.notes.text import STDIN, printable

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_QUARANTINE = ".quarantine.jsonl"
_ROWS = 64  # notes in a group of rows: what Spark can give to a worker at a time
_CHARACTERS = 4_000_000
_BYTES = 64_000_000
_PARTITIONS = 8  # for each core, so that none waits long for the last


def run_on_spark(
    plan: Plan,
    build: Callable[[], Auditor],
    *,
    master: str,
    say: Saying,
    tell: Callable[[str], None],
    print_out: Callable[[str], None],
) -> Tally | None:
    """Audit on Spark what the plan says, as `run_audit` does on this machine; None when there is no note in it.

    Parquet is read by Spark itself, anything else here. `build` has to be equal to itself in another process.
    """
    _refuse(plan)
    need_spark()
    analyzer = cache(build)
    rules = rules_of(analyzer().knowledge)
    with ExitStack() as stack:
        folder = stack.enter_context(_folder(plan))
        direct = _is_read_by_spark(plan)
        if not direct and not _stage(plan, analyzer, folder / "input.parquet", say, tell):
            return None
        spark = stack.enter_context(session(master, folder))
        stack.enter_context(telling())
        files = _Files.of(plan)
        writing = Writing(files.plan, stack, tell, print_out if not plan.outs else None, _NoProgress())
        work = Work(
            build=build,
            rules=rules,
            options=replace(plan.options, columns={}),
            timeout=plan.timeout,
            check_claims=plan.check_claims,
            with_text=plan.writing.with_text,
            words=writing.needs_text or files.has_reports,
            rows=bool(files.flat),
            notes=True,
        )
        done = folder / "notes"
        with _small_pieces(spark):
            notes = _direct(spark, plan) if direct else staged(spark, folder / "input.parquet")
            audited(notes, work).write.parquet(f"file://{done}")
        parts = sorted(done.glob("part-*.parquet"))
        quarantine = plan.beside(plan.quarantine, _QUARANTINE)
        if quarantine is not None:
            writing.quarantine = stack.enter_context(Quarantine(quarantine))
        tally = writing.write(_audited(parts))
        if tally.read and files.flat:
            _write_flat(parts, files.flat, rules, with_text=plan.writing.with_text)
        return tally if tally.read else None


def _refuse(plan: Plan) -> None:
    refuse_reading_twice(plan)
    if plan.ledger is not None or plan.fresh:
        raise UsageError("--ledger and --fresh are for the local engine; Spark keeps no ledger and begins anew")


class _NoProgress:
    def took(self, size: int) -> None:
        pass

    def count(self, read: int, failed: int) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Files:
    """What is written by whom: `plan` has the outputs that are made of the notes one by one, `flat` the tables."""

    plan: Plan
    flat: tuple[Path, ...]
    has_reports: bool

    @classmethod
    def of(cls, plan: Plan) -> _Files:
        formats = {out: plan.format_of(out) for out in plan.outs}
        # What is compared with an earlier audit is compared where it is written.
        flat = tuple(out for out in plan.outs if formats[out] == "parquet" and plan.writing.baseline is None)
        others = tuple(out for out in plan.outs if out not in flat)
        written = {formats[out] for out in others} or ({plan.format_} if not plan.outs else set())
        return cls(replace(plan, outs=others), flat, not written.isdisjoint(("jsonl", "json", "sarif")))


@contextmanager
def _folder(plan: Plan) -> Iterator[Path]:
    """A folder that nobody else may read, gone at the end; what a killed run left in it is cleared by the next."""
    if not plan.outs or not plan.outs[0].resolve().parent.is_dir():
        with tempfile.TemporaryDirectory(prefix="notegap-") as folder:
            yield Path(folder).resolve()
        return
    # Beside the output there is room, and where there are other machines they see it too. A name that suits Hadoop.
    out = plan.outs[0].resolve()
    digest = hashlib.sha256(out.name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    place = out.with_name(f".notegap-{digest}.spark")
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise NotegapError(f"{printable(str(place))}: cannot be written ({why})") from None
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


# ── in ──────────────────────────────────────────────────────────────────────────────────────────


def _is_read_by_spark(plan: Plan) -> bool:
    """Whether all inputs are Parquet that Spark knows, of which all rows are wanted."""
    chosen = plan.selection
    if plan.query or chosen.since or chosen.sample is not None or chosen.limit is not None:
        return False
    return plan.options.input_format in (None, "parquet") and all(map(_is_parquet, plan.sources))


def _is_parquet(source: str) -> bool:
    if source == STDIN or "://" in source:
        return False
    files = _parquet_files(Path(source))
    return bool(files) and all(map(_is_read_alike, files))


def _parquet_files(path: Path) -> list[Path]:
    """The files of Parquet at a path, in order; none when anything else is there."""
    # What cannot be read is told of by our own reader.
    with suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                return [path] if file.read(4) == b"PAR1" else []
        found = sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith((".", "_")))
        return found if all(each.suffix == ".parquet" for each in found) else []
    return []


def _is_read_alike(file: Path) -> bool:
    """Whether Spark reads a file as our own reader does, which knows nanoseconds, zones, and more of damage."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError):
        return False
    times = (kind for kind in schema.types if pa.types.is_timestamp(kind))
    return all(kind.unit != "ns" and kind.tz in (None, "UTC") for kind in times)


@contextmanager
def _small_pieces(spark: SparkSession) -> Iterator[None]:
    """Let files be read in many pieces: a note takes a worker longer than Spark expects of its few bytes."""
    pieces = {
        "spark.sql.files.minPartitionNum": str(_PARTITIONS * spark.sparkContext.defaultParallelism),
        "spark.sql.files.openCostInBytes": "16384",
    }
    before = {name: spark.conf.get(name, None) for name in pieces}
    for name, value in pieces.items():
        spark.conf.set(name, value)
    try:
        yield
    finally:
        for name, known in before.items():
            if known is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, known)


def _direct(spark: SparkSession, plan: Plan) -> DataFrame:
    notes, number = [], 0
    for source in plan.sources:
        table, number = read_parquet(spark, Path(source), plan.options, after=number)
        notes.append(table)
    whole = notes[0]
    for other in notes[1:]:
        whole = whole.unionByName(other, allowMissingColumns=True)
    partitions = _PARTITIONS * spark.sparkContext.defaultParallelism
    if _groups(plan.sources) < partitions // 4:
        # A group of rows is read by one worker, and there are too few of them for all.
        return whole.repartition(partitions, "row")
    return whole


def _groups(sources: Iterable[str]) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_row_groups for source in sources for file in _parquet_files(Path(source)))


def _stage(plan: Plan, analyzer: Callable[[], Auditor], path: Path, say: Saying, tell: Callable[[str], None]) -> int:
    """Read the inputs here and keep what was read for Spark; how many rows that are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema({"row": pa.int64(), "source": pa.string(), "kept": pa.string()})
    number = 0
    with progress(lambda: size_of(plan.sources, query=plan.query), plan.selection.limit) as shown:
        how = How(
            query=plan.query,
            timeout=plan.timeout,
            covers=lambda code: analyzer().knowledge.checklist(code) is not None,
            skip=ours(plan, plan.beside(plan.quarantine, _QUARANTINE)),
            took=shown.took,
        )
        rows = chosen_rows(plan, how, say, tell)
        with pq.ParquetWriter(path, schema, compression="zstd", write_statistics=False) as writer:
            for some in _groups_of(rows):
                number += len(some)
                writer.write_batch(
                    pa.record_batch(
                        [[row.number for row in some], [row.source for row in some], [kept(row) for row in some]],
                        schema=schema,
                    )
                )
                shown.count(number, 0)
    return number


def _groups_of(rows: Iterable[Row]) -> Iterator[list[Row]]:
    some: list[Row] = []
    size = 0
    for row in rows:
        some.append(row)
        size += len(getattr(row.note, "text", ""))
        if len(some) == _ROWS or size > _CHARACTERS:
            yield some
            some, size = [], 0
    if some:
        yield some


# ── out ─────────────────────────────────────────────────────────────────────────────────────────


def _audited(parts: Iterable[Path]) -> Iterator[AuditedNote]:
    """What came of the notes, in order."""
    for batch in _batches(parts, "note"):
        for told in batch.column(0):
            yield audited_of(told.as_py())


def _batches(parts: Iterable[Path], column: str) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    for part in parts:
        with pq.ParquetFile(part) as file:
            yield from file.iter_batches(_ROWS, columns=[column])


def _write_flat(parts: Sequence[Path], outs: Sequence[Path], rules: str, *, with_text: bool) -> None:
    """Put the rows that the workers made into one file of Parquet, for each output."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(Shape(with_text=with_text))
    said = {"notegap": notegap.__version__, "notegap.table": TABLE_VERSION, "notegap.rules": rules}
    target = outs[0].resolve()
    partial = target.with_name(f"{target.name}.partial")
    try:
        with writing_to(outs[0]), pq.ParquetWriter(partial, schema, compression="zstd") as writer:
            for some in _enough(_batches(parts, "rows")):
                rows = [pa.RecordBatch.from_struct_array(batch.column(0).flatten()) for batch in some]
                writer.write_table(pa.Table.from_batches(rows).cast(schema), row_group_size=ROWS_AT_ONCE)
            writer.add_key_value_metadata(said)
        for out in outs[1:]:
            with writing_to(out):
                shutil.copyfile(partial, out)
        with writing_to(outs[0]):
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _enough(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches for one group of rows each, none of which takes much memory."""
    some: list[pa.RecordBatch] = []
    rows, size = 0, 0
    for batch in batches:
        some.append(batch)
        rows += len(batch.column(0).flatten())
        size += batch.nbytes
        if rows >= ROWS_AT_ONCE or size >= _BYTES:
            yield some
            some, rows, size = [], 0, 0
    if some:
        yield some
