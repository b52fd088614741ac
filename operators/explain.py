"""The stage that explains: model inputs in, predictions and maps out; samples of many videos share a batch."""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from operators.inputs.view import View
from operators.measures.maps import stored
from operators.methods.method import PICTURE, Maps, Method
from operators.methods.ready import Files, ReadyMethods
from operators.models.batches import Batches
from operators.models.running import fetched, pixels_of, placed, to_input
from operators.models.spec import ModelSpec
from operators.models.weights import Detector
from schemas.errors import SampleError
from schemas.tables import NESTED, STATUS_ERROR, STATUS_OK, VIDEO_ROW

#: targets that are no class: what the model says, and what the video is labelled
PREDICTED: Final = "predicted"
LABELLED: Final = "label"
#: of so many classes every one has its row in `predictions`, of more the explained ones and the most probable
_ALL_CLASSES: Final = 20
_MOST_PROBABLE: Final = 5

Row = dict[str, Any]
#: a video's row and one of its inputs
Sample = tuple[Row, Row]


class _Loaded:
    """A model on its device, frozen, and every method made ready at each of its layers."""

    def __init__(self, detector: Detector, methods: Sequence[Method], files: Files, device: torch.device) -> None:
        self.spec = detector.spec
        model = placed(detector.load(), self.spec, device).requires_grad_(False)
        self.ready = ReadyMethods(self.spec, model, detector.layers, methods, partial(files.of, self.spec.name))
        picture = self.spec.view.picture
        wanted = picture != self.spec.view and any(PICTURE in method.needs for method in methods)
        #: of which view methods want the pictures, besides the inputs
        self.picture = picture if wanted else None


@dataclass(frozen=True)
class _Found:
    """Of a batch, on the processor: logits (N, classes) of the plain pass, the classes each sample is explained for,
    the maps (of each sample and class) of each method at a layer, and the seconds each took; `seconds` are a sample's.
    """

    batch: list[Sample]
    logits: Tensor
    chosen: list[list[int]]
    seconds: float = 0.0
    maps: list[tuple[Method, str, Maps, float]] = field(default_factory=list)


class Explainer:
    """Predictions and maps for every sample of a batch of videos; made once per actor.

    `targets` are PREDICTED, LABELLED or names of classes: a sample is explained once for each class they choose. A map
    that is not finite costs that map; a video for which a model gives logits that are not finite becomes an error row,
    as does one that has a frame but nothing to cut an input from, and one of which not even one sample fits into
    memory. `batch_samples` go through a model together, 0: as many as fit (`operators.models.batches`).

    Threads may call it at a time: one has the device, while rows of others are read and written.
    """

    #: seconds in which the device was explaining
    worked_s = 0.0

    def __init__(
        self,
        detectors: tuple[Detector, ...],
        methods: tuple[Method, ...],
        targets: tuple[str, ...],
        files: Files,
        batch_samples: int,
        threads: int,
        keep: bool = False,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._keep = keep
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._detectors, self._methods, self._targets, self._files = detectors, methods, targets, files
        self._batch_samples = batch_samples
        self._loaded: dict[str, tuple[_Loaded, Batches]] = {}
        self._lock = threading.Lock()  # of the device, of what is loaded on it, and of switches that are the process's

    def __call__(self, table: pa.Table) -> pa.Table:
        """VIDEO_ROW in, VIDEO_ROW out: predictions and masks filled, inputs dropped unless they are to `keep`."""
        rows = table.to_pylist()
        for detector in self._detectors:
            view = str(detector.spec.view)
            samples = [(row, item) for row in rows for item in row["inputs"] if item["view"] == view]
            if samples:
                with self._lock:
                    found = self._explain(detector, samples)
                for each in found:
                    _write(each, detector.spec)
        for row in rows:
            try:
                _require_explained(row, [detector.spec.view for detector in self._detectors])
            except SampleError as error:
                _fail(row, error)
            if not self._keep:
                row["inputs"] = []
        return pa.Table.from_pylist(rows, schema=VIDEO_ROW)

    def _explain(self, detector: Detector, samples: list[Sample]) -> list[_Found]:
        name = detector.spec.name
        if name not in self._loaded:
            loaded = _Loaded(detector, self._methods, self._files, self._device)
            self._loaded[name] = loaded, Batches(self._device, self._batch_samples)
        loaded, batches = self._loaded[name]
        started = time.perf_counter()
        done: list[_Found] = []
        for batch, found in batches.run(samples, partial(self._explain_batch, loaded)):
            if found is None:
                row, _ = batch[0]
                detail = f"one sample of {name}, {detector.spec.view}, needs more than there is"
                _fail(row, SampleError("out_of_memory", detail))
                samples[:] = [sample for sample in samples if sample[0] is not row]
            else:
                done.append(found)
        self.worked_s += time.perf_counter() - started
        return done

    def _explain_batch(self, loaded: _Loaded, batch: list[Sample]) -> _Found:
        started = time.perf_counter()
        spec = loaded.spec
        images = to_input(pixels_of([item["pixels"] for _, item in batch], spec), spec, self._device)
        logits, outputs = loaded.ready.plain(images)
        if loaded.picture is not None:
            pictures = np.stack([_picture_of(row, item, loaded.picture) for row, item in batch])
            outputs = replace(outputs, pictures=torch.tensor(pictures, device=self._device).permute(0, 3, 1, 2) / 255)
        (logits,) = fetched([logits])
        chosen = [
            _classes(row, predicted, spec.classes, self._targets)
            for (row, _), predicted in zip(batch, logits.argmax(1).tolist(), strict=True)
        ]
        found = _Found(batch, logits, chosen)
        # one entry for each sample and class: mostly one class a sample
        which = [i for i, own in enumerate(chosen) for _ in own]
        targets = torch.tensor([target for own in chosen for target in own], device=self._device)
        if which != list(range(len(batch))):
            index = torch.tensor(which, device=self._device)
            images, outputs = images[index], outputs.of(index)
        for method, layer, ready in loaded.ready.each if which else ():
            begun = time.perf_counter()
            maps = _fetched(ready.run(images, targets, outputs))
            found.maps.append((method, layer, maps, (time.perf_counter() - begun) / maps.saliency.shape[:2].numel()))
        return replace(found, seconds=(time.perf_counter() - started) / len(batch))


def _fetched(maps: Maps) -> Maps:
    """The same on the processor."""
    others = {"empty": maps.empty, "logits": maps.logits, "probabilities": maps.probabilities}
    there = {name: each for name, each in others.items() if each is not None}
    saliency, *rest = fetched([maps.saliency, *maps.figures.values(), *there.values()])
    figures = dict(zip(maps.figures, rest, strict=False))
    return Maps(saliency, figures, **dict(zip(there, rest[len(figures) :], strict=True)))


def _write(found: _Found, spec: ModelSpec) -> None:
    """Rows of `predictions` and `masks` into those of the videos that have not failed."""
    probabilities = found.logits.softmax(1)
    items = [item for (_, item), own in zip(found.batch, found.chosen, strict=True) for _ in own]
    masks = [_masks(maps, items, spec.view) for _, _, maps, _ in found.maps]
    first = 0
    for i, ((row, item), own) in enumerate(zip(found.batch, found.chosen, strict=True)):
        numbers = range(first, first + len(own))
        first += len(own)
        row["explain_s"] = (row["explain_s"] or 0.0) + found.seconds
        if row["status"] != STATUS_OK:
            continue
        plain = _numpy(found.logits[i]), _numpy(probabilities[i])
        row["predictions"] += _predictions(item, spec.name, spec.classes, "", "", None, own, *plain)
        for (method, layer, maps, seconds), rows in zip(found.maps, masks, strict=True):
            ids = {"model": spec.name, "method": method.name, "layer": layer, "unit": method.unit, "seconds": seconds}
            for j, target in zip(numbers, own, strict=True):
                row["masks"] += [ids | {"target": spec.classes[target]} | each for each in rows[j]]
                if maps.logits is None or maps.probabilities is None or rows[j][0]["error_code"] is not None:
                    continue
                through = _numpy(maps.logits[j]), _numpy(maps.probabilities[j])
                names = method.name, layer, target, [target]
                row["predictions"] += _predictions(item, spec.name, spec.classes, *names, *through)


def _picture_of(row: Row, item: Row, view: View) -> np.ndarray:
    """(S, S, 3) uint8, the input of the same frame that shows it as it is."""
    found = next(each for each in row["inputs"] if each["view"] == str(view) and each["frame"] == item["frame"])
    return np.frombuffer(found["pixels"], np.uint8).reshape(view.shape)


def _classes(row: Row, predicted: int, classes: tuple[str, ...], targets: tuple[str, ...]) -> list[int]:
    """The classes a sample is explained for, each once, in the order of `targets`."""
    chosen = []
    for target in targets:
        name = row["label"] if target == LABELLED else target
        if target == PREDICTED:
            chosen.append(predicted)
        elif name in classes:
            chosen.append(classes.index(name))
    return list(dict.fromkeys(chosen))


def _predictions(
    item: Row,
    model: str,
    classes: tuple[str, ...],
    method: str,
    layer: str,
    target: int | None,
    explained: list[int],
    logits: np.ndarray,
    probabilities: np.ndarray,
) -> list[Row]:
    """Rows of one sample, the most probable class first; of many classes only some."""
    order = np.argsort(-probabilities, kind="stable").tolist()
    kept = order if len(classes) <= _ALL_CLASSES else list(dict.fromkeys([*order[:_MOST_PROBABLE], *explained]))
    ids = {"frame": item["frame"], "model": model, "method": method, "layer": layer}
    ids["target"] = "" if target is None else classes[target]
    ranks = {index: rank for rank, index in enumerate(order, 1)}
    return [
        ids
        | {"class": classes[index], "logit": float(logits[index]), "probability": float(probabilities[index])}
        | {"rank": ranks[index]}
        for index in kept
    ]


def _masks(maps: Maps, items: list[Row], view: View) -> list[list[Row]]:
    """One row per sample, of a clip one per cell of time; what the method gives of it, and where it lies.

    What is not finite in one cell of time costs all of them.
    """
    saliency = _numpy(maps.saliency)
    figures = {name: values.double().tolist() for name, values in maps.figures.items()}
    empty = None if maps.empty is None else maps.empty.tolist()
    rows = []
    for i, item in enumerate(items):
        own = {name: values[i] for name, values in figures.items()}
        cells = saliency[i] if np.isfinite(saliency[i]).all() else np.full_like(saliency[i], np.nan)
        maps_of = [_map(cell, own, None if empty is None else empty[i]) for cell in cells]
        sample: Row = {"first_frame": item["frame"], "input_size": view.size} | own
        places = _places(item, view, saliency.shape[1])
        rows.append([sample | place | each for place, each in zip(places, maps_of, strict=True)])
    return rows


def _places(item: Row, view: View, cells: int) -> list[Row]:
    """Where a sample's cells of time lie: from the frame where each begins to the next, and the box there."""
    box = ("box_x", "box_y", "box_width", "box_height")
    if cells == 1:
        return [{name: item[name] for name in ("frame", "span_frames", *box)}]
    if not 1 < cells <= view.frames:
        raise ValueError(f"a map of {cells} cells of time for {view}")
    firsts = [cell * view.frames // cells for cell in range(cells)]
    starts = [item["frame"] + view.step * first for first in firsts]
    ends = [*starts[1:], item["frame"] + item["span_frames"]]
    return [
        {"frame": start, "span_frames": end - start}
        | dict(zip(box, item["boxes"][4 * first : 4 * first + 4], strict=True))
        for first, start, end in zip(firsts, starts, ends, strict=True)
    ]


def _map(values: np.ndarray, figures: Mapping[str, float], empty: bool | None) -> Row:
    """The columns of `masks` that hold one map (h, w)."""
    if not (np.isfinite(values).all() and all(map(math.isfinite, figures.values()))):
        height, width = values.shape
        failed: Row = {"height": height, "width": width, "saliency": None, "scale": None, "empty": None}
        return failed | dict.fromkeys(figures) | {"error_code": "explain_failed"}
    nothing = bool((values <= 0).all()) if empty is None else empty
    return stored(values) | {"empty": nothing, "error_code": None}


def _numpy(values: Tensor) -> np.ndarray:
    return values.float().numpy()


def _fail(row: Row, error: SampleError) -> None:
    row |= {"status": STATUS_ERROR, "error_stage": "explain", "error_code": error.code, "error_detail": error.detail}
    row |= {"inputs": [], **{table.name: [] for table in NESTED}}


def _require_explained(row: Row, views: list[View]) -> None:
    names = {str(view) for view in views}
    if row["status"] == STATUS_OK and not any(item["view"] in names for item in row["inputs"]):
        if all(view.shows == "clip" for view in views):
            least = min(view.span_frames for view in views)
            raise SampleError("too_short", f"a clip spans {least} frames, and there are {row['n_frames']}")
        raise SampleError("no_flow", "no keyframe that something was cut from has a next frame")
    if row["status"] == STATUS_OK and not row["masks"]:
        raise SampleError("no_target", "no model that has an input of it has a class that is asked about")
    for prediction in row["predictions"]:
        if not prediction["method"] and not math.isfinite(prediction["logit"]):
            raise SampleError("explain_failed", f"{prediction['model']} gave logits that are not finite")
