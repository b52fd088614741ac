"""RISE (Petsiuk et al. 2018)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn

from operators.methods import grid, hidden
from operators.methods.method import Maps, Outputs, Place, evaluations
from operators.methods.seeds import generator
from schemas.params import Seed, checked


@checked
class Rise:
    """How much more probable the class is when a random mask shows the cell than when it shows anything.

    S(l) = E[p_c(x M) | M(l)] - E[p_c(x M)] (eq. 3, less the mean) over `masks` masks: `cells` x `cells` cells, each
    kept with probability `keep`, upsampled bilinearly and shifted at random. The expectation is the mean weighted by
    the masks themselves: divided by their expectation (eq. 6) every map would show where many masks happen to be open.
    What a mask hides has the input's mean colour. Signed. The masks are the same for every sample.
    """

    name: ClassVar[str] = "rise"
    unit: ClassVar[str] = "probability"

    masks: Annotated[int, Ge(2), Le(100_000)] = 256
    cells: Annotated[int, Ge(2), Le(64)] = 7
    keep: Annotated[float, Ge(0.01), Le(0.99)] = 0.5
    seed: Seed = 0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> "_Ready":
        return _Ready(place.model, Bank(self, place.example))


class Bank:
    """The masks of a run, kept as the cells they are made of, and as the grid sees them: `seen` (masks, h, w)."""

    def __init__(self, method: Rise, example: Tensor) -> None:
        own = generator(method.seed, method.name)
        shape = (method.masks, 1, method.cells, method.cells)
        self._cells = (torch.rand(shape, generator=own) < method.keep).float().to(example.device)
        self._sides = tuple(example.shape[2:])
        self._cell = tuple(-(-side // method.cells) for side in self._sides)
        self._shifts = [torch.randint(each, (method.masks,), generator=own).tolist() for each in self._cell]
        parts = [grid.means(self[part]) for part in hidden.chunks(method.masks, 1)]
        self.seen = torch.cat(parts)

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, part: slice) -> Tensor:
        """(M, H, W) in [0, 1]."""
        height, width = self._sides
        size = [(self._cells.shape[2] + 1) * each for each in self._cell]
        large = F.interpolate(self._cells[part], size=size, mode="bilinear", align_corners=False).squeeze(1)
        shifts = zip(large, self._shifts[0][part], self._shifts[1][part], strict=True)
        return torch.stack([each[top : top + height, left : left + width] for each, top, left in shifts])


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
        found = torch.einsum("nm,mhw->nhw", more, self.bank.seen) / self.bank.seen.sum(0).clamp(min=1e-6)
        return Maps(found.unsqueeze(1), evaluations(inputs, len(self.bank)))
