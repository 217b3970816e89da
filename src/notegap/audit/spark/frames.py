"""The audit as Spark sees it: a DataFrame of notes in, the flat table out, every note analyzed once and where it is.

The notes are analyzed partition by partition. What follows moves what was found and no word of a note, unless text was
asked for: once by the note's key and its bands, which brings together what is the same or nearly so, and once by row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from notegap.audit.batch import rules_of
from notegap.audit.spark.worker import (
    DECIMAL,
    FLOAT,
    LIST,
    OTHER,
    READ_SCHEMA,
    STRING,
    TOO_LONG,
    Work,
    analyze,
    compare,
    told_schema,
)
from notegap.icd10cm import normalize
from notegap.model import Setting
from notegap.notes.table import FIELDS, SAID, refuse_columns
from notegap.notes.text import MAX_BYTES, NoteOptions, printable

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from notegap.analyzer import Analyzer

_CODES = frozenset({"codes", "code", "claim_codes"})
_AS_STRING = ("string", "varchar", "char", "date", "timestamp")
_WHOLE = ("tinyint", "smallint", "int", "bigint")


@dataclass(frozen=True, slots=True)
class Patterns:
    """Makes the analyzer that knows what is shipped, and folders of one's own; equal ones make the same."""

    folders: tuple[str, ...] = ()

    def __call__(self) -> Analyzer:
        """Build it."""
        from notegap.analyzer import Analyzer
        from notegap.knowledge import load_knowledge

        return Analyzer(load_knowledge([Path(folder) for folder in self.folders]))


def audit(
    df: DataFrame,
    *,
    codes: Sequence[str] = (),
    setting: Setting | str = Setting.OUTPATIENT,
    date_of_service: str | None = None,
    columns: Mapping[str, str] | None = None,
    patterns: Sequence[str | Path] = (),
    timeout: float | None = 60,
    max_bytes: int = MAX_BYTES,
    check_claims: bool = False,
    with_text: bool = False,
) -> DataFrame:
    """The flat table of an audit of the notes in `df`: the columns of `notegap audit --out x.parquet`, row for row.

    The columns of `df` are those of any table: `text`, and where there are such `id`, `codes`, `claim_codes`,
    `setting`, `date_of_service`, `provider`, `encounter`, `department`, `date`; `columns` maps them to other names.
    `codes`, `setting` and `date_of_service` stand in where a note has none. `row` numbers the notes and `source` names
    where they are from; without `row` they are numbered as they stand, with gaps from partition to partition.

    `check_claims` also checks the codes of claims, as `notegap audit --check-claims` does.
    `patterns` are folders of one's own that every worker has, too. A note is given up after `timeout` seconds.
    `with_text` adds the columns `quotes` and `text`. The result is in the order of `row`, from partition to partition.
    """
    options = NoteOptions(
        codes=tuple(dict.fromkeys(map(normalize, codes))),
        setting=Setting(setting),
        date_of_service=date_of_service,
        max_bytes=max_bytes,
        columns=dict(columns or {}),
    )
    build = Patterns(tuple(map(str, patterns)))
    work = Work(
        build=build,
        rules=rules_of(build().knowledge),
        options=options,
        timeout=timeout or None,
        check_claims=check_claims,
        with_text=with_text,
        words=with_text,
    )
    return flat(audited(prepared(df, options), work))


def audited(notes: DataFrame, work: Work) -> DataFrame:
    """What came of each of the `prepared` notes: its number, itself as JSON, its rows of the flat table; in order."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812 - as everybody calls it

    # Moved, whether Spark sees the need or not: what comes after is done again where ranges of rows are sampled, what
    # stands before is not.
    read = notes.mapInPandas(partial(analyze, work=work), READ_SCHEMA).repartition("slot")
    of_its_kind = Window.partitionBy("slot").orderBy("row")
    first = F.first(F.struct("row", "signature", "report", "error")).over(of_its_kind)
    compared = (
        read.withColumn("first_", first)
        .select(
            "row",
            "note",
            "text",
            F.col("first_.row").alias("first"),
            F.col("first_.signature").alias("signature"),
            F.col("first_.report").alias("report"),
            F.col("first_.error").alias("error"),
        )
        # A band says something only where another row had it first.
        .where("note IS NOT NULL OR first < row")
    )
    together = compared.repartitionByRange("row").sortWithinPartitions("row")
    return together.mapInPandas(partial(compare, work=work), told_schema(work))


def flat(told: DataFrame) -> DataFrame:
    """The rows of the flat table of what was told of notes."""
    return told.selectExpr("inline(rows)")


def prepared(df: DataFrame, options: NoteOptions, *, name: str = "the table") -> DataFrame:
    """The notes of a table, each column as the workers read it: bytes, with what kind of value they are.

    Types that Arrow does not have, and bytes that are no text, would stop everything where they are one row's fault.
    """
    from pyspark.sql import functions as F  # noqa: N812

    lower = {column.lower(): column for column in df.columns}
    refuse_columns(lower, name, options)
    named = {field: lower[field] for field in (*FIELDS, *SAID) if field in lower}
    named |= {field: lower[column.lower()] for field, column in options.columns.items()}
    kinds = {field.name: field.dataType.simpleString() for field in df.schema.fields}
    row = _column(lower["row"]).cast("bigint") if "row" in lower else F.monotonically_increasing_id() + 1
    source = _column(lower["source"]).cast("string") if "source" in lower else F.lit("")
    if "where" in lower:
        where = _column(lower["where"]).cast("string")
    else:
        where = F.concat(F.when(source == "", "row ").otherwise(F.concat(source, F.lit(":"))), row.cast("string"))
    return df.select(
        row.alias("row"),
        F.coalesce(source, F.lit("")).alias("source"),
        F.coalesce(where, F.concat(F.lit("row "), row.cast("string"))).alias("where"),
        *(_told(field, column, kinds[column], options).alias(field) for field, column in named.items()),
    )


def _column(name: str) -> Column:
    from pyspark.sql import functions as F  # noqa: N812

    # In backquotes, as it may have a dot in it.
    return F.col("`" + name.replace("`", "``") + "`")


def _told(field: str, name: str, kind: str, options: NoteOptions) -> Column:
    from pyspark.sql import functions as F  # noqa: N812

    column = _column(name)
    numbered = field in ("id", *SAID)
    if kind.startswith(_AS_STRING) or (numbered and kind in _WHOLE):
        told = _marked(STRING, column)
        if field == "text":
            told = F.when(F.octet_length(column) > options.max_bytes, F.lit(bytearray(TOO_LONG))).otherwise(told)
    elif numbered and kind in ("float", "double"):
        told = _marked(FLOAT, column.cast("double"))
    elif numbered and kind.startswith("decimal"):
        told = _marked(DECIMAL, column)
    elif kind == "array<string>" and field in _CODES:
        told = _marked(LIST, F.to_json(column))
    else:
        told = F.lit(bytearray(OTHER))
    return F.when(column.isNotNull(), told)


def _marked(kind: bytes, value: Column) -> Column:
    from pyspark.sql import functions as F  # noqa: N812

    return F.concat(F.lit(bytearray(kind)), value.cast("string").cast("binary"))


# ── Parquet ─────────────────────────────────────────────────────────────────────────────────────


def read_parquet(spark: SparkSession, path: Path, options: NoteOptions, *, after: int = 0) -> tuple[DataFrame, int]:
    """The `prepared` notes of a file or folder of Parquet, numbered in the files' order, and the last number.

    The files of a folder are read in the order of their names. The numbers go on from `after`.
    """
    from pyspark.sql import functions as F  # noqa: N812

    name = printable(path.name)
    table = spark.read.parquet(_address(path))
    place = F.col("_metadata.file_path").alias("file_")
    line = (F.col("_metadata.row_index") + 1).alias("line_")
    counts = table.select(place, line).groupBy("file_").agg(F.max("line_").alias("count_")).collect()
    files = []
    # By their names as such: an address has other characters in it.
    for file, address, count in sorted((unquote(urlsplit(each[0]).path), *each) for each in counts):
        files.append((address, _source(Path(file), path.resolve()), after))
        after += count
    if not files:
        return prepared(table.withColumn("row", F.lit(0)), options, name=name), after
    places = spark.createDataFrame(files, "file_ string, source_ string, after_ bigint")
    # Its own columns of these names, if it has any, do not count.
    own = [column for column in table.columns if column.lower() not in ("row", "source", "where")]
    numbered = (
        table.select(*map(_column, own), place, line)
        .join(F.broadcast(places), "file_")
        .withColumns(
            {
                "row": F.col("after_") + F.col("line_"),
                "source": F.col("source_"),
                "where": F.concat("source_", F.lit(":"), F.col("line_").cast("string")),
            }
        )
    )
    return prepared(numbered, options, name=name), after


def _address(path: Path) -> str:
    """A path as Hadoop wants it, with nothing in it that stands for other names."""
    return re.sub(r"[\\\[\]{}*?]", r"\\\g<0>", f"file://{path.resolve()}")


def _source(file: Path, path: Path) -> str:
    """What a file is called: by its name, or by its place in the folder that was named."""
    return printable(file.name if file == path else file.relative_to(path).as_posix())


def staged(spark: SparkSession, path: Path) -> DataFrame:
    """The notes that were read elsewhere and `kept` in a file of Parquet."""
    notes: DataFrame = spark.read.parquet(_address(path)).selectExpr("row", "source", "'' AS `where`", "kept")
    return notes
