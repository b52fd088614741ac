"""python -m pipelines evaluate."""

import argparse

from pipelines.commands.flags import add_lake
from pipelines.evaluate import evaluate


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_lake(parser)
    parser.add_argument("--run", metavar="ID", dest="run_id", help="run to evaluate (default: the latest)")
    parser.add_argument("--wide", action="store_true", help="print every column and six digits, however wide that is")


def run(options: argparse.Namespace) -> int:
    """1 where a check found rows."""
    return evaluate(options.lake, options.run_id, options.wide)
