"""Finds the largest frontal face of a frame and cuts it out."""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import cv2
import numpy as np
from annotated_types import Ge, Le

from schemas.params import checked

cv2.setNumThreads(1)


@checked
class FaceParams:
    """How faces are found."""

    #: times the frame is doubled before detection; once finds faces from 40 px. Each time costs four times the memory
    upsample: Annotated[int, Ge(0), Le(4)] = 1
    #: larger frames are scaled down to this for detection; dlib sees no face below 80 px
    max_side_px: Annotated[int, Ge(80), Le(8192)] = 1280
    #: side of the crop box over side of the detected face
    margin: Annotated[float, Ge(0.5), Le(10)] = 1.3


@dataclass(frozen=True)
class Box:
    """Pixels x to x + width, y to y + height of a frame; `score` is the detector's."""

    x: int
    y: int
    width: int
    height: int
    score: float


@cache
def _detector() -> Any:
    import dlib  # here: whoever only cuts boxes, as on a machine that explains, needs no detector

    return dlib.get_frontal_face_detector()  # pyright: ignore[reportAttributeAccessIssue]


def find_face(image: np.ndarray, params: FaceParams) -> Box | None:
    """Box around the largest face of `image`, uint8 RGB (H,W,3), enlarged by the margin and clipped to the frame.

    Of faces of one size the one with the better score; None without a face.
    """
    scale = min(1.0, params.max_side_px / max(image.shape[:2]))
    small = _resize(image, max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    rectangles, scores, _ = _detector().run(small, params.upsample, 0.0)
    faces = [(face.width() * face.height(), score, face) for face, score in zip(rectangles, scores, strict=True)]
    if not faces:
        return None
    _, score, face = max(faces, key=lambda candidate: candidate[:2])
    edges = (face.left() / scale, face.top() / scale, (face.right() + 1) / scale, (face.bottom() + 1) / scale)
    return enlarge(edges, params.margin, image.shape[1], image.shape[0], score)


def enlarge(edges: tuple[float, float, float, float], margin: float, width: int, height: int, score: float) -> Box:
    """The box left, top, right, bottom, `margin` times as large about its centre, clipped to width x height."""
    left, top, right, bottom = edges
    grow_x, grow_y = (right - left) * (margin - 1) / 2, (bottom - top) * (margin - 1) / 2
    x, y = max(0, round(left - grow_x)), max(0, round(top - grow_y))
    return Box(x, y, min(width, round(right + grow_x)) - x, min(height, round(bottom + grow_y)) - y, score)


def crop(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The pixels of `box` scaled to (size,size,3) uint8."""
    return _resize(image[box.y : box.y + box.height, box.x : box.x + box.width], size, size)


def _resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Averages over areas where it shrinks, interpolates where it enlarges: neither aliases."""
    if (height, width) == image.shape[:2]:
        return np.ascontiguousarray(image)
    shrinks = height * width < image.shape[0] * image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
