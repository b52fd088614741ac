"""Committed blocks written anew as one: many small ones as a large one, or one without some of its videos.

A lake of a million videos in blocks of four would be two million files, and their number is what reading it costs.
"""

import json
import threading
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from operators.storage import parquet as pq
from pipelines.beside import beside
from pipelines.errors import one_line
from pipelines.lake import blocks
from pipelines.lake.layout import PENDING, REWRITTEN, Layout
from pipelines.screen import say
from schemas.conform import conform
from schemas.tables import EXPLAIN, INPUTS, LAKE_TABLES

#: videos of a block that is large: a million are then 500 blocks, of one file in each table
LARGE: Final = 2000
#: so many smaller ones are worth a new one: every row is written three times at most on the way to a large one
MANY: Final = 64
#: bytes in memory before they are written
_AT_ONCE: Final = 64 * 2**20
#: how long who has the lake open may read what was replaced
_KEPT_S: Final = 3600.0
_EVERY_S: Final = 60.0


def rewrite(
    layout: Layout, chain: str, run_id: str, old: Sequence[Path], without: Collection[str] = frozenset()
) -> None:
    """One committed block in place of those of the checkpoints `old`, without the videos `without`.

    The new block is pending while it is written, and replaces the old ones in the instant in which it is committed: a
    kill leaves one or the other. What was replaced is no longer read, and stays until `sweep`. Only for who holds the
    run's lock, with no block among `old` that is damaged.
    """
    name = f"{REWRITTEN}{uuid.uuid4().hex}"
    folder = layout.checkpoints(chain, run_id)
    replaces = sorted({each for path in old for each in (path.name, *blocks.replaced_by(path))})
    ids = pa.concat_tables([pq.read_table(path, columns=["video_id"]) for path in old])
    ids = _without(ids, without).replace_schema_metadata({blocks.REPLACES: json.dumps(replaces).encode()})
    pending = folder / f"{name}{PENDING}"
    pq.write_table(ids, pending)
    for table in LAKE_TABLES:
        place = layout.table(run_id, table.name)
        parts = [place / path.name for path in old if (place / path.name).is_file()]
        if table.chain != chain or not parts:
            continue
        with pq.ParquetWriter(place / f"{name}.parquet", table.schema, compression="zstd") as writer:
            for rows in _gathered(parts):
                writer.write_table(conform(_without(rows, without), table.schema))
    pending.replace(folder / f"{name}.parquet")


def take_back(layout: Layout, run_id: str, found: Mapping[Path, Collection[str]]) -> None:
    """Take stale videos out of their blocks, by checkpoint, and out of what later chains have written of them.

    Only for who holds the run's lock.
    """
    again = {video_id for videos in found.values() for video_id in videos}
    for chain in dict.fromkeys(table.chain for table in LAKE_TABLES if table.chain is not None):
        for checkpoint in blocks.committed(layout, chain, run_id)[0]:
            if again & set(pq.read_table(checkpoint, columns=["video_id"])["video_id"].to_pylist()):
                rewrite(layout, chain, run_id, [checkpoint], again)


def compact(layout: Layout, chain: str, run_id: str, *, many: int = MANY, large: int = LARGE) -> int:
    """Write blocks that are not large together where there are `many`; how many were. Only for who holds the lock.

    Not those of a run that keeps inputs: other runs read these by the names of their blocks, for as long as they go on.
    """
    if chain == EXPLAIN and layout.table(run_id, INPUTS.name).is_dir():
        return 0
    live, _ = blocks.committed(layout, chain, run_id)
    lost = blocks.damage(layout, chain, run_id).lost
    small = [(path, n) for path in live if path not in lost and (n := pq.read_metadata(path).num_rows) <= large // 2]
    if len(small) < many:
        return 0
    groups: list[list[Path]] = [[]]
    room = large
    for path, n in small:
        if n > room:
            groups.append([])
            room = large
        groups[-1].append(path)
        room -= n
    groups = [each for each in groups if len(each) > 1]
    for each in groups:
        rewrite(layout, chain, run_id, each)
    return sum(map(len, groups))


def sweep(layout: Layout, chain: str, run_id: str, *, older_than_s: float = _KEPT_S) -> None:
    """Remove blocks that were replaced that long ago. Only for who holds the run's lock."""
    before = time.time() - older_than_s
    for path in blocks.committed(layout, chain, run_id)[0]:
        if path.stat().st_mtime < before:
            for name in blocks.replaced_by(path):
                for table in LAKE_TABLES:
                    if table.chain == chain:
                        (layout.table(run_id, table.name) / name).unlink(missing_ok=True)
                (layout.checkpoints(chain, run_id) / name).unlink(missing_ok=True)  # last: without it they are strays


@contextmanager
def compacting(layout: Layout, chain: str, run_id: str, console: Console) -> Iterator[None]:
    """Inside, small blocks that the chain commits become large ones beside it. A failure costs nothing but files."""

    def work(done: threading.Event) -> None:
        try:
            while True:
                ended = done.wait(_EVERY_S)
                compact(layout, chain, run_id)
                sweep(layout, chain, run_id)
                if ended:
                    return
        except (pa.ArrowException, OSError) as error:
            say(console, f"small files stay small: {one_line(error)}", "yellow")

    with beside(work, "compact"):
        yield


def _gathered(parts: Sequence[Path]) -> Iterator[pa.Table]:
    """The rows of the files, some of them at a time."""
    rows: list[pa.Table] = []
    for path in parts:
        rows.append(pq.read_table(path))
        if sum(each.nbytes for each in rows) >= _AT_ONCE:
            yield pa.concat_tables(rows)
            rows = []
    if rows:
        yield pa.concat_tables(rows)


def _without(rows: pa.Table, videos: Collection[str]) -> pa.Table:
    return rows.filter(~pc.field("video_id").isin(list(videos))) if videos else rows
