"""What a run costs before its first video is explained: `python -m bench.start`.

Two clips of the portrait by Grad-CAM, in one process whose Ray is there already, with Ray Data's newer reader of
Parquet and with the one that `pipelines.cluster` chooses, in turns. Printed are wall times and all processor time that
the machine spent meanwhile, so that nothing else may run. The maps of both have to be the same.
"""

import argparse
import tempfile
import time
from pathlib import Path

import ray.data
from rich.console import Console

from operators.forging.portrait import make_clips
from pipelines import config as configs
from pipelines import explain as explaining
from pipelines.cluster import connect
from pipelines.lake.read import open_lake


def processor_s() -> float:
    """Seconds that all processors have worked since the machine was started."""
    user, nice, system = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return (int(user) + int(nice) + int(system)) / 100


def run(videos: list[Path], lake: Path, newer: bool) -> tuple[float, float, list[tuple]]:
    """(seconds of the wall, of the processors, maps) of one run into a lake that is not there yet."""
    config = configs.build(
        {"prepare": {"keyframes": {"max_keyframes": 1}}, "methods": ("gradcam",)}, ["test_resnet"], ["layer3"], {}
    )

    def joined(resources: configs.Resources) -> object:
        cluster = connect(resources)
        ray.data.DataContext.get_current().use_datasource_v2 = newer
        return cluster

    explaining.connect = joined
    worked, started = processor_s(), time.perf_counter()
    explaining.explain(config, videos, lake, Console(quiet=True))
    wall, worked = time.perf_counter() - started, processor_s() - worked
    with open_lake(lake) as connection:
        return wall, worked, connection.sql("select video_id, frame, saliency from masks order by all").fetchall()


def main() -> None:
    """Print a line for each run, the first of which starts Ray and is left out of the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3)
    times = parser.parse_args().times
    walls: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        make_clips(Path(folder) / "clips", n_real=1, n_fake=1, frames_per_clip=8)
        videos = [Path(folder) / "clips" / label for label in ("real", "fake")]
        _, _, expected = run(videos, Path(folder) / "first", newer=False)
        print("| reader | wall | processors |\n|---|---|---|", flush=True)
        for number in range(times):
            for newer in (True, False):
                wall, worked, maps = run(videos, Path(folder) / f"{number}-{newer}", newer)
                assert maps == expected
                walls[newer].append(wall)
                print(f"| {'newer' if newer else 'chosen'} | {wall:.1f} s | {worked:.1f} s |", flush=True)
    print(
        f"\nthe newer one takes {sorted(walls[True])[times // 2] / sorted(walls[False])[times // 2]:.2f} times as long"
    )


if __name__ == "__main__":
    main()
