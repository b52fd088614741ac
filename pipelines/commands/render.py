"""python -m pipelines render."""

import argparse
from pathlib import Path

from pipelines.commands.flags import add_lake
from pipelines.render import render


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_lake(parser)
    parser.add_argument("video_id", metavar="VIDEO_ID", help="as in the table videos; a unique beginning is enough")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the MP4; the sheet lies beside it as PNG (default: LAKE/renders/VIDEO_ID.mp4)",
    )


def run(options: argparse.Namespace) -> None:
    """Prints the paths of what it drew."""
    print(*render(options.lake, options.video_id, options.out), sep="\n")
