"""How far the detectors' probabilities can be trusted: the CORP curve with a band, and ECE with its interval."""

from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from operators.measures.reliability import calibrated, corp, ece, percentiles, resampled
from pipelines.lake.read import queries

SEED = 0


def reliability(connection: duckdb.DuckDBPyConnection) -> dict[str, pa.Table]:
    """calibration: a row per model; reliability: a row per model and video, a point of the curve.

    `connection` is one that pipelines.league.prepare has prepared. The band and the interval are percentiles over 2,000
    resamples of persons; NULL for a single person.
    """
    rows = connection.sql(queries("league")["predictions"]).to_arrow_table().to_pylist()
    figures: list[dict[str, Any]] = []
    points: list[dict[str, Any]] = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        p, y = (np.array([row[name] for row in own], np.float64) for name in ("probability", "fake"))
        _, persons = np.unique([row["person"] for row in own], return_inverse=True)
        grid = np.sort(p)

        def curve(index: np.ndarray, p: np.ndarray = p, y: np.ndarray = y, grid: np.ndarray = grid) -> np.ndarray:
            order = index[np.argsort(p[index], kind="stable")]
            return np.append(np.interp(grid, p[order], calibrated(p[order], y[order])), ece(p[index], y[index]))

        told, several = corp(p, y), persons.max() > 0
        low, high = percentiles(resampled(persons, curve, SEED)) if several else (None, None)
        bounds = {"ece_low": None if low is None else low[-1], "ece_high": None if high is None else high[-1]}
        figures.append(
            {"model": model, "n_videos": len(own), "n_persons": int(persons.max()) + 1, "brier": told.brier}
            | {"miscalibration": told.miscalibration, "discrimination": told.discrimination}
            | {"uncertainty": told.uncertainty, "ece": ece(p, y)}
            | bounds
        )
        for position, index in enumerate(np.argsort(p, kind="stable")):
            ends = {"low": None if low is None else low[position], "high": None if high is None else high[position]}
            points.append({"model": model, "probability": p[index], "calibrated": told.calibrated[index]} | ends)
    return {"calibration": pa.Table.from_pylist(figures), "reliability": pa.Table.from_pylist(points)} if rows else {}
