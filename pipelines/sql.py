"""One SELECT over the lake, printed as a table, CSV or JSON."""

import csv
import json
import math
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TextIO

import duckdb
import pyarrow as pa
from rich.console import Console

from pipelines.errors import UserError, one_line
from pipelines.lake.read import open_lake
from pipelines.screen import say
from pipelines.tables import print_table

FORMATS: Final = ("table", "csv", "json")
TABLE_ROWS: Final = 200  # csv and json give every row
_BATCH_ROWS: Final = 1024


def sql(lake: Path, statement: str, format: str = "table", run_id: str | None = None) -> None:
    """Runs one SELECT over the views of `lake`, of all runs or of one, and prints its rows.

    Ctrl-C ends the process at once: nothing is written, and there are statements that DuckDB does not stop for it.
    UserError of one line: more or other than one SELECT, an SQL error, a file outside the views, no lake, no such
    run.
    """
    if format not in FORMATS:
        raise UserError(f"no format {format!r}: use {', '.join(FORMATS)}")
    with open_lake(lake, run_id) as connection, _killed_by_interrupt():
        try:
            rows = connection.sql(_one_select(connection, statement)).to_arrow_reader(_BATCH_ROWS)
            if format == "table":
                _print(rows)
            elif format == "csv":
                write_csv(rows, sys.stdout)
            else:
                write_json(rows, sys.stdout)
        except (duckdb.Error, pa.ArrowException) as error:
            unknown = isinstance(error, duckdb.CatalogException) and "Table with name" in str(error)
            raise UserError(one_line(error) + (' ("show tables" lists them)' if unknown else "")) from error


@contextmanager
def _killed_by_interrupt() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _one_select(connection: duckdb.DuckDBPyConnection, statement: str) -> duckdb.Statement:
    statements = connection.extract_statements(statement)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(part.type.name for part in statements) or "nothing"
        raise UserError(f"the lake is read-only: give one SELECT (or DESCRIBE, SHOW, SUMMARIZE), not {kinds}")
    return statements[0]


def _print(rows: pa.RecordBatchReader) -> None:
    """At most TABLE_ROWS rows for people, and that there are more."""
    found: list[pa.RecordBatch] = []
    while sum(map(len, found)) <= TABLE_ROWS and (batch := next(rows, None)) is not None:
        found.append(batch)
    table = pa.Table.from_batches(found, rows.schema)
    console = Console(file=sys.stdout)
    print_table(table.slice(0, TABLE_ROWS), console, rest="--format csv or json gives all")
    if len(table) > TABLE_ROWS:
        say(console, f"the first {TABLE_ROWS} rows; --format csv or json gives all")


def write_csv(rows: pa.RecordBatchReader, out: TextIO) -> None:
    """A header and every row; NULL and NaN are empty, a list or struct is JSON, times are ISO 8601."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows.schema.names)
    for values in _values(rows):
        plain = map(_json_value, values)
        writer.writerow(json.dumps(value) if isinstance(value, list | dict | bool) else value for value in plain)


def write_json(rows: pa.RecordBatchReader, out: TextIO) -> None:
    """One array with an object per row; NULL, NaN and infinity are null, times are ISO 8601."""
    names = rows.schema.names
    if len(set(names)) < len(names):
        raise UserError("two columns have the same name: name them apart with AS")
    out.write("[")
    for index, values in enumerate(_values(rows)):
        out.write(",\n" if index else "\n")
        out.write(json.dumps(dict(zip(names, map(_json_value, values), strict=True)), ensure_ascii=False))
    out.write("\n]\n")


def _values(rows: pa.RecordBatchReader) -> Iterable[tuple[Any, ...]]:
    for batch in rows:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _json_value(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _json_value(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, str | int) else str(value)
