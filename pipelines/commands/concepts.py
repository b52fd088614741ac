"""python -m pipelines concepts make."""

import argparse

from rich.console import Console

from operators.concepts import Objects
from operators.tcav.clips import ConceptParams
from operators.tcav.objects import coco_classes, load_detector
from pipelines.commands.flags import at_least_one, disk_path, path
from pipelines.concepts import make
from pipelines.config import fill
from pipelines.errors import UserError


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    commands = parser.add_subparsers(dest="step", metavar="make", required=True)
    clips = commands.add_parser("make", help="cut concept clips from videos, and a page to throw bad ones out")
    clips.add_argument("paths", nargs="+", type=path, metavar="PATH", help="as for explain")
    clips.add_argument("--out", type=disk_path, required=True, metavar="DIR", help="folder for the clips and the page")
    clips.add_argument(
        "--boxes",
        type=path,
        metavar="CSV",
        help="where things are: uri, frame, concept, x, y, width, height (default: faces are looked for)",
    )
    clips.add_argument(
        "--detector",
        metavar="NAME=FILE",
        help="torchvision's detector of COCO's classes, as fasterrcnn_resnet50_fpn, and a file of its weights",
    )
    clips.add_argument(
        "--find",
        action="append",
        default=[],
        metavar="CLASS",
        help="class of COCO that --detector looks for, as person; may be repeated",
    )
    default = ConceptParams()
    clips.add_argument(
        "--frames",
        type=at_least_one,
        metavar="N",
        help=f"pictures of a clip, as the model wants (default: {default.frames})",
    )
    clips.add_argument("--step", type=at_least_one, metavar="N", help=f"frames between two (default: {default.step})")
    clips.add_argument("--size", type=at_least_one, metavar="PX", help=f"their side (default: {default.size})")
    clips.add_argument(
        "--per-video",
        type=at_least_one,
        metavar="N",
        help=f"places looked at in a video (default: {default.per_video})",
    )
    clips.add_argument(
        "--random-per-video",
        type=at_least_one,
        metavar="N",
        help=f"random clips of a video (default: {default.random_per_video})",
    )
    clips.add_argument("--regions", action="store_true", help="eyes, nose and mouth of faces, too")


def run(options: argparse.Namespace) -> None:
    """Cuts the clips."""
    names = ("frames", "step", "size", "per_video", "random_per_video")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    params = fill(ConceptParams(), given | {"regions": options.regions}, "concepts")
    make(options.paths, options.out, params, options.boxes, Console(), _objects(options))


def _objects(options: argparse.Namespace) -> Objects | None:
    if options.detector is None:
        if options.find:
            raise UserError(f"--find {options.find[0]}: say with --detector NAME=FILE what looks for it")
        return None
    name, separator, file = options.detector.partition("=")
    if not separator:
        raise UserError(f"--detector {options.detector}: write NAME=FILE")
    if options.boxes is not None:
        raise UserError("--boxes and --detector both say where things are: give one of them")
    weights = path(file)
    try:
        known = coco_classes(name)
        load_detector(name, weights)
    except ValueError as error:
        raise UserError(str(error)) from error
    unknown = [each for each in options.find if each not in known]
    if unknown or not options.find:
        wrong = f"--find {unknown[0]}: COCO has no such class" if unknown else "--detector needs a --find"
        raise UserError(f"{wrong}; there are {', '.join(known)}")
    return Objects(name, weights.resolve(), tuple(dict.fromkeys(options.find)))
