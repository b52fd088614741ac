"""One input that is judged, and the maps that explain it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from operators.inputs.view import View
from operators.judging.totals import by_key
from operators.measures.faithfulness import seed_of
from operators.measures.grid import Cells, in_time, times

Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """A map or a variant of one: the columns that name it, and its values on the common grid; of a clip those of one
    cell of time, or (`joined`) of all of them, named by the first."""

    ids: Row
    cells: Cells


def joined(maps: Sequence[Judged], view: View) -> list[Judged]:
    """The maps of samples of a view with their cells of time put together; those of pictures are as they were."""
    found = []
    for own in by_key(maps, lambda each: tuple(value for name, value in each.ids.items() if name != "frame")).values():
        own = sorted(own, key=lambda each: each.ids["frame"])
        found.append(Judged(own[0].ids, in_time([each.cells for each in own], times(view.frames))))
    return found


@dataclass(frozen=True)
class Sample:
    """One input and all maps that explain one class of it; `shown` is the picture that is cut into segments."""

    row: Row
    frame: int
    target: str
    pixels: np.ndarray
    shown: np.ndarray
    maps: list[Judged]

    def rng(self, seed: int, *what: object) -> np.random.Generator:
        """The same for every method and after a resume."""
        return seed_of(seed, self.row["video_id"], self.frame, *what)


def pixels_of(row: Row, view: View, frame: int) -> np.ndarray | None:
    """(S, S, 3), of a clip (T, S, S, 3), of the input that was cut for a view and a frame; None where there is none."""
    for item in row["inputs"]:
        if item["frame"] == frame and item["view"] == str(view):
            return np.frombuffer(item["pixels"], np.uint8).reshape(view.shape)
    return None
