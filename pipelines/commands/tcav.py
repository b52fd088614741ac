"""python -m pipelines tcav."""

import argparse

from rich.console import Console

from operators.tcav.cav import CavParams
from pipelines import config as configs
from pipelines.commands.detectors import add_detectors, detectors
from pipelines.commands.flags import add_lake, at_least_one, disk_path, path
from pipelines.config import fill
from pipelines.errors import UserError
from pipelines.tcav import tcav


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "videos",
        nargs="+",
        type=path,
        metavar="PATH",
        help="as for explain: those labelled with the class are its clips",
    )
    parser.add_argument("--concepts", type=disk_path, required=True, metavar="DIR", help="what `concepts make` wrote")
    parser.add_argument("--class", dest="target", required=True, metavar="NAME", help="class that is asked about")
    add_lake(parser)
    add_detectors(parser)
    default = CavParams()
    parser.add_argument(
        "--sets", type=at_least_one, metavar="N", help=f"random sets, 10 or more (default: {default.sets})"
    )
    parser.add_argument(
        "--classifier", metavar="ridge|means", help=f"how vectors are learned (default: {default.classifier})"
    )


def run(options: argparse.Namespace) -> None:
    """One model, one class."""
    if len(options.model) != 1:
        raise UserError("tcav is of one model: name it with --model")
    given = {name: getattr(options, name) for name in ("sets", "classifier") if getattr(options, name) is not None}
    params = fill(CavParams(), given, "tcav")
    console = Console()
    (detector,) = configs.build({}, **detectors(options, console)).detectors
    tcav(detector, options.target, options.concepts, options.videos, options.lake, params, console)
