"""How far probabilities of a class can be trusted: CORP (Dimitriadis et al. 2021) and ECE with its interval."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from operators.measures.comparison import RESAMPLES

Values = npt.NDArray[np.float64]
_BINS = 15


@dataclass(frozen=True)
class Corp:
    """Brier = miscalibration - discrimination + uncertainty; `calibrated` (N,) is what each probability should be."""

    calibrated: Values
    brier: float
    miscalibration: float
    discrimination: float
    uncertainty: float


def corp(p: Values, y: Values) -> Corp:
    """Probabilities (N,) of a class and whether it was so (N,), N > 0."""
    fitted = calibrated(p, y)
    brier, recalibrated = float(((p - y) ** 2).mean()), float(((fitted - y) ** 2).mean())
    uncertainty = float(y.mean() * (1 - y.mean()))
    return Corp(fitted, brier, brier - recalibrated, uncertainty - recalibrated, uncertainty)


def calibrated(p: Values, y: Values) -> Values:
    """What each of the probabilities should be, (N,): the isotonic regression of y on p needs no bins.

    Equal probabilities are pooled first.
    """
    distinct, which, n = np.unique(p, return_inverse=True, return_counts=True)
    means = np.bincount(which, y) / n
    return isotonic_regression(means, weights=n.astype(np.float64)).x[which] if len(distinct) > 1 else means[which]


def ece(p: Values, y: Values) -> float:
    """Expected calibration error of two classes (Guo et al. 2017), as Table 2 has it: 15 equal bins (lo, hi] of the
    confidence max(p, 1 - p)."""
    confidence, right = np.maximum(p, 1 - p), (p > 0.5) == (y > 0.5)
    bins = np.ceil(np.round(confidence * _BINS, 5)).astype(int)
    # of each bin how far accuracy and confidence are apart, times its share: the sum of what its rows are off, over N
    return float(np.abs(np.bincount(bins, right - confidence)).sum() / len(p))


def resampled(persons: npt.NDArray[np.int64], figure: Callable[[npt.NDArray[np.int64]], Values], seed: int) -> Values:
    """(resamples, ...) of a figure of the rows of persons (N,) that are drawn anew, with all their rows."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(persons == each) for each in np.unique(persons)]
    found = []
    for _ in range(RESAMPLES):
        found.append(figure(np.concatenate([rows[each] for each in rng.integers(len(rows), size=len(rows))])))
    return np.stack(found)


def percentiles(values: Values) -> tuple[Values, Values]:
    """The 2.5 and 97.5 percentiles over resamples."""
    return np.percentile(values, 2.5, axis=0), np.percentile(values, 97.5, axis=0)
