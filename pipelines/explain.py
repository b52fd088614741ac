"""From a folder of videos to the tables of a lake: the chain, readable from top to bottom."""

import json
import os
import platform
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
from ray.data.checkpoint import CheckpointConfig
from rich.console import Console

from operators.explain import Explainer
from operators.measure import measure
from operators.stage import Stage, apply
from pipelines import manifest as manifests
from pipelines import summary
from pipelines.cluster import Cluster, connect
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.estimate import keep_statistics
from pipelines.lake import CHECKPOINTS, committed
from pipelines.progress import progress
from pipelines.sink import LakeSink
from pipelines.videos import prepare_stage, read_videos
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
    keep_statistics(config, manifest_file, kept_statistics, cluster, console)

    finished = set(committed(lake, [config.run_id])["video_id"].to_pylist())
    todo = len(set(manifest.table["video_id"].to_pylist()) - finished)
    chain = stages(config, kept_statistics, cluster)
    if todo:
        with (
            _checkpointed(lake / CHECKPOINTS / run.name),
            progress([stage.name for stage in chain], todo, console) as counter,
        ):
            videos = read_videos(manifest_file, config)
            for stage in chain:
                videos = apply(videos, replace(stage, counter=counter))
            videos.write_datasink(LakeSink(str(run), config.run_id))

    _write_run(config, run, started, datetime.now(UTC))
    summary.show(lake, config.run_id, console)


def stages(config: Config, kept_statistics: Path, cluster: Cluster) -> list[Stage]:
    """Manifest row -> prepared video -> predictions and maps -> metrics; one row per video all the way."""
    return [
        prepare_stage(config),
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
                "readouts": config.readouts.paths,
                "batch_samples": cluster.batch_samples,
                "threads": cluster.threads_per_actor,
            },
        ),
        Stage("metrics", measure, VIDEO_ROW, batch_size=1, kwargs={"rules": config.mask_rules}),
    ]


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
