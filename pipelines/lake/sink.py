"""One sink, several tables, committed together."""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import ray
from ray.data.block import BlockAccessor
from ray.data.checkpoint import CheckpointConfig
from ray.data.datasource import BlockBasedFileDatasink

from operators.storage.parquet import where
from operators.storage.remote import Remote
from pipelines.lake.layout import Layout
from schemas.conform import conform
from schemas.tables import Table

#: what is read of a file at least: of pictures about a video's, of every other table all of a block's rows
_GROUP_BYTES: Final = 8 << 20


class LakeSink(BlockBasedFileDatasink):
    """Writes a block of VIDEO_ROW, or of another row per video, as `RUN/TABLE/<base name>.parquet`, one file per table.

    Ray records the block's ids as pending under the base name, lets this sink write, and then commits. On resume it
    deletes every file below the run's folder whose name starts with a pending base name: all tables roll back together.
    """

    def __init__(self, layout: Layout, run_id: str, tables: tuple[Table, ...]) -> None:
        name, system = where(layout.run(run_id))
        self._has_folders = not isinstance(layout.root, Remote)
        super().__init__(name, filesystem=system, try_create_dir=self._has_folders, file_format="parquet")
        self._run_id = run_id
        self._tables = tables

    def write_block(self, block: BlockAccessor, block_index: int, ctx: Any) -> None:
        """Split the nested block and write one file per table."""
        from ray.data._internal.planner.plan_write_op import WRITE_UUID_KWARG_NAME

        name = self.filename_provider.get_filename_for_task(ctx.kwargs[WRITE_UUID_KWARG_NAME], ctx.task_idx)
        rows = block.to_arrow()
        for table in self._tables:
            values = unnest(rows, table, self._run_id)
            folder = posixpath.join(self.path, table.name)
            path = posixpath.join(folder, name)
            # on disk a file is whole when it has its name; on a store it is not there before, and a rename is a copy
            unfinished = path + ".part" if self._has_folders else path
            if self._has_folders:
                self.filesystem.create_dir(folder, recursive=True)
            with self.open_output_stream(unfinished) as file:
                rows_per_group = max(len(values) * _GROUP_BYTES // max(values.nbytes, 1), 1)
                pq.write_table(values, file, compression="zstd", row_group_size=rows_per_group)
            if self._has_folders:
                self.filesystem.move(unfinished, path)


@contextmanager
def checkpointed(layout: Layout, chain: str, run_id: str) -> Iterator[None]:
    """Inside, Ray skips the videos whose ids the chain has committed and commits those it writes."""
    context = ray.data.DataContext.get_current()
    name, system = where(layout.checkpoints(chain, run_id))
    context.checkpoint_config = CheckpointConfig(
        id_column="video_id",
        checkpoint_path=name,
        override_filesystem=system,
        delete_checkpoint_on_success=False,
    )
    try:
        yield
    finally:
        context.checkpoint_config = None


def unnest(rows: pa.Table, table: Table, run_id: str) -> pa.Table:
    """The rows of `table` that a block of rows per video carries, with the ids they hang on."""
    if table.name not in rows.column_names:
        values = rows.select([name for name in table.schema.names if name != "run_id"])
    else:
        nested = rows[table.name].combine_chunks()
        ids = rows["video_id"].combine_chunks()
        values = pa.Table.from_struct_array(nested.flatten())
        values = values.append_column("video_id", ids.take(nested.value_parent_indices()))
    run_ids = pa.array([run_id] * len(values), pa.string())
    return conform(values.append_column("run_id", run_ids), table.schema)
