"""How memory and time grow with the number of videos: `python -m bench.memory OUT [--videos N ...]`.

Explains N short clips of the portrait (50 of them, under N names) by Grad-CAM of a small network, for each N in a lake
of its own, and prints the peaks of anonymous memory of the driver, of Ray's workers and of the decoding processes, of
what the object store holds, the seconds to the first and the last video, and those of the same command once more, when
nothing is left to do. One row for each N, as CSV, which OUT/memory.csv keeps of all calls; OUT/memory.png draws them.
"""

import argparse
import csv
import os
import shutil
import time
from pathlib import Path
from typing import Final

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from bench.processes import Command, is_raylet
from operators.forging.portrait import make_clips
from pipelines.lake.layout import Layout
from schemas.tables import EXPLAIN

_FLAGS: Final = ("--model", "test_resnet", "--method", "gradcam", "--max-keyframes", "1")
_CLIPS: Final = 50
_EVERY_S: Final = 0.5
_KINDS: Final[tuple[str, ...]] = ("driver", "workers", "decoders", "ray", "store")


def videos(out: Path, n: int) -> Path:
    """A folder of `n` clips; names are part of what a video is, so that each is another one."""
    clips = out / "clips"
    if not clips.is_dir():
        make_clips(out / "making", n_real=_CLIPS, n_fake=0, frames_per_clip=8)
        (out / "making").rename(clips)
    folder = out / f"videos-{n}"
    if not folder.is_dir():
        folder.mkdir()
        for number in range(n):
            os.link(clips / "real" / f"{number % _CLIPS:03d}.mp4", folder / f"{number:06d}.mp4")
    return folder


def now(run: Command) -> dict[str, float]:
    """GB of each kind of process at this moment."""
    found: dict[str, float] = dict.fromkeys(_KINDS, 0.0)
    lines: dict[int, bytes] = {}
    run.pids(lambda pid, line: bool(lines.update({pid: line})))
    for pid, line in lines.items():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:  # it has just ended
            continue
        gb = {row.split(":")[0]: int(row.split()[1]) / 2**20 for row in status.splitlines() if row.startswith("Rss")}
        if pid == run.process.pid:
            kind = "driver"
        elif b"operators.video.sandbox" in line:
            kind = "decoders"
        else:
            kind = "workers" if line.startswith(b"ray::") else "ray"
        found[kind] += gb.get("RssAnon", 0.0)
        if is_raylet(pid, line):
            found["store"] = gb.get("RssShmem", 0.0)
    return found


def measure(out: Path, n: int) -> dict[str, float]:
    """Peaks in GB and seconds for `n` videos."""
    folder, lake = videos(out, n), out / f"lake-{n}"
    shutil.rmtree(lake, ignore_errors=True)
    peaks: dict[str, float] = dict.fromkeys(_KINDS, 0.0)
    first_s = 0.0
    run = Command("explain", folder, "--lake", lake, *_FLAGS)
    while run.goes_on():
        time.sleep(_EVERY_S)
        layout = Layout(lake)
        if not first_s and any(layout.committed(EXPLAIN, run_id) for run_id in layout.run_ids()):
            first_s = run.age_s()
        peaks = {kind: max(gb, peaks[kind]) for kind, gb in now(run).items()}
    whole_s = run.age_s()
    if (ended := run.ended(60))[0]:
        raise SystemExit(str(ended))
    again = Command("explain", folder, "--lake", lake, *_FLAGS)
    if (ended := again.ended(600))[0]:
        raise SystemExit(str(ended))
    return peaks | {"first_s": first_s, "whole_s": whole_s, "again_s": again.age_s()}


def draw(rows: list[dict[str, float]], path: Path) -> None:
    """Peaks of memory and seconds after the first video by the number of videos."""
    rows = sorted(rows, key=lambda row: row["videos"])
    n = [row["videos"] for row in rows]
    figure, (memory, seconds) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for kind, named in zip(_KINDS, ("driver", "workers", "decoding processes", "Ray", "object store"), strict=True):
        memory.plot(n, [row[kind] for row in rows], marker="o", label=named)
    memory.set(xlabel="videos", ylabel="GB at the peak", xscale="log", ylim=(0, 2.6))
    memory.legend(fontsize=8, loc="upper center", ncols=2)
    took = [row["whole_s"] - row["first_s"] for row in rows]
    seconds.plot(n, took, marker="o", label="all after the first")
    seconds.plot(n, [each * took[-1] / n[-1] for each in n], color="grey", linestyle=":", label="in proportion")
    seconds.plot(n, [row["again_s"] for row in rows], marker="o", label="the same command again")
    seconds.set(xlabel="videos", ylabel="s", xscale="log", yscale="log")
    seconds.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """One row for each number of videos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=int, nargs="+", default=[50, 500])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    kept = options.out / "memory.csv"
    for n in options.videos:
        found = {"videos": n} | {name: round(value, 2) for name, value in measure(options.out, n).items()}
        new = not kept.is_file()
        with kept.open("a", newline="") as file:
            writer = csv.DictWriter(file, found)
            if new:
                writer.writeheader()
            writer.writerow(found)
        print(*(f"{name}={value:g}" for name, value in found.items()), flush=True)
    with kept.open(newline="") as file:
        draw(
            [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)],
            kept.with_suffix(".png"),
        )


if __name__ == "__main__":
    main()
