"""What a run kept of its videos, read back in place of decoding them again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from operators.inputs.view import View
from operators.storage import parquet as pq
from operators.video.decode import Probe
from schemas.tables import FRAMES, INPUTS, STATUS_ERROR, TRUTH, VIDEOS, Table

Row = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """The videos of one run whose inputs are in the lake.

    `folder` has the run's tables, `blocks` the name of the files that a video's rows are in, by its id, `views` the
    names of those that were cut.
    """

    folder: Path
    blocks: Mapping[str, str]
    views: frozenset[str]

    def inputs(self, video_id: str, views: Sequence[View]) -> list[Row] | None:
        """The `inputs` of `operators.prepare.prepare_video` for some views; None where they were not kept, or are no
        longer: a block that another process writes anew goes, and inputs may be deleted."""
        names = [str(view) for view in views]
        if video_id not in self.blocks or not self.views.issuperset(names):
            return None
        try:
            rows = [row for row in self._rows(INPUTS, video_id) if row["view"] in names]
        except FileNotFoundError:
            return None
        return sorted(rows, key=lambda row: (row["frame"], names.index(row["view"])))

    def video(self, video: Row, views: Sequence[View]) -> Row | None:
        """All of `prepare_video` for a row of MANIFEST; None where it was not kept, or is no longer, failed or had
        another truth."""
        inputs = self.inputs(video["video_id"], views)
        if inputs is None:
            return None
        try:
            (known,) = self._rows(VIDEOS, video["video_id"])
            nested = {table.name: self._rows(table, video["video_id"]) for table in (FRAMES, TRUTH)}
        except FileNotFoundError:
            return None
        if known["status"] == STATUS_ERROR or known["truth_uri"] != video["truth_uri"]:
            return None
        found = {name: known[name] for name in ("status", *(field.name for field in fields(Probe)))}
        return found | nested | {INPUTS.name: inputs}

    def _rows(self, table: Table, video_id: str) -> list[Row]:
        """Those of one video, without the ids, in the order of the table's key."""
        file = self.folder / table.name / self.blocks[video_id]
        rows = pq.read_table(file, filters=[("video_id", "=", video_id)]).drop_columns(["run_id", "video_id"])
        order = [name for name in table.key if name in rows.column_names]
        return sorted(rows.to_pylist(), key=lambda row: [row[name] for name in order])
