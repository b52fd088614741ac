"""From a folder of videos to the tables of a lake: the chain, readable from top to bottom."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from ray.actor import ActorHandle
from ray.data import Dataset
from ray.data.checkpoint import CheckpointConfig
from rich.console import Console

from operators import statistics
from operators.attribution import Explainer
from operators.metrics import measure
from operators.prepare import prepare
from operators.stage import Stage, apply
from pipelines import manifest as manifests
from pipelines import summary
from pipelines.cluster import Cluster, connect
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.lake import CHECKPOINTS, committed
from pipelines.progress import progress
from pipelines.sink import LakeSink
from schemas.tables import RUNS, VIDEO_ROW


def explain(config: Config, paths: list[Path], lake: Path, console: Console) -> None:
    """Explain every video of `paths` that the run has not finished, and write the tables.

    Raises UserError for paths without a video, a lake that cannot be written and a cluster that is too small.
    """
    lake = lake.resolve()
    run = lake / f"run_id={config.run_id}"
    kept_statistics = lake / "_statistics" / run.name
    manifest = manifests.build(paths)
    manifest_file = _write_manifest(manifest, lake, config.run_id)
    _announce(config, manifest, lake, console)

    cluster = connect(config.resources)
    started = datetime.now(UTC)
    _write_run(config, run, started, None)
    _keep_statistics(config, manifest_file, kept_statistics, cluster, console)

    finished = set(committed(lake, [config.run_id])["video_id"].to_pylist())
    todo = len(set(manifest.table["video_id"].to_pylist()) - finished)
    chain = stages(config, kept_statistics, cluster)
    if todo:
        with (
            _checkpointed(lake / CHECKPOINTS / run.name),
            progress([stage.name for stage in chain], todo, console) as counter,
        ):
            videos = _read(manifest_file, config)
            for stage in chain:
                videos = apply(videos, replace(stage, counter=counter))
            videos.write_datasink(LakeSink(str(run), config.run_id))

    _write_run(config, run, started, datetime.now(UTC))
    summary.show(lake, config.run_id, console)


def stages(config: Config, kept_statistics: Path, cluster: Cluster) -> list[Stage]:
    """Manifest row -> prepared video -> predictions and maps -> metrics; one row per video all the way."""
    return [
        _prepare(config),
        Stage(
            "explain",
            Explainer,
            VIDEO_ROW,
            batch_size=config.resources.videos_per_block,
            num_cpus=cluster.cpus_per_actor,
            num_gpus=cluster.gpus_per_actor,
            actors=cluster.actors,
            kwargs={
                "detectors": config.detectors,
                "bottleneck": config.bottleneck,
                "statistics_folder": kept_statistics,
                "batch_samples": cluster.batch_samples,
                "threads": cluster.threads_per_actor,
            },
        ),
        Stage("metrics", measure, VIDEO_ROW, batch_size=1, kwargs={"rules": config.mask_rules}),
    ]


def _read(manifest_file: Path, config: Config) -> Dataset:
    # a manifest read without repartition is one block, and saves no progress before its end
    return ray.data.read_parquet(str(manifest_file)).repartition(
        target_num_rows_per_block=config.resources.videos_per_block
    )


@contextmanager
def _checkpointed(folder: Path) -> Iterator[None]:
    """Inside, Ray skips the videos whose ids are committed in `folder` and commits those it writes."""
    context = ray.data.DataContext.get_current()
    context.checkpoint_config = CheckpointConfig(
        id_column="video_id", checkpoint_path=str(folder), delete_checkpoint_on_success=False
    )
    try:
        yield
    finally:
        context.checkpoint_config = None


def _prepare(config: Config) -> Stage:
    kwargs = {"params": config.prepare, "limits": config.limits, "inputs": config.inputs}
    return Stage("prepare", prepare, VIDEO_ROW, batch_size=1, kwargs=kwargs)


def _keep_statistics(config: Config, manifest_file: Path, folder: Path, cluster: Cluster, console: Console) -> None:
    """Have the statistics of every layer in `folder`: given ones copied, missing ones estimated from the manifest."""
    wanted = [(each.spec.name, layer) for each in config.detectors for layer in each.layers]
    for given in config.statistics.files:
        model, layer = given.split(" ")[0].split("/")
        target = statistics.path_in(folder, model, layer)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(statistics.path_in(Path(config.statistics.folder or ""), model, layer), target)
    missing = [(model, layer) for model, layer in wanted if not statistics.path_in(folder, model, layer).is_file()]
    if not missing:
        return
    console.print(
        f"estimating mean and deviation of {', '.join(f'{m} {x}' for m, x in missing)} from the run's own crops"
    )
    # ids are hashes, so the first ones are a random sample, and the same one after a crash
    sampled = pq.read_table(manifest_file).slice(0, config.statistics.max_videos)
    sample = manifest_file.with_name(f"{config.run_id}-statistics.parquet")
    pq.write_table(sampled, sample)
    with progress(["prepare", "statistics"], len(sampled), console) as counter:
        estimated = estimate(_read(sample, config), config, cluster, counter)
    for model, layer, found in estimated:
        if (model, layer) in missing:
            statistics.save(found, statistics.path_in(folder, model, layer), {"model": model, "layer": layer})
            if found.n < statistics.FEW_SAMPLES:
                console.print(
                    f"[yellow]{model} {layer}: estimated from {found.n} samples; below {statistics.FEW_SAMPLES} the "
                    "bits depend on which videos they were[/]"
                )


def estimate(
    videos: Dataset, config: Config, cluster: Cluster, counter: ActorHandle
) -> list[tuple[str, str, statistics.LayerStatistics]]:
    """(model, layer, statistics) over the inputs cut from `videos`; nothing for a model no input was cut for."""
    collect = Stage(
        "statistics",
        statistics.Collector,
        statistics.PARTIAL,
        batch_size=config.resources.videos_per_block,
        num_cpus=cluster.cpus_per_actor,
        num_gpus=cluster.gpus_per_actor,
        actors=cluster.actors,
        kwargs={
            "detectors": config.detectors,
            "batch_samples": cluster.batch_samples or 32,  # forward passes alone take a fraction of a fit's memory
            "threads": cluster.threads_per_actor,
        },
    )
    for stage in (_prepare(config), collect):
        videos = apply(videos, replace(stage, counter=counter))
    partials = videos.take_all()
    partials.sort(key=lambda row: row["first_video_id"])
    found: dict[tuple[str, str], list[statistics.LayerStatistics]] = {}
    for row in partials:
        found.setdefault((row["model"], row["layer"]), []).append(statistics.from_partial(row))
    return [(model, layer, statistics.merge(parts)) for (model, layer), parts in found.items()]


def _write_manifest(manifest: manifests.Manifest, lake: Path, run_id: str) -> Path:
    path = lake / "_manifests" / f"{run_id}.parquet"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        manifests.write_table(manifest.table, path)
    except OSError as error:
        raise UserError(f"cannot write the lake {lake}: {error.strerror}") from error
    return path


def _announce(config: Config, manifest: manifests.Manifest, lake: Path, console: Console) -> None:
    console.print(f"run {config.run_id} in {lake}: {len(manifest.table)} files", highlight=False)
    if manifest.passed_over:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(manifest.passed_over.items()))
        console.print(f"passed over as no videos: {kinds}", highlight=False)
    for detector in config.detectors:
        if detector.weights is None:
            console.print(
                f"[yellow]{detector.spec.name} is untrained, its explanations explain nothing: "
                f"give weights with --weights {detector.spec.name}=FILE[/]"
            )


def _write_run(config: Config, run: Path, started: datetime, ended: datetime | None) -> None:
    """The run's one row; a run that is continued keeps its first start."""
    path = run / RUNS.name / "run.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        started = pq.read_table(path)["started_at"][0].as_py()
    packages = ("ray", "torch", "timm", "av", "opencv-python", "dlib-bin", "pyarrow", "duckdb", "numpy")
    hardware = {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "cluster": {key: value for key, value in ray.cluster_resources().items() if ":" not in key},
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    row = {
        "run_id": config.run_id,
        "config": config.to_json(),
        "versions": json.dumps({"python": platform.python_version()} | {name: version(name) for name in packages}),
        "hardware": json.dumps(hardware),
        "started_at": started,
        "ended_at": ended,
    }
    manifests.write_table(pa.Table.from_pylist([row], schema=RUNS.schema), path)
