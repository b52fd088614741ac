"""A network without convolutions: as matrix products and shifted products, which a compiler for GPUs can join.

cuDNN's depthwise convolutions of bfloat16 in channels-last layout run far below the memory's speed, and a compiler
joins nothing across a convolution. Written so, one forward and backward pass of Xception above block4 compiles to 120
kernels in place of 190. Uncompiled it is slower than what it replaces.
"""

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.models.cut import Split


def as_products(cut: Split) -> Split:
    """The same cut with a copy of what lies above it in which 1x1 and 3x3 depthwise convolutions are products.

    Other convolutions stay what they are. The cut itself where it is by hooks.
    """
    if cut.kind == "hooks":
        return cut
    above = copy.deepcopy(cut._above)
    for name, module in list(above.named_modules()):
        if isinstance(module, nn.ReLU):
            module.inplace = False  # what is joined has no place of its own
        if type(module) is nn.Conv2d and (product := _product(module)) is not None:
            parent, _, own = name.rpartition(".")
            setattr(above.get_submodule(parent), own, product)
    return replace(cut, _above=above)


def _product(conv: nn.Conv2d) -> nn.Module | None:
    once, zeros = (1, 1), conv.padding_mode == "zeros"
    if conv.kernel_size == once and conv.groups == 1 and conv.padding == (0, 0) and conv.stride[0] == conv.stride[1]:
        return _Pointwise(conv)
    depthwise = conv.groups == conv.in_channels == conv.out_channels and zeros
    if depthwise and conv.kernel_size == (3, 3) and conv.padding == conv.stride == conv.dilation == once:
        return _Depthwise(conv)
    return None


class _Pointwise(nn.Module):
    """A 1x1 convolution as the matrix product that it is, over (N, h, w, C)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().flatten(1).contiguous(), requires_grad=False)
        self.bias = conv.bias
        self._stride = conv.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        if self._stride > 1:
            x = F.avg_pool2d(x, 1, self._stride)  # every second cell
        return F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


class _Depthwise(nn.Module):
    """A 3x3 depthwise convolution as nine shifted products."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().flatten(1).T.contiguous(), requires_grad=False)  # (9, C)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        y = _Shifted.apply(x.permute(0, 2, 3, 1), self.weight).permute(0, 3, 1, 2)
        return y if self.bias is None else y + self.bias[:, None, None]


class _Shifted(torch.autograd.Function):
    """The gradient to the input is the same with the kernel turned."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _shifted(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (weight,) = ctx.saved_tensors
        return _shifted(gradient, weight.flip(0)), None


def _shifted(x: Tensor, weight: Tensor) -> Tensor:
    """x (N, h, w, C), weight (9, C); summed up in float32 at least."""
    height, width = x.shape[1:3]
    wide = F.pad(x, (0, 0, 1, 1, 1, 1))
    sums = torch.promote_types(x.dtype, torch.float32)
    out = torch.zeros((), dtype=sums, device=x.device)
    for tap, each in enumerate(weight.to(sums).unbind(0)):
        out = out + wide.narrow(1, tap // 3, height).narrow(2, tap % 3, width).to(sums) * each
    return out.to(x.dtype)
