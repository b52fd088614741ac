"""How a saliency map becomes a mask."""

from fractions import Fraction
from math import ceil, inf
from typing import Annotated, Final, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Gt, Le
from skimage.filters import threshold_otsu

from schemas.params import checked

Saliency = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
Kind = Literal["max", "top", "otsu"]
_OTSU_BINS: Final = 256


@checked
class MaskRule:
    """How saliency becomes a mask. `share` is a share of the frame's maximum (max) or of its pixels (top)."""

    kind: Kind
    share: Annotated[float, Gt(0), Le(1)] | None = None

    def __post_init__(self) -> None:
        if (self.kind == "otsu") != (self.share is None):
            raise ValueError(f"mask rule {self.kind!r} takes {'no' if self.kind == 'otsu' else 'a'} share")

    @classmethod
    def parse(cls, name: str) -> "MaskRule":
        """The rule of a `mask_rule` value: max0.5, top0.1 or otsu. ValueError for anything else."""
        if name == "otsu":
            return cls("otsu")
        for kind in ("max", "top"):
            if name.startswith(kind):
                try:
                    return cls(kind, float(name.removeprefix(kind)))
                except ValueError as error:
                    raise ValueError(f"mask rule {name!r}: after {kind} comes a share in (0, 1]") from error
        raise ValueError(f"unknown mask rule {name!r}: use max0.5, top0.1 or otsu")

    def __str__(self) -> str:
        """The value of the column `mask_rule`; `parse` reads it back."""
        return self.kind if self.share is None else f"{self.kind}{float(self.share)!r}"


DEFAULT_RULES: Final = (MaskRule("max", 0.5), MaskRule("top", 0.1), MaskRule("otsu"))


def mask(saliency: Saliency, rule: MaskRule) -> Mask:
    """Highlighted pixels of one frame: saliency (H,W), finite and >= 0 -> bool (H,W). A zero is never highlighted.

    max: saliency >= share * maximum. top: the ceil(share * H * W) hottest pixels, ties in reading order, fewer where
    fewer are above zero. otsu: saliency >= Otsu's threshold (256 bins); a constant frame has an empty mask.
    """
    above_zero = saliency > 0
    if rule.share is None:
        return (saliency >= _otsu(saliency)) & above_zero
    if rule.kind == "top":
        return _hottest(saliency, rule.share) & above_zero
    return (saliency >= rule.share * saliency.max()) & above_zero


def _otsu(saliency: Saliency) -> float:
    """The edge between 256 equal bins that parts the values best; infinity for a constant frame."""
    # in doubles: numpy refuses to cut a narrow float32 range into 256 bins
    values = saliency.astype(np.float64)
    span = values.max() - values.min()
    # scikit-image gives the middle of the last bin below
    return threshold_otsu(values, nbins=_OTSU_BINS) + span / (2 * _OTSU_BINS) if span else inf


def _hottest(saliency: Saliency, share: float) -> Mask:
    """The ceil(share * n) largest of n values; among equals the first in reading order."""
    # as a decimal fraction: 0.1 * 30 in floats is above 3 and would be rounded up to 4
    wanted = ceil(Fraction(repr(float(share))) * saliency.size)
    flat = saliency.ravel()
    least = np.partition(flat, flat.size - wanted)[flat.size - wanted]
    chosen = flat > least
    ties = np.flatnonzero(flat == least)
    chosen[ties[: wanted - np.count_nonzero(chosen)]] = True
    return chosen.reshape(saliency.shape)
