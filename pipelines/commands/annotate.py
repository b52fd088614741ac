"""python -m pipelines annotate export, annotate import."""

import argparse

from rich.console import Console

from pipelines.annotate.export import export
from pipelines.annotate.take import take
from pipelines.commands.flags import add_lake, at_least_one, disk_path


def flags(parser: argparse.ArgumentParser) -> None:
    """What the two commands take."""
    commands = parser.add_subparsers(dest="step", metavar="export|import", required=True)
    pages = commands.add_parser("export", help="write a page for each annotator, clips included")
    add_lake(pages)
    pages.add_argument("--out", type=disk_path, required=True, metavar="DIR", help="folder for the pages")
    pages.add_argument("--annotators", type=at_least_one, default=8, metavar="N", help="pages (default: 8)")
    pages.add_argument(
        "--videos",
        type=at_least_one,
        default=54,
        metavar="N",
        help="clips on each page, half of them forged where there are as many (default: 54)",
    )
    pages.add_argument(
        "--repeats", type=int, default=6, metavar="N", help="clips that an annotator sees twice (default: 6)"
    )
    pages.add_argument("--seed", type=int, default=0, metavar="S", help="decides every order (default: 0)")
    answers = commands.add_parser("import", help="take the answers of files into the lake")
    answers.add_argument(
        "files",
        nargs="+",
        type=disk_path,
        metavar="FILE",
        help="what the pages gave, a CSV with annotator, video and regions, or Label Studio's JSON or JSON_MIN",
    )
    add_lake(answers)


def run(options: argparse.Namespace) -> None:
    """Prints the pages that were written, or how many answers were taken."""
    console = Console()
    if options.step == "import":
        take(options.files, options.lake, console)
        return
    paths = export(
        options.lake, options.out, options.annotators, options.videos, options.repeats, options.seed, console
    )
    print(*paths, sep="\n")
