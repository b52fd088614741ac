"""What the pipeline costs beside a plain loop that does the same: `python -m bench.pipeline VIDEOS`.

VIDEOS is a folder. Its files go one by one through a loop of one process and one thread, which tells what each part
costs, through as many such loops at a time as there are processors, each with its share of the files, and through
`explain`, whose processes' time is summed up, quiet and beside as many busy processes as `--load` says. A second of a
processor is worth less while its neighbour works, too: loops side by side say how much of the difference that is.
Statistics are estimated before and given to all, and loop and run make the same maps to the last bit. Nothing else is
warm: what Ray and its workers take to start is part of a run. Takes a machine that lets this make a control group: root
on Linux.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from rich.console import Console

from operators.explain import Explainer, Row
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
from pipelines.machine import processors
from schemas.tables import MASKS, NESTED, SINK_TABLES, VIDEO_ROW

_MAP = ("video_id", "frame", "model", "method", "layer", "target", "empty", "scale", "saliency")


def spent(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the processor that `work` takes in this process and in all that it starts, and of the clock, until
    every one of these has ended.

    By a control group: Ray's workers end unwaited for, and what they took is in no process's account.
    """
    above = _control_group()
    group = above / f"viba-bench-{os.getpid()}"
    group.mkdir()
    started = time.perf_counter()
    try:
        (group / "cgroup.procs").write_text(str(os.getpid()))
        work()
    finally:
        (above / "cgroup.procs").write_text(str(os.getpid()))
        while (group / "cgroup.procs").read_text():
            time.sleep(0.1)
        taken, clock = _usage_s(group), time.perf_counter() - started
        group.rmdir()
    return taken, clock


def _control_group() -> Path:
    """That of this process which counts processor time: version 1, or else version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "cpuacct" in controllers.split(",") or not controllers:
            return Path("/sys/fs/cgroup", controllers, path.lstrip("/"))
    raise SystemExit("no control group counts processor time")


def _usage_s(group: Path) -> float:
    if (group / "cpuacct.usage").is_file():
        return int((group / "cpuacct.usage").read_text()) / 1e9
    return int((group / "cpu.stat").read_text().split()[1]) / 1e6


@contextmanager
def busy_processes(n: int) -> Iterator[None]:
    """Inside, `n` processes that do nothing but run, as nice as Ray makes its workers: beside others these stand."""
    spin = ["nice", "-n", "15", sys.executable, "-c", "while True: pass"]
    started = [subprocess.Popen(spin) for _ in range(n)]
    try:
        yield
    finally:
        for each in started:
            each.kill()
            each.wait()


def loop(config: Config, table: pa.Table, files: Files) -> tuple[dict[str, float], int, list[Row]]:
    """Seconds of each part, how many samples there are, and their maps: the work of `explain` in this process."""
    seconds: dict[str, float] = defaultdict(float)
    explainer = Explainer(config.detectors, config.made_methods, config.targets, files, 4, threads=1)
    empty = dict.fromkeys(VIDEO_ROW.names) | {"inputs": []} | {each.name: [] for each in NESTED}
    n_samples, per_block = 0, config.resources.videos_per_block
    maps: list[Row] = []
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
        maps += unnest(done, MASKS, "r").select(_MAP).to_pylist()
    return seconds, n_samples, maps


def loops(config: Config, table: pa.Table, files: Files) -> tuple[int, float]:
    """How many loops ran at a time, one for each processor, and the seconds of all."""
    n = processors()
    shares = [(config, table.take(list(range(first, len(table), n))), files) for first in range(n)]
    with multiprocessing.get_context("spawn").Pool(n) as pool:
        return n, sum(pool.starmap(_looped, shares, chunksize=1))


def _looped(config: Config, table: pa.Table, files: Files) -> float:
    torch.set_num_threads(1)
    return sum(loop(config, table, files)[0].values())


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


def piped(config: Config, load: int, videos: Path, expected: list[Row]) -> tuple[float, float, str]:
    """Seconds of all processes of a run, those of the clock, and what it says of its stages; its maps are those that
    are expected."""
    with tempfile.TemporaryDirectory() as lake:

        def work() -> None:
            connect(config.resources)
            explain(config, [videos], Path(lake), Console(quiet=True))
            ray.shutdown()

        with busy_processes(load):
            taken, clock = spent(work)
        with open_lake(Path(lake)) as connection:
            stages = connection.sql("select sum(prepare_s), sum(explain_s), sum(metrics_s) from videos").fetchall()[0]
            ((busy,),) = connection.sql("select busy from runs").fetchall()
            maps = connection.sql(f"select {', '.join(_MAP)} from masks").to_arrow_table().to_pylist()
    assert _in_order(maps) == _in_order(expected), "the run's maps are not those of the loop"
    total = sum(each or 0 for each in stages)
    shares = ", ".join(
        f"{name} {(each or 0) / total:.0%}"
        for name, each in zip(("prepare", "explain", "metrics"), stages, strict=True)
    )
    return taken, clock, f"{shares}; actors explained {busy:.0%} of the time"


def _in_order(maps: list[Row]) -> list[Row]:
    return sorted(maps, key=lambda each: [each[name] for name in _MAP[:6]])


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
    # a thread each: sums of floats come out the same
    tables |= {"resources": {"threads_per_actor": 1, "actors": processors()}, "statistics": {"max_videos": 8}}
    table = manifests.build([options.videos]).table
    with tempfile.TemporaryDirectory() as known:
        config = configs.build(tables, [options.model], [], weights)
        estimate(config, [options.videos], Path(known), Console(quiet=True))
        ray.shutdown()
        config = configs.build(tables, [options.model], [], weights, statistics=Path(known))
        files = Files(Path(known), {})
        looped, n_samples, maps = loop(config, table, files)
        whole = sum(looped.values())
        print(f"{len(table)} videos, {len(maps)} maps, {sum(bool(each['empty']) for each in maps)} of them empty\n")
        print(f"| plain loop, {n_samples} samples | CPU s | share | ms a sample | samples per s and core |")
        print("|---|---|---|---|---|", flush=True)
        for part, seconds in (*looped.items(), ("all of it", whole)):
            each = f"{seconds / whole:.1%} | {1e3 * seconds / n_samples:.1f} | {n_samples / seconds:.1f}"
            print(f"| {part} | {seconds:.1f} | {each} |")
        n_loops, side_by_side = loops(config, table, files)
        print(f"\n{n_loops} loops at a time: {side_by_side:.1f} CPU s, {side_by_side / whole:.2f} times the one")
        print("\n| explain | CPU s | times the loop | times the loops | s of the clock | stages |")
        print("|---|---|---|---|---|---|", flush=True)
        for load in options.load:
            taken, clock, said = piped(config, load, options.videos, maps)
            name = f"beside {load} busy processes" if load else "as it is"
            print(
                f"| {name} | {taken:.1f} | {taken / whole:.2f} | {taken / side_by_side:.2f} | {clock:.0f} | {said} |",
                flush=True,
            )
        parts_s = parts(config, table, options.max_keyframes)
        n_frames = parts_s.pop("frames")
        print(f"\n| preparing, {n_frames:.0f} frames | ms a frame | frames per s and core |\n|---|---|---|")
        for part, seconds in parts_s.items():
            print(f"| {part} | {1e3 * seconds / n_frames:.1f} | {n_frames / seconds:.0f} |")


if __name__ == "__main__":
    main()
