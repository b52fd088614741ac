"""One plain pass of every model before the work begins: what a worker could not do is said at once, in one line."""

import gc
from typing import Any, NamedTuple

import numpy as np
import ray
import torch
from torch import nn

from operators.methods import statistics
from operators.methods.method import LAYER, STATISTICS
from operators.models.activations import LOGITS, read
from operators.models.cut import folded, split_all
from operators.models.running import example, placed, to_input
from operators.models.weights import Detector
from pipelines.cluster import Cluster
from pipelines.config import Config
from pipelines.errors import UserError


class Cut(NamedTuple):
    """How a model is cut at a layer; `folded` None where no method folds, `slower` None where no time is lost."""

    kind: str
    folded: bool | None
    slower: str | None


Cuts = dict[tuple[str, str], Cut]


def probe(config: Config) -> Cuts:
    """How this process cuts each (model, layer), nothing where no method needs one.

    Raises UserError for weights that do not fit or give nothing finite, for layers that give no (N, C, h, w) or
    have statistics of another shape.
    """
    cuts: Cuts = {}
    for detector in config.detectors:
        model = _loaded(detector)
        shapes = _shapes(detector, model, any(LAYER in method.needs for method in config.made_methods))
        for layer, shape in shapes.items():
            name = f"{detector.spec.name} {layer}"
            if len(shape) != 1 + len(detector.spec.view.sides):
                time = "" if len(detector.spec.view.sides) == 2 else " time,"
                raise UserError(
                    f"{name} gives {shape} for each input, and maps need channels,{time} height and width: take "
                    "another --layer, or an architecture whose layers keep the picture's form"
                )
            given = config.statistics.paths.get((detector.spec.name, layer))
            if given is not None and (known := statistics.shape(given)) != shape:
                raise UserError(f"{given} is of {known}, and {name} gives {shape}: estimate it for this input size")
        if shapes:
            cuts |= _cuts(detector, model, _fitted(config))
        del model
    gc.collect()  # what models were cut into refers to itself, and has their weights: the driver needs them no more
    return cuts


def cuts_there(config: Config, cluster: Cluster, here: Cuts) -> Cuts:
    """How each (model, layer) is cut where it will be explained: on a GPU another cut may be the model's own output
    than `here`, on the processor, and a fallback has to be known before a million videos have paid for it."""
    if not (here and cluster.gpus_per_actor):
        return here
    work: Any = ray.remote(num_cpus=cluster.cpus_per_actor, num_gpus=cluster.gpus_per_actor)(_cuts_on_device)
    found: Any = [ray.get(task) for task in [work.remote(each, _fitted(config)) for each in config.detectors]]
    return {place: cut for cuts in found for place, cut in cuts.items()}


def _cuts_on_device(detector: Detector, fitted: bool) -> Cuts:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return _cuts(detector, placed(_loaded(detector), detector.spec, device), fitted)


def _fitted(config: Config) -> bool:
    return any(STATISTICS in method.needs for method in config.made_methods)


def _loaded(detector: Detector) -> nn.Module:
    try:
        return detector.load().requires_grad_(False)
    except ValueError as error:
        raise UserError(str(error)) from error


def _cuts(detector: Detector, model: nn.Module, fitted: bool) -> Cuts:
    spec = detector.spec
    one = example(spec).to(next(model.parameters()).device)
    try:
        _, cuts = split_all(model, detector.layers, one, spec.layout)
    except ValueError as error:
        raise UserError(f"{spec.name}: {error}") from error
    found = {}
    for layer, cut in cuts.items():
        used = folded(cut, one) if fitted else cut
        found[spec.name, layer] = Cut(cut.kind, used.folded if fitted else None, used.slower if fitted else None)
    return found


def _shapes(detector: Detector, model: nn.Module, with_layers: bool) -> dict[str, tuple[int, ...]]:
    """What each layer gives of one black input, without the batch."""
    spec = detector.spec
    black = np.zeros((1, *spec.view.shape), np.uint8)
    layers = detector.layers if with_layers else ()
    try:
        with torch.no_grad():
            outputs = read(model, (*layers, LOGITS), to_input(black, spec), spec.layout)
    except ValueError as error:
        raise UserError(str(error)) from error
    if not outputs[LOGITS].isfinite().all():
        raise UserError(f"{detector.weights or spec.name}: a black picture gives logits that are not finite")
    return {layer: tuple(outputs[layer].shape[1:]) for layer in layers}
