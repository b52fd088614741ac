"""What every attribution method is: made ready at a place, then run on batch after batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Protocol

from torch import Tensor, nn

from operators.models.spec import ModelSpec

#: what a method can need besides the model
LAYER: Final = "layer"
STATISTICS: Final = "statistics"
READOUT: Final = "readout"


@dataclass(frozen=True)
class Place:
    """Where maps are made: a model on its device, frozen and in eval mode, and one of its layers ("": none).

    `example` is one input (1, ...) on the model's device; `files` are those the method needs, by what they are
    (STATISTICS, READOUT).
    """

    spec: ModelSpec
    model: nn.Module
    layer: str
    example: Tensor
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Maps:
    """Maps of N samples.

    saliency       (N, t, h, w) float32, in the method's unit; t is 1 for pictures; signed where the method is
    figures        columns of the table `masks` that the method fills, (N,) each
    logits         (N, classes) float32 through the method's own bottleneck, None without one
    probabilities  (N, classes) float32, None without one
    """

    saliency: Tensor
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None
    probabilities: Tensor | None = None


class Ready(Protocol):
    """A method at its place."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Layers whose outputs the plain pass keeps for `run`."""
        ...

    def run(self, inputs: Tensor, targets: Tensor, outputs: Mapping[str, Tensor]) -> Maps:
        """Maps of inputs (N, ...) for the classes `targets` (N,) int64; `outputs` are those of `reads` and LOGITS.

        The maps of a sample depend on the sample, its target and the method's parameters alone, not on its batch.
        """
        ...


class Method(Protocol):
    """An attribution method: a frozen dataclass whose fields are its parameters and its identity."""

    name: ClassVar[str]
    unit: ClassVar[str]

    @property
    def needs(self) -> frozenset[str]:
        """Of LAYER, STATISTICS and READOUT; a method that needs no layer explains a model once, not once a layer."""
        ...

    def ready(self, place: Place) -> Ready:
        """The method at a place. Raises ValueError for a layer or files that do not serve."""
        ...
