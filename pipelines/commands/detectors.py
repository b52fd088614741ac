"""The flags that say which models are explained, and how; apart from the others, for they load torch."""

import argparse
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from operators.inputs.view import Part
from operators.models.clips import CLIP_MODELS, KINETICS, kinetics_classes
from operators.models.imagenet import IMAGENET, imagenet_classes
from operators.models.spec import spec_for
from operators.models.weights import fetch_published, imagenet_weights
from pipelines.commands.flags import add_weights, path, weights
from pipelines.config import CLIP
from pipelines.errors import UserError
from pipelines.screen import say


def add_detectors(parser: argparse.ArgumentParser) -> None:
    """--model, --layer, --weights, --view and --classes."""
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help=f"xception, vgg11-flow, a model of clips ({', '.join(CLIP_MODELS)}) or a timm architecture; may be "
        "repeated (default: the first two)",
    )
    parser.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="NAME",
        help="dotted name of a layer, for every model that has it, or 'paper': those that the paper compares, or "
        "'stages': those that end the stages of a model of clips; may be repeated (default: the model's own)",
    )
    add_weights(
        parser,
        "safetensors or state dict of a detector, FaceForensics++ Xception files included; of a model of clips also "
        "torchvision's name of its weights, as KINETICS400_V1",
    )
    parser.add_argument(
        "--view",
        choices=(*get_args(Part), CLIP),
        help=f"what the models look at: the face, or the middle of the whole frame, which is {CLIP} as well for models "
        "of clips (default: what the weights file says, or face)",
    )
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help=f"what the models tell apart: {IMAGENET}, whose weights timm has, {KINETICS} (400 actions), whose weights "
        "torchvision has for models of clips, or a text file with the name of a class in each line, in the order of "
        "the outputs (default: what the weights file says, or real and fake)",
    )


def detectors(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """What `pipelines.config.build` takes of `add_detectors`. Without a file of their own, models of ImageNet have
    timm's weights and those of Kinetics torchvision's, or it is said that these cannot be had. Raises UserError for
    classes that cannot be read."""
    files = weights(options)
    if options.classes in (IMAGENET, KINETICS):
        known, fetch, one = (imagenet_classes, imagenet_weights, "resnet50")
        if options.classes == KINETICS:
            known, fetch, one = (kinetics_classes, fetch_published, "r3d_18")
        classes = known()
        if not options.model:
            raise UserError(f"--classes {options.classes}: name the classifier, as --model {one}")
        for model in options.model:
            if options.classes == KINETICS and model not in CLIP_MODELS:
                raise UserError(f"--classes {KINETICS}: {model} looks at pictures; there are {', '.join(CLIP_MODELS)}")
            if model not in files:
                try:
                    files[model] = fetch(spec_for(model, classes=classes))
                except ValueError as error:
                    say(console, str(error), "yellow")
    else:
        classes = None if options.classes is None else _names(path(options.classes))
    told = {"models": options.model, "layers": options.layer, "weights": files}
    return told | {"view": options.view, "classes": classes}


def _names(file: Path) -> tuple[str, ...]:
    """A name a line. UserError for a file that cannot be read, for one name or none, and for one that is there twice,
    in another case too: folders are labels whatever their case."""
    try:
        names = tuple(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UserError(f"--classes {file}: {reason}; name a file of classes, {IMAGENET} or {KINETICS}") from error
    if len(names) < 2:
        raise UserError(f"--classes {file}: it needs a class in each line, two or more")
    known: dict[str, str] = {}
    for name in names:
        if (before := known.setdefault(name.lower(), name)) is not name:
            raise UserError(f"--classes {file}: {before!r} and {name!r} are the same name")
    return names
