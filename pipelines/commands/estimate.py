"""python -m pipelines estimate."""

import argparse

from rich.console import Console

from pipelines import config as configs
from pipelines.commands.detectors import add_detectors, detectors
from pipelines.commands.flags import add_config, add_quiet, path
from pipelines.estimate import estimate


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "paths",
        nargs="+",
        type=path,
        metavar="PATH",
        help="as for explain; only the split train of a manifest with one",
    )
    parser.add_argument(
        "--out",
        type=path,
        required=True,
        metavar="DIR",
        help="folder for MODEL/LAYER.safetensors; files there are kept",
    )
    parser.add_argument("--label", metavar="LABEL", help="only videos with this label, as real (default: all)")
    add_detectors(parser)
    add_quiet(parser, "OUT/estimate.log")
    add_config(parser)


def run(options: argparse.Namespace) -> None:
    """The config from file, settings and flags, and what it estimates."""
    tables = configs.load(options.config, options.set)
    console = Console(quiet=options.quiet)
    config = configs.build(tables, **detectors(options, console))
    estimate(config, options.paths, options.out, console, options.label)
