"""Clips cut from a video, and the face's box followed through them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import cv2
import numpy as np

from operators.inputs.faces import Box, crop
from operators.inputs.view import View
from operators.video.decode import Frame, read_frames
from operators.video.sandbox import progress

#: standard deviation, in frames, of the Gaussian that smooths a face's box over time: a box that trembles is a motion
_SMOOTH_FRAMES: Final = 2.0
_SMOOTH_SPAN: Final = 17  #: frames, four standard deviations to either side
#: dlib follows nothing smaller
_LEAST_PX: Final = 8

Track = Sequence[Box]


def follow_faces(uri: str, faces: Mapping[int, Box], span: int) -> dict[int, list[Box]]:
    """For each keyframe the box of its face there and in the frames after it, `span` in all or as many as there are.

    The box is followed by dlib's correlation tracker (Danelljan et al. 2014), so that it stays with the person, and
    smoothed; it lies in the frame. It ends before a frame of another size.
    """
    wanted = {index for start in faces for index in range(start, start + span)}
    raw: dict[int, list[Box]] = {start: [] for start in faces}
    trackers: dict[int, Any] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    for frame in read_frames(uri, "rgb24", only=wanted, on_packet=progress):
        for start, face in faces.items():
            if frame.index == start:
                trackers[start], shapes[start] = _tracker(frame.image, face), frame.image.shape
                raw[start].append(face)
            elif start in trackers and frame.index < start + span and frame.image.shape == shapes[start]:
                trackers[start].update(frame.image)
                raw[start].append(_inside(trackers[start].get_position(), face, frame.image.shape))
            else:
                trackers.pop(start, None)
        progress()
    return {start: _smoothed(boxes, shapes[start]) for start, boxes in raw.items() if boxes}


def _tracker(image: np.ndarray, box: Box) -> Any:
    import dlib  # here, as in faces: who only cuts boxes needs none

    tracker = dlib.correlation_tracker()  # pyright: ignore[reportAttributeAccessIssue]
    edges = box.x, box.y, box.x + max(box.width, _LEAST_PX) - 1, box.y + max(box.height, _LEAST_PX) - 1
    tracker.start_track(image, dlib.rectangle(*edges))  # pyright: ignore[reportAttributeAccessIssue]
    return tracker


def _inside(position: Any, face: Box, shape: tuple[int, ...]) -> Box:
    return _clipped(position.left(), position.top(), position.right(), position.bottom(), face.score, shape)


def _clipped(left: float, top: float, right: float, bottom: float, score: float, shape: tuple[int, ...]) -> Box:
    height, width = shape[:2]
    x, y = (min(max(round(edge), 0), side - 1) for edge, side in ((left, width), (top, height)))
    across = max(min(round(right) + 1, width) - x, 1)
    down = max(min(round(bottom) + 1, height) - y, 1)
    return Box(x, y, across, down, score)


def _smoothed(boxes: list[Box], shape: tuple[int, ...]) -> list[Box]:
    edges = np.array([(box.x, box.y, box.x + box.width - 1, box.y + box.height - 1) for box in boxes], np.float64)
    if len(boxes) > 1:
        edges = cv2.GaussianBlur(edges, (1, _SMOOTH_SPAN), 0, sigmaY=_SMOOTH_FRAMES, borderType=cv2.BORDER_REPLICATE)
    corners = cast(list[tuple[float, float, float, float]], edges.tolist())
    return [_clipped(*own, box.score, shape) for own, box in zip(corners, boxes, strict=True)]


@dataclass
class _Clip:
    """One that is being cut; `track` has the boxes of a face's clip."""

    view: View
    start: int
    track: Track | None
    shape: tuple[int, ...] = ()
    boxes: list[Box] = field(default_factory=list)
    pixels: list[bytes] = field(default_factory=list)

    def indices(self) -> range:
        return range(self.start, self.start + self.view.span_frames, self.view.step)

    def add(self, frame: Frame) -> None:
        """Cut the next picture; a frame of another size ends the clip, which is then none."""
        self.shape = self.shape or frame.image.shape
        if frame.image.shape != self.shape:
            return
        height, width = frame.image.shape[:2]
        face = None
        if self.view.part == "face" and self.track is not None:
            face = self.track[frame.index - self.start]
        box = self.view.box(face, height, width)
        if box is not None:
            self.boxes.append(box)
            self.pixels.append(crop(frame.image, box, self.view.size).tobytes())

    def item(self) -> dict[str, Any]:
        box = self.boxes[0]
        return {
            "frame": self.start,
            "span_frames": self.view.span_frames,
            "view": str(self.view),
            "box_x": box.x,
            "box_y": box.y,
            "box_width": box.width,
            "box_height": box.height,
            "boxes": [number for each in self.boxes for number in as_numbers(each)],
            "pixels": b"".join(self.pixels),
        }


def cut_clips(uri: str, tracks: Mapping[int, Track | None], views: Sequence[View]) -> list[dict[str, Any]]:
    """The clips of `views` that begin at the keyframes of `tracks`, as dicts (`schemas.tables.INPUT`), in one pass.

    A track has the box of a face in each frame from the keyframe on; without one that goes far enough there is no clip
    of the face. A clip that the video ends before is none. Memory holds crops, not frames.
    """
    clips = [
        _Clip(view, start, track)
        for start, track in tracks.items()
        for view in views
        if view.part == "frame" or (track is not None and len(track) >= view.span_frames)
    ]
    waiting: dict[int, list[_Clip]] = {}
    for clip in clips:
        for index in clip.indices():
            waiting.setdefault(index, []).append(clip)
    if waiting:
        for frame in read_frames(uri, "rgb24", only=set(waiting), on_packet=progress):
            for clip in waiting.pop(frame.index, ()):
                clip.add(frame)
    return [clip.item() for clip in clips if len(clip.pixels) == clip.view.frames]


def as_numbers(box: Box) -> tuple[int, int, int, int]:
    """As columns of lists have a box."""
    return box.x, box.y, box.width, box.height


def boxes_of(numbers: Sequence[int]) -> list[Box]:
    """The way back from such a column."""
    corners = range(0, len(numbers), 4)
    return [Box(numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3], 1.0) for i in corners]
