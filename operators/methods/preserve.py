"""Extremal perturbations (Fong, Patrick and Vedaldi 2019; for videos Li et al. 2021): the part of a share `a` of the
input that, shown alone, keeps the class. Written anew from the papers' mathematics, for many clips and areas at once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, cast

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torchvision.transforms.functional import gaussian_blur

from operators.methods import hidden
from operators.methods.upsampling import Upsampling
from operators.models.running import memory_format

#: Fong et al.'s: of SGD, and what masks begin as
_MOMENTUM: Final = 0.9
_DAMPENING: Final = 0.9
_START: Final = 0.5
#: of the blur pyramid: its levels, and the deviation of the last one in pixels of an input of 224
_LEVELS: Final = 8
_BLUR: Final = 20.0
_BLUR_AT: Final = 224
#: the input that `step_px` and `sigma_px` are pixels of
_CELLS_AT: Final = 112
#: steps between two looks at whether a mask still moves
_EVERY: Final = 25

#: what a method does to the gradient (M, T, h, w) by the mask's parameters before a step
Modulation = Callable[[Tensor], Tensor]

Areas = tuple[Annotated[float, Gt(0), Le(1)], ...]
Steps = Annotated[int, Ge(1), Le(100_000)]
Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True)
class Search:
    """How masks are searched for; the fields of the methods that do."""

    areas: tuple[float, ...]
    steps: int
    lr: float
    constraint: Literal["volume", "frame"]
    perturbation: Literal["blur", "fade"]
    step_px: int
    sigma_px: float
    weight: float
    growth: float
    settled: float


@dataclass(frozen=True)
class Found:
    """Masks of N inputs: (N, areas, T, h, w) in [0, 1] on the lattice, and how many steps each took (N, areas)."""

    masks: Tensor
    steps: Tensor


class Perturbation:
    """What is left of inputs (N, 3, T, H, W) where a mask hides them: their mean colour, or a blur the stronger the
    more is hidden, interpolated between the levels of a pyramid."""

    def __init__(self, inputs: Tensor, kind: Literal["blur", "fade"]) -> None:
        below = [hidden.colour(inputs).expand_as(inputs)] if kind == "fade" else _blurred(inputs)
        levels = [*below, inputs]
        #: (N T H W L, 3): the levels of a pixel follow on another
        self._levels = torch.stack(levels, -1).permute(0, 2, 3, 4, 5, 1).reshape(-1, inputs.shape[1])
        self._n = len(levels)

    def __call__(self, which: Tensor, masks: Tensor) -> Tensor:
        """Inputs `which` (M,) below masks (M, T, H, W): 1 shows the input."""
        return cast(Tensor, _Between.apply(masks, self._levels, self._n, which))


def _blurred(inputs: Tensor) -> list[Tensor]:
    """The pyramid, its most blurred level first."""
    size = inputs.shape[-1]
    levels = []
    for level in range(_LEVELS - 1):
        sigma = _BLUR * size / _BLUR_AT * (1 - level / (_LEVELS - 1))
        reach = min(2 * math.ceil(3 * sigma) + 1, 2 * ((size - 1) // 2) + 1)
        pictures = inputs.transpose(1, 2).flatten(0, 1)
        blurred = gaussian_blur(pictures, [reach, reach], [sigma, sigma])
        levels.append(blurred.unflatten(0, (len(inputs), -1)).transpose(1, 2))
    return levels


class _Between(torch.autograd.Function):
    """Of the inputs `which` the two levels beside masks (n - 1), interpolated. By hand, for autograd would keep both,
    and the slope is their difference; at the ends, where most of a mask comes to lie, too."""

    @staticmethod
    def forward(ctx: Any, masks: Tensor, levels: Tensor, n: int, which: Tensor) -> Tensor:
        place = (masks * (n - 1)).flatten(1)
        below = place.floor().clamp(0, n - 2)
        pixel = which[:, None] * place.shape[1] + torch.arange(place.shape[1], device=masks.device)
        at = (pixel * n + below.long()).flatten()
        lower = levels.index_select(0, at)
        slope = levels.index_select(0, at + 1).sub_(lower)
        shown = lower.addcmul_((place - below).flatten()[:, None].to(slope), slope)
        ctx.save_for_backward(slope)
        ctx.n_steps = n - 1
        return shown.view(*masks.shape, -1).permute(0, 4, 1, 2, 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:  # type: ignore[override]
        (gradient,) = gradients
        (slope,) = ctx.saved_tensors
        gradient = gradient.permute(0, 2, 3, 4, 1)
        return (slope.view(gradient.shape) * gradient).sum(-1) * ctx.n_steps, None, None, None


def out_of_area(masks: Tensor, areas: Tensor, constraint: Literal["volume", "frame"]) -> Tensor:
    """(M,) mean of (sorted mask - reference)^2, the reference a share `areas` (M,) of ones, over the whole volume or
    over each frame of masks (M, T, h, w)."""
    values = masks.flatten(1).unsqueeze(1) if constraint == "volume" else masks.flatten(2)
    n = values.shape[2]
    place = torch.arange(n, device=masks.device)
    reference = (place >= (n - areas * n).round()[:, None]).to(masks).unsqueeze(1)
    return (values.sort(2).values - reference).square().mean((1, 2))


def search(
    model: nn.Module, inputs: Tensor, targets: Tensor, settings: Search, modulate: Modulation | None = None
) -> Found:
    """Masks that keep the classes `targets` (N,) of `inputs` (N, 3, T, H, W), of each area; model frozen, in eval mode.

    Minimises -log p(class) of the input below the mask + weight * `out_of_area`, by SGD with momentum over the mask's
    parameters, clamped to [0, 1]; the weight grows by `growth` over all steps. The first step is the class's alone: a
    uniform mask has no order, and whatever were taken for its largest values would be shown. A mask that has moved by
    less than `settled` on average over 25 steps goes no further; 0: all steps. `modulate` changes the gradient before a
    step. Nothing of a row depends on the others.
    """
    n, areas = len(inputs), len(settings.areas)
    device = inputs.device
    larger = inputs.shape[-1] / _CELLS_AT
    step_px, sigma_px = max(round(settings.step_px * larger), 1), settings.sigma_px * larger
    up = Upsampling(inputs.shape[-2], inputs.shape[-1], step_px, sigma_px, device)
    hide = Perturbation(inputs, settings.perturbation)
    format_ = memory_format(3)
    sample = torch.arange(n, device=device).repeat_interleave(areas)
    area = torch.tensor(settings.areas, device=device).repeat(n)
    parameters = torch.full((n * areas, inputs.shape[2], *up.cells), _START, device=device)
    masks = up(parameters)
    taken = torch.zeros(n * areas, dtype=torch.long, device=device)
    active = torch.arange(n * areas, device=device)
    velocity, before = torch.zeros_like(parameters), masks
    for step in range(settings.steps):
        own = parameters[active].requires_grad_()
        with torch.enable_grad():
            mask = up(own)
            large = F.interpolate(mask, size=tuple(inputs.shape[-2:]), mode="bilinear", align_corners=False)
            shown = hide(sample[active], large).contiguous(memory_format=format_)
            logits = ask(model, shown)
            kept = F.cross_entropy(logits.float(), targets[sample[active]], reduction="none")
            weight = settings.weight * settings.growth ** (step / settings.steps) * (step > 0)
            loss = kept + weight * out_of_area(mask, area[active], settings.constraint)
            (gradient,) = torch.autograd.grad(loss.sum(), own)
        gradient = gradient if modulate is None else modulate(gradient)
        moved = gradient if step == 0 else _MOMENTUM * velocity[active] + (1 - _DAMPENING) * gradient
        velocity[active] = moved
        parameters[active] = (own.detach() - settings.lr * moved).clamp(0, 1)
        taken[active] += 1
        if settings.settled and (step + 1) % _EVERY == 0:
            now = up(parameters)
            still = (now - before).abs().flatten(1).mean(1) < settings.settled
            before = now
            active = active[~still[active]]
            if not len(active):
                break
    return Found(up(parameters).unflatten(0, (n, areas)), taken.view(n, areas))


def ask(model: nn.Module, clips: Tensor) -> Tensor:
    """Logits of clips (M, 3, T, H, W), or of pictures as clips of one."""
    return model(clips.squeeze(2)) if clips.shape[2] == 1 else model(clips)
