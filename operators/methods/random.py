"""A control: noise."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from operators.methods import grid
from operators.methods.method import Maps, Outputs, Place, evaluations
from operators.methods.seeds import of_each
from operators.models.running import to_rgb
from schemas.params import Seed, checked


@checked
class Random:
    """Uniform noise in every cell (`grid`), from the seed and the input: another frame has another map, and every
    picture of a clip its own."""

    name: ClassVar[str] = "random"
    unit: ClassVar[str] = "share"

    seed: Seed = 0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> "_Ready":
        return _Ready(self, place)


@dataclass(frozen=True)
class _Ready:
    method: Random
    place: Place
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        height, width = (grid.cells(side) for side in inputs.shape[-2:])
        own = of_each(self.method.seed, self.method.name, to_rgb(inputs, self.place.spec))
        times = 1 if inputs.ndim == 4 else inputs.shape[2]
        maps = [torch.rand(times, height, width, generator=each) for each in own]
        return Maps(torch.stack(maps).to(inputs.device), evaluations(inputs, 0))
