"""Inputs of which a part is hidden, through the network: what occlusion, RISE and LIME ask."""

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn

from operators.models.running import memory_format

#: rows that go through the network together, where the batch has not more of its own
_ROWS: Final = 32


def chunks(n_masks: int, n_samples: int) -> Iterator[slice]:
    """The masks in parts of as many as go through the network together, each with every sample."""
    at_once = max(_ROWS // n_samples, 1)
    for first in range(0, n_masks, at_once):
        yield slice(first, min(first + at_once, n_masks))


@torch.no_grad()
def ask(model: nn.Module, inputs: Tensor, masks: Tensor, fill: Tensor) -> Tensor:
    """Logits (N, M, classes) of inputs (N, 3, H, W) below masks (N or 1, M, H, W): 1 shows the input, 0 the fill.

    `fill` is (N, 3, H, W) or (N, 3, 1, 1). Of clips all have T before H.
    """
    rows = fill.unsqueeze(1) + masks.unsqueeze(2) * (inputs - fill).unsqueeze(1)
    rows = rows.flatten(0, 1).contiguous(memory_format=memory_format(inputs.ndim - 2))
    return model(rows).float().unflatten(0, (len(inputs), -1))


def colour(inputs: Tensor) -> Tensor:
    """(N, 3, 1, ...): each input's own mean colour, with which it is hidden; grey would be motion in a flow map."""
    return inputs.mean(tuple(range(2, inputs.ndim)), keepdim=True)


def of_class(values: Tensor, targets: Tensor) -> Tensor:
    """(N, M, classes) -> (N, M): those of each sample's target."""
    return values.gather(2, targets[:, None, None].expand(-1, values.shape[1], 1)).squeeze(2)
