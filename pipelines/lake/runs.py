"""The run's one row: what ran, when, how its layers are explained, with which packages and on which machines."""

import json
import os
import platform
import subprocess
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import ray

from operators.methods.choice import Choice
from operators.methods.iba import Iba
from operators.storage import parquet as pq
from pipelines.cluster import processors_of_nodes
from pipelines.config import Config
from pipelines.lake.layout import Layout
from pipelines.manifest import write_table
from pipelines.probe import Cut
from schemas.tables import RUNS

_ROOT: Final = Path(__file__).resolve().parents[2]
_PACKAGES: Final = ("ray", "torch", "timm", "av", "opencv-python", "dlib-bin", "pyarrow", "duckdb", "numpy")
#: how Ray names the accelerators of its nodes among their resources
_ACCELERATOR: Final = "accelerator_type:"


def begin(config: Config, layout: Layout, cuts: Mapping[tuple[str, str], Cut]) -> None:
    """Note that a run starts, or goes on: what is known of its earlier starts and of its end stays."""
    now = datetime.now(UTC)
    row = _read(layout, config.run_id) or {"started_at": now, "ended_at": None, "starts": []}
    start = {"started_at": now, "versions": json.dumps(_versions()), "hardware": json.dumps(_hardware())}
    row |= {"run_id": config.run_id, "config": config.to_json(), "starts": [*row["starts"], start]}
    unknown = {"holds": None, "tried": []}
    row["layers"] = [
        {"model": model, "layer": layer, "cut": cut.kind, "folded": cut.folded, "draws": _draws(config)} | unknown
        for (model, layer), cut in cuts.items()
    ]
    _write(layout, row)


def choose(config: Config, layout: Layout, choices: Mapping[tuple[str, str], Choice]) -> None:
    """Note how many noise draws the run takes at each layer, and why."""
    row = _read(layout, config.run_id)
    assert row is not None, "chosen before it began"
    for each in row["layers"]:
        choice = choices.get((each["model"], each["layer"]))
        if choice is not None:
            each |= {"draws": choice.draws, "holds": choice.holds, "tried": list(choice.tried)}
    _write(layout, row)


def _draws(config: Config) -> int | None:
    """Those the config says; None where it leaves them to the run, and without a fit."""
    return config.bottleneck.draws if Iba.name in config.methods and not config.bottleneck.auto else None


def end(config: Config, layout: Layout, busy: float | None) -> None:
    """Note that everything the run was given is finished, and how busy its actors were.

    None where none had to be: then a run that has ended keeps its end, and one that was killed just before has it now.
    """
    row = _read(layout, config.run_id)
    assert row is not None, "ended before it began"
    if busy is not None or row["ended_at"] is None:
        _write(layout, row | {"ended_at": datetime.now(UTC)} | ({} if busy is None else {"busy": busy}))


def config_of(layout: Layout, run_id: str) -> str | None:
    """The config of a run as JSON; None where its row cannot be read."""
    row = _read(layout, run_id)
    return None if row is None else row["config"]


def _path(layout: Layout, run_id: str) -> Path:
    return layout.table(run_id, RUNS.name) / "run.parquet"


def _read(layout: Layout, run_id: str) -> dict[str, Any] | None:
    path = _path(layout, run_id)
    try:
        return pq.read_table(path, schema=RUNS.schema).to_pylist()[0] if path.is_file() else None
    except pa.ArrowException:  # cut short: its starts are lost, and no video is
        return None


def _write(layout: Layout, row: dict[str, Any]) -> None:
    path = _path(layout, row["run_id"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(pa.Table.from_pylist([row], schema=RUNS.schema), path)


def _versions() -> dict[str, str | None]:
    own = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
    packages = {name: version(name) for name in _PACKAGES}
    return {"viba": own, "commit": _commit(), "python": platform.python_version()} | packages


def _commit() -> str | None:
    """What git calls the code that runs; None where it is not in a repository, as on a cluster."""
    command = ["git", "-C", str(_ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _hardware() -> dict[str, Any]:
    """Of the whole cluster: its head need not have the GPUs that explain."""
    there = ray.cluster_resources()
    return {
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "nodes": sum(node["Alive"] for node in ray.nodes()),
        "processors": processors_of_nodes(),
        "cluster": {key: value for key, value in there.items() if ":" not in key},
        "accelerators": sorted(key.removeprefix(_ACCELERATOR) for key in there if key.startswith(_ACCELERATOR)),
    }
