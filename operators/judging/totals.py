"""What all maps of a series add up to: what one video's maps are compared with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from operators.measures.grid import CELLS, Cells, common, relative, standardised, values

Row = dict[str, Any]
#: model, method, layer, target
Series = tuple[str, str, str, str]


@dataclass(frozen=True)
class Totals:
    """What all maps of a series, over `n_videos`, add up to on the common grid.

    `relative` is the sum over videos of each one's mean of maps over their maxima, `standard` the sum of the
    `n_standard` maps that are not constant, standardised.
    """

    relative: np.ndarray = field(default_factory=lambda: np.zeros(CELLS))
    standard: np.ndarray = field(default_factory=lambda: np.zeros(CELLS))
    n_videos: int = 0
    n_standard: int = 0

    def plus(self, maps: Sequence[Cells]) -> "Totals":
        """With the maps of one more video."""
        known = [each for each in map(standardised, maps) if each is not None]
        return Totals(
            self.relative + np.mean([relative(each) for each in maps], axis=0),
            self.standard + np.sum(known, axis=0) if known else self.standard,
            self.n_videos + 1,
            self.n_standard + len(known),
        )

    def minus(self, own: "Totals") -> "Totals":
        """Without those of one video."""
        return Totals(
            self.relative - own.relative,
            self.standard - own.standard,
            self.n_videos - own.n_videos,
            self.n_standard - own.n_standard,
        )


def series(row: Mapping[str, Any]) -> Series:
    """What a row of masks is one map of."""
    return row["model"], row["method"], row["layer"], row["target"]


def totals(rows: Sequence[Mapping[str, Any]], before: dict[Series, Totals]) -> dict[Series, Totals]:
    """`before` with the maps of one more video, from its rows of masks."""
    found = dict(before)
    for key, own in by_key([row for row in rows if row["error_code"] is None], series).items():
        found[key] = found.get(key, Totals()).plus([common(values(row)) for row in own])
    return found


def by_key(items: Sequence[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """The items that share a key, in their order."""
    found: dict[Any, list[Any]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found
