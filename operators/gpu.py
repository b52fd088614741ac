"""The network above a cut, written for a GPU: without the convolutions that cuDNN would run badly, and compiled.

1x1 convolutions become matrix products over the channels, 3x3 depthwise ones nine shifted products. Both read and write
channels-last memory as it lies. What is neither stays a convolution.
"""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.split import Split


def compiled(cut: Split) -> Split:
    """The same cut for a CUDA device, compiled at the first rows it gets, for any number of them. Not by hooks."""
    if cut.kind == "hooks":
        return cut
    above = as_products(copy.deepcopy(cut._above))
    # padded rows would have to be copied before each product
    options: dict[str, str | int | bool | Callable] = {"comprehensive_padding": False}
    return replace(cut, _above=cast(nn.Module, torch.compile(above, dynamic=True, options=options)))


def as_products(module: nn.Module) -> nn.Module:
    """`module` itself with its 1x1 and 3x3 depthwise convolutions replaced, and no ReLU in place."""
    for name, each in list(module.named_modules()):
        if isinstance(each, nn.ReLU):
            each.inplace = False
        if type(each) is nn.Conv2d:
            parent, _, leaf = name.rpartition(".")
            if _is_pointwise(each):
                setattr(module.get_submodule(parent), leaf, _Pointwise(each))
            elif _is_depthwise(each):
                setattr(module.get_submodule(parent), leaf, _Depthwise(each))
    return module


def _is_pointwise(conv: nn.Conv2d) -> bool:
    return (conv.kernel_size, conv.padding, conv.groups) == ((1, 1), (0, 0), 1) and conv.stride[0] == conv.stride[1]


def _is_depthwise(conv: nn.Conv2d) -> bool:
    shape = (conv.kernel_size, conv.padding, conv.stride, conv.dilation)
    per_channel = conv.groups == conv.in_channels == conv.out_channels
    return shape == ((3, 3), (1, 1), (1, 1), (1, 1)) and per_channel and conv.padding_mode == "zeros"


class _Pointwise(nn.Module):
    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().flatten(1).contiguous(), requires_grad=False)
        self.bias = conv.bias
        self._stride = conv.stride[0]

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, :: self._stride, :: self._stride].permute(0, 2, 3, 1)
        return F.linear(x, self.weight, self.bias).permute(0, 3, 1, 2)


class _Depthwise(nn.Module):
    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        taps = conv.weight.detach().flatten(1).T.contiguous()  # (9, C)
        self.taps = nn.Parameter(taps, requires_grad=False)
        self.bias = conv.bias

    def forward(self, x: Tensor) -> Tensor:
        out = cast(Tensor, _ShiftedProducts.apply(x.permute(0, 2, 3, 1), self.taps))
        out = out if self.bias is None else out + self.bias
        return out.permute(0, 3, 1, 2)


class _ShiftedProducts(torch.autograd.Function):
    """The gradient to the input is the same sum with the kernel turned by half a circle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: Tensor) -> Tensor:
        ctx.save_for_backward(taps)
        return _shifted_products(x, taps)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        (grad,), (taps,) = grad_outputs, ctx.saved_tensors
        return _shifted_products(grad, taps.flip(0)), None


def _shifted_products(x: Tensor, taps: Tensor) -> Tensor:
    """x (N, h, w, C) with zeros around it; taps (9, C), row by row; summed in float32 or better."""
    wide = torch.promote_types(x.dtype, torch.float32)
    h, w = x.shape[1:3]
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    total = torch.zeros((), dtype=wide, device=x.device)
    for number, tap in enumerate(taps.to(wide).unbind(0)):
        down, right = divmod(number, 3)
        total = total + padded[:, down : down + h, right : right + w].to(wide) * tap
    return total.to(x.dtype)
