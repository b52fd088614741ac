"""A row of the table `masks`: its map as it is stored, as it was made, and as heat over the model's input."""

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

cv2.setNumThreads(1)

Heat = npt.NDArray[np.float32]


def stored(values: npt.NDArray[np.floating]) -> dict[str, Any]:
    """The columns height, width, saliency and scale of a map (h, w), which is finite."""
    # a power of two: what float16 holds is then exact, however small the map's values are
    scale = 2.0 ** math.ceil(math.log2(most)) if (most := float(np.abs(values).max())) > 0 else 1.0
    scale = min(max(scale, 2.0**-126), 2.0**127)
    height, width = values.shape
    halves = (values.astype(np.float64) / scale).astype(np.float16)
    return {"height": height, "width": width, "saliency": halves.ravel(), "scale": scale}


def cells(row: Mapping[str, Any]) -> Heat:
    """A map (h, w) float32 at the size and in the unit the method gives, signed where it is."""
    return np.array(row["saliency"], np.float32).reshape(row["height"], row["width"]) * np.float32(row["scale"])


def heat(row: Mapping[str, Any]) -> Heat:
    """The positive part of a map, float32 (S, S) at the model's input; nothing but zeros for an empty map.

    Upsampled bilinearly (pixel centres, align_corners=False) from the size the method gives.
    """
    size = row["input_size"]
    if row["empty"]:
        return np.zeros((size, size), np.float32)
    return np.asarray(cv2.resize(cells(row).clip(min=0), (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
