"""Things in a frame, found by one of torchvision's detectors of COCO's classes."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torchvision.models as zoo
from torch import nn
from torchvision.models import detection

from operators.inputs.faces import Box
from operators.models.weights import read_state

#: what a detector is less sure of is nothing
_LEAST_SCORE: Final = 0.5


def coco_classes(name: str) -> tuple[str, ...]:
    """The classes of COCO that torchvision's detector `name` tells apart. ValueError for a name that is none."""
    known = [each for each in zoo.list_models(module=detection) if "keypoint" not in each]
    if name not in known:
        raise ValueError(f"torchvision has no detector of COCO's classes named {name!r}: there are {', '.join(known)}")
    return tuple(each for each in _outputs(name) if each not in ("__background__", "N/A"))


def load_detector(name: str, weights: Path) -> nn.Module:
    """torchvision's `name` with a file of weights in its layout, frozen and in eval mode. ValueError, one line, for
    another file."""
    model = zoo.get_model(name, weights=None, weights_backbone=None)
    try:
        model.load_state_dict(read_state(weights))
    except RuntimeError as error:
        raise ValueError(f"{weights} holds other weights than those of torchvision's {name}") from error
    return model.eval().requires_grad_(False)


@torch.no_grad()
def find_objects(model: nn.Module, name: str, image: np.ndarray, wanted: tuple[str, ...]) -> dict[str, Box]:
    """Of each of the `wanted` classes the box in an image (H, W, 3) uint8 RGB that the detector is surest of; none of
    those that it is less than half sure of."""
    device = next(model.parameters()).device
    (seen,) = model([torch.tensor(image, device=device).permute(2, 0, 1).float() / 255])
    outputs, found = _outputs(name), {}
    numbers = (seen[each].tolist() for each in ("boxes", "labels", "scores"))
    for (left, top, right, bottom), label, score in sorted(zip(*numbers, strict=True), key=lambda each: each[2]):
        x, y = round(left), round(top)
        box = Box(x, y, min(round(right), image.shape[1]) - x, min(round(bottom), image.shape[0]) - y, score)
        if score >= _LEAST_SCORE and outputs[label] in wanted and box.width > 0 and box.height > 0:
            found[outputs[label]] = box
    return found


def _outputs(name: str) -> list[str]:
    """What the outputs of a detector are called, the background first."""
    weights: Any = zoo.get_model_weights(name)
    return list(weights.DEFAULT.meta["categories"])
