"""python -m pipelines tune-fep."""

import argparse

from rich.console import Console

from pipelines import config as configs
from pipelines.commands.detectors import add_detectors, detectors
from pipelines.commands.flags import add_config, at_least_one, disk_path, path
from pipelines.errors import UserError
from pipelines.tune_fep import tune_fep

_VIDEOS = 16


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "paths", nargs="+", type=path, metavar="PATH", help="as for explain; only the split val of a manifest with one"
    )
    parser.add_argument(
        "--out", type=disk_path, required=True, metavar="FILE", help="TOML file to write, for explain --config"
    )
    parser.add_argument(
        "--max-videos", type=at_least_one, default=_VIDEOS, metavar="N", help=f"at most so many (default: {_VIDEOS})"
    )
    add_detectors(parser)
    add_config(parser)


def run(options: argparse.Namespace) -> None:
    """One model."""
    if len(options.model) != 1:
        raise UserError("tune-fep is of one model: name it with --model")
    tables = configs.load(options.config, options.set)
    console = Console()
    config = configs.build(tables, **detectors(options, console))
    tune_fep(config, options.paths, options.out, options.max_videos, console)
