"""The stage that tries cut-offs of F-EP: inputs in, insertion minus deletion of their maps under each pair out."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import torch

from operators.judging.asker import Asker
from operators.judging.faithful import faithful
from operators.judging.params import JudgeParams
from operators.judging.sample import Judged, Sample
from operators.measures.grid import common, in_time, times
from operators.methods.fep import Fep
from operators.methods.method import Outputs, Place
from operators.models.running import example, pixels_of, to_input
from operators.models.weights import Detector
from schemas.records import CUTOFF

#: of all that judging can ask, removal before a blur
_REMOVAL = JudgeParams(fills=("blur",), variants=(), road=False, sensitivity_sets=0, pgd_steps=0, sanity_frames=0)


class Cutoffs:
    """What a detector says of its inputs while what `method` finds in them is removed, for each of `pairs` of
    (keep_time, keep_space) in place of its own; made once per actor."""

    def __init__(
        self, detector: Detector, method: Fep, pairs: tuple[tuple[float, float], ...], batch_samples: int, threads: int
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._asker = Asker(detector, device, batch_samples)
        self._spec = detector.spec
        place = Place(detector.spec, self._asker.model, "", example(detector.spec).to(device))
        self._ready = {
            (time, space): replace(method, keep_time=time, keep_space=space).ready(place) for time, space in pairs
        }

    def __call__(self, table: pa.Table) -> pa.Table:
        """VIDEO_ROW in, CUTOFF out: a row for each input, of the class that the detector says it is, and pair."""
        view = str(self._spec.view)
        rows = [
            row
            for video in table.to_pylist()
            for item in video["inputs"]
            if item["view"] == view
            for row in self._of_input(video, item)
        ]
        return pa.Table.from_pylist(rows, schema=CUTOFF)

    def _of_input(self, video: dict[str, Any], item: dict[str, Any]) -> list[dict[str, Any]]:
        pixels = pixels_of([item["pixels"]], self._spec)
        inputs = to_input(pixels, self._spec, self._asker.device)
        target = int(self._asker.ask(lambda _: inputs, 1)[0].argmax())
        targets = torch.tensor([target], device=self._asker.device)
        maps = []
        for (time, space), ready in self._ready.items():
            found = ready.run(inputs, targets, Outputs()).saliency[0].cpu().numpy()
            cells = in_time([common(cell) for cell in found], times(self._spec.view.frames))
            maps.append(Judged({"keep_time": time, "keep_space": space}, cells))
        sample = Sample(video, item["frame"], self._spec.classes[target], pixels[0], pixels[0], maps)
        scores, _ = faithful(sample, self._asker, _REMOVAL, frozenset())
        ids = {"video_id": video["video_id"], "frame": item["frame"]}
        return [
            ids | {"keep_time": row["keep_time"], "keep_space": row["keep_space"], "srg": row["value"]}
            for row in scores
            if row["metric"] == "srg"
        ]
