"""python -m pipelines explain."""

import argparse

from rich.console import Console

from pipelines.commands.explained import add_explained, explained
from pipelines.commands.flags import add_lake, add_quiet, path
from pipelines.explain import explain
from schemas.errors import TRANSIENT


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "paths",
        nargs="+",
        type=path,
        metavar="PATH",
        help="folder (read recursively), file, or manifest (.csv, .parquet)",
    )
    add_lake(parser)
    parser.add_argument(
        "--only",
        type=path,
        metavar="FILE",
        help="of these videos those alone that a CSV or Parquet file names by video_id, or else by uri: what the page "
        "of report downloads",
    )
    add_explained(parser)
    parser.add_argument(
        "--retry-errors",
        action="store_true",
        help=f"do videos again that ended with an error that may not come again: {', '.join(sorted(TRANSIENT))}",
    )
    parser.add_argument(
        "--keep-crops",
        action="store_true",
        help="keep what models see in the lake: judge, and runs of other layers, methods and presets, decode nothing "
        "again",
    )
    add_quiet(parser, "LAKE/_logs/RUN-explain.log")


def run(options: argparse.Namespace) -> None:
    """What the flags and the config say is explained."""
    console = Console(quiet=options.quiet)
    explain(
        explained(options, console),
        options.paths,
        options.lake,
        console,
        options.only,
        retry_errors=options.retry_errors,
        keep=options.keep_crops,
    )
