"""Video-TCAV (Saha et al. 2024): which concepts, still or moving, a class of a clip model rests on, layer by layer."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from rich.console import Console

from operators.concepts import Activations, vectors
from operators.models.weights import Detector
from operators.prepare import PrepareParams, prepare
from operators.samples import flatten_clips
from operators.stage import Stage
from operators.tcav.cav import CavParams, Tried, try_all
from operators.video.keyframes import KeyframeParams
from operators.video.sandbox import Limits
from pipelines import concepts
from pipelines import manifest as manifests
from pipelines.cluster import Cluster, connect
from pipelines.config import Resources
from pipelines.errors import UserError
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from pipelines.manifest import write_table
from pipelines.screen import say
from pipelines.stream import streamed
from schemas.records import ACTIVATION, CLIP
from schemas.tables import CAVS, CONCEPTS, TCAV_SCORES, VIDEO_ROW

#: clips of the class cut from each video
_PER_VIDEO: Final = 4


def tcav(
    detector: Detector,
    target: str,
    concept_clips: Path,
    videos: list[Path],
    lake: Path,
    params: CavParams,
    console: Console,
) -> str:
    """Write the tables `concepts`, `cavs` and `tcav_scores` of one analysis; return its id.

    The class's clips are those of `videos` that are labelled `target`. Activations are kept below LAKE/_tcav and not
    made again. UserError: a model of pictures, a class it has not, no such video, concepts of another size.
    """
    spec = detector.spec
    if spec.view.shows != "clip":
        raise UserError(f"{spec.name} looks at pictures: tcav is for models of clips")
    if target not in spec.classes:
        raise UserError(f"--class {target}: {spec.name} has no such class")
    clips = concepts.read(concept_clips)
    size = int(np.prod(spec.view.shape))
    if len(clips) and len(clips["pixels"][0].as_py()) != size:
        frames, side, *_ = spec.view.shape
        raise UserError(f"the concepts in {concept_clips} are of another size: make them with --clip {frames} x {side}")
    table = manifests.build(videos, spec.classes).table
    table = table.filter(pa.array([label == target for label in table["label"].to_pylist()], pa.bool_()))
    if not len(table):
        raise UserError(f"no video is labelled {target}: the class needs some of its own")
    identity = {"detector": asdict(detector) | {"weights": None}, "target": target, "params": asdict(params)}
    identity |= {"concepts": clips["clip_id"].to_pylist(), "videos": table["video_id"].to_pylist()}
    tcav_id = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    layout, cluster = Layout(lake.resolve()), connect(Resources())
    work = layout.tcav(f"_{tcav_id}")
    _activations(detector, target, clips, table, work, cluster, console)
    tried = {layer: found for layer, found in _tried(work, detector.layers, params)}
    _write(layout, tcav_id, detector, target, clips, work, tried, params)
    _show(lake, tcav_id, console)
    return tcav_id


def _activations(
    detector: Detector,
    target: str,
    clips: pa.Table,
    videos: pa.Table,
    work: Path,
    cluster: Cluster,
    console: Console,
) -> None:
    """WORK/concepts and WORK/class: Parquet of ACTIVATION, each made once."""
    stage = Stage(
        "activations",
        Activations,
        ACTIVATION,
        batch_size=8,
        num_cpus=cluster.cpus_per_actor,
        num_gpus=cluster.gpus_per_actor,
        actors=cluster.actors,
        kwargs={
            "detector": detector,
            "target": target,
            "batch_samples": cluster.batch_samples,
            "threads": cluster.threads_per_actor,
        },
    )
    views = (detector.spec.view,)
    keyframes = PrepareParams(KeyframeParams(selection="uniform", max_keyframes=_PER_VIDEO))
    cut = Stage(
        "prepare",
        prepare,
        VIDEO_ROW,
        batch_size=1,
        kwargs={"params": keyframes, "limits": Limits(), "views": views},
    )
    flat = Stage("clips", flatten_clips, CLIP, batch_size=1)
    todo = {
        "concepts": (clips.select(["clip_id", "concept", "kind", "pixels"]), [stage]),
        "class": (videos, [cut, flat, stage]),
    }
    for name, (rows, chain) in todo.items():
        folder = work / name
        if (folder / "_done").is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob("*.parquet"):
            stale.unlink()
        pq.write_table(rows, folder / "_rows.parquet")
        say(console, f"{name}: {len(rows)} {'clips' if name == 'concepts' else 'videos'} through {detector.spec.name}")
        with streamed(folder / "_rows.parquet", chain, 8, len(rows), console) as found:
            found.write_parquet(str(folder / "values"))
        (folder / "_done").touch()


def _tried(work: Path, layers: tuple[str, ...], params: CavParams) -> list[tuple[str, list[Tried]]]:
    """What every layer tells, each on a worker."""
    task = ray.remote(_try_layer)
    return ray.get([task.remote(work, layer, params) for layer in layers])


def _try_layer(work: Path, layer: str, params: CavParams) -> tuple[str, list[Tried]]:
    def rows(name: str) -> pa.Table:
        table = pq.read_table(work / name / "values", schema=ACTIVATION, filters=[("layer", "=", layer)])
        return table.sort_by("clip_id")

    known = rows("concepts")
    by_name: dict[str, list[dict[str, Any]]] = {}
    for name, row in zip(concepts.names(known).to_pylist(), known.to_pylist(), strict=True):
        by_name.setdefault(name, []).append(row)
    pool = vectors(by_name.pop("random"))
    named = {name: vectors(own) for name, own in sorted(by_name.items()) if len(own) >= 3}
    moving = [name for name in named if name.endswith(" dynamic")]
    pairs = [(name, still) for name in moving if (still := name.removesuffix("dynamic") + "static") in named]
    return layer, try_all(named, pool, vectors(rows("class").to_pylist()), pairs, params)


def _write(
    layout: Layout,
    tcav_id: str,
    detector: Detector,
    target: str,
    clips: pa.Table,
    work: Path,
    tried: dict[str, list[Tried]],
    params: CavParams,
) -> None:
    n_clips = len(set(pq.read_table(work / "class" / "values", columns=["clip_id"])["clip_id"].to_pylist()))
    by_name: dict[str, list[str]] = {}
    for name, video in zip(concepts.names(clips).to_pylist(), clips["video_id"].to_pylist(), strict=True):
        by_name.setdefault(name, []).append(video)
    rows: dict[str, list[dict[str, Any]]] = {
        CONCEPTS.name: [
            {"concept": name, "n_clips": len(own), "n_videos": len(set(own))} for name, own in sorted(by_name.items())
        ],
        CAVS.name: [],
        TCAV_SCORES.name: [],
    }
    for number, (layer, found) in enumerate(tried.items()):
        for each in found:
            ids = {"model": detector.spec.name, "layer": layer}
            ids |= {name: getattr(each, name) for name in ("concept", "against", "random_set")}
            learned = {name: getattr(each, name) for name in ("accuracy", "n_train", "n_test")}
            rows[CAVS.name].append(ids | learned | {"seed": params.seed})
            scored = {"share": each.share, "magnitude": each.magnitude, "n_clips": n_clips, "layer_number": number}
            rows[TCAV_SCORES.name].append(ids | {"class": target} | scored)
    for table in (CONCEPTS, CAVS, TCAV_SCORES):
        path = layout.tcav(table.name) / f"{tcav_id}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        own = [{"tcav_id": tcav_id} | row for row in rows[table.name]]
        write_table(pa.Table.from_pylist(own, schema=table.schema), path)


def _show(lake: Path, tcav_id: str, console: Console) -> None:
    with open_lake(lake) as connection:
        found = connection.sql(
            "select layer, concept, against, statistic, value, chance, p_adjusted, m, accuracy from significance "
            "where tcav_id = $id order by layer, against, concept, statistic",
            params={"id": tcav_id},
        ).fetchall()
    for layer, concept, against, statistic, value, chance, p, m, accuracy in found:
        what = f"{layer}: {concept}" + (f" over {against}" if against else "")
        if value is None:
            say(console, f"{what}: no {statistic}, its vectors tell {accuracy:.2f} of held-out clips apart", "yellow")
        else:
            said = "no test" if p is None else f"p {p:.2g} after {m} tests"
            say(console, f"{what}: {statistic} {value:.2f}, random sets {chance:.2f}, {said}")
