"""The rows a detector is trained on. Without torch: a process that only cuts them need not load it."""

from typing import Final

import pyarrow as pa

from schemas.tables import STATUS_OK

#: one row per model input cut for training
SAMPLE: Final = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("pair", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("size", pa.int32(), nullable=False),
        pa.field("pixels", pa.binary(), nullable=False),
    ]
)


def flatten(table: pa.Table) -> pa.Table:
    """VIDEO_ROW to SAMPLE: one row per input of a video with a face."""
    rows = []
    for row in table.to_pylist():
        if row["status"] == STATUS_OK:
            ids = {"video_id": row["video_id"], "split": row["split"], "label": row["label"]}
            source = row["pair_id"] or row["video_id"]
            rows += [
                ids | {"pair": f"{source}:{item['frame']}"} | item  # frame, kind, size, pixels
                for item in row["inputs"]
            ]
    return pa.Table.from_pylist(rows, schema=SAMPLE)
