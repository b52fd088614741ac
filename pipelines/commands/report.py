"""python -m pipelines report."""

import argparse

from rich.console import Console

from pipelines.commands.flags import add_lake, path
from pipelines.report.gallery import MEDIA
from pipelines.report.write import report


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    add_lake(parser)
    parser.add_argument("--run", metavar="ID", dest="run_id", help="run to report (default: the latest)")
    parser.add_argument(
        "--against",
        metavar="RUN|LAKE",
        help="another run of the lake, or another lake's latest: both side by side, with the differences on the videos "
        "that both have",
    )
    parser.add_argument("--out", type=path, metavar="FILE", help="the page (default: LAKE/report.html)")
    parser.add_argument(
        "--max-mb",
        type=_megabytes,
        default=15.0,
        metavar="MB",
        help="megabytes that the page may have: as many videos as fit are in it (default: 15)",
    )
    parser.add_argument(
        "--media",
        choices=MEDIA,
        default="clips",
        help="what of the videos is in the page: none keeps every face out of it (default: clips)",
    )
    parser.add_argument(
        "--blur-faces",
        action="store_true",
        help="blur pictures so that nobody is recognised; flow maps stay as they are",
    )
    parser.add_argument(
        "--split",
        action="store_true",
        help="put clips and maps into a folder beside the page, which then opens at once",
    )


def run(options: argparse.Namespace) -> None:
    """One page."""
    report(
        *(options.lake, options.run_id, options.out, options.max_mb, options.media, Console()),
        against=options.against,
        blur_faces=options.blur_faces,
        split=options.split,
    )


def _megabytes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of megabytes")
    return value
