"""Tables as the page shows them: cells to read, values to sort by, the whole table as CSV, and what its SQL says."""

import base64
import io
import re
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from pipelines.sql import write_csv
from pipelines.tables import Column, readable

#: more rows than a person reads; the CSV has all of them
SHOWN_ROWS: Final = 200
#: numbers that say the same in every row stand above a table of more columns than this
_WIDE: Final = 10
_HEADER: Final = re.compile(r"(?P<title>.*?)[ .]*Grain: (?P<grain>.*?)\.(?: (?P<notes>.*))?$")
#: how a cell of text begins that a spreadsheet would take for a formula
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Header:
    """What the comment above a query says: its title, its grain, and what its columns are."""

    title: str
    grain: str
    notes: str


@dataclass(frozen=True)
class Cell:
    """What is read, and what is sorted by; `value` is None where there is none."""

    text: str
    value: Any


@dataclass(frozen=True)
class Shown:
    """A table to show: headings with whether they are of numbers, rows, what is the same in all, and the CSV."""

    heads: list[tuple[str, bool]]
    rows: list[list[Cell]]
    same: list[tuple[str, str]]
    n_rows: int
    csv: str


def header(query: str) -> Header:
    """The parts of a query's first comment. ValueError for one without a grain."""
    lines = []
    for line in query.lstrip().splitlines():
        if not line.startswith("--"):
            break
        lines.append(line.removeprefix("--").strip())
    found = _HEADER.match(" ".join(lines))
    if found is None:
        raise ValueError(f"no grain in {lines[:1]}")
    return Header(found["title"], found["grain"], found["notes"] or "")


def show(table: pa.Table) -> Shown:
    """A table as a person reads it.

    `X`, `X_low` and `X_high` are one cell, `X [low, high]`; what says the same in every row stands once above.
    """
    columns = [readable(*each, False) for each in zip(table.schema, table.columns, strict=True)]
    names = {column.name for column in columns}
    bounds = {f"{name}_{end}" for name in names for end in ("low", "high") if {f"{name}_low", f"{name}_high"} <= names}
    if {"low", "high"} <= names and "alpha" in names:
        bounds |= {"low", "high"}
    own = [column for column in columns if column.name not in bounds]
    wide = len(own) > _WIDE
    same = [column for column in own if column.is_same and (wide or not column.is_number)]
    if len(same) == len(own):
        same = []
    shown = [column for column in own if column not in same]
    by_name = {column.name: column for column in columns}
    rows = [
        [Cell(_text(column, by_name, bounds, row), column.values[row]) for column in shown]
        for row in range(min(len(table), SHOWN_ROWS))
    ]
    return Shown(
        [(column.name, column.is_number) for column in shown],
        rows,
        [(column.name, column.cells[0]) for column in same],
        len(table),
        csv_uri(table),
    )


def csv_uri(table: pa.Table) -> str:
    """Every row of a table as a link that holds it; text that a spreadsheet would run is quoted."""
    out = io.StringIO()
    safe = pa.table(
        [
            pa.chunked_array([[_harmless(value) for value in column.to_pylist()]], pa.string())
            if pa.types.is_string(field.type)
            else column
            for field, column in zip(table.schema, table.columns, strict=True)
        ],
        names=table.column_names,
    )
    write_csv(safe.to_reader(), out)
    return "data:text/csv;charset=utf-8;base64," + base64.b64encode(out.getvalue().encode()).decode()


def _harmless(value: str | None) -> str | None:
    return f"'{value}" if value is not None and value.startswith(_FORMULA) else value


def _text(column: Column, by_name: dict[str, Column], bounds: set[str], row: int) -> str:
    if column.values[row] is None:
        return "–"
    prefix = "" if column.name == "alpha" and "low" in bounds else f"{column.name}_"
    low, high = by_name.get(f"{prefix}low"), by_name.get(f"{prefix}high")
    if low is None or high is None or low.name not in bounds or low.values[row] is None:
        return column.cells[row]
    return f"{column.cells[row]} [{low.cells[row]}, {high.cells[row]}]"
