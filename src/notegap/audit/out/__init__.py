"""What an audit writes beside its reports: the flat table as Parquet, CSV or DuckDB, a workbook, a page."""

from notegap.audit.out.writer import FORMATS, OutOptions, TableWriter, Writer, csv_lines, format_of

__all__ = ["FORMATS", "OutOptions", "TableWriter", "Writer", "csv_lines", "format_of"]
