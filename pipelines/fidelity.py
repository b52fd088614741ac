"""How many noise draws a run takes: it tries a few of its own samples before it explains all of them."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import ray
from rich.console import Console

from operators.choose import CANDIDATES, choose
from operators.kept import Kept
from operators.methods import choice as choices
from operators.methods.choice import Choice
from operators.methods.iba import Iba
from operators.methods.ready import Files
from operators.storage import parquet
from pipelines.cluster import Cluster
from pipelines.config import Config
from pipelines.manifest import write_table
from pipelines.prepare import prepare_stage
from pipelines.screen import say
from pipelines.stream import streamed

#: videos whose samples are tried, of all labels alike
_VIDEOS: Final = 12
#: Samples of a run below which nothing is tried. Trying takes as long as explaining 140 to 350 samples on Xception
#: (bench/RESULTS.md): 9 to 23 % of such a run.
LEAST_SAMPLES: Final = 1500


def keep_choices(
    config: Config, manifest_file: Path, statistics: Path, kept: tuple[Kept, ...], cluster: Cluster, console: Console
) -> dict[tuple[str, str], Choice]:
    """The choice for every (model, layer), in files below `statistics`; what is there stays as it is.

    Nothing where the config says itself how many draws are taken.
    """
    if not config.bottleneck.auto or Iba.name not in config.methods:
        return {}
    layers = [(each.spec.name, layer) for each in config.detectors for layer in each.layers]
    missing = [each for each in layers if not choices.path_in(statistics, *each).is_file()]
    if missing:
        for (model, layer), choice in _found(
            config, manifest_file, statistics, missing, kept, cluster, console
        ).items():
            choices.save(choice, choices.path_in(statistics, model, layer))
    found = {each: choices.load(choices.path_in(statistics, *each)) for each in layers}
    for (model, layer), choice in found.items():
        say(console, f"{model} {layer}: {in_words(choice)}", "yellow" if choice.holds is False else "")
    return found


def in_words(choice: Choice) -> str:
    """What was tried, and what is taken."""
    taken = f"{choice.draws} noise draws"
    if choice.why is not None:
        return f"{taken}, not compared with the reference: {choice.why}"
    said = [
        f"{each['draws']:.0f} draws: Pearson {each['pearson']:.4f} with the reference (which with itself has "
        f"{each['own_pearson']:.4f}), bits {each['bits']:+.1%}"
        for each in choice.tried
    ]
    verdict = "which hold" if choice.holds else "which do not hold either: --preset reference takes its time, and does"
    return f"{'; '.join(said)}, of {choice.tried[0]['samples']} samples; taken are {taken}, {verdict}"


def _found(
    config: Config,
    manifest_file: Path,
    statistics: Path,
    missing: list[tuple[str, str]],
    kept: tuple[Kept, ...],
    cluster: Cluster,
    console: Console,
) -> dict[tuple[str, str], Choice]:
    manifest = parquet.read_table(manifest_file)
    few = f"fewer than {LEAST_SAMPLES:,} samples, which would not repay it"
    found = {each: Choice(config.bottleneck.draws, why=few) for each in missing}
    if len(manifest) * config.prepare.keyframes.max_keyframes < LEAST_SAMPLES:
        return found
    videos = _of_all_labels(manifest)
    sample = manifest_file.with_name(f"{config.run_id}-fidelity.parquet")
    write_table(videos, sample)
    say(console, f"comparing fits of a few samples with the reference, of {len(videos)} videos")
    with streamed(sample, [prepare_stage(config, kept)], 1, len(videos), console) as prepared:
        inputs = _by_view(prepared.iter_rows())
    work: Any = ray.remote(num_cpus=cluster.cpus_per_actor, num_gpus=cluster.gpus_per_actor)(choose)
    running: list[tuple[str, Any]] = []
    for detector in config.detectors:
        layers = [layer for layer in detector.layers if (detector.spec.name, layer) in missing]
        videos_of_view = inputs[str(detector.spec.view)]
        expected = sum(map(len, videos_of_view)) / len(videos) * len(manifest)
        if layers and expected >= LEAST_SAMPLES:
            files = Files(statistics, config.readouts.paths)
            given = {layer: files.of(detector.spec.name, layer) for layer in layers}
            pixels = [each for each in chain(*zip_longest(*videos_of_view)) if each is not None][:CANDIDATES]
            kwargs = {"at_once": cluster.batch_samples or CANDIDATES, "threads": cluster.threads_per_actor}
            running.append((detector.spec.name, work.remote(detector, config.bottleneck, given, pixels, **kwargs)))
    for model, task in running:
        chosen: Any = ray.get(task)
        found |= {(model, layer): choice for layer, choice in chosen.items()}
    return found


def _of_all_labels(manifest: pa.Table) -> pa.Table:
    """Some videos, one of each label in turn; ids are hashes, so the first ones are a random sample."""
    by_label = defaultdict(list)
    for number, label in enumerate(manifest["label"].to_pylist()):
        by_label[label].append(number)
    turns = [number for number in chain(*zip_longest(*by_label.values())) if number is not None]
    return manifest.take(sorted(turns[:_VIDEOS]))


def _by_view(rows: Iterable[dict[str, Any]]) -> dict[str, list[list[bytes]]]:
    """The pixels of the inputs of each video, by what they show."""
    found: dict[str, list[list[bytes]]] = defaultdict(list)
    for row in rows:
        own: dict[str, list[bytes]] = defaultdict(list)
        for item in row["inputs"]:
            own[item["view"]].append(item["pixels"])
        for view, pixels in own.items():
            found[view].append(pixels)
    return found
