"""python -m pipelines render."""

import argparse

from pipelines.commands.flags import add_lake, path
from pipelines.render import render


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_lake(parser)
    parser.add_argument("video_id", metavar="VIDEO_ID", help="as in the table videos; a unique beginning is enough")
    parser.add_argument("--run", metavar="ID", dest="run_id", help="whose maps are drawn (default: the video's latest)")
    parser.add_argument(
        "--out",
        type=path,
        metavar="FILE",
        help="the MP4; the sheet lies beside it as PNG (default: LAKE/renders/VIDEO_ID.mp4)",
    )
    parser.add_argument(
        "--stills",
        action="store_true",
        help="each explained frame for a second, in place of the video as it plays with the heat fading between them",
    )
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="NAME",
        help="whose maps are drawn side by side; may be repeated (default: all of the run)",
    )


def run(options: argparse.Namespace) -> None:
    """Prints the paths of what it drew."""
    methods = tuple(options.method)
    print(*render(options.lake, options.video_id, options.out, options.stills, methods, options.run_id), sep="\n")
