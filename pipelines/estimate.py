"""Mean and deviation of layers' activations over many videos, on all workers: what the bottleneck's noise is like."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from operators.collect import Collector, from_partial
from operators.kept import Kept
from operators.methods import statistics
from operators.methods.statistics import LayerStatistics
from operators.models.weights import Detector
from operators.stage import Stage
from operators.storage import parquet
from operators.storage.files import copy
from pipelines import manifest as manifests
from pipelines.cluster import Cluster, connect
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.prepare import prepare_stage
from pipelines.probe import probe
from pipelines.screen import logged, say
from pipelines.stream import in_order, streamed
from schemas.methods import FEW_SAMPLES
from schemas.records import PARTIAL
from schemas.tables import FAKE

#: what one worker merges before it hands anything over: a partial of three VGG layers has 75 MB
_VIDEOS_PER_PARTIAL: Final = 32


def estimate(config: Config, paths: list[Path], out: Path, console: Console, label: str | None = None) -> None:
    """Write OUT/MODEL/LAYER.safetensors for every layer of the config's detectors, what `explain --statistics` takes.

    Of a manifest with splits only `train` is used, of videos with labels only those of `label` if it is given, and at
    most `statistics.max_videos` videos, or more where no input can be cut from these. A file that is there is kept,
    unless it is of other weights or another label. OUT/estimate.log has what was said meanwhile. Raises UserError for
    paths without such a video, a file in the way that holds no statistics, and a detector no input could be cut for.
    """
    out = out.resolve()
    for each in config.detectors:
        if each.weights is None:
            say(console, f"{each.spec.name} is untrained: give weights with --weights {each.spec.name}=FILE", "yellow")
    missing = []
    for model, layer in _layers(config):
        path = statistics.path_in(out, model, layer)
        if not path.is_file():
            missing.append((model, layer))
        elif reason := _why_not(_about(path), config, model, label):
            say(console, f"{model} {layer}: {path} {reason}, estimating it again")
            missing.append((model, layer))
        else:
            say(console, f"{model} {layer}: kept, n = {_about(path)['n']}, in {path}")
    if missing:
        table = _training(manifests.build(paths, config.classes).table)
        if label is not None:
            table = table.filter(pc.field("label") == label)
            if not len(table):
                raise UserError(f"no video to estimate from is labelled {label}")
        probe(config)
        with logged(out / "estimate.log"):
            cluster = connect(config.resources, console)
            _estimate(config, table, out / "_manifest.parquet", missing, out, cluster, console, label)


def keep_statistics(
    config: Config, manifest_file: Path, folder: Path, kept: tuple[Kept, ...], cluster: Cluster, console: Console
) -> None:
    """Have the statistics of every layer in `folder`: given ones copied, missing ones estimated from the manifest."""
    for (model, layer), given in config.statistics.paths.items():
        target = statistics.path_in(folder, model, layer)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(given, target)
    missing = [each for each in _layers(config) if not _is_there(statistics.path_in(folder, *each))]
    if missing:
        named = ", ".join(f"{model} {layer}" for model, layer in missing)
        say(console, f"estimating mean and deviation of {named} from the run's own crops")
        videos = parquet.read_table(manifest_file)
        if n_forged := videos["label"].to_pylist().count(FAKE):
            like = f"the noise is like all of these videos, {n_forged} forged ones among them"
            how = "estimate --label real has what speaks for a forgery against genuine footage"
            say(console, f"{like}: {how}", "yellow")
        sample = manifest_file.with_name(f"{config.run_id}-statistics.parquet")
        _estimate(config, videos, sample, missing, folder, cluster, console, kept=kept)


def collect(
    sample: Path, total: int, config: Config, cluster: Cluster, console: Console, kept: tuple[Kept, ...] = ()
) -> dict[tuple[str, str], LayerStatistics]:
    """(model, layer) -> statistics over the inputs cut from the `total` videos of the manifest `sample`.

    Nothing for a model no input was cut for; what is in `kept` is not cut again. What a worker hands over is merged as
    it comes, in the manifest's order, so that the result is the same each time and memory does not grow with the
    number of videos.
    """
    collecting = Stage(
        "statistics",
        Collector,
        PARTIAL,
        batch_size=_VIDEOS_PER_PARTIAL,
        num_cpus=cluster.cpus_per_actor,
        num_gpus=cluster.gpus_per_actor,
        actors=cluster.actors,
        kwargs={
            "detectors": config.detectors,
            "batch_samples": cluster.batch_samples or 32,  # forward passes alone take a fraction of a fit's memory
            "threads": cluster.threads_per_actor,
        },
    )
    found: dict[tuple[str, str], LayerStatistics] = {}
    chain = [prepare_stage(config, kept), collecting]
    with in_order(), streamed(sample, chain, config.resources.videos_per_block, total, console) as partials:
        for row in partials.iter_rows():
            key, part = (row["model"], row["layer"]), from_partial(row)
            found[key] = statistics.merge([found[key], part]) if key in found else part
    return found


def _estimate(
    config: Config,
    manifest: pa.Table,
    sample: Path,
    missing: list[tuple[str, str]],
    folder: Path,
    cluster: Cluster,
    console: Console,
    label: str | None = None,
    kept: tuple[Kept, ...] = (),
) -> None:
    detectors = [
        replace(each, layers=tuple(layer for layer in each.layers if (each.spec.name, layer) in missing))
        for each in config.detectors
    ]
    config = replace(config, detectors=tuple(each for each in detectors if each.layers))
    found: dict[tuple[str, str], LayerStatistics] = {}
    n_read, n_next, blind = 0, config.statistics.max_videos, config.detectors
    while blind and n_read < len(manifest):
        # ids are hashes, so the first ones are a random sample, and the same one after a crash; others only where none
        # of these shows anything
        sampled = manifest.slice(n_read, n_next)
        try:
            sample.parent.mkdir(parents=True, exist_ok=True)
            manifests.write_table(sampled, sample)
        except OSError as error:
            raise UserError(f"cannot write {sample.parent}: {error.strerror}") from error
        found |= collect(sample, len(sampled), replace(config, detectors=blind), cluster, console, kept)
        blind = tuple(each for each in blind if (each.spec.name, each.layers[0]) not in found)
        n_read, n_next = n_read + len(sampled), 2 * n_next
    for (model, layer), known in found.items():
        about = {"model": model, "layer": layer, "label": label}
        about |= config.about_statistics(_detector(config, model))
        statistics.save(known, statistics.path_in(folder, model, layer), about)
        if known.n < FEW_SAMPLES:
            few = f"below {FEW_SAMPLES} samples the bits depend on which videos they were"
            say(console, f"{model} {layer}: n = {known.n}; {few}", "yellow")
        else:
            say(console, f"{model} {layer}: n = {known.n}")
    for each in blind:
        say(console, f"{each.spec.name}: no input could be cut from {n_read} videos", "yellow")


def _training(table: pa.Table) -> pa.Table:
    """The videos of the split train where a manifest has one: what is held out must not decide what counts as news."""
    training = table.filter(pc.field("split") == "train")
    return training if len(training) else table


def _layers(config: Config) -> list[tuple[str, str]]:
    return [(each.spec.name, layer) for each in config.detectors for layer in each.layers]


def _why_not(about: dict, config: Config, model: str, label: str | None) -> str | None:
    """Why statistics that are there do not serve; None where they do."""
    if about.get("label") != label:
        return f"is of videos labelled {about.get('label')}"
    return statistics.why_not(about, config.about_statistics(_detector(config, model)))


def _detector(config: Config, model: str) -> Detector:
    return next(each for each in config.detectors if each.spec.name == model)


def _is_there(path: Path) -> bool:
    """A run's own file that was cut short is made again, of the same videos."""
    try:
        return path.is_file() and bool(statistics.about(path))
    except ValueError:
        return False


def _about(path: Path) -> dict:
    try:
        return statistics.about(path)
    except ValueError as error:
        raise UserError(str(error)) from error
