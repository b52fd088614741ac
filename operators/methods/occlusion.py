"""Occlusion (Zeiler and Fergus 2014).

Ours: captum's gives the same map (a test compares them), but one the size of the input, in channels, of one window size
per input size; what hides a part of the input is here already, for RISE and LIME.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from operators.methods import grid, hidden
from operators.methods.method import STILL, Maps, Outputs, Place, evaluations
from schemas.params import checked


@checked
class Occlusion:
    """How far the class logit falls when a window over the cell shows the input's mean colour.

    Square windows of `window` of the side stand at `positions` x `positions` places, evenly from edge to edge; a pixel
    has the mean drop of the windows over it, a cell (`grid`) the mean of its pixels. Signed.
    """

    name: ClassVar[str] = "occlusion"
    unit: ClassVar[str] = "logits"

    window: Annotated[float, Gt(0), Le(1)] = 0.25
    positions: Annotated[int, Ge(1), Le(100)] = 7

    def __post_init__(self) -> None:
        if self.window * self.positions < 1:
            raise ValueError(f"{self.positions} windows of {self.window:g} leave gaps along a side")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({STILL})

    def ready(self, place: Place) -> "_Ready":
        rows, columns = (self.along(side).to(place.example.device) for side in place.example.shape[2:])
        return _Ready(place.model, rows, columns)

    def along(self, pixels: int) -> Tensor:
        """(positions, pixels) float32: 1 inside each window."""
        length = max(round(self.window * pixels), -(-pixels // self.positions))
        starts = torch.linspace(0, pixels - length, self.positions, dtype=torch.float64).round()
        place = torch.arange(pixels)
        return ((place >= starts[:, None]) & (place < starts[:, None] + length)).float()


@dataclass(frozen=True)
class _Ready:
    model: nn.Module
    rows: Tensor
    columns: Tensor
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        fill, n = hidden.colour(inputs), len(self.rows)
        which = torch.cartesian_prod(torch.arange(n), torch.arange(n)).to(inputs.device)
        left = []
        for part in hidden.chunks(len(which), len(inputs)):
            windows = self.rows[which[part, 0], :, None] * self.columns[which[part, 1], None, :]
            left.append(hidden.of_class(hidden.ask(self.model, inputs, 1 - windows[None], fill), targets))
        nothing = torch.ones_like(inputs[:1, :1])
        whole = hidden.of_class(hidden.ask(self.model, inputs, nothing, fill), targets)
        drops = (whole - torch.cat(left, 1)).unflatten(1, (n, n))
        total = torch.einsum("nij,ih,jw->nhw", drops, self.rows, self.columns)
        pixels = total / (self.rows.sum(0)[:, None] * self.columns.sum(0))
        return Maps(grid.means(pixels).unsqueeze(1), evaluations(inputs, n * n + 1))
