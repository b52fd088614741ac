"""Sanity tests: does a map change when what it is to explain does? A gate, never a rank (Binder et al. 2023)."""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from operators.measures.grid import Cells, standardised


def similarity(stored: Cells, again: Cells) -> float | None:
    """Spearman's correlation of two maps on the common grid: 0 where only the new one is constant or not finite, None
    where the stored one is constant and there is nothing to change."""
    before = standardised(rankdata(stored).astype(np.float32)) if np.ptp(stored) > 0 else None
    if before is None:
        return None
    if not np.isfinite(again).all() or not np.ptp(again) > 0:
        return 0.0
    after = standardised(rankdata(again).astype(np.float32))
    return 0.0 if after is None else float(np.clip(before @ after, -1, 1))


def weighted_layers(model: nn.Module) -> list[str]:
    """The convolutions and linear layers, from the logits down."""
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    return [name for name, module in model.named_modules() if isinstance(module, kinds)][::-1]


def cascade(model: nn.Module, places: int, seed: int) -> Iterator[tuple[str, float]]:
    """Change `model` from the top down (Adebayo et al. 2018), and stop at `places` depths, the last one the bottom.

    Each layer's own weights, and biases, are permuted among themselves, so that their scale stays; batch norm is left
    as it was. Yields the lowest changed layer and the share of layers that are changed.
    """
    layers = weighted_layers(model)
    stops = set(np.unique(np.linspace(1, len(layers), places).round().astype(int)).tolist())
    modules = dict(model.named_modules())
    for number, name in enumerate(layers, 1):
        _permute(modules[name], torch.Generator().manual_seed(seed * 100_003 + number))
        if number in stops:
            yield name, number / len(layers)


@torch.no_grad()
def _permute(module: nn.Module, generator: torch.Generator) -> None:
    for parameter in module.parameters(recurse=False):
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.copy_(parameter.flatten()[order].view(parameter.shape))
