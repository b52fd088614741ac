"""One video in, its keyframes, faces and model inputs out."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa

from operators.inputs.faces import Box, FaceParams, crop, find_face
from operators.inputs.flow import FlowParams, farneback, flow_map
from operators.inputs.truth import truth_row
from operators.video.decode import Frame, read_frames
from operators.video.keyframes import ChangeSignal, KeyframeParams, pick_keyframes
from operators.video.sandbox import Limits, kept_sandbox, progress
from schemas.errors import SampleError
from schemas.params import checked
from schemas.tables import NESTED, STATUS_ERROR, STATUS_NO_FACE, STATUS_OK, VIDEO_ROW


@checked
class PrepareParams:
    """Everything that decides what is cut from a video."""

    keyframes: KeyframeParams = field(default_factory=KeyframeParams)
    faces: FaceParams = field(default_factory=FaceParams)
    flow: FlowParams = field(default_factory=FlowParams)


@dataclass(frozen=True)
class ModelInput:
    """A picture some model wants: the face ("crop") or its motion ("flow"), `size` pixels square."""

    kind: Literal["crop", "flow"]
    size: int


def prepare(table: pa.Table, *, params: PrepareParams, limits: Limits, inputs: tuple[ModelInput, ...]) -> pa.Table:
    """MANIFEST in, VIDEO_ROW out; what cannot be decoded becomes a row that says so. Each video in a sandbox."""
    empty = {name: None for name in VIDEO_ROW.names} | {"inputs": []} | {each.name: [] for each in NESTED}
    rows = []
    for video in table.to_pylist():
        started = time.perf_counter()
        try:
            found = kept_sandbox(limits).run(prepare_video, video["uri"], params, inputs, video["truth_uri"])
        except SampleError as error:
            found = {"status": STATUS_ERROR, "error_stage": "prepare"}
            found |= {"error_code": error.code, "error_detail": error.detail}
        rows.append(empty | video | found | {"prepare_s": time.perf_counter() - started})
    return pa.Table.from_pylist(rows, schema=VIDEO_ROW)


def recut(
    table: pa.Table, *, flows: Mapping[str, FlowParams], limits: Limits, inputs: tuple[ModelInput, ...]
) -> pa.Table:
    """VIDEO_ROW in and out: `inputs` cut at the keyframes and boxes that `frames` names.

    `flows` are the flow's parameters by video. Nothing is detected, so the inputs are those that were cut when the
    frames were found. What cannot be decoded or has changed becomes a row that says so.
    """
    rows = []
    for video in table.to_pylist():
        flow = flows[video["video_id"]]
        try:
            found = {"inputs": kept_sandbox(limits).run(recut_video, video["uri"], video["frames"], flow, inputs)}
        except SampleError as error:
            found = {"status": STATUS_ERROR, "error_stage": "prepare"}
            found |= {"error_code": error.code, "error_detail": error.detail}
        rows.append(video | found)
    return pa.Table.from_pylist(rows, schema=VIDEO_ROW)


def recut_video(
    uri: str, frames: list[dict[str, Any]], flow: FlowParams, inputs: tuple[ModelInput, ...]
) -> list[dict[str, Any]]:
    """The `inputs` of `prepare_video` at keyframes and boxes that are known: rows of table `frames`.

    Raises SampleError as `operators.video.read_frames` does, and changed for a file without one of the frames or boxes.
    """
    boxes = {row["frame"]: _box(row) for row in frames if row["status"] == STATUS_OK}
    pictures, missing = [], set(boxes)
    for frame, following in _with_next(uri, set(boxes)):
        box = boxes[frame.index]
        if box.y + box.height > frame.image.shape[0] or box.x + box.width > frame.image.shape[1]:
            raise SampleError("changed", f"frame {frame.index} is too small for the face box that is known of it")
        pictures += _cut(frame, following, box, inputs, flow)
        missing.discard(frame.index)
    if missing:
        raise SampleError("changed", f"no frame {min(missing)}, which was a keyframe")
    return pictures


def prepare_video(
    uri: str, params: PrepareParams, inputs: tuple[ModelInput, ...], truth_uri: str | None = None
) -> dict[str, Any]:
    """The probe columns and `status` (ok, no_face) of table `videos`, with `frames`, `truth` and `inputs` nested.

    `frames` holds one dict per keyframe (columns of table `frames`), `inputs` one dict (`schemas.tables.INPUT`) per
    keyframe with a face and wanted input; the flow to the next frame needs one, of the same size. The video is decoded
    twice, first for the keyframes, then up to the last of them, so that memory does not grow with its length.
    `truth` is empty without a `truth_uri`. Raises SampleError as `operators.video.read_frames` does, truth_unreadable
    and truth_mismatch.
    """
    reader = read_frames(uri, "gray", on_packet=progress)
    signal = ChangeSignal(params.keyframes)
    for frame in reader:
        signal.update(frame.image)
    indices, scores = pick_keyframes(signal.values(), params.keyframes)
    keyframes = dict(zip(indices.tolist(), scores.tolist(), strict=True))
    rows, pictures, faces = [], [], {}
    for frame, following in _with_next(uri, set(keyframes)):
        box = find_face(frame.image, params.faces)
        progress()
        if box is not None:
            faces[frame.index] = box, frame.image.shape[:2]
            pictures += _cut(frame, following, box, inputs, params.flow)
        rows.append(_frame_row(frame, keyframes[frame.index], box, box is not None and following is not None))
    status = STATUS_OK if any(row["status"] == STATUS_OK for row in rows) else STATUS_NO_FACE
    truth = [] if truth_uri is None else _truth(truth_uri, faces)
    return {**asdict(reader.probe), "status": status, "frames": rows, "truth": truth, "inputs": pictures}


def _with_next(uri: str, keyframes: set[int]) -> Iterator[tuple[Frame, Frame | None]]:
    """Each keyframe with the frame after it; None after the last frame of the video and before one of another size."""
    keyframe: Frame | None = None
    for frame in read_frames(uri, "rgb24", only=keyframes | {index + 1 for index in keyframes}, on_packet=progress):
        if keyframe is not None:
            yield keyframe, frame if frame.image.shape == keyframe.image.shape else None
        keyframe = frame if frame.index in keyframes else None
    if keyframe is not None:
        yield keyframe, None


def _cut(
    frame: Frame, following: Frame | None, box: Box, inputs: tuple[ModelInput, ...], flow: FlowParams
) -> list[dict[str, Any]]:
    """The wanted inputs of one keyframe; no flow without a following frame."""
    pictures = []
    for wanted in inputs:
        pixels = crop(frame.image, box, wanted.size)
        if wanted.kind == "flow":
            if following is None:
                continue
            moved = farneback(pixels, crop(following.image, box, wanted.size), flow)
            pixels = flow_map(moved, flow.full_scale_px)
        pictures.append({"frame": frame.index, "kind": wanted.kind, "size": wanted.size, "pixels": pixels.tobytes()})
    return pictures


def _truth(uri: str, faces: dict[int, tuple[Box, tuple[int, ...]]]) -> list[dict[str, Any]]:
    """Rows of table `truth` for the frames with a face (box and shape), from the mask video of the same frames."""
    if not faces:
        return []
    rows = []
    try:
        for mask in read_frames(uri, "gray", only=set(faces), on_packet=progress):
            box, shape = faces[mask.index]
            if mask.image.shape != shape:
                height, width = mask.image.shape
                detail = f"frame {mask.index} is {shape[1]}x{shape[0]}, and {width}x{height} in {uri}"
                raise SampleError("truth_mismatch", detail)
            rows.append(truth_row(mask.index, mask.image, box))
    except SampleError as error:
        if error.code == "truth_mismatch":
            raise
        raise SampleError("truth_unreadable", f"{uri}: {error}") from error
    if len(rows) < len(faces):
        raise SampleError("truth_mismatch", f"{uri} ends before frame {max(faces)}")
    return rows


def _frame_row(frame: Frame, score: float, box: Box | None, has_flow: bool) -> dict[str, Any]:
    return {
        "frame": frame.index,
        "time_s": frame.time_s,
        "keyframe_score": score,
        "status": STATUS_NO_FACE if box is None else STATUS_OK,
        "face_x": None if box is None else box.x,
        "face_y": None if box is None else box.y,
        "face_width": None if box is None else box.width,
        "face_height": None if box is None else box.height,
        "face_score": None if box is None else box.score,
        "has_flow": has_flow,
    }


def _box(row: dict[str, Any]) -> Box:
    """The box of a row of table `frames` with a face."""
    return Box(row["face_x"], row["face_y"], row["face_width"], row["face_height"], row["face_score"])
