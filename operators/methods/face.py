"""A control: the face."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from operators.methods import grid
from operators.methods.method import Maps, Outputs, Place, evaluations
from schemas.params import checked


@checked
class Face:
    """The oval in the detected face's box: the share of each cell (`grid`) in it.

    The input is that box `margin` times enlarged (prepare.faces.margin), so the oval is the same for every sample; a
    box that the frame's edge clipped has its face beside it. Only for models that look at faces.
    """

    name: ClassVar[str] = "face"
    unit: ClassVar[str] = "share"

    margin: Annotated[float, Ge(0.5), Le(10)] = 1.3

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> "_Ready":
        if place.spec.view.part != "face":
            raise ValueError(f"the method {self.name} is for models that look at faces; {place.spec.name} does not")
        rows, columns = ((2 * torch.arange(side) + 1 - side) * self.margin / side for side in place.example.shape[-2:])
        inside = (rows[:, None].square() + columns.square() <= 1).float()
        return _Ready(grid.means(inside).to(place.example.device))


@dataclass(frozen=True)
class _Ready:
    map: Tensor
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        return Maps(self.map.expand(len(inputs), 1, -1, -1), evaluations(inputs, 0))
