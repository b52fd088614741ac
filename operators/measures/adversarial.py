"""The adversarial segment test (Tsigos et al. 2024): does an attack inside the segments a map names fool the model?

Images are (M, 3, S, S) in [0, 1]; `probability` gives p (M,) of the class that is attacked, and may be differentiated.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from skimage.segmentation import slic
from torch import Tensor

Probability = Callable[[Tensor], Tensor]
Segments = npt.NDArray[np.int64]

_SEGMENTS: Final = 50
#: how far a pixel may be moved, and by how much at a time
_REACH: Final = 16 / 255
_STEP: Final = 1 / 255
#: of the estimated gradient: deviation of its probes and how many, half of them mirrored
_NES_SIGMA: Final = 0.001
NES_PROBES: Final = 40
#: segments are attacked together, so many of the most relevant ones
TOP: Final = (1, 2, 3)


def segments(picture: npt.NDArray[np.uint8]) -> Segments:
    """(S, S) the number of each pixel's segment, from 0: SLIC of about 50 even ones of a picture (S, S, 3)."""
    return np.asarray(slic(picture, n_segments=_SEGMENTS, slic_zero=True, start_label=0), np.int64)


def most_relevant(parts: Segments, relevance: npt.NDArray[np.floating], ties: npt.NDArray[np.int64]) -> list[int]:
    """The segments by the mean of `relevance` (S, S) in them, the highest first; equal ones as `ties` (>= segments)."""
    sums = np.bincount(parts.ravel(), relevance.ravel().astype(np.float64))
    means = sums / np.maximum(np.bincount(parts.ravel()), 1)
    return np.lexsort((ties[: len(means)], -means)).tolist()


def inside(parts: Segments, chosen: list[int]) -> npt.NDArray[np.bool_]:
    """(S, S) the pixels of the chosen segments."""
    return np.isin(parts, chosen)


def pgd(probability: Probability, images: Tensor, where: Tensor, steps: int) -> Tensor:
    """`images` after `steps` steps down the sign of the true gradient of p, in the pixels `where` (M, 1, S, S)."""
    attacked = images.clone()
    for _ in range(steps):
        with torch.enable_grad():
            leaf = attacked.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(probability(leaf).sum(), leaf)
        attacked = _moved(images, attacked, gradient, where)
    return attacked


def nes(probability: Probability, images: Tensor, where: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """The same with an estimated gradient, g = 1/(n sigma) sum_j (p(x + sigma u_j) - p(x - sigma u_j)) u_j.

    `generator` is of the CPU, so that every device draws the same.
    """
    attacked = images.clone()
    for _ in range(steps):
        gradient = torch.zeros_like(images)
        for _ in range(NES_PROBES // 2):
            u = torch.randn(images.shape[1:], generator=generator).to(images.device)
            with torch.no_grad():
                up, down = probability(attacked + _NES_SIGMA * u), probability(attacked - _NES_SIGMA * u)
            gradient += (up - down)[:, None, None, None] * u
        attacked = _moved(images, attacked, gradient / (NES_PROBES * _NES_SIGMA), where)
    return attacked


def _moved(images: Tensor, attacked: Tensor, gradient: Tensor, where: Tensor) -> Tensor:
    moved = attacked - _STEP * gradient.sign() * where
    return torch.minimum(torch.maximum(moved, images - _REACH), images + _REACH).clamp(0, 1)
