"""A control: the middle."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt, Le
from torch import Tensor

from operators.methods import grid
from operators.methods.method import Maps, Outputs, Place, evaluations
from schemas.params import checked


@checked
class Centre:
    """A Gaussian around the middle of the input, of `sigma` of its side: the same map for every sample.

    Of a clip it is one map for all of its time.
    """

    name: ClassVar[str] = "centre"
    unit: ClassVar[str] = "share"

    sigma: Annotated[float, Gt(0), Le(10)] = 0.25

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def ready(self, place: Place) -> "_Ready":
        rows, columns = ((grid.places(side) - 0.5) / self.sigma for side in place.example.shape[-2:])
        return _Ready((-0.5 * (rows[:, None].square() + columns.square())).exp().to(place.example.device))


@dataclass(frozen=True)
class _Ready:
    map: Tensor
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        return Maps(self.map.expand(len(inputs), 1, -1, -1), evaluations(inputs, 0))
