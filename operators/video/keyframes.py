"""Keyframes after Ibaceta: the frames that change most, over the clip's own slow course of change."""

from typing import Annotated, Literal

import cv2
import numpy as np
from annotated_types import Ge, Le
from pydantic import AfterValidator

from schemas.params import checked

cv2.setNumThreads(1)

_MAX_FITS = 100
_FIT_TOLERANCE = 1e-3
#: below one pixel of any picture; what is left here is rounding
_NO_CHANGE = 1e-9


def _odd(number: int) -> int:
    if number % 2 == 0:
        raise ValueError(f"{number} is not odd")
    return number


@checked
class KeyframeParams:
    """How keyframes are chosen: `peaks` of change, or `uniform` over the clip, as a training set wants them."""

    selection: Literal["peaks", "uniform"] = "peaks"
    max_keyframes: Annotated[int, Ge(1), Le(1024)] = 16
    #: share of the way from the signal's least to its greatest height over the baseline
    threshold: Annotated[float, Ge(0), Le(1)] = 0.3
    min_distance_frames: Annotated[int, Ge(1), Le(100_000)] = 10
    blur_px: Annotated[int, Ge(1), Le(99), AfterValidator(_odd)] = 9  #: side of the Gaussian kernel
    baseline_degree: Annotated[int, Ge(0), Le(20)] = 2


class ChangeSignal:
    """Share of pixels that got brighter since the previous frame, frame by frame; keeps one frame and the shares."""

    def __init__(self, params: KeyframeParams) -> None:
        self._blur_px = params.blur_px
        self._previous: np.ndarray | None = None
        self._shares: list[float] = []

    def update(self, gray: np.ndarray) -> None:
        """Takes the next frame, uint8 (H,W). The first frame counts 0, one of another size than the last counts 1."""
        blurred = cv2.GaussianBlur(gray, (self._blur_px, self._blur_px), 0)
        share = 0.0
        if self._previous is not None and self._previous.shape != blurred.shape:
            share = 1.0
        elif self._previous is not None:
            share = cv2.countNonZero(cv2.subtract(blurred, self._previous)) / blurred.size
        self._previous = blurred
        self._shares.append(share)

    def values(self) -> np.ndarray:
        """float64 (n_frames,), in [0, 1]."""
        return np.asarray(self._shares, np.float64)


def baseline(signal: np.ndarray, degree: int) -> np.ndarray:
    """The polynomial that runs below the peaks of `signal` (n,): fit, cut the signal down to the fit, fit again.

    Ends when the coefficients, in an orthonormal basis, change by less than 0.1 %. Returns float64 (n,).
    """
    n = len(signal)
    basis, _ = np.linalg.qr(np.vander(np.linspace(-1, 1, n), min(degree + 1, n)))
    lowered, before = signal, np.zeros(basis.shape[1])
    for _ in range(_MAX_FITS):
        coefficients = basis.T @ lowered
        if np.linalg.norm(coefficients - before) <= _FIT_TOLERANCE * np.linalg.norm(before):
            break
        lowered, before = np.minimum(lowered, basis @ coefficients), coefficients
    return basis @ before


def pick_keyframes(signal: np.ndarray, params: KeyframeParams, span: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Peaks of `signal` (n,) over its baseline: (indices, in time order; heights over the baseline).

    The highest `max_keyframes` are kept, the earlier of two equal ones. Without a peak (no motion, fewer than three
    frames) it is the first frame, with height 0. An empty signal has none. `uniform`: as many frames evenly spaced
    from the first to the last but one, which still has a next frame for the flow. Of a clip of `span` frames, more than
    two, the keyframe is the first: one too near the end is moved to where the last clip begins.
    """
    last = max(len(signal) - max(span, 2), 0)
    height = signal - baseline(signal, params.baseline_degree) if len(signal) else signal
    if params.selection == "uniform":
        spaced = np.unique(np.linspace(0, last, params.max_keyframes).astype(np.intp))
        return spaced[: len(signal)], height[spaced[: len(signal)]]
    peaks = np.empty(0, np.intp)
    if len(height) and np.ptp(height) > _NO_CHANGE:
        least = height.min() + params.threshold * np.ptp(height)
        peaks = _peaks(height, least, params.min_distance_frames)
    if not len(peaks):
        return np.arange(min(len(signal), 1)), np.zeros(min(len(signal), 1))
    kept = np.sort(peaks[np.argsort(-height[peaks], kind="stable")][: params.max_keyframes])
    if span > 2:
        kept = np.unique(np.minimum(kept, last))
    return kept, height[kept]


def _peaks(height: np.ndarray, least: float, distance: int) -> np.ndarray:
    """Where `height` (n,) is higher than left and right of it, at least `least`, and no higher peak that counts is
    nearer than `distance`, of equal ones the later; of a flat top the middle. In time order.

    It is `scipy.signal.find_peaks`, whose import takes as long as all else that a child of the sandbox imports.
    """
    ends = np.append(np.flatnonzero(np.diff(height)), len(height) - 1)
    starts = np.append(0, ends[:-1] + 1)
    flat = height[starts]
    middles = ((starts + ends) // 2)[1:-1][(flat[1:-1] > flat[:-2]) & (flat[1:-1] > flat[2:])]
    middles = middles[height[middles] >= least]
    kept, near = [], np.zeros(len(height), bool)
    for peak in middles[np.argsort(height[middles], kind="stable")[::-1]].tolist():
        if not near[peak]:
            kept.append(peak)
            near[max(peak - distance + 1, 0) : peak + distance] = True
    return np.array(sorted(kept), np.intp)
