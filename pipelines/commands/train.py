"""python -m pipelines train."""

import argparse
from dataclasses import replace
from typing import Final, get_args

from rich.console import Console

from operators.inputs.view import Part
from operators.models.spec import spec_for
from pipelines import config as configs
from pipelines.commands.flags import add_quiet, at_least_one, disk_path, path
from pipelines.config import CLIP, part_of
from pipelines.errors import UserError
from pipelines.samples import from_lake, from_manifest
from pipelines.train import IMAGENET, default_params, train

_FRAMES: Final = 16


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--model", required=True, metavar="NAME", help="as for explain")
    parser.add_argument("--manifest", type=path, metavar="FILE", help="videos to train on, with label and split")
    parser.add_argument(
        "--lake",
        type=disk_path,
        metavar="DIR",
        help="gets the learning curves (table curves); without --manifest its explained videos are trained on, with "
        "their keyframes and face boxes",
    )
    parser.add_argument("--out", required=True, type=disk_path, metavar="DIR", help="weights, curves and report")
    parser.add_argument(
        "--frames",
        type=at_least_one,
        metavar="N",
        help=f"frames cut from each video of a manifest, evenly spaced (default: {_FRAMES})",
    )
    parser.add_argument(
        "--pretrained",
        nargs="?",
        const=IMAGENET,
        metavar="FILE",
        help="start from timm's ImageNet weights (downloaded), or from FILE; default: from scratch",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="training processes (default: 1)")
    parser.add_argument(
        "--input-size", type=at_least_one, metavar="PX", help="side of the input (default: the model's own)"
    )
    parser.add_argument(
        "--clip",
        type=_clip,
        metavar="FRAMESxSTEP",
        help="of a model of clips: how many frames, and which (default: its own)",
    )
    parser.add_argument(
        "--view",
        choices=(*get_args(Part), CLIP),
        default="face",
        help=f"what the model looks at: the face (default), or the middle of the whole frame, which is {CLIP} as well "
        "for models of clips",
    )
    add_quiet(parser, "OUT/train.log")
    parser.add_argument("--config", type=path, metavar="FILE", help="TOML file with a table train; see docs/train.md")
    parser.add_argument("--set", action="append", default=[], metavar="train.KEY=VALUE", help="over the config file's")


def _clip(text: str) -> tuple[int, int]:
    """8x2: eight frames, every second."""
    frames, _, step = text.partition("x")
    return at_least_one(frames), at_least_one(step or "1")


def run(options: argparse.Namespace) -> None:
    """What is trained, on what, and how."""
    try:
        spec = spec_for(options.model, part_of(options.view) or "face")
    except ValueError as error:
        raise UserError(str(error)) from error
    if options.input_size is not None:
        spec = replace(spec, view=replace(spec.view, size=options.input_size))
    if options.clip is not None or options.view == CLIP:
        if spec.view.shows != "clip":
            raise UserError(f"--clip and --view {CLIP} are for models of clips; {spec.name} looks at pictures")
        if options.clip is not None:
            frames, step = options.clip
            spec = replace(spec, view=replace(spec.view, frames=frames, step=step))
    params = configs.fill(default_params(spec), configs.load(options.config, options.set).get("train", {}), "train")
    if options.manifest is not None:
        source = from_manifest(options.manifest, (spec.view,), options.frames or _FRAMES)
    elif options.lake is None:
        raise UserError("give the videos to train on: --manifest FILE, or --lake DIR of explained ones")
    elif options.frames is not None:
        raise UserError("--frames belongs to --manifest: of a lake's videos the explained frames are taken")
    else:
        source = from_lake(options.lake, (spec.view,))
    how = {name: getattr(options, name) for name in ("pretrained", "lake")}
    train(spec, params, source, options.out, options.workers, Console(quiet=options.quiet), **how)
