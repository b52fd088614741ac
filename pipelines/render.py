"""One explained video to look at: the heat over the frames it was computed for, and all layers on one sheet."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import cv2
import duckdb
import numpy as np

from operators.inputs.clips import boxes_of
from operators.inputs.faces import Box
from operators.inputs.flow import FlowParams
from operators.inputs.view import View
from operators.methods.iba import Iba
from operators.pictures.captions import wrapped
from operators.pictures.overlay import OverlayParams, Panel, Scale, draw_page, draw_panel
from operators.pictures.sheet import CELL_PX, Cell, Column, Row, draw_sheet
from operators.video.decode import read_frames
from operators.video.encode import write_video
from pipelines.errors import UserError
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake, queries
from schemas.errors import SampleError
from schemas.tables import STATUS_ERROR, STATUS_NO_FACE

_FPS: Final = 10
_STILL_S: Final = 1.0
#: of each picture of a clip
_PLAYED_S: Final = 0.2
_ONE_SCALE: Final = "one scale for all maps of the run"
_NOTE: Final = (
    "each layer on a scale of its own, the same in all pictures of the run: three of four maps stay below its end; "
    "below a map of a bottleneck the bits that pass it in all; grey: an empty map, through which no more passes than "
    "if no class were asked about"
)
_BLANK: Final = np.zeros((1, 1, 3), np.uint8)
_NO_TRUTH: Final = np.zeros((1, 1), np.uint8)


@dataclass(frozen=True)
class _Map:
    """One row of masks with what belongs to it; an empty map says why and has no heat, whatever the fit left.

    `begins`: it is shown for the first time, which a clip's cell of time is for several frames.
    """

    frame: int
    begins: bool
    time_s: float
    box: Box
    saliency: np.ndarray
    empty: bool
    figure: str
    why: str
    probability: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Layer:
    """All maps of one (model, layer, method), and target where a run has several, on the run's colour scale.

    A panel of every page, a column of the sheet.
    """

    model: str
    layer: str
    method: str
    target: str | None
    view: View
    scale: Scale
    mean: str
    maps: dict[int, _Map]

    @property
    def names(self) -> list[str]:
        """What tells it from the model's other layers."""
        return [name for name in (self.layer, self.method, self.target) if name]

    @property
    def motion(self) -> bool:
        return self.view.shows == "flow"

    @property
    def plays(self) -> bool:
        return self.view.shows == "clip"


def render(lake: Path, video_id: str, out: Path | None = None) -> tuple[Path, Path]:
    """Write LAKE/renders/VIDEO_ID.mp4 (H.264) and, beside it, the contact sheet VIDEO_ID.png; return both paths.

    `video_id` may be any prefix that only one video has; its latest run is shown. In the MP4 every explained keyframe
    is one still, held for a second: heat is only ever shown over the frame it was computed for, never carried to the
    frames between. Detectors of crops show the original frame with the heat at the face's box, detectors of motion the
    flow map computed from the keyframe and its next frame. A clip plays, and over each of its pictures lies the map of
    the cell of time that it belongs to; where clips overlap, a frame is shown in the first of them. The sheet has a row
    for each of the same keyframes, of clips for each cell of time of the layer with the fewest: the crop, the forged
    region where the run knows it, and every layer of every detector over what the detector saw. Each layer keeps one
    scale for the whole run, so that frames and videos compare.

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
    on_sheet = _sheet_frames(layers)
    rows: list[Row] = []
    drawn_frames = 0

    def stills() -> Iterator[np.ndarray]:
        nonlocal drawn_frames
        for frame, picture, following in pictures(video["uri"], frames):
            page = _page(video, layers, frame, picture, following, flow)
            if frame in on_sheet:
                rows.append(_sheet_row(layers, truth, frame, picture, following, flow))
            drawn_frames += 1
            plays = all(layer.plays for layer in layers if frame in layer.maps)
            yield from [page] * round(_FPS * (_PLAYED_S if plays else _STILL_S))
        if drawn_frames < len(frames):
            raise UserError(f"{video['uri']} has changed: {drawn_frames} of {len(frames)} explained frames are in it")

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
        scales = _rows(connection, queries("render")["scales"], run_id=video["run_id"])
    if not maps:
        reason = {STATUS_NO_FACE: "no face was found in it", STATUS_ERROR: f"{video['error_code']}"}
        raise UserError(
            f"{video['video_id']} has no explained frames: {reason.get(video['status'], 'no frame has an input')}"
            + (f" ({video['error_detail']})" if video["error_detail"] else "")
        )
    grids = {row["frame"]: np.asarray(row["mask"], np.uint8).reshape(row["height"], row["width"]) for row in truth}
    config = json.loads(video["config"])
    passes = config["bottleneck"]["steps"]
    for row in maps:
        row["why"] = why_empty(row, passes) if row["empty"] else ""
    tops = {(row["model"], row["layer"], row["method"]): row["top"] for row in scales}
    return video, _layers(config, maps, tops), grids


def _layers(
    config: dict[str, Any], maps: list[dict[str, Any]], tops: dict[tuple[str, str, str], float]
) -> list[_Layer]:
    """What `maps` explain: models of pictures before those of motion, layers in the order of the config.

    `tops` say what full heat means by (model, layer, method); nothing is hot where all maps of the run are empty.
    """
    detectors = config["detectors"]
    views = {each["spec"]["name"]: View(**each["spec"]["view"]) for each in detectors}
    order = ["", *(layer for each in detectors for layer in each["layers"])]

    def key(row: dict[str, Any]) -> tuple[str, str, str, str]:
        # explained for one class a frame, whichever it is, a layer is one series of maps
        return row["model"], row["layer"], row["method"], row["target"] if len(config["targets"]) > 1 else ""

    found: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for row in played(maps, views):
        found.setdefault(key(row), []).append(row)
    models = [each["spec"]["name"] for each in detectors]
    layers = []
    for model, layer, method, target in sorted(
        found,
        key=lambda each: (views[each[0]].shows == "flow", models.index(each[0]), order.index(each[1]), each[2:]),
    ):
        rows = found[model, layer, method, target]
        own = [_map(row) for row in rows]
        top = tops.get((model, layer, method), 0.0)
        bits = list({row["first_frame"]: row["total_bits"] for row in rows if row["total_bits"] is not None}.values())
        mean = f"mean {np.mean(bits):,.0f} bits" if bits else ""
        scale = Scale(max(top, 0.0), rows[0]["unit"], _ONE_SCALE)
        by_frame = {each.frame: each for each in reversed(own)}
        layers.append(_Layer(model, layer, method, target or None, views[model], scale, mean, by_frame))
    return layers


def played(maps: Iterable[dict[str, Any]], views: Mapping[str, View]) -> list[dict[str, Any]]:
    """Rows of queries/render/maps.sql, those of clips once for each picture that they are about: `frame`, its time and
    box are the picture's, `begins` says which is the first, and `cell` in words which frames the map is about.

    Where clips overlap, a frame is of the first one.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in maps:
        view = views[row["model"]]
        end = row["frame"] + row["span_frames"]
        plays = view.shows == "clip"
        cell = f"frames {row['frame']} to {end - 1}" if plays else ""
        for frame in range(row["frame"], end, view.step) if plays else [row["frame"]]:
            moved: dict[str, Any] = {"frame": frame, "begins": frame == row["frame"], "cell": cell}
            after = frame - row["first_frame"]
            if after and row["fps"]:
                moved["time_s"] = row["time_s"] + after / row["fps"]
            if view.shows == "clip" and view.part == "face" and row["track"]:
                box = boxes_of(row["track"])[after]
                moved |= {"box_x": box.x, "box_y": box.y, "box_width": box.width, "box_height": box.height}
            key = row["model"], row["method"], row["layer"], row["target"], frame
            found.setdefault(key, row | moved)
    return list(found.values())


def _sheet_frames(layers: list[_Layer]) -> set[int]:
    """Of clips the frames where cells of time begin, of the layer that tells the fewest apart; else all of them."""
    found = {frame for layer in layers if not layer.plays for frame in layer.maps}
    clips = [layer for layer in layers if layer.plays and layer.layer] or [layer for layer in layers if layer.plays]
    begins = [{frame for frame, each in layer.maps.items() if each.begins} for layer in clips]
    return found | min(begins, key=len, default=set())


def why_empty(row: dict[str, Any], passes: int) -> str:
    """What the view empty_maps says of the map, in words."""
    if row["why"] is None:
        return ""
    p, left = _probability(row["p_noise"]), _probability(row["probability_bottleneck"])
    what = f"{passes} passes leave" if row["method"] == Iba.name else "it leaves"
    return {
        "noise": f"noise alone is judged so (p {p})",
        "enough": f"the little that {what} is enough (p of noise alone {p})",
        "neither": f"nothing speaks for it (p {left} of what {what}, {p} of noise alone)",
    }[row["why"]]


def _probability(value: float) -> str:
    """Two decimals, or one digit of what would read as none: of a thousand classes the most probable may have .002."""
    return f"{value:.2f}" if value >= 0.005 or value == 0 else f"{value:.1g}"


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, **params: str) -> list[dict[str, Any]]:
    return connection.sql(sql, params=params).to_arrow_table().to_pylist()


def _map(row: dict[str, Any]) -> _Map:
    through = row["probability_bottleneck"]
    bits = "" if row["total_bits"] is None else f"{row['total_bits']:,.0f} bits"
    if row["empty"]:
        bits = "empty" + (f", {bits}" if bits else "")
    saliency = np.asarray(row["saliency"], np.float32).reshape(row["height"], row["width"]) * np.float32(row["scale"])
    probability = f"p({row['target']}) {_probability(row['probability'])}"
    return _Map(
        row["frame"],
        row["begins"],
        row["time_s"],
        Box(row["box_x"], row["box_y"], row["box_width"], row["box_height"], 1.0),
        np.zeros_like(saliency) if row["empty"] else saliency,
        row["empty"],
        bits,
        row["why"],
        probability,
        (
            " • ".join(filter(None, (f"explains {row['target']}", row["cell"], bits))),
            probability + ("" if through is None else f", with bottleneck {through:.2f}"),
        ),
    )


def pictures(uri: str, frames: set[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray | None]]:
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
    # as many lines in every panel of every page as the longest reason takes
    n_why = max(len(_why_lines(found, params)) for layer in layers for found in layer.maps.values())
    panels = [draw_panel(_panel(layer, frame, picture, following, flow, n_why), params) for layer in layers]
    return draw_page(panels, Path(video["uri"]).name, f"{time_s:.2f} s • frame {frame}", params)


def _any_map(layers: list[_Layer], frame: int) -> _Map:
    """A map of the frame, to read off what all of them share: time and face box."""
    return next(layer.maps[frame] for layer in layers if frame in layer.maps)


def _panel(
    layer: _Layer, frame: int, picture: np.ndarray, following: np.ndarray | None, flow: FlowParams, n_why: int
) -> Panel:
    """Its last `n_why` lines are for why a map is empty."""
    found = layer.maps.get(frame)
    title = " • ".join([layer.model, *layer.names])
    if found is None:  # a model of motion has no map where no frame follows
        blank = _BLANK if layer.motion else picture
        lines = ("no map for this frame", *[""] * (1 + n_why))
        return Panel(blank, np.zeros((1, 1)), None, layer.scale, title, lines)
    why = _why_lines(found, OverlayParams())
    lines = (*found.lines, *why, *[""] * (n_why - len(why)))
    if layer.motion:
        motion = _shown(_seen(layer, found, picture, following, flow), found)
        return Panel(motion, found.saliency, None, layer.scale, title, lines)
    box = (found.box.x, found.box.y, found.box.width, found.box.height)
    return Panel(_shown(picture, found), found.saliency, box, layer.scale, title, lines)


def _why_lines(found: _Map, params: OverlayParams) -> list[str]:
    return wrapped(found.why, params.picture_height_px - 2 * params.margin_px, params.font_px)


def _seen(
    layer: _Layer, found: _Map, picture: np.ndarray, following: np.ndarray | None, flow: FlowParams
) -> np.ndarray:
    """What the model saw, cut again from the frame and its next."""
    pixels = layer.view.cut(picture, following, found.box, flow)
    if pixels is None:
        raise UserError(f"frame {found.frame} was explained with a next frame that the file no longer has")
    return pixels


def _shown(picture: np.ndarray, found: _Map) -> np.ndarray:
    """The picture, grey where its map is empty."""
    return picture.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8) if found.empty else picture


def _figure(found: _Map) -> str:
    return f"{found.figure}: {found.why}" if found.why else found.figure


def _sheet_columns(layers: list[_Layer], truth: dict[int, np.ndarray]) -> list[Column]:
    columns = [Column("", "true mask")] if truth else []
    for model, own in groupby(layers, lambda layer: layer.model):
        for number, layer in enumerate(own):
            if number == 0:
                columns.append(Column(model, "flow map" if layer.motion else "picture"))
            first, *others = layer.names
            columns.append(Column(model, first, " • ".join(filter(None, (*others, layer.mean))), layer.scale))
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
    labels = [f"{_any_map(layers, frame).time_s:.2f} s", f"frame {frame}"]
    cells = []
    if truth:
        known = cv2.resize(truth.get(frame, _NO_TRUTH), (CELL_PX, CELL_PX), interpolation=cv2.INTER_LINEAR)
        cells.append(Cell(known[..., None].repeat(3, 2), "" if frame in truth else "unknown"))
    for model, members in groupby(layers, lambda layer: layer.model):
        own = list(members)
        found = [layer.maps.get(frame) for layer in own]
        seen = next((each for each in found if each is not None), None)
        shown = _BLANK if seen is None else _seen(own[0], seen, picture, following, flow)
        labels += [] if seen is None else [model, seen.probability]
        cells.append(Cell(shown))
        cells += [
            Cell(shown, "no map") if each is None else Cell(_shown(shown, each), _figure(each), each.saliency)
            for each in found
        ]
    return Row(tuple(labels), tuple(cells))
