"""One explained video to look at: the heat over the video as it plays, and all layers on one sheet."""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from operators.inputs.flow import FlowParams
from operators.pictures.sheet import CELL_PX, Cell, Column, Row, draw_sheet
from operators.storage.files import replacing
from operators.video.decode import Frame
from operators.video.encode import write_video
from pipelines import pages
from pipelines.errors import UserError
from pipelines.explained import Layer, Map, any_map, as_shown, read, seen_by
from pipelines.lake.layout import Layout
from schemas.errors import SampleError

_NOTE: Final = (
    "each layer on a scale of its own, the same in all pictures of the run: three of four maps stay below its end; "
    "below a map of a bottleneck the bits that pass it in all; grey: an empty map, through which no more passes than "
    "if no class were asked about"
)
_BLANK: Final = np.zeros((1, 1, 3), np.uint8)
_NO_TRUTH: Final = np.zeros((1, 1), np.uint8)


def render(
    lake: Path,
    video_id: str,
    out: Path | None = None,
    still: bool = False,
    methods: tuple[str, ...] = (),
    run_id: str | None = None,
) -> tuple[Path, Path]:
    """Write LAKE/renders/VIDEO_ID.mp4 (H.264) and, beside it, the contact sheet VIDEO_ID.png; return both paths.

    `video_id` may be any prefix that only one video has; of its latest run, unless told, the maps by `methods` are
    shown, or all. The MP4 is the video as it plays. Heat is that of its keyframes and fades from one to the next: every
    panel says where it is interpolated. With `still`, and for a picture, every keyframe is held for a second instead,
    and no heat lies over any other frame. Detectors of crops show the original frame with the heat at the face's box,
    detectors of motion the flow map computed from the frame and its next. Over each picture of a clip lies the map of
    the cell of time that it belongs to; where clips overlap, a frame is of the first. The sheet has a row for each of
    the keyframes, of clips for each cell of time of the layer with the fewest: the crop, the forged region where the
    run knows it, and every layer of every detector over what the detector saw. Each layer keeps one scale for the whole
    run, so that frames and videos compare.

    Raises UserError for an unknown id or run, a video without explained frames or without maps by a method, a source
    file that is gone or has changed, and an `out` that ends in .png.
    """
    video, layers, truth = read(lake, video_id, methods, run_id)
    out = Layout(lake).renders / f"{video['video_id']}.mp4" if out is None else out
    sheet = out.with_suffix(".png")
    if sheet == out:
        raise UserError(f"--out names the MP4, {out} will be the sheet beside it")
    frames = {frame for layer in layers for frame in layer.maps}
    flow = FlowParams(**json.loads(video["config"])["prepare"]["flow"])
    on_sheet, passed = _sheet_frames(layers), 0
    rows: list[Row] = []
    fps: float | None = None if still or video["n_frames"] <= 1 else video["fps"]

    def keep(frame: Frame, following: np.ndarray | None) -> None:
        nonlocal passed
        passed += 1
        if frame.index in on_sheet:
            rows.append(_sheet_row(layers, truth, frame, following, flow))

    def drawn() -> Iterator[np.ndarray]:
        yield from (pages.stills if fps is None else pages.playing)(video, layers, flow, keep)
        if passed < len(frames):
            raise UserError(f"{video['uri']} has changed: {passed} of {len(frames)} explained frames are in it")

    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(out) as file:
            write_video(file, drawn(), pages.STILLS_FPS if fps is None else fps)
    except SampleError as error:
        raise UserError(f"cannot read {video['uri']} again ({error}): put the file back to render it") from error
    drawn_sheet = draw_sheet(_sheet_columns(layers, truth), rows, Path(video["uri"]).name, _NOTE)
    sheet.write_bytes(cv2.imencode(".png", drawn_sheet[..., ::-1])[1].tobytes())
    return out, sheet


def _sheet_frames(layers: list[Layer]) -> set[int]:
    """Of clips the frames where cells of time begin, of the layer that tells the fewest apart; else all of them."""
    found = {frame for layer in layers if not layer.plays for frame in layer.maps}
    clips = [layer for layer in layers if layer.plays and layer.layer] or [layer for layer in layers if layer.plays]
    begins = [{frame for frame, each in layer.maps.items() if each.begins} for layer in clips]
    return found | min(begins, key=len, default=set())


def _figure(found: Map) -> str:
    return f"{found.figure}: {found.why}" if found.why else found.figure


def _sheet_columns(layers: list[Layer], truth: dict[int, np.ndarray]) -> list[Column]:
    columns = [Column("", "true mask")] if truth else []
    for model, own in groupby(layers, lambda layer: layer.model):
        for number, layer in enumerate(own):
            if number == 0:
                columns.append(Column(model, "flow map" if layer.motion else "picture"))
            first, *others = layer.names
            columns.append(Column(model, first, " • ".join(filter(None, (*others, layer.mean))), layer.scale))
    return columns


def _sheet_row(
    layers: list[Layer],
    truth: dict[int, np.ndarray],
    frame: Frame,
    following: np.ndarray | None,
    flow: FlowParams,
) -> Row:
    """One cell for each of `_sheet_columns`."""
    labels = [f"{any_map(layers, frame.index).time_s:.2f} s", f"frame {frame.index}"]
    cells = []
    if truth:
        known = cv2.resize(truth.get(frame.index, _NO_TRUTH), (CELL_PX, CELL_PX), interpolation=cv2.INTER_LINEAR)
        cells.append(Cell(known[..., None].repeat(3, 2), "" if frame.index in truth else "unknown"))
    for model, members in groupby(layers, lambda layer: layer.model):
        own = list(members)
        found = [layer.maps.get(frame.index) for layer in own]
        seen = next((each for each in found if each is not None), None)
        shown = _BLANK if seen is None else seen_by(own[0], seen, frame.image, following, flow)
        labels += [] if seen is None else [model, seen.probability]
        cells.append(Cell(shown))
        cells += [
            Cell(shown, "no map") if each is None else Cell(as_shown(shown, each), _figure(each), each.saliency)
            for each in found
        ]
    return Row(tuple(labels), tuple(cells))
