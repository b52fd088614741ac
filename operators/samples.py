"""The rows a detector is trained on. Without torch: a process that only cuts them need not load it."""

import pyarrow as pa

from schemas.records import CLIP, SAMPLE
from schemas.tables import STATUS_OK


def flatten(table: pa.Table) -> pa.Table:
    """VIDEO_ROW to SAMPLE: one row per input of a video."""
    rows = []
    for row in table.to_pylist():
        if row["status"] == STATUS_OK:
            ids = {"video_id": row["video_id"], "split": row["split"], "label": row["label"]}
            source = row["pair_id"] or row["video_id"]
            rows += [
                ids | {"pair": f"{source}:{item['frame']}"} | {key: item[key] for key in ("frame", "view", "pixels")}
                for item in row["inputs"]
            ]
    return pa.Table.from_pylist(rows, schema=SAMPLE)


def flatten_clips(table: pa.Table) -> pa.Table:
    """VIDEO_ROW to CLIP: one row per input of a video, of no concept."""
    rows = [
        {"clip_id": f"{row['video_id']}:{item['frame']}", "concept": "", "kind": "", "pixels": item["pixels"]}
        for row in table.to_pylist()
        if row["status"] == STATUS_OK
        for item in row["inputs"]
    ]
    return pa.Table.from_pylist(rows, schema=CLIP)
