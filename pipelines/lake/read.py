"""Opens a lake for reading: one view per table in DuckDB, over the rows of committed videos only."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from operators.storage import parquet as pq
from pipelines.called import called
from pipelines.errors import UserError, one_line
from pipelines.lake import blocks
from pipelines.lake.layout import Layout, parquet
from schemas.tables import ANNOTATIONS, CURVES, LAKE_TABLES, RUNS, TCAV_TABLES, VIDEOS, Table

QUERIES: Final = Path(__file__).resolve().parents[2] / "queries"
_TEXTS: Final = pa.dictionary(pa.int32(), pa.string())
_COMMITTED: Final = pa.schema([VIDEOS.schema.field(name) for name in VIDEOS.key])


def open_lake(
    lake: Path, run_id: str | None = None, videos: Collection[str] | None = None
) -> duckdb.DuckDBPyConnection:
    """A connection with the views of schemas.tables.LAKE_TABLES, of all runs or of one, of CURVES, ANNOTATIONS and
    TCAV_TABLES, and queries/views.

    A video's rows are visible once the chain that writes the table has committed them; a lake may hold trainings and
    no run. With `videos` a table has the blocks alone that hold one of these, so that a few of a million are read
    without the others. The views read through Arrow; DuckDB itself is locked away from every file and from the network,
    so no statement can read or write anything else. UserError: no lake, nothing in it, no such run.
    """
    layout = Layout(lake)
    trainings = parquet(layout.trainings)
    analyses = {table: parquet(layout.tcav(table.name)) for table in TCAV_TABLES}
    without_run = trainings or any(analyses.values())
    known = runs(lake) if run_id is not None or not without_run else layout.run_ids()
    if run_id is not None and run_id not in known:
        raise UserError(f"no run {run_id} in {lake}: it has {', '.join(known)}")
    chosen = known if run_id is None else [run_id]
    # the blocks are settled before a file is listed: those of a committed one are there
    chains = {table.chain for table in LAKE_TABLES if table.chain is not None}
    live = {(chain, run): _live(layout, chain, run, videos) for chain in chains for run in chosen}

    files = {
        table: [
            path
            for run in chosen
            for path in parquet(layout.table(run, table.name))
            if table.chain is None or path.name in live[table.chain, run]
        ]
        for table in LAKE_TABLES
    }
    files |= {CURVES: trainings, **analyses}
    files[ANNOTATIONS] = [layout.annotations] if layout.annotations.is_file() else []
    return views({table: pq.dataset(paths, readable(table)) for table, paths in files.items()})


def views(rows: Mapping[Table, ds.Dataset]) -> duckdb.DuckDBPyConnection:
    """A locked connection with a view of each table's rows, as `readable` has them, and queries/views."""
    connection = duckdb.connect(":memory:")
    for table, dataset in rows.items():
        connection.register(table.name, dataset)
    for name, query in queries("views").items():
        connection.execute(f"create view {name} as {query}")
    for setting in (
        "set timezone = 'UTC'",
        "set memory_limit = '50%'",  # the rest is Arrow's, and others'
        "set enable_progress_bar = false",  # it would be drawn into the rows on stdout
        "set autoinstall_known_extensions = false",
        "set autoload_known_extensions = false",
        "set enable_external_access = false",
        "set lock_configuration = true",
    ):
        connection.execute(setting)
    return connection


def existing(lake: Path) -> Layout:
    """Where a lake's files lie. UserError where there is none."""
    if not lake.is_dir():
        raise UserError(f"no lake at {lake}: make one with {called(f'explain PATH --lake {lake}')}")
    return Layout(lake)


def runs(lake: Path) -> list[str]:
    """The run ids of a lake, the latest start last. UserError where there is no lake or no run in it."""
    layout = existing(lake)
    found = layout.run_ids()
    if not found:
        raise UserError(f"no run in {lake}: start one with {called(f'explain PATH --lake {lake}')}")
    files = [file for run_id in found for file in parquet(layout.table(run_id, RUNS.name))]
    try:
        rows = pq.dataset(files, RUNS.schema).to_table(columns=["run_id", "started_at"]).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"a file of the table runs is damaged, delete it: {one_line(error)}") from error
    starts = {row["run_id"]: row["started_at"].timestamp() for row in rows}
    return sorted(found, key=lambda run_id: starts.get(run_id, 0.0))


def queries(folder: str) -> dict[str, str]:
    """Name -> SQL of queries/FOLDER/*.sql (checks, tables, summary, ...), in order of name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((QUERIES / folder).glob("*.sql"))}


def committed(layout: Layout, chain: str, run_ids: list[str]) -> pa.Table:
    """(run_id, video_id) of every video whose rows of a chain's tables are all written."""
    tables = [_COMMITTED.empty_table()]
    for run_id in run_ids:
        for _, ids in committed_blocks(layout, chain, run_id):
            tables.append(pa.table([pa.array([run_id] * len(ids), pa.string()), ids], schema=_COMMITTED))
    return pa.concat_tables(tables)


def _live(layout: Layout, chain: str, run_id: str, videos: Collection[str] | None) -> set[str]:
    """The names of the files of committed blocks, in every table of the chain; of those that hold one of `videos`."""
    if videos is None:
        return {path.name for path in blocks.committed(layout, chain, run_id)[0]}
    wanted = set(videos)
    found = committed_blocks(layout, chain, run_id)
    return {name for name, ids in found if not wanted.isdisjoint(ids.to_pylist())}


def committed_blocks(layout: Layout, chain: str, run_id: str) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """The name that a block's files have in every table of a chain, and the ids of its videos."""
    for path in blocks.committed(layout, chain, run_id)[0]:
        try:
            yield path.name, pq.ParquetFile(path).read(columns=["video_id"])["video_id"].cast(pa.string())
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is damaged: explain with the run's own command mends it") from error


def readable(table: Table) -> pa.Schema:
    """What DuckDB is to read a table's files as.

    It takes no half floats from Arrow: they are widened while reading. Texts of a key say the same in many rows, and
    are read as a dictionary and indices: to read, hash and compare them is most of what it costs to check ten million
    rows, and half of that is saved. For DuckDB they are texts like others.
    """
    widened = [field.with_type(_readable(field.type)) for field in table.schema]
    texts = {name for name in table.key if pa.types.is_string(table.schema.field(name).type)}
    return pa.schema([field.with_type(_TEXTS) if field.name in texts else field for field in widened])


def _readable(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_list(type_):
        return pa.list_(_readable(type_.value_type))
    return pa.float32() if pa.types.is_float16(type_) else type_
