"""The stages of Video-TCAV: concept clips of a video, and what a model's layers give of clips."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from operators.methods import gradients
from operators.models.activations import read
from operators.models.cut import split_all
from operators.models.precision import tf32
from operators.models.running import example, pixels_of, placed, to_input
from operators.models.weights import Detector
from operators.storage.files import on_disk
from operators.tcav.clips import ConceptParams, Found, concept_clips, frames_looked_at
from operators.tcav.objects import find_objects, load_detector
from operators.video.sandbox import Limits, kept_sandbox
from schemas.errors import SampleError
from schemas.records import ACTIVATION, CONCEPT_CLIP


def make_concepts(
    table: pa.Table, *, params: ConceptParams, boxes: Mapping[str, Sequence[Found]] | None, limits: Limits
) -> pa.Table:
    """MANIFEST in, CONCEPT_CLIP out; a video that cannot be decoded gives no clip. `boxes` are by uri, None: faces."""
    rows: list[dict[str, Any]] = []
    for video in table.to_pylist():
        known = None if boxes is None else boxes.get(video["uri"], ())
        try:
            with on_disk(video["uri"], limits.fetch_mb) as file:
                found = kept_sandbox(limits).run(concept_clips, file, video["video_id"], params, known)
        except SampleError:
            continue
        for number, row in enumerate(found):
            clip = f"{video['video_id']}:{row['concept']}:{row['kind']}:{row['frame']}:{number}"
            rows.append(row | {"clip_id": clip, "video_id": video["video_id"]})
    return pa.Table.from_pylist(rows, schema=CONCEPT_CLIP)


@dataclass(frozen=True)
class Objects:
    """What is looked for: `wanted` classes of COCO, by torchvision's detector `name` with a file of its weights."""

    name: str
    weights: Path
    wanted: tuple[str, ...]


class ObjectConcepts:
    """`make_concepts` of what a detector finds; once per actor."""

    def __init__(self, objects: Objects, params: ConceptParams, limits: Limits, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._objects, self._params, self._limits = objects, params, limits
        self._model = load_detector(objects.name, objects.weights).to(device)

    def __call__(self, table: pa.Table) -> pa.Table:
        """MANIFEST in, CONCEPT_CLIP out."""
        boxes: dict[str, list[Found]] = {}
        for uri in table["uri"].to_pylist():
            try:
                with on_disk(uri, self._limits.fetch_mb) as file:
                    frames = kept_sandbox(self._limits).run(frames_looked_at, file, self._params)
            except SampleError:
                continue
            boxes[uri] = [
                Found(concept, index, box)
                for index, image in frames
                for concept, box in find_objects(self._model, self._objects.name, image, self._objects.wanted).items()
            ]
        return make_concepts(table, params=self._params, boxes=boxes, limits=self._limits)


class Activations:
    """What a model's layers give of clips, and for those of the class the gradients of its logit; once per actor."""

    def __init__(self, detector: Detector, target: str, batch_samples: int, threads: int) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._spec, self._layers = detector.spec, detector.layers
        self._target = detector.spec.classes.index(target)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = placed(detector.load(), detector.spec, self._device).requires_grad_(False)
        one = example(detector.spec).to(self._device)
        self._plain, self._cuts = split_all(self._model, detector.layers, one, detector.spec.layout)
        self._batch = batch_samples or 4

    def __call__(self, table: pa.Table) -> pa.Table:
        """Rows (clip_id, concept, kind, pixels) in, ACTIVATION out: a row for each layer."""
        rows = table.to_pylist()
        found: list[dict[str, Any]] = []
        kinds = [row for row in rows if row["concept"]], [row for row in rows if not row["concept"]]
        parts = [own[start : start + self._batch] for own in kinds for start in range(0, len(own), self._batch)]
        for part in parts:
            inputs = to_input(pixels_of([row["pixels"] for row in part], self._spec), self._spec, self._device)
            for layer, values in (self._given if part[0]["concept"] else self._asked)(inputs).items():
                for row, vector in zip(part, values.flatten(1).float().cpu().numpy(), strict=True):
                    ids = {name: row[name] for name in ("clip_id", "concept", "kind")}
                    # float16 times a power of two: gradients are small
                    most = float(np.abs(vector).max()) or 1.0
                    scale = float(2.0 ** np.ceil(np.log2(most)))
                    values16 = (vector / scale).astype(np.float16).tobytes()
                    found.append(ids | {"layer": layer, "scale": scale, "values": values16})
        return pa.Table.from_pylist(found, schema=ACTIVATION)

    @torch.no_grad()
    def _given(self, inputs: Tensor) -> dict[str, Tensor]:
        with tf32(False):
            return read(self._model, self._layers, inputs, self._spec.layout)

    def _asked(self, inputs: Tensor) -> dict[str, Tensor]:
        targets = torch.full((len(inputs),), self._target, device=self._device)
        with tf32(False):
            with torch.no_grad():
                _, crossings = self._plain(inputs)
            return {
                layer: gradients.at_layer(self._cuts[layer], crossings[layer], targets)[1] for layer in self._layers
            }


def vectors(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(n, d) float32 of rows of ACTIVATION of one layer."""
    return np.stack([np.frombuffer(row["values"], np.float16).astype(np.float32) * row["scale"] for row in rows])
