"""Models: which network, what it sees, which layer is explained."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import nn

from operators.inputs.view import Part, View
from operators.models.activations import Layout
from operators.models.clips import CLIP_MODELS, SMALL, TORCHVISION, create_clip_model
from schemas.tables import CLASS_FAKE, CLASS_REAL, FAKE, LABELS, REAL

_HALF: Final = (0.5, 0.5, 0.5)
assert (LABELS[CLASS_REAL], LABELS[CLASS_FAKE]) == (REAL, FAKE)  # the order of the published FaceForensics++ detectors


@dataclass(frozen=True)
class ModelSpec:
    """What must travel with a model so that nobody guesses it.

    `architecture` is timm's name, one of torchvision's clip models after `torchvision/`, or that of ours; `view` is
    what it looks at; `mean` and `std` apply to RGB scaled to [0, 1]; `layer`
    is the dotted name of the layer that is explained unless told; `classes` are the names of its outputs; `keys` are
    the beginnings of published weights' keys and what they become, tried in order, each once; `layout` is how the
    layers' outputs lie: those of Swin have their channels last, those of MViT are tokens.
    """

    name: str
    architecture: str
    view: View
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layer: str
    classes: tuple[str, ...] = LABELS
    keys: tuple[tuple[str, str], ...] = (("module.", ""), ("model.", ""))
    layout: Layout = "NCHW"

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise ValueError(f"{self.name} has two classes named {twice!r}: tables tell them by their names")


#: the published FaceForensics++ Xception keeps its head in a Sequential after a dropout
_FFPP_KEYS: Final = (("module.", ""), ("model.", ""), ("last_linear.1.", "fc."), ("last_linear.", "fc."))
XCEPTION: Final = ModelSpec("xception", "legacy_xception", View(299), _HALF, _HALF, "block4", keys=_FFPP_KEYS)
VGG11_FLOW: Final = ModelSpec("vgg11-flow", "vgg11_bn", View(256, shows="flow"), _HALF, _HALF, "features.9")
#: the layers the paper compares (VIBA appendix E and F)
PAPER_LAYERS: Final = {
    "xception": ("block4", "bn3", "conv3", "block12", "bn4"),
    "vgg11-flow": ("features.9", "features.12", "features.16"),
}


def spec_for(name: str, part: Part = "face", classes: tuple[str, ...] = LABELS) -> ModelSpec:
    """The spec of `xception`, `vgg11-flow`, a clip model (`operators.models.clips`) or any timm classifier that looks
    at `part` and tells `classes` apart.

    Of timm are its input size, mean and std, and of whole frames the share of the shorter side that is cut from their
    middle. Raises ValueError for a name timm does not know and for an architecture without a spatial layer to explain.
    """
    for spec in (XCEPTION, VGG11_FLOW):
        if name == spec.name:
            return replace(spec, view=replace(spec.view, part=part), classes=classes)
    if name in CLIP_MODELS:
        clip = CLIP_MODELS[name]
        architecture = name if name == SMALL else TORCHVISION + name
        seen = clip.view(part), clip.mean, clip.std
        return ModelSpec(name, architecture, *seen, clip.layer, classes, layout=clip.layout)
    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:5]
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        clips = ", ".join(CLIP_MODELS)
        raise ValueError(f"no detector named {name!r}: use xception, vgg11-flow, {clips} or a timm architecture{hint}")
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=len(LABELS))
    data = resolve_model_data_config(model)
    size = max(data["input_size"][1:])
    view = View(size) if part == "face" else View(size, part, share=data["crop_pct"])
    layout = "NHWC" if str(getattr(model, "output_fmt", "")) == "NHWC" else "NCHW"
    mean, std = tuple(data["mean"]), tuple(data["std"])
    return ModelSpec(name, name, view, mean, std, _default_layer(model), classes, layout=layout)


def layer_names(spec: ModelSpec) -> list[str]:
    """The dotted names of the architecture's modules, in the order the model runs them; nothing is initialised."""
    with torch.device("meta"):
        if spec.architecture == SMALL or spec.architecture.startswith(TORCHVISION):
            model = create_clip_model(spec.architecture, spec.view, len(spec.classes))
        else:
            model = timm.create_model(spec.architecture, num_classes=len(spec.classes))
        return [name for name, _ in model.named_modules()]


def _default_layer(model: nn.Module) -> str:
    """The deepest stage that still has a cell for every 16 pixels or fewer, as block4 of Xception has."""
    modules = dict(model.named_modules())
    stages = [
        info["module"]
        for info in getattr(model, "feature_info", None) or []
        if isinstance(info, Mapping) and info["reduction"] <= 16 and info["module"] in modules
    ]
    if not stages:
        raise ValueError(f"{type(model).__name__} names no stages in timm: give the layer to explain with --layer")
    return stages[-1]
