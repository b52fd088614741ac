"""Whether a map orders the cells of an input as the model needs them: what is removed, by what, and what that tells.

A map is its values on the common grid (`operators.measures.grid`): CELLS of a picture, so many for each cell of time of
a clip. p is the probability of the class it explains.
"""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse
import scipy.sparse.linalg
import torch
from scipy.integrate import trapezoid
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from operators.measures.grid import CELLS, Cells, relative

Fill = Literal["blur", "mean", "zero"]
MORF, LERF = "morf", "lerf"
#: what the column `metric` of the table `faithfulness` says, and what it means
METRICS: Final = {
    "deletion": "area below p while the most relevant cells are removed first; low is faithful",
    "insertion": "area below p while the most relevant cells are put into the filled input first; high is faithful",
    "srg": "insertion - deletion: least relevant first minus most relevant first; 0 for a random order",
    "srg_norm": "srg over p(input) - p(filled input); NULL where that is below .1",
    "road": "mean over five shares of p(least relevant removed) - p(most relevant removed), noisily interpolated",
    "road_accuracy": "the same of whether the class is still the most probable one",
    "sensitivity_n": "mean over set sizes of the correlation of a set's saliency with what removing it costs",
    "adv_drop": "by how much p falls when the 3 most relevant segments are attacked",
    "adv_drop_1": "the same of the most relevant one",
    "adv_drop_2": "of two",
    "adv_flip": "1 where another class is the most probable one after the attack of 3 segments, else 0",
    "adv_area": "share of the input that the 3 segments cover",
    "adv_chance": "mean fall of p for 3 segments drawn at random, times adv_area over theirs",
}
#: the blur of a fill: sigma and reach in pixels of an input of 224 (RISE)
_BLUR_SIGMA: Final = 5.0
_BLUR_KERNEL: Final = 11
_BLUR_AT: Final = 224
#: what the denominator of srg_norm has to be at least
_LEAST_RANGE: Final = 0.1
#: ROAD removes these shares, and adds noise of this deviation to what it puts there (input scaled to [0, 1])
ROAD_SHARES: Final = (0.1, 0.3, 0.5, 0.7, 0.9)
_ROAD_NOISE: Final = 0.01
_STRAIGHT, _DIAGONAL = 1 / 6, 1 / 12
#: sensitivity-n draws sets of so many sizes, the largest of this share of the cells
SET_SIZES: Final = 8
_LARGEST_SET: Final = 0.8
#: what varies less, of saliency over its maximum or of probability, is rounding
_STEADY: Final = 1e-9

Order = npt.NDArray[np.int64]
Sets = npt.NDArray[np.bool_]


def seed_of(seed: int, *what: object) -> np.random.Generator:
    """A generator that depends on `seed` and on what it is for alone, so that a resume draws the same."""
    named = hashlib.sha256(repr(what).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(named[:8], "big")])


def order(cells: Cells, ties: Order) -> Order:
    """The cells from the most to the least relevant one; equal ones in the order of the permutation `ties`."""
    return np.lexsort((ties, -cells.astype(np.float64)))


def counts(steps: int, cells: int = CELLS) -> npt.NDArray[np.int64]:
    """How many cells are removed at each of steps + 1 points, from none to all."""
    return np.round(np.linspace(0, cells, steps + 1)).astype(np.int64)


def removed(first: Order, how_many: npt.NDArray[np.int64]) -> Sets:
    """(len(how_many), len(first)) which cells are removed when the `first` ones go."""
    place = np.empty(len(first), np.int64)
    place[first] = np.arange(len(first))
    return place[None, :] < how_many[:, None]


def removal_scores(shares: np.ndarray, morf: np.ndarray, lerf: np.ndarray) -> dict[str, float | None]:
    """deletion, insertion, srg and srg_norm from p at `shares` removed, most and least relevant first.

    Areas by trapezoids. To put the most relevant cells into the filled input is to remove the least relevant ones,
    read backwards, so insertion is the area below `lerf`.
    """
    deletion, insertion = float(trapezoid(morf, shares)), float(trapezoid(lerf, shares))
    span = float(morf[0] - morf[-1])
    srg = insertion - deletion
    return {
        "deletion": deletion,
        "insertion": insertion,
        "srg": srg,
        "srg_norm": srg / span if span >= _LEAST_RANGE else None,
    }


def filled(image: Tensor, fill: Fill) -> Tensor:
    """The whole input (3, S, S), or clip (3, T, S, S), as removed cells look: blurred, picture by picture, its mean
    colour, or zeros of the model's own units."""
    if fill == "zero":
        return torch.zeros_like(image)
    if fill == "mean":
        return image.mean(tuple(range(1, image.ndim)), keepdim=True).expand_as(image)
    larger = image.shape[-1] / _BLUR_AT
    kernel = min(2 * round((_BLUR_KERNEL - 1) / 2 * larger) + 1, 2 * image.shape[-1] - 1)
    return gaussian_blur(image, [max(kernel, 3)] * 2, [_BLUR_SIGMA * larger] * 2)


def road_fill(image: np.ndarray, gone: np.ndarray, rng: np.random.Generator, deviation: np.ndarray) -> np.ndarray:
    """ROAD's noisy linear imputation (Rong et al. 2022): (3, S, S) with the pixels `gone` (S, S) solved for.

    v_i = sum_j w_ij v_j over the 8 neighbours, w 1/6 straight and 1/12 diagonal, renormalised at the edges, plus noise
    of `deviation` (3,), the model's units of .01 of the input's range. Needs a pixel that is not gone.
    """
    height, width = gone.shape
    number = np.full(gone.shape, -1)
    rows, columns = np.nonzero(gone)
    number[rows, columns] = np.arange(len(rows))
    at, other, weight = [np.arange(len(rows))], [np.arange(len(rows))], [np.ones(len(rows))]
    right = np.zeros((len(rows), len(image)))
    total = np.zeros(len(rows))
    neighbours = []
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy or dx:
                y, x = rows + dy, columns + dx
                inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
                w = _STRAIGHT if dy == 0 or dx == 0 else _DIAGONAL
                total += w * inside
                neighbours.append((np.flatnonzero(inside), y[inside], x[inside], w))
    for own, y, x, w in neighbours:
        share = w / total[own]
        unknown = gone[y, x]
        at.append(own[unknown])
        other.append(number[y[unknown], x[unknown]])
        weight.append(-share[unknown])
        known = ~unknown
        np.add.at(right, own[known], share[known, None] * image[:, y[known], x[known]].T)
    system = scipy.sparse.csc_array((np.concatenate(weight), (np.concatenate(at), np.concatenate(other))))
    solved = scipy.sparse.linalg.splu(system, permc_spec="MMD_AT_PLUS_A").solve(right)
    found = image.copy()
    found[:, rows, columns] = (solved + rng.normal(size=solved.shape) * deviation).T
    return found


def road_noise(std: tuple[float, ...]) -> np.ndarray:
    """The deviation of ROAD's noise in the units of a model that divides by `std`."""
    return _ROAD_NOISE / np.array(std)


def random_sets(per_size: int, rng: np.random.Generator, cells: int = CELLS) -> tuple[Sets, npt.NDArray[np.int64]]:
    """Sets of cells (sizes * per_size, cells) for sensitivity-n and the size of each."""
    sizes = np.unique(np.geomspace(1, _LARGEST_SET * cells, SET_SIZES).round().astype(int))
    each = np.repeat(sizes, per_size)
    return np.argsort(np.argsort(rng.random((len(each), cells)), axis=1), axis=1) < each[:, None], each


def sensitivity_n(cells: Cells, sets: Sets, sizes: np.ndarray, cost: np.ndarray) -> float | None:
    """Sensitivity-n (Ancona et al. 2018): Pearson's r of the saliency in a set with cost = p(x) - p(x without it).

    The mean over set sizes; a size at which one of the two is constant has none. None where no size has one.
    """
    inside = sets.astype(np.float64) @ relative(cells)
    found = []
    for size in np.unique(sizes):
        own = sizes == size
        a, b = inside[own] - inside[own].mean(), cost[own] - cost[own].mean()
        if min(np.abs(a).max(), np.abs(b).max()) > _STEADY:
            found.append(float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())))
    return float(np.mean(found)) if found else None


def mean_over_others(total: np.ndarray, own: np.ndarray, n_videos: int) -> Cells | None:
    """The mean map over the other videos, from the sum over all `n_videos` of each one's mean; None without another."""
    return ((total - own) / (n_videos - 1)).astype(np.float32) if n_videos > 1 else None


def scores_as_rows(scores: Mapping[str, float | None], fill: str) -> list[dict[str, object]]:
    """The columns metric, fill and value of the table `faithfulness`."""
    assert scores.keys() <= METRICS.keys()
    return [{"metric": metric, "fill": fill, "value": value} for metric, value in scores.items()]
