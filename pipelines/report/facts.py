"""What findings are drawn from: rows of a run's tables, and how many samples its statistics had."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
from safetensors import safe_open

from operators.storage.files import local
from operators.storage.remote import path_of
from pipelines.lake.layout import Layout
from pipelines.lake.read import queries
from pipelines.report.findings import Tables
from schemas.methods import STATISTICS_KEY

#: what rules ask for: of the evaluation tables, and by folder of what the page asks besides
EVALUATED: Final = ("agreement", "duplicates", "league", "table4")
_ASKED: Final = {"league": ("gate",), "report": ("detectors",), "summary": ("explained", "status")}


def facts(connection: duckdb.DuckDBPyConnection, lake: Path, run_id: str, evaluated: Mapping[str, pa.Table]) -> Tables:
    """The rows that rules ask for; `evaluated` has those of `EVALUATED`, `connection` is prepared for the league."""
    rows = {name: evaluated[name].to_pylist() for name in EVALUATED}
    for folder, names in _ASKED.items():
        rows |= {name: connection.sql(queries(folder)[name]).to_arrow_table().to_pylist() for name in names}
    ((config,),) = connection.sql("select any_value(config) from runs").fetchall()
    return rows | {"statistics": statistics(lake, run_id, json.loads(config))}


def statistics(lake: Path, run_id: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    """(model, layer, n samples) of the statistics that the run's bottlenecks had, as far as their files are there."""
    own, given = Layout(lake).statistics(run_id), config.get("statistics", {}).get("folder")
    found = []
    for detector in config["detectors"]:
        for layer in detector.get("layers", ()):
            model = detector["spec"]["name"]
            for folder in (own, *([path_of(given)] if given else [])):
                path = folder / model / f"{layer}.safetensors"
                if path.is_file():
                    with safe_open(local(path), framework="np") as file:
                        n = json.loads(file.metadata()[STATISTICS_KEY])["n"]
                    found.append({"model": model, "layer": layer, "n": int(n)})
                    break
    return found
