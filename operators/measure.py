"""The stage that measures: masks of a video in, how steady they are and whether they lie where it was forged out."""

import time

import numpy as np
import pyarrow as pa

from operators.measures.consistency import video_metrics
from operators.measures.localisation import video_localisation
from operators.measures.rules import MaskRule


def measure(table: pa.Table, *, rules: tuple[str, ...]) -> pa.Table:
    """VIDEO_ROW in, VIDEO_ROW out: metrics over the masks of each video, per model, method and layer; localisation."""
    parsed = [MaskRule.parse(rule) for rule in rules]
    metrics, localisation, seconds = [], [], []
    for nested, truth in zip(table["masks"], table["truth"], strict=True):
        started = time.perf_counter()
        masks = nested.as_py()
        groups: dict[tuple[str, str, str], list[dict]] = {}
        for mask in masks:
            groups.setdefault((mask["model"], mask["method"], mask["layer"]), []).append(mask)
        rows = []
        for (model, method, layer), frames in groups.items():
            frames.sort(key=lambda mask: mask["frame"])
            maps = [np.array(each["saliency"], np.float32).reshape(each["height"], each["width"]) for each in frames]
            ids = {"model": model, "method": method, "layer": layer}
            rows += [ids | row for row in video_metrics(maps, frames[0]["input_size"], parsed)]
        metrics.append(rows)
        localisation.append(video_localisation(masks, truth.as_py()))
        seconds.append(time.perf_counter() - started)
    for name, values in (("metrics", metrics), ("localisation_frames", localisation), ("metrics_s", seconds)):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), pa.array(values, table.schema.field(index).type))
    return table
