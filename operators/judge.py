"""The stage that judges: maps of a video and its inputs, cut again, in; how faithful the maps are out."""

import copy
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import cv2
import numpy as np
import pyarrow as pa
import torch
from annotated_types import Ge, Le, MinLen
from torch import Tensor, nn

from operators.inputs.landmarks import VIEW as LANDMARK_VIEW
from operators.inputs.landmarks import finder
from operators.inputs.view import View
from operators.measures import adversarial
from operators.measures.faithfulness import (
    LERF,
    MORF,
    ROAD_SHARES,
    SET_SIZES,
    Fill,
    counts,
    filled,
    mean_over_others,
    order,
    random_sets,
    removal_scores,
    removed,
    road_fill,
    road_noise,
    scores_as_rows,
    seed_of,
    sensitivity_n,
)
from operators.measures.grid import (
    CELLS,
    SIDE,
    Cells,
    blurred,
    cell_of_pixel,
    common,
    complexity,
    relative,
    standardised,
    values,
)
from operators.measures.localisation import auroc, region
from operators.measures.maps import Heat, heat
from operators.measures.regions import region_rows
from operators.measures.sanity import cascade, similarity
from operators.methods.again import Again, with_own_statistics
from operators.methods.method import STATISTICS, Method
from operators.methods.ready import Files, FilesOfLayer
from operators.models.batches import Batches
from operators.models.precision import tf32
from operators.models.running import placed, to_input
from operators.models.weights import Detector, load_model
from schemas.errors import SampleError
from schemas.params import Seed, checked
from schemas.tables import JUDGE_NESTED, JUDGED_ROW, REAL, STATUS_ERROR, STATUS_OK

#: the method's mean map over the other videos
MEAN_MAP: Final = "mean_map"
_BLUR: Final = "blur"
Variant = Literal["mean_map", "blur8", "blur16"]
PGD, NES = "pgd", "nes"
#: random choices of segments that chance is the mean of
_CHANCE_DRAWS: Final = 5

Row = dict[str, Any]
#: model, method, layer, target
Series = tuple[str, str, str, str]
#: (indices) -> inputs (n, 3, S, S)
Make = Callable[[list[int]], Tensor]


@checked
class JudgeParams:
    """What is measured, and how often a model is asked for it.

    `max_frames` of all explained ones, and of these `nes_frames`, are chosen by a hash of video and frame: whatever is
    compared saw the same ones. 0 of `sensitivity_sets` (per set size), `pgd_steps`, `nes_frames` or `sanity_frames`
    leaves a test out. In the last ones every method explains again: with the weights of a model permuted down to
    `sanity_depths` layers, `sanity_seeds` times, and for the next class.
    """

    max_frames: Annotated[int, Ge(1), Le(10_000_000)] = 64
    steps: Annotated[int, Ge(2), Le(CELLS)] = 20
    fills: Annotated[tuple[Fill, ...], MinLen(1)] = ("blur", "mean")
    variants: tuple[Variant, ...] = ("mean_map", "blur8", "blur16")
    road: bool = True
    sensitivity_sets: Annotated[int, Ge(0), Le(10_000)] = 32
    pgd_steps: Annotated[int, Ge(0), Le(1000)] = 20
    nes_frames: Annotated[int, Ge(0), Le(10_000_000)] = 0
    nes_steps: Annotated[int, Ge(1), Le(1000)] = 50
    sanity_frames: Annotated[int, Ge(0), Le(10_000)] = 4
    sanity_depths: Annotated[int, Ge(1), Le(100)] = 5
    sanity_seeds: Annotated[int, Ge(1), Le(100)] = 1
    seed: Seed = 0

    def passes(self, n_maps: int, nes: bool) -> int:
        """How many inputs go through a model, at most, for one sample with `n_maps` maps, variants counted."""
        of_map = len(self.fills) * 2 * (self.steps - 1) + 2 * len(ROAD_SHARES) * self.road
        attack = self.pgd_steps + (adversarial.NES_PROBES * self.nes_steps if nes else 0)
        attacks = n_maps * len(adversarial.TOP) + _CHANCE_DRAWS
        return 1 + 2 * len(self.fills) + SET_SIZES * self.sensitivity_sets + n_maps * of_map + attacks * attack


@dataclass(frozen=True)
class Totals:
    """What all maps of a series, over `n_videos`, add up to on the common grid.

    `relative` is the sum over videos of each one's mean of maps over their maxima, `standard` the sum of the
    `n_standard` maps that are not constant, standardised.
    """

    relative: np.ndarray = field(default_factory=lambda: np.zeros(CELLS))
    standard: np.ndarray = field(default_factory=lambda: np.zeros(CELLS))
    n_videos: int = 0
    n_standard: int = 0

    def plus(self, maps: Sequence[Cells]) -> "Totals":
        """With the maps of one more video."""
        known = [each for each in map(standardised, maps) if each is not None]
        return Totals(
            self.relative + np.mean([relative(each) for each in maps], axis=0),
            self.standard + np.sum(known, axis=0) if known else self.standard,
            self.n_videos + 1,
            self.n_standard + len(known),
        )

    def minus(self, own: "Totals") -> "Totals":
        """Without those of one video."""
        return Totals(
            self.relative - own.relative,
            self.standard - own.standard,
            self.n_videos - own.n_videos,
            self.n_standard - own.n_standard,
        )


def series(row: Mapping[str, Any]) -> Series:
    """What a row of masks is one map of."""
    return row["model"], row["method"], row["layer"], row["target"]


def totals(rows: Sequence[Mapping[str, Any]], before: dict[Series, Totals]) -> dict[Series, Totals]:
    """`before` with the maps of one more video, from its rows of masks."""
    found = dict(before)
    for key, own in _by([row for row in rows if row["error_code"] is None], series).items():
        found[key] = found.get(key, Totals()).plus([common(values(row)) for row in own])
    return found


@dataclass(frozen=True)
class _Map:
    """A map or a variant of one: the columns that name it, and its values on the common grid."""

    ids: Row
    cells: Cells


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
        self._askers: dict[str, _Asker] = {}

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
            for (model, first_frame, target), own in _by(
                maps, lambda each: (each.ids["model"], each.ids["first_frame"], each.ids["target"])
            ).items():
                view = self._detectors[model].spec.view
                pixels = _pixels(row, view, first_frame)
                if pixels is None or (row["video_id"], first_frame) not in self._chosen:
                    continue
                asker = self._asker(model)
                shown = _pixels(row, view.picture, first_frame)
                sample = _Sample(row, first_frame, target, pixels, pixels if shown is None else shown, own)
                passes -= asker.passes
                faithfulness, curves = _judge(sample, asker, self._params, self._nes)
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

    def _maps(self, row: Row, rows: list[Row]) -> list[_Map]:
        """Every map and variant; what can be said without a model is added to `rows`."""
        truth = {each["frame"]: np.array(each["mask"], np.uint8).reshape(each["height"], -1) for each in row["truth"]}
        masks = [each for each in row["masks"] if each["error_code"] is None]
        maps = []
        for key, own in _by(masks, series).items():
            cells = [common(values(each)) for each in own]
            alone = Totals().plus(cells)
            whole = self._whole[key]
            others = whole.minus(alone)
            mean = mean_over_others(whole.relative, alone.relative, whole.n_videos)
            on_face = self._detectors[key[0]].spec.view.part == "face"
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
                    maps.append(_Map(ids | {"variant": variant}, variant_cells))
        return maps

    def _sanity(self, row: Row, maps: list[_Map]) -> list[Row]:
        """Maps of the chosen frames beside those of another class and of changed models."""
        chosen = self._again.frames
        stored = [each for each in maps if not each.ids["variant"]]
        stored = [each for each in stored if (row["video_id"], each.ids["first_frame"]) in chosen]
        rows: list[Row] = []
        for model, own in _by(stored, lambda each: each.ids["model"]).items():
            asker, files = self._asker(model), partial(self._again.files.of, model)
            retake = _Retake(row, self._detectors[model], asker, own, self._again.methods)
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
            elif variant.startswith(_BLUR):
                whole = blurred(values(row), size, float(variant.removeprefix(_BLUR)))
                found.append((variant, common(whole), whole.clip(min=0)))
        return found

    def _asker(self, model: str) -> "_Asker":
        if model not in self._askers:
            self._askers[model] = _Asker(self._detectors[model], self._device, self._batch_samples)
        return self._askers[model]


@dataclass(frozen=True)
class _Sample:
    """One input and all maps that explain one class of it; `shown` is the picture that is cut into segments."""

    row: Row
    frame: int
    target: str
    pixels: np.ndarray
    shown: np.ndarray
    maps: list[_Map]

    def rng(self, seed: int, *what: object) -> np.random.Generator:
        """The same for every method and after a resume."""
        return seed_of(seed, self.row["video_id"], self.frame, *what)


class _Asker:
    """A model that is asked about many variations of one input; counts how many."""

    def __init__(self, detector: Detector, device: torch.device, batch_samples: int) -> None:
        self.spec = detector.spec
        self.device = device
        self.model: nn.Module = placed(detector.load(), detector.spec, device).requires_grad_(False)
        self._forward, self._attack = Batches(device, batch_samples), Batches(device, batch_samples)
        self.passes = 0

    def ask(self, make: Make, n: int) -> np.ndarray:
        """Probabilities (n, classes) of the inputs that `make` gives of indices below n."""

        @torch.no_grad()
        def work(batch: list[int]) -> np.ndarray:
            with tf32(False):
                logits = self.model(make(batch).to(memory_format=torch.channels_last))
            return logits.float().softmax(1).cpu().numpy()

        return self._run(self._forward, work, n, 1)

    def attack(self, make: Make, n: int, passes: int) -> np.ndarray:
        """The same of inputs whose making takes so many `passes` each."""

        def work(batch: list[int]) -> np.ndarray:
            with tf32(False):
                attacked = make(batch)
                with torch.no_grad():
                    return self.logits_of_pixels(attacked).softmax(1).cpu().numpy()

        return self._run(self._attack, work, n, passes)

    def logits_of_pixels(self, images: Tensor) -> Tensor:
        """Logits of (M, 3, S, S) in [0, 1]."""
        mean, std = (
            torch.tensor(each, device=images.device).view(1, 3, 1, 1) for each in (self.spec.mean, self.spec.std)
        )
        return self.model(((images - mean) / std).contiguous(memory_format=torch.channels_last)).float()

    def _run(self, batches: Batches, work: Callable[[list[int]], np.ndarray], n: int, passes: int) -> np.ndarray:
        found = np.empty((n, len(self.spec.classes)))
        for batch, got in batches.run(list(range(n)), work):
            if got is None:
                raise SampleError("out_of_memory", f"one sample of {self.spec.name} needs more than there is")
            found[batch] = got
            self.passes += passes * len(batch)
        return found


@dataclass(frozen=True)
class _Retake:
    """Stored maps of one model's samples in a video, to be made again."""

    row: Row
    detector: Detector
    asker: _Asker
    maps: list[_Map]
    methods: tuple[Method, ...]

    def of_the_next_class(self, files: FilesOfLayer) -> list[Row]:
        """For the class that is the most probable one besides the target."""
        again = self._again(self.asker.model, files)
        rows = []
        for (frame, target), own in self._samples():
            image = self._image(frame)
            classes = self.detector.spec.classes
            ranked = self.asker.ask(lambda _, image=image: image, 1)[0].argsort()[::-1].tolist()
            other = next(each for each in ranked if each != classes.index(target))
            ids = {"test": "class", "place": classes[other], "seed": 0, "depth": 1.0}
            rows += self._rows(again, image, frame, other, own, ids)
        return rows

    def on(self, model: nn.Module, files: FilesOfLayer, ids: Row) -> list[Row]:
        """On another model, whose statistics are those of all of the video's inputs."""
        with tempfile.TemporaryDirectory() as folder:
            if any(STATISTICS in method.needs for method in self.methods):
                spec, layers = self.detector.spec, self.detector.layers
                frames = [each["frame"] for each in self.row["inputs"] if each["view"] == str(spec.view)]
                images = torch.cat([self._image(frame) for frame in frames])
                files = with_own_statistics(spec, model, layers, images, files, Path(folder))
            again = self._again(model, files)
            rows = []
            for (frame, target), own in self._samples():
                index = self.detector.spec.classes.index(target)
                rows += self._rows(again, self._image(frame), frame, index, own, ids)
        return rows

    def _again(self, model: nn.Module, files: FilesOfLayer) -> Again:
        return Again(self.detector.spec, model, self.detector.layers, self.methods, files)

    def _samples(self) -> list[tuple[tuple[int, str], list[_Map]]]:
        return list(_by(self.maps, lambda each: (each.ids["first_frame"], each.ids["target"])).items())

    def _image(self, frame: int) -> Tensor:
        pixels = _pixels(self.row, self.detector.spec.view, frame)
        assert pixels is not None, "a map without its input"
        return to_input(pixels[None], self.detector.spec, self.asker.device)

    def _rows(self, again: Again, image: Tensor, frame: int, target: int, own: list[_Map], ids: Row) -> list[Row]:
        shown = _pixels(self.row, self.detector.spec.view.picture, frame)
        picture = None
        if shown is not None and self.detector.spec.view != self.detector.spec.view.picture:
            picture = torch.tensor(shown, device=image.device).permute(2, 0, 1)[None].float() / 255
        made = again.maps(image, target, picture)
        rows = []
        for each in own:
            found = made.get((each.ids["method"], each.ids["layer"]))
            if found is not None:
                names = {name: value for name, value in each.ids.items() if name != "variant"}
                alike = similarity(each.cells, common(found.float().cpu().numpy()))
                rows.append(names | ids | {"similarity": alike})
        return rows


def _judge(
    sample: _Sample, asker: _Asker, params: JudgeParams, nes: frozenset[tuple[str, int]]
) -> tuple[list[Row], list[Row]]:
    """Rows of `faithfulness` and `faithfulness_curves`."""
    scores: list[list[Row]] = [[] for _ in sample.maps]
    target = asker.spec.classes.index(sample.target)
    image = to_input(sample.pixels[None], asker.spec, asker.device)
    plain = asker.ask(lambda batch: image, 1)[0]
    ties = sample.rng(params.seed, "ties").permutation(CELLS)
    orders = [order(each.cells, ties) for each in sample.maps]
    curves = _removals(sample, asker, params, image, target, float(plain[target]), orders, scores)
    if params.road:
        _road(sample, asker, params, image, target, orders, scores)
    rightly = int(plain.argmax()) == target and sample.row["label"] == sample.target != REAL
    if rightly and params.pgd_steps:
        _adversarial(PGD, sample, asker, params, target, float(plain[target]), ties, scores)
    if rightly and (sample.row["video_id"], sample.frame) in nes:
        _adversarial(NES, sample, asker, params, target, float(plain[target]), ties, scores)
    rows = [each.ids | score for each, own in zip(sample.maps, scores, strict=True) for score in own]
    return rows, curves


def _removals(
    sample: _Sample,
    asker: _Asker,
    params: JudgeParams,
    image: Tensor,
    target: int,
    plain: float,
    orders: list[np.ndarray],
    scores: list[list[Row]],
) -> list[Row]:
    """Curves of cells removed in both orders, their areas, and sensitivity-n; a set of cells is asked about once."""
    points = counts(params.steps)
    shares = points / CELLS
    sides = [removed(each, points) for first in orders for each in (first, first[::-1])]
    sets, sizes = random_sets(params.sensitivity_sets, sample.rng(params.seed, "sets"))
    pixel = torch.tensor(cell_of_pixel(image.shape[-1]), device=asker.device)
    curves = []
    for fill in params.fills:
        wanted = [*sides, sets] if fill == params.fills[0] else sides
        distinct, which = np.unique(np.concatenate(wanted), axis=0, return_inverse=True)
        gone = torch.tensor(distinct, device=asker.device)
        instead = filled(image[0], fill)

        def make(batch: list[int], gone: Tensor = gone, instead: Tensor = instead) -> Tensor:
            where = gone[batch][:, pixel].view(-1, 1, *image.shape[-2:])
            return torch.where(where, instead, image)

        p = asker.ask(make, len(distinct))[which.ravel(), target]
        own = p[: 2 * len(orders) * len(points)].reshape(len(orders), 2, len(points))
        for each, (morf, lerf), found in zip(sample.maps, own, scores, strict=True):
            found += scores_as_rows(removal_scores(shares, morf, lerf), fill)
            for removal, curve in ((MORF, morf), (LERF, lerf)):
                ids = each.ids | {"removal": removal, "fill": fill}
                curves.append(ids | {"removed": shares.tolist(), "probability": curve.tolist()})
        if fill == params.fills[0] and len(sets):
            cost = plain - p[own.size :]
            for each, found in zip(sample.maps, scores, strict=True):
                found += scores_as_rows({"sensitivity_n": sensitivity_n(each.cells, sets, sizes, cost)}, fill)
    return curves


def _road(
    sample: _Sample,
    asker: _Asker,
    params: JudgeParams,
    image: Tensor,
    target: int,
    orders: list[np.ndarray],
    scores: list[list[Row]],
) -> None:
    points = np.round(np.array(ROAD_SHARES) * CELLS).astype(np.int64)
    sides = np.concatenate([removed(each, points) for first in orders for each in (first, first[::-1])])
    distinct, which = np.unique(sides, axis=0, return_inverse=True)
    size = image.shape[-1]
    pixel = cell_of_pixel(size)
    whole, deviation = image[0].cpu().numpy().astype(np.float64), road_noise(asker.spec.std)

    def make(batch: list[int]) -> Tensor:
        made = []
        for index in batch:
            gone = distinct[index][pixel].reshape(size, size)
            rng = sample.rng(params.seed, "road", int(distinct[index].sum()))
            made.append(road_fill(whole, gone, rng, deviation))
        return torch.tensor(np.stack(made), dtype=image.dtype, device=image.device)

    found = asker.ask(make, len(distinct))[which.ravel()].reshape(len(orders), 2, len(points), -1)
    p, best = found[..., target], found.argmax(-1) == target
    for own_p, own_best, rows in zip(p, best, scores, strict=True):
        road = {"road": float((own_p[1] - own_p[0]).mean())}
        rows += scores_as_rows(road | {"road_accuracy": float(own_best[1].mean() - own_best[0].mean())}, "road")


def _adversarial(
    kind: str,
    sample: _Sample,
    asker: _Asker,
    params: JudgeParams,
    target: int,
    plain: float,
    ties: np.ndarray,
    scores: list[list[Row]],
) -> None:
    """Attacks in the most relevant segments of every map, and in random ones; equal choices are attacked once."""
    parts = adversarial.segments(sample.shown)
    size = len(parts)
    pixel = cell_of_pixel(size)
    n_parts, most = int(parts.max()) + 1, max(adversarial.TOP)
    chosen: list[frozenset[int]] = []
    for each in sample.maps:
        ranked = adversarial.most_relevant(parts, each.cells[pixel].reshape(size, size), ties)
        chosen += [frozenset(ranked[:k]) for k in adversarial.TOP]
    rng = sample.rng(params.seed, "segments")
    drawn = [frozenset(rng.choice(n_parts, min(most, n_parts), replace=False).tolist()) for _ in range(_CHANCE_DRAWS)]
    distinct = list(dict.fromkeys([*chosen, *drawn]))
    where = [adversarial.inside(parts, sorted(each)) for each in distinct]
    pixels = torch.tensor(sample.pixels, device=asker.device).permute(2, 0, 1)[None].float() / 255

    def probability(images: Tensor) -> Tensor:
        return asker.logits_of_pixels(images).softmax(1)[:, target]

    def make(batch: list[int]) -> Tensor:
        inside = torch.tensor(np.stack([where[index] for index in batch]), device=asker.device)[:, None].float()
        images = pixels.repeat(len(batch), 1, 1, 1)
        if kind == PGD:
            return adversarial.pgd(probability, images, inside, params.pgd_steps)
        generator = torch.Generator().manual_seed(int(sample.rng(params.seed, NES).integers(2**32)))
        return adversarial.nes(probability, images, inside, params.nes_steps, generator)

    steps = params.pgd_steps if kind == PGD else adversarial.NES_PROBES * params.nes_steps
    found = dict(zip(distinct, asker.attack(make, len(distinct), steps), strict=True))
    area = {each: float(own.mean()) for each, own in zip(distinct, where, strict=True)}
    per_area = float(np.mean([(plain - found[each][target]) / area[each] for each in drawn]))
    for index, rows in enumerate(scores):
        one, two, three = chosen[len(adversarial.TOP) * index :][: len(adversarial.TOP)]
        drop = {each: plain - float(found[each][target]) for each in (one, two, three)}
        rows += scores_as_rows(
            {
                "adv_drop": drop[three],
                "adv_drop_1": drop[one],
                "adv_drop_2": drop[two],
                "adv_flip": float(found[three].argmax() != target),
                "adv_area": area[three],
                "adv_chance": per_area * area[three],
            },
            kind,
        )


def _pixels(row: Row, view: View, frame: int) -> np.ndarray | None:
    """(S, S, 3) of the input that was cut for a view and a frame; None where there is none."""
    for item in row["inputs"]:
        if item["frame"] == frame and item["view"] == str(view):
            return np.frombuffer(item["pixels"], np.uint8).reshape(view.size, view.size, 3)
    return None


def _by(items: Sequence[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found
