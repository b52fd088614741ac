"""The league of the methods: means with intervals, differences to IBA, ranks, and whether the metrics agree."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

import duckdb
import numpy as np
import pyarrow as pa

from operators.measures.comparison import RESAMPLES, difference, holm, interval, kendall_w, rank_distribution
from pipelines.lake.read import queries
from pipelines.reliability import reliability
from pipelines.splits import groups
from schemas.methods import CONTROLS, MEAN_MAP, Variant

#: the method that others are compared with, the control that knows nothing of the picture, and a method's own mean map
REFERENCE: Final = "iba"
CENTRE: Final = "centre"
#: what `queries/league/values.sql` puts between a method and the variant of its maps; a method's own name may have it
_AND: Final = "+"
_VARIANTS: Final = tuple(f"{_AND}{variant}" for variant in get_args(Variant))
_LOSES: Final = "does not beat "
SEED: Final = 0
#: the table that queries/tables has, and what is said of those that statistics add
NAME: Final = "league"
TITLES: Final = {
    "league_pairs": "differences to IBA on the same persons, p by sign flips, Holm over the table",
    "league_ranks": "how often a method has which rank when persons are drawn anew",
    "league_agreement": "Kendall's W: whether the metrics rank the methods alike",
    "calibration": "how far the probabilities of fake can be trusted, by video",
    "reliability": "points of the CORP curve with a band",
}
#: of the league's columns those that have an interval, in their order
WITH_INTERVAL: Final = (
    *("srg", "auroc", "adv_drop", "adv_drop_nes", "adv_gain", "srg_mean", "road", "sensitivity_n"),
    *("iou_adjusted", "gini", "empty"),
)
#: metrics of which more is better: methods are compared by these
COMPARED: Final = ("srg", "auroc", "adv_gain", "srg_mean", "road", "sensitivity_n")
#: those asked whether they agree: one metric by another fill would agree with itself
_APART: Final = tuple(name for name in COMPARED if name != "srg_mean")
#: metrics in which a method is to beat the controls
_TO_BEAT: Final = ("srg", "auroc")

#: model, layer, method, metric -> person -> value
Persons = dict[tuple[str, str, str, str], dict[str, float]]

_PAIRS: Final = pa.schema(
    [
        *[(name, pa.string()) for name in ("model", "layer", "metric", "method")],
        *[(name, pa.float64()) for name in ("difference", "difference_low", "difference_high", "effect", "wins", "p")],
        ("p_holm", pa.float64()),
        ("n_persons", pa.int64()),
    ]
)
_RANKS: Final = pa.schema(
    [
        *[(name, pa.string()) for name in ("model", "layer", "metric", "method")],
        *[(name, pa.float64()) for name in ("mean_rank", "first", "last")],
        ("ranks", pa.list_(pa.float64())),
        ("n_persons", pa.int64()),
    ]
)
_AGREEMENT: Final = pa.schema(
    [
        *[(name, pa.string()) for name in ("model", "layer")],
        ("kendall_w", pa.float64()),
        ("p", pa.float64()),
        ("n_methods", pa.int64()),
        ("metrics", pa.list_(pa.string())),
    ]
)


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Give a lake's connection the views persons (video_id, person, unit), league_values and league_gate.

    A person is a group of videos that share one of `identities` or a `pair_id`, however indirectly; `unit` says which
    of them made it: identities, pair_id or video_id.
    """
    table = connection.sql("select distinct video_id, identities, pair_id from videos").to_arrow_table()
    videos = table.to_pylist()
    rows = []
    for number, members in enumerate(groups(table)):
        own = [videos[index] for index in members]
        unit = next((name for name in ("identities", "pair_id") if any(video[name] for video in own)), "video_id")
        rows += [{"video_id": video["video_id"], "person": str(number), "unit": unit} for video in own]
    schema = pa.schema([(name, pa.string()) for name in ("video_id", "person", "unit")])
    connection.from_arrow(pa.Table.from_pylist(rows, schema=schema)).create_view("persons")
    for name, query in (("league_values", "values"), ("league_gate", "gate")):
        connection.sql(queries("league")[query]).create_view(name)


def league(connection: duckdb.DuckDBPyConnection, means: pa.Table) -> dict[str, pa.Table]:
    """Name -> table, from the rows of queries/tables/league.sql on a connection that is prepared.

    league: `means` with the interval of each figure beside it, what a method does not beat, and what a person is;
    league_pairs: differences to IBA; league_ranks; league_agreement; calibration and reliability of the detectors. Only
    league where nothing was judged.
    """
    found: Persons = defaultdict(dict)
    for model, layer, method, metric, person, value in connection.sql(queries("league")["persons"]).fetchall():
        found[model, layer, method, metric][person] = value
    units = connection.sql("select string_agg(distinct unit, ', ' order by unit) from persons").fetchall()[0][0]
    tables = {NAME: _with_intervals(means, found, units)}
    if found:
        pairs = _pairs(found)
        tables |= {"league_pairs": pairs, "league_ranks": _ranks(found), "league_agreement": _agreement(found)}
        tables |= reliability(connection)
    return tables


def is_variant(method: str) -> bool:
    """Whether a name of the league is that of a variant of a method's maps: `iba+blur8` is, `gradcam++` is not."""
    return method.endswith(_VARIANTS)


def is_control(method: str) -> bool:
    """Whether a row of the league is no method that is on trial: a control, or a variant of a method's maps."""
    return method in CONTROLS or is_variant(method)


def not_beaten(row: Mapping[str, Any], metric: str) -> list[str]:
    """The controls over which a row of the league has no advantage in a metric, by what its `loses_to` says."""
    said = (row["loses_to"] or "").removeprefix(_LOSES)
    lost = [each.rpartition(" (") for each in said.split("), ") if each]
    return [control for control, _, metrics in lost if metric in metrics.rstrip(")").split(", ")]


def has_control(row: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], metric: str) -> bool:
    """Whether rows of the league have the metric of the centre, or of the mean map of the row's own method."""
    own = f"{row['method']}{_AND}{MEAN_MAP}"
    return any(
        other[metric] is not None
        and other["model"] == row["model"]
        and (other["method"] == CENTRE or (other["method"] == own and other["layer"] == row["layer"]))
        for other in rows
    )


def not_better(table: pa.Table) -> list[str]:
    """A line for each method on trial that does not beat the centre or its own mean map."""
    rows = [row for row in table.to_pylist() if row["loses_to"] and not is_control(row["method"])]
    return [f"{' '.join(filter(None, (row['model'], row['layer'], row['method'])))}: {row['loses_to']}" for row in rows]


def _with_intervals(means: pa.Table, found: Persons, units: str | None) -> pa.Table:
    columns: dict[str, pa.Array | pa.ChunkedArray] = {}
    keys = [(row["model"], row["layer"], row["method"]) for row in means.to_pylist()]
    for name in means.column_names:
        columns[name] = means[name]
        if name in WITH_INTERVAL:
            bounds = [interval(list(found.get((*key, name), {}).values()), SEED) or (None, None) for key in keys]
            columns[f"{name}_low"] = pa.array([low for low, _ in bounds], pa.float64())
            columns[f"{name}_high"] = pa.array([high for _, high in bounds], pa.float64())
    n = len(means)
    columns["loses_to"] = pa.array([_loses_to(found, *key) for key in keys], pa.string())
    columns["person_is"] = pa.array([units] * n, pa.string())
    columns["resamples"] = pa.array([RESAMPLES] * n, pa.int64())
    columns["seed"] = pa.array([SEED] * n, pa.int64())
    return pa.table(columns)


def _loses_to(found: Persons, model: str, layer: str, method: str) -> str | None:
    """The controls over which a method's advantage is not above 0 with its interval, and in what; None without any.

    One person gives no interval, and shows no advantage. Variants and the centre are asked nothing.
    """
    if is_variant(method) or method == CENTRE:
        return None
    said = []
    for other, at in ((CENTRE, ""), (f"{method}{_AND}{MEAN_MAP}", layer)):
        lost = []
        for metric in _TO_BEAT:
            a, b = found.get((model, layer, method, metric)), found.get((model, at, other, metric))
            if a and b and (shared := sorted(a.keys() & b.keys())):
                bounds = interval([a[person] - b[person] for person in shared], SEED)
                if bounds is None or not bounds[0] > 0:
                    lost.append(metric)
        if lost:
            said.append(f"{other} ({', '.join(lost)})")
    return _LOSES + ", ".join(said) if said else None


def sites(places: Iterable[tuple[str, ...]]) -> list[tuple[str, str]]:
    """(model, layer) at which methods are compared, from tuples that begin so: the layers of each model, or none for a
    model without any. What needs no layer, as controls, is beside those of every one."""
    each = dict.fromkeys((model, layer) for model, layer, *_ in places)
    with_layer = {model for model, layer in each if layer}
    return [(model, layer) for model, layer in each if layer or model not in with_layer]


def _at(found: Persons, model: str, layer: str, metric: str, variants: bool) -> dict[str, dict[str, float]]:
    """Method -> person -> value, of what explains the layer or needs none."""
    return {
        key[2]: values
        for key, values in found.items()
        if key[0] == model and key[1] in (layer, "") and key[3] == metric and (variants or not is_variant(key[2]))
    }


def _pairs(found: Persons) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for model, layer in sites(found):
        for metric in COMPARED:
            methods = _at(found, model, layer, metric, variants=True)
            reference = methods.pop(REFERENCE, {})
            for method, own in methods.items():
                shared = sorted(own.keys() & reference.keys())
                a, b = [own[person] for person in shared], [reference[person] for person in shared]
                told = difference(a, b, SEED)
                if told is not None:
                    low, high = interval(np.subtract(a, b).tolist(), SEED) or (None, None)
                    ids = {"model": model, "layer": layer, "metric": metric, "method": method}
                    bounds = {"difference": told.mean, "difference_low": low, "difference_high": high}
                    figures = {"effect": told.effect, "wins": told.wins, "p": told.p, "n_persons": len(shared)}
                    rows.append(ids | bounds | figures)
    adjusted = holm([row["p"] for row in rows])
    rows = [row | {"p_holm": p} for row, p in zip(rows, adjusted, strict=True)]
    return pa.Table.from_pylist(rows, schema=_PAIRS)


def _ranks(found: Persons) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for model, layer in sites(found):
        for metric in COMPARED:
            methods = _at(found, model, layer, metric, variants=False)
            values, persons = _complete(methods)
            if len(methods) < 2 or not persons:
                continue
            shares = rank_distribution(values, SEED)
            places = np.arange(1, len(methods) + 1)
            for method, own in sorted(zip(methods, shares, strict=True), key=lambda each: float(each[1] @ places)):
                ids = {"model": model, "layer": layer, "metric": metric, "method": method}
                ends = {"mean_rank": float(own @ places), "first": float(own[0]), "last": float(own[-1])}
                rows.append(ids | ends | {"ranks": own.tolist(), "n_persons": len(persons)})
    return pa.Table.from_pylist(rows, schema=_RANKS)


def _agreement(found: Persons) -> pa.Table:
    rows = []
    for model, layer in sites(found):
        means = {}
        for metric in _APART:
            methods = _at(found, model, layer, metric, variants=False)
            if methods:
                means[metric] = {name: float(np.mean(list(own.values()))) for name, own in methods.items()}
        shared = sorted(set.intersection(*(set(own) for own in means.values()))) if means else []
        told = kendall_w(np.array([[own[name] for name in shared] for own in means.values()])) if shared else None
        if told is not None:
            ids = {"model": model, "layer": layer, "kendall_w": told[0], "p": told[1]}
            rows.append(ids | {"n_methods": len(shared), "metrics": list(means)})
    return pa.Table.from_pylist(rows, schema=_AGREEMENT)


def _complete(methods: Mapping[str, Mapping[str, float]]) -> tuple[np.ndarray, Sequence[str]]:
    """(persons, methods) of the persons that every method has a value of."""
    persons = sorted(set.intersection(*(set(own) for own in methods.values()))) if methods else []
    return np.array([[own[person] for own in methods.values()] for person in persons]), persons
