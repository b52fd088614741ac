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
    explain.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="xception, vgg11-flow or a timm architecture; may be repeated (default: the first two)",
    )
    explain.add_argument(
        "--layer",
        action="append",
        default=[],
        metavar="NAME",
        help="dotted name of a layer, for every model that has it; may be repeated (default: the model's own)",
    )
    explain.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="MODEL=FILE",
        help="safetensors or state dict of a detector, FaceForensics++ Xception files included; may be repeated",
    )
    explain.add_argument(
        "--statistics",
        type=Path,
        metavar="DIR",
        help="folder with MODEL/LAYER.safetensors (default: estimated from the run's own crops)",
    )
    explain.add_argument(
        "--max-keyframes", type=int, metavar="N", help="at most so many frames of a video are explained"
    )
    explain.add_argument("--config", type=Path, metavar="FILE", help="TOML file; see docs/config.md")
    explain.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="one value over the config file's"
    )

    evaluate = _command(commands, _evaluate, "evaluate", "check the tables and make the evaluation tables")
    _add_lake(evaluate)
    evaluate.add_argument("--run", metavar="ID", dest="run_id", help="run to evaluate (default: the latest)")

    sql = _command(commands, _sql, "sql", "ask the tables a question, read-only")
    _add_lake(sql)
    sql.add_argument("statement", metavar="SELECT", help="one SELECT statement over the views")
    sql.add_argument("--format", choices=("table", "csv", "json"), default="table", help="(default: table)")

    render = _command(commands, _render, "render", "draw a video's explanation over its frames as MP4")
    _add_lake(render)
    render.add_argument("video_id", metavar="VIDEO_ID", help="as in the table videos; a unique beginning is enough")
    render.add_argument("--out", type=Path, metavar="FILE", help="(default: LAKE/renders/VIDEO_ID.mp4)")
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


# Each command imports what it runs: `sql` should not wait for torch and Ray.
def _explain(options: argparse.Namespace) -> None:
    from pipelines import config as configs
    from pipelines.explain import explain

    tables = configs.load(options.config, options.set)
    if options.max_keyframes is not None:
        if options.max_keyframes < 1:
            raise UserError("--max-keyframes is at least 1")
        tables.setdefault("prepare", {}).setdefault("keyframes", {})["max_keyframes"] = options.max_keyframes
    weights = {}
    for given in options.weights:
        model, separator, file = given.partition("=")
        if not separator:
            raise UserError(f"--weights {given}: write MODEL=FILE")
        weights[model] = Path(file)
    config = configs.build(tables, options.model, options.layer, weights, options.statistics)
    explain(config, options.paths, options.lake, Console())


def _evaluate(options: argparse.Namespace) -> int:
    from pipelines.evaluate import evaluate

    return evaluate(options.lake, options.run_id)


def _sql(options: argparse.Namespace) -> None:
    from pipelines.sql import sql

    sql(options.lake, options.statement, options.format)


def _render(options: argparse.Namespace) -> None:
    from pipelines.render import render

    print(render(options.lake, options.video_id, options.out))


if __name__ == "__main__":
    sys.exit(main())
