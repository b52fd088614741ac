"""One SELECT over the lake, printed as a table, CSV or JSON."""

import csv
import json
import math
import re
import sys
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TextIO

import duckdb
import pyarrow as pa
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipelines.errors import UserError
from pipelines.lake.read import open_lake

FORMATS: Final = ("table", "csv", "json")
TABLE_ROWS: Final = 200  # csv and json give every row
_BATCH_ROWS: Final = 1024
_LIST_ITEMS: Final = 3
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def sql(lake: Path, statement: str, format: str = "table") -> None:
    """Runs one SELECT over the views of `lake` and prints its rows.

    UserError of one line: more or other than one SELECT, an SQL error, a file outside the views, no lake.
    """
    if format not in FORMATS:
        raise UserError(f"no format {format!r}: use {', '.join(FORMATS)}")
    with open_lake(lake) as connection:
        try:
            rows = connection.sql(_one_select(connection, statement)).to_arrow_reader(_BATCH_ROWS)
            if format == "table":
                print_rows(rows, TABLE_ROWS)
            elif format == "csv":
                write_csv(rows, sys.stdout)
            else:
                write_json(rows, sys.stdout)
        except (duckdb.Error, pa.ArrowException) as error:
            raise UserError(_one_line(error)) from error


def _one_select(connection: duckdb.DuckDBPyConnection, statement: str) -> duckdb.Statement:
    statements = connection.extract_statements(statement)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(part.type.name for part in statements) or "nothing"
        raise UserError(f"the lake is read-only: give one SELECT (or DESCRIBE, SHOW, SUMMARIZE), not {kinds}")
    return statements[0]


def _one_line(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip(" ^~"))


def print_rows(rows: pa.RecordBatchReader, limit: int) -> None:
    """Prints at most `limit` rows as a table for people, lists shortened, and says when there are more."""
    table = Table()
    for field in rows.schema:
        table.add_column(
            Text(_plain(field.name)), justify="right" if _is_number(field.type) else "left", overflow="fold"
        )
    more = False
    for values in _values(rows):
        if more := table.row_count == limit:
            break
        table.add_row(*(Text(_cell(value)) for value in values))
    console = Console(file=sys.stdout)
    if not console.is_terminal:
        # a pipe has no width to fit into
        console.width = max(
            console.width, Measurement.get(console, console.options.update(max_width=10**6), table).maximum
        )
    console.print(table)
    if more:
        console.print(f"the first {limit} rows; --format csv or json gives all", highlight=False)


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


def _is_number(type_: pa.DataType) -> bool:
    return pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_)


def _cell(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        shown = [_cell(item) for item in value[:_LIST_ITEMS]]
        more = [f"... {len(value)} in all"] if len(value) > _LIST_ITEMS else []
        return f"[{', '.join(shown + more)}]"
    return _plain(str(_json_value(value)))


def _plain(text: str) -> str:
    """A file name must not move the cursor or colour the terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


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
