"""The command line: python -m pipelines COMMAND."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

# Before Ray is imported: its warnings about its own future defaults are no business of the user's.
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "worker processes have been started on node")

from pipelines.called import called
from pipelines.errors import UserError, told

#: every command, in the order a user meets them; pipelines/commands/NAME.py is imported for the one that runs
COMMANDS: Final = {
    "explain": "explain every video of folders, files or manifests",
    "plan": "predict what explaining a manifest takes: hours, bytes, money",
    "estimate": "estimate mean and deviation of layers for explain --statistics",
    "judge": "judge the maps of a run: faithfulness, localisation, sanity",
    "evaluate": "check the tables and make the evaluation tables",
    "report": "write everything a run found as one page for a browser",
    "verify": "read every file of a lake and name those that are damaged or lost",
    "sql": "ask the tables a question, read-only",
    "render": "draw a video's explanation as MP4 and contact sheet",
    "export": "write a run's maps as pictures, arrays or a dataset for FiftyOne",
    "annotate": "make pages that ask people where videos look manipulated, and take their answers",
    "manifest": "list, check and split a published dataset",
    "train": "train a detector on the splits train and val of a manifest or a lake",
    "train-readout": "train a network that predicts a layer's bottleneck",
    "concepts": "make clips of concepts, still and moving, for tcav",
    "tcav": "ask which concepts a class of a clip model rests on",
    "tune-fep": "find the cut-offs of F-EP on validation videos",
    "forge": "make forgeries with a known mask from genuine videos",
    "demo": "make clips, train, explain, evaluate, draw and report, all below one folder",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake is one line on standard error and exit code 1."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
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
    except Exception as error:
        if (said := told(error)) is None:
            raise
        print(f"viba: {said}", file=sys.stderr)
        return 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The flags of one command, and `run`, what it does with them. Raises UserError for what no command takes."""
    if not arguments or arguments[0] not in COMMANDS:
        everything = _Parser(
            prog=called(""),
            description="Explain video classifiers over whole datasets and study them in SQL.",
        )
        commands = everything.add_subparsers(title="commands", metavar="COMMAND", required=True)
        for name, summary in COMMANDS.items():
            commands.add_parser(name, help=summary)
        everything.parse_args(arguments)
    name, *rest = arguments
    command = import_module(f"pipelines.commands.{name.replace('-', '_')}")
    summary = COMMANDS[name]
    parser = _Parser(prog=called(name), description=summary[0].upper() + summary[1:] + ".")
    command.flags(parser)
    parser.set_defaults(run=command.run)
    return parser.parse_args(rest)


def _terminated(*_: object) -> NoReturn:
    print("viba: terminated; the same command continues where it stopped", file=sys.stderr, flush=True)
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)  # spot instances are taken back with it
    sys.exit(main())
