"""What the pipeline costs beside a plain loop that does the same: `python -m bench.pipeline VIDEOS`.

VIDEOS is a folder. Its first files go one by one through a loop of one process and one thread, which tells what each
part costs, and through `explain`, whose processes' time is summed up, quiet and beside as many busy processes as
`--load` says. Statistics are estimated before and given to both. Nothing else is warm: what Ray and its workers take to
start is part of a run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from rich.console import Console

from operators.explain import Explainer
from operators.inputs.faces import find_face
from operators.measure import measure
from operators.methods.ready import Files
from operators.prepare import prepare_video
from operators.video.decode import read_frames
from operators.video.keyframes import ChangeSignal
from pipelines import config as configs
from pipelines import manifest as manifests
from pipelines.cluster import connect
from pipelines.config import Config
from pipelines.estimate import estimate
from pipelines.explain import explain
from pipelines.lake.read import open_lake
from pipelines.lake.sink import unnest
from schemas.tables import NESTED, SINK_TABLES, VIDEO_ROW

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(without: frozenset[int] = frozenset()) -> float:
    """Seconds of the processor that this process, its descendants and what they have waited for have taken."""
    parents, taken = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        parents[int(folder.name)] = int(fields[1])
        taken[int(folder.name)] = sum(map(int, fields[11:15])) / _TICKS_PER_S
    ours, found = {os.getpid()}, 0.0
    while ours:
        found += sum(taken[pid] for pid in ours)
        ours = {pid for pid, parent in parents.items() if parent in ours} - without
    return found


@contextmanager
def busy_processes(n: int) -> Iterator[frozenset[int]]:
    """Inside, `n` processes that do nothing but run; their ids."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    try:
        yield frozenset(each.pid for each in started)
    finally:
        for each in started:
            each.kill()
            each.wait()


def loop(config: Config, table: pa.Table, files: Files) -> tuple[dict[str, float], int]:
    """Seconds of each part, and how many samples there are: the work of `explain` in this process."""
    seconds: dict[str, float] = defaultdict(float)
    explainer = Explainer(config.detectors, config.made_methods, config.targets, files, 4, threads=1)
    empty = dict.fromkeys(VIDEO_ROW.names) | {"inputs": []} | {each.name: [] for each in NESTED}
    n_samples, per_block = 0, config.resources.videos_per_block
    videos = table.to_pylist()
    for first in range(0, len(videos), per_block):
        rows = []
        for video in videos[first : first + per_block]:
            with _timed(seconds, "prepare"):
                found = prepare_video(
                    video["uri"], config.prepare, config.views, keep_bytes=config.limits.kept_mb << 20
                )
            rows.append(empty | video | found | {"prepare_s": 0.0})
            n_samples += len(found["inputs"])
        with _timed(seconds, "explain"):
            done = explainer(pa.Table.from_pylist(rows, schema=VIDEO_ROW))
        with _timed(seconds, "metrics"):
            done = measure(done, rules=config.mask_rules)
        with _timed(seconds, "write"), tempfile.TemporaryDirectory() as folder:
            for each in SINK_TABLES:
                pq.write_table(unnest(done, each, "r"), Path(folder) / each.name, compression="zstd")
    return seconds, n_samples


def parts(config: Config, table: pa.Table, frames: int) -> dict[str, float]:
    """Seconds of what preparing consists of, over all videos, `frames` of each looked at."""
    seconds: dict[str, float] = defaultdict(float)
    for video in table.to_pylist():
        signal = ChangeSignal(config.prepare.keyframes)
        reader = read_frames(video["uri"], "gray", keep_bytes=1 << 30)
        with _timed(seconds, "decode"):
            grey = [frame.image for frame in reader]
        with _timed(seconds, "change signal"):
            for image in grey:
                signal.update(image)
        wanted = set(range(0, len(grey), max(len(grey) // frames, 1)))
        with _timed(seconds, "cut from kept frames"):
            images = [frame.image for frame in reader.again("rgb24", wanted)]
        with _timed(seconds, "decode again"):
            list(read_frames(video["uri"], only=wanted))
        with _timed(seconds, "faces"):
            for image in images:
                find_face(image, config.prepare.faces)
        seconds["frames"] += len(images)
    return seconds


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    started = time.process_time()
    yield
    seconds[part] += time.process_time() - started


def piped(config: Config, load: int, videos: Path) -> tuple[float, float, str]:
    """Seconds of all processes of a run, those of the clock, and what it says of its stages."""
    with tempfile.TemporaryDirectory() as lake:
        with busy_processes(load) as others:
            started, before = time.perf_counter(), cpu_s(others)
            connect(config.resources)
            explain(config, [videos], Path(lake), Console(quiet=True))
            taken, clock = cpu_s(others) - before, time.perf_counter() - started
            ray.shutdown()
        with open_lake(Path(lake)) as connection:
            stages = connection.sql("select sum(prepare_s), sum(explain_s), sum(metrics_s) from videos").fetchall()[0]
            ((busy,),) = connection.sql("select busy from runs").fetchall()
    total = sum(each or 0 for each in stages)
    shares = ", ".join(
        f"{name} {(each or 0) / total:.0%}"
        for name, each in zip(("prepare", "explain", "metrics"), stages, strict=True)
    )
    return taken, clock, f"{shares}; actors explained {busy:.0%} of the time"


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--model", default="xception")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--max-keyframes", type=int, default=16)
    parser.add_argument("--load", type=int, nargs="+", default=[0, 2])
    options = parser.parse_args()

    torch.set_num_threads(1)
    weights = {} if options.weights is None else {options.model: options.weights}
    tables = {"prepare": {"keyframes": {"max_keyframes": options.max_keyframes}}, "bottleneck": {"preset": "fast"}}
    tables["resources"] = {"threads_per_actor": 1}
    table = manifests.build([options.videos]).table
    with tempfile.TemporaryDirectory() as known:
        config = configs.build(tables, [options.model], [], weights)
        estimate(config, [options.videos], Path(known), Console(quiet=True))
        ray.shutdown()
        config = configs.build(tables, [options.model], [], weights, statistics=Path(known))
        parts_s = parts(config, table, options.max_keyframes)
        n_frames = parts_s.pop("frames")
        print(f"{len(table)} videos, {n_frames:.0f} frames looked at\n\n| part | ms a frame | frames per s and core |")
        print("|---|---|---|")
        for part, seconds in parts_s.items():
            print(f"| {part} | {1e3 * seconds / n_frames:.1f} | {n_frames / seconds:.0f} |")
        files = Files(Path(known), {})
        looped, n_samples = loop(config, table, files)
        print(
            f"\n| plain loop, {n_samples} samples | CPU s | ms a sample | samples per s and core |\n|---|---|---|---|"
        )
        for part, seconds in (*looped.items(), ("all of it", sum(looped.values()))):
            print(f"| {part} | {seconds:.1f} | {1e3 * seconds / n_samples:.0f} | {n_samples / seconds:.1f} |")
        print("\n| explain | CPU s | times the loop | s of the clock | stages |\n|---|---|---|---|---|", flush=True)
        for load in options.load:
            taken, clock, said = piped(config, load, options.videos)
            name = f"beside {load} busy processes" if load else "as it is"
            print(f"| {name} | {taken:.1f} | {taken / sum(looped.values()):.2f} | {clock:.0f} | {said} |", flush=True)


if __name__ == "__main__":
    main()
