"""python -m pipelines concepts make."""

import argparse

from rich.console import Console

from operators.tcav.clips import ConceptParams
from pipelines.commands.flags import at_least_one, disk_path, path
from pipelines.concepts import make
from pipelines.config import fill


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
    make(options.paths, options.out, params, options.boxes, Console())
