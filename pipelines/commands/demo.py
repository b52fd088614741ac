"""python -m pipelines demo."""

import argparse
from pathlib import Path

from rich.console import Console

from pipelines.demo import demo


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("out", type=Path, metavar="DIR", help="folder to fill")


def run(options: argparse.Namespace) -> int:
    """The exit code of the evaluation."""
    return demo(options.out, Console())
