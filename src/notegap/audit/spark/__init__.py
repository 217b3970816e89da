"""The same audit on Apache Spark: notes in a DataFrame, or files for a Spark of one's own."""

from notegap.audit.spark.frames import audit

__all__ = ["audit"]
