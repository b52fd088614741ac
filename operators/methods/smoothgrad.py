"""SmoothGrad (Smilkov et al. 2017)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor, nn

from operators.methods import gradients, grid
from operators.methods.method import Maps, Outputs, Place, evaluations
from operators.methods.seeds import generator
from schemas.params import Seed, checked


@checked
class SmoothGrad:
    """The size of the class logit's gradient, averaged over noisy copies of the input.

    |1/n sum d y_c / d x (x + N(0, sigma^2))|, sigma = `noise` * (max x - min x); the greatest of the channels, the mean
    of each cell (`grid`). The noise is the same for every sample.
    """

    name: ClassVar[str] = "smoothgrad"
    unit: ClassVar[str] = "logits per unit of input"

    draws: Annotated[int, Ge(1), Le(1000)] = 16
    noise: Annotated[float, Ge(0), Le(1)] = 0.15
    seed: Seed = 0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> "_Ready":
        shape = (self.draws, *place.example.shape[1:])
        noise = torch.randn(shape, generator=generator(self.seed, self.name))
        return _Ready(self, place.model, noise.to(place.example.device))


@dataclass(frozen=True)
class _Ready:
    method: SmoothGrad
    model: nn.Module
    noise: Tensor
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        own = tuple(range(1, inputs.ndim))
        sigma = self.method.noise * (inputs.amax(own, keepdim=True) - inputs.amin(own, keepdim=True))
        total = torch.zeros_like(inputs)
        for noise in self.noise:
            total += gradients.at_input(self.model, inputs + sigma * noise, targets)
        sizes = (total / len(self.noise)).abs().amax(1)
        return Maps(gradients.of_time(grid.means(sizes)), evaluations(inputs, len(self.noise)))
