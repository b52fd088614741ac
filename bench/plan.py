"""What `plan` says beside what the run then takes: `python -m bench.plan OUT [--videos N] [--sample N]`.

Clips of the portrait: a trial explains some of them and plans all on this machine, then all are explained, by another
run in another lake. What is in OUT is taken as it is.
"""

import argparse
from pathlib import Path
from typing import Final

from bench.processes import Command
from operators.forging.portrait import make_clips
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from pipelines.machine import processors
from pipelines.plan import Machines, Prices, plan, rows, taken
from schemas.tables import EXPLAIN

_FLAGS: Final = ("--model", "resnet10t", "--max-keyframes", "4", "--preset", "fast")


def main() -> None:
    """One line per figure, with its interval and what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=int, default=48)
    parser.add_argument("--sample", type=int, default=16)
    options = parser.parse_args()
    out, n = options.out, options.videos
    if not (out / "videos").is_dir():
        make_clips(out / "making", n_real=n // 2, n_fake=n - n // 2, frames_per_clip=25)
        (out / "making").rename(out / "videos")
    manifest = out / "videos.csv"
    uris = sorted(path.resolve() for label in ("real", "fake") for path in (out / "videos" / label).iterdir())
    manifest.write_text("\n".join(["uri", *map(str, uris)]))

    here = ("--cpu-nodes", "1", "--cores-per-node", str(processors()))
    trial = ("plan", "--manifest", manifest, "--sample", str(options.sample), "--trial", out / "trial")
    for command in ((*trial, *here), ("explain", manifest, "--lake", out / "lake")):
        code, said, err = Command(*command, *_FLAGS).ended(3600)
        if code:
            raise SystemExit(said + err)
    expected = plan(taken(out / "trial" / "lake"), len(uris), None, Machines(processors()), 1, Prices())
    was = taken(out / "lake")
    with open_lake(out / "lake", was.run_id) as connection:
        ((wall_h,),) = connection.sql("select epoch(ended_at - started_at) / 3600 from runs").fetchall()
    measured = {
        "wall time": wall_h,
        "cores that work": was.cores_s.value * len(uris) / 3600,
        "lake written": sum(path.stat().st_size for path in _written(out / "lake", was.run_id)) / 1e9,
    }
    print("figure,expected,low,high,measured,unit")
    for row in rows(expected).to_pylist():
        if row["what"] in measured:
            numbers = (row["estimate"], row["low"], row["high"], measured[row["what"]])
            print(row["what"], *("" if each is None else f"{each:.4g}" for each in numbers), row["unit"], sep=",")


def _written(lake: Path, run_id: str) -> list[Path]:
    """The files of the run's blocks: those of tables are named like their checkpoints."""
    layout = Layout(lake)
    names = {path.name for path in layout.committed(EXPLAIN, run_id)}
    return [path for path in lake.rglob("*.parquet") if path.name in names]


if __name__ == "__main__":
    main()
