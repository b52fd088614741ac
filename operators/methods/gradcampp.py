"""Grad-CAM++ (Chattopadhay et al. 2018)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from operators.methods import gradients
from operators.methods.method import LAYER, Maps, Outputs, Place, evaluations
from operators.models.cut import Split


@dataclass(frozen=True)
class GradCamPlusPlus:
    """As Grad-CAM, but the positive gradients of a channel count by how few cells they would need to make its sum.

    L_c = ReLU(sum_k w_k A_k), w_k = sum_ij a_k_ij ReLU(g_k_ij) (eq. 8 and 11) with g = d y_c / d A. For the score
    exp(y_c), a = g^2 / (2 g^2 + g^3 sum_ab A_ab) (eq. 19), which is 1 / (2 + g sum_ab A_ab) wherever it counts; the
    factor exp(y_c) of the sample's map is left out. The paper's layers end in a ReLU: before one the sum is over what
    is positive, as else the quotient has poles.
    """

    name: ClassVar[str] = "gradcam++"
    unit: ClassVar[str] = "logits per cell"

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LAYER})

    def ready(self, place: Place) -> "_Ready":
        assert place.cut is not None, "Grad-CAM++ needs a layer"
        return _Ready(place.layer, place.cut)


@dataclass(frozen=True)
class _Ready:
    layer: str
    cut: Split
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        layer, gradient = gradients.at_layer(self.cut, outputs.crossings[self.layer], targets)
        cells = tuple(range(2, layer.ndim))
        pulls = gradient.relu()
        weights = (pulls / (2 + pulls * layer.relu().sum(cells, keepdim=True))).sum(cells, keepdim=True)
        return Maps(gradients.of_time((weights * layer).sum(1).relu()), evaluations(inputs, 1))
