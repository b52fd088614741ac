"""Blocks of videos: whole where they are committed, gone where they are not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from operators.storage import parquet as pq
from pipelines.errors import UserError
from pipelines.lake.layout import PENDING, REWRITTEN, Layout, parquet
from schemas.tables import EXPLAIN, LAKE_TABLES, VIDEOS

#: metadata of a checkpoint: the names of those whose rows its block holds now (`pipelines.lake.compact`)
REPLACES: Final = b"viba.replaces"


@dataclass(frozen=True)
class Damage:
    """What is wrong with the files that a chain wrote for a run.

    lost   checkpoint of a committed block -> its files that are not there or cannot be read, the checkpoint among them
    stray  files of tables whose block has no checkpoint: their rows are in no view
    """

    lost: dict[Path, list[Path]]
    stray: list[Path]

    def __bool__(self) -> bool:
        return bool(self.lost or self.stray)


def committed(layout: Layout, chain: str, run_id: str) -> tuple[list[Path], frozenset[str]]:
    """The checkpoints of blocks that are read, and the names of those that others have replaced.

    One listing of a folder decides: a block that is committed has all its files, and those of one that is replaced stay
    for who has begun to read them.
    """
    paths = layout.committed(chain, run_id)
    replaced = frozenset(name for path in paths for name in replaced_by(path))
    return [path for path in paths if path.name not in replaced], replaced


def replaced_by(checkpoint: Path) -> list[str]:
    """The names of the checkpoints that one replaces; none of one that cannot be read."""
    if not checkpoint.name.startswith(REWRITTEN):
        return []
    try:
        return json.loads((pq.read_schema(checkpoint).metadata or {}).get(REPLACES, b"[]"))
    except (pa.ArrowException, OSError):
        return []


def damage(layout: Layout, chain: str, run_id: str, *, thorough: bool = False) -> Damage:
    """What is not there of committed blocks, and what no checkpoint speaks of; `thorough` reads every file.

    Right beside a run that goes on: a block that is committed when this begins has its files by then, and one that is
    neither committed nor pending when it ends will never be. A table without a folder is one that the viba that made
    the run did not know.
    """
    live, _ = committed(layout, chain, run_id)
    folders = [layout.table(run_id, table.name) for table in LAKE_TABLES if table.chain == chain]
    there = {folder: {path.name for path in parquet(folder)} for folder in folders if folder.is_dir()}
    lost = {}
    for checkpoint in live:
        bad = [] if readable(checkpoint) else [checkpoint]
        for folder, names in there.items():
            path = folder / checkpoint.name
            if path.name not in names or (thorough and not readable(path)):
                bad.append(path)
        if bad:
            lost[checkpoint] = bad
    pending = layout.pending(chain, run_id)
    known = {path.name for path in layout.committed(chain, run_id)}
    stray = [
        folder / name
        for folder, names in there.items()
        for name in sorted(names)
        if name not in known and not name.startswith(pending)
    ]
    return Damage(lost, stray)


def clear(layout: Layout, chain: str, run_id: str, found: Damage) -> None:
    """Take the damaged blocks back, so that a resume does their videos again, and remove what is stray.

    Only for who holds the run's lock. Checkpoints go first: killed after that, the rest of their blocks is stray.
    Pending ones go whose block is committed: on a store a rename is a copy and a removal, and after a kill between the
    two a resume would take the block for unfinished and remove its files.
    """
    done = {path.name for path in layout.committed(chain, run_id)}
    for name in layout.pending(chain, run_id):
        if f"{name}.parquet" in done:
            (layout.checkpoints(chain, run_id) / f"{name}{PENDING}").unlink()
    for checkpoint in found.lost:
        checkpoint.unlink()
    for path in damage(layout, chain, run_id).stray if found else ():
        path.unlink()


def stale(layout: Layout, run_id: str, ids: Mapping[str, str], codes: frozenset[str]) -> dict[Path, list[str]]:
    """Checkpoint of a committed block -> its videos that are to be done again: those whose uri has another of the `ids`
    now, as a file that was not there or has changed since, and those that ended with an error of the `codes`."""
    found = {}
    for checkpoint in committed(layout, EXPLAIN, run_id)[0]:
        path = layout.table(run_id, VIDEOS.name) / checkpoint.name
        try:
            videos = pq.read_table(path, columns=["video_id", "uri", "error_code"])
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is damaged: verify --repair removes it, this command makes it again") from error
        again = [
            row["video_id"]
            for row in videos.to_pylist()
            if ids.get(row["uri"], row["video_id"]) != row["video_id"] or row["error_code"] in codes
        ]
        if again:
            found[checkpoint] = again
    return found


def readable(path: Path) -> bool:
    """Whether every value of a Parquet file can be read."""
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                file.read_row_group(group)
    except (pa.ArrowException, OSError):
        return False
    return True
