"""Forgeries with a known mask from a folder of genuine videos: `python -m pipelines forge`."""

import os
import shlex
from collections import Counter
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from operators.forge import ForgeriesParams, forge_videos, names
from operators.stage import Stage
from operators.video.identity import video_id
from operators.video.sandbox import Limits
from pipelines import manifest as manifests
from pipelines.called import called
from pipelines.cluster import connect
from pipelines.config import Resources
from pipelines.errors import UserError
from pipelines.screen import command, say
from pipelines.stream import streamed
from schemas.conform import conform
from schemas.records import FORGED
from schemas.tables import MANIFEST, STATUS_OK

MANIFEST_NAME = "manifest.parquet"


def forge(paths: list[Path], out: Path, per_video: int, params: ForgeriesParams, console: Console) -> None:
    """Write OUT/real, OUT/fake, OUT/masks and OUT/manifest.parquet for the videos of `paths` not labelled fake.

    Files that are there already are kept, so that the same command continues after a kill. Raises UserError for paths
    without a video, a folder that cannot be written, and where not one video can be forged.
    """
    out = out.resolve()
    table = manifests.build(paths).table
    genuine = table.filter(pa.array([label != "fake" for label in table["label"].to_pylist()], pa.bool_()))
    say(console, f"{len(genuine)} genuine videos, {per_video} forgeries of each, in {out}")
    if len(genuine) < len(table):
        say(console, f"passed over as fake already: {len(table) - len(genuine)}")
    if not len(genuine):
        raise UserError("nothing to forge: every video is labelled fake")
    sources = out / "_sources.parquet"
    try:
        for folder in ("real", "fake", "masks"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        manifests.write_table(genuine, sources)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}") from error

    connect(Resources())
    with streamed(sources, [stage(out, per_video, params)], 1, len(genuine), console) as videos:
        found = videos.take_all()

    made = {row["video_id"]: row["manipulations"] for row in found if row["status"] == STATUS_OK}
    _say_what_failed([row for row in found if row["status"] != STATUS_OK], genuine, console)
    if not made:
        raise UserError("not one of the videos could be forged")
    used = [video for video in genuine.to_pylist() if video["video_id"] in made]
    rows = [row for video in used for row in _rows(video, made[video["video_id"]], out, params)]
    manifests.write_table(
        conform(pa.Table.from_pylist(rows, schema=MANIFEST.schema), MANIFEST.schema), out / MANIFEST_NAME
    )
    n_forged = sum(map(len, made.values()))
    say(console, f"{len(made)} genuine and {n_forged} forged videos in {out / MANIFEST_NAME}")
    say(console, "next: explain them")
    command(console, called(f"explain {shlex.quote(str(out / MANIFEST_NAME))} --lake LAKE"))


def stage(out: Path, per_video: int, params: ForgeriesParams) -> Stage:
    """Manifest row -> files, and a row that tells whether they are there."""
    limits = Limits(timeout_s=Limits.timeout_s * (1 + per_video))
    kwargs = {"out": out, "per_video": per_video, "params": params, "limits": limits}
    # Ray on this machine is started with twice as many CPUs as there are; encoding wants a whole one
    num_cpus = 1 if "RAY_ADDRESS" in os.environ else 2
    return Stage("forge", forge_videos, FORGED, batch_size=1, num_cpus=num_cpus, kwargs=kwargs)


def _rows(video: dict, manipulations: list[str], out: Path, params: ForgeriesParams) -> list[dict]:
    """The manifest rows of one genuine video's files, paths relative to the manifest."""
    files = names(video["video_id"], len(manipulations), params)
    # forgeries of one video, and it itself, must not be parted by a split
    shared = {name: video[name] for name in ("dataset", "split")}
    shared |= {"identities": video["identities"] or f"source:{video['video_id']}"}
    genuine = shared | {"uri": files.real, "label": "real", "video_id": video_id(str(out / files.real))}
    rows = [genuine]
    for fake, masks, manipulation in zip(files.fakes, files.masks, manipulations, strict=True):
        ids = {"video_id": video_id(str(out / fake), manipulation), "pair_id": genuine["video_id"]}
        rows.append(shared | ids | {"uri": fake, "label": "fake", "truth_uri": masks, "manipulation": manipulation})
    return rows


def _say_what_failed(failed: list[dict], genuine: pa.Table, console: Console) -> None:
    """How many videos could not be forged, by code, each with an example."""
    uris = dict(zip(genuine["video_id"].to_pylist(), genuine["uri"].to_pylist(), strict=True))
    failed.sort(key=lambda row: uris[row["video_id"]])
    for code, count in sorted(Counter(row["error_code"] for row in failed).items()):
        example = next(row for row in failed if row["error_code"] == code)
        detail = f"{uris[example['video_id']]}: {example['error_detail']}"
        say(console, f"not forged: {count} {code}, as {detail}", "yellow")
