"""Flags that several commands share."""

import argparse
from pathlib import Path

from operators.storage.remote import Remote, path_of
from pipelines.errors import UserError, one_line


def path(text: str) -> Path:
    """A path on disk, or a URI of a store. UserError for credentials in it, and a store that nothing here knows."""
    try:
        found = path_of(text)
        if isinstance(found, Remote):
            _ = found.located
    except (ValueError, ImportError, OSError) as error:
        raise UserError(one_line(error)) from error
    return found


def disk_path(text: str) -> Path:
    """A path on disk. UserError for a URI: a folder of its name would be made."""
    if isinstance(path(text), Remote):
        raise UserError(f"{text}: this has to lie on a disk")
    return Path(text)


def add_lake(parser: argparse.ArgumentParser) -> None:
    """--lake, required."""
    parser.add_argument("--lake", type=path, required=True, metavar="DIR", help="folder of the tables")


def add_weights(parser: argparse.ArgumentParser, what: str) -> None:
    """--weights MODEL=FILE, repeated."""
    parser.add_argument("--weights", action="append", default=[], metavar="MODEL=FILE", help=f"{what}; may be repeated")


def weights(options: argparse.Namespace, flag: str = "weights") -> dict[str, Path]:
    """Model -> file, from --weights or another flag like it. Raises UserError for one without a model."""
    found = {}
    for given in getattr(options, flag):
        model, separator, file = given.partition("=")
        if not (model and separator and file):
            raise UserError(f"--{flag.replace('_', '-')} {given}: write MODEL=FILE")
        found[model] = path(file)
    return found


def add_quiet(parser: argparse.ArgumentParser, file: str) -> None:
    """--quiet; `file` is where it is read afterwards."""
    parser.add_argument(
        "--quiet", action="store_true", help=f"print errors alone; {file} has what was to be said in any case"
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """--config and --set."""
    parser.add_argument("--config", type=path, metavar="FILE", help="TOML file; see docs/config.md")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="one value over the config file's"
    )


def at_least_one(text: str) -> int:
    """A flag's whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)
