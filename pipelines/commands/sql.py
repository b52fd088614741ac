"""python -m pipelines sql."""

import argparse

from pipelines.commands.flags import add_lake
from pipelines.sql import FORMATS, sql


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_lake(parser)
    parser.add_argument("statement", metavar="SELECT", help="one SELECT statement over the views")
    parser.add_argument("--run", metavar="ID", dest="run_id", help="the run whose rows are seen (default: all)")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help=f"(default: {FORMATS[0]})")


def run(options: argparse.Namespace) -> None:
    """One statement."""
    sql(options.lake, options.statement, options.format, options.run_id)
