"""python -m pipelines export."""

import argparse

from rich.console import Console

from pipelines.commands.flags import add_lake, disk_path
from pipelines.export import FORMATS, export


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_lake(parser)
    parser.add_argument("--run", metavar="ID", dest="run_id", help="run whose maps are written (default: the latest)")
    parser.add_argument("--out", type=disk_path, required=True, metavar="DIR", help="new folder to write into")
    parser.add_argument(
        "--to",
        choices=FORMATS,
        required=True,
        help="png: heat over what the model saw; npz: numbers; fiftyone: a dataset for FiftyOne; see docs/export.md",
    )


def run(options: argparse.Namespace) -> None:
    """All maps of one run."""
    export(options.lake, options.out, options.to, options.run_id, Console())
