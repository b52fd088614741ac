"""How faithful maps are: what a model says when parts of its input are removed or attacked in their order."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from operators.judging.asker import Asker
from operators.judging.params import CHANCE_DRAWS, JudgeParams
from operators.judging.sample import Row, Sample
from operators.measures import adversarial
from operators.measures.faithfulness import (
    LERF,
    MORF,
    ROAD_SHARES,
    counts,
    filled,
    order,
    random_sets,
    removal_scores,
    removed,
    road_fill,
    road_noise,
    scores_as_rows,
    sensitivity_n,
)
from operators.measures.grid import CELLS, cell_of_pixel, times
from operators.models.running import to_input
from schemas.tables import REAL

PGD: Final = "pgd"
NES: Final = "nes"


def faithful(
    sample: Sample, asker: Asker, params: JudgeParams, nes: frozenset[tuple[str, int]]
) -> tuple[list[Row], list[Row]]:
    """Rows of `faithfulness` and `faithfulness_curves`; of a clip those of removal alone: ROAD and segments are of
    pictures."""
    scores: list[list[Row]] = [[] for _ in sample.maps]
    target = asker.spec.classes.index(sample.target)
    image = to_input(sample.pixels[None], asker.spec, asker.device)
    plain = asker.ask(lambda batch: image, 1)[0]
    view = asker.spec.view
    still = view.shows != "clip"
    ties = sample.rng(params.seed, "ties").permutation(times(view.frames) * CELLS)
    orders = [order(each.cells, ties) for each in sample.maps]
    curves = _removals(sample, asker, params, image, target, float(plain[target]), orders, scores)
    if still and params.road:
        _road(sample, asker, params, image, target, orders, scores)
    rightly = still and int(plain.argmax()) == target and sample.row["label"] == sample.target != REAL
    if rightly and params.pgd_steps:
        _adversarial(PGD, sample, asker, params, target, float(plain[target]), ties, scores)
    if rightly and (sample.row["video_id"], sample.frame) in nes:
        _adversarial(NES, sample, asker, params, target, float(plain[target]), ties, scores)
    rows = [each.ids | score for each, own in zip(sample.maps, scores, strict=True) for score in own]
    return rows, curves


def _removals(
    sample: Sample,
    asker: Asker,
    params: JudgeParams,
    image: Tensor,
    target: int,
    plain: float,
    orders: list[np.ndarray],
    scores: list[list[Row]],
) -> list[Row]:
    """Curves of cells removed in both orders, their areas, and sensitivity-n; a set of cells is asked about once."""
    frames, size = asker.spec.view.frames, image.shape[-1]
    cells = times(frames) * CELLS
    points = counts(params.steps, cells)
    shares = points / cells
    sides = [removed(each, points) for first in orders for each in (first, first[::-1])]
    sets, sizes = random_sets(params.sensitivity_sets, sample.rng(params.seed, "sets"), cells)
    pixel = torch.tensor(cell_of_pixel(size, frames), device=asker.device)
    curves = []
    for fill in params.fills:
        wanted = [*sides, sets] if fill == params.fills[0] else sides
        distinct, which = np.unique(np.concatenate(wanted), axis=0, return_inverse=True)
        gone = torch.tensor(distinct, device=asker.device)
        instead = filled(image[0], fill)

        def make(batch: list[int], gone: Tensor = gone, instead: Tensor = instead) -> Tensor:
            where = gone[batch][:, pixel].view(-1, 1, *image.shape[2:])
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
    sample: Sample,
    asker: Asker,
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
    sample: Sample,
    asker: Asker,
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
    drawn = [frozenset(rng.choice(n_parts, min(most, n_parts), replace=False).tolist()) for _ in range(CHANCE_DRAWS)]
    distinct = list(dict.fromkeys([*chosen, *drawn]))
    where = [adversarial.inside(parts, sorted(each)) for each in distinct]
    pixels = torch.tensor(sample.pixels, device=asker.device).permute(2, 0, 1)[None].float() / 255

    def probability(images: Tensor) -> Tensor:
        return asker.logits_of(images).softmax(1)[:, target]

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
