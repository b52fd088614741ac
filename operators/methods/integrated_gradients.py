"""Integrated gradients (Sundararajan et al. 2017), by captum."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Le
from torch import Tensor

from operators.methods import gradients, grid
from operators.methods.method import Maps, Outputs, Place, evaluations
from operators.models.running import black
from schemas.params import checked


@checked
class IntegratedGradients:
    """(x - x') times the mean gradient of the class logit on the way from a black picture x' to the input x.

    Signed, summed over the channels and pixels of each cell (`grid`), so that a map's sum is y_c(x) - y_c(x'), as far
    as `steps` points of Gauss-Legendre quadrature tell. Of a clip every picture has its map.
    """

    name: ClassVar[str] = "ig"
    unit: ClassVar[str] = "logits per cell"

    steps: Annotated[int, Ge(1), Le(1000)] = 16

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> "_Ready":
        return _Ready(self, place)


@dataclass(frozen=True)
class _Ready:
    method: IntegratedGradients
    place: Place
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        # here: captum brings matplotlib, which every worker would wait for
        from captum.attr import IntegratedGradients as Captum

        # a copy: the model may begin in place on what captum wants the gradient of
        captum = Captum(lambda rows: self.place.model(rows.clone()))
        baselines = black(self.place.spec, inputs).expand_as(inputs).contiguous()
        with torch.enable_grad():
            found = captum.attribute(
                inputs,
                baselines,
                targets,
                n_steps=self.method.steps,
                internal_batch_size=len(inputs),  # else all steps of all samples go through the network together
            )
        return Maps(gradients.of_time(grid.sums(found.detach().sum(1))), evaluations(inputs, self.method.steps))
