"""How steady the masks of one video are (VIBA section 4, Table 3)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
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


def consistency(masks: Mask, samples: Sequence[int] | None = None) -> Consistency:
    """Figures of the masks (T,H,W) of a video's explained frames in order; ValueError without a frame or a pixel.

    Masks are consecutive within a sample alone where `samples` names the sample of each: cells of time of one clip.
    """
    if masks.ndim != 3 or masks.size == 0:
        raise ValueError(f"masks must be (frames, height, width), at least one of each; got {masks.shape}")
    own = np.zeros(len(masks)) if samples is None else np.asarray(samples)
    parts = [masks[own == sample] for sample in np.unique(own)]
    pairs = [overlap(a, b) for part in parts for a, b in pairwise(part)]
    overlaps = [pair for pair in pairs if pair is not None]
    return Consistency(
        iou=_mean([iou for iou, _ in overlaps]),
        iou_adjusted=_mean([(iou - chance) / (1 - chance) for iou, chance in overlaps if chance < 1]),
        tcs=coverage(masks),
        persistence=persistence(masks),
        rpi=_mean([step for part in parts for step in steps(part)]),
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


def steps(masks: Mask) -> list[float]:
    """|C_i - C_(i-1)| / sqrt(W^2 + H^2), C the centroid of a mask, whose mean is RPI (VIBA eq. 4).

    A frame with an empty mask has no centroid and is left out; none below two centroids.
    """
    centroids = [np.argwhere(frame).mean(axis=0) for frame in masks if frame.any()]
    return [float(np.linalg.norm(b - a) / hypot(*masks.shape[1:])) for a, b in pairwise(centroids)]


def video_metrics(
    maps: Sequence[Saliency], rules: Sequence[MaskRule], samples: Sequence[int] | None = None
) -> list[dict]:
    """One `metrics` row per rule, without ids, for one video's heat (S,S) in frame order; `samples` as above."""
    rows = []
    for rule in rules:
        figures = consistency(np.stack([mask(frame, rule) for frame in maps]), samples)
        rows.append({"mask_rule": str(rule), "n_frames": len(maps), **asdict(figures)})
    return rows


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
