"""What a model looks at, and how it is cut from frames."""

from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval

from operators.inputs.faces import Box, crop
from operators.inputs.flow import FlowParams, farneback, flow_map

#: the whole frame's middle square is cut to this share of its shorter side unless a model says otherwise
_WHOLE: Final = 1.0


#: what of a frame is looked at
Part = Literal["face", "frame"]
Share = Annotated[float, Interval(gt=0, le=1)]


@dataclass(frozen=True)
class View:
    """A square of RGB bytes, or a clip of them: of the face or of the middle of the frame, as it is or as it moves.

    `size` is its side in pixels; `share`, of the whole frame's shorter side, is the side of the square that is cut
    from its middle (timm's crop_pct). Models that want frames stretched to one aspect first say `share_of_width`: then
    that share of the width and `share` of the height become the square. A clip has `frames` pictures, every `step`-th
    of the video.
    """

    size: Annotated[int, Gt(0)]
    part: Part = "face"
    shows: Literal["picture", "flow", "clip"] = "picture"
    share: Share = _WHOLE
    share_of_width: Share | None = None
    frames: Annotated[int, Ge(1)] = 1
    step: Annotated[int, Ge(1)] = 1

    def __str__(self) -> str:
        """Under this name inputs find their model."""
        share = "" if self.share == _WHOLE else f" {self.share:g}"
        wide = "" if self.share_of_width is None else f" x {self.share_of_width:g}"
        clip = f" {self.frames}x{self.step}" if self.shows == "clip" else ""
        return f"{self.part}{share}{wide} {self.shows} {self.size}{clip}"

    @property
    def picture(self) -> "View":
        """The same as it is, where this one shows how it moves; a clip shows it as it is."""
        return replace(self, shows="picture") if self.shows == "flow" else self

    @property
    def span_frames(self) -> int:
        """How many frames of the video it takes, from its first one."""
        return {"picture": 1, "flow": 2, "clip": (self.frames - 1) * self.step + 1}[self.shows]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its bytes: (size, size, 3), of a clip (frames, size, size, 3)."""
        picture = (self.size, self.size, 3)
        return (self.frames, *picture) if self.shows == "clip" else picture

    @property
    def sides(self) -> tuple[int, ...]:
        """Of a model's input: (size, size), of a clip (frames, size, size)."""
        return self.shape[:-1]

    def box(self, face: Box | None, height: int, width: int) -> Box | None:
        """The box of a frame (height, width) that it is cut from; None where it wants a face and there is none."""
        if self.part == "face":
            return face
        if self.share_of_width is None:
            across = down = max(1, round(self.share * min(height, width)))
        else:
            across, down = max(1, round(self.share_of_width * width)), max(1, round(self.share * height))
        return Box((width - across) // 2, (height - down) // 2, across, down, 1.0)

    def cut(self, frame: np.ndarray, following: np.ndarray | None, box: Box, flow: FlowParams) -> np.ndarray | None:
        """(size, size, 3) uint8 of `box` in a frame (H, W, 3), for a clip one of its pictures; None for a flow without
        a following frame."""
        pixels = crop(frame, box, self.size)
        if self.shows != "flow":
            return pixels
        if following is None:
            return None
        return flow_map(farneback(pixels, crop(following, box, self.size), flow), flow.full_scale_px)
