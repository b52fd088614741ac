"""What a model looks at, and how it is cut from frames."""

from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import numpy as np
from annotated_types import Gt, Interval

from operators.inputs.faces import Box, crop
from operators.inputs.flow import FlowParams, farneback, flow_map

#: the whole frame's middle square is cut to this share of its shorter side unless a model says otherwise
_WHOLE: Final = 1.0


#: what of a frame is looked at
Part = Literal["face", "frame"]


@dataclass(frozen=True)
class View:
    """A square picture of RGB bytes: of the face or of the middle of the frame, as it is or as it moves.

    `size` is its side in pixels; `share`, of the whole frame's shorter side, is the side of the square that is cut
    from its middle (timm's crop_pct).
    """

    size: Annotated[int, Gt(0)]
    part: Part = "face"
    shows: Literal["picture", "flow"] = "picture"
    share: Annotated[float, Interval(gt=0, le=1)] = _WHOLE

    def __str__(self) -> str:
        """Under this name inputs find their model."""
        share = "" if self.share == _WHOLE else f" {self.share:g}"
        return f"{self.part}{share} {self.shows} {self.size}"

    @property
    def picture(self) -> "View":
        """The same as it is, where this one shows how it moves."""
        return replace(self, shows="picture")

    @property
    def span_frames(self) -> int:
        """How many frames it is cut from."""
        return 2 if self.shows == "flow" else 1

    def box(self, face: Box | None, height: int, width: int) -> Box | None:
        """The box of a frame (height, width) that it is cut from; None where it wants a face and there is none."""
        if self.part == "face":
            return face
        side = max(1, round(self.share * min(height, width)))
        return Box((width - side) // 2, (height - side) // 2, side, side, 1.0)

    def cut(self, frame: np.ndarray, following: np.ndarray | None, box: Box, flow: FlowParams) -> np.ndarray | None:
        """(size, size, 3) uint8 of `box` in a frame (H, W, 3); None for a flow without a following frame."""
        pixels = crop(frame, box, self.size)
        if self.shows == "picture":
            return pixels
        if following is None:
            return None
        return flow_map(farneback(pixels, crop(following, box, self.size), flow), flow.full_scale_px)
