"""RISE (Petsiuk et al. 2018)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn

from operators.methods import gradients, grid, hidden
from operators.methods.method import Maps, Outputs, Place, evaluations
from operators.methods.seeds import generator
from schemas.params import Seed, checked


@checked
class Rise:
    """How much more probable the class is when a random mask shows the cell than when it shows anything.

    S(l) = E[p_c(x M) | M(l)] - E[p_c(x M)] (eq. 3, less the mean) over `masks` masks: `cells` x `cells` cells, each
    kept with probability `keep`, upsampled bilinearly and shifted at random. The expectation is the mean weighted by
    the masks themselves: divided by their expectation (eq. 6) every map would show where many masks happen to be open.
    What a mask hides has the input's mean colour. Signed. The masks are the same for every sample. Those of a clip have
    cells of time as well, about `cells_of_time`, interpolated and shifted likewise.
    """

    name: ClassVar[str] = "rise"
    unit: ClassVar[str] = "probability"

    masks: Annotated[int, Ge(2), Le(100_000)] = 256
    cells: Annotated[int, Ge(2), Le(64)] = 7
    keep: Annotated[float, Ge(0.01), Le(0.99)] = 0.5
    cells_of_time: Annotated[int, Ge(1), Le(64)] = 4
    seed: Seed = 0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> "_Ready":
        return _Ready(place.model, Bank(self, place.example))


class Bank:
    """The masks of a run, kept as the cells they are made of, and as the grid sees them: `seen` (masks, (t,) h, w)."""

    def __init__(self, method: Rise, example: Tensor) -> None:
        own = generator(method.seed, method.name)
        self._sides = tuple(example.shape[2:])
        cells = [*[min(method.cells_of_time, side) for side in self._sides[:-2]], method.cells, method.cells]
        self._cells = (torch.rand((method.masks, 1, *cells), generator=own) < method.keep).float().to(example.device)
        self._cell = tuple(-(-side // n) for side, n in zip(self._sides, cells, strict=True))
        self._shifts = [torch.randint(each, (method.masks,), generator=own).tolist() for each in self._cell]
        parts = [grid.means(self[part]) for part in hidden.chunks(method.masks, 1)]
        self.seen = torch.cat(parts)

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, part: slice) -> Tensor:
        """(M, H, W) or (M, T, H, W) in [0, 1]."""
        size = [(n + 1) * each for n, each in zip(self._cells.shape[2:], self._cell, strict=True)]
        how = "bilinear" if len(size) == 2 else "trilinear"
        large = F.interpolate(self._cells[part], size=size, mode=how, align_corners=False).squeeze(1)
        shifts = zip(*(each[part] for each in self._shifts), strict=True)
        return torch.stack([each[self._window(first)] for each, first in zip(large, shifts, strict=True)])

    def _window(self, first: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(start, start + side) for start, side in zip(first, self._sides, strict=True))


@dataclass(frozen=True)
class _Ready:
    model: nn.Module
    bank: Bank
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        fill = hidden.colour(inputs)
        parts = [
            hidden.of_class(hidden.ask(self.model, inputs, self.bank[part][None], fill).softmax(2), targets)
            for part in hidden.chunks(len(self.bank), len(inputs))
        ]
        scores = torch.cat(parts, 1)
        more = scores - scores.mean(1, keepdim=True)
        found = torch.einsum("nm,m...->n...", more, self.bank.seen) / self.bank.seen.sum(0).clamp(min=1e-6)
        return Maps(gradients.of_time(found), evaluations(inputs, len(self.bank)))
