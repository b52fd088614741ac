"""What every attribution method is: made ready at a place, then run on batch after batch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Protocol

import torch
from torch import Tensor, nn

from operators.models.cut import Crossing, Split
from operators.models.running import to_rgb
from operators.models.spec import ModelSpec

#: what a method can need besides the model
LAYER: Final = "layer"
STATISTICS: Final = "statistics"
READOUT: Final = "readout"
#: what a run found out of itself (`operators.methods.choice`)
CHOICE: Final = "choice"
#: the picture that an input was cut from, where it is none itself
PICTURE: Final = "picture"
#: an input without time: no clip
STILL: Final = "still"


@dataclass(frozen=True)
class Place:
    """Where maps are made: a model on its device, frozen and in eval mode, and one of its layers ("": none).

    `example` is one input (1, ...) on the model's device; `cut` is the model cut at the layer, None without one;
    `files` are those the method needs, by what they are (STATISTICS, READOUT, CHOICE).
    """

    spec: ModelSpec
    model: nn.Module
    layer: str
    example: Tensor
    cut: Split | None = None
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Outputs:
    """What one plain pass of N samples kept: `layers` those that methods read (N, ...), by name, and what crosses the
    cut at each explained layer. `pictures` (N, 3, H, W) in [0, 1] are what inputs that are no pictures were cut from,
    None where nobody asked."""

    layers: Mapping[str, Tensor] = field(default_factory=dict)
    crossings: Mapping[str, Crossing] = field(default_factory=dict)
    pictures: Tensor | None = None

    def of(self, index: Tensor) -> "Outputs":
        """Those of the samples `index` (M,), which may name one several times."""
        return Outputs(
            {name: values[index] for name, values in self.layers.items()},
            {name: (r[index], tuple(each[index] for each in rest)) for name, (r, rest) in self.crossings.items()},
            None if self.pictures is None else self.pictures[index],
        )

    def rgb(self, inputs: Tensor, spec: ModelSpec) -> Tensor:
        """The pictures of the inputs of a model: what was kept of them, else the inputs as RGB in [0, 1]."""
        return to_rgb(inputs, spec) if self.pictures is None else self.pictures


@dataclass(frozen=True)
class Maps:
    """Maps of N samples.

    saliency       (N, t, h, w) float32, in the method's unit; t is 1 for pictures, of clips as many cells of time as
                   the method tells apart; signed where the method is
    figures        columns of the table `masks` that the method fills, (N,) each
    empty          (N,) bool, maps that say that nothing was needed; None: those without a positive value
    logits         (N, classes) float32 through the method's own bottleneck, None without one
    probabilities  (N, classes) float32, None without one
    """

    saliency: Tensor
    figures: Mapping[str, Tensor] = field(default_factory=dict)
    empty: Tensor | None = None
    logits: Tensor | None = None
    probabilities: Tensor | None = None


def evaluations(inputs: Tensor, each: int) -> dict[str, Tensor]:
    """The figure `evaluations` of maps of N inputs: passes of the network per map, one with a gradient like one
    without."""
    return {"evaluations": torch.full((len(inputs),), each)}


class Ready(Protocol):
    """A method at its place."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Layers besides its own whose outputs the plain pass keeps for `run`."""
        ...

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        """Maps of inputs (N, ...) for the classes `targets` (N,) int64; `outputs` are of a plain pass of the inputs.

        The maps of a sample depend on the sample, its target and the method's parameters alone, not on its batch.
        """
        ...


class Method(Protocol):
    """An attribution method: a frozen dataclass whose fields are its parameters and its identity."""

    name: ClassVar[str]
    unit: ClassVar[str]

    @property
    def needs(self) -> frozenset[str]:
        """Of LAYER, STATISTICS, READOUT, PICTURE and STILL; a method that needs no layer explains a model once, not
        once a layer."""
        ...

    def ready(self, place: Place) -> Ready:
        """The method at a place. Raises ValueError for a layer or files that do not serve."""
        ...
