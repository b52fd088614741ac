"""What it costs to read a lake of many files, or of many rows: `python -m bench.lake OUT [--videos N] [...]`.

Writes a lake of made-up rows in blocks of four videos, as a run does, reads it, lets `pipelines.lake.compact` write its
blocks together, and reads it again: files, seconds and the peak of memory of a question and of `evaluate`, each in a
process of its own. The rows must be the same before and after. `--per-block 2000` is a lake that was written together
already; `--rules` and `--layers` say how many rows of metrics a video has: 10 and 10 of 100,000 videos are ten million.
A lake that is there is read as it is.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lake import blocks, compact
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from schemas.conform import conform
from schemas.tables import EXPLAIN, LABELS, LAKE_TABLES

_RUN: Final = "bench"
#: a command, and the peak of its memory in GB
_ASK: Final = """
import resource, sys
from pipelines.__main__ import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Lake:
    """Of what size: videos, those of a block, explained frames of each, layers, mask rules, and the side of a map."""

    videos: int
    per_block: int
    frames: int
    layers: int
    rules: int
    side: int

    def make(self, folder: Path) -> Layout:
        """A lake of one run, its blocks committed."""
        layout, rng = Layout(folder), np.random.default_rng(0)
        detectors = {"detectors": [{"spec": {"name": "m", "classes": list(LABELS)}}]}
        started = datetime(2026, 1, 1, tzinfo=UTC)
        run = {"started_at": [started], "ended_at": [started], "starts": [[]], "layers": [[]]}
        _write(layout, "runs", "run", run | {"config": [json.dumps(detectors)]})
        closed = [(f"l{layer}", name) for layer in range(self.layers) for name in LABELS]
        layers, classes = (list(each) for each in zip(*closed, strict=True))
        _write(
            layout, "closed", "closed", {"layer": layers, "class": classes, "model": "m", "rank": 1, "probability": 0.5}
        )
        checkpoints = layout.checkpoints(EXPLAIN, _RUN)
        checkpoints.mkdir(parents=True, exist_ok=True)
        for first in range(0, self.videos, self.per_block):
            numbers, name = np.arange(first, min(first + self.per_block, self.videos)), f"block-{first:08d}"
            for table, columns in self._columns(numbers, rng).items():
                _write(layout, table, name, columns)
            pq.write_table(pa.table({"video_id": _ids(numbers)}), checkpoints / f"{name}.parquet")
        return layout

    def _columns(self, numbers: np.ndarray, rng: np.random.Generator) -> dict[str, dict[str, Any]]:
        """Of every table of the chain: the columns, one value where all rows have it."""
        ids, n = _ids(numbers), len(numbers)
        labels = np.array(LABELS)[numbers % 2]
        seconds = {"prepare_s": rng.random(n), "explain_s": rng.random(n), "metrics_s": rng.random(n)}
        videos = {"video_id": ids, "uri": ids, "dataset": "d", "label": labels, "status": "ok", "n_frames": 9}
        # (video, frame), (video, frame, layer) and (video, layer, rule), as numbers of each
        frame = np.arange(n * self.frames)
        sample = np.arange(n * self.frames * self.layers)
        figure = np.arange(n * self.layers * self.rules)
        layers = np.array([f"l{layer}" for layer in range(self.layers)])
        rules = np.array(["max0.5", "otsu", *(f"top{rule / 100:g}" for rule in range(1, 99))])
        one = {"video_id": ids[frame // self.frames], "frame": frame % self.frames}
        each = {
            "video_id": ids[sample // self.layers // self.frames],
            "frame": sample // self.layers % self.frames,
            "layer": layers[sample % self.layers],
        }
        explained = {"model": "m", "method": "iba", "target": "fake"}
        p, through = rng.random(len(frame)), rng.random(len(sample))
        plain = one | {"model": "m", "method": "", "layer": "", "target": ""}
        saliency = rng.random((len(sample), self.side**2), np.float32).astype(np.float16)
        lists = pa.ListArray.from_arrays(np.arange(len(sample) + 1) * self.side**2, pa.array(saliency.ravel()))
        box = {"box_width": 64, "box_height": 64, "input_size": 299, "height": self.side, "width": self.side}
        bits = {"scale": 1.0, "unit": "bits per pixel", "total_bits": 9.0, "floor_bits": 1.0, "empty": False}
        return {
            "videos": videos | seconds,
            "frames": one | {"keyframe_score": 0.5, "status": "ok", "has_flow": True},
            "predictions": _classes([(plain, p), (each | explained, through)]),
            "masks": each
            | explained
            | box
            | bits
            | {"span_frames": 1, "first_frame": each["frame"], "saliency": lists},
            "metrics": explained
            | {
                "video_id": ids[figure // self.rules // self.layers],
                "layer": layers[figure // self.rules % self.layers],
                "mask_rule": rules[figure % self.rules],
                "n_frames": self.frames,
                **{name: rng.random(len(figure)) for name in ("iou", "iou_adjusted", "tcs", "persistence", "rpi")},
            },
            **{name: {"video_id": ids[:0]} for name in ("truth", "localisation_frames")},
        }


def _ids(numbers: np.ndarray) -> np.ndarray:
    return np.array([f"v{number:08d}" for number in numbers])


def _classes(samples: list[tuple[dict[str, Any], np.ndarray]]) -> dict[str, np.ndarray]:
    """The columns of `predictions`: of every sample, of which `fake` has the probability p, a row for each class."""
    parts = []
    for columns, p in samples:
        for name, own in zip(LABELS, (1 - p, p), strict=True):
            said = columns | {"class": name, "probability": own, "rank": np.where(own > 0.5, 1, 2)}
            parts.append({key: np.broadcast_to(value, len(p)) for key, value in said.items()})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _write(layout: Layout, name: str, block: str, columns: dict[str, Any]) -> None:
    """A file of a table; what is not said is nothing, or NULL."""
    table = next(each for each in LAKE_TABLES if each.name == name)
    folder = layout.table(_RUN, name)
    folder.mkdir(parents=True, exist_ok=True)
    n = max(len(each) for each in columns.values() if not isinstance(each, str | int | float))
    full = {field.name: _column(field, columns.get(field.name), n) for field in table.schema}
    rows = conform(pa.table(full), table.schema)
    pq.write_table(rows, folder / f"{block}.parquet", compression="zstd")


def _column(field: pa.Field, value: Any, n: int) -> pa.Array:
    if not n:
        return pa.array([], field.type)
    if field.name == "run_id":
        value = _RUN
    if value is None:
        value = None if field.nullable else "" if pa.types.is_string(field.type) else 0
        value = False if value == 0 and pa.types.is_boolean(field.type) else value
    if value is None or isinstance(value, str | int | float):
        return pa.repeat(pa.scalar(value, field.type), n)
    return value if isinstance(value, pa.Array) else pa.array(value, field.type)


def _measure(layout: Layout, frames: int) -> str:
    """Print files, bytes and what two commands take; what a question over every row gives."""
    files = [path for path in layout.root.rglob("*.parquet") if "evaluation" not in path.parts]
    n_bytes = sum(path.stat().st_size for path in files)
    n_blocks = len(blocks.committed(layout, EXPLAIN, _RUN)[0])
    print(f"{n_blocks} blocks: {len(files)} files, {n_bytes / frames:.0f} bytes per explained frame", flush=True)
    at = ("--lake", str(layout.root))
    for name, arguments in {
        "sql": ("sql", *at, "select model, count(*) from masks group by all"),
        "evaluate": ("evaluate", *at),
    }.items():
        wall, worked, peak = _timed(*arguments)
        took = f"{wall:.1f} s, {worked:.1f} s of processor time, {peak:.2f} GB at the peak"
        print(f"{n_blocks} blocks: {name} {took}", flush=True)
    with open_lake(layout.root) as connection:
        every = "select count(*), sum(probability::decimal(18, 6)), max(video_id) from predictions"
        return str(connection.sql(every).fetchall())


def _timed(*arguments: str) -> tuple[float, float, float]:
    """Seconds, seconds of processor time and GB at the peak, of a command of its own."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    found = subprocess.run([sys.executable, "-c", _ASK, *arguments], capture_output=True, text=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started
    if found.returncode:
        raise SystemExit(found.stdout + found.stderr)
    peak = float(found.stderr.splitlines()[-1])
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def main() -> None:
    """One line per command, before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    sizes = {"videos": 20_000, "per-block": 4, "frames": 4, "layers": 1, "rules": 3, "side": 38}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    told = {name: value for name, value in vars(options).items() if name != "out"}
    if not options.out.is_dir():
        started, unfinished = time.process_time(), options.out.with_name(f"{options.out.name}.making")
        shutil.rmtree(unfinished, ignore_errors=True)
        Lake(**told).make(unfinished)
        unfinished.rename(options.out)
        print(f"{told} made in {time.process_time() - started:.0f} s of processor time", flush=True)
    layout, frames = Layout(options.out), options.videos * options.frames
    before = _measure(layout, frames)
    started = time.process_time()
    if n := compact.compact(layout, EXPLAIN, _RUN):
        compact.sweep(layout, EXPLAIN, _RUN, older_than_s=0)
        print(f"{n} blocks written together in {time.process_time() - started:.0f} s of processor time", flush=True)
        if _measure(layout, frames) != before:
            raise SystemExit("the rows differ")


if __name__ == "__main__":
    main()
