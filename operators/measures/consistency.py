"""How steady the masks of one video are (VIBA section 4, Table 3)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import hypot

import numpy as np

from operators.measures.rules import Mask, MaskRule, Saliency, mask


@dataclass(frozen=True)
class Consistency:
    """Table 3's figures for the masks of one video; None where a figure is not defined."""

    iou: float | None
    iou_adjusted: float | None
    tcs: float
    persistence: float | None
    rpi: float | None


def consistency(masks: Mask) -> Consistency:
    """Figures of the masks (T,H,W) of a video's explained frames in order; ValueError without a frame or a pixel."""
    if masks.ndim != 3 or masks.size == 0:
        raise ValueError(f"masks must be (frames, height, width), at least one of each; got {masks.shape}")
    overlaps = [pair for pair in map(overlap, masks[:-1], masks[1:]) if pair is not None]
    return Consistency(
        iou=_mean([iou for iou, _ in overlaps]),
        iou_adjusted=_mean([(iou - chance) / (1 - chance) for iou, chance in overlaps if chance < 1]),
        tcs=coverage(masks),
        persistence=persistence(masks),
        rpi=region_movement(masks),
    )


def overlap(a: Mask, b: Mask) -> tuple[float, float] | None:
    """IoU = |A and B| / |A or B| of two masks and its value by chance, pq / (p + q - pq) for areas p and q.

    Chance is the IoU of two independent masks of these areas. Both masks empty -> None.
    """
    area_a, area_b, n_pixels = np.count_nonzero(a), np.count_nonzero(b), a.size
    if area_a + area_b == 0:
        return None
    both = np.count_nonzero(a & b)
    # p = area_a / n and q = area_b / n, multiplied out so that full masks give exactly 1
    chance = area_a * area_b / (n_pixels * (area_a + area_b) - area_a * area_b)
    return both / (area_a + area_b - both), chance


def coverage(masks: Mask) -> float:
    """TCS = 1/N sum_i sum_xy M_i(x,y) / (W H), the mean highlighted share of the frame (VIBA eq. 3)."""
    return float(np.count_nonzero(masks) / masks.size)


def persistence(masks: Mask) -> float | None:
    """Over the pixels ever highlighted, the mean share of frames in which they are; None where none ever is."""
    ever = np.count_nonzero(masks.any(axis=0))
    return float(np.count_nonzero(masks) / (len(masks) * ever)) if ever else None


def region_movement(masks: Mask) -> float | None:
    """RPI = mean_i |C_i - C_(i-1)| / sqrt(W^2 + H^2), C the centroid of a mask (VIBA eq. 4).

    A frame with an empty mask has no centroid and is left out; below two centroids -> None.
    """
    centroids = np.array([np.argwhere(frame).mean(axis=0) for frame in masks if frame.any()])
    if len(centroids) < 2:
        return None
    steps = np.linalg.norm(np.diff(centroids, axis=0), axis=1)
    return float(steps.mean() / hypot(*masks.shape[1:]))


def video_metrics(maps: Sequence[Saliency], rules: Sequence[MaskRule]) -> list[dict]:
    """One `metrics` row per rule, without ids, for one video's heat (S,S) in frame order."""
    rows = []
    for rule in rules:
        figures = consistency(np.stack([mask(frame, rule) for frame in maps]))
        rows.append({"mask_rule": str(rule), "n_frames": len(maps), **asdict(figures)})
    return rows


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
