"""One explained video as it is drawn: its maps in their layers, on the run's scales, and the frames they belong to."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np

from operators.inputs.clips import boxes_of
from operators.inputs.faces import Box
from operators.inputs.flow import FlowParams
from operators.inputs.view import View
from operators.pictures.overlay import Scale
from operators.storage.files import on_disk
from operators.video.decode import Frame, read_frames
from operators.video.sandbox import Limits
from pipelines.errors import UserError
from pipelines.lake.read import open_lake, queries
from schemas.methods import IBA
from schemas.tables import STATUS_ERROR, STATUS_NO_FACE

_ONE_SCALE: Final = "one scale for all maps of the run"


@dataclass(frozen=True)
class Map:
    """One row of masks with what belongs to it; an empty map says why and has no heat, whatever the fit left.

    `begins`: it is shown for the first time, which a clip's cell of time is for several frames.
    """

    frame: int
    begins: bool
    time_s: float
    target: str
    box: Box
    saliency: np.ndarray
    empty: bool
    figure: str
    why: str
    probability: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Layer:
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
    maps: dict[int, Map]

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


def read(
    lake: Path, video_id: str, methods: tuple[str, ...] = (), run_id: str | None = None
) -> tuple[dict[str, Any], list[Layer], dict[int, np.ndarray]]:
    """The row of `videos` with its run's config, the layers in their order, and the true masks of its frames.

    `video_id` may be any prefix that only one video has; of its latest run, unless told, the maps by `methods` are
    shown, or all. UserError: no such run or video, several, no maps of it, none by a method that is named.
    """
    with open_lake(lake, run_id) as connection:
        found = _rows(connection, queries("render")["video"], video_id=video_id)
        names = sorted({row["video_id"] for row in found})
        if not names:
            raise UserError(f"no video {video_id} in {lake}: list them with sql 'SELECT video_id, uri FROM videos'")
        if len(names) > 1 and video_id not in names:
            raise UserError(f"{video_id} is the beginning of {len(names)} videos: {', '.join(names[:5])}")
        video = found[0]
        scales = _rows(connection, queries("render")["scales"], run_id=video["run_id"])
    with open_lake(lake, video["run_id"], [video["video_id"]]) as connection:
        params = {"run_id": video["run_id"], "video_ids": [video["video_id"]]}
        maps, truth = (_rows(connection, queries("render")[name], **params) for name in ("maps", "truth"))
    if not maps:
        reason = {STATUS_NO_FACE: "no face was found in it", STATUS_ERROR: f"{video['error_code']}"}
        raise UserError(
            f"{video['video_id']} has no explained frames: {reason.get(video['status'], 'no frame has an input')}"
            + (f" ({video['error_detail']})" if video["error_detail"] else "")
        )
    made = sorted({row["method"] for row in maps})
    if unknown := sorted(set(methods) - set(made)):
        raise UserError(f"{video['video_id']} has no maps by {', '.join(unknown)}: it has those by {', '.join(made)}")
    maps = [row for row in maps if not methods or row["method"] in methods]
    grids = {row["frame"]: np.asarray(row["mask"], np.uint8).reshape(row["height"], row["width"]) for row in truth}
    config = json.loads(video["config"])
    passes = config["bottleneck"]["steps"]
    for row in maps:
        row["why"] = why_empty(row, passes) if row["empty"] else ""
    tops = {(row["model"], row["layer"], row["method"]): row["top"] for row in scales}
    return video, _layers(config, maps, tops), grids


def _layers(config: dict[str, Any], maps: list[dict[str, Any]], tops: dict[tuple[str, str, str], float]) -> list[Layer]:
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
        first = {each.frame: each for each in reversed(own)}  # of clips that overlap
        by_frame = {frame: first[frame] for frame in sorted(first)}
        layers.append(Layer(model, layer, method, target or None, views[model], scale, mean, by_frame))
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


def why_empty(row: dict[str, Any], passes: int) -> str:
    """What the view empty_maps says of the map, in words."""
    if row["why"] is None:
        return ""
    p, left = _probability(row["p_noise"]), _probability(row["probability_bottleneck"])
    what = f"{passes} passes leave" if row["method"] == IBA else "it leaves"
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


def _map(row: dict[str, Any]) -> Map:
    through = row["probability_bottleneck"]
    bits = "" if row["total_bits"] is None else f"{row['total_bits']:,.0f} bits"
    if row["empty"]:
        bits = "empty" + (f", {bits}" if bits else "")
    saliency = np.asarray(row["saliency"], np.float32).reshape(row["height"], row["width"]) * np.float32(row["scale"])
    probability = f"p({row['target']}) {_probability(row['probability'])}"
    return Map(
        row["frame"],
        row["begins"],
        row["time_s"],
        row["target"],
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


def pictures(uri: str, frames: set[int] | None) -> Iterator[tuple[Frame, np.ndarray | None]]:
    """(frame, the picture after it or None at the end) of the wanted frames, None for all, in one pass."""
    waiting: Frame | None = None
    only = None if frames is None else frames | {index + 1 for index in frames}
    with on_disk(uri, Limits.fetch_mb) as file:
        for frame in read_frames(file, "rgb24", only=only):
            if waiting is not None:
                yield waiting, frame.image
            waiting = frame if frames is None or frame.index in frames else None
    if waiting is not None:
        yield waiting, None


def between(maps: Mapping[int, Map], frame: int) -> tuple[Map | None, str]:
    """What lies between the maps of the keyframes on both sides of a frame without one, by its share of the way.

    None, and why, outside of the keyframes and where the two explain different classes. Empty between two empty ones.
    """
    before, after = (
        max((key for key in maps if key < frame), default=None),
        min((key for key in maps if key > frame), default=None),
    )
    if before is None or after is None:
        return None, f"no map before frame {min(maps)}" if before is None else f"no map after frame {max(maps)}"
    a, b, share = maps[before], maps[after], (frame - before) / (after - before)
    if a.target != b.target:
        return None, f"explains {a.target} at frame {before}, {b.target} at {after}"

    def mixed(x: Any, y: Any) -> Any:
        return (1 - share) * x + share * y

    corners = ((a.box.x, b.box.x), (a.box.y, b.box.y), (a.box.width, b.box.width), (a.box.height, b.box.height))
    left, top, width, height = (round(mixed(*each)) for each in corners)
    said = (f"interpolated between frames {before} and {after}", f"{a.probability} → {b.probability}")
    box = Box(left, top, width, height, 1.0)
    saliency = mixed(a.saliency, b.saliency)
    empty = a.empty and b.empty
    return Map(frame, False, mixed(a.time_s, b.time_s), a.target, box, saliency, empty, "", "", "", said), ""


def any_map(layers: list[Layer], frame: int) -> Map:
    """A map of the frame, to read off what all of them share: time and face box."""
    return next(layer.maps[frame] for layer in layers if frame in layer.maps)


def seen_by(
    layer: Layer, found: Map, picture: np.ndarray, following: np.ndarray | None, flow: FlowParams
) -> np.ndarray:
    """What the model saw, cut again from the frame and its next."""
    pixels = layer.view.cut(picture, following, found.box, flow)
    if pixels is None:
        raise UserError(f"frame {found.frame} was explained with a next frame that the file no longer has")
    return pixels


def as_shown(picture: np.ndarray, found: Map) -> np.ndarray:
    """The picture, grey where its map is empty."""
    return grey(picture) if found.empty else picture


def grey(picture: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) uint8 without its colours, as whatever has no heat is shown."""
    return picture.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8)
