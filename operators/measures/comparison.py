"""How sure a comparison of methods is: everything over independent persons, one value each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap, chi2, permutation_test, rankdata

#: of every interval and rank distribution
RESAMPLES: Final = 2000
#: up to so many persons every one of the 2^n sign flips is tried, beyond it 2^14 random ones
_EXACT_PERSONS: Final = 14

Values = npt.NDArray[np.float64]


def interval(values: Sequence[float], seed: int) -> tuple[float, float] | None:
    """The 95 % interval of the mean over persons by a bias-corrected, accelerated bootstrap (BCa, 2,000 resamples).

    None for fewer than two persons; of values that are all the same it is that value.
    """
    x = np.asarray(values, np.float64)
    if len(x) < 2:
        return None
    if np.ptp(x) < 1e-12 * max(1.0, float(np.abs(x).max())):
        return float(x[0]), float(x[0])
    rng = np.random.default_rng(seed)
    found = bootstrap((x,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=rng).confidence_interval
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Difference:
    """Of two methods on the same persons: mean, mean over standard deviation, share of persons with more, p."""

    mean: float
    effect: float | None
    wins: float
    p: float


def difference(a: Sequence[float], b: Sequence[float], seed: int) -> Difference | None:
    """a - b with the two-sided p of a sign-flip test, exact for up to 14 persons; None for fewer than two.

    Ties count half in `wins`; `effect` is None where all differences are the same.
    """
    d = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if len(d) < 2:
        return None
    spread = float(d.std(ddof=1))
    wins = float(((d > 0) + 0.5 * (d == 0)).mean())
    effect = float(d.mean() / spread) if spread > 0 else None
    many = 2.0 ** min(len(d), _EXACT_PERSONS)
    how = {"n_resamples": np.inf if len(d) <= _EXACT_PERSONS else int(many), "rng": np.random.default_rng(seed)}
    p = permutation_test((d,), np.mean, permutation_type="samples", vectorized=True, **how).pvalue if d.any() else 1.0
    return Difference(float(d.mean()), effect, wins, float(p))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p: sorted, times the number of hypotheses left, never falling, at most 1."""
    order = np.argsort(p, kind="stable")
    found, highest = [0.0] * len(p), 0.0
    for position, index in enumerate(order):
        highest = max(highest, min(1.0, p[index] * (len(p) - position)))
        found[index] = highest
    return found


def rank_distribution(values: Values, seed: int) -> npt.NDArray[np.float64]:
    """(methods, methods) share of resamples of persons in which a method (row) has a rank (column, 0 the best).

    `values` are (persons, methods), more is better. Methods that tie share their places evenly.
    """
    n_persons, n_methods = values.shape
    drawn = np.random.default_rng(seed).integers(n_persons, size=(RESAMPLES, n_persons))
    means = values[drawn].mean(1)
    best, worst = (rankdata(-means, method, axis=1).astype(int) - 1 for method in ("min", "max"))
    shares = np.zeros((n_methods, n_methods))
    for place in range(n_methods):
        inside = (best <= place) & (place <= worst)
        shares[:, place] = (inside / (worst - best + 1)).mean(0)
    return shares


def kendall_w(values: Values) -> tuple[float, float] | None:
    """Kendall's coefficient of concordance of metrics (rows) over methods (columns), more is better, and its p.

    W = 12 S / (m^2 (n^3 - n) - m T) with S the squared deviations of the methods' rank sums and T the ties' t^3 - t;
    p by chi-squared with n - 1 degrees. None for fewer than two metrics or three methods, and where all tie.
    """
    m, n = values.shape
    if m < 2 or n < 3:
        return None
    ranks = np.stack([rankdata(-row) for row in values])
    ties = sum(float((counts**3 - counts).sum()) for row in ranks for counts in [np.unique(row, return_counts=True)[1]])
    below = m**2 * (n**3 - n) - m * ties
    if not below > 0:
        return None
    sums = ranks.sum(0)
    w = float(12 * ((sums - sums.mean()) ** 2).sum() / below)
    return w, float(chi2.sf(m * (n - 1) * w, n - 1))
