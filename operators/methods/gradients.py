"""Gradients of the class logit that methods are made of."""

import torch
from torch import Tensor, nn

from operators.models.cut import Crossing, Split


def at_layer(cut: Split, crossing: Crossing, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The layer's output A (N, C, ...) and d y_c / d A."""
    layer, rest = crossing
    layer = layer.detach().requires_grad_()
    with torch.enable_grad():
        # a copy goes on: the next module may be a ReLU that works in place
        chosen = cut.above(layer.clone(), rest).gather(1, targets[:, None])
        (gradient,) = torch.autograd.grad(chosen.sum(), layer)
    return layer.detach(), gradient


def at_input(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """d y_c / d x (N, ...)."""
    inputs = inputs.detach().requires_grad_()
    with torch.enable_grad():
        chosen = model(inputs.clone()).gather(1, targets[:, None])
        (gradient,) = torch.autograd.grad(chosen.sum(), inputs)
    return gradient


def of_time(cells: Tensor) -> Tensor:
    """(N, h, w) or (N, t, h, w) as a map's (N, t, h, w) float32."""
    return cells.float() if cells.ndim == 4 else cells.float().unsqueeze(1)
