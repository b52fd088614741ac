"""Dense optical flow (Farneback 2003) between two crops, as a colour picture a classifier can read."""

from typing import Annotated

import cv2
import numpy as np
from annotated_types import Ge, Le

from schemas.params import checked

cv2.setNumThreads(1)


@checked
class FlowParams:
    """Parameters of cv2.calcOpticalFlowFarneback, and the scale of the picture."""

    pyramid_scale: Annotated[float, Ge(0.1), Le(0.9)] = 0.5
    levels: Annotated[int, Ge(1), Le(16)] = 3
    window_px: Annotated[int, Ge(3), Le(255)] = 15
    iterations: Annotated[int, Ge(1), Le(100)] = 3
    poly_n_px: Annotated[int, Ge(3), Le(31)] = 5
    poly_sigma: Annotated[float, Ge(0.5), Le(10)] = 1.2
    #: displacement that is drawn at full brightness. Fixed, not the frame's own maximum: otherwise a still face whose
    #: flow is noise looks as fast as a shaken head, and speeds of two frames cannot be compared.
    full_scale_px: Annotated[float, Ge(0.1), Le(1000)] = 8.0


def farneback(crop: np.ndarray, next_crop: np.ndarray, params: FlowParams) -> np.ndarray:
    """Displacement (dx, dy) in pixels from `crop` to `next_crop`, both uint8 RGB (H,W,3); float32 (H,W,2)."""
    return cv2.calcOpticalFlowFarneback(
        cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY),
        cv2.cvtColor(next_crop, cv2.COLOR_RGB2GRAY),
        None,  # type: ignore[arg-type]
        pyr_scale=params.pyramid_scale,
        levels=params.levels,
        winsize=params.window_px,
        iterations=params.iterations,
        poly_n=params.poly_n_px,
        poly_sigma=params.poly_sigma,
        flags=0,
    )


def flow_map(flow: np.ndarray, full_scale_px: float) -> np.ndarray:
    """Flow (H,W,2) in pixels as uint8 RGB (H,W,3): angle (0 to the right, then down) -> hue, length -> value."""
    length, angle_deg = cv2.cartToPolar(flow[..., 0], flow[..., 1], angleInDegrees=True)
    hue = np.rint(angle_deg / 2)  # OpenCV counts hue in steps of two degrees, and takes 180 for 0
    value = np.minimum(np.rint(length * (255 / full_scale_px)), 255)
    hsv = np.stack([hue, np.full_like(hue, 255), value], axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
