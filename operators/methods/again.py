"""Explaining a few samples once more, on a model that was changed on purpose."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from operators.methods import statistics
from operators.methods.method import STATISTICS, Method
from operators.methods.ready import FilesOfLayer, ReadyMethods
from operators.models.activations import read
from operators.models.precision import tf32
from operators.models.spec import ModelSpec


class Again:
    """Methods made ready on a model, frozen and in eval mode, at each of its layers."""

    def __init__(
        self, spec: ModelSpec, model: nn.Module, layers: Sequence[str], methods: Sequence[Method], files: FilesOfLayer
    ) -> None:
        self._ready = ReadyMethods(spec, model, layers, methods, files)

    def maps(self, image: Tensor, target: int, picture: Tensor | None) -> dict[tuple[str, str], Tensor]:
        """(method, layer) -> map (t, h, w) of one input (1, ...) for a class; zeros where the method calls it empty."""
        outputs = replace(self._ready.plain(image)[1], pictures=picture)
        targets = torch.tensor([target], device=image.device)
        found = {}
        for method, layer, ready in self._ready.each:
            maps = ready.run(image, targets, outputs)
            empty = maps.empty is not None and bool(maps.empty[0])
            saliency = maps.saliency[0]
            found[method.name, layer] = torch.zeros_like(saliency) if empty else saliency
        return found


def with_own_statistics(
    spec: ModelSpec, model: nn.Module, layers: Sequence[str], images: Tensor, files: FilesOfLayer, folder: Path
) -> FilesOfLayer:
    """`files` with the statistics of `model` itself over `images` (N, ...), kept below `folder`."""
    with torch.no_grad(), tf32(False):
        read_of = read(model, list(layers), images, spec.layout)
    own = Path(tempfile.mkdtemp(dir=folder))
    paths = {}
    for layer in layers:
        paths[layer] = statistics.path_in(own, spec.name, layer)
        statistics.save(statistics.of_batch(read_of[layer]), paths[layer], {})
    return lambda layer: dict(files(layer)) | {STATISTICS: paths[layer]}
