"""One explained video to look at: the heat over the frames it was computed for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import duckdb
import numpy as np

from operators.encode import write_video
from operators.faces import Box, crop
from operators.flow import FlowParams, farneback, flow_map
from operators.overlay import OverlayParams, Panel, draw_page, draw_panel
from operators.video import read_frames
from pipelines.errors import UserError
from pipelines.lake import open_lake
from schemas.errors import SampleError
from schemas.tables import CLASS_FAKE, STATUS_ERROR, STATUS_NO_FACE

_FPS: Final = 10
_STILL_S: Final = 1.0
#: the share of a panel's saliency that its colour scale covers: single hot pixels must not darken the rest
_SCALE_PERCENTILE: Final = 99.5

_VIDEO: Final = """
select videos.*, runs.config
from videos
inner join runs on videos.run_id = runs.run_id
where starts_with(videos.video_id, $video_id)
order by videos.video_id = $video_id desc, runs.started_at desc
"""

_MAPS: Final = """
select
    masks.frame,
    frames.time_s,
    frames.face_x,
    frames.face_y,
    frames.face_width,
    frames.face_height,
    frames.face_score,
    masks.model,
    masks.method,
    masks.layer,
    masks.height,
    masks.width,
    masks.saliency,
    masks.input_size,
    masks.total_bits,
    plain.target,
    plain.prob_fake,
    through.prob_fake as prob_fake_bottleneck
from masks
inner join frames using (run_id, video_id, frame)
inner join predictions as plain
    on masks.run_id = plain.run_id and masks.video_id = plain.video_id and masks.frame = plain.frame
    and masks.model = plain.model and not plain.bottleneck
left join predictions as through
    on masks.run_id = through.run_id and masks.video_id = through.video_id and masks.frame = through.frame
    and masks.model = through.model and masks.method = through.method and masks.layer = through.layer
    and through.bottleneck
where masks.run_id = $run_id and masks.video_id = $video_id
order by masks.frame
"""


@dataclass(frozen=True)
class _Map:
    """One row of masks with what belongs to it."""

    frame: int
    time_s: float
    box: Box
    saliency: np.ndarray
    input_size: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Column:
    """All maps of one (model, method, layer): one panel of every page, on one colour scale."""

    title: str
    motion: bool
    scale_bits: float
    maps: dict[int, _Map]


def render(lake: Path, video_id: str, out: Path | None = None) -> Path:
    """Write LAKE/renders/VIDEO_ID.mp4 (H.264) and, beside it, a PNG of its middle still; return the MP4's path.

    `video_id` may be any prefix that only one video has; its latest run is shown. Every explained keyframe is one
    still, held for a second: heat is only ever shown over the frame it was computed for, never carried to the frames
    between. Detectors of crops show the original frame with the heat at the face's box, detectors of motion the flow
    map computed from the keyframe and its next frame; each panel keeps one scale in bits per pixel for the whole
    video, so that frames compare. Raises UserError for an unknown id, a video without explained frames and a source
    file that is gone or has changed.
    """
    video, columns = _read(lake, video_id)
    out = lake / "renders" / f"{video['video_id']}.mp4" if out is None else out
    frames = sorted({frame for column in columns for frame in column.maps})
    poster = frames[(len(frames) - 1) // 2]
    flow = FlowParams(**json.loads(video["config"])["prepare"]["flow"])

    def stills() -> Iterator[np.ndarray]:
        shown = 0
        for frame, picture, following in _pictures(video["uri"], set(frames)):
            page = _page(video, columns, frame, picture, following, flow)
            if frame == poster:
                out.with_suffix(".png").write_bytes(cv2.imencode(".png", page[..., ::-1])[1].tobytes())
            yield from [page] * round(_FPS * _STILL_S)
            shown += 1
        if shown < len(frames):
            raise UserError(f"{video['uri']} has changed: {shown} of {len(frames)} explained frames are in it")

    try:
        write_video(out, stills(), _FPS)
    except SampleError as error:
        raise UserError(f"cannot read {video['uri']} again ({error}): put the file back to render it") from error
    return out


def _read(lake: Path, video_id: str) -> tuple[dict[str, Any], list[_Column]]:
    """The row of `videos` with its run's config, and the columns of the page in order."""
    with open_lake(lake) as connection:
        found = _rows(connection, _VIDEO, video_id=video_id)
        names = sorted({row["video_id"] for row in found})
        if not names:
            raise UserError(f"no video {video_id} in {lake}: list them with sql 'SELECT video_id, uri FROM videos'")
        if len(names) > 1 and video_id not in names:
            raise UserError(f"{video_id} is the beginning of {len(names)} videos: {', '.join(names[:5])}")
        video = found[0]
        maps = _rows(connection, _MAPS, run_id=video["run_id"], video_id=video["video_id"])
    if not maps:
        reason = {STATUS_NO_FACE: "no face was found in it", STATUS_ERROR: f"{video['error_code']}"}
        raise UserError(
            f"{video['video_id']} has no explained frames: {reason.get(video['status'], 'no frame has an input')}"
            + (f" ({video['error_detail']})" if video["error_detail"] else "")
        )
    specs = [detector["spec"] for detector in json.loads(video["config"])["detectors"]]
    motion = {spec["name"] for spec in specs if spec["input"] == "flow"}
    keys = sorted({(row["model"] in motion, row["model"], row["layer"], row["method"]) for row in maps})
    columns = []
    for is_motion, model, layer, method in keys:
        own = [_map(row) for row in maps if (row["model"], row["layer"], row["method"]) == (model, layer, method)]
        scale = float(np.percentile(np.concatenate([m.saliency.ravel() for m in own]), _SCALE_PERCENTILE))
        columns.append(_Column(f"{model} • {layer} • {method}", is_motion, scale, {m.frame: m for m in own}))
    return video, columns


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
    columns: list[_Column],
    frame: int,
    picture: np.ndarray,
    following: np.ndarray | None,
    flow: FlowParams,
) -> np.ndarray:
    params = OverlayParams()
    if picture.shape[:2] != (video["height"], video["width"]):
        raise UserError(f"{video['uri']} has changed: it was {video['width']}x{video['height']} when explained")
    time_s = next(column.maps[frame].time_s for column in columns if frame in column.maps)
    panels = [draw_panel(_panel(column, frame, picture, following, flow), params) for column in columns]
    return draw_page(panels, Path(video["uri"]).name, f"{time_s:.2f} s • frame {frame}", params)


def _panel(column: _Column, frame: int, picture: np.ndarray, following: np.ndarray | None, flow: FlowParams) -> Panel:
    found = column.maps.get(frame)
    if found is None:  # a motion detector has no map where no frame follows
        blank = np.zeros((1, 1, 3), np.uint8) if column.motion else picture
        return Panel(blank, np.zeros((1, 1)), None, column.scale_bits, column.title, ("no map for this frame", ""))
    if not column.motion:
        box = (found.box.x, found.box.y, found.box.width, found.box.height)
        return Panel(picture, found.saliency, box, column.scale_bits, column.title, found.lines)
    if following is None:
        raise UserError(f"frame {frame} was explained with a next frame that the file no longer has")
    pair = [crop(image, found.box, found.input_size) for image in (picture, following)]
    motion = flow_map(farneback(pair[0], pair[1], flow), flow.full_scale_px)
    return Panel(motion, found.saliency, None, column.scale_bits, column.title, found.lines)
