"""The stage that collects what layers' activations are like: inputs in, mean and deviation out."""

import pyarrow as pa
import torch
from torch import nn

from operators.methods.statistics import LayerStatistics, merge, of_batch
from operators.models.activations import read
from operators.models.running import pixels_of, placed, to_input
from operators.models.weights import Detector
from schemas.records import PARTIAL


class Collector:
    """The statistics of each detector's layers over a batch of videos; made once per actor."""

    def __init__(self, detectors: tuple[Detector, ...], batch_samples: int, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._batch_samples = batch_samples
        self._models: list[tuple[Detector, nn.Module]] = []
        for detector in detectors:
            model = placed(detector.load(), detector.spec, self._device).requires_grad_(False)
            self._models.append((detector, model))

    def __call__(self, table: pa.Table) -> pa.Table:
        """VIDEO_ROW in, PARTIAL out: one row per detector that saw an input, and layer."""
        inputs = [item for items in table["inputs"].to_pylist() for item in items]
        rows = []
        for detector, model in self._models:
            spec = detector.spec
            pixels = [item["pixels"] for item in inputs if item["view"] == str(spec.view)]
            found: dict[str, LayerStatistics] = {}
            for start in range(0, len(pixels), self._batch_samples):
                images = pixels_of(pixels[start : start + self._batch_samples], spec)
                with torch.no_grad():
                    outputs = read(model, detector.layers, to_input(images, spec, self._device), spec.layout)
                for layer, output in outputs.items():
                    part = of_batch(output)
                    found[layer] = merge([found[layer], part]) if layer in found else part
            rows += [_partial(spec.name, layer, each.cpu()) for layer, each in found.items()]
        return pa.Table.from_pylist(rows, schema=PARTIAL)


def _partial(model: str, layer: str, found: LayerStatistics) -> dict:
    return {
        "model": model,
        "layer": layer,
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
