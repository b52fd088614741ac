"""Inference and attribution over a table of videos: samples of many videos share a batch."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from operators import statistics
from operators.activations import LOGITS, read
from operators.bottleneck import Bottleneck, Explanation, cut_for, fit
from operators.failures import leave_a_lost_device, out_of_memory
from operators.models import Detector, to_input
from operators.readout import Readout
from operators.readout import load as load_readout
from operators.split import Split
from schemas.errors import SampleError
from schemas.tables import CLASS_FAKE, CLASS_REAL, NESTED, STATUS_ERROR, STATUS_OK, VIDEO_ROW

IBA: Final = "iba"
READOUT: Final = "readout"
#: the first batch on a GPU, whose peak tells how many samples the next ones may have
_FIRST_BATCH: Final = 2
_MOST_SAMPLES: Final = 64
#: the rest is for what the allocator cannot use, and for others on the same GPU
_MEMORY_SHARE: Final = 0.7


@dataclass(frozen=True)
class _Layer:
    name: str
    cut: Split
    mean: Tensor
    std: Tensor
    active: Tensor
    readout: Readout | None


class _Loaded:
    """A detector on its device, frozen, cut at each of its layers."""

    def __init__(
        self,
        detector: Detector,
        bottleneck: Bottleneck,
        statistics_folder: Path,
        given: Mapping[tuple[str, str], Path],
        device: torch.device,
    ) -> None:
        self.spec = detector.spec
        self.model = detector.load().to(device).to(memory_format=torch.channels_last).requires_grad_(False)
        size = self.spec.input_size
        example = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
        self.layers = []
        for name in detector.layers:
            known = statistics.load(statistics.path_in(statistics_folder, self.spec.name, name))
            tensors = (known.mean.float(), known.std(), known.active())
            path = given.get((self.spec.name, name))
            readout = None if path is None else load_readout(path).to(device)
            cut = cut_for(self.model, name, example, bottleneck)
            self.layers.append(_Layer(name, cut, *(tensor.to(device) for tensor in tensors), readout=readout))
        read_by_any = {name for layer in self.layers if layer.readout is not None for name in layer.readout.layers}
        self.read = (*sorted(read_by_any), LOGITS)


class Explainer:
    """Predictions and maps for every sample of a batch of videos; made once per actor.

    A video for which a detector or the attribution gives values that are not finite becomes an error row, as does one
    that has a face but nothing to cut an input from. `batch_samples` samples go through a detector together; 0: as many
    as the free memory of the GPU holds. Where memory runs out, the same samples are explained in batches of half the
    size, and so are the later ones; a video of which not even one sample fits becomes an error row.
    """

    def __init__(
        self,
        detectors: tuple[Detector, ...],
        bottleneck: Bottleneck,
        statistics_folder: Path,
        readouts: Mapping[tuple[str, str], Path],
        batch_samples: int,
        threads: int,
    ) -> None:
        """`readouts`: the files of those (model, layer) that are also explained by a readout bottleneck."""
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # the plain pass as exactly as the fit, for which this is set too
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = bottleneck.precision == "fastest"
        self._bottleneck = bottleneck
        self._batch_samples = batch_samples
        self._detectors = detectors
        self._folder = statistics_folder
        self._readouts = readouts
        self._loaded: dict[str, _Loaded] = {}
        self._batches: dict[str, int] = {}

    def __call__(self, table: pa.Table) -> pa.Table:
        """VIDEO_ROW in, VIDEO_ROW out: predictions and masks filled, inputs dropped."""
        rows = table.to_pylist()
        for detector in self._detectors:
            spec = detector.spec
            samples = [
                (row, item)
                for row in rows
                for item in row["inputs"]
                if (item["kind"], item["size"]) == (spec.input, spec.input_size)
            ]
            if samples:
                self._explain_in_batches(detector, samples)
        for row in rows:
            row["inputs"] = []
            try:
                _require_explained(row)
            except SampleError as error:
                _fail(row, error)
        return pa.Table.from_pylist(rows, schema=VIDEO_ROW)

    def _explain_in_batches(self, detector: Detector, samples: list[tuple[dict, dict]]) -> None:
        """Every sample once, in batches that fit into memory."""
        spec = detector.spec
        if spec.name not in self._loaded:
            self._loaded[spec.name] = _Loaded(detector, self._bottleneck, self._folder, self._readouts, self._device)
        while samples:
            size = self._batches.get(spec.name, self._batch_samples) or _FIRST_BATCH
            batch = samples[:size]
            if self._fits(detector, batch):
                samples = samples[len(batch) :]
                if self._device.type == "cuda" and not self._batches.get(spec.name, self._batch_samples):
                    self._batches[spec.name] = _samples_that_fit(len(batch))
            elif len(batch) > 1:
                self._batches[spec.name] = len(batch) // 2
            else:
                row = batch[0][0]
                detail = f"one sample of {spec.name}, {spec.input_size}x{spec.input_size}, needs more than there is"
                _fail(row, SampleError("out_of_memory", detail))
                samples = [sample for sample in samples if sample[0] is not row]

    def _fits(self, detector: Detector, samples: list[tuple[dict, dict]]) -> bool:
        """Explain the samples; False where memory ran out, with the rows as they were before."""
        filled = [(row[table.name], len(row[table.name])) for row, _ in samples for table in NESTED]
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            self._explain(detector, samples)
            return True
        except RuntimeError as error:
            if not out_of_memory(error):
                leave_a_lost_device(error)
                raise
        # only here, with the error and its traceback gone, nothing holds the tensors any more
        for values, count in filled:
            del values[count:]
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return False

    def _explain(self, detector: Detector, samples: list[tuple[dict, dict]]) -> None:
        started = time.perf_counter()
        loaded = self._loaded[detector.spec.name]
        size = loaded.spec.input_size
        pixels = np.stack([np.frombuffer(item["pixels"], np.uint8).reshape(size, size, 3) for _, item in samples])
        images = to_input(pixels, loaded.spec, self._device)
        with torch.no_grad():
            outputs = read(loaded.model, loaded.read, images)
        logits = outputs[LOGITS].float()
        targets = logits.argmax(1)
        plain = logits.softmax(1).cpu().numpy()
        for (row, item), values, probabilities, target in zip(
            samples, logits.cpu().numpy(), plain, targets.tolist(), strict=True
        ):
            row["predictions"].append(
                _prediction(item["frame"], loaded.spec.name, "", "", False, values, probabilities, target)
            )
        for layer in loaded.layers:
            site = (layer.cut, images, targets, layer.mean, layer.std, layer.active)
            start = None
            if layer.readout is not None:
                with torch.no_grad():
                    alpha = layer.readout(outputs)
                predicted = fit(*site, replace(self._bottleneck, steps=1), alpha)
                self._record(loaded, READOUT, layer.name, samples, predicted, targets.tolist())
                start = alpha if self._bottleneck.start == "readout" else None
            self._record(loaded, IBA, layer.name, samples, fit(*site, self._bottleneck, start), targets.tolist())
        seconds = (time.perf_counter() - started) / len(samples)
        for row, _ in samples:
            row["explain_s"] = (row["explain_s"] or 0.0) + seconds

    def _record(
        self,
        loaded: _Loaded,
        method: str,
        layer: str,
        samples: list[tuple[dict, dict]],
        found: Explanation,
        targets: list[int],
    ) -> None:
        height, width = found.capacity.shape[1:]
        size = loaded.spec.input_size
        capacity = found.capacity.cpu().numpy()
        saliency = (capacity.clip(0) * (height * width / size**2)).astype(np.float16)  # rounding can go below 0
        logits, probabilities = found.logits.cpu().numpy(), found.probabilities.cpu().numpy()
        before, after = found.loss_before.tolist(), found.loss_after.tolist()
        for i, (row, item) in enumerate(samples):
            row["predictions"].append(
                _prediction(
                    item["frame"], loaded.spec.name, method, layer, True, logits[i], probabilities[i], targets[i]
                )
            )
            row["masks"].append(
                {
                    "frame": item["frame"],
                    "model": loaded.spec.name,
                    "method": method,
                    "layer": layer,
                    "height": height,
                    "width": width,
                    "saliency": saliency[i].ravel(),
                    "input_size": size,
                    "total_bits": float(capacity[i].sum(dtype=np.float64)),
                    "loss_before": before[i] if method == IBA else None,
                    "loss_after": after[i],
                }
            )


def _prediction(
    frame: int,
    model: str,
    method: str,
    layer: str,
    bottleneck: bool,
    logits: np.ndarray,
    probabilities: np.ndarray,
    target: int,
) -> dict:
    return {
        "frame": frame,
        "model": model,
        "method": method,
        "layer": layer,
        "bottleneck": bottleneck,
        "logit_real": float(logits[CLASS_REAL]),
        "logit_fake": float(logits[CLASS_FAKE]),
        "prob_fake": float(probabilities[CLASS_FAKE]),
        "target": target,
    }


def _samples_that_fit(n_measured: int) -> int:
    """The batch size for this GPU after a batch of `n_measured` samples: the peak since, and what is free now."""
    used_bytes = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()  # without the weights
    torch.cuda.empty_cache()
    free_bytes, _ = torch.cuda.mem_get_info()
    return batch_size(free_bytes, used_bytes / n_measured)


def batch_size(free_bytes: int, sample_bytes: float) -> int:
    """How many samples fill 70 % of the free memory: at least 1, at most 64."""
    return min(max(int(_MEMORY_SHARE * free_bytes / max(sample_bytes, 1)), 1), _MOST_SAMPLES)


def _fail(row: dict, error: SampleError) -> None:
    row |= {"status": STATUS_ERROR, "error_stage": "explain", "error_code": error.code, "error_detail": error.detail}
    row |= {"inputs": [], **{table.name: [] for table in NESTED}}


def _require_explained(row: dict) -> None:
    if row["status"] == STATUS_OK and not row["masks"]:
        raise SampleError("no_flow", "no keyframe with a face has a next frame")
    for prediction in row["predictions"]:
        if not math.isfinite(prediction["logit_real"] + prediction["logit_fake"]):
            raise SampleError("explain_failed", f"{prediction['model']} gave logits that are not finite")
    for mask in row["masks"]:
        if not (np.isfinite(mask["saliency"]).all() and math.isfinite(mask["total_bits"])):
            raise SampleError(
                "explain_failed", f"map of {mask['model']} {mask['method']} {mask['layer']} is not finite"
            )
