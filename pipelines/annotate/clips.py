"""The clips that people are shown: which ones, in which order, and the bytes a browser plays."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import numpy as np

from operators.storage.files import on_disk
from operators.video.decode import read_frames
from operators.video.encode import write_video
from operators.video.sandbox import Limits
from schemas.tables import FAKE

#: a clip is as long at most, from a second before the first face on
_SECONDS: Final = 10
_LEAD_S: Final = 1.0
_MAX_SIDE_PX: Final = 640
_CRF: Final = 26
_DEFAULT_FPS: Final = 25.0
#: clips between the first showing and a repeat, at least
_APART: Final = 5


@dataclass(frozen=True)
class Shown:
    """One place in an annotator's order: a clip by its token, for the first time or again."""

    clip: str
    showing: int


def token(video_id: str) -> str:
    """What a page calls a video: its id holds the file's name, which may say what the video is."""
    return "clip-" + hashlib.sha256(f"annotate {video_id}".encode()).hexdigest()[:12]


def choose(videos: list[dict[str, Any]], n: int) -> list[dict[str, Any]]:
    """n rows of `videos` (video_id, label), half of them forged where there are as many, by hash of their ids."""
    drawn = sorted(videos, key=lambda video: _draw("choose", video["video_id"]))
    forged = [video for video in drawn if video["label"] == FAKE]
    others = [video for video in drawn if video["label"] != FAKE]
    n_forged = max(min(len(forged), (n + 1) // 2), n - len(others))
    return forged[:n_forged] + others[: n - n_forged]


def order(video_ids: list[str], annotator: str, seed: int, repeats: int) -> list[Shown]:
    """Every video once, `repeats` of them again, in the annotator's own order; a repeat follows at least five clips
    later where there are as many."""
    once = sorted(video_ids, key=lambda each: _draw(seed, annotator, each))
    shown = [Shown(token(each), 1) for each in once]
    early = once[: max(repeats, len(once) - _APART)]
    again = sorted(early, key=lambda each: _draw(seed, annotator, "again", each))[:repeats]
    for each in again:
        first = next(place for place, item in enumerate(shown) if item == Shown(token(each), 1))
        earliest = min(first + _APART + 1, len(shown))
        place = earliest + int(_draw(seed, annotator, "place", each), 16) % (len(shown) - earliest + 1)
        shown.insert(place, Shown(token(each), 2))
    return shown


def play(uri: str, fps: float | None, first_face_s: float) -> bytes:
    """An MP4 (H.264, no sound, no name) of at most ten seconds with the first face in it, for a page.

    Raises SampleError as `read_frames` does.
    """
    start = max(0.0, first_face_s - _LEAD_S)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with on_disk(uri, Limits.fetch_mb) as file:
            write_video(path, _frames(file, start), fps or _DEFAULT_FPS, _CRF)
        return path.read_bytes()


def _frames(uri: str, start_s: float) -> Iterator[np.ndarray]:
    size: tuple[int, int] | None = None
    for frame in read_frames(uri, "rgb24"):
        if frame.time_s < start_s:
            continue
        if frame.time_s >= start_s + _SECONDS:
            return
        if size is None:
            height, width = frame.image.shape[:2]
            scale = min(1.0, _MAX_SIDE_PX / max(height, width))
            size = max(1, round(width * scale)), max(1, round(height * scale))
        yield cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)


def _draw(*what: object) -> str:
    """A number that looks drawn, the same on every machine."""
    return hashlib.sha256(repr(what).encode()).hexdigest()
