"""One video in, its keyframes, faces and model inputs out."""

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, field
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from operators.inputs.clips import Track, as_numbers, boxes_of, cut_clips, follow_faces
from operators.inputs.faces import Box, FaceParams, find_face
from operators.inputs.flow import FlowParams
from operators.inputs.truth import forged_share, truth_row
from operators.inputs.view import View
from operators.storage.files import on_disk
from operators.video.decode import Frame, read_frames
from operators.video.fingerprint import fingerprint
from operators.video.keyframes import ChangeSignal, KeyframeParams, pick_keyframes
from operators.video.sandbox import Limits, kept_sandbox, progress
from schemas.errors import TRIED_TWICE, SampleError
from schemas.params import checked
from schemas.tables import NESTED, STATUS_ERROR, STATUS_NO_FACE, STATUS_OK, VIDEO_ROW

if TYPE_CHECKING:  # the children that cut videos import this file, and to read a lake takes half as long again
    from operators.kept import Kept

T = TypeVar("T")


@checked
class PrepareParams:
    """Everything that decides what is cut from a video."""

    keyframes: KeyframeParams = field(default_factory=KeyframeParams)
    faces: FaceParams = field(default_factory=FaceParams)
    flow: FlowParams = field(default_factory=FlowParams)


def prepare(
    table: pa.Table, *, params: PrepareParams, limits: Limits, views: tuple[View, ...], kept: tuple["Kept", ...] = ()
) -> pa.Table:
    """MANIFEST in, VIDEO_ROW out; what cannot be decoded becomes a row that says so. Each video in a sandbox.

    What one of `kept` has of a video, cut by the same `params`, is not cut again.
    """
    empty = {name: None for name in VIDEO_ROW.names} | {"inputs": []} | {each.name: [] for each in NESTED}
    rows = []
    for video in table.to_pylist():
        started = time.perf_counter()
        try:
            known = next(filter(None, (each.video(video, views) for each in kept)), None)
            found = _tried_twice(_prepare, video, params, views, limits) if known is None else known
        except SampleError as error:
            found = {"status": STATUS_ERROR, "error_stage": "prepare"}
            found |= {"error_code": error.code, "error_detail": error.detail}
        rows.append(empty | video | found | {"prepare_s": time.perf_counter() - started})
    return pa.Table.from_pylist(rows, schema=VIDEO_ROW)


def recut(
    table: pa.Table,
    *,
    flows: Mapping[str, FlowParams],
    limits: Limits,
    views: tuple[View, ...],
    kept: "Kept | None" = None,
) -> pa.Table:
    """VIDEO_ROW in and out: `views` cut at the keyframes and boxes that `frames` names.

    `flows` are the flow's parameters by video. Nothing is detected, so the inputs are those that were cut when the
    frames were found; what their run `kept` is not cut again. What cannot be decoded or has changed becomes a row that
    says so.
    """
    rows = []
    for video in table.to_pylist():
        args = video["frames"], flows[video["video_id"]], views
        try:
            known = None if kept is None else kept.inputs(video["video_id"], views)
            found = {"inputs": _tried_twice(_recut, video["uri"], limits, *args) if known is None else known}
        except SampleError as error:
            found = {"status": STATUS_ERROR, "error_stage": "recut"}
            found |= {"error_code": error.code, "error_detail": error.detail}
        rows.append(video | found)
    return pa.Table.from_pylist(rows, schema=VIDEO_ROW)


def _prepare(video: dict[str, Any], params: PrepareParams, views: tuple[View, ...], limits: Limits) -> dict[str, Any]:
    """`prepare_video` in a sandbox, of files on disk."""
    with on_disk(video["uri"], limits.fetch_mb) as file, _truth_on_disk(video["truth_uri"], limits) as truth:
        return kept_sandbox(limits).run(prepare_video, file, params, views, truth, limits.kept_mb << 20)


@contextmanager
def _truth_on_disk(uri: str | None, limits: Limits) -> Iterator[str | None]:
    with ExitStack() as stack:
        try:
            file = None if uri is None else stack.enter_context(on_disk(uri, limits.fetch_mb))
        except SampleError as error:
            raise SampleError("truth_unreadable", f"{uri}: {error}") from error
        yield file


def _recut(uri: str, limits: Limits, *arguments: Any) -> list[dict[str, Any]]:
    """`recut_video` in a sandbox, of a file on disk."""
    with on_disk(uri, limits.fetch_mb) as file:
        return kept_sandbox(limits).run(recut_video, file, *arguments)


def _tried_twice(work: Callable[..., T], *arguments: Any) -> T:
    """What `work` gives, tried a second time where the machine may have failed and not the file: a child that the
    kernel kills for want of memory looks like one that a broken file has killed."""
    try:
        return work(*arguments)
    except SampleError as error:
        if error.code not in TRIED_TWICE:
            raise
        return work(*arguments)


def recut_video(
    uri: str, frames: list[dict[str, Any]], flow: FlowParams, views: tuple[View, ...]
) -> list[dict[str, Any]]:
    """The `inputs` of `prepare_video` at keyframes and face boxes that are known: rows of table `frames`.

    Raises SampleError as `operators.video.decode.read_frames` does, and changed for a file without one of the frames
    or boxes.
    """
    faces = {row["frame"]: _face(row) for row in frames if row["status"] == STATUS_OK}
    if not faces:
        return []
    clips = _clips(views)
    tracks: dict[int, Track | None] = {
        row["frame"]: None if row.get("track") is None else boxes_of(row["track"])
        for row in frames
        if row["frame"] in faces
    }
    pictures, missing = [], set(faces)
    frames_of_video = read_frames(uri, only=_and_next(faces), on_packet=progress)
    for frame, following in _with_next(frames_of_video, faces):
        face = faces[frame.index]
        height, width = frame.image.shape[:2]
        if face is not None and (face.y + face.height > height or face.x + face.width > width):
            raise SampleError("changed", f"frame {frame.index} is too small for the face box that is known of it")
        pictures += _cut(frame, following, face, views, flow)
        missing.discard(frame.index)
    if missing:
        raise SampleError("changed", f"no frame {min(missing)}, which was a keyframe")
    return pictures + cut_clips(uri, tracks, clips)


def _clips(views: tuple[View, ...]) -> tuple[View, ...]:
    return tuple(view for view in views if view.shows == "clip")


def prepare_video(
    uri: str, params: PrepareParams, views: tuple[View, ...], truth_uri: str | None = None, keep_bytes: int = 0
) -> dict[str, Any]:
    """The probe columns and `status` (ok, no_face) of table `videos`, with `frames`, `truth` and `inputs` nested.

    `frames` holds one dict per keyframe (columns of table `frames`), `inputs` one dict (`schemas.tables.INPUT`) per
    keyframe and view that could be cut from it; a flow map needs a next frame, of the same size. Faces are looked for
    where a view or the truth needs them, and followed through the clips that show them. A video of more than
    `keep_bytes`, as it is decoded, is decoded twice, first for the keyframes, then up to the last of them, so that
    memory does not grow with its length; clips take one more pass or two. `truth` is empty without a `truth_uri`.
    Raises SampleError as `operators.video.decode.read_frames` does, truth_unreadable and truth_mismatch.
    """
    reader = read_frames(uri, "gray", on_packet=progress, keep_bytes=keep_bytes)
    signal = ChangeSignal(params.keyframes)
    for frame in reader:
        signal.update(frame.image)
    span = max((view.span_frames for view in views), default=1)
    indices, scores = pick_keyframes(signal.values(), params.keyframes, span)
    keyframes = dict(zip(indices.tolist(), scores.tolist(), strict=True))
    wants_faces = truth_uri is not None or any(view.part == "face" for view in views)
    rows, pictures, faces = [], [], {}
    for frame, following in _with_next(reader.again("rgb24", _and_next(keyframes)), keyframes):
        face = find_face(frame.image, params.faces) if wants_faces else None
        progress()
        if face is not None:
            faces[frame.index] = face, frame.image.shape[:2]
        cut = _cut(frame, following, face, views, params.flow)
        pictures += cut
        usable = any(view.box(face, *frame.image.shape[:2]) is not None for view in views)
        rows.append(_frame_row(frame, keyframes[frame.index], face, usable, usable and following is not None))
    pictures += _cut_clips(uri, rows, {index: face for index, (face, _) in faces.items()}, _clips(views))
    status = STATUS_OK if any(row["status"] == STATUS_OK for row in rows) else STATUS_NO_FACE
    truth = [] if truth_uri is None else _truth(truth_uri, faces, rows)
    return {**asdict(reader.probe), "status": status, "frames": rows, "truth": truth, "inputs": pictures}


def _cut_clips(
    uri: str, rows: list[dict[str, Any]], faces: dict[int, Box], views: tuple[View, ...]
) -> list[dict[str, Any]]:
    """The clips of a video, whose faces are followed; where, the column `track` of its frames is told."""
    span = max((view.span_frames for view in views if view.part == "face"), default=0)
    tracks = follow_faces(uri, faces, span) if span and faces else {}
    for row in rows:
        if row["frame"] in tracks:
            row["track"] = [number for box in tracks[row["frame"]] for number in as_numbers(box)]
    return cut_clips(uri, {row["frame"]: tracks.get(row["frame"]) for row in rows}, views)


def _and_next(keyframes: Iterable[int]) -> set[int]:
    return {index + step for index in keyframes for step in (0, 1)}


def _with_next(frames: Iterable[Frame], keyframes: Container[int]) -> Iterator[tuple[Frame, Frame | None]]:
    """Each keyframe with the frame after it; None after the last frame of the video and before one of another size."""
    keyframe: Frame | None = None
    for frame in frames:
        if keyframe is not None:
            yield keyframe, frame if frame.image.shape == keyframe.image.shape else None
        keyframe = frame if frame.index in keyframes else None
    if keyframe is not None:
        yield keyframe, None


def _cut(
    frame: Frame, following: Frame | None, face: Box | None, views: tuple[View, ...], flow: FlowParams
) -> list[dict[str, Any]]:
    """The views of one keyframe that can be cut."""
    pictures = []
    height, width = frame.image.shape[:2]
    for view in (view for view in views if view.shows != "clip"):
        box = view.box(face, height, width)
        if box is None:
            continue
        pixels = view.cut(frame.image, None if following is None else following.image, box, flow)
        if pixels is not None:
            pictures.append(
                {
                    "frame": frame.index,
                    "span_frames": view.span_frames,
                    "view": str(view),
                    "box_x": box.x,
                    "box_y": box.y,
                    "box_width": box.width,
                    "box_height": box.height,
                    "boxes": None,
                    "pixels": pixels.tobytes(),
                }
            )
    return pictures


def _truth(
    uri: str, faces: dict[int, tuple[Box, tuple[int, ...]]], frames: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of table `truth` for the frames with a face (box and shape), from the mask video of the same frames; where
    their `track` goes on, how much is forged there."""
    if not faces:
        return []
    tracks = {row["frame"]: boxes_of(row["track"]) for row in frames if row["track"] is not None}
    rows: list[dict[str, Any]] = []
    areas: dict[int, list[float]] = {start: [] for start in tracks}
    wanted = {start + index for start, track in tracks.items() for index in range(len(track))} | set(faces)
    try:
        for mask in read_frames(uri, "gray", only=wanted, on_packet=progress):
            for start, (box, shape) in faces.items():
                after, track = mask.index - start, tracks.get(start, ())
                if not 0 <= after < max(1, len(track)):
                    continue
                if mask.image.shape != shape:
                    height, width = mask.image.shape
                    detail = f"frame {mask.index} is {shape[1]}x{shape[0]}, and {width}x{height} in {uri}"
                    raise SampleError("truth_mismatch", detail)
                if track:
                    areas[start].append(forged_share(mask.image, track[after]))
                if not after:
                    rows.append(truth_row(start, mask.image, box))
    except SampleError as error:
        if error.code == "truth_mismatch":
            raise
        raise SampleError("truth_unreadable", f"{uri}: {error}") from error
    if len(rows) < len(faces) or any(len(areas[start]) < len(track) for start, track in tracks.items()):
        raise SampleError("truth_mismatch", f"{uri} ends before frame {max(wanted)}")
    return [row | {"areas": areas.get(row["frame"])} for row in rows]


def _frame_row(frame: Frame, score: float, face: Box | None, usable: bool, has_flow: bool) -> dict[str, Any]:
    return {
        "frame": frame.index,
        "time_s": frame.time_s,
        "keyframe_score": score,
        "status": STATUS_OK if usable else STATUS_NO_FACE,
        "face_x": None if face is None else face.x,
        "face_y": None if face is None else face.y,
        "face_width": None if face is None else face.width,
        "face_height": None if face is None else face.height,
        "face_score": None if face is None else face.score,
        "has_flow": has_flow,
        "fingerprint": fingerprint(frame.image),
        "track": None,
    }


def _face(row: dict[str, Any]) -> Box | None:
    """The face's box in a row of table `frames`; None where it has none."""
    if row["face_x"] is None:
        return None
    return Box(row["face_x"], row["face_y"], row["face_width"], row["face_height"], row["face_score"])
