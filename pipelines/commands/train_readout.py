"""python -m pipelines train-readout."""

import argparse

from rich.console import Console

from operators.methods.readout import READ_LAYERS, ReadoutParams
from pipelines import config as configs
from pipelines.commands.flags import add_weights, at_least_one, disk_path, path, weights
from pipelines.train_readout import train_readout


def flags(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--model", required=True, metavar="NAME", help="xception, vgg11-flow or a timm architecture")
    add_weights(parser, "the detector's, as for explain")
    parser.add_argument("--manifest", required=True, type=path, metavar="FILE", help="with label and split")
    parser.add_argument(
        "--out",
        required=True,
        type=disk_path,
        metavar="DIR",
        help="folder for MODEL/LAYER.safetensors, for explain --readout",
    )
    parser.add_argument("--layer", metavar="NAME", help="layer of the bottleneck (default: the model's own)")
    parser.add_argument(
        "--read",
        action="append",
        default=[],
        metavar="NAME",
        help="layer it reads besides; may be repeated (default: four of xception, three of vgg11-flow, or none)",
    )
    parser.add_argument(
        "--statistics", type=path, metavar="DIR", help="as for explain (default: estimated from the training samples)"
    )
    parser.add_argument(
        "--frames", type=at_least_one, default=16, metavar="N", help="frames cut from each video (default: 16)"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help=f"readout.epochs (default: {ReadoutParams.epochs})")
    parser.add_argument("--config", type=path, metavar="FILE", help="TOML file with a table readout")
    parser.add_argument(
        "--set", action="append", default=[], metavar="readout.KEY=VALUE", help="over the config file's"
    )


def run(options: argparse.Namespace) -> None:
    """What is trained, on what, and how."""
    tables = configs.load(options.config, options.set)
    if options.epochs is not None:
        tables.setdefault("readout", {})["epochs"] = options.epochs
    params = configs.fill(ReadoutParams(), tables.get("readout", {}), "readout")
    files = weights(options)
    layer = options.layer or configs.build({}, [options.model], [], files).detectors[0].layers[0]
    read = options.read or READ_LAYERS.get(options.model, ())
    layers = list(dict.fromkeys([layer, *read]))
    detector = configs.build({}, [options.model], layers, files, options.statistics).detectors[0]
    train_readout(detector, layer, params, options.manifest, options.out, options.statistics, options.frames, Console())
