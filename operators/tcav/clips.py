"""Concept clips: things found in a video and followed, as one crop that stands still and as the crops they are."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
from annotated_types import Ge, Le

from operators.inputs.clips import follow_faces
from operators.inputs.faces import Box, FaceParams, crop, find_face
from operators.video.decode import Frame, read_frames
from operators.video.sandbox import progress
from schemas.params import Seed, checked

STATIC: Final = "static"
DYNAMIC: Final = "dynamic"
RANDOM: Final = "random"
#: parts of a face in shares of its box (left, top, right, bottom): where they are in a frontal one
REGIONS: Final = {
    "eyes": (0.15, 0.2, 0.85, 0.45),
    "nose": (0.3, 0.4, 0.7, 0.7),
    "mouth": (0.25, 0.65, 0.75, 0.9),
}
FACE: Final = "face"


@checked
class ConceptParams:
    """What is cut: clips of `frames` pictures of `size` pixels, every `step`-th frame, at `per_video` places of each
    video, evenly spaced, and `random_per_video` in boxes anywhere. With `regions` parts of faces are concepts, too."""

    frames: Annotated[int, Ge(2), Le(512)] = 8
    step: Annotated[int, Ge(1), Le(64)] = 2
    size: Annotated[int, Ge(8), Le(1024)] = 56
    per_video: Annotated[int, Ge(1), Le(1000)] = 4
    random_per_video: Annotated[int, Ge(1), Le(1000)] = 8
    regions: bool = False
    seed: Seed = 0

    @property
    def span(self) -> int:
        return (self.frames - 1) * self.step + 1


@dataclass(frozen=True)
class Found:
    """A box that is somewhere in a frame; `concept` names what is in it."""

    concept: str
    frame: int
    box: Box


def concept_clips(
    uri: str, video_id: str, params: ConceptParams, boxes: Sequence[Found] | None
) -> list[dict[str, Any]]:
    """Rows (concept, kind, frame, box, pixels) of one video: of the faces in it, or of `boxes` where they are known.

    Random clips are drawn from the seed and `video_id`. Raises SampleError as
    `operators.video.decode.read_frames` does.
    """
    last = _last(uri, params)
    if last < 0:
        return []
    found = list(boxes) if boxes is not None else _faces(uri, params)
    found = [each for each in found if each.frame <= last]
    rows = []
    for concept in dict.fromkeys(each.concept for each in found):
        tracks = follow_faces(uri, {each.frame: each.box for each in found if each.concept == concept}, params.span)
        for start, track in tracks.items():
            if len(track) == params.span:
                for name, own in _parts(concept, track, params.regions):
                    rows += _clip(uri, name, start, own, params)
    return rows + _random(uri, last, params, np.random.default_rng([params.seed, zlib.crc32(video_id.encode())]))


def looked_at(uri: str, params: ConceptParams) -> Iterator[Frame]:
    """The frames of a video in which things are looked for."""
    last = _last(uri, params)
    starts = set(np.linspace(0, last, params.per_video).astype(int).tolist()) if last >= 0 else set()
    for frame in read_frames(uri, "rgb24", only=starts, on_packet=progress):
        yield frame
        progress()


def frames_looked_at(uri: str, params: ConceptParams) -> list[tuple[int, np.ndarray]]:
    """The same as (index, image), to be sent to where a detector is."""
    return [(frame.index, frame.image) for frame in looked_at(uri, params)]


def _last(uri: str, params: ConceptParams) -> int:
    """Where the last clip can begin; below 0 in a video that is too short."""
    return sum(1 for _ in read_frames(uri, "gray", on_packet=progress)) - params.span


def _faces(uri: str, params: ConceptParams) -> list[Found]:
    found = []
    for frame in looked_at(uri, params):
        face = find_face(frame.image, FaceParams())
        if face is not None:
            found.append(Found(FACE, frame.index, face))
    return found


def _parts(concept: str, track: list[Box], regions: bool) -> list[tuple[str, list[Box]]]:
    parts = [(concept, track)]
    if regions and concept == FACE:
        parts += [(name, [_part(box, *edges) for box in track]) for name, edges in REGIONS.items()]
    return parts


def _part(box: Box, left: float, top: float, right: float, bottom: float) -> Box:
    x, y = box.x + int(left * box.width), box.y + int(top * box.height)
    return Box(x, y, max(int((right - left) * box.width), 1), max(int((bottom - top) * box.height), 1), box.score)


def _clip(uri: str, concept: str, start: int, track: list[Box], params: ConceptParams) -> list[dict[str, Any]]:
    """The dynamic clip and the static one."""
    pictures = _pictures(uri, start, track, params)
    if len(pictures) < params.frames:
        return []
    return [
        _row(concept, DYNAMIC, start, track[0], pictures),
        _row(concept, STATIC, start, track[0], [pictures[0]] * params.frames),
    ]


def _random(uri: str, last: int, params: ConceptParams, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Boxes anywhere, of any size, that stay where they are while the video goes on."""
    rows = []
    for _ in range(params.random_per_video):
        start, shares = int(rng.integers(0, last + 1)), rng.random(3)
        pictures: list[np.ndarray] = []
        box = Box(0, 0, 1, 1, 1.0)
        for frame in read_frames(uri, "rgb24", only=range(start, start + params.span, params.step), on_packet=progress):
            height, width = frame.image.shape[:2]
            side = max(int((0.2 + 0.6 * shares[0]) * min(height, width)), 8)
            box = Box(int(shares[1] * (width - side)), int(shares[2] * (height - side)), side, side, 1.0)
            pictures.append(crop(frame.image, box, params.size))
        if len(pictures) == params.frames:
            rows.append(_row(RANDOM, RANDOM, start, box, pictures))
    return rows


def _pictures(uri: str, start: int, track: list[Box], params: ConceptParams) -> list[np.ndarray]:
    only = range(start, start + params.span, params.step)
    return [
        crop(frame.image, track[frame.index - start], params.size)
        for frame in read_frames(uri, "rgb24", only=only, on_packet=progress)
    ]


def _row(concept: str, kind: str, start: int, box: Box, pictures: list[np.ndarray]) -> dict[str, Any]:
    place = {"frame": start, "x": box.x, "y": box.y, "width": box.width, "height": box.height}
    return {"concept": concept, "kind": kind} | place | {"pixels": b"".join(each.tobytes() for each in pictures)}
