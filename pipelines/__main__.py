"""The command line: python -m pipelines COMMAND."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

# Before Ray is imported: its warnings about its own future defaults are no business of the user's.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

from rich.console import Console

from pipelines.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on standard error and exit code 1."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except UserError as error:
        print(f"viba: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head` has seen enough; nothing is left to say, not even at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("viba: interrupted; the same command continues where it stopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines", description="Explain video classifiers over whole datasets and study them in SQL."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    explain = _command(commands, _explain, "explain", "explain every video of folders, files or manifests")
    explain.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="folder (read recursively), file, or manifest (.csv, .parquet)",
    )
    _add_lake(explain)
    _add_detectors(explain)
    explain.add_argument(
        "--statistics",
        type=Path,
        metavar="DIR",
        help="folder with MODEL/LAYER.safetensors (default: estimated from the run's own crops)",
    )
    explain.add_argument(
        "--readout",
        type=Path,
        metavar="DIR",
        help="folder that train-readout wrote: its layers are explained by readout too; see docs/readout.md",
    )
    explain.add_argument(
        "--max-keyframes", type=int, metavar="N", help="at most so many frames of a video are explained"
    )
    explain.add_argument(
        "--preset",
        choices=("reference", "fast"),
        help="how the bottleneck is fitted; see docs/config.md (default: fast)",
    )
    _add_config(explain)

    estimate = _command(
        commands, _estimate, "estimate", "estimate mean and deviation of layers for explain --statistics"
    )
    estimate.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="as for explain; only the split train of a manifest with one",
    )
    estimate.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder for MODEL/LAYER.safetensors; files there are kept",
    )
    estimate.add_argument("--label", choices=("real", "fake"), help="only videos with this label (default: all)")
    _add_detectors(estimate)
    _add_config(estimate)

    evaluate = _command(commands, _evaluate, "evaluate", "check the tables and make the evaluation tables")
    _add_lake(evaluate)
    evaluate.add_argument("--run", metavar="ID", dest="run_id", help="run to evaluate (default: the latest)")

    sql = _command(commands, _sql, "sql", "ask the tables a question, read-only")
    _add_lake(sql)
    sql.add_argument("statement", metavar="SELECT", help="one SELECT statement over the views")
    sql.add_argument("--format", choices=("table", "csv", "json"), default="table", help="(default: table)")

    render = _command(commands, _render, "render", "draw a video's explanation as MP4 and contact sheet")
    _add_lake(render)
    render.add_argument("video_id", metavar="VIDEO_ID", help="as in the table videos; a unique beginning is enough")
    render.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the MP4; the sheet lies beside it as PNG (default: LAKE/renders/VIDEO_ID.mp4)",
    )

    manifest = _command(commands, _manifest, "manifest", "list, check and split a published dataset")
    manifest.add_argument("--dataset", required=True, metavar="NAME", help="FaceForensics++, Celeb-DF-v2, folder, ...")
    manifest.add_argument("--root", required=True, type=Path, metavar="DIR", help="its folder; see docs/datasets.md")
    manifest.add_argument("--out", type=Path, metavar="FILE", help=".parquet or .csv (default: NAME.parquet)")
    manifest.add_argument("--compression", metavar="C", help="raw, c23 or c40, where a dataset is there in several")
    manifest.add_argument("--sample", type=int, metavar="N", help="N videos of each source, manipulations balanced")
    manifest.add_argument("--seed", type=int, default=0, metavar="S", help="of the sample and the split (default: 0)")
    manifest.add_argument("--resplit", action="store_true", help="70/15/15 without shared identities, not the official")

    train = _command(commands, _train, "train", "train a detector on the splits train and val of a manifest or a lake")
    train.add_argument("--model", required=True, metavar="NAME", help="xception, vgg11-flow or a timm architecture")
    train.add_argument("--manifest", type=Path, metavar="FILE", help="videos to train on, with label and split")
    train.add_argument(
        "--lake",
        type=Path,
        metavar="DIR",
        help="gets the learning curves (table curves); without --manifest its explained videos are trained on, with "
        "their keyframes and face boxes",
    )
    train.add_argument("--out", required=True, type=Path, metavar="DIR", help="weights, learning curves and report")
    train.add_argument(
        "--frames", type=int, metavar="N", help="frames cut from each video of a manifest, evenly spaced (default: 16)"
    )
    train.add_argument(
        "--pretrained",
        nargs="?",
        const="imagenet",
        metavar="FILE",
        help="start from timm's ImageNet weights (downloaded), or from FILE; default: from scratch",
    )
    train.add_argument("--workers", type=int, default=1, metavar="N", help="training processes (default: 1)")
    train.add_argument("--input-size", type=int, metavar="PX", help="side of the input (default: the model's own)")
    train.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a table train; see docs/train.md")
    train.add_argument("--set", action="append", default=[], metavar="train.KEY=VALUE", help="over the config file's")

    readout = _command(commands, _train_readout, "train-readout", "train a network that predicts a layer's bottleneck")
    readout.add_argument("--model", required=True, metavar="NAME", help="xception, vgg11-flow or a timm architecture")
    readout.add_argument(
        "--weights", action="append", default=[], metavar="MODEL=FILE", help="the detector's, as for explain"
    )
    readout.add_argument("--manifest", required=True, type=Path, metavar="FILE", help="with label and split")
    readout.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder for MODEL/LAYER.safetensors, for explain --readout",
    )
    readout.add_argument("--layer", metavar="NAME", help="layer of the bottleneck (default: the model's own)")
    readout.add_argument(
        "--read",
        action="append",
        default=[],
        metavar="NAME",
        help="layer it reads besides; may be repeated (default: four of xception, three of vgg11-flow, or none)",
    )
    readout.add_argument(
        "--statistics", type=Path, metavar="DIR", help="as for explain (default: estimated from the training samples)"
    )
    readout.add_argument("--frames", type=int, default=16, metavar="N", help="frames cut from each video (default: 16)")
    readout.add_argument("--epochs", type=int, metavar="N", help="readout.epochs (default: 10)")
    readout.add_argument("--config", type=Path, metavar="FILE", help="TOML file with a table readout")
    readout.add_argument(
        "--set", action="append", default=[], metavar="readout.KEY=VALUE", help="over the config file's"
    )

    forge = _command(commands, _forge, "forge", "make forgeries with a known mask from genuine videos")
    forge.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="as for explain; those labelled fake are left"
    )
    forge.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for videos, masks and manifest")
    forge.add_argument("--per-video", type=int, default=1, metavar="N", help="forgeries of each video (default: 1)")
    forge.add_argument("--seed", type=int, default=0, metavar="S", help="decides everything random (default: 0)")
    forge.add_argument(
        "--region",
        action="append",
        choices=("face", "eyes", "nose", "mouth"),
        help="what is forged, drawn for each forgery; may be repeated (default: all four)",
    )
    forge.add_argument(
        "--fault",
        action="append",
        choices=("none", "flicker", "jump", "frozen"),
        help="what goes wrong in time, drawn for each forgery; may be repeated (default: none)",
    )
    forge.add_argument(
        "--strength",
        action="append",
        type=float,
        metavar="S",
        help="how much of the forged picture is blended in, 0 to 1, drawn for each forgery; may be repeated "
        "(default: 0.25, 0.5, 0.75, 1)",
    )
    forge.add_argument(
        "--detail",
        action="append",
        choices=("none", "sharpen", "downscale"),
        help="what happens to the forged picture's fine detail, drawn for each forgery; may be repeated "
        "(default: sharpen, downscale)",
    )
    forge.add_argument("--motion-only", action="store_true", help="nothing but the fault in time shows, no still frame")
    forge.add_argument("--run-frames", type=int, metavar="K", help="frames between two jumps or freezes (default: 8)")
    forge.add_argument("--max-frames", type=int, metavar="M", help="only the first M frames of each video")

    demo = _command(commands, _demo, "demo", "make clips, train, explain, evaluate and draw, all below one folder")
    demo.add_argument("out", type=Path, metavar="DIR", help="folder to fill")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    run: Callable[[argparse.Namespace], int | None],
    name: str,
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def _add_lake(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lake", type=Path, required=True, metavar="DIR", help="folder of the tables")


def _add_detectors(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="xception, vgg11-flow or a timm architecture; may be repeated (default: the first two)",
    )
    parser.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="NAME",
        help="dotted name of a layer, for every model that has it, or 'paper': those that the paper compares; may be "
        "repeated (default: the model's own)",
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="MODEL=FILE",
        help="safetensors or state dict of a detector, FaceForensics++ Xception files included; may be repeated",
    )


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file; see docs/config.md")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="one value over the config file's"
    )


# Each command imports what it runs: `sql` should not wait for torch and Ray.
def _explain(options: argparse.Namespace) -> None:
    from pipelines import config as configs
    from pipelines.explain import explain

    tables = configs.load(options.config, options.set)
    if options.max_keyframes is not None:
        if options.max_keyframes < 1:
            raise UserError("--max-keyframes is at least 1")
        tables.setdefault("prepare", {}).setdefault("keyframes", {})["max_keyframes"] = options.max_keyframes
    if options.preset is not None:
        tables.setdefault("bottleneck", {})["preset"] = options.preset
    config = configs.build(tables, options.model, options.layer, _weights(options), options.statistics, options.readout)
    explain(config, options.paths, options.lake, Console())


def _estimate(options: argparse.Namespace) -> None:
    from pipelines import config as configs
    from pipelines.estimate import estimate

    tables = configs.load(options.config, options.set)
    config = configs.build(tables, options.model, options.layer, _weights(options))
    estimate(config, options.paths, options.out, Console(), options.label)


def _weights(options: argparse.Namespace) -> dict[str, Path]:
    weights = {}
    for given in options.weights:
        model, separator, file = given.partition("=")
        if not separator:
            raise UserError(f"--weights {given}: write MODEL=FILE")
        weights[model] = Path(file)
    return weights


def _evaluate(options: argparse.Namespace) -> int:
    from pipelines.evaluate import evaluate

    return evaluate(options.lake, options.run_id)


def _sql(options: argparse.Namespace) -> None:
    from pipelines.sql import sql

    sql(options.lake, options.statement, options.format)


def _render(options: argparse.Namespace) -> None:
    from pipelines.render import render

    print(*render(options.lake, options.video_id, options.out), sep="\n")


def _manifest(options: argparse.Namespace) -> None:
    from pipelines.datasets.command import manifest

    out = options.out or Path(f"{options.dataset}.parquet")
    how = {name: getattr(options, name) for name in ("compression", "sample", "seed", "resplit")}
    manifest(options.dataset, options.root, out, Console(), **how)


def _train(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from operators.models.spec import spec_for
    from operators.prepare import ModelInput
    from pipelines import config as configs
    from pipelines.samples import from_lake, from_manifest
    from pipelines.train import default_params, train

    try:
        spec = spec_for(options.model)
    except ValueError as error:
        raise UserError(str(error)) from error
    if options.input_size is not None:
        spec = replace(spec, input_size=options.input_size)
    params = configs.fill(default_params(spec), configs.load(options.config, options.set).get("train", {}), "train")
    inputs = (ModelInput(spec.input, spec.input_size),)
    if options.manifest is not None:
        source = from_manifest(options.manifest, inputs, 16 if options.frames is None else options.frames)
    elif options.lake is None:
        raise UserError("give the videos to train on: --manifest FILE, or --lake DIR of explained ones")
    elif options.frames is not None:
        raise UserError("--frames belongs to --manifest: of a lake's videos the explained frames are taken")
    else:
        source = from_lake(options.lake, inputs)
    how = {name: getattr(options, name) for name in ("pretrained", "lake")}
    train(spec, params, source, options.out, options.workers, Console(), **how)


def _train_readout(options: argparse.Namespace) -> None:
    from operators.methods.readout import READ_LAYERS, ReadoutParams
    from pipelines import config as configs
    from pipelines.readout import train_readout

    tables = configs.load(options.config, options.set)
    if options.epochs is not None:
        tables.setdefault("readout", {})["epochs"] = options.epochs
    params = configs.fill(ReadoutParams(), tables.get("readout", {}), "readout")
    if options.frames < 1:
        raise UserError("--frames is at least 1")
    weights = _weights(options)
    layer = options.layer or configs.build({}, [options.model], [], weights).detectors[0].layers[0]
    read = options.read or READ_LAYERS.get(options.model, ())
    layers = list(dict.fromkeys([layer, *read]))
    config = configs.build({}, [options.model], layers, weights, options.statistics)
    train_readout(
        config.detectors[0],
        layer,
        params,
        options.manifest,
        options.out,
        options.statistics,
        options.frames,
        Console(),
    )


def _forge(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from operators.forge import ForgeriesParams
    from operators.forging.blend import MOTION_ONLY, ForgeParams
    from pipelines.forge import forge

    for name in ("per_video", "run_frames", "max_frames"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} is at least 1")
    if options.motion_only and "none" in (options.fault or ()):
        raise UserError("--motion-only leaves nothing but the fault in time: take another --fault than none")
    if any(not 0 < strength <= 1 for strength in options.strength or ()):
        raise UserError("--strength is above 0 and at most 1")
    params = MOTION_ONLY if options.motion_only else ForgeParams()
    drawn = {
        "strengths": options.strength,
        "regions": options.region,
        "faults": options.fault,
        "details": options.detail,
    }
    params = replace(params, **{name: tuple(values) for name, values in drawn.items() if values})
    if options.run_frames:
        params = replace(params, run_frames=options.run_frames)
    forgeries = ForgeriesParams(seed=options.seed, max_frames=options.max_frames, forge=params)
    forge(options.paths, options.out, options.per_video, forgeries, Console())


def _demo(options: argparse.Namespace) -> int:
    from pipelines.demo import demo

    return demo(options.out, Console())


if __name__ == "__main__":
    sys.exit(main())
