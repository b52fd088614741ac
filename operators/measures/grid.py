"""The one grid on which maps of every size are compared, and what can be said of a map there."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

cv2.setNumThreads(1)

#: cells to a side
SIDE: Final = 16
CELLS: Final = SIDE * SIDE
#: of a clip: cells of time, or as many as it has pictures
_TIMES: Final = 8

Cells = npt.NDArray[np.float32]


def values(row: Mapping[str, Any]) -> Cells:
    """The map (h, w) of a row of `masks`, signed; nothing but zeros for an empty map."""
    cells = np.array(row["saliency"], np.float32).reshape(row["height"], row["width"]) * np.float32(row["scale"])
    return np.zeros_like(cells) if row["empty"] else cells


def common(saliency: Cells) -> Cells:
    """A map (h, w) on the common grid (CELLS,): means of areas where it is finer, bilinear where it is coarser."""
    if saliency.shape == (SIDE, SIDE):
        return saliency.ravel()
    finer = min(saliency.shape) >= SIDE
    how = cv2.INTER_AREA if finer else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(saliency, (SIDE, SIDE), interpolation=how), np.float32).ravel()


def blurred(saliency: Cells, size: int, sigma_px: float) -> Cells:
    """A map (h, w) at the model's input (size, size), blurred there with a Gaussian."""
    whole = cv2.resize(saliency, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(whole, (0, 0), sigma_px), np.float32)


def cell_of_pixel(size: int, frames: int = 1) -> npt.NDArray[np.int64]:
    """(frames * size * size,) the cell in which the centre of each pixel of a square input lies, picture by picture.

    A picture has CELLS of them, a clip of so many frames CELLS for each of its `times`.
    """
    line = ((np.arange(size) + 0.5) * SIDE / size).astype(np.int64)
    moment = np.arange(frames) * times(frames) // frames
    return (moment[:, None, None] * CELLS + line[:, None] * SIDE + line[None, :]).ravel()


def times(frames: int) -> int:
    """Cells of time in which the maps of a clip of so many frames are compared; 1 for a picture."""
    return min(_TIMES, frames)


def in_time(maps: Sequence[Cells], n: int) -> Cells:
    """The cells of time of one map, each (CELLS,), as `n` of them one after another (n * CELLS,).

    A cell of time is repeated where there are fewer, and where there are more it is the mean of those that it covers.
    """
    have = len(maps)
    parts = [maps[i * have // n : -(-(i + 1) * have // n)] for i in range(n)]
    return np.concatenate([part[0] if len(part) == 1 else np.mean(part, axis=0, dtype=np.float32) for part in parts])


def standardised(cells: Cells) -> npt.NDArray[np.float64] | None:
    """Mean 0 and length 1, so that the product of two is their correlation; None for a constant map."""
    centred = cells.astype(np.float64) - cells.mean(dtype=np.float64)
    length = np.linalg.norm(centred)
    return centred / length if length > 1e-12 * max(1.0, float(np.abs(cells).max())) else None


def relative(cells: Cells) -> npt.NDArray[np.float64]:
    """The map over its largest absolute value, so that every frame counts alike in a mean; zeros stay zeros."""
    most = float(np.abs(cells).max())
    return cells.astype(np.float64) / most if most > 0 else np.zeros(len(cells))


def complexity(cells: Cells) -> dict[str, float | None]:
    """`gini`, `entropy` and `half` of the positive part of a map; None without any.

    gini = sum_i (2 i - n - 1) x_(i) / (n sum x) over the values in order: 0 for a uniform map, (n - 1) / n where one
    cell has all. entropy = -sum p log p / log n. half = the least share of cells that holds half of the sum.
    """
    x = np.sort(cells.astype(np.float64).clip(min=0))
    total, n = x.sum(), len(x)
    if not total > 0:
        return {"gini": None, "entropy": None, "half": None}
    gini = float(((2 * np.arange(1, n + 1) - n - 1) * x).sum() / (n * total))
    p = x[x > 0] / total
    entropy = float(-(p * np.log(p)).sum() / np.log(n))
    half = float((np.searchsorted(np.cumsum(x[::-1]), total / 2 * (1 - 1e-12)) + 1) / n)
    return {"gini": gini, "entropy": entropy, "half": half}
