"""One video in, its keyframes, faces and model inputs out."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import pyarrow as pa

from operators.faces import Box, FaceParams, crop, find_face
from operators.flow import FlowParams, farneback, flow_map
from operators.keyframes import ChangeSignal, KeyframeParams, pick_keyframes
from operators.localisation import truth_row
from operators.sandbox import Limits, kept_sandbox, progress
from operators.video import Frame, read_frames
from schemas.errors import SampleError
from schemas.tables import NESTED, STATUS_ERROR, STATUS_NO_FACE, STATUS_OK, VIDEO_ROW


@dataclass(frozen=True)
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
        has_flow = box is not None and following is not None and following.image.shape == frame.image.shape
        rows.append(_frame_row(frame, keyframes[frame.index], box, has_flow))
        for wanted in inputs:
            if box is None or (wanted.kind == "flow" and not has_flow):
                continue
            pixels = crop(frame.image, box, wanted.size)
            if wanted.kind == "flow" and following is not None:
                flow = farneback(pixels, crop(following.image, box, wanted.size), params.flow)
                pixels = flow_map(flow, params.flow.full_scale_px)
            picture = {"frame": frame.index, "kind": wanted.kind, "size": wanted.size, "pixels": pixels.tobytes()}
            pictures.append(picture)
    status = STATUS_OK if any(row["status"] == STATUS_OK for row in rows) else STATUS_NO_FACE
    truth = [] if truth_uri is None else _truth(truth_uri, faces)
    return {**asdict(reader.probe), "status": status, "frames": rows, "truth": truth, "inputs": pictures}


def _with_next(uri: str, keyframes: set[int]) -> Iterator[tuple[Frame, Frame | None]]:
    """Each keyframe with the frame after it; None after the last frame of the video."""
    keyframe: Frame | None = None
    for frame in read_frames(uri, "rgb24", only=keyframes | {index + 1 for index in keyframes}, on_packet=progress):
        if keyframe is not None:
            yield keyframe, frame
        keyframe = frame if frame.index in keyframes else None
    if keyframe is not None:
        yield keyframe, None


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
