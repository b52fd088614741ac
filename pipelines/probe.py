"""One plain pass of every model before the work begins: what a worker could not do is said at once, in one line."""

import torch

from operators.methods import statistics
from operators.methods.method import LAYER
from operators.models.activations import LOGITS, read
from operators.models.running import to_input
from operators.models.weights import Detector
from pipelines.config import Config
from pipelines.errors import UserError


def probe(config: Config) -> None:
    """Raises UserError for weights that do not fit or give nothing finite, for layers that give no (N, C, h, w) or
    have statistics of another shape."""
    for detector in config.detectors:
        shapes = _shapes(detector, any(LAYER in method.needs for method in config.made_methods))
        for layer, shape in shapes.items():
            name = f"{detector.spec.name} {layer}"
            if len(shape) != 3:
                raise UserError(
                    f"{name} gives {shape} for each input, and maps need channels, height and width: take another "
                    "--layer, or an architecture whose layers keep the picture's form"
                )
            given = config.statistics.paths.get((detector.spec.name, layer))
            if given is not None and (known := statistics.shape(given)) != shape:
                raise UserError(f"{given} is of {known}, and {name} gives {shape}: estimate it for this input size")


def _shapes(detector: Detector, with_layers: bool) -> dict[str, tuple[int, ...]]:
    """What each layer gives of one black input, without the batch."""
    spec = detector.spec
    black = torch.zeros(1, spec.view.size, spec.view.size, 3, dtype=torch.uint8)
    try:
        model = detector.load()
        layers = detector.layers if with_layers else ()
        with torch.no_grad():
            outputs = read(model, (*layers, LOGITS), to_input(black.numpy(), spec), spec.layout)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not outputs[LOGITS].isfinite().all():
        raise UserError(f"{detector.weights or spec.name}: a black picture gives logits that are not finite")
    return {layer: tuple(outputs[layer].shape[1:]) for layer in layers}
