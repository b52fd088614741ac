"""Forgeries whose mask is known, made from genuine frames: self-blended images (Shiohara and Yamasaki 2022) in time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NamedTuple

import cv2
import numpy as np
from annotated_types import Ge, Gt, Le, MinLen
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from schemas.params import checked

cv2.setNumThreads(1)

Rectangle = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""

Region = Literal["face", "eyes", "nose", "mouth"]
Fault = Literal["none", "flicker", "jump", "frozen"]
Detail = Literal["none", "sharpen", "downscale"]

#: the manifest's name for this manipulation
SELF_BLENDED: Final = "self-blended"

#: centre and half axes of each region in shares of dlib's face box
REGIONS: Final[dict[Region, tuple[float, float, float, float]]] = {
    "face": (0.5, 0.5, 0.47, 0.53),
    "eyes": (0.5, 0.3, 0.4, 0.15),
    "nose": (0.5, 0.5, 0.17, 0.22),
    "mouth": (0.5, 0.77, 0.28, 0.16),
}

#: masks are drawn on this square, in which the face box has the side `_FACE_PX`, and then moved with the face
_CANVAS_PX: Final = 256
_FACE_PX: Final = 160
_ELASTIC_ALPHA: Final = 50.0
_ELASTIC_SIGMA_PX: Final = 7.0


@checked
class ForgeParams:
    """What a forgery may be; each clip draws one of each tuple. Shifts are shares of the face box, drifts are smooth.

    `run_frames` is how long a jump stays where it jumped to and how long a frozen region is held. With `pause_frames`
    nothing is forged for so long between two such runs, nor before the first one.
    """

    regions: Annotated[tuple[Region, ...], MinLen(1)] = ("face", "eyes", "nose", "mouth")
    strengths: Annotated[tuple[Annotated[float, Gt(0), Le(1)], ...], MinLen(1)] = (0.25, 0.5, 0.75, 1.0)
    details: Annotated[tuple[Detail, ...], MinLen(1)] = ("sharpen", "downscale")
    faults: Annotated[tuple[Fault, ...], MinLen(1)] = ("none",)
    max_colour_shift_levels: Annotated[float, Ge(0), Le(255)] = 20.0
    max_gain: Annotated[float, Ge(1), Le(4)] = 1.12
    max_shift_x: Annotated[float, Ge(0), Le(1)] = 0.03
    max_shift_y: Annotated[float, Ge(0), Le(1)] = 0.015
    max_scale: Annotated[float, Ge(1), Le(4)] = 1 / 0.95
    jump_shift: Annotated[float, Ge(0), Le(1)] = 0.03
    flicker_levels: Annotated[float, Ge(0), Le(255)] = 12.0
    drift_frames: Annotated[float, Ge(0.1), Le(1000)] = 12.0
    box_smoothing_frames: Annotated[float, Ge(0), Le(1000)] = 3.0
    run_frames: Annotated[int, Ge(1), Le(100_000)] = 8
    pause_frames: Annotated[int, Ge(0), Le(100_000)] = 0


#: a single frame shows (nearly) nothing: what is wrong is wrong in time
MOTION_ONLY: Final = ForgeParams(
    strengths=(1.0,),
    details=("none",),
    faults=("flicker", "jump", "frozen"),
    max_colour_shift_levels=0.0,
    max_gain=1.0,
    max_shift_x=0.0,
    max_shift_y=0.0,
    max_scale=1.0,
)


@dataclass(frozen=True)
class Forgery:
    """What one clip drew. Per frame: `shift` (T, 2) in face boxes, `scale` (T,), `colour` (T, 3) in levels added to
    RGB, `gain` (T,), `held_from` (T,) the frame whose picture is blended in, `forged` (T,) bool, whether anything is:
    elsewhere m is 0. `mask` (256, 256) float32 in 0..1."""

    region: Region
    fault: Fault
    strength: float
    detail: Detail
    shift: np.ndarray
    scale: np.ndarray
    colour: np.ndarray
    gain: np.ndarray
    held_from: np.ndarray
    forged: np.ndarray
    mask: np.ndarray


def forge_clip(
    frames: Iterable[np.ndarray], boxes: Sequence[Rectangle | None], params: ForgeParams, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Forged frames (H, W, 3) uint8 RGB with their masks (H, W) float32 in 0..1, one by one.

    `boxes` holds dlib's face box of every frame, not enlarged; None where none was found is filled in from its
    neighbours. forged = m * source + (1 - m) * target, where the target is the frame and the source its changed copy;
    m is a multiple of 1/255, so that 8-bit files hold it exactly, and where it is 0 the frame is untouched. (Unlike
    the paper only the source is ever changed: a changed target would differ outside of m too.) The same arguments
    give the same pixels. Raises ValueError where no frame has a box.
    """
    yield from apply(frames, boxes, draw(params, len(boxes), seed), params.box_smoothing_frames)


def forge_masks(
    shape: tuple[int, int], boxes: Sequence[Rectangle | None], params: ForgeParams, seed: int
) -> Iterator[np.ndarray]:
    """The masks of `forge_clip` alone, for frames of `shape` (H, W): they need no picture."""
    forgery = draw(params, len(boxes), seed)
    for index, face in enumerate(smooth_boxes(boxes, params.box_smoothing_frames)):
        yield _place(shape, face, forgery, index).mask


def draw(params: ForgeParams, n_frames: int, seed: int) -> Forgery:
    """Everything random about one forged clip."""
    rng = np.random.default_rng(seed)
    region = params.regions[rng.integers(len(params.regions))]
    fault = params.faults[rng.integers(len(params.faults))]
    strength = params.strengths[rng.integers(len(params.strengths))]
    detail = params.details[rng.integers(len(params.details))]
    mask = _region_mask(region, rng) * np.float32(strength)
    drift = params.drift_frames
    shift = _wander(rng, n_frames, drift, 2) * [params.max_shift_x, params.max_shift_y]
    scale = params.max_scale ** _wander(rng, n_frames, drift, 1)[:, 0]
    around_1 = 1 + 0.25 * _wander(rng, n_frames, drift, 4)
    colour = rng.choice([-1.0, 1.0], 3) * rng.uniform(0.35, 0.8, 3) * around_1[:, :3] * params.max_colour_shift_levels
    gain = params.max_gain ** (rng.choice([-1.0, 1.0]) * rng.uniform(0.4, 0.8) * around_1[:, 3])
    held_from = np.arange(n_frames)
    runs, forged = _runs(rng, n_frames, params)
    if fault == "flicker":
        levels = rng.choice([-1.0, 1.0], n_frames) * rng.uniform(0.5, 1, n_frames) * params.flicker_levels
        colour = colour + levels[:, None]
    elif fault == "jump":
        angles = np.cumsum(rng.uniform(np.pi / 2, 3 * np.pi / 2, runs.max() + 1))[runs]
        shift = shift + np.stack([np.cos(angles), np.sin(angles)], axis=1) * params.jump_shift
    elif fault == "frozen":
        starts = np.searchsorted(runs, runs)
        # after a pause there is a true picture to hold: then none of those that are held is the true one
        held_from = np.where(forged, starts - (params.pause_frames > 0), held_from)
    return Forgery(region, fault, strength, detail, shift, scale, colour, gain, held_from, forged, mask)


def _runs(rng: np.random.Generator, n_frames: int, params: ForgeParams) -> tuple[np.ndarray, np.ndarray]:
    """(T,) the number of each frame's run, and whether it is forged: not in a pause, which precedes every run."""
    frames = np.arange(n_frames)
    if not params.pause_frames:
        return frames // params.run_frames, np.ones(n_frames, bool)
    period = params.run_frames + params.pause_frames
    since = frames - 1 - rng.integers(period)
    return since // period + 1, (since >= 0) & (since % period < params.run_frames)


def apply(
    frames: Iterable[np.ndarray], boxes: Sequence[Rectangle | None], forgery: Forgery, box_smoothing_frames: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The forgery blended into every frame; see `forge_clip`."""
    faces = smooth_boxes(boxes, box_smoothing_frames)
    held, held_index = np.empty(0), -1
    for index, (frame, face) in enumerate(zip(frames, faces, strict=True)):
        if forgery.held_from[index] == index:
            held, held_index = frame, index
        yield _forge_frame(frame, face, held, faces[held_index], forgery, index)


def smooth_boxes(boxes: Sequence[Rectangle | None], sigma_frames: float) -> np.ndarray:
    """Boxes as (T, 4) float64: centre x, centre y, width, height; gaps interpolated, then a Gaussian over time."""
    known = [index for index, box in enumerate(boxes) if box is not None]
    if not known:
        raise ValueError("no frame has a face box")
    rows = np.array([box for box in boxes if box is not None], np.float64)
    rows[:, :2] += rows[:, 2:] / 2
    filled = np.stack([np.interp(np.arange(len(boxes)), known, column) for column in rows.T], axis=1)
    return gaussian_filter1d(filled, sigma_frames, axis=0, mode="nearest") if sigma_frames > 0 else filled


class _Placed(NamedTuple):
    """Where one frame is forged: the face's `centre` and `size` in a window of the frame, and the frame's `mask`."""

    window: tuple[slice, slice]
    centre: np.ndarray
    size: np.ndarray
    mask: np.ndarray


def _place(shape: tuple[int, int], face: np.ndarray, forgery: Forgery, index: int) -> _Placed:
    centre, size = face[:2] + forgery.shift[index] * face[2:], face[2:] * forgery.scale[index]
    reach = size * _CANVAS_PX / _FACE_PX / 2 + 1
    edges = np.array([shape[1], shape[0]])
    left, top = np.clip(np.floor(centre - reach), 0, edges).astype(int)
    right, bottom = np.clip(np.ceil(centre + reach), (left, top), edges).astype(int)
    window, centre = (slice(top, bottom), slice(left, right)), centre - [left, top]
    mask = np.zeros(shape, np.float32)
    if mask[window].size and forgery.forged[index]:
        from_canvas = _affine(np.full(2, (_CANVAS_PX - 1) / 2), np.full(2, float(_FACE_PX)), centre, size)
        drawn = cv2.warpAffine(forgery.mask, from_canvas, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
        mask[window] = np.rint(drawn * 255).astype(np.float32) / np.float32(255)
    return _Placed(window, centre, size, mask)


def _forge_frame(
    frame: np.ndarray, face: np.ndarray, held: np.ndarray, held_face: np.ndarray, forgery: Forgery, index: int
) -> tuple[np.ndarray, np.ndarray]:
    window, centre, size, mask = _place((frame.shape[0], frame.shape[1]), face, forgery, index)
    forged = frame.copy()
    if not mask[window].any():
        return forged, mask
    target, m = frame[window].astype(np.float32), mask[window][..., None]
    from_held = _affine(held_face[:2], held_face[2:], centre, size)
    source = cv2.warpAffine(
        held, from_held, (m.shape[1], m.shape[0]), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    source = _change(source.astype(np.float32), forgery, index, float(face[3]))
    forged[window] = np.clip(np.rint(m * source + (1 - m) * target), 0, 255).astype(np.uint8)
    return forged, mask


def _change(source: np.ndarray, forgery: Forgery, index: int, face_px: float) -> np.ndarray:
    """The source in other colours and sharper or softer, by amounts that follow the face's size."""
    radius_px = max(0.6, face_px / 90)
    if forgery.detail == "sharpen":
        source = source + 1.0 * (source - cv2.GaussianBlur(source, (0, 0), radius_px))
    elif forgery.detail == "downscale":
        small = (max(1, round(source.shape[1] / (2 * radius_px))), max(1, round(source.shape[0] / (2 * radius_px))))
        shrunk = cv2.resize(source, small, interpolation=cv2.INTER_AREA)
        source = cv2.resize(shrunk, (source.shape[1], source.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.clip(source * np.float32(forgery.gain[index]) + forgery.colour[index].astype(np.float32), 0, 255)


def _affine(centre: np.ndarray, size: np.ndarray, to_centre: np.ndarray, to_size: np.ndarray) -> np.ndarray:
    """The 2x3 matrix that moves a box (centre, size) onto another."""
    ratio = to_size / size
    return np.array(
        [[ratio[0], 0, to_centre[0] - ratio[0] * centre[0]], [0, ratio[1], to_centre[1] - ratio[1] * centre[1]]]
    )


def _region_mask(region: Region, rng: np.random.Generator) -> np.ndarray:
    """The region's hull on the canvas: elastic warp, blur, erode, blur; (256, 256) float32 in 0..1, its maximum 1."""
    centre_x, centre_y, half_width, half_height = REGIONS[region]
    axis = (np.arange(_CANVAS_PX) - (_CANVAS_PX - 1) / 2) / _FACE_PX + 0.5
    y, x = np.meshgrid((axis - centre_y) / half_height, (axis - centre_x) / half_width, indexing="ij")
    if region == "face":  # cheeks narrow to the chin
        x = x / (1 - 0.28 * np.clip(y, 0, 1) ** 2)
    hull = (np.abs(x) ** 2.3 + np.abs(y) ** 2.3 <= 1).astype(np.float32)

    across, down = (
        gaussian_filter(rng.uniform(-1, 1, hull.shape), _ELASTIC_SIGMA_PX).astype(np.float32) * _ELASTIC_ALPHA
        for _ in range(2)
    )
    rows, columns = np.indices(hull.shape, np.float32)
    hull = cv2.remap(hull, columns + across, rows + down, cv2.INTER_LINEAR)

    radius_px = min(half_width, half_height) * _FACE_PX
    soft = cv2.GaussianBlur(hull, (0, 0), rng.uniform(0.05, 0.12) * radius_px)
    erode_px = 2 * round(rng.uniform(0.03, 0.1) * radius_px) + 1
    eroded = cv2.erode(soft, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (erode_px, erode_px)))
    mask = cv2.GaussianBlur(eroded, (0, 0), rng.uniform(0.05, 0.12) * radius_px)
    return np.clip(mask / mask.max(), 0, 1)


def _wander(rng: np.random.Generator, n_frames: int, sigma_frames: float, columns: int) -> np.ndarray:
    """(T, columns) smooth random curves within -1..1: a constant and a slow drift around it."""
    pad = round(3 * sigma_frames)
    noise = gaussian_filter1d(rng.standard_normal((n_frames + 2 * pad, columns)), sigma_frames, axis=0)
    drift = noise[pad : pad + n_frames] * np.sqrt(2 * np.sqrt(np.pi) * sigma_frames)  # unit variance again
    return np.clip(rng.uniform(-0.7, 0.7, columns) + 0.15 * drift, -1, 1)
