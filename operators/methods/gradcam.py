"""Grad-CAM (Selvaraju et al. 2017)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from operators.methods import gradients
from operators.methods.method import LAYER, Maps, Outputs, Place, evaluations
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
        layer, gradient = gradients.at_layer(self.cut, outputs.crossings[self.layer], targets)
        cells = tuple(range(2, layer.ndim))
        cam = (gradient.mean(cells, keepdim=True) * layer).sum(1).relu()
        return Maps(gradients.of_time(cam), evaluations(inputs, 1))
