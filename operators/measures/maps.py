"""A row of the table `masks` as heat over the model's input."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

cv2.setNumThreads(1)

Heat = npt.NDArray[np.float32]


def heat(row: Mapping[str, Any]) -> Heat:
    """The positive part of a map, float32 (S, S) at the model's input; nothing but zeros for an empty map.

    Upsampled bilinearly (pixel centres, align_corners=False) from the size the method gives.
    """
    size = row["input_size"]
    if row["empty"]:
        return np.zeros((size, size), np.float32)
    cells = np.array(row["saliency"], np.float32).reshape(row["height"], row["width"]) * np.float32(row["scale"])
    return np.asarray(cv2.resize(cells.clip(min=0), (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
