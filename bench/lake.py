"""What the number of files costs who reads a lake: `python -m bench.lake OUT [--videos N]`.

Writes a lake of made-up rows in blocks of four videos, as a run does, reads it, lets `pipelines.lake.compact` write its
blocks together, and reads it again: files, seconds and the peak of memory of a question and of `evaluate`, each in a
process of its own. The rows must be the same before and after.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.lake import compact
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from schemas.tables import EXPLAIN, LABELS, LAKE_TABLES

_PER_BLOCK: Final = 4
_FRAMES: Final = 4
_RUN: Final = "bench"
_CELLS: Final = 38 * 38
_EXPLAINED: Final = {"model": "m", "method": "iba", "layer": "l", "target": "fake"}
#: a command, and the peak of its memory in GB
_ASK: Final = """
import resource, sys
from pipelines.__main__ import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, file=sys.stderr)
sys.exit(code)
"""


def make(lake: Path, n_videos: int) -> Layout:
    """A lake of one run, its blocks committed."""
    layout, rng = Layout(lake), np.random.default_rng(0)
    detectors = {"detectors": [{"spec": {"name": "m", "classes": list(LABELS)}}]}
    started = datetime(2026, 1, 1, tzinfo=UTC)
    run = {"started_at": started, "ended_at": started, "starts": [], "layers": [], "config": json.dumps(detectors)}
    _write(layout, "runs", "run", [run])
    closed = {"model": "m", "layer": "l", "probability": 0.5, "rank": 1}
    _write(layout, "closed", "closed", [closed | {"class": name} for name in LABELS])
    for first in range(0, n_videos, _PER_BLOCK):
        name, ids = f"block-{first:08d}", [f"v{i:08d}" for i in range(first, min(first + _PER_BLOCK, n_videos))]
        for table, rows in _rows(ids, rng).items():
            _write(layout, table, name, rows)
        folder = layout.checkpoints(EXPLAIN, _RUN)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"video_id": ids}), folder / f"{name}.parquet")
    return layout


def _rows(ids: list[str], rng: np.random.Generator) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {table.name: [] for table in LAKE_TABLES if table.chain == EXPLAIN}
    for video in ids:
        label = LABELS[int(video[1:]) % 2]
        found["videos"].append(
            {"video_id": video, "uri": video, "dataset": "d", "label": label, "status": "ok", "n_frames": 9}
        )
        for frame in range(_FRAMES):
            own = {"video_id": video, "frame": frame}
            found["frames"].append(own | {"keyframe_score": 0.5, "status": "ok", "has_flow": True, "time_s": 0.0})
            p = float(rng.random())
            for rank, (name, share) in enumerate(sorted(zip(LABELS, (1 - p, p), strict=True), key=lambda e: -e[1]), 1):
                said = {"model": "m", "class": name, "probability": share, "logit": 0.0, "rank": rank}
                found["predictions"].append(own | said | {"method": "", "layer": "", "target": ""})
            box = {"box_x": 0, "box_y": 0, "box_width": 64, "box_height": 64}
            bits = {"scale": 1.0, "unit": "bits per pixel", "total_bits": 9.0, "floor_bits": 1.0, "empty": False}
            size = {"span_frames": 1, "input_size": 299, "height": 38, "width": 38, "first_frame": frame}
            found["predictions"] += [
                each | {name: _EXPLAINED[name] for name in ("method", "layer", "target")}
                for each in found["predictions"][-len(LABELS) :]
            ]
            values = rng.random(_CELLS).astype(np.float16)
            found["masks"].append(own | _EXPLAINED | box | bits | size | {"saliency": values, "seconds": 0.1})
        for rule in ("max0.5", "otsu", "top0.1"):
            figures = {"mask_rule": rule, "iou": 0.5, "iou_adjusted": 0.4, "tcs": 0.1, "persistence": 0.5, "rpi": 0.1}
            found["metrics"].append({"video_id": video} | _EXPLAINED | figures | {"n_frames": _FRAMES, "n_empty": 0})
    return found


def _write(layout: Layout, table: str, name: str, rows: list[dict[str, Any]]) -> None:
    schema = next(each.schema for each in LAKE_TABLES if each.name == table)
    folder = layout.table(_RUN, table)
    folder.mkdir(parents=True, exist_ok=True)
    full = [dict.fromkeys(schema.names) | {"run_id": _RUN} | row for row in rows]
    pq.write_table(pa.Table.from_pylist(full, schema=schema), folder / f"{name}.parquet", compression="zstd")


def _read(layout: Layout) -> tuple[int, int, str]:
    """Files, bytes, and what a question over every row gives."""
    files = [path for path in layout.root.rglob("*.parquet") if "evaluation" not in path.parts]
    with open_lake(layout.root) as connection:
        said = str(connection.sql("select count(*), sum(probability), max(video_id) from predictions").fetchall())
    return len(files), sum(path.stat().st_size for path in files), said


def _timed(*arguments: str) -> tuple[float, float]:
    """Seconds of processor time and GB at the peak, of a command of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = subprocess.run([sys.executable, "-c", _ASK, *arguments], capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if found.returncode:
        raise SystemExit(found.stderr)
    peak = float(found.stderr.splitlines()[-1])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, peak


def main() -> None:
    """One row per command, before and after."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=int, default=20_000)
    options = parser.parse_args()
    layout = make(options.out, options.videos)
    commands = {
        "sql": ("sql", "--lake", str(options.out), "select model, count(*) from masks group by all"),
        "evaluate": ("evaluate", "--lake", str(options.out)),
    }
    said = {}
    for state in ("in blocks of four", "written together"):
        if state == "written together":
            started = time.process_time()
            n = compact.compact(layout, EXPLAIN, _RUN)
            compact.sweep(layout, EXPLAIN, _RUN, older_than_s=0)
            print(f"{n} blocks written together in {time.process_time() - started:.0f} s of processor time", flush=True)
        n_files, n_bytes, said[state] = _read(layout)
        frames = options.videos * _FRAMES
        print(f"{state}: {n_files} files, {n_bytes / frames:.0f} bytes per explained frame", flush=True)
        for name, command in commands.items():
            seconds, peak = _timed(*command)
            print(f"{state}: {name} {seconds:.1f} s of processor time, {peak:.2f} GB at the peak", flush=True)
    if len(set(said.values())) != 1:
        raise SystemExit(f"the rows differ: {said}")


if __name__ == "__main__":
    main()
