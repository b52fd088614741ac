"""Training a readout bottleneck on the videos of a manifest, in one process."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from operators.methods import readout as readouts
from operators.methods import statistics
from operators.methods.readout import Readout, ReadoutParams, Site
from operators.methods.statistics import LayerStatistics
from operators.models.activations import read
from operators.models.cut import split
from operators.models.running import placed, to_input
from operators.models.spec import ModelSpec
from operators.models.weights import Detector, digest
from pipelines import samples as cuttings
from pipelines.errors import UserError
from pipelines.screen import say
from pipelines.train import claim


def train_readout(
    detector: Detector,
    layer: str,
    params: ReadoutParams,
    manifest: Path,
    out: Path,
    given: Path | None,
    frames_per_video: int,
    console: Console,
) -> None:
    """Train a readout for `layer` on the split train; its best epoch on the split val is OUT/MODEL/LAYER.safetensors.

    It reads `detector.layers`, `layer` among them; their statistics come from the folder `given` where they are there,
    else from the training samples. OUT/MODEL/LAYER.training keeps those and what a resumed training needs, and
    OUT/MODEL/samples-* the samples: the same command again continues. Raises UserError for a manifest without both
    labels in both splits, for an OUT that another training wrote, and for layers that cannot be read.
    """
    spec, out = detector.spec, out.resolve()
    path = statistics.path_in(out, spec.name, layer)
    work = path.with_suffix(".training")
    if not manifest.is_file():
        raise UserError(f"no manifest at {manifest}")
    if path.is_file() and not work.is_dir():
        raise UserError(f"{path} is there already: choose another --out, or remove it")
    source = digest(manifest)
    files = {name: statistics.path_in(given, spec.name, name) for name in detector.layers} if given else {}
    files = {name: file for name, file in files.items() if file.is_file()}
    about = {"model": spec.name, "layer": layer, "weights_sha256": detector.weights_sha256, "params": asdict(params)}
    about |= {"manifest_sha256": source, "frames_per_video": frames_per_video}
    about |= {"statistics_sha256": {name: digest(file) for name, file in files.items()}}
    if detector.weights is None:
        say(console, f"{spec.name} is untrained: give weights with --weights {spec.name}=FILE", "yellow")
    samples = path.parent / f"samples-{source[:12]}-{frames_per_video}"
    videos = cuttings.from_manifest(manifest, (spec.view,), frames_per_video)
    cuttings.cut_samples(videos, samples, console)
    pixels = {name: cuttings.load(samples, name, spec).pixels for name in ("train", "val")}
    for name, found in pixels.items():
        if len(found) == 0:
            raise UserError(f"no input could be cut from the videos of the split {name} of {manifest}")
    claim(work / "training.json", about | {"read": detector.layers})

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = placed(detector.load(), spec, device).requires_grad_(False)
    example = next(_batches(pixels["train"][:1], spec, 1, device))
    known = _statistics(
        detector, model, files, work / "statistics", _batches(pixels["train"], spec, params.batch_size, device), console
    )
    try:
        readout = readouts.make(known, layer, params.seed).to(device)
    except ValueError as error:
        raise UserError(str(error)) from error
    noise = (known[layer].mean.float(), known[layer].std(), known[layer].active())
    site = Site(model, split(model, layer, example, spec.layout), *(tensor.to(device) for tensor in noise))
    say(
        console,
        f"{spec.name} {layer} from {', '.join(detector.layers)}: {len(pixels['train'])} samples to train on, "
        f"{len(pixels['val'])} to validate on",
    )
    _fit(readout, site, spec, params, pixels, about, path, work / "checkpoint.pt", console)
    best = readouts.about(path)
    say(console, f"epoch {best['best_epoch']}, val loss {best['val_loss']:.3f}, in {path}")


def _batches(pixels: np.ndarray, spec: ModelSpec, size: int, device: torch.device) -> Iterator[Tensor]:
    for start in range(0, len(pixels), size):
        yield to_input(pixels[start : start + size], spec, device)


@torch.no_grad()
def _statistics(
    detector: Detector,
    model: nn.Module,
    given: dict[str, Path],
    kept: Path,
    batches: Iterator[Tensor],
    console: Console,
) -> dict[str, LayerStatistics]:
    """Those of `detector.layers`: given, kept from an interrupted training, or estimated over `batches` and kept."""
    files = {name: given.get(name, statistics.path_in(kept, detector.spec.name, name)) for name in detector.layers}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing:
        say(console, f"estimating mean and deviation of {', '.join(missing)} from the training samples")
        found: dict[str, LayerStatistics] = {}
        for images in batches:
            for name, output in read(model, missing, images, detector.spec.layout).items():
                part = statistics.of_batch(output.cpu())
                found[name] = statistics.merge([found[name], part]) if name in found else part
        for name, each in found.items():
            about = {"model": detector.spec.name, "layer": name, "weights_sha256": detector.weights_sha256}
            statistics.save(each, files[name], about)
    return {name: statistics.load(file) for name, file in files.items()}


def _fit(
    readout: Readout,
    site: Site,
    spec: ModelSpec,
    params: ReadoutParams,
    pixels: dict[str, np.ndarray],
    about: dict[str, Any],
    path: Path,
    checkpoint: Path,
    console: Console,
) -> None:
    """The epochs that are still to come after `checkpoint`; the best one so far is in `path`."""
    device = site.mean.device

    def validated() -> float:
        batches = _batches(pixels["val"], spec, params.batch_size, device)
        return float(torch.cat([readouts.validate(readout, site, images, params) for images in batches]).mean())

    optimizer = torch.optim.Adam(readout.network.parameters(), lr=params.learning_rate)
    if checkpoint.is_file():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        readout.load_state_dict(saved["readout"])
        optimizer.load_state_dict(saved["optimizer"])
        state = saved["state"]
    else:
        untrained = validated()
        say(console, f"untrained: val loss {untrained:.3f}")
        state = {"epoch": 0, "best": float("inf"), "untrained": untrained}
    while state["epoch"] < params.epochs:
        # of the seed and the epoch alone, so that a resumed training sees what it would have seen
        order = np.random.default_rng([params.seed, state["epoch"]]).permutation(len(pixels["train"]))
        noise = torch.Generator().manual_seed(params.seed * 100_003 + state["epoch"])
        losses = []
        for images in _batches(pixels["train"][order], spec, params.batch_size, device):
            loss = readouts.loss(readout, site, images, params, noise)
            optimizer.zero_grad(set_to_none=True)
            loss.mean().backward()
            optimizer.step()
            losses += loss.tolist()
        state["epoch"] += 1
        found = validated()
        say(
            console,
            f"epoch {state['epoch']}/{params.epochs}: train loss {np.mean(losses):.3f}, val loss {found:.3f}",
        )
        if found < state["best"]:
            state["best"] = found
            figures = {"best_epoch": state["epoch"], "val_loss": found, "val_loss_untrained": state["untrained"]}
            readouts.save(readout, path, about | figures)
        temporary = checkpoint.with_suffix(".tmp")
        kept = {"readout": readout.state_dict(), "optimizer": optimizer.state_dict(), "state": state}
        torch.save(kept, temporary)
        temporary.replace(checkpoint)
