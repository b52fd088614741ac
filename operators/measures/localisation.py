"""How much of an explanation lies where a frame was forged, beside what chance would put there."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from scipy.integrate import trapezoid
from scipy.ndimage import distance_transform_edt
from scipy.stats import rankdata

cv2.setNumThreads(1)

#: the pointing game counts a maximum this close to the region as a hit (Zhang et al. 2018)
POINTING_PX: Final = 15
#: the effective heat ratio looks at pixels from this share of the maximum on, over these quantiles of them
EHR_BASE: Final = 0.1
EHR_QUANTILES: Final = np.linspace(0, 1, 11)

Heat = npt.NDArray[np.floating]
Region = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Localisation:
    """Figures of one map; but for the chances None for a map without heat, auroc for a region that is everything."""

    heat_inside: float | None
    rra: float | None
    chance: float
    pointing: bool | None
    pointing_chance: float
    ehr: float | None
    auroc: float | None


def region(cells: npt.NDArray[np.uint8], size: int) -> Region:
    """The forged region m > 0 at a model's input, bool (size,size), from the cells (h,w) of the table `truth`.

    An input pixel is forged where the cell below its centre is above 0; where pixels are larger than cells, where any
    cell it touches is.
    """
    height, width = cells.shape
    if size < max(height, width):
        return cv2.resize((cells > 0).astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0
    centres = np.arange(size) + 0.5
    rows, columns = (centres * height / size).astype(int), (centres * width / size).astype(int)
    return cells[np.ix_(rows, columns)] > 0


def localise(heat: Heat, forged: Region) -> Localisation:
    """Figures of a map (H,W), finite and >= 0, against the forged region (H,W); ValueError for an empty region.

    chance = |G| / (H W), the expectation of heat_inside and rra for a map that knows nothing; ehr of a uniform one.
    pointing_chance = the share of the pixels that pointing counts as hits.
    """
    if heat.shape != forged.shape or not forged.any():
        raise ValueError(f"needs a region of the map's shape {heat.shape} with a pixel in it; got {forged.shape}")
    chance, pointing_chance = float(forged.mean()), float(near(forged).mean())
    if not heat.any():
        return Localisation(None, None, chance, None, pointing_chance, None, None)
    inside, ranks, ehr = heat_inside(heat, forged), rank_accuracy(heat, forged), effective_heat_ratio(heat, forged)
    hit = points(heat, forged)
    return Localisation(inside, ranks, chance, hit, pointing_chance, ehr, auroc(heat, forged))


def heat_inside(heat: Heat, forged: Region) -> float:
    """sum_G heat / sum heat: the relevance mass accuracy of Arras et al. (2022); heat above 0 somewhere."""
    values = heat.astype(np.float64)
    return float(values[forged].sum() / values.sum())


def rank_accuracy(heat: Heat, forged: Region) -> float:
    """Relevance rank accuracy |top_n and G| / n of Arras et al. (2022), n = |G|, top_n the n hottest pixels.

    Of pixels that tie for the last places, as many count as a random choice would bring on average: a constant map
    scores chance.
    """
    n = np.count_nonzero(forged)
    flat, inside = heat.ravel(), forged.ravel()
    least = np.partition(flat, flat.size - n)[flat.size - n]
    above, ties = flat > least, flat == least
    open_places = n - np.count_nonzero(above)
    return float((np.count_nonzero(above & inside) + open_places * inside[ties].mean()) / n)


def auroc(heat: Heat, forged: Region) -> float | None:
    """The probability that a pixel of G is hotter than one outside, ties counting half; None where G is everything.

    1/2 for a map that knows nothing, whatever the size of G.
    """
    n_in = int(np.count_nonzero(forged))
    n_out = forged.size - n_in
    if n_in == 0 or n_out == 0:
        return None
    ranks = rankdata(heat.ravel())[forged.ravel()].sum()
    return float((ranks - n_in * (n_in + 1) / 2) / (n_in * n_out))


def near(forged: Region, tolerance_px: float = POINTING_PX) -> Region:
    """G and every pixel at most so far from it."""
    return np.asarray(distance_transform_edt(~forged)) <= tolerance_px


def points(heat: Heat, forged: Region, tolerance_px: float = POINTING_PX) -> bool:
    """The pointing game (Zhang et al. 2018): the hottest pixel, of equals the first, is at most so far from G."""
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    rows, columns = np.nonzero(forged)
    return bool(((rows - row) ** 2 + (columns - column) ** 2).min() <= tolerance_px**2)


def effective_heat_ratio(heat: Heat, forged: Region) -> float:
    """The effective heat ratio of Zhang et al. (2021, InputIBA), in [0, 1]; heat above 0 somewhere.

    The integral over q in [0, 1] of sum_{G and h >= t(q)} h / |h >= t(q)|, with h the heat over its maximum and t(q)
    the q-quantile of the pixels with h >= 0.1, at most 0.99; trapezoids over 11 quantiles. A uniform map scores |G| /
    (H W), and only one that is uniform in G (or a part of it) and without heat elsewhere scores 1: heat that fades
    scores less, inside too.
    """
    values = heat.astype(np.float64) / float(heat.max())
    considered = values >= EHR_BASE
    values, inside = values[considered], forged[considered]
    above = values >= np.minimum(np.quantile(values, EHR_QUANTILES), 0.99)[:, None]
    ratios = (above & inside) @ values / above.sum(1)
    return float(trapezoid(ratios, EHR_QUANTILES))
