"""A run's maps as files for other tools: pictures, arrays, or a dataset that FiftyOne reads; always with a JSON."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import duckdb
import numpy as np
from rich.console import Console

from operators.inputs.faces import Box
from operators.inputs.flow import FlowParams
from operators.inputs.view import View
from operators.pictures.overlay import OverlayParams, blend
from pipelines.errors import UserError
from pipelines.explained import grey, pictures
from pipelines.lake.layout import Layout
from pipelines.lake.read import committed_blocks, open_lake, queries, runs
from pipelines.screen import say
from schemas.errors import SampleError
from schemas.tables import EXPLAIN

FORMATS: Final = ("png", "npz", "fiftyone")
#: of FiftyOne's folder: crops, and below it a folder for each field of maps
_DATA, _FIELDS = "data", "fields"
_LEVELS: Final = 255
#: videos whose maps are in memory together
_AT_ONCE: Final = 100

Row = dict[str, Any]
#: model, method, layer, target
Name = tuple[str, str, str, str]


@dataclass(frozen=True)
class _Video:
    """One video with what is written of it: its maps by series, in order of time, and the top of each scale."""

    row: Row
    stem: str
    series: dict[Name, list[Row]]
    tops: dict[tuple[str, str, str], float]
    views: dict[str, View]
    flow: FlowParams
    said: list[Row]


def export(lake: Path, out: Path, to: str, run_id: str | None = None, console: Console | None = None) -> None:
    """Write every map of one run, the latest unless told, into the empty folder `out`.

    png: what the model saw with the heat over it (grey where the map is empty), one scale for all maps of a method and
    layer, and index.json. npz: a file for each video, arrays (frames, height, width) float32 in the map's unit, and
    index.json. fiftyone: crops, maps as grey pictures and samples.json, which
    `fiftyone.Dataset.from_dir(OUT, fiftyone.types.FiftyOneDataset)` reads.
    A video whose file is gone or has changed is named and left out, but for npz, which asks no video. UserError: no
    lake, no such run, nothing to write, a folder that is not empty.
    """
    console = Console() if console is None else console
    run_id = runs(lake)[-1] if run_id is None else run_id
    if out.is_dir() and any(out.iterdir()):
        raise UserError(f"{out} is not empty: name a new folder")
    written, left_out = [], []
    with open_lake(lake, run_id) as connection:
        videos = _rows(connection, "videos", run_id=run_id)
        if not videos:
            raise UserError(f"run {run_id} has no map to write")
        try:
            out.mkdir(parents=True, exist_ok=True)
            for video in _read(connection, lake, run_id, videos):
                try:
                    written += {"png": _png, "npz": _npz, "fiftyone": _fiftyone}[to](video, out)
                except SampleError as error:
                    left_out.append(f"{video.row['uri']} ({error.code})")
            written.sort(key=lambda row: row["video_id"])
            name = "samples" if to == "fiftyone" else "index"
            whole = {"samples": written} if to == "fiftyone" else {"run_id": run_id, "videos": written}
            (out / f"{name}.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
            if to == "fiftyone":
                about = {"name": f"viba {run_id}", "media_type": "image", "info": {"run_id": run_id}}
                (out / "metadata.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        except OSError as error:
            raise UserError(f"cannot write {out}: {error}") from error
    n = len(videos) - len(left_out)
    say(console, f"{n} of {len(videos)} videos of run {run_id} written to {out}")
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        say(console, f"left out, for they cannot be read again: {', '.join(left_out[:3])}{more}", "yellow")


def _rows(connection: duckdb.DuckDBPyConnection, query: str, folder: str = "export", **params: Any) -> list[Row]:
    return connection.sql(queries(folder)[query], params=params).to_arrow_table().to_pylist()


def _read(connection: duckdb.DuckDBPyConnection, lake: Path, run_id: str, videos: list[Row]) -> Iterator[_Video]:
    """Each of the videos, block by block; some at a time, without the blocks of others."""
    config = json.loads(connection.sql("select config from runs").fetchall()[0][0])
    views = {each["spec"]["name"]: View(**each["spec"]["view"]) for each in config["detectors"]}
    scales = _rows(connection, "scales", "render", run_id=run_id)
    tops = {(row["model"], row["method"], row["layer"]): max(row["top"], 0.0) for row in scales}
    flow = FlowParams(**config["prepare"]["flow"])
    known = {row["video_id"]: row for row in videos}
    for _, ids in committed_blocks(Layout(lake), EXPLAIN, run_id):
        wanted = [video_id for video_id in ids.to_pylist() if video_id in known]
        for first in range(0, len(wanted), _AT_ONCE):
            few = wanted[first : first + _AT_ONCE]
            maps: dict[str, dict[Name, list[Row]]] = {video_id: {} for video_id in few}
            said: dict[str, list[Row]] = {video_id: [] for video_id in few}
            with open_lake(lake, run_id, few) as own:
                for each in _rows(own, "maps", "render", run_id=run_id, video_ids=few):
                    name = (each["model"], each["method"], each["layer"], each["target"])
                    maps[each["video_id"]].setdefault(name, []).append(each)
                for each in _rows(own, "said", run_id=run_id, video_ids=few):
                    said[each["video_id"]].append(each)
            for video_id in few:
                stem = _file_name(video_id)
                yield _Video(known[video_id], stem, maps[video_id], tops, views, flow, said[video_id])


def _npz(video: _Video, out: Path) -> list[Row]:
    """One file with an array for each series; what each is, for the index."""
    arrays, told = {}, []
    for number, (name, rows) in enumerate(video.series.items()):
        key = f"maps_{number}"
        arrays[key] = np.stack([_saliency(row) for row in rows])
        told.append(_about(name, rows) | {"key": key})
    path = out / f"{video.stem}.npz"
    np.savez_compressed(path, **arrays)
    return [video.row | {"file": path.name, "series": told}]


def _png(video: _Video, out: Path) -> list[Row]:
    """A picture for each map; what each is, for the index."""
    seen, told = _seen(video), []
    for name, rows in video.series.items():
        top, files = video.tops.get(name[:3], 0.0), []
        for row in rows:
            picture = seen[_place(video, name[0], row)]
            path = out / video.stem / f"{row['frame']:06}_{_file_name(' '.join(filter(None, name)))}.png"
            heated = grey(picture) if row["empty"] else _heated(picture, row, top)
            _write(path, heated)
            files.append(path.relative_to(out).as_posix())
        told.append(_about(name, rows) | {"full_heat": top, "files": files})
    return [video.row | {"series": told}]


def _fiftyone(video: _Video, out: Path) -> list[Row]:
    """A crop for each frame and view, a grey picture for each map: FiftyOne's samples, with paths below `out`."""
    samples: dict[tuple[int, View, Box], Row] = {}
    for place, picture in _seen(video).items():
        frame, view, _ = place
        path = out / _DATA / f"{video.stem}_{frame:06}_{len(samples)}.png"
        _write(path, picture)
        samples[place] = {
            "filepath": path.relative_to(out).as_posix(),
            "tags": [video.row["split"]] if video.row["split"] else [],
            **{name: video.row[name] for name in ("video_id", "uri", "dataset")},
            "frame_number": frame,
            "shows": str(view),
        }
        if video.row["label"]:
            samples[place]["ground_truth"] = {"_cls": "Classification", "label": video.row["label"]}
    said = {(row["frame"], row["model"]): row for row in video.said}
    for name, rows in video.series.items():
        top = video.tops.get(name[:3], 0.0)
        field = _field(" ".join(filter(None, name)))
        for row in rows:
            sample = samples[_place(video, name[0], row)]
            heat = np.clip(_saliency(row) / top, 0, 1) if top > 0 else np.zeros((row["height"], row["width"]))
            path = out / _FIELDS / field / Path(sample["filepath"]).name
            _write(path, np.rint(heat * _LEVELS * (not row["empty"])).astype(np.uint8))
            about = {key: row[key] for key in ("target", "probability", "unit", "empty", "total_bits")}
            drawn = {"_cls": "Heatmap", "map_path": path.relative_to(out).as_posix(), "range": [0, _LEVELS]}
            sample[field] = drawn | about | {"full_heat": top}
            if (found := said.get((row["frame"], name[0]))) is not None:
                verdict = {"_cls": "Classification", "label": found["class"], "confidence": found["probability"]}
                sample[_field(name[0])] = verdict
    return list(samples.values())


def _seen(video: _Video) -> dict[tuple[int, View, Box], np.ndarray]:
    """What the models saw (size, size, 3) uint8 RGB, cut again. SampleError where the file is gone or has changed."""
    wanted = [_place(video, name[0], row) for name, rows in video.series.items() for row in rows]
    found = {}
    for frame, following in pictures(video.row["uri"], {frame for frame, _, _ in wanted}):
        height, width = frame.image.shape[:2]
        for place in wanted:
            number, view, box = place
            if number != frame.index or place in found:
                continue
            fits = box.x + box.width <= width and box.y + box.height <= height
            picture = view.cut(frame.image, following, box, video.flow) if fits else None
            if picture is None:
                raise SampleError("changed", f"frame {number} is not what it was")
            found[place] = picture
    if len(found) < len(set(wanted)):
        raise SampleError("changed", "it has fewer frames than it had")
    return found


def _place(video: _Video, model: str, row: Row) -> tuple[int, View, Box]:
    box = Box(row["box_x"], row["box_y"], row["box_width"], row["box_height"], 1.0)
    return row["frame"], video.views[model], box


def _about(name: Name, rows: list[Row]) -> Row:
    """What a series of maps is, for the index; lists are in the order of its frames."""
    return {
        **dict(zip(("model", "method", "layer", "target"), name, strict=True)),
        "unit": rows[0]["unit"],
        "frames": [row["frame"] for row in rows],
        "times_s": [row["time_s"] for row in rows],
        "boxes": [[row[f"box_{side}"] for side in ("x", "y", "width", "height")] for row in rows],
        **{key: [row[key] for row in rows] for key in ("empty", "probability", "total_bits")},
    }


def _saliency(row: Row) -> np.ndarray:
    """The map (h, w) float32 in its unit."""
    return np.asarray(row["saliency"], np.float32).reshape(row["height"], row["width"]) * np.float32(row["scale"])


def _heated(picture: np.ndarray, row: Row, top: float) -> np.ndarray:
    """The map's heat over all of a picture (H, W, 3)."""
    heat = cv2.resize(_saliency(row), (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)
    return blend(picture, heat, top, OverlayParams().max_opacity)


def _write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", picture[..., ::-1] if picture.ndim == 3 else picture)[1].tobytes())


def _file_name(text: str) -> str:
    """`text` where it is a harmless file name, else what is left of it, with digits that keep it apart from others."""
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}", text):
        return text
    kept = re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:120].lstrip("-")
    return f"{kept}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _field(text: str) -> str:
    """`text` as FiftyOne calls fields."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower()
