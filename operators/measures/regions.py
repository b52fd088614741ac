"""How much of an explanation lies in each part of a face, beside the part's share of the picture."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from operators.inputs.landmarks import Landmarks, proportions
from schemas.tables import FACE_REGIONS

cv2.setNumThreads(1)

Heat = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int8]
Row = Mapping[str, Any]
_BOX: Final = ("x", "y", "width", "height")
_MOUTH, _EDGES, _BROWS, _NOSE, _OUTSIDE, _CHIN = range(len(FACE_REGIONS))

#: all in widths of the face. The edge is a ring of this much to both sides of the outline
_EDGE: Final = 0.06
#: below the eyes this much still belongs to them
_LIDS: Final = 0.04
#: ears lie beside the outline, between eyes and nose base, this wide; that of a side is seen where the nose is as far
#: from the outline there
_EARS: Final = 0.12
_EAR_SEEN: Final = 0.35
#: the neck is as wide
_NECK: Final = 0.7
#: lips reach beyond their outer line by this factor
_LIPS: Final = 1.2
#: around the crop, in its sides, so that an outline that leaves it keeps its ring
_MARGIN: Final = 0.5


def region_rows(
    maps: Sequence[tuple[Row, Heat]], frames: Sequence[Row], landmarks: Mapping[int, Landmarks]
) -> list[dict[str, Any]]:
    """Rows of the table `regions`, without the ids, of a video's maps: rows of `masks` with their heat (S,S).

    `frames` are its rows of that table, `landmarks` what was found in the crops, by frame; the box's proportions stand
    in where there is none. Maps that do not lie over the face's box are left out.
    """
    boxes = {row["frame"]: tuple(row[f"face_{side}"] for side in _BOX) for row in frames}
    labels: dict[tuple[int, int], Labels] = {}
    rows = []
    for row, heat in maps:
        frame, size = row["frame"], len(heat)
        if boxes.get(frame) != tuple(row[f"box_{side}"] for side in _BOX):
            continue
        face = landmarks.get(frame) or proportions()
        if (frame, size) not in labels:
            labels[frame, size] = region_labels(face, size)
        ids = {name: row[name] for name in ("first_frame", "frame", "model", "method", "layer", "target")}
        rows += [
            ids | {"region": region, "heat": share, "area": area, "source": face.source}
            for region, (share, area) in region_shares(heat, labels[frame, size]).items()
        ]
    return rows


def region_labels(face: Landmarks, size: int) -> Labels:
    """The region of every pixel of a (size,size) crop, as indices into FACE_REGIONS.

    In the face's own axes (right along the eyes, down across them; lengths in widths of the outline): mouth is the hull
    of the lips, enlarged by a fifth; edges the pixels within .06 of the outline; inside it brows reach down to .04
    below the eyes, chin begins below the lips, nose (with the cheeks) is between. Outside it chin goes on as the neck,
    .7 wide, and nose as the ears, .12 beside the outline from the eyes to the nose base; the rest is outside.
    """
    pad = round(_MARGIN * size)
    side = size + 2 * pad
    rows, columns = np.mgrid[:side, :side] + 0.5 - pad

    right = face.eye_right.mean(0) - face.eye_left.mean(0)
    right /= np.hypot(*right)
    axes = np.stack([right, [-right[1], right[0]]])  # rows: right, down
    across, down = (axes[:, 0, None, None] * columns + axes[:, 1, None, None] * rows) / size
    outline, eyes, nose, mouth = (
        points @ axes.T
        for points in (face.outline, np.concatenate([face.eye_left, face.eye_right]), face.nose, face.mouth)
    )
    left_end, right_end = outline[:, 0].min(), outline[:, 0].max()
    width = right_end - left_end
    chin = outline[outline[:, 1].argmax(), 0]

    inside = _filled(face.outline, size, pad)
    to_edge = cv2.distanceTransform(inside, cv2.DIST_L2, 5) + cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    lips_end = mouth[:, 1].max()

    labels = np.full((side, side), _OUTSIDE, np.int8)
    labels[(down > lips_end) & (abs(across - chin) <= _NECK / 2 * width)] = _CHIN
    within = inside > 0
    labels[within] = _NOSE
    labels[within & (down <= eyes[:, 1].max() + _LIDS * width)] = _BROWS
    labels[within & (down > lips_end)] = _CHIN
    labels[to_edge <= _EDGE * width * size] = _EDGES
    beside = ~within & (down >= eyes[:, 1].mean()) & (down <= nose[0, 1]) & (to_edge <= _EARS * width * size)
    for end, sign in ((left_end, 1), (right_end, -1)):
        if sign * (nose[0, 0] - end) >= _EAR_SEEN * width:
            labels[beside & (sign * (across - nose[0, 0]) < 0)] = _NOSE
    middle = (face.mouth.min(0) + face.mouth.max(0)) / 2
    labels[_filled(middle + _LIPS * (face.mouth - middle), size, pad) > 0] = _MOUTH
    return labels[pad : pad + size, pad : pad + size]


def region_shares(heat: Heat, labels: Labels) -> dict[str, tuple[float | None, float]]:
    """Region -> its share of the heat (S,S), None for a map without any, and of the pixels: chance."""
    area = np.bincount(labels.ravel(), minlength=len(FACE_REGIONS)) / labels.size
    total = heat.sum(dtype=np.float64)
    if not total:
        return {name: (None, float(share)) for name, share in zip(FACE_REGIONS, area, strict=True)}
    inside = np.bincount(labels.ravel(), heat.ravel().astype(np.float64), len(FACE_REGIONS)) / total
    return {name: (float(hot), float(a)) for name, hot, a in zip(FACE_REGIONS, inside, area, strict=True)}


def _filled(points: npt.NDArray[np.float64], size: int, pad: int) -> npt.NDArray[np.uint8]:
    """The convex hull of points over the sides of the crop, 1 inside, on the crop with `pad` pixels around it."""
    side = size + 2 * pad
    pixels = np.clip(points * size - 0.5 + pad, -side, 2 * side)
    hull = np.rint(cv2.convexHull(pixels.astype(np.float32))).astype(np.int32)
    return np.asarray(cv2.fillConvexPoly(np.zeros((side, side), np.uint8), hull, 1), np.uint8)
