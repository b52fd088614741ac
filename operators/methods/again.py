"""Explaining a few samples once more, on a model that was changed on purpose."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from operators.methods import statistics
from operators.methods.method import LAYER, READOUT, STATISTICS, Method, Outputs, Place
from operators.models.activations import read
from operators.models.cut import split_all
from operators.models.precision import tf32
from operators.models.spec import ModelSpec

#: the files of a layer, by what they are
Files = Callable[[str], Mapping[str, Path]]


class Again:
    """Methods made ready on a model, frozen and in eval mode, at each of its layers."""

    def __init__(
        self, spec: ModelSpec, model: nn.Module, layers: Sequence[str], methods: Sequence[Method], files: Files
    ) -> None:
        self._spec, self._model = spec, model
        device = next(model.parameters()).device
        size = spec.view.size
        example = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
        layers = layers if any(LAYER in method.needs for method in methods) else ()
        self._plain, cuts = split_all(model, layers, example, spec.layout)
        self._ready = {}
        for method in methods:
            for layer in layers if LAYER in method.needs else ("",):
                found = files(layer) if layer else {}
                if READOUT in found or READOUT not in method.needs:
                    place = Place(spec, model, layer, example, cuts.get(layer), found)
                    self._ready[method.name, layer] = method.ready(place)
        self._reads = sorted({name for ready in self._ready.values() for name in ready.reads})

    def maps(self, image: Tensor, target: int, picture: Tensor | None) -> dict[tuple[str, str], Tensor]:
        """(method, layer) -> map (h, w) of one input (1, ...) for a class; zeros where the method calls it empty."""
        with torch.no_grad(), tf32(False):
            _, crossings = self._plain(image)
            layers = read(self._model, self._reads, image, self._spec.layout) if self._reads else {}
        outputs = Outputs(layers, crossings, picture)
        targets = torch.tensor([target], device=image.device)
        found = {}
        for key, ready in self._ready.items():
            maps = ready.run(image, targets, outputs)
            empty = maps.empty is not None and bool(maps.empty[0])
            saliency = maps.saliency[0, 0]
            found[key] = torch.zeros_like(saliency) if empty else saliency
        return found


def with_own_statistics(
    spec: ModelSpec, model: nn.Module, layers: Sequence[str], images: Tensor, files: Files, folder: Path
) -> Files:
    """`files` with the statistics of `model` itself over `images` (N, ...), kept below `folder`."""
    with torch.no_grad(), tf32(False):
        read_of = read(model, list(layers), images, spec.layout)
    own = Path(tempfile.mkdtemp(dir=folder))
    paths = {}
    for layer in layers:
        paths[layer] = statistics.path_in(own, spec.name, layer)
        statistics.save(statistics.of_batch(read_of[layer]), paths[layer], {})
    return lambda layer: dict(files(layer)) | {STATISTICS: paths[layer]}
