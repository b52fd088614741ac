"""A control: the picture's edges."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.methods import grid
from operators.methods.method import PICTURE, Maps, Outputs, Place, evaluations
from operators.models.spec import ModelSpec

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Edges:
    """The size of Sobel's gradient of the picture's brightness, the mean of each cell (`grid`).

    Of the picture that a flow map was cut from, too: what moves is no edge of the flow alone.
    """

    name: ClassVar[str] = "edges"
    unit: ClassVar[str] = "brightness"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({PICTURE})

    def ready(self, place: Place) -> "_Ready":
        return _Ready(place.spec)


@dataclass(frozen=True)
class _Ready:
    spec: ModelSpec
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        rgb = outputs.rgb(inputs, self.spec)
        pictures = rgb if rgb.ndim == 4 else rgb.transpose(1, 2).flatten(0, 1)
        grey = (pictures * rgb.new_tensor(_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
        across = grey.new_tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 8
        kernels = torch.stack([across, across.T]).unsqueeze(1)
        slopes = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernels)
        return Maps(grid.means(slopes.norm(dim=1)).unflatten(0, (len(inputs), -1)), evaluations(inputs, 0))
