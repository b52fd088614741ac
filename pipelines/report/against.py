"""Two runs side by side: what differs in their configs, and in their figures on the videos that both have."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from operators.measures.comparison import difference, holm, interval
from operators.storage.remote import path_of
from pipelines import league
from pipelines.errors import UserError
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake, queries, runs
from pipelines.report.sections import Ask, Missing, Section

NAME: Final = "against"
CONFIGS: Final = "against_configs"

_KEYS: Final = ("model", "layer", "method", "metric")
_DIFFERENCES: Final = pa.schema(
    [
        *((name, pa.string()) for name in _KEYS),
        *((name, pa.float64()) for name in ("here", "there", "difference", "difference_low", "difference_high")),
        *((name, pa.float64()) for name in ("wins", "p", "p_holm")),
        *((name, pa.int64()) for name in ("n_videos", "n_persons")),
    ]
)
_SETTINGS: Final = pa.schema([(name, pa.string()) for name in ("what", "here", "there")])

#: (model, layer, method, metric) -> video -> value
Values = dict[tuple[str, ...], dict[str, float]]


def find(lake: Path, run_id: str, other: str) -> tuple[Path, str]:
    """The lake and the run that `other` names: a run of this lake, or another lake's latest. UserError for neither, and
    for the run itself."""
    found = (lake, other)
    if other not in Layout(lake).run_ids():
        if not path_of(other).is_dir():
            known = ", ".join(runs(lake))
            raise UserError(f"--against {other}: no run of {lake}, which has {known}, and no lake at {other}")
        found = (path_of(other), runs(path_of(other))[-1])
    if found[1] == run_id and found[0].resolve() == lake.resolve():
        raise UserError(f"--against {other}: that is the run that is reported; --run chooses another one")
    return found


def section(lake: Path, run_id: str) -> Section:
    """Where the tables stand; `run_id` is the other run's."""
    return Section(
        NAME,
        f"Against run {run_id}",
        f"Here is the run of this page, there is run {run_id} in {lake}. What both say of one video is a pair.",
        (
            Ask(
                *("", NAME, "difference 0, wins .5"),
                title="Figures of the videos that both runs have",
                grain="one row per (model, layer, method, metric); means over persons, here less there, 95 % interval "
                "by bootstrap, p by sign flips, Holm over the table",
                columns="metric: p_label, the probability of the label; right, the share of videos judged so; of maps "
                "empty (a share), seconds, bits, iou_adjusted, tcs, auroc on the true mask, heat_gain (heat in it less "
                "its area), and those of the league. here, there: means in the metric's unit; difference, "
                "difference_low, difference_high: here less there. wins: share of the persons with more here, ties "
                "count half. p: two-sided; p_holm: over all rows. n_videos, n_persons: in both runs.",
            ),
            Ask(
                *("", CONFIGS, "no chance: these are settings"),
                title="What the two runs were told",
                grain="one row per setting that differs",
                columns="what: its name, config and then the path in it; here, there: what each run was told, NULL "
                "where it was not.",
            ),
        ),
        (Missing(NAME, "The two runs have no video, model and method in common: nothing is paired."),),
    )


def against(connection: duckdb.DuckDBPyConnection, lake: Path, run_id: str) -> dict[str, pa.Table]:
    """NAME and CONFIGS, of the run that `connection` shows, prepared for the league, and run `run_id` of `lake`."""
    with open_lake(lake, run_id) as other:
        league.prepare(other)
        there, configs = _values(other), [_config(connection), _config(other)]
    persons = dict(connection.sql("select video_id, person from persons").fetchall())
    return {NAME: _differences(_values(connection), there, persons), CONFIGS: _settings(*configs)}


def _values(connection: duckdb.DuckDBPyConnection) -> Values:
    found: Values = defaultdict(dict)
    for *key, video, value in connection.sql(queries("against")["values"]).fetchall():
        found[tuple(key)][video] = value
    return found


def _differences(here: Values, there: Values, persons: Mapping[str, str]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for key in [key for key in here if key in there]:
        videos = sorted(here[key].keys() & there[key].keys())
        a, b = _of_persons(here[key], videos, persons), _of_persons(there[key], videos, persons)
        told = difference(a, b, league.SEED)
        if not videos:
            continue
        low, high = interval(np.subtract(a, b).tolist(), league.SEED) or (None, None)
        rows.append(
            dict(zip(_KEYS, key, strict=True))
            | {"here": float(np.mean(a)), "there": float(np.mean(b)), "difference": float(np.mean(a) - np.mean(b))}
            | {"difference_low": low, "difference_high": high}
            | {"wins": None if told is None else told.wins, "p": None if told is None else told.p, "p_holm": None}
            | {"n_videos": len(videos), "n_persons": len(a)}
        )
    tried = [row for row in rows if row["p"] is not None]
    for row, p in zip(tried, holm([row["p"] for row in tried]), strict=True):
        row["p_holm"] = p
    return pa.Table.from_pylist(rows, schema=_DIFFERENCES)


def _of_persons(values: Mapping[str, float], videos: list[str], persons: Mapping[str, str]) -> list[float]:
    """The mean over each person's videos, in one order of persons."""
    own: dict[str, list[float]] = defaultdict(list)
    for video in videos:
        own[persons[video]].append(values[video])
    return [float(np.mean(own[person])) for person in sorted(own)]


def _config(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """What a run says of itself, a value for each name."""
    row = (
        connection.sql("select run_id, started_at::varchar as begun, config from runs").to_arrow_table().to_pylist()[0]
    )
    counts = connection.sql("select status, count(*) from videos group by status order by status").fetchall()
    told = {"run": row["run_id"], "begun": row["begun"]}
    told["videos"] = ", ".join(f"{n:,} {status}" for status, n in counts)
    return told | _flat(json.loads(row["config"]), "config")


def _flat(value: Any, name: str) -> dict[str, str]:
    """`config.prepare.flow.levels` and the like, to what is said of it; detectors by their names."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "spec" in each for each in value):
        value = {each["spec"]["name"]: each for each in value}
    if not isinstance(value, dict):
        return {name: value if isinstance(value, str) else json.dumps(value)}
    return {key: text for part, each in value.items() for key, text in _flat(each, f"{name}.{part}").items()}


def _settings(here: Mapping[str, str], there: Mapping[str, str]) -> pa.Table:
    names = [name for name in dict.fromkeys([*here, *there]) if here.get(name) != there.get(name)]
    rows = [{"what": name, "here": here.get(name), "there": there.get(name)} for name in names]
    return pa.Table.from_pylist(rows, schema=_SETTINGS)
