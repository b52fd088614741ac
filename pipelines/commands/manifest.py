"""python -m pipelines manifest."""

import argparse
from pathlib import Path

from rich.console import Console

from pipelines.commands.flags import at_least_one, disk_path
from pipelines.datasets.command import manifest


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--dataset", required=True, metavar="NAME", help="FaceForensics++, Celeb-DF-v2, folder, ...")
    parser.add_argument("--root", required=True, type=disk_path, metavar="DIR", help="its folder; see docs/datasets.md")
    parser.add_argument("--out", type=disk_path, metavar="FILE", help=".parquet or .csv (default: NAME.parquet)")
    parser.add_argument("--compression", metavar="C", help="raw, c23 or c40, where a dataset is there in several")
    parser.add_argument(
        "--sample", type=at_least_one, metavar="N", help="N videos of each source, manipulations balanced"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample and the split (default: 0)")
    parser.add_argument("--resplit", action="store_true", help="70/15/15 without shared identities, not the official")


def run(options: argparse.Namespace) -> None:
    """Writes the manifest and its report."""
    out = options.out or Path(f"{options.dataset}.parquet")
    how = {name: getattr(options, name) for name in ("compression", "sample", "seed", "resplit")}
    manifest(options.dataset, options.root, out, Console(), **how)
