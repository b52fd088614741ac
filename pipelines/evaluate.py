"""Checks a run's tables and computes its evaluation tables: `python -m pipelines evaluate`."""

import shlex
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from operators.storage.files import replacing
from pipelines import league
from pipelines.called import called
from pipelines.errors import UserError
from pipelines.lake import blocks
from pipelines.lake.checks import checks
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake, queries, runs
from pipelines.report.facts import EVALUATED, facts
from pipelines.report.findings import WORDS, findings
from pipelines.screen import command, say
from pipelines.sql import write_csv
from pipelines.tables import print_table
from schemas.tables import LAKE_TABLES

_SHOWN_ROWS: Final = 20
#: long tables that are written and not printed
_NOT_PRINTED: Final = ("table3_thresholds", "league_pairs", "league_ranks", "reliability")
_DUPLICATES: Final = "duplicates"
_REST: Final = "--wide shows them"
_COLOURS: Final = {"bad": "red", "warning": "yellow", "good": "green", "note": ""}


def evaluate(lake: Path, run_id: str | None = None, wide: bool = False, brief: bool = False) -> int:
    """Prints checks, tables and findings of one run, the latest unless told, and writes the tables to LAKE/evaluation.

    What is printed has rows and fits the terminal, or is every column with six digits where `wide`; where `brief`,
    checks that fail, warnings and findings alone. What is written is everything. 0, or 1 where a check found rows; all
    is printed and written either way. UserError: no lake, no run, no such run.
    """
    run_id = runs(lake)[-1] if run_id is None else run_id
    console = Console()
    tables = Console(quiet=True) if brief else console
    with open_lake(lake, run_id) as connection:
        say(tables, f"run {run_id}")
        failed = [name for name, query in checks().items() if not _check(connection, name, query, console, wide)]
        if passed := [name for name in checks() if name not in failed]:
            say(tables, f"checks that passed: {', '.join(passed)}")
        if lost := _lost(Layout(lake), run_id):
            say(console, f"check files: {len(lost)} of finished videos are gone, the first is {lost[0]}")
            say(console, "verify --repair takes these videos back; the run's own explain command does them again")
            failed.append("files")
        league.prepare(connection)
        empty: list[str] = []
        found: dict[str, pa.Table] = {}
        for name, query in queries("tables").items():
            table = connection.sql(query).to_arrow_table()
            if name in EVALUATED:
                found[name] = table
            if not len(table):
                empty.append(name)
            elif name == _DUPLICATES:
                leaks = f"{len(table)} pairs of videos of different splits look alike (below, and {name}.csv)"
                say(console, f"{leaks}: figures of one split are flattered by what is known of the other", "yellow")
            if name != league.NAME:
                _tell(name, _title(name, query), table, run_id, lake, tables, wide)
            else:
                made = league.league(connection, table)
                found[name] = made[name]
                _league(made, _title(name, query), run_id, lake, tables, wide)
        said = findings(facts(connection, lake, run_id, found))
    tables.print()
    if empty:
        say(tables, f"without a row, and not printed: {', '.join(empty)}")
    say(console, f"tables are written to {Layout(lake).evaluation} as Parquet and CSV")
    if failed:
        say(console, f"checks that failed: {', '.join(failed)}; the tables of this run cannot be trusted", "red")
    console.print()
    say(console, "findings" if said else "nothing was found, for nothing was explained", "bold")
    for finding in said:
        say(console, f"{WORDS[finding.kind]}: {finding.text}", _COLOURS[finding.kind])
    if not brief:
        where = shlex.quote(str(lake))
        console.print()
        say(console, "next: all of it as a page for a browser, or a question to the tables", "bold")
        command(console, called(f"report --lake {where} --run {run_id}"))
        command(console, called(f'sql --lake {where} "select * from metrics limit 10"'))
    return 1 if failed else 0


def _tell(name: str, title: str, table: pa.Table, run_id: str, lake: Path, console: Console, wide: bool) -> None:
    """Print a table that has rows, and write it."""
    if len(table) and (name not in _NOT_PRINTED or wide):
        console.print()
        say(console, title, "bold")
        print_table(table, console, rest=_REST, wide=wide)
    _write(table.replace_schema_metadata({"run_id": run_id}), Layout(lake).evaluation / name)


def _league(tables: dict[str, pa.Table], title: str, run_id: str, lake: Path, console: Console, wide: bool) -> None:
    """The league where a run was judged; where it was not, none of another run is left behind."""
    titles = {league.NAME: title} | league.TITLES
    for name, said in titles.items():
        if name in tables and len(tables[name]):
            _tell(name, said if name == league.NAME else f"{name}: {said}", tables[name], run_id, lake, console, wide)
        else:
            for stale in Layout(lake).evaluation.glob(f"{name}.*"):
                stale.unlink()
    for line in league.not_better(tables[league.NAME]):
        say(console, line, "yellow")


def _lost(layout: Layout, run_id: str) -> list[Path]:
    chains = dict.fromkeys(table.chain for table in LAKE_TABLES if table.chain is not None)
    damages = [blocks.damage(layout, chain, run_id) for chain in chains]
    return [path for each in damages for paths in each.lost.values() for path in paths]


def _title(name: str, query: str) -> str:
    """The table's name, as its files are called, and what the first line of its query says it is."""
    first = query.lstrip().splitlines()[0]
    return f"{name}: {first.removeprefix('--').partition(':')[2].strip(' .')}" if first.startswith("--") else name


def _check(connection: duckdb.DuckDBPyConnection, name: str, query: str, console: Console, wide: bool) -> bool:
    """Whether the check returns no row; prints the first rows where it does."""
    rows = connection.sql(query).to_arrow_table()
    if rows.num_rows:
        say(console, f"check {name}: {rows.num_rows} rows")
        print_table(rows.slice(0, _SHOWN_ROWS), console, rest=_REST, wide=wide)
    return rows.num_rows == 0


def _write(table: pa.Table, stem: Path) -> None:
    """STEM.parquet and STEM.csv, each replaced as a whole."""
    try:
        stem.parent.mkdir(exist_ok=True)
        with replacing(stem.with_suffix(".parquet")) as path:
            pq.write_table(table, path)
        with replacing(stem.with_suffix(".csv")) as path, path.open("w", encoding="utf-8", newline="") as out:
            write_csv(table.to_reader(), out)
    except OSError as error:
        raise UserError(f"cannot write the evaluation tables: {error}") from error
