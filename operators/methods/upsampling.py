"""Parameters of coarse cells blown up to a smooth mask by a smooth maximum (Fong, Patrick and Vedaldi 2019, eq. 7)."""

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

#: of the smooth maximum: the inverse of Fong et al.'s temperature
_SHARPNESS: Final = 20.0
#: the mask is a smooth function: it is evaluated so often per cell along a side, and interpolated between
_PER_CELL: Final = 2
#: how far a cell reaches, in standard deviations of its kernel
_REACH: Final = 3.0


class Upsampling:
    """Parameters (M, T, h, w) of cells every `step_px` pixels to masks (M, T, H', W') on a lattice of two points to a
    cell: m(u) = smax_v k(u - v) p(v) over all cells, smax f = sum f exp(f / T) / sum exp(f / T), T = 1 / 20.

    k is a Gaussian of `sigma_px` beyond the cell, 1 in it and 0 beyond its reach, so that a mask of ones is one
    everywhere. The cells at the edge go on beyond it: else points there had fewer cells around them, a uniform mask
    were largest in its corners, and what is sorted by size would begin with these.
    """

    def __init__(self, height: int, width: int, step_px: int, sigma_px: float, device: torch.device) -> None:
        self.cells = tuple(-(-side // step_px) for side in (height, width))
        rows, columns = (
            _kernel(side / n, step_px, sigma_px) for side, n in zip((height, width), self.cells, strict=True)
        )
        self._window = rows.shape[1], columns.shape[1]
        #: (cells around one, points of a cell): the lattice is alike around every cell
        self._weight = torch.einsum("ai,bj->ijab", rows, columns).reshape(-1, _PER_CELL**2).to(device)
        self.lattice = tuple(_PER_CELL * n for n in self.cells)

    def __call__(self, parameters: Tensor) -> Tensor:
        m, t, h, w = parameters.shape
        more_h, more_w = (side // 2 for side in self._window)
        plane = F.pad(parameters.reshape(m * t, 1, h, w), (more_w, more_w, more_h, more_h), mode="replicate")
        around = F.unfold(plane, self._window)
        points: Any = _SmoothMaximum.apply(around, self._weight, plane.shape[-2:].numel())
        points = points.view(m, t, _PER_CELL, _PER_CELL, h, w).permute(0, 1, 4, 2, 5, 3)
        return points.reshape(m, t, *self.lattice)


def _kernel(spacing: float, step_px: int, sigma_px: float) -> Tensor:
    """(points, cells): k between each point of a cell along a side and the cells around it, its own in the middle."""
    far = (_REACH * sigma_px + step_px / 2) / spacing + 0.5
    cells = torch.arange(-math.floor(far), math.floor(far) + 1)
    points = (torch.arange(_PER_CELL) + 0.5) / _PER_CELL - 0.5
    beyond = ((points[:, None] - cells).abs() * spacing - step_px / 2).clamp(min=0)
    return torch.exp(-0.5 * (beyond / sigma_px).square()) * (beyond <= _REACH * sigma_px)


class _SmoothMaximum(torch.autograd.Function):
    """smax over cells of f = around * weight; around (B, window, cells), weight (window, points) -> (B, points, cells).

    A cell that is out of reach, or of the window, has f = 0 and counts in the sum of exp(f / T) as one of `n_cells`.
    With e = exp(f / T) and D their sum: d m / d f = e (1 + (f - m) / T) / D. By hand, for the steps of autograd each
    go through the memory again.
    """

    @staticmethod
    def forward(ctx: Any, around: Tensor, weight: Tensor, n_cells: int) -> Tensor:
        scaled = around.unsqueeze(2) * (_SHARPNESS * weight.unsqueeze(2))
        e = scaled.exp()
        total = e.sum(1) + (n_cells - len(weight))
        found = scaled.mul_(e).sum(1) / (_SHARPNESS * total)
        ctx.save_for_backward(around, weight, e, total, found)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        (gradient,) = gradients
        around, weight, e, total, found = ctx.saved_tensors
        slope = around.unsqueeze(2) * (_SHARPNESS * weight.unsqueeze(2))
        slope.add_((1 - _SHARPNESS * found).unsqueeze(1)).mul_(e).mul_((gradient / total).unsqueeze(1))
        return slope.mul_(weight.unsqueeze(2)).sum(2), None, None
