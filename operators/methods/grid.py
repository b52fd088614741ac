"""The grid on which methods that tell something of every pixel give their maps: cells of at most 8 x 8 pixels.

A map of 299 x 299 halves is 180 kB a frame and method, one of 38 x 38 cells 3 kB, and no measure looks closer.
"""

from functools import cache
from typing import Final

import torch
from torch import Tensor

CELL_PX: Final = 8


def cells(pixels: int) -> int:
    """How many cells lie along a side: 38 for 299 pixels, 32 for 256."""
    return -(-pixels // CELL_PX)


def sums(values: Tensor) -> Tensor:
    """(..., H, W) -> (..., h, w): what lies in each cell; a pixel on an edge is shared, so that nothing is lost."""
    height, width = values.shape[-2:]
    return _shares(height).to(values) @ values @ _shares(width).to(values).T


def means(values: Tensor) -> Tensor:
    """(..., H, W) -> (..., h, w): the mean over each cell."""
    height, width = values.shape[-2:]
    return sums(values) * (cells(height) * cells(width) / (height * width))


def places(pixels: int) -> Tensor:
    """(cells,) float32: the middle of each cell along a side, from 0 to 1."""
    return (torch.arange(cells(pixels)) + 0.5) / cells(pixels)


@cache
def _shares(pixels: int) -> Tensor:
    """(cells, pixels): the share of each pixel that lies in each cell."""
    n = cells(pixels)
    edges = torch.arange(n + 1, dtype=torch.float64) * pixels / n
    pixel = torch.arange(pixels, dtype=torch.float64)
    return (torch.minimum(edges[1:, None], pixel + 1) - torch.maximum(edges[:-1, None], pixel)).clamp(min=0).float()
