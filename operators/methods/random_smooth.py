"""A control: noise that is as smooth as the bottleneck's maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Le
from scipy.ndimage import gaussian_filter
from torch import Tensor

from operators.methods import gradients, grid
from operators.methods.method import Maps, Outputs, Place, evaluations
from operators.methods.seeds import of_each
from operators.models.running import to_rgb
from schemas.params import Seed, checked


@checked
class RandomSmooth:
    """Gaussian noise smoothed by a Gaussian of `sigma` of the side, as its quantile: uniform in [0, 1] like `random`.

    Smoothed noise correlates by exp(-d^2 / 4 sigma^2) at the distance d. With the sigma given, a map's autocorrelation
    falls to half where that of IBA's maps does: docs/methods.md has the measurement. Of a clip it is as smooth in time.
    """

    name: ClassVar[str] = "random_smooth"
    unit: ClassVar[str] = "share"

    sigma: Annotated[float, Gt(0), Le(1)] = 0.12
    seed: Seed = 0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> "_Ready":
        return _Ready(self, place)


@dataclass(frozen=True)
class _Ready:
    method: RandomSmooth
    place: Place
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        sides = [*inputs.shape[2:-2], *(grid.cells(side) for side in inputs.shape[-2:])]
        own = of_each(self.method.seed, self.method.name, to_rgb(inputs, self.place.spec))
        maps = [smooth_noise(sides, self.method.sigma, each) for each in own]
        return Maps(gradients.of_time(torch.stack(maps)).to(inputs.device), evaluations(inputs, 0))


def smooth_noise(sides: Sequence[int], sigma: float, generator: torch.Generator) -> Tensor:
    """(*sides) float32 in [0, 1]; `sigma` is a share of the sides."""
    # a border as wide as the kernel: what lies at an edge is as smooth and as scattered as in the middle
    sigmas = [sigma * side for side in sides]
    borders = [round(4 * each) + 1 for each in sigmas]
    larger = [side + 2 * border for side, border in zip(sides, borders, strict=True)]
    noise = torch.randn(larger, generator=generator, dtype=torch.float64)
    smooth = torch.from_numpy(gaussian_filter(noise.numpy(), sigmas, mode="wrap", truncate=4.0))
    smooth = smooth / smooth.std()
    return torch.special.ndtr(smooth[tuple(slice(border, -border) for border in borders)]).float()
