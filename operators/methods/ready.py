"""Methods made ready on one model, where they find their files, and the plain pass that they share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from operators.methods import choice, statistics
from operators.methods.method import CHOICE, LAYER, READOUT, STATISTICS, Method, Outputs, Place, Ready
from operators.models.activations import read
from operators.models.cut import split_all
from operators.models.precision import tf32
from operators.models.running import example
from operators.models.spec import ModelSpec

#: the files of a layer, by what they are
FilesOfLayer = Callable[[str], Mapping[str, Path]]


@dataclass(frozen=True)
class Files:
    """Where a run keeps what methods need of a layer; readouts by (model, layer)."""

    statistics: Path
    readouts: Mapping[tuple[str, str], Path]

    def of(self, model: str, layer: str) -> dict[str, Path]:
        """The files of one layer by what they are; READOUT only where there is one."""
        found = {STATISTICS: statistics.path_in(self.statistics, model, layer)}
        found[CHOICE] = choice.path_in(self.statistics, model, layer)
        readout = self.readouts.get((model, layer))
        return found if readout is None else found | {READOUT: readout}


class ReadyMethods:
    """Every method made ready at each of a model's layers; the model is on its device, frozen and in eval mode."""

    def __init__(
        self, spec: ModelSpec, model: nn.Module, layers: Sequence[str], methods: Sequence[Method], files: FilesOfLayer
    ) -> None:
        self._spec, self._model = spec, model
        device = next(model.parameters()).device
        one = example(spec).to(device)
        layers = layers if any(LAYER in method.needs for method in methods) else ()
        self._plain, cuts = split_all(model, layers, one, spec.layout)
        #: (method, layer, ready); a method that needs a readout has none at layers without one
        self.each: list[tuple[Method, str, Ready]] = []
        for method in methods:
            for layer in layers if LAYER in method.needs else ("",):
                found = files(layer) if layer else {}
                if READOUT in found or READOUT not in method.needs:
                    place = Place(spec, model, layer, one, cuts.get(layer), found)
                    self.each.append((method, layer, method.ready(place)))
        self._reads = sorted({name for _, _, ready in self.each for name in ready.reads})

    @torch.no_grad()
    def plain(self, images: Tensor) -> tuple[Tensor, Outputs]:
        """Logits (N, classes), and what the methods want of the same pass."""
        with tf32(False):  # what is said of the model, and what every fit begins with, is exact
            logits, crossings = self._plain(images)
            layers = read(self._model, self._reads, images, self._spec.layout) if self._reads else {}
        return logits.float(), Outputs(layers, crossings)
