"""One genuine video in; out the same video encoded anew, forgeries of it, and where they were forged."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from annotated_types import Ge, Le

from operators.forging.blend import SELF_BLENDED, ForgeParams, Rectangle, draw, forge_clip, forge_masks
from operators.inputs.faces import FaceParams, find_face
from operators.storage.files import on_disk
from operators.video.decode import FrameReader, read_frames
from operators.video.encode import DEFAULT_CRF, write_masks, write_video
from operators.video.sandbox import Limits, kept_sandbox, progress
from schemas.errors import SampleError
from schemas.params import Seed, checked
from schemas.records import FORGED
from schemas.tables import STATUS_ERROR, STATUS_OK

#: rates outside of this (a picture, a slide show, a broken header) are brought into it
_FPS_RANGE: Final = (1.0, 120.0)
_FALLBACK_FPS: Final = 25.0


@checked
class ForgeriesParams:
    """Everything that decides the files made of one video, but for their number."""

    seed: Seed = 0
    max_frames: Annotated[int, Ge(1)] | None = None  #: only so many frames from the start; None: all
    detect_every_frames: Annotated[int, Ge(1), Le(1000)] = 5  #: between, the face's box is interpolated
    #: of the frames looked at; below, a video is left alone
    min_face_share: Annotated[float, Ge(0), Le(1)] = 0.5
    crf: Annotated[int, Ge(0), Le(51)] = DEFAULT_CRF
    faces: FaceParams = field(default_factory=lambda: FaceParams(margin=1.0))
    forge: ForgeParams = field(default_factory=ForgeParams)

    @property
    def digest(self) -> str:
        """8 hexadecimal digits that change with every parameter."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:8]


class Names(NamedTuple):
    """Paths of the files of one video, relative to the folder they are written to."""

    real: str
    fakes: list[str]
    masks: list[str]


def names(video_id: str, per_video: int, params: ForgeriesParams) -> Names:
    """The same for the same video and parameters; more forgeries of a video leave the names of the first ones."""
    stem = f"{quote(video_id, safe='')}-{params.digest}"
    forged = [f"{stem}-{number}" for number in range(per_video)]
    return Names(f"real/{stem}.mp4", [f"fake/{name}.mp4" for name in forged], [f"masks/{name}.mkv" for name in forged])


def forge_videos(table: pa.Table, *, out: Path, per_video: int, params: ForgeriesParams, limits: Limits) -> pa.Table:
    """MANIFEST in, FORGED out; what cannot be forged becomes a row that says so. Each video in a sandbox."""
    rows = []
    for video in table.to_pylist():
        started = time.perf_counter()
        row = {"video_id": video["video_id"], "status": STATUS_OK, "manipulations": []}
        try:
            with on_disk(video["uri"], limits.fetch_mb) as file:
                row["manipulations"] = kept_sandbox(limits).run(
                    forge_video, file, video["video_id"], out, per_video, params
                )
        except SampleError as error:
            row |= {"status": STATUS_ERROR, "error_code": error.code, "error_detail": error.detail}
        rows.append(row | {"forge_s": time.perf_counter() - started})
    return pa.Table.from_pylist(rows, schema=FORGED)


def forge_video(uri: str, video_id: str, out: Path, per_video: int, params: ForgeriesParams) -> list[str]:
    """Write the files of `names` below `out` that are not there yet; return the name of each forgery's manipulation.

    All are encoded alike from the decoded frames, their sides made even by leaving out the last row or column. The
    video is decoded once to find the face and once for each file, so that memory does not grow with its length. What
    is forged follows from the seed, the `video_id` and the forgery's number alone.
    Raises SampleError as `operators.video.read_frames` does, no_face and size_changes.
    """
    files = names(video_id, per_video, params)
    seeds = [_seed(params.seed, video_id, number) for number in range(per_video)]
    missing = {name for name in (files.real, *files.fakes, *files.masks) if not (out / name).is_file()}
    if missing:
        seen = _look(uri, params)
        if files.real in missing:
            write_video(out / files.real, _frames(uri, params, seen.shape), seen.fps, params.crf)
        for seed, fake, masks in zip(seeds, files.fakes, files.masks, strict=True):
            if masks in missing:
                write_masks(out / masks, _masks(seen, params, seed), seen.fps)
            if fake in missing:
                write_video(out / fake, _forged(uri, seen, params, seed), seen.fps, params.crf)
    faults = [draw(params.forge, 1, seed).fault for seed in seeds]  # drawn before anything that depends on the length
    return [SELF_BLENDED if fault == "none" else f"{SELF_BLENDED}-{fault}" for fault in faults]


@dataclass(frozen=True)
class _Seen:
    """What a first look through a video finds: the face's box in each frame, (H, W) of the frames, their rate."""

    boxes: list[Rectangle | None]
    shape: tuple[int, int]
    fps: float


def _look(uri: str, params: ForgeriesParams) -> _Seen:
    boxes: list[Rectangle | None] = []
    first = (0, 0)
    reader = _reader(uri, params)
    for frame in reader:
        height, width = frame.image.shape[:2]
        first = (height, width) if frame.index == 0 else first
        if (height, width) != first:
            raise SampleError("size_changes", f"{first[1]}x{first[0]}, and frame {frame.index} is {width}x{height}")
        face = find_face(frame.image, params.faces) if frame.index % params.detect_every_frames == 0 else None
        progress()
        boxes.append(None if face is None else (face.x, face.y, face.width, face.height))
    n_looked = len(range(0, len(boxes), params.detect_every_frames))
    n_found = len(boxes) - boxes.count(None)
    if n_found < max(1, params.min_face_share * n_looked):
        raise SampleError("no_face", f"a face in {n_found} of {n_looked} frames looked at")
    fps = float(np.clip(reader.probe.fps or _FALLBACK_FPS, *_FPS_RANGE))
    return _Seen(boxes, (first[0] // 2 * 2, first[1] // 2 * 2), fps)


def _frames(uri: str, params: ForgeriesParams, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    for frame in _reader(uri, params):
        yield frame.image[: shape[0], : shape[1]]


def _reader(uri: str, params: ForgeriesParams) -> FrameReader:
    only = None if params.max_frames is None else range(params.max_frames)
    return read_frames(uri, "rgb24", only=only, on_packet=progress)


def _masks(seen: _Seen, params: ForgeriesParams, seed: int) -> Iterator[np.ndarray]:
    for mask in forge_masks(seen.shape, seen.boxes, params.forge, seed):
        progress()
        yield mask


def _forged(uri: str, seen: _Seen, params: ForgeriesParams, seed: int) -> Iterator[np.ndarray]:
    for forged, _ in forge_clip(_frames(uri, params, seen.shape), seen.boxes, params.forge, seed):
        yield forged


def _seed(seed: int, video_id: str, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {video_id} {number}".encode()).digest()[:8])
