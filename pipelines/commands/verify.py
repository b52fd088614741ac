"""python -m pipelines verify."""

import argparse

from pipelines.commands.flags import add_lake
from pipelines.verify import verify


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_lake(parser)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="remove what is damaged and what belongs to no finished video: the run's own command then does just those "
        "videos again",
    )


def run(options: argparse.Namespace) -> int:
    """1 where something is damaged."""
    return verify(options.lake, options.repair)
