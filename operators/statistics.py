"""Mean and standard deviation of a layer's activations, element by element, mergeable across workers."""

import json
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from operators.activations import read
from operators.models import Detector, to_input

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


#: what a worker hands over: one row per layer of a batch of videos; `first_video_id` fixes the order of merging
PARTIAL = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),
        pa.field("layer", pa.string(), nullable=False),
        pa.field("first_video_id", pa.string(), nullable=False),
        pa.field("n", pa.int64(), nullable=False),
        pa.field("shape", pa.list_(pa.int32()), nullable=False),
        pa.field("mean", pa.binary(), nullable=False),
        pa.field("m2", pa.binary(), nullable=False),
        pa.field("nonzero", pa.binary(), nullable=False),
    ]
)


class Collector:
    """The statistics of each detector's layers over a batch of videos; made once per actor.

    Emits one row per detector and layer: model, layer, first_video_id (for a fixed merging order), n and the tensors.
    """

    def __init__(self, detectors: tuple[Detector, ...], batch_samples: int, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._batch_samples = batch_samples
        self._models: list[tuple[Detector, nn.Module]] = []
        for detector in detectors:
            model = detector.load().to(self._device).to(memory_format=torch.channels_last).requires_grad_(False)
            self._models.append((detector, model))

    def __call__(self, table: pa.Table) -> pa.Table:
        """VIDEO_ROW in, PARTIAL out."""
        inputs = [item for items in table["inputs"].to_pylist() for item in items]
        rows = []
        for detector, model in self._models:
            spec = detector.spec
            pixels = [
                item["pixels"] for item in inputs if (item["kind"], item["size"]) == (spec.input, spec.input_size)
            ]
            parts: dict[str, list[LayerStatistics]] = {layer: [] for layer in detector.layers}
            for start in range(0, len(pixels), self._batch_samples):
                chunk = b"".join(pixels[start : start + self._batch_samples])
                images = np.frombuffer(chunk, np.uint8).reshape(-1, spec.input_size, spec.input_size, 3)
                with torch.no_grad():
                    outputs = read(model, detector.layers, to_input(images, spec, self._device))
                for layer, output in outputs.items():
                    parts[layer].append(of_batch(output))
            if pixels:
                first = min(table["video_id"].to_pylist())
                rows += [_partial(spec.name, layer, first, merge(found)) for layer, found in parts.items()]
        return pa.Table.from_pylist(rows, schema=PARTIAL)


def _partial(model: str, layer: str, first_video_id: str, found: LayerStatistics) -> dict:
    return {
        "model": model,
        "layer": layer,
        "first_video_id": first_video_id,
        "n": found.n,
        "shape": list(found.mean.shape),
        "mean": found.mean.numpy().tobytes(),
        "m2": found.m2.numpy().tobytes(),
        "nonzero": found.nonzero.numpy().tobytes(),
    }


def from_partial(row: dict) -> LayerStatistics:
    """One row of PARTIAL back to statistics."""
    shape = row["shape"]
    mean, m2 = (torch.frombuffer(bytearray(row[key]), dtype=torch.float64).view(*shape) for key in ("mean", "m2"))
    nonzero = torch.frombuffer(bytearray(row["nonzero"]), dtype=torch.int64).view(*shape)
    return LayerStatistics(row["n"], mean, m2, nonzero)
