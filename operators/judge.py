"""The stage that judges: maps of a video and its inputs, cut again, in; how faithful the maps are out."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import torch

from operators.inputs.landmarks import VIEW as LANDMARK_VIEW
from operators.inputs.landmarks import finder
from operators.judging.asker import Asker
from operators.judging.faithful import faithful
from operators.judging.params import BLUR, JudgeParams
from operators.judging.retake import Retake
from operators.judging.sample import Judged, Row, Sample, joined, pixels_of
from operators.judging.totals import Series, Totals, by_key, series
from operators.measures.faithfulness import mean_over_others
from operators.measures.grid import SIDE, Cells, blurred, common, complexity, standardised, values
from operators.measures.localisation import auroc, region
from operators.measures.maps import Heat, heat
from operators.measures.regions import region_rows
from operators.measures.sanity import cascade
from operators.methods.method import Method
from operators.methods.ready import Files
from operators.models.weights import Detector, load_model
from schemas.errors import SampleError
from schemas.methods import MEAN_MAP
from schemas.tables import JUDGE_NESTED, JUDGED_ROW, STATUS_ERROR, STATUS_OK


@dataclass(frozen=True)
class Explanations:
    """How the chosen (video, frame) are explained again: methods, where their files are, and the weights of detectors
    that were trained on permuted labels, by model."""

    frames: frozenset[tuple[str, int]] = frozenset()
    methods: tuple[Method, ...] = ()
    files: Files = field(default_factory=lambda: Files(Path(), {}))
    permuted: Mapping[str, Path] = field(default_factory=dict)


class Judge:
    """Every map of a batch of videos, and what models say of its frames when parts of them are taken away.

    `whole` are the totals of all videos. Models are asked about the `chosen` (video, frame), and attacked by NES in
    those of `nes`; those of `again.frames` are explained again. `landmarks` is the file that finds a face's parts in
    all frames, None for the box's proportions. A video that a model has too little memory for becomes an error row.
    """

    def __init__(
        self,
        detectors: tuple[Detector, ...],
        params: JudgeParams,
        whole: Mapping[Series, Totals],
        chosen: frozenset[tuple[str, int]],
        nes: frozenset[tuple[str, int]],
        landmarks: Path | None,
        again: Explanations,
        batch_samples: int,
        threads: int,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._detectors = {each.spec.name: each for each in detectors}
        self._params, self._whole, self._chosen, self._nes = params, whole, chosen, nes
        self._find = finder(landmarks)
        self._again = again
        self._batch_samples = batch_samples
        self._askers: dict[str, Asker] = {}

    def __call__(self, table: pa.Table) -> pa.Table:
        """VIDEO_ROW with masks, truth, predictions and inputs in, JUDGED_ROW out."""
        return pa.Table.from_pylist([self._video(row) for row in table.to_pylist()], schema=JUDGED_ROW)

    def _video(self, row: Row) -> Row:
        started = time.perf_counter()
        judged: Row = {"video_id": row["video_id"], "status": STATUS_OK}
        nested: dict[str, list[Row]] = {table.name: [] for table in JUDGE_NESTED}
        passes = 0
        try:
            maps = self._maps(row, nested["judged_maps"])
            nested["regions"] = self._regions(row)
            for (model, first_frame, target), own in by_key(
                maps, lambda each: (each.ids["model"], each.ids["first_frame"], each.ids["target"])
            ).items():
                view = self._detectors[model].spec.view
                pixels = pixels_of(row, view, first_frame)
                if pixels is None or (row["video_id"], first_frame) not in self._chosen:
                    continue
                asker = self._asker(model)
                shown = pixels_of(row, view.picture, first_frame)
                pictures = pixels if shown is None else shown
                sample = Sample(row, first_frame, target, pixels, pictures, joined(own, view))
                passes -= asker.passes
                faithfulness, curves = faithful(sample, asker, self._params, self._nes)
                passes += asker.passes
                nested["faithfulness"] += faithfulness
                nested["faithfulness_curves"] += curves
            nested["sanity"] = self._sanity(row, maps)
        except SampleError as error:
            nested = {name: [] for name in nested}
            judged |= {"status": STATUS_ERROR, "error_stage": "judge"}
            judged |= {"error_code": error.code, "error_detail": error.detail}
        seconds = time.perf_counter() - started
        n_frames = len({item["frame"] for item in row["inputs"] if (row["video_id"], item["frame"]) in self._chosen})
        return judged | nested | {"n_frames": n_frames, "passes": passes, "judge_s": seconds}

    def _maps(self, row: Row, rows: list[Row]) -> list[Judged]:
        """Every map and variant; what can be said without a model is added to `rows`."""
        truth = {each["frame"]: np.array(each["mask"], np.uint8).reshape(each["height"], -1) for each in row["truth"]}
        masks = [each for each in row["masks"] if each["error_code"] is None]
        maps = []
        for key, own in by_key(masks, series).items():
            cells = [common(values(each)) for each in own]
            alone = Totals().plus(cells)
            whole = self._whole[key]
            others = whole.minus(alone)
            mean = mean_over_others(whole.relative, alone.relative, whole.n_videos)
            view = self._detectors[key[0]].spec.view
            on_face = view.part == "face" and view.shows != "clip"  # the truth is of the keyframe alone
            for each, grid in zip(own, cells, strict=True):
                known = truth.get(each["frame"]) if on_face else None
                size = each["input_size"]
                ids = {name: each[name] for name in ("first_frame", "frame", "model", "method", "layer", "target")}
                steady = standardised(grid)
                alike = None
                if steady is not None and others.n_standard:
                    alike = float(steady @ others.standard) / others.n_standard
                for variant, variant_cells, whole_heat in self._variants(each, grid, mean, size):
                    inside = None if known is None or not known.any() else auroc(whole_heat, region(known, size))
                    figures = complexity(variant_cells) | {"auroc": inside, "same_map": None if variant else alike}
                    rows.append(ids | {"variant": variant} | figures)
                    maps.append(Judged(ids | {"variant": variant}, variant_cells))
        return maps

    def _sanity(self, row: Row, maps: list[Judged]) -> list[Row]:
        """Maps of the chosen frames beside those of another class and of changed models."""
        chosen = self._again.frames
        stored = [each for each in maps if not each.ids["variant"]]
        stored = [each for each in stored if (row["video_id"], each.ids["first_frame"]) in chosen]
        rows: list[Row] = []
        for model, own in by_key(stored, lambda each: each.ids["model"]).items():
            asker, files = self._asker(model), partial(self._again.files.of, model)
            detector = self._detectors[model]
            retake = Retake(row, detector, asker, joined(own, detector.spec.view), self._again.methods)
            rows += retake.of_the_next_class(files)
            for seed in range(self._params.sanity_seeds):
                changed = copy.deepcopy(asker.model)
                for place, depth in cascade(changed, self._params.sanity_depths, self._params.seed + seed):
                    ids = {"test": "weights", "place": place, "seed": seed, "depth": depth}
                    rows += retake.on(changed, files, ids)
            if model in self._again.permuted:
                learned = load_model(asker.spec, self._again.permuted[model]).to(self._device).requires_grad_(False)
                rows += retake.on(learned, files, {"test": "labels", "place": "", "seed": 0, "depth": 1.0})
        return rows

    def _regions(self, row: Row) -> list[Row]:
        """Where the heat of every map over a face lies."""
        found = {}
        for item in row["inputs"]:
            if item["view"] == str(LANDMARK_VIEW):
                pixels = np.frombuffer(item["pixels"], np.uint8).reshape(LANDMARK_VIEW.size, LANDMARK_VIEW.size, 3)
                found[item["frame"]] = self._find(pixels)
        maps = [(each, heat(each)) for each in row["masks"] if each["error_code"] is None]
        return region_rows(maps, row["frames"], found)

    def _variants(self, row: Row, grid: Cells, mean: Cells | None, size: int) -> list[tuple[str, Cells, Heat]]:
        """(variant, on the common grid, at the input), the map itself first."""
        found = [("", grid, heat(row))]
        for variant in self._params.variants:
            if variant == MEAN_MAP and mean is not None:
                whole = cv2.resize(mean.reshape(SIDE, SIDE), (size, size), interpolation=cv2.INTER_LINEAR)
                found.append((variant, mean, np.asarray(whole, np.float32).clip(min=0)))
            elif variant.startswith(BLUR):
                whole = blurred(values(row), size, float(variant.removeprefix(BLUR)))
                found.append((variant, common(whole), whole.clip(min=0)))
        return found

    def _asker(self, model: str) -> "Asker":
        if model not in self._askers:
            self._askers[model] = Asker(self._detectors[model], self._device, self._batch_samples)
        return self._askers[model]
