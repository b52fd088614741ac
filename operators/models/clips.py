"""Models of clips: torchvision's, trained on Kinetics-400, and a small one of ours; what each of them sees."""

from dataclasses import dataclass
from typing import Any, Final

import torchvision.models as zoo
from torch import nn

from operators.inputs.view import Part, View
from operators.models.activations import Layout
from operators.models.small import SmallClipNet

#: before the names of torchvision's models in `ModelSpec.architecture`
TORCHVISION: Final = "torchvision/"
SMALL: Final = "small3d"
#: what `--classes` calls the classes of Kinetics-400
KINETICS: Final = "kinetics"


@dataclass(frozen=True)
class ClipModel:
    """What torchvision's recipe says of a model.

    Frames are resized to `resized` pixels, the shorter side where it is one number, height and width where it is two
    whatever their aspect, and the middle square of `size` is taken; a clip has `frames` of them, every `step`-th of a
    video of 30 frames a second. `stages` are the layers that end its stages, `layer` the one that is explained unless
    told: the deepest with a cell for every 16 pixels; `head` is where its classifier lies.
    """

    size: int
    resized: tuple[int, ...]
    frames: int
    step: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    stages: tuple[str, ...]
    layer: str
    head: str
    layout: Layout = "NCHW"

    def view(self, part: Part) -> View:
        """Of the whole frame by its crop rule, or of faces, which are their own crop."""
        clip = {"frames": self.frames, "step": self.step}
        if part == "face":
            return View(self.size, part, "clip", **clip)
        shares = [self.size / side for side in self.resized]
        return View(self.size, part, "clip", shares[0], shares[1] if len(shares) > 1 else None, **clip)


_KINETICS_MEAN: Final = (0.43216, 0.394666, 0.37645)
_KINETICS_STD: Final = (0.22803, 0.22145, 0.216989)
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
_RESNET: Final = ClipModel(
    *(112, (128, 171), 16, 2, _KINETICS_MEAN, _KINETICS_STD),
    stages=("layer1", "layer2", "layer3", "layer4"),
    layer="layer3",
    head="fc",
)
_SWIN: Final = ClipModel(
    *(224, (256,), 32, 2, _IMAGENET_MEAN, _IMAGENET_STD),
    stages=("features.0", "features.2", "features.4", "features.6"),
    layer="features.4",
    head="head",
    layout="NHWC",
)
CLIP_MODELS: Final = {
    "r3d_18": _RESNET,
    "r2plus1d_18": _RESNET,
    "s3d": ClipModel(
        *(224, (256, 256), 128, 2, _KINETICS_MEAN, _KINETICS_STD),
        stages=("features.3", "features.6", "features.12", "features.15"),
        layer="features.12",
        head="classifier.1",
    ),
    "mvit_v2_s": ClipModel(
        *(224, (256,), 16, 4, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)),
        stages=("blocks.0", "blocks.2", "blocks.13", "blocks.15"),
        layer="blocks.13",
        head="head.1",
        layout="tokens",
    ),
    "swin3d_t": _SWIN,
    "swin3d_s": _SWIN,
    "swin3d_b": _SWIN,
    SMALL: ClipModel(
        *(56, (64,), 8, 2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        stages=("stem", "layer1", "layer2", "layer3"),
        layer="layer2",
        head="fc",
    ),
}


#: those whose positions are weights, and whose last pooling has a size
_OF_ONE_SIZE: Final = ("mvit_v2_s",)


def create_clip_model(architecture: str, view: View, n_classes: int) -> nn.Module:
    """`torchvision/NAME` or SMALL, untrained from torch's own generator. ValueError for a size it cannot be of."""
    if architecture == SMALL:
        return SmallClipNet(n_classes)
    name = architecture.removeprefix(TORCHVISION)
    if name in _OF_ONE_SIZE and view.sides != CLIP_MODELS[name].view(view.part).sides:
        frames, size, _ = CLIP_MODELS[name].view(view.part).sides
        raise ValueError(f"{name} takes clips of {frames} frames of {size} pixels alone")
    return zoo.get_model(name, weights=None, num_classes=n_classes)


def kinetics_classes() -> tuple[str, ...]:
    """The 400 names in the order of a classifier's outputs."""
    weights: Any = zoo.get_model_weights("r3d_18")
    return tuple(weights.DEFAULT.meta["categories"])


def published_weights(architecture: str) -> Any:
    """The enumeration of weights that torchvision has of it, by their names; empty for a model of ours."""
    if architecture == SMALL:
        return ()
    return zoo.get_model_weights(architecture.removeprefix(TORCHVISION))
