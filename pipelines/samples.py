"""The samples a detector is trained on: cut from the videos of a manifest, or anew where a lake's runs cut them."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from operators.inputs.flow import FlowParams
from operators.inputs.view import View
from operators.models.running import pixels_of
from operators.models.spec import ModelSpec
from operators.models.training import Samples
from operators.prepare import PrepareParams, prepare, recut
from operators.samples import flatten
from operators.stage import Stage
from operators.video.keyframes import KeyframeParams
from operators.video.sandbox import Limits
from pipelines import manifest as manifests
from pipelines.cluster import connect
from pipelines.config import Resources, check_row, fill
from pipelines.errors import UserError
from pipelines.lake.read import open_lake, queries
from pipelines.screen import say
from pipelines.stream import streamed
from schemas.records import SAMPLE
from schemas.tables import CLASS_FAKE, CLASS_REAL, LABELS, NESTED, VIDEO_ROW

SPLITS: Final = ("train", "val")


@dataclass(frozen=True)
class Source:
    """Videos with label and split, the stage that cuts their inputs, and what both follow from, in one digest."""

    videos: pa.Table
    cut: Stage
    digest: str


def from_manifest(manifest: Path, views: tuple[View, ...], frames_per_video: int) -> Source:
    """The splits train and val of a manifest: `frames_per_video` frames of each, evenly spaced.

    Raises UserError for a manifest without both labels in both splits, and for more frames than a row holds.
    """
    keyframes = KeyframeParams(selection="uniform")
    keyframes = fill(keyframes, {"max_keyframes": frames_per_video}, "prepare.keyframes")
    check_row(frames_per_video, views)
    table = manifests.build([manifest]).table
    rows = _labelled(table.to_pylist(), str(manifest))
    kwargs = {"params": PrepareParams(keyframes), "limits": Limits(), "views": views}
    cut = Stage("prepare", prepare, VIDEO_ROW, batch_size=1, kwargs=kwargs)
    return Source(pa.Table.from_pylist(rows, schema=table.schema), cut, _digest(rows, frames_per_video))


def from_lake(lake: Path, views: tuple[View, ...]) -> Source:
    """The splits train and val of the videos a lake's runs explained: the keyframes and face boxes of its `frames`.

    Of a video in several runs the latest one with a face counts. Raises UserError for no lake, no run in it, and
    videos without both labels in both splits.
    """
    with open_lake(lake) as connection:
        videos = _labelled(connection.sql(queries("samples")["explained"]).to_arrow_table().to_pylist(), str(lake))
        found = connection.sql(queries("samples")["frames"]).to_arrow_table().to_pylist()
    frames: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in found:
        frames.setdefault((row.pop("run_id"), row.pop("video_id")), []).append(row)
    by_run = {row["run_id"]: FlowParams(**json.loads(row["config"])["prepare"]["flow"]) for row in videos}
    flows = {row["video_id"]: by_run[row["run_id"]] for row in videos}
    empty: dict[str, Any] = {"inputs": []} | {table.name: [] for table in NESTED}
    rows = [empty | row | {"frames": frames[row["run_id"], row["video_id"]]} for row in videos]
    cut = Stage("recut", recut, VIDEO_ROW, batch_size=1, kwargs={"flows": flows, "limits": Limits(), "views": views})
    return Source(pa.Table.from_pylist(rows, schema=VIDEO_ROW), cut, _digest(videos, None))


def _labelled(rows: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    rows = [row for row in rows if row["label"] in LABELS and row["split"] in SPLITS]
    found = {(row["split"], row["label"]) for row in rows}
    for split in SPLITS:
        for label in LABELS:
            if (split, label) not in found:
                raise UserError(
                    f"{where} has no {label} video in the split {split}: training needs both in train and val"
                )
    return rows


def _digest(rows: list[dict[str, Any]], frames_per_video: int | None) -> str:
    known = [[row[name] for name in ("video_id", "label", "split", "pair_id")] + [row.get("run_id")] for row in rows]
    return hashlib.sha256(json.dumps([known, frames_per_video]).encode()).hexdigest()


def cut_samples(source: Source, folder: Path, console: Console) -> None:
    """SAMPLE rows of `source` as Parquet in `folder`, once; `_done` is written last. Says how many videos gave none."""
    if (folder / "_done").is_file():
        return
    connect(Resources())
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.parquet"):
        stale.unlink()
    todo = folder / "_videos.parquet"
    pq.write_table(source.videos, todo)
    with streamed(todo, [source.cut], Resources.videos_per_block, len(source.videos), console) as videos:
        videos.map_batches(flatten, batch_format="pyarrow", batch_size=None, num_cpus=1).write_parquet(str(folder))
    used = len(pq.read_table(folder, schema=SAMPLE, columns=["video_id"])["video_id"].unique())
    if used < len(source.videos):
        say(console, f"{len(source.videos) - used} of {len(source.videos)} videos gave no sample")
    (folder / "_done").touch()


def count(folder: Path, spec: ModelSpec) -> Counter[tuple[str, str]]:
    """How many samples `spec` has of each (split, label)."""
    table = pq.read_table(folder, schema=SAMPLE, columns=["split", "label"], filters=_wanted(spec))
    return Counter(zip(table["split"].to_pylist(), table["label"].to_pylist(), strict=True))


def load(folder: Path, split: str, spec: ModelSpec) -> Samples:
    """The samples of one split that `spec` looks at, in a fixed order."""
    table = pq.read_table(folder, schema=SAMPLE, filters=[("split", "=", split), *_wanted(spec)])
    table = table.sort_by([("video_id", "ascending"), ("frame", "ascending")])
    pixels = pixels_of(table["pixels"].to_pylist(), spec)
    labels = np.array([CLASS_FAKE if label == "fake" else CLASS_REAL for label in table["label"].to_pylist()])
    return Samples(pixels, labels, np.array(table["pair"].to_pylist(), object))


def _wanted(spec: ModelSpec) -> list[tuple[str, str, Any]]:
    return [("view", "=", str(spec.view))]
