"""Grad-CAM (Selvaraju et al. 2017)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from operators.methods.method import LAYER, Maps, Place
from operators.models.cut import Split, split


@dataclass(frozen=True)
class GradCam:
    """ReLU of the layer's channels, each weighted by the mean over its cells of the class logit's gradient.

    L_c = ReLU(sum_k a_k A_k), a_k = 1/Z sum_ij d y_c / d A_k_ij (eq. 1 and 2); of a clip model the cells of time are
    kept, and the mean is over them too.
    """

    name: ClassVar[str] = "gradcam"
    unit: ClassVar[str] = "logits per cell"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LAYER})

    def ready(self, place: Place) -> "_Ready":
        return _Ready(split(place.model, place.layer, place.example))


@dataclass(frozen=True)
class _Ready:
    cut: Split
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Mapping[str, Tensor]) -> Maps:
        with torch.no_grad():
            layer, rest = self.cut.below(inputs)
        layer = layer.detach().requires_grad_()
        with torch.enable_grad():
            # a copy goes on: the next module may be a ReLU that works in place
            chosen = self.cut.above(layer.clone(), rest).gather(1, targets[:, None])
            (gradient,) = torch.autograd.grad(chosen.sum(), layer)
        cells = tuple(range(2, layer.ndim))
        cam = (gradient.mean(cells, keepdim=True) * layer.detach()).sum(1).relu()
        return Maps(cam.float() if cam.ndim == 4 else cam.float().unsqueeze(1))
