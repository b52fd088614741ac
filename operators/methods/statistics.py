"""Mean and standard deviation of a layer's activations, element by element, mergeable across workers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from operators.inputs.view import View
from operators.storage.files import local, replacing
from schemas.methods import STATISTICS_KEY

STD_FLOOR: Final = 0.01
ACTIVE_SHARE: Final = 0.01


@dataclass(frozen=True)
class LayerStatistics:
    """Count, mean and sum of squared deviations of n activations (C, H, W), float64; `nonzero` counts non-zeros."""

    n: int
    mean: Tensor
    m2: Tensor
    nonzero: Tensor

    def cpu(self) -> "LayerStatistics":
        """The same on the processor, to be handed over or kept."""
        return LayerStatistics(self.n, self.mean.cpu(), self.m2.cpu(), self.nonzero.cpu())

    def std(self) -> Tensor:
        """Sample standard deviation (n - 1), floored at 0.01; (C, H, W) float32."""
        return (self.m2 / max(self.n - 1, 1)).sqrt().clamp(min=STD_FLOOR).float()

    def active(self) -> Tensor:
        """Elements that are non-zero in more than 1 % of the samples; (C, H, W) bool."""
        return self.nonzero > ACTIVE_SHARE * self.n


def of_batch(activations: Tensor) -> LayerStatistics:
    """The statistics of one batch (N, C, H, W), two passes in float64; on its device, where they can be merged."""
    values = activations.double()
    mean = values.mean(0)
    return LayerStatistics(len(values), mean, (values - mean).square().sum(0), (values != 0).sum(0))


def merge(parts: list[LayerStatistics]) -> LayerStatistics:
    """The statistics of all samples of the parts (Chan, Golub and LeVeque 1979), whatever the split."""
    return reduce(_merge_two, parts)


def _merge_two(a: LayerStatistics, b: LayerStatistics) -> LayerStatistics:
    n = a.n + b.n
    delta = b.mean - a.mean
    return LayerStatistics(
        n,
        a.mean + delta * (b.n / n),
        a.m2 + b.m2 + delta.square() * (a.n * b.n / n),
        a.nonzero + b.nonzero,
    )


def path_in(folder: Path, model: str, layer: str) -> Path:
    """Where a folder of statistics keeps those of one layer of a detector."""
    return folder / model / f"{layer}.safetensors"


def save(statistics: LayerStatistics, path: Path, about: dict[str, str | None]) -> None:
    """Write as safetensors, replaced in one step; `about`: model, layer, label, and what `why_not` compares."""
    path.parent.mkdir(parents=True, exist_ok=True)
    statistics = statistics.cpu()
    tensors = {"mean": statistics.mean, "m2": statistics.m2, "nonzero": statistics.nonzero}
    metadata = {STATISTICS_KEY: json.dumps(about | {"n": statistics.n})}
    with replacing(path) as file:
        save_file({key: value.contiguous() for key, value in tensors.items()}, file, metadata=metadata)


def load(path: Path) -> LayerStatistics:
    """Read what `save` wrote. Raises ValueError for another file."""
    n = about(path)["n"]
    try:
        with safe_open(local(path), framework="pt") as file:
            return LayerStatistics(n, *(file.get_tensor(key) for key in ("mean", "m2", "nonzero")))
    except Exception as error:
        raise ValueError(f"{path} is no layer statistics file ({type(error).__name__}: {error})") from error


def about(path: Path) -> dict[str, Any]:
    """The metadata of a file that `save` wrote, and n. Raises ValueError for another file."""
    try:
        with safe_open(local(path), framework="pt") as file:
            return json.loads((file.metadata() or {})[STATISTICS_KEY])
    except Exception as error:
        raise ValueError(f"{path} is no layer statistics file ({type(error).__name__}: {error})") from error


def shape(path: Path) -> tuple[int, ...]:
    """(C, h, w) of the layer. Raises ValueError for a file that `save` did not write."""
    about(path)
    with safe_open(local(path), framework="pt") as file:
        return tuple(file.get_slice("mean").get_shape())


def why_not(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """Why a file `about` which this is known does not serve who wants it to be about that; None where it does.

    `wanted`: weights_sha256, and under `crops` what its samples were cut like. A file that does not say is taken at
    its word.
    """
    if known.get("weights_sha256", wanted["weights_sha256"]) != wanted["weights_sha256"]:
        return "is of other weights"
    crops = known.get("crops", wanted["crops"])
    for name in sorted({*crops, *wanted["crops"]}):
        if crops.get(name) != wanted["crops"].get(name):
            return f"is of other crops: {name} is {crops.get(name)}, not {wanted['crops'].get(name)}"
    return None


def crops(view: View, mean: Sequence[float], std: Sequence[float], prepare: Mapping[str, Any]) -> dict[str, Any]:
    """What a model's inputs are cut and scaled like: what statistics of its layers depend on besides its weights.

    `prepare` is a PrepareParams as nested dicts, of which counts only what the view uses.
    """
    found = {"view": str(view), "mean": list(mean), "std": list(std), "selection": prepare["keyframes"]["selection"]}
    found |= {f"faces.{name}": value for name, value in prepare["faces"].items() if view.part == "face"}
    return found | {f"flow.{name}": value for name, value in prepare["flow"].items() if view.shows == "flow"}
