"""What the benchmarks look at: a detector's layer with its statistics, and samples it was not trained on."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from operators.methods import statistics
from operators.models.cut import Split, split
from operators.models.running import to_input
from operators.models.spec import ModelSpec, spec_for
from operators.models.weights import load_model, spec_of


@dataclass(frozen=True)
class Subject:
    """A frozen model cut at `layer`, N images with the class it gives them, and the layer's statistics."""

    spec: ModelSpec
    layer: str
    model: nn.Module
    cut: Split
    images: Tensor
    targets: Tensor
    mean: Tensor
    std: Tensor
    active: Tensor

    def part(self, start: int, stop: int) -> "Subject":
        """The same with images start..stop alone."""
        return replace(self, images=self.images[start:stop], targets=self.targets[start:stop])

    def of(self, which: np.ndarray) -> "Subject":
        """The same with those images (N,) bool alone."""
        chosen = torch.from_numpy(which)
        return replace(self, images=self.images[chosen], targets=self.targets[chosen])


def joined(parts: Sequence[Subject]) -> Subject:
    """The images of all of one model, layer and noise."""
    images, targets = ([getattr(each, name) for each in parts] for name in ("images", "targets"))
    return replace(parts[0], images=torch.cat(images), targets=torch.cat(targets))


def add_subject(parser: argparse.ArgumentParser) -> None:
    """What `chosen` reads, but for the layer and how many samples."""
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", type=Path, help="trained weights; none: untrained, and fidelity measures little")
    parser.add_argument("--samples", type=Path, required=True, help="what train left in OUT/samples")
    parser.add_argument("--label", help="samples of videos with this label alone: fake for maps with evidence")
    parser.add_argument("--noise", help="statistics of videos with this label alone: real for those of the demo")
    parser.add_argument("--cache", type=Path, required=True, help="keeps reference maps of one model, label and noise")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")


def chosen(options: argparse.Namespace, layer: str, n: int, known_n: int = 256) -> Subject:
    """`load` with what the command line says."""
    of = (options.model, options.weights, options.samples, layer, n, options.device)
    return load(*of, known_n, options.label, options.noise)


def load(
    name: str,
    weights: Path | None,
    samples: Path,
    layer: str,
    n: int,
    device: str,
    known_n: int = 256,
    label: str | None = None,
    noise: str | None = None,
) -> Subject:
    """N samples of the split `val`, spread over its videos, of the folder that `train` fills (OUT/samples).

    Everything is on `device`. Statistics are taken from `known_n` of the split `train`. With `label` the samples, with
    `noise` those behind the statistics are of videos with that label alone.
    Raises ValueError where the folder has no samples of this size.
    """
    spec = replace((spec_of(weights) if weights else None) or spec_for(name), name=name)
    model = load_model(spec, weights).eval().requires_grad_(False).to(device)
    model = model.to(memory_format=torch.channels_last)
    held_out = _pixels(samples, "val", spec, n, label).to(device)
    cut = split(model, layer, held_out[:1])
    known = _pixels(samples, "train", spec, known_n, noise)
    parts = []
    with torch.no_grad():
        for start in range(0, len(known), 16):
            parts.append(statistics.of_batch(cut.below(known[start : start + 16].to(device))[0]))
        targets = torch.cat([model(image[None]).argmax(1) for image in held_out])
    found = statistics.merge(parts)
    mean, std, active = (each.to(device) for each in (found.mean.float(), found.std(), found.active()))
    return Subject(spec, layer, model, cut, held_out, targets, mean, std, active)


def _pixels(folder: Path, split_name: str, spec: ModelSpec, n: int, label: str | None) -> Tensor:
    wanted = [("split", "=", split_name), ("view", "=", str(spec.view))]
    wanted += [] if label is None else [("label", "=", label)]
    table = pq.read_table(folder, filters=wanted).sort_by([("video_id", "ascending"), ("frame", "ascending")])
    if len(table) < n and split_name == "val":
        raise ValueError(f"{folder} has {len(table)} held-out samples that show {spec.view}, {n} are asked for")
    chosen = table.take(np.linspace(0, len(table) - 1, min(n, len(table))).round().astype(int))
    size = spec.view.size
    pixels = np.frombuffer(b"".join(chosen["pixels"].to_pylist()), np.uint8).reshape(-1, size, size, 3)
    return to_input(pixels, spec).contiguous(memory_format=torch.channels_last)
