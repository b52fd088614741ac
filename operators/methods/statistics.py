"""Mean and standard deviation of a layer's activations, element by element, mergeable across workers."""

import json
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

#: below this many samples the estimate is called out
FEW_SAMPLES: Final = 1000
STD_FLOOR: Final = 0.01
ACTIVE_SHARE: Final = 0.01
_METADATA_KEY: Final = "viba.statistics"


@dataclass(frozen=True)
class LayerStatistics:
    """Count, mean and sum of squared deviations of n activations (C, H, W), float64; `nonzero` counts non-zeros."""

    n: int
    mean: Tensor
    m2: Tensor
    nonzero: Tensor

    def std(self) -> Tensor:
        """Sample standard deviation (n - 1), floored at 0.01; (C, H, W) float32."""
        return (self.m2 / max(self.n - 1, 1)).sqrt().clamp(min=STD_FLOOR).float()

    def active(self) -> Tensor:
        """Elements that are non-zero in more than 1 % of the samples; (C, H, W) bool."""
        return self.nonzero > ACTIVE_SHARE * self.n


def of_batch(activations: Tensor) -> LayerStatistics:
    """The statistics of one batch (N, C, H, W) on any device, two passes in float64 there; they come to the CPU."""
    values = activations.double()
    mean = values.mean(0)
    m2, nonzero = (values - mean).square().sum(0), (values != 0).sum(0)
    return LayerStatistics(len(values), mean.cpu(), m2.cpu(), nonzero.cpu())


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
    """Write as safetensors, replaced in one step; `about` (model, layer, weights_sha256, label) is its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    tensors = {"mean": statistics.mean, "m2": statistics.m2, "nonzero": statistics.nonzero}
    metadata = {_METADATA_KEY: json.dumps(about | {"n": statistics.n})}
    save_file({key: value.contiguous() for key, value in tensors.items()}, temporary, metadata=metadata)
    temporary.replace(path)


def load(path: Path) -> LayerStatistics:
    """Read what `save` wrote. Raises ValueError for another file."""
    n = about(path)["n"]
    try:
        with safe_open(path, framework="pt") as file:
            return LayerStatistics(n, *(file.get_tensor(key) for key in ("mean", "m2", "nonzero")))
    except Exception as error:
        raise ValueError(f"{path} is no layer statistics file ({type(error).__name__}: {error})") from error


def about(path: Path) -> dict[str, Any]:
    """The metadata of a file that `save` wrote, and n. Raises ValueError for another file."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {})[_METADATA_KEY])
    except Exception as error:
        raise ValueError(f"{path} is no layer statistics file ({type(error).__name__}: {error})") from error


def fits(about: dict[str, Any], weights_sha256: str | None) -> bool:
    """Whether a file is of these weights; one that does not say of which is taken at its word."""
    return about.get("weights_sha256", weights_sha256) == weights_sha256
