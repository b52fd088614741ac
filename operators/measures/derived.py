"""Controls made of maps that are there: a method's mean map over other videos, and its maps blurred.

They are methods of their own, `iba:mean_map` and `iba:blur8` beside `iba`, and are judged like any other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from operators.measures.maps import cells, stored
from schemas.methods import MEAN_MAP

Row = dict[str, Any]
Place = tuple[str, str, str, str]
_PLACE: Final = ("model", "method", "layer", "target")
#: standard deviations in pixels of the model's input
BLURS_PX: Final = (8, 16)
#: what a map has told of how it was made, and a derived one has not
_NOT_KEPT: Final = ("total_bits", "floor_bits", "loss_first", "loss_last", "evaluations")


@dataclass
class MeanMaps:
    """Sums over videos of a video's mean map, by (model, method, layer, target); filled video by video, in any order.

    A map counts by its form: its absolute values add up to 1. Empty maps and those with an error do not count, nor
    does a video without others.
    """

    _sums: dict[Place, npt.NDArray[np.float64]] = field(default_factory=dict)
    _videos: dict[Place, int] = field(default_factory=dict)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take the rows of `masks` of one video in."""
        for place, mean in _means(rows).items():
            self._sums[place] = self._sums.get(place, 0) + mean
            self._videos[place] = self._videos.get(place, 0) + 1

    def merge(self, other: "MeanMaps") -> None:
        """Take in what another has of other videos."""
        for place, total in other._sums.items():
            self._sums[place] = self._sums.get(place, 0) + total
            self._videos[place] = self._videos.get(place, 0) + other._videos[place]

    def of_others(self, rows: list[Row]) -> list[Row]:
        """For each row of one video with a map, one of METHOD:mean_map: the mean over all videos that were added but
        this one. `rows` are as they were added; a place that no other video has gets none."""
        own, found = _means(rows), []
        for row in rows:
            place = tuple(row[name] for name in _PLACE)
            others = self._videos.get(place, 0) - (place in own)
            if row["error_code"] is None and others > 0:
                mean = (self._sums[place] - own.get(place, 0)) / others
                found.append(_derived(row, MEAN_MAP, mean) | {"unit": "share"})
        return found


def blurred(row: Row, sigma_px: int) -> Row:
    """METHOD:blur8 of a row with a map: through a Gaussian of so many pixels of the model's input; empty if it was."""
    sides = row["height"], row["width"]
    sigmas = [sigma_px * side / row["input_size"] for side in sides]
    values = gaussian_filter(cells(row).astype(np.float64), sigmas, mode="nearest")
    return _derived(row, f"blur{sigma_px}", values) | {"empty": row["empty"]}


def _means(rows: Iterable[Mapping[str, Any]]) -> dict[Place, npt.NDArray[np.float64]]:
    """The mean form of a video's maps at each place."""
    found: dict[Place, list[npt.NDArray[np.float64]]] = {}
    for row in rows:
        if row["error_code"] is None and not row["empty"]:
            values = cells(row).astype(np.float64)
            place = row["model"], row["method"], row["layer"], row["target"]
            found.setdefault(place, []).append(values / np.abs(values).sum())
    return {place: np.mean(values, axis=0) for place, values in found.items()}


def _derived(row: Row, name: str, values: npt.NDArray[np.float64]) -> Row:
    method = {"method": f"{row['method']}:{name}", "seconds": 0.0, "empty": bool((values <= 0).all())}
    return row | dict.fromkeys(_NOT_KEPT) | method | stored(values)
