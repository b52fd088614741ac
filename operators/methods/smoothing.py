"""Lambda is smoothed over the cells of a layer, so that no cell passes alone."""

from functools import cache

import torch
from torch import Tensor


class Smoothing:
    """Gaussian over (N, h, w, C), kernel of 2 sigma to each side, reflected at the borders; identity for sigma 0.

    Of clips, (N, t, h, w, C), over space alone: two to sixteen cells of time would be told apart no more.
    As one matrix for the rows and one for the columns: the adjoint is their transposes, without a scattering sum whose
    order a GPU leaves open.
    """

    def __init__(self, sigma: float, like: Tensor) -> None:
        sides = [_on(sigma, size, like.dtype, like.device) for size in like.shape[-3:-1]] if sigma else []
        self._sides = tuple(side for side, _ in sides)
        self._turned = tuple(turned for _, turned in sides)

    def __call__(self, x: Tensor) -> Tensor:
        return _apply(self._sides, x)

    def adjoint(self, x: Tensor) -> Tensor:
        return _apply(self._turned, x)


@cache
def _on(sigma: float, size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The matrix of one side and its transpose, sent to the device once: a copy there waits for what runs."""
    side = smoothing_matrix(sigma, size).to(device, dtype)
    return side, side.T.contiguous()


def _apply(sides: tuple[Tensor, ...], x: Tensor) -> Tensor:
    if not sides:
        return x
    rows, columns = sides
    *n, h, w, c = x.shape
    x = torch.matmul(rows, x.reshape(-1, h, w * c)).view(-1, w, c)
    return torch.matmul(columns, x).view(*n, h, w, c)


def smoothing_matrix(sigma: float, size: int) -> Tensor:
    """(size, size) float64: a Gaussian kernel of 2 sigma to each side along one side, reflected at both ends."""
    radius = round(2 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    period = max(2 * (size - 1), 1)
    places = torch.arange(size).unsqueeze(1) + torch.arange(-radius, radius + 1)
    places = (places % period).minimum(-places % period)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (kernel / kernel.sum()).expand(size, -1))
