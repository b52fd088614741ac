"""Where a frame was forged, as a grid over the face's crop box."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from operators.inputs.faces import Box, crop

#: side of the grid that the blending mask of a crop box is kept on
GRID: Final = 64


def truth_row(frame: int, mask: npt.NDArray[np.uint8], box: Box) -> dict[str, Any]:
    """A row of the table `truth`, without the ids, from the mask (H,W), 255 m, of a whole frame.

    A cell holds the mean of the pixels it covers (interpolated in a box smaller than the grid), rounded, so that one
    the mask barely touches (mean m below 1/510) is 0; `area` is taken from the pixels themselves.
    """
    cells = crop(mask, box, GRID)
    return {
        "frame": frame,
        "height": GRID,
        "width": GRID,
        "mask": cells.ravel(),
        "area": forged_share(mask, box),
        "areas": None,
    }


def forged_share(mask: npt.NDArray[np.uint8], box: Box) -> float:
    """Of the pixels of a box, those with m > 0."""
    inside = mask[box.y : box.y + box.height, box.x : box.x + box.width]
    return np.count_nonzero(inside) / inside.size
