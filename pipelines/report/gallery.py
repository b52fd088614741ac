"""The videos that the page plays: which ones, their pictures once, and their maps as numbers."""

import base64
import gzip
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote, unquote

import cv2
import duckdb
import numpy as np

from operators.inputs.faces import Box
from operators.inputs.flow import FlowParams
from operators.inputs.view import View
from operators.video.encode import write_video
from pipelines.explained import pictures, played, why_empty
from pipelines.lake.read import open_lake, queries
from schemas.errors import SampleError

MEDIA: Final = ("none", "posters", "clips")
#: a keyframe is as wide on the page, and shown for half a second
_SIDE_PX: Final = 224
_FPS: Final = 2
#: where only clips are shown, they play
_CLIP_FPS: Final = 8
_CRF: Final = 28
#: what is left of a picture whose face nobody is to recognise; people know faces they have seen from 7x10 (Sinha 2006)
_BLURRED_PX: Final = 6
#: what `write_beside` calls its files
_BESIDE: Final = re.compile(r"\d{5,}(-\d+)?\.(js|mp4|webp)")
_NOTHING: Final = np.full((1, 1, 3), 128, np.uint8)
_POSTER_PX: Final = 160
_POSTER_QUALITY: Final = 60
#: maps of more cells are pooled to as many on a side
_CELLS: Final = 32
_LEVELS: Final = 255
#: of how many videos the blocks are opened together
_AT_ONCE: Final = 8
#: how many videos of each kind come first where not all fit
_STRATUM: Final = 10
#: of how many videos, the first by a hash of their ids, the methods are compared before any is chosen; so few fit
#: nearly always, and are read once
_COMPARED: Final = 64
RULE: Final = (
    f"in turn one each of the {_STRATUM} most confidently wrong, the {_STRATUM} least sure, the {_STRATUM} best and "
    f"the {_STRATUM} worst localised, the {_STRATUM} with most heat outside of the face and, where there are more than "
    f"{_COMPARED}, of so many drawn by a hash of their ids the {_STRATUM} on which the methods disagree most, as far "
    "as these are known, then by the hash"
)

Row = dict[str, Any]
#: what full heat means in all pictures of a run, by (model, method, layer)
Tops = dict[tuple[str, str, str], float]


@dataclass(frozen=True)
class Medium:
    """What a card plays or draws: inside the page as base64, or in a file beside it, then `src` is its address."""

    content: str
    src: str = ""


@dataclass
class Card:
    """One video of the gallery.

    `told` is what the page's script reads of it (a JSON object), `poster` a WebP, `clips` an MP4 for each of its views
    and `maps` all maps and true masks, gzipped. `why` says why there are no pictures.
    """

    told: Row
    maps: Medium
    poster: Medium | None = None
    clips: list[Medium] = field(default_factory=list)
    why: str = ""

    @property
    def size(self) -> int:
        """Bytes it adds to the page, its own markup with some to spare."""
        media = [self.maps, *self.clips, *([self.poster] if self.poster else [])]
        return len(json.dumps(self.told)) + sum(len(each.content) for each in media) + 2500


def order(rows: list[Row], disagreement: dict[str, float]) -> list[str]:
    """The ids of all videos, from the rows of queries/report/videos.sql, in the order in which they are to be shown.

    A video counts with its model that is most wrong, least sure, and so on; `disagreement` is known of `drawn` videos.
    `RULE` says it in words.
    """
    known = [row for row in rows if row["loss"] is not None]
    located = [row for row in rows if row["localisation"] is not None]
    strata = [
        sorted((row for row in known if not row["is_right"]), key=lambda row: -row["loss"]),
        sorted((row for row in known if row["sure"] is not None), key=lambda row: row["sure"]),
        sorted(located, key=lambda row: -row["localisation"]),
        sorted(located, key=lambda row: row["localisation"]),
        sorted((row for row in rows if row["outside"] is not None), key=lambda row: -row["outside"]),
    ]
    ids = [list(dict.fromkeys(row["video_id"] for row in stratum))[:_STRATUM] for stratum in strata]
    ids.append(sorted(disagreement, key=lambda each: -disagreement[each])[:_STRATUM])
    first = [each for turn in itertools.zip_longest(*ids) for each in turn if each is not None]
    return list(dict.fromkeys([*first, *drawn(rows)]))


def drawn(rows: list[Row]) -> list[str]:
    """The ids of all videos by a hash of them."""
    return sorted({row["video_id"] for row in rows}, key=lambda each: hashlib.sha256(each.encode()).hexdigest())


def fill(
    connection: duckdb.DuckDBPyConnection,
    lake: Path,
    run_id: str,
    rows: list[Row],
    config: Row,
    media: str,
    blur_faces: bool,
    room: int,
) -> tuple[list[Card], int]:
    """The cards that `room` bytes hold, in the order of `order`, and how many videos there are in all."""
    by_video: dict[str, list[Row]] = {}
    scales = connection.sql(queries("render")["scales"], params={"run_id": run_id}).to_arrow_table().to_pylist()
    tops = {(row["model"], row["method"], row["layer"]): row["top"] for row in scales}
    models = [each["spec"]["name"] for each in config["detectors"]]
    for row in sorted(rows, key=lambda row: models.index(row["model"])):
        by_video.setdefault(row["video_id"], []).append(row)
    cards: list[Card] = []
    disagreement = {}
    ids = drawn(rows)
    for video_id, maps, _ in _read(lake, run_id, ids[:_COMPARED] if len(ids) > _COMPARED else []):
        found = [each for model in models if (each := differ(maps, model)) is not None]
        if found:
            disagreement[video_id] = max(found)
    for video_id, maps, truth in _read(lake, run_id, order(rows, disagreement)):
        card = _card(by_video[video_id], maps, truth, config, tops, media, blur_faces)
        if card.size > room:
            break
        room -= card.size
        cards.append(card)
    names = short_names(card.told["uri"] for card in cards)
    for card in cards:
        card.told["name"] = names[card.told["uri"]]
    return cards, len(by_video)


def short_names(uris: Iterable[str]) -> dict[str, str]:
    """uri -> the end of its path: the file's name, and of files that share it as many folders as tell them apart."""
    paths = {uri: unquote(uri).split("/") for uri in uris}
    names = {uri: path[-1] for uri, path in paths.items()}
    for n in range(2, 1 + max(map(len, paths.values()), default=0)):
        shared = {name for name, count in Counter(names.values()).items() if count > 1}
        names |= {uri: "/".join(paths[uri][-n:]) for uri, name in names.items() if name in shared}
    return names


def _read(lake: Path, run_id: str, ids: list[str]) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """Each video with the rows of its maps and true masks; a few at a time, without the blocks of others."""
    for first in range(0, len(ids), _AT_ONCE):
        few = ids[first : first + _AT_ONCE]
        own: dict[str, tuple[list[Row], list[Row]]] = {video_id: ([], []) for video_id in few}
        with open_lake(lake, run_id, few) as connection:
            for place, name in enumerate(("maps", "truth")):
                found = connection.sql(queries("render")[name], params={"run_id": run_id, "video_ids": few})
                for row in found.to_arrow_table().to_pylist():
                    own[row["video_id"]][place].append(row)
        for video_id, (maps, truth) in own.items():
            yield video_id, maps, truth


def write_beside(cards: list[Card], folder: Path) -> int:
    """Move what the cards play and draw out of the page, into files of `folder` beside it; return their bytes.

    A script may read no file of a page that was opened from disk: maps come as scripts that hand them over. Files that
    an earlier page left there are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.iterdir():
        if _BESIDE.fullmatch(stale.name):
            stale.unlink()
    n_bytes = 0

    def put(name: str, content: bytes) -> Medium:
        nonlocal n_bytes
        n_bytes += (folder / name).write_bytes(content)
        return Medium("", f"{quote(folder.name)}/{name}")

    for number, card in enumerate(cards):
        stem = f"{number:05}"
        card.maps = put(f"{stem}.js", f'viba({number}, "{card.maps.content}")\n'.encode())
        card.clips = [put(f"{stem}-{n}.mp4", base64.b64decode(clip.content)) for n, clip in enumerate(card.clips)]
        card.poster = card.poster and put(f"{stem}.webp", base64.b64decode(card.poster.content))
    return n_bytes


def _card(
    rows: list[Row],
    maps: list[Row],
    truth: list[Row],
    config: Row,
    tops: Tops,
    media: str,
    blur_faces: bool,
) -> Card:
    video_id = rows[0]["video_id"]
    views = {each["spec"]["name"]: View(**each["spec"]["view"]) for each in config["detectors"]}
    maps = played(maps, views)
    # the first is the card's picture: of a face, where any detector looks at one
    shown = sorted(dict.fromkeys(views[row["model"]] for row in maps), key=lambda view: view.shows == "flow")
    frames = sorted({row["frame"]: row["time_s"] for row in maps}.items())
    place = {frame: number for number, (frame, _) in enumerate(frames)}
    fps = _CLIP_FPS if all(view.shows == "clip" for view in shown) else _FPS
    packed = _Packed()
    series = _series(maps, place, views, shown, packed, config, tops)
    told = {
        "id": video_id,
        "uri": rows[0]["uri"],
        "dataset": rows[0]["dataset"],
        "label": rows[0]["label"],
        "split": rows[0]["split"],
        "models": {row["model"]: _figures(row) | {"differ": differ(maps, row["model"])} for row in rows},
        "frames": [{"frame": frame, "time": round(time, 3)} for frame, time in frames],
        "series": series,
        "truth": [
            packed.add(np.asarray(row["mask"], np.uint8).reshape(row["height"], row["width"]))
            | {"k": place[row["frame"]]}
            for row in truth
            if row["frame"] in place
        ],
        "fps": fps,
        "side": _SIDE_PX,
    }
    card = Card(told, Medium(packed.base64()))
    if media != "none":
        try:
            seen = _pictures(rows[0]["uri"], maps, views, FlowParams(**config["prepare"]["flow"]), blur_faces)
        except SampleError as error:
            card.why = f"the file cannot be read any more ({error.code})"
            return card
        card.poster = Medium(_poster(seen[shown[0]][0]))
        if media == "clips":
            card.clips = [Medium(_clip(seen[view], fps)) for view in shown]
    return card


def _figures(row: Row) -> Row:
    names = ("said", "sure", "score", "is_right", "loss", "localisation", "outside")
    return {name: _short(row[name]) for name in names}


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


@dataclass
class _Packed:
    """Small pictures of bytes, one after the other."""

    parts: list[bytes] = field(default_factory=list)
    at: int = 0

    def add(self, grid: np.ndarray) -> Row:
        """Take (h, w) uint8; where it lies."""
        self.parts.append(grid.tobytes())
        place = {"h": grid.shape[0], "w": grid.shape[1], "at": self.at}
        self.at += grid.size
        return place

    def base64(self) -> str:
        return base64.b64encode(gzip.compress(b"".join(self.parts), mtime=0)).decode()


def _series(
    maps: list[Row],
    place: dict[int, int],
    views: dict[str, View],
    shown: list[View],
    packed: _Packed,
    config: Row,
    tops: Tops,
) -> list[Row]:
    """Maps of one model, method and layer, and target where a run explains several, on the run's scale."""
    models, methods, by_target = list(views), config.get("methods", []), len(config.get("targets", ())) > 1

    def order_of(key: tuple[str, str, str, str]) -> tuple[Any, ...]:
        model, method, *rest = key
        return models.index(model), methods.index(method) if method in methods else len(methods), *rest

    found: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in maps:
        key = (row["model"], row["method"], row["layer"], row["target"] if by_target else "")
        found.setdefault(key, []).append(row)
    series = []
    for (model, method, layer, target), rows in sorted(found.items(), key=lambda item: order_of(item[0])):
        grids = [_grid(row) for row in rows]
        top = max(tops.get((model, method, layer), 0.0), 0.0)
        own = []
        for row, grid in zip(rows, grids, strict=True):
            levels = np.rint(np.clip(grid / top, 0, 1) * _LEVELS) if top > 0 else np.zeros_like(grid)
            where = {} if row["empty"] else packed.add(levels.astype(np.uint8))
            own.append(
                {"k": place[row["frame"]], "target": row["target"], "p": _short(row["probability"])}
                | ({"cell": row["cell"]} if row["cell"] else {})
                | {"bits": None if row["total_bits"] is None else round(row["total_bits"], 1)}
                | ({"empty": True, "why": why_empty(row, config["bottleneck"]["steps"])} if row["empty"] else where)
            )
        name = {"model": model, "method": method, "layer": layer, "target": target}
        series.append(
            name
            | {"unit": rows[0]["unit"], "top": float(f"{top:.3g}"), "view": shown.index(views[model])}
            # true masks are of the face and its keyframe
            | {"outlined": views[model].part == "face" and views[model].shows != "clip"}
            | {"maps": own}
        )
    return series


def _grid(row: Row) -> np.ndarray:
    """The map (h, w) in its unit, pooled where it is larger than the page draws it."""
    grid = np.asarray(row["saliency"], np.float32).reshape(row["height"], row["width"]) * np.float32(row["scale"])
    if max(grid.shape) > _CELLS:
        share = _CELLS / max(grid.shape)
        size = max(1, round(grid.shape[1] * share)), max(1, round(grid.shape[0] * share))
        grid = cv2.resize(grid, size, interpolation=cv2.INTER_AREA)
    return grid


def differ(maps: list[Row], model: str) -> float | None:
    """How much the methods of a model disagree: 1 - the mean correlation of their maps for the same frame and class.

    On a common grid of 16x16 cells; None for fewer than two methods with heat. 0: they say the same; 1: unrelated.
    """
    by_sample: dict[tuple[int, str], list[np.ndarray]] = {}
    for row in maps:
        if row["model"] == model and not row["empty"]:
            grid = cv2.resize(_grid(row), (16, 16), interpolation=cv2.INTER_LINEAR).ravel()
            if np.ptp(grid) > 0:
                by_sample.setdefault((row["frame"], row["target"]), []).append(grid)
    pairs = [float(np.corrcoef(a, b)[0, 1]) for own in by_sample.values() for a, b in itertools.combinations(own, 2)]
    return round(1 - float(np.mean(pairs)), 4) if pairs else None


def _pictures(
    uri: str, maps: list[Row], views: dict[str, View], flow: FlowParams, blur_faces: bool
) -> dict[View, list[np.ndarray]]:
    """For each view the keyframes as (224, 224, 3) uint8 in order, grey where the view has none.

    Raises SampleError where the file is gone, or no longer has the frames.
    """
    boxes = {
        (row["frame"], views[row["model"]]): Box(row["box_x"], row["box_y"], row["box_width"], row["box_height"], 1.0)
        for row in maps
    }
    frames = {frame for frame, _ in boxes}
    found: dict[View, list[np.ndarray]] = {view: [] for _, view in boxes}
    for frame, following in pictures(uri, frames):
        for view, own in found.items():
            box = boxes.get((frame.index, view))
            height, width = frame.image.shape[:2]
            if box is not None and (box.x + box.width > width or box.y + box.height > height):
                raise SampleError("changed", f"frame {frame.index} is smaller than it was")
            cut = view if view.shows == "flow" else replace(view, size=_SIDE_PX)
            seen = None if box is None else cut.cut(frame.image, following, box, flow)
            seen = _NOTHING if seen is None else seen
            if blur_faces and view.shows != "flow":
                seen = cv2.resize(seen, (_BLURRED_PX, _BLURRED_PX), interpolation=cv2.INTER_AREA)
            own.append(cv2.resize(seen, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_LINEAR))
    if any(len(own) < len(frames) for own in found.values()):
        raise SampleError("changed", "it has fewer frames than it had")
    return found


def _poster(picture: np.ndarray) -> str:
    small = cv2.resize(picture, (_POSTER_PX, _POSTER_PX), interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".webp", small[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, _POSTER_QUALITY])[1]
    return base64.b64encode(encoded.tobytes()).decode()


def _clip(frames: list[np.ndarray], fps: int) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, frames, fps, _CRF)
        return base64.b64encode(path.read_bytes()).decode()
