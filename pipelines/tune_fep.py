"""The cut-offs of F-EP, found on validation videos by insertion minus deletion."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from operators.measures.comparison import interval
from operators.prepare import PrepareParams, prepare
from operators.stage import Stage
from operators.tune import Cutoffs
from operators.video.keyframes import KeyframeParams
from pipelines import manifest as manifests
from pipelines.cluster import connect
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.manifest import write_table
from pipelines.screen import say
from pipelines.stream import streamed
from pipelines.tables import print_table
from schemas.records import CUTOFF
from schemas.tables import VIDEO_ROW

#: shares of the frequencies that are kept, over time and over space; all of both is extremal perturbation
SHARES: Final = (0.25, 0.5, 1.0)

Pair = tuple[float, float]


def tune_fep(config: Config, paths: list[Path], out: Path, max_videos: int, console: Console) -> Pair:
    """Write OUT, a config of `budget.fep` with the cut-offs that are best on one input of each video; return them.

    Of a manifest with splits only `val` is used, and at most `max_videos` videos. UserError: an OUT that cannot be
    written, and videos that no input can be cut from.
    """
    (detector,) = config.detectors
    table = manifests.build(paths, config.classes).table
    held_out = table.filter(pc.field("split") == "val")
    # ids are hashes, so the first ones are a random sample
    videos = (held_out if len(held_out) else table).slice(0, max_videos)
    params = PrepareParams(KeyframeParams(selection="uniform", max_keyframes=1))
    cluster = connect(config.resources, console)
    cut = {"params": params, "limits": config.limits, "views": (detector.spec.view,)}
    tried = {
        "detector": detector,
        "method": config.budget.fep,
        "pairs": tuple((time, space) for time in SHARES for space in SHARES),
        "batch_samples": cluster.batch_samples or 4,
        "threads": cluster.threads_per_actor,
    }
    actors = {"num_cpus": cluster.cpus_per_actor, "num_gpus": cluster.gpus_per_actor, "actors": cluster.actors}
    chain = [
        Stage("prepare", prepare, VIDEO_ROW, batch_size=1, kwargs=cut),
        Stage("cut-offs", Cutoffs, CUTOFF, batch_size=1, kwargs=tried, **actors),
    ]
    with TemporaryDirectory() as folder:
        rows = Path(folder) / "videos.parquet"
        write_table(videos, rows)
        with streamed(rows, chain, 1, len(videos), console) as found:
            scores = list(found.iter_rows())
    if not scores:
        raise UserError(f"no input could be cut from {len(videos)} videos for {detector.spec.name}")
    table = ranked(scores)
    print_table(table, console)
    best = table.slice(0, 1).to_pylist()[0]
    time, space = best["keep_time"], best["keep_space"]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(f"[budget.fep]\nkeep_time = {time}\nkeep_space = {space}\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from error
    say(
        console,
        f"keep_time {time:g}, keep_space {space:g} are best on {best['n_videos']} videos: --config {out}",
        "bold",
    )
    return time, space


def ranked(scores: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A row for each pair of cut-offs, the best first: mean over videos of insertion minus deletion, with its 95 %
    interval. Of equals the one that keeps less is first."""
    by_pair: dict[Pair, dict[str, list[float]]] = {}
    for row in scores:
        by_pair.setdefault((row["keep_time"], row["keep_space"]), {}).setdefault(row["video_id"], []).append(row["srg"])
    rows = []
    for (time, space), videos in by_pair.items():
        values = [float(np.mean(own)) for own in videos.values()]
        low, high = interval(values, 0) or (None, None)
        rows.append({"keep_time": time, "keep_space": space, "srg": float(np.mean(values)), "srg_low": low})
        rows[-1] |= {"srg_high": high, "n_videos": len(values)}
    return pa.Table.from_pylist(sorted(rows, key=lambda row: (-row["srg"], row["keep_time"] * row["keep_space"])))
