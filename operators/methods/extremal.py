"""Extremal perturbation as a method (Fong, Patrick and Vedaldi 2019; for videos Li et al. 2021)."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from operators.methods import grid
from operators.methods.method import Maps, Outputs, Place
from operators.methods.preserve import Areas, Modulation, Search, Share, Steps, search
from schemas.params import checked


@checked
class Extremal:
    """The parts that keep the class: the mean over `areas` of the mask that may show such a share of the input.

    A clip's masks are one volume, of which a share is shown, or with `constraint` "frame" a share of each picture. What
    is hidden is blurred the more, the more it is hidden, or fades into the input's mean colour. Masks have a parameter
    every `step_px` pixels, blown up smoothly (sigma `sigma_px`), both of an input of 112 and in proportion of others.
    `operators.methods.preserve` has the search.
    """

    name: ClassVar[str] = "extremal"
    unit: ClassVar[str] = "share of areas"

    areas: Areas = (0.01, 0.02, 0.05, 0.1, 0.2)
    steps: Steps = 300
    lr: Annotated[float, Gt(0), Le(100)] = 0.3
    constraint: Literal["volume", "frame"] = "volume"
    perturbation: Literal["blur", "fade"] = "blur"
    step_px: Annotated[int, Ge(1), Le(224)] = 7
    sigma_px: Annotated[float, Gt(0), Le(224)] = 11.0
    weight: Annotated[float, Ge(0), Le(1_000_000)] = 300.0
    growth: Annotated[float, Ge(1), Le(1_000)] = 5.66
    settled: Share = 0.001

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> "Ready":
        return Ready(place.model, settings(self), None)


def settings(method: Any) -> Search:
    """The fields of a method that are the search's."""
    return Search(**{each.name: getattr(method, each.name) for each in fields(Search)})


@dataclass(frozen=True)
class Ready:
    """Such a method at its place; `modulate` is what it does to gradients."""

    model: nn.Module
    settings: Search
    modulate: Modulation | None
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        clips = inputs if inputs.ndim == 5 else inputs.unsqueeze(2)
        found = search(self.model, clips, targets, self.settings, self.modulate)
        masks = found.masks.mean(1)
        height, width = clips.shape[-2:]
        maps = torch.nn.functional.adaptive_avg_pool2d(masks, (grid.cells(height), grid.cells(width)))
        return Maps(maps.float(), {"evaluations": found.steps.sum(1)})
