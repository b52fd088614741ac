"""Masks from saliency, and how steady the masks of one video are (VIBA section 4, Table 3)."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import ceil, hypot, inf
from typing import Final, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from skimage.filters import threshold_otsu

from operators.localisation import video_localisation

cv2.setNumThreads(1)

Saliency = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]
Kind = Literal["max", "top", "otsu"]
_OTSU_BINS: Final = 256


@dataclass(frozen=True)
class MaskRule:
    """How saliency becomes a mask. `share` is a share of the frame's maximum (max) or of its pixels (top)."""

    kind: Kind
    share: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"unknown mask rule {self.kind!r}: use max0.5, top0.1 or otsu")
        if (self.kind == "otsu") != (self.share is None):
            raise ValueError(f"mask rule {self.kind!r} takes {'no' if self.kind == 'otsu' else 'a'} share")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"mask rule {self.kind!r}: {self.share} is not a share in (0, 1]")

    @classmethod
    def parse(cls, name: str) -> "MaskRule":
        """The rule of a `mask_rule` value: max0.5, top0.1 or otsu. ValueError for anything else."""
        if name == "otsu":
            return cls("otsu")
        for kind in ("max", "top"):
            if name.startswith(kind):
                try:
                    return cls(kind, float(name.removeprefix(kind)))
                except ValueError as error:
                    raise ValueError(f"mask rule {name!r}: after {kind} comes a share in (0, 1]") from error
        raise ValueError(f"unknown mask rule {name!r}: use max0.5, top0.1 or otsu")

    def __str__(self) -> str:
        """The value of the column `mask_rule`; `parse` reads it back."""
        return self.kind if self.share is None else f"{self.kind}{float(self.share)!r}"


DEFAULT_RULES: Final = (MaskRule("max", 0.5), MaskRule("top", 0.1), MaskRule("otsu"))


@dataclass(frozen=True)
class Consistency:
    """Table 3's figures for the masks of one video; None where a figure is not defined."""

    iou: float | None
    iou_adjusted: float | None
    tcs: float
    persistence: float | None
    rpi: float | None


def mask(saliency: Saliency, rule: MaskRule) -> Mask:
    """Highlighted pixels of one frame: saliency (H,W), finite and >= 0 -> bool (H,W). A zero is never highlighted.

    max: saliency >= share * maximum. top: the ceil(share * H * W) hottest pixels, ties in reading order, fewer where
    fewer are above zero. otsu: saliency >= Otsu's threshold (256 bins); a constant frame has an empty mask.
    """
    above_zero = saliency > 0
    if rule.share is None:
        return (saliency >= _otsu(saliency)) & above_zero
    if rule.kind == "top":
        return _hottest(saliency, rule.share) & above_zero
    return (saliency >= rule.share * saliency.max()) & above_zero


def _otsu(saliency: Saliency) -> float:
    """The edge between 256 equal bins that parts the values best; infinity for a constant frame."""
    # in doubles: numpy refuses to cut a narrow float32 range into 256 bins
    values = saliency.astype(np.float64)
    span = values.max() - values.min()
    # scikit-image gives the middle of the last bin below
    return threshold_otsu(values, nbins=_OTSU_BINS) + span / (2 * _OTSU_BINS) if span else inf


def _hottest(saliency: Saliency, share: float) -> Mask:
    """The ceil(share * n) largest of n values; among equals the first in reading order."""
    # as a decimal fraction: 0.1 * 30 in floats is above 3 and would be rounded up to 4
    wanted = ceil(Fraction(repr(float(share))) * saliency.size)
    flat = saliency.ravel()
    least = np.partition(flat, flat.size - wanted)[flat.size - wanted]
    chosen = flat > least
    ties = np.flatnonzero(flat == least)
    chosen[ties[: wanted - np.count_nonzero(chosen)]] = True
    return chosen.reshape(saliency.shape)


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


def video_metrics(saliency: Sequence[Saliency], input_size: int, rules: Sequence[MaskRule]) -> list[dict]:
    """One `metrics` row per rule, without the ids, for one video's saliency maps (h,w) in frame order.

    Each map is upsampled bilinearly (pixel centres, align_corners=False) to input_size x input_size pixels before
    its mask is taken.
    """
    size = (input_size, input_size)
    maps = [_resized(frame, size) for frame in saliency]
    rows = []
    for rule in rules:
        figures = consistency(np.stack([mask(frame, rule) for frame in maps]))
        rows.append({"mask_rule": str(rule), "n_frames": len(maps), **asdict(figures)})
    return rows


def _resized(frame: Saliency, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.resize(frame.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), np.float32)


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def measure(table: pa.Table, *, rules: tuple[str, ...]) -> pa.Table:
    """VIDEO_ROW in, VIDEO_ROW out: metrics over the masks of each video, per model, method and layer; localisation."""
    parsed = [MaskRule.parse(rule) for rule in rules]
    metrics, localisation, seconds = [], [], []
    for nested, truth in zip(table["masks"], table["truth"], strict=True):
        started = time.perf_counter()
        masks = nested.as_py()
        groups: dict[tuple[str, str, str], list[dict]] = {}
        for mask in masks:
            groups.setdefault((mask["model"], mask["method"], mask["layer"]), []).append(mask)
        rows = []
        for (model, method, layer), frames in groups.items():
            frames.sort(key=lambda mask: mask["frame"])
            maps = [np.array(each["saliency"], np.float32).reshape(each["height"], each["width"]) for each in frames]
            ids = {"model": model, "method": method, "layer": layer}
            rows += [ids | row for row in video_metrics(maps, frames[0]["input_size"], parsed)]
        metrics.append(rows)
        localisation.append(video_localisation(masks, truth.as_py()))
        seconds.append(time.perf_counter() - started)
    for name, values in (("metrics", metrics), ("localisation_frames", localisation), ("metrics_s", seconds)):
        index = table.schema.get_field_index(name)
        table = table.set_column(index, table.schema.field(index), pa.array(values, table.schema.field(index).type))
    return table
