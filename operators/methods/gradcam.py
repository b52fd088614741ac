"""Grad-CAM (Selvaraju et al. 2017)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from operators.methods.method import LAYER, Maps, Outputs, Place
from operators.models.cut import Split


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
        assert place.cut is not None, "Grad-CAM needs a layer"
        return _Ready(place.layer, place.cut)


@dataclass(frozen=True)
class _Ready:
    layer: str
    cut: Split
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        layer, rest = outputs.crossings[self.layer]
        layer = layer.detach().requires_grad_()
        with torch.enable_grad():
            # a copy goes on: the next module may be a ReLU that works in place
            chosen = self.cut.above(layer.clone(), rest).gather(1, targets[:, None])
            (gradient,) = torch.autograd.grad(chosen.sum(), layer)
        cells = tuple(range(2, layer.ndim))
        cam = (gradient.mean(cells, keepdim=True) * layer.detach()).sum(1).relu()
        return Maps(cam.float() if cam.ndim == 4 else cam.float().unsqueeze(1))
