"""python -m pipelines explain."""

import argparse
import json

from rich.console import Console

from operators.explain import LABELLED, PREDICTED
from operators.methods import METHODS
from operators.methods.bottleneck import DEFAULT_PRESET, PRESETS
from operators.methods.budget import BUDGETS, DEFAULT_BUDGET
from pipelines import config as configs
from pipelines.commands.detectors import add_detectors, detectors
from pipelines.commands.flags import add_config, add_lake, path
from pipelines.config import Config
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
    add_detectors(parser)
    parser.add_argument(
        "--statistics",
        type=path,
        metavar="DIR",
        help="folder with MODEL/LAYER.safetensors (default: estimated from the run's own crops)",
    )
    parser.add_argument(
        "--readout",
        type=path,
        metavar="DIR",
        help="folder that train-readout wrote: its layers are explained by readout too; see docs/readout.md",
    )
    parser.add_argument(
        "--max-keyframes", type=int, metavar="N", help="at most so many frames of a video are explained"
    )
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        help=f"how the bottleneck is fitted; see docs/config.md (default: {DEFAULT_PRESET})",
    )
    parser.add_argument(
        "--method",
        action="append",
        choices=tuple(METHODS),
        help=f"how maps are made; may be repeated; see docs/methods.md (default: {Config.methods[0]})",
    )
    parser.add_argument(
        "--budget",
        choices=tuple(BUDGETS),
        help=f"how often the other methods ask the network; see docs/methods.md (default: {DEFAULT_BUDGET})",
    )
    parser.add_argument(
        "--target",
        action="append",
        metavar="CLASS",
        help=f"class that is explained: {PREDICTED}, {LABELLED} (the video's own) or a class by name; may be repeated "
        f"(default: {Config.targets[0]})",
    )
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
    parser.add_argument(
        "--quiet",
        action="store_true",
        help="print errors alone; LAKE/_logs/RUN.log has what was to be said in any case",
    )
    add_config(parser)


def run(options: argparse.Namespace) -> None:
    """The config from file, settings and flags, and what it explains."""
    flags = {
        "prepare.keyframes.max_keyframes": options.max_keyframes,
        "bottleneck.preset": options.preset,
        "budget.preset": options.budget,
        "methods": options.method and list(dict.fromkeys(options.method)),
        "targets": options.target and list(dict.fromkeys(options.target)),
    }
    said = [f"{name}={json.dumps(value)}" for name, value in flags.items() if value is not None]
    tables = configs.load(options.config, [*options.set, *said])
    console = Console(quiet=options.quiet)
    told = detectors(options, console)
    config = configs.build(tables, statistics=options.statistics, readout=options.readout, **told)
    explain(
        config,
        options.paths,
        options.lake,
        console,
        options.only,
        retry_errors=options.retry_errors,
        keep=options.keep_crops,
    )
