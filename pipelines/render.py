"""One explained video to look at: the heat over the frames it was computed for, and all layers on one sheet."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import cv2
import duckdb
import numpy as np

from operators.inputs.faces import Box, crop
from operators.inputs.flow import FlowParams, farneback, flow_map
from operators.pictures.overlay import OverlayParams, Panel, draw_page, draw_panel
from operators.pictures.sheet import CELL_PX, Cell, Column, Row, draw_sheet
from operators.video.decode import read_frames
from operators.video.encode import write_video
from pipelines.errors import UserError
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake, queries
from schemas.errors import SampleError
from schemas.tables import CLASS_FAKE, STATUS_ERROR, STATUS_NO_FACE

_FPS: Final = 10
_STILL_S: Final = 1.0
#: the share of a panel's saliency that its colour scale covers: single hot pixels must not darken the rest
_SCALE_PERCENTILE: Final = 99.5
_NOTE: Final = "heat in bits per pixel, each layer on a scale of its own; below each map the bits that pass in all"
_BLANK: Final = np.zeros((1, 1, 3), np.uint8)
_NO_TRUTH: Final = np.zeros((1, 1), np.uint8)


@dataclass(frozen=True)
class _Map:
    """One row of masks with what belongs to it."""

    frame: int
    time_s: float
    box: Box
    saliency: np.ndarray
    input_size: int
    total_bits: float
    prob_fake: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Layer:
    """All maps of one (model, layer, method), on one colour scale: a panel of every page, a column of the sheet."""

    model: str
    layer: str
    method: str
    motion: bool
    scale_bits: float
    maps: dict[int, _Map]

    @property
    def title(self) -> str:
        return f"{self.model} • {self.layer} • {self.method}"


def render(lake: Path, video_id: str, out: Path | None = None) -> tuple[Path, Path]:
    """Write LAKE/renders/VIDEO_ID.mp4 (H.264) and, beside it, the contact sheet VIDEO_ID.png; return both paths.

    `video_id` may be any prefix that only one video has; its latest run is shown. In the MP4 every explained keyframe
    is one still, held for a second: heat is only ever shown over the frame it was computed for, never carried to the
    frames between. Detectors of crops show the original frame with the heat at the face's box, detectors of motion the
    flow map computed from the keyframe and its next frame. The sheet has a row for each of the same keyframes: the
    crop, the forged region where the run knows it, and every layer of every detector over what the detector saw. Each
    layer keeps one scale in bits per pixel for the whole video, so that frames compare.

    Raises UserError for an unknown id, a video without explained frames, a source file that is gone or has changed,
    and an `out` that ends in .png.
    """
    video, layers, truth = _read(lake, video_id)
    out = Layout(lake).renders / f"{video['video_id']}.mp4" if out is None else out
    sheet = out.with_suffix(".png")
    if sheet == out:
        raise UserError(f"--out names the MP4, {out} will be the sheet beside it")
    frames = {frame for layer in layers for frame in layer.maps}
    flow = FlowParams(**json.loads(video["config"])["prepare"]["flow"])
    rows: list[Row] = []

    def stills() -> Iterator[np.ndarray]:
        for frame, picture, following in _pictures(video["uri"], frames):
            page = _page(video, layers, frame, picture, following, flow)
            rows.append(_sheet_row(layers, truth, frame, picture, following, flow))
            yield from [page] * round(_FPS * _STILL_S)
        if len(rows) < len(frames):
            raise UserError(f"{video['uri']} has changed: {len(rows)} of {len(frames)} explained frames are in it")

    try:
        write_video(out, stills(), _FPS)
    except SampleError as error:
        raise UserError(f"cannot read {video['uri']} again ({error}): put the file back to render it") from error
    drawn = draw_sheet(_sheet_columns(layers, truth), rows, Path(video["uri"]).name, _NOTE)
    sheet.write_bytes(cv2.imencode(".png", drawn[..., ::-1])[1].tobytes())
    return out, sheet


def _read(lake: Path, video_id: str) -> tuple[dict[str, Any], list[_Layer], dict[int, np.ndarray]]:
    """The row of `videos` with its run's config, the layers in their order, and the true masks of its frames."""
    with open_lake(lake) as connection:
        found = _rows(connection, queries("render")["video"], video_id=video_id)
        names = sorted({row["video_id"] for row in found})
        if not names:
            raise UserError(f"no video {video_id} in {lake}: list them with sql 'SELECT video_id, uri FROM videos'")
        if len(names) > 1 and video_id not in names:
            raise UserError(f"{video_id} is the beginning of {len(names)} videos: {', '.join(names[:5])}")
        video = found[0]
        maps = _rows(connection, queries("render")["maps"], run_id=video["run_id"], video_id=video["video_id"])
        truth = _rows(connection, queries("render")["truth"], run_id=video["run_id"], video_id=video["video_id"])
    if not maps:
        reason = {STATUS_NO_FACE: "no face was found in it", STATUS_ERROR: f"{video['error_code']}"}
        raise UserError(
            f"{video['video_id']} has no explained frames: {reason.get(video['status'], 'no frame has an input')}"
            + (f" ({video['error_detail']})" if video["error_detail"] else "")
        )
    grids = {row["frame"]: np.asarray(row["mask"], np.uint8).reshape(row["height"], row["width"]) for row in truth}
    return video, _layers(json.loads(video["config"])["detectors"], maps), grids


def _layers(detectors: list[dict[str, Any]], maps: list[dict[str, Any]]) -> list[_Layer]:
    """What `maps` explain: detectors of crops before those of motion, layers in the order of the config."""
    motion = {each["spec"]["name"]: each["spec"]["input"] == "flow" for each in detectors}
    order = [(each["spec"]["name"], layer) for each in detectors for layer in each["layers"]]
    keys = {(row["model"], row["layer"], row["method"]) for row in maps}
    layers = []
    for model, layer, method in sorted(keys, key=lambda key: (motion[key[0]], order.index(key[:2]), key[2])):
        own = [_map(row) for row in maps if (row["model"], row["layer"], row["method"]) == (model, layer, method)]
        scale = float(np.percentile(np.concatenate([m.saliency.ravel() for m in own]), _SCALE_PERCENTILE))
        layers.append(_Layer(model, layer, method, motion[model], scale, {m.frame: m for m in own}))
    return layers


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, **params: str) -> list[dict[str, Any]]:
    return connection.sql(sql, params=params).to_arrow_table().to_pylist()


def _map(row: dict[str, Any]) -> _Map:
    through = row["prob_fake_bottleneck"]
    return _Map(
        row["frame"],
        row["time_s"],
        Box(row["face_x"], row["face_y"], row["face_width"], row["face_height"], row["face_score"]),
        np.asarray(row["saliency"], np.float32).reshape(row["height"], row["width"]),
        row["input_size"],
        row["total_bits"],
        row["prob_fake"],
        (
            f"explains {'fake' if row['target'] == CLASS_FAKE else 'real'} • {row['total_bits']:,.0f} bits",
            f"prob fake {row['prob_fake']:.2f}" + ("" if through is None else f", with bottleneck {through:.2f}"),
        ),
    )


def _pictures(uri: str, frames: set[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
    """(frame number, picture, next picture or None at the end) of the wanted frames, in one pass."""
    waiting: tuple[int, np.ndarray] | None = None
    for frame in read_frames(uri, "rgb24", only=frames | {index + 1 for index in frames}):
        if waiting is not None:
            yield *waiting, frame.image
        waiting = (frame.index, frame.image) if frame.index in frames else None
    if waiting is not None:
        yield *waiting, None


def _page(
    video: dict[str, Any],
    layers: list[_Layer],
    frame: int,
    picture: np.ndarray,
    following: np.ndarray | None,
    flow: FlowParams,
) -> np.ndarray:
    params = OverlayParams()
    if picture.shape[:2] != (video["height"], video["width"]):
        raise UserError(f"{video['uri']} has changed: it was {video['width']}x{video['height']} when explained")
    time_s = _any_map(layers, frame).time_s
    panels = [draw_panel(_panel(layer, frame, picture, following, flow), params) for layer in layers]
    return draw_page(panels, Path(video["uri"]).name, f"{time_s:.2f} s • frame {frame}", params)


def _any_map(layers: list[_Layer], frame: int) -> _Map:
    """A map of the frame, to read off what all of them share: time and face box."""
    return next(layer.maps[frame] for layer in layers if frame in layer.maps)


def _panel(layer: _Layer, frame: int, picture: np.ndarray, following: np.ndarray | None, flow: FlowParams) -> Panel:
    found = layer.maps.get(frame)
    if found is None:  # a motion detector has no map where no frame follows
        blank = _BLANK if layer.motion else picture
        return Panel(blank, np.zeros((1, 1)), None, layer.scale_bits, layer.title, ("no map for this frame", ""))
    if layer.motion:
        motion = _motion(found, picture, following, flow)
        return Panel(motion, found.saliency, None, layer.scale_bits, layer.title, found.lines)
    box = (found.box.x, found.box.y, found.box.width, found.box.height)
    return Panel(picture, found.saliency, box, layer.scale_bits, layer.title, found.lines)


def _motion(found: _Map, picture: np.ndarray, following: np.ndarray | None, flow: FlowParams) -> np.ndarray:
    """The flow map the detector saw, computed again from the frame and its next."""
    if following is None:
        raise UserError(f"frame {found.frame} was explained with a next frame that the file no longer has")
    first, second = (crop(image, found.box, found.input_size) for image in (picture, following))
    return flow_map(farneback(first, second, flow), flow.full_scale_px)


def _sheet_columns(layers: list[_Layer], truth: dict[int, np.ndarray]) -> list[Column]:
    columns = [Column("", "crop"), *([Column("", "true mask")] if truth else [])]
    for (model, motion), own in groupby(layers, lambda layer: (layer.model, layer.motion)):
        columns += [Column(model, "flow map")] if motion else []
        for layer in own:
            bits = np.mean([found.total_bits for found in layer.maps.values()])
            columns.append(Column(model, layer.layer, f"{layer.method} • mean {bits:,.0f} bits", layer.scale_bits))
    return columns


def _sheet_row(
    layers: list[_Layer],
    truth: dict[int, np.ndarray],
    frame: int,
    picture: np.ndarray,
    following: np.ndarray | None,
    flow: FlowParams,
) -> Row:
    """One cell for each of `_sheet_columns`."""
    shared = _any_map(layers, frame)
    labels = [f"{shared.time_s:.2f} s", f"frame {frame}"]
    face = crop(picture, shared.box, CELL_PX)
    cells = [Cell(face)]
    if truth:
        known = cv2.resize(truth.get(frame, _NO_TRUTH), (CELL_PX, CELL_PX), interpolation=cv2.INTER_LINEAR)
        cells.append(Cell(known[..., None].repeat(3, 2), "" if frame in truth else "unknown"))
    for (model, motion), own in groupby(layers, lambda layer: (layer.model, layer.motion)):
        found = [layer.maps.get(frame) for layer in own]
        seen = next((each for each in found if each is not None), None)
        shown = _BLANK if seen is None else _motion(seen, picture, following, flow) if motion else face
        labels += [] if seen is None else [model, f"prob fake {seen.prob_fake:.2f}"]
        cells += [Cell(shown)] if motion else []
        cells += [
            Cell(shown, "no map") if each is None else Cell(shown, f"{each.total_bits:,.0f} bits", each.saliency)
            for each in found
        ]
    return Row(tuple(labels), tuple(cells))
