"""Concept clips of a folder of videos, as Parquet, and a page of thumbnails to throw bad ones out."""

import base64
import csv
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from operators.concepts import ObjectConcepts, Objects, make_concepts
from operators.inputs.faces import Box
from operators.models.weights import digest
from operators.stage import Stage
from operators.tcav.clips import ConceptParams, Found
from operators.video.sandbox import Limits
from pipelines import manifest as manifests
from pipelines.called import called
from pipelines.cluster import Cluster, connect
from pipelines.config import Resources
from pipelines.errors import UserError
from pipelines.screen import say
from pipelines.stream import streamed
from pipelines.train import claim
from schemas.records import CONCEPT_CLIP

#: a line for each clip that is not to be used
REJECTED: Final = "rejected.txt"
_PAGE: Final = "clips.html"
_THUMB_PX: Final = 72
_THUMBS: Final = 3
_COLUMNS: Final = ("uri", "frame", "concept", "x", "y", "width", "height")


def make(
    paths: list[Path],
    out: Path,
    params: ConceptParams,
    boxes: Path | None,
    console: Console,
    objects: Objects | None = None,
) -> None:
    """Write OUT/clips/*.parquet (CONCEPT_CLIP), the page and an empty list of rejected clips; what is there is kept.

    Concepts are what lies in `boxes`, or the `objects` that a detector finds, or faces.

    Raises UserError for paths without a video, an OUT of other clips, boxes that cannot be read, and videos without a
    concept.
    """
    manifest = manifests.build(paths).table
    known = None if boxes is None else read_boxes(boxes)
    identity = {"params": repr(params), "videos": manifest["video_id"].to_pylist(), "boxes": repr(known)}
    if objects is not None:
        identity |= {"detector": objects.name, "sha256": digest(objects.weights), "wanted": objects.wanted}
    claim(out / "concepts.json", identity)
    folder = out / "clips"
    if not (folder / "_done").is_file():
        cluster = connect(Resources())
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.parquet"):
            stale.unlink()
        todo = out / "_videos.parquet"
        pq.write_table(manifest, todo)
        with streamed(todo, [_stage(params, known, objects, cluster)], 1, len(manifest), console) as clips:
            clips.write_parquet(str(folder))
        (folder / "_done").touch()
    table = read(out, params)
    counts = {each["values"]: each["counts"] for each in names(table).value_counts().to_pylist()}
    if not any(name != "random" for name in counts):
        raise UserError(f"no concept was found in the {len(manifest)} videos: nothing to ask about")
    if not (out / REJECTED).is_file():
        (out / REJECTED).write_text("")
    (out / _PAGE).write_text(page(table, params), encoding="utf-8")
    for name, count in sorted(counts.items()):
        say(console, f"{name}: {count} clips")
    say(console, f"look at {out / _PAGE} and write the ids of bad clips into {out / REJECTED}, one a line")


def _stage(
    params: ConceptParams, boxes: Mapping[str, tuple[Found, ...]] | None, objects: Objects | None, cluster: Cluster
) -> Stage:
    shared: dict[str, Any] = {"params": params, "limits": Limits()}
    if objects is None:
        return Stage("concepts", make_concepts, CONCEPT_CLIP, batch_size=1, kwargs=shared | {"boxes": boxes})
    return Stage(
        "concepts",
        ObjectConcepts,
        CONCEPT_CLIP,
        batch_size=1,
        num_cpus=cluster.cpus_per_actor,
        num_gpus=cluster.gpus_per_actor,
        actors=cluster.actors,
        kwargs=shared | {"objects": objects, "threads": cluster.threads_per_actor},
    )


def read(out: Path, params: ConceptParams | None = None) -> pa.Table:
    """The clips below OUT that are not rejected, in order of their ids; UserError where there are none."""
    if not (out / "clips" / "_done").is_file():
        raise UserError(f"no concepts at {out}: make them with {called(f'concepts make VIDEOS --out {out}')}")
    table = pq.read_table(out / "clips", schema=CONCEPT_CLIP)
    rejected = (out / REJECTED).read_text().split() if (out / REJECTED).is_file() else []
    table = table.filter(pa.array([each not in set(rejected) for each in table["clip_id"].to_pylist()], pa.bool_()))
    return table.sort_by("clip_id")


def names(table: pa.Table) -> pa.Array:
    """`face dynamic`, and `random` for clips of nothing."""
    pairs = zip(table["concept"].to_pylist(), table["kind"].to_pylist(), strict=True)
    return pa.array([concept if concept == kind else f"{concept} {kind}" for concept, kind in pairs])


def read_boxes(path: Path) -> Mapping[str, tuple[Found, ...]]:
    """By uri what a CSV says of boxes: uri, frame, concept, x, y, width, height. UserError for another file."""
    found: dict[str, list[Found]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                numbers = {name: int(row[name]) for name in ("frame", "x", "y", "width", "height")}
                box = Box(numbers["x"], numbers["y"], numbers["width"], numbers["height"], 1.0)
                found.setdefault(row["uri"], []).append(Found(row["concept"], numbers["frame"], box))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"cannot read the boxes of {path}: it needs the columns {', '.join(_COLUMNS)}") from error
    return {uri: tuple(own) for uri, own in found.items()}


def page(table: pa.Table, params: ConceptParams) -> str:
    """A row of pictures for each clip, with its id."""
    rows = []
    for name, row in zip(names(table).to_pylist(), table.to_pylist(), strict=True):
        pictures = np.frombuffer(row["pixels"], np.uint8).reshape(params.frames, params.size, params.size, 3)
        shown = pictures[np.linspace(0, params.frames - 1, _THUMBS).astype(int)]
        strip = cv2.resize(np.concatenate(list(shown), 1), (_THUMB_PX * _THUMBS, _THUMB_PX))
        encoded = base64.b64encode(cv2.imencode(".webp", strip[..., ::-1])[1].tobytes()).decode()
        picture = f'<img alt="" src="data:image/webp;base64,{encoded}">'
        rows.append(f"<li>{picture}<br>{html.escape(name)}<br><code>{html.escape(row['clip_id'])}</code></li>")
    style = "ul{display:flex;flex-wrap:wrap;gap:1rem;list-style:none;font:.8rem sans-serif}code{font-size:.6rem}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Concept clips</title><style>{style}</style>'
        + (
            "<h1>Concept clips</h1><p>Write the ids of bad ones into rejected.txt, one a line.</p><ul>"
            + "".join(rows)
            + "</ul>"
        )
    )
