"""Checks a run's tables and computes its evaluation tables: `python -m pipelines evaluate`."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from pipelines.errors import UserError
from pipelines.lake.checks import checks
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake, queries, runs
from pipelines.sql import print_rows, write_csv

_SHOWN_ROWS: Final = 20


def evaluate(lake: Path, run_id: str | None = None) -> int:
    """Prints checks and tables of one run, the latest unless told, and writes the tables to LAKE/evaluation.

    0, or 1 where a check found rows; all is printed and written either way. UserError: no lake, no run, no such run.
    """
    run_id = runs(lake)[-1] if run_id is None else run_id
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"run {run_id}")
    with open_lake(lake, run_id) as connection:
        failed = [name for name, query in checks().items() if not _check(connection, name, query, console)]
        for name, query in queries("tables").items():
            table = connection.sql(query).to_arrow_table()
            console.print(f"\n{name}")
            print_rows(table.to_reader(), table.num_rows)
            _write(table.replace_schema_metadata({"run_id": run_id}), Layout(lake).evaluation / name)
    console.print(f"\nwritten to {Layout(lake).evaluation} as Parquet and CSV")
    if failed:
        console.print(f"checks that failed: {', '.join(failed)}; the tables of this run cannot be trusted")
    question = "select * from metrics limit 10"
    console.print(f'next: python -m pipelines sql --lake {shlex.quote(str(lake))} "{question}"')
    return 1 if failed else 0


def _check(connection: duckdb.DuckDBPyConnection, name: str, query: str, console: Console) -> bool:
    """Whether the check returns no row; prints the first rows where it does."""
    rows = connection.sql(query).to_arrow_table()
    console.print(f"check {name}: {f'{rows.num_rows} rows' if rows.num_rows else 'ok'}")
    if rows.num_rows:
        print_rows(rows.slice(0, _SHOWN_ROWS).to_reader(), _SHOWN_ROWS)
    return rows.num_rows == 0


def _write(table: pa.Table, stem: Path) -> None:
    """STEM.parquet and STEM.csv, each replaced as a whole."""
    try:
        stem.parent.mkdir(exist_ok=True)
        _replace(stem.with_suffix(".parquet"), lambda path: pq.write_table(table, path))
        _replace(stem.with_suffix(".csv"), lambda path: _csv(table, path))
    except OSError as error:
        raise UserError(f"cannot write the evaluation tables: {error}") from error


def _csv(table: pa.Table, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as out:
        write_csv(table.to_reader(), out)


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    write(unfinished)
    unfinished.replace(path)
