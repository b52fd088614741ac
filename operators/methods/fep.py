"""Frequency-based extremal perturbation: a reconstruction of arXiv 2111.01215 from its abstract."""

import math
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from operators.methods.extremal import Ready, settings
from operators.methods.method import Place
from operators.methods.preserve import Areas, Share, Steps
from schemas.params import checked


@checked
class Fep:
    """Extremal perturbation whose gradient keeps its low frequencies alone (F-EP).

    A reconstruction: of the paper its abstract is known, which says that the frequencies of gradient maps are modulated
    by a discrete cosine transform so that explanations are consistent in space and time. Here the gradient by the
    mask's parameters goes through an orthonormal 3-D DCT-II over time, rows and columns, is multiplied by weights, goes
    back, and then takes the step. `keep_time` and `keep_space` are the shares of the frequencies kept, by a box
    or by a Gaussian of that deviation; the constant part always is. Keeping all of them is `extremal`. The other fields
    are those of `extremal`.
    """

    name: ClassVar[str] = "fep"
    unit: ClassVar[str] = "share of areas"

    areas: Areas = (0.01, 0.02, 0.05, 0.1, 0.2)
    steps: Steps = 300
    lr: Annotated[float, Gt(0), Le(100)] = 0.3
    constraint: Literal["volume", "frame"] = "volume"
    perturbation: Literal["blur", "fade"] = "blur"
    step_px: Annotated[int, Ge(1), Le(224)] = 7
    sigma_px: Annotated[float, Gt(0), Le(224)] = 11.0
    weight: Annotated[float, Ge(0), Le(1_000_000)] = 300.0
    growth: Annotated[float, Ge(1), Le(1_000)] = 5.66
    settled: Share = 0.001
    keep_time: Annotated[float, Gt(0), Le(1)] = 0.5
    keep_space: Annotated[float, Gt(0), Le(1)] = 0.5
    window: Literal["box", "gaussian"] = "box"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> Ready:
        return Ready(place.model, settings(self), self.modulated)

    def modulated(self, gradient: Tensor) -> Tensor:
        """(M, T, h, w) through the filter. Separable weights make it one small matrix along each side."""
        shares = (self.keep_time, self.keep_space, self.keep_space)
        time, rows, columns = (
            _filter(side, share, self.window).to(gradient)
            for side, share in zip(gradient.shape[1:], shares, strict=True)
        )
        # one side after the other: torch without opt_einsum would first make one large matrix of all three
        return torch.einsum("at,mtyx->mayx", time, rows @ gradient @ columns.T)


def dct(side: int) -> Tensor:
    """(side, side) float64, the orthonormal DCT-II: its rows are the frequencies."""
    place = torch.arange(side, dtype=torch.float64)
    found = torch.cos(math.pi * (2 * place[None] + 1) * place[:, None] / (2 * side)) * math.sqrt(2 / side)
    found[0] /= math.sqrt(2)
    return found


def weights(side: int, share: float, window: Literal["box", "gaussian"]) -> Tensor:
    """(side,) float64, how much of each frequency is kept; of the first all."""
    place = torch.arange(side, dtype=torch.float64) / side
    return (place < share).double() if window == "box" else torch.exp(-0.5 * (place / share).square())


def _filter(side: int, share: float, window: Literal["box", "gaussian"]) -> Tensor:
    basis = dct(side)
    return basis.T @ (weights(side, share, window)[:, None] * basis)
