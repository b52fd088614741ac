"""One input that is judged, and the maps that explain it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from operators.inputs.view import View
from operators.measures.faithfulness import seed_of
from operators.measures.grid import Cells

Row = dict[str, Any]


@dataclass(frozen=True)
class Judged:
    """A map or a variant of one: the columns that name it, and its values on the common grid."""

    ids: Row
    cells: Cells


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
    """(S, S, 3) of the input that was cut for a view and a frame; None where there is none."""
    for item in row["inputs"]:
        if item["frame"] == frame and item["view"] == str(view):
            return np.frombuffer(item["pixels"], np.uint8).reshape(view.size, view.size, 3)
    return None
