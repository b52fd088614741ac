"""Whether faster maps are the same maps: what it means to hold fidelity, in one place.

M is the mean map of the reference settings over several seeds. Maps hold fidelity where their Pearson correlation with
M is at least .999 on average and .995 on every sample, or what a single reference run reaches against the others if
that is less; where the overlap (IoU) of the hottest 10 % is within .02 of what a single reference run reaches; and
where the total bits are within 3 % on average.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

_PEARSON: Final = 0.999
_PEARSON_LEAST: Final = 0.995
_IOU_LOST: Final = 0.02
_BITS: Final = 0.03
_HOTTEST: Final = 0.1


@dataclass(frozen=True)
class Fidelity:
    """Of the maps of N samples; `own_` is what a single reference run reaches against the others.

    pearson, pearson_least  with the mean of the reference runs, mean and least over the samples
    iou                     of the hottest 10 %, mean over the samples and over the reference runs left out
    bits, bits_error        total bits over the mean's, minus 1: mean over the samples, and its standard error
    """

    pearson: float
    pearson_least: float
    own_pearson: float
    own_pearson_least: float
    iou: float
    own_iou: float
    bits: float
    bits_error: float

    @property
    def holds(self) -> bool:
        """By the definition above; never for a map that is not finite."""
        return (
            self.pearson >= min(_PEARSON, self.own_pearson)
            and self.pearson_least >= min(_PEARSON_LEAST, self.own_pearson_least)
            and self.iou >= self.own_iou - _IOU_LOST
            and abs(self.bits) <= _BITS
        )

    @property
    def surely(self) -> bool:
        """It holds, with the standard error on top of the bits: what few samples can promise of others."""
        return self.holds and abs(self.bits) + self.bits_error <= _BITS


def compare(found: np.ndarray, references: np.ndarray) -> Fidelity:
    """Of maps (N, H, W) against reference maps (seeds, N, H, W) of at least two seeds, which `found` did not use.

    The overlap is taken with the mean of all seeds but one, for `found` as for the seed left out.
    """
    mean = references.mean(0)
    correlation = pearson(found, mean)
    own, ours, single = [], [], []
    for left_out in range(len(references)):
        others = np.delete(references, left_out, 0).mean(0)
        own.append(pearson(references[left_out], others))
        ours.append(overlap(found, others).mean())
        single.append(overlap(references[left_out], others).mean())
    bits = found.sum((1, 2)) / mean.sum((1, 2)) - 1
    error = bits.std(ddof=1) / len(bits) ** 0.5 if len(bits) > 1 else 0.0
    figures = (correlation.mean(), correlation.min(), np.mean(own), np.min(own), np.mean(ours), np.mean(single))
    return Fidelity(*map(float, (*figures, bits.mean(), error)))


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of each of N maps (N, H, W) with its partner, (N,)."""
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(1, keepdims=True) for x in (a, b))
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of the hottest 10 % of each of N maps (N, H, W) with its partner's, (N,)."""
    hot = [x.reshape(len(x), -1) >= np.quantile(x.reshape(len(x), -1), 1 - _HOTTEST, axis=1)[:, None] for x in (a, b)]
    return (hot[0] & hot[1]).sum(1) / (hot[0] | hot[1]).sum(1)
