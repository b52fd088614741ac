"""The flags that say what is explained, and how, and the config they make."""

import argparse
import json

from rich.console import Console

from operators.explain import LABELLED, PREDICTED
from operators.methods import METHODS
from operators.methods.bottleneck import DEFAULT_PRESET, PRESETS
from operators.methods.budget import BUDGETS, DEFAULT_BUDGET
from pipelines import config as configs
from pipelines.commands.detectors import add_detectors, detectors
from pipelines.commands.flags import add_config, path
from pipelines.config import Config


def add_explained(parser: argparse.ArgumentParser) -> None:
    """Models, layers, statistics, methods, targets, and --config."""
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
        metavar="NAME",
        help=f"how maps are made: {', '.join(METHODS)}; may be repeated; see docs/methods.md (default: "
        f"{Config.methods[0]})",
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
    add_config(parser)


def explained(options: argparse.Namespace, console: Console) -> Config:
    """The config from file, settings and flags."""
    flags = {
        "prepare.keyframes.max_keyframes": options.max_keyframes,
        "bottleneck.preset": options.preset,
        "budget.preset": options.budget,
        "methods": options.method and list(dict.fromkeys(options.method)),
        "targets": options.target and list(dict.fromkeys(options.target)),
    }
    said = [f"{name}={json.dumps(value)}" for name, value in flags.items() if value is not None]
    tables = configs.load(options.config, [*options.set, *said])
    told = detectors(options, console)
    return configs.build(tables, statistics=options.statistics, readout=options.readout, **told)
