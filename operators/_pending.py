import time
from functools import cache
import numpy as np
import pyarrow as pa
from operators.metrics import MaskRule, video_metrics
from operators.prepare import ModelInput, PrepareParams, prepare_video
from operators.sandbox import Limits, Sandbox
from schemas.errors import SampleError
from schemas.tables import NESTED, STATUS_ERROR, VIDEO_ROW


def prepare(table: pa.Table, *, params: PrepareParams, limits: Limits, inputs: tuple[ModelInput, ...]) -> pa.Table:
    """MANIFEST in, VIDEO_ROW out; what cannot be decoded becomes a row that says so. Each video in a sandbox."""
    empty = {name: None for name in VIDEO_ROW.names} | {"inputs": []} | {each.name: [] for each in NESTED}
    rows = []
    for video in table.to_pylist():
        started = time.perf_counter()
        try:
            found = _sandbox(limits).run(prepare_video, video["uri"], params, inputs)
        except SampleError as error:
            found = {"status": STATUS_ERROR, "error_stage": "prepare"}
            found |= {"error_code": error.code, "error_detail": error.detail}
        rows.append(empty | video | found | {"prepare_s": time.perf_counter() - started})
    return pa.Table.from_pylist(rows, schema=VIDEO_ROW)


@cache
def _sandbox(limits: Limits) -> Sandbox:
    """One child per worker process, kept from video to video."""
    return Sandbox(limits)


def measure(table: pa.Table, *, rules: tuple[str, ...]) -> pa.Table:
    """VIDEO_ROW in, VIDEO_ROW out: metrics over the masks of each video, per model, method and layer."""
    parsed = [MaskRule.parse(rule) for rule in rules]
    metrics, seconds = [], []
    for masks in table["masks"]:
        started = time.perf_counter()
        groups: dict[tuple[str, str, str], list[dict]] = {}
        for mask in masks.as_py():
            groups.setdefault((mask["model"], mask["method"], mask["layer"]), []).append(mask)
        rows = []
        for (model, method, layer), frames in groups.items():
            frames.sort(key=lambda mask: mask["frame"])
            maps = [np.array(each["saliency"], np.float32).reshape(each["height"], each["width"]) for each in frames]
            ids = {"model": model, "method": method, "layer": layer}
            rows += [ids | row for row in video_metrics(maps, frames[0]["input_size"], parsed)]
        metrics.append(rows)
        seconds.append(time.perf_counter() - started)
    for name, values in (("metrics", metrics), ("metrics_s", seconds)):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), pa.array(values, table.schema.field(index).type))
    return table
