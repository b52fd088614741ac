"""python -m pipelines demo."""

import argparse

from rich.console import Console

from pipelines.commands.flags import disk_path
from pipelines.demo import demo


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("out", type=disk_path, metavar="DIR", help="folder to fill")


def run(options: argparse.Namespace) -> int:
    """The exit code of the evaluation."""
    return demo(options.out, Console())
