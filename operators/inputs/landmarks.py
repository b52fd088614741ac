"""Where a face's parts lie in its crop: outline, eyes, nose and mouth as points, by the best source there is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from operators.inputs.faces import FaceParams
from operators.inputs.view import View

cv2.setNumThreads(1)

#: MediaPipe's face_landmark.tflite (Apache-2.0), as `make landmarks` fetches it
MESH_FILE: Final = Path(__file__).resolve().parents[2] / "landmarks" / "face_landmark.tflite"
#: what the points are read off: the crop that the maps of faces lie over, at the mesh's own size
VIEW: Final = View(192)

#: the mesh wants a crop of 1.5 to 2 times the face: the crop's edge is repeated by this share of its side all around.
#: On eleven real crops the points then lay .001 to .013 of the side, in the mean, from where the wider crop puts them
_PAD: Final = 0.2
_POINTS_LAYER: Final = "conv2d_21"
_FACE_LAYER: Final = "conv2d_31"  # logit: it is a face
_OVAL: Final = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152)
_OVAL_BACK: Final = (148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
_LIPS: Final = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
_EYE_LEFT: Final = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
_EYE_RIGHT: Final = (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382)
_NOSE_BASE: Final = 2
#: of dlib's 68 points
_DLIB_POINTS: Final = 68
#: how far the forehead reaches above the brows, over the distance from the brows to the tip of the chin
_FOREHEAD: Final = 0.25

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Landmarks:
    """Points (n,2) as x, y over the sides of the crop: 0, 0 is its left top corner; some may lie outside.

    `outline` goes around the face from the hairline to the chin, the eyes are left and right in the picture, `nose` is
    the one point between nose and lip. `source`: mesh, the name of a dlib file, or box.
    """

    source: str
    outline: Points
    eye_left: Points
    eye_right: Points
    nose: Points
    mouth: Points


Finder = Callable[[npt.NDArray[np.uint8]], Landmarks]


def finder(file: Path | None) -> Finder:
    """What finds Landmarks in a crop (S,S,3) uint8 RGB of `VIEW`: a .tflite mesh, a dlib file of 68 points, or the box.

    Where the mesh sees no face the box's proportions stand in. Raises ValueError for a file that is neither.
    """
    if file is None:
        return lambda _: proportions()
    return _mesh(file) if file.suffix == ".tflite" else _dlib(file)


def proportions() -> Landmarks:
    """What is known of a crop of which nothing but the face's box is known: the mean of the mesh over 43 real faces.

    There the middles of their parts scattered by 3 to 4 % of the crop's side.
    """
    around = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    circle = np.stack([np.sin(around), -np.cos(around)], 1)

    def ellipse(x: float, y: float, half_width: float, half_height: float) -> Points:
        return np.array([x, y]) + circle * [half_width, half_height]

    return Landmarks(
        "box",
        ellipse(0.5, 0.51, 0.365, 0.445),
        ellipse(0.335, 0.345, 0.072, 0.022),
        ellipse(0.665, 0.345, 0.072, 0.022),
        np.array([[0.5, 0.587]]),
        ellipse(0.5, 0.718, 0.133, 0.062),
    )


def _mesh(file: Path) -> Finder:
    try:
        net = cv2.dnn.readNetFromTFLite(str(file))
    except cv2.error as error:
        raise ValueError(f"{file} is no face mesh that OpenCV reads: {str(error).splitlines()[0]}") from error
    if not {_POINTS_LAYER, _FACE_LAYER} <= set(net.getLayerNames()):
        raise ValueError(f"{file} is not MediaPipe's face_landmark.tflite of 468 points: fetch it with make landmarks")

    def find(pixels: npt.NDArray[np.uint8]) -> Landmarks:
        size = len(pixels)
        pad = round(_PAD * size)
        wide = cv2.copyMakeBorder(pixels, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        net.setInput(cv2.dnn.blobFromImage(wide, 1 / 255, (VIEW.size, VIEW.size)))
        if net.forward(_FACE_LAYER).item() < 0:
            return proportions()
        points = net.forward(_POINTS_LAYER).reshape(-1, 3)[:, :2].astype(np.float64)
        points = (points / VIEW.size * len(wide) - pad) / size
        parts = (_OVAL + _OVAL_BACK, _EYE_LEFT, _EYE_RIGHT, (_NOSE_BASE,), _LIPS)
        return Landmarks("mesh", *(points[list(part)] for part in parts))

    return find


def _dlib(file: Path) -> Finder:
    import dlib  # here: only this source needs it

    try:
        shape_predictor: Any = dlib.shape_predictor(str(file))  # pyright: ignore[reportAttributeAccessIssue]
    except RuntimeError as error:
        raise ValueError(f"{file} is no landmark file of dlib: {error}") from error

    def find(pixels: npt.NDArray[np.uint8]) -> Landmarks:
        size = len(pixels)
        inner = round(size * (1 - 1 / FaceParams().margin) / 2)  # dlib's own box, which the crop enlarges
        box = dlib.rectangle(inner, inner, size - inner, size - inner)  # pyright: ignore[reportAttributeAccessIssue]
        found = shape_predictor(pixels, box)
        if found.num_parts != _DLIB_POINTS:
            raise ValueError(f"{file} has {found.num_parts} points, and the regions need dlib's {_DLIB_POINTS}")
        points = np.array([(point.x, point.y) for point in found.parts()], np.float64) / size
        brows, chin = points[17:27], points[8]
        forehead = brows + _FOREHEAD * (brows.mean(0) - chin)  # dlib has no point above the brows
        outline = np.concatenate([points[:17], forehead[::-1]])
        return Landmarks(file.name, outline, points[36:42], points[42:48], points[33:34], points[48:60])

    return find
