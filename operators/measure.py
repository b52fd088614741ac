"""The stage that measures: masks of a video in, how steady they are and whether they lie where it was forged out."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from operators.measures.consistency import video_metrics
from operators.measures.localisation import localise, region
from operators.measures.maps import Heat, heat
from operators.measures.rules import MaskRule

Row = dict[str, Any]
_PLACE = ("model", "method", "layer", "target")
_BOX = ("x", "y", "width", "height")


def measure(table: pa.Table, *, rules: tuple[str, ...]) -> pa.Table:
    """VIDEO_ROW in, VIDEO_ROW out: metrics over the masks of each video, per model, method, layer and target, and
    localisation of each mask over a face whose forged region is known. Masks with an error_code are left out."""
    parsed = [MaskRule.parse(rule) for rule in rules]
    metrics, localisation, seconds = [], [], []
    for masks, frames, truth in zip(table["masks"], table["frames"], table["truth"], strict=True):
        started = time.perf_counter()
        maps = [(row, heat(row)) for row in masks.as_py() if row["error_code"] is None]
        metrics.append(_metrics(maps, parsed))
        localisation.append(_localisation(maps, frames.as_py(), truth.as_py()) if len(truth) else [])
        seconds.append(time.perf_counter() - started)
    for name, values in (("metrics", metrics), ("localisation_frames", localisation), ("metrics_s", seconds)):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), pa.array(values, table.schema.field(index).type))
    return table


def _metrics(maps: Sequence[tuple[Row, Heat]], rules: Sequence[MaskRule]) -> list[Row]:
    groups: dict[tuple[str, ...], list[tuple[Row, Heat]]] = {}
    for row, values in maps:
        groups.setdefault(tuple(row[name] for name in _PLACE), []).append((row, values))
    rows = []
    for place, own in groups.items():
        own.sort(key=lambda each: (each[0]["frame"], each[0]["first_frame"]))
        samples = [row["first_frame"] for row, _ in own]
        in_time = len(set(samples)) < len(samples)  # maps of clips have several cells of time, which follow on another
        ids = dict(zip(_PLACE, place, strict=True)) | {"n_empty": sum(row["empty"] for row, _ in own)}
        rows += [ids | row for row in video_metrics([values for _, values in own], rules, samples if in_time else None)]
    return rows


def _localisation(maps: Sequence[tuple[Row, Heat]], frames: Sequence[Row], truth: Sequence[Row]) -> list[Row]:
    """The true mask lies over the face's box: maps of the whole frame are not compared with it."""
    faces = {frame["frame"]: tuple(frame[f"face_{side}"] for side in _BOX) for frame in frames}
    cells = {row["frame"]: np.array(row["mask"], np.uint8).reshape(row["height"], row["width"]) for row in truth}
    rows = []
    for row, values in maps:
        frame = row["frame"]
        if frame in cells and cells[frame].any() and faces[frame] == tuple(row[f"box_{side}"] for side in _BOX):
            ids = {name: row[name] for name in ("first_frame", "frame", *_PLACE)}
            rows.append(ids | asdict(localise(values, region(cells[frame], len(values)))))
    return rows
