"""Pages of an explained video: its keyframes as stills, or all of its frames with the heat fading between keyframes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from operators.inputs.flow import FlowParams
from operators.pictures.captions import wrapped
from operators.pictures.overlay import OverlayParams, Panel, draw_page, draw_panel, draw_timeline
from operators.video.decode import Frame
from pipelines.errors import UserError
from pipelines.explained import Layer, Map, as_shown, between, pictures, seen_by

#: of stills
STILLS_FPS: Final = 10
_STILL_S: Final = 1.0
#: what players decode everywhere, width and height; of many panels each is smaller
_MOST_PX: Final = (3840, 2160)
_HEIGHTS_PX: Final = (OverlayParams().picture_height_px, 400, 320, 240, 180)
_BLANK: Final = np.zeros((1, 1, 3), np.uint8)

#: (keyframe, the frame after it): what else is made of an explained frame
Keep = Callable[[Frame, np.ndarray | None], None]


@dataclass(frozen=True)
class _Book:
    """What all pages of a video share; `n_why` lines of every panel are for why a map is empty."""

    video: dict[str, Any]
    layers: list[Layer]
    flow: FlowParams
    params: OverlayParams = OverlayParams()  # noqa: RUF009

    @property
    def keyframes(self) -> set[int]:
        return {frame for layer in self.layers for frame in layer.maps}

    @property
    def n_why(self) -> int:
        return max(len(_why_lines(found, self.params)) for layer in self.layers for found in layer.maps.values())


def stills(video: dict[str, Any], layers: list[Layer], flow: FlowParams, keep: Keep) -> Iterator[np.ndarray]:
    """A page (H, W, 3) uint8 RGB of every keyframe, `STILLS_FPS` of them for a second."""
    book = _Book(video, layers, flow)
    for number, (frame, following) in enumerate(pictures(video["uri"], book.keyframes)):
        book = _fitting(book, frame, following) if number == 0 else book
        keep(frame, following)
        yield from [_page(book, frame, following)] * round(STILLS_FPS * _STILL_S)


def playing(video: dict[str, Any], layers: list[Layer], flow: FlowParams, keep: Keep) -> Iterator[np.ndarray]:
    """A page (H, W, 3) uint8 RGB of every frame, with a line that says where in the video it is and where maps are.

    Between two keyframes heat and box are what lies between theirs, and every panel says so.
    """
    book = _Book(video, layers, flow)
    keyframes = book.keyframes
    for number, (frame, following) in enumerate(pictures(video["uri"], None)):
        book = _fitting(book, frame, following) if number == 0 else book
        if frame.index in keyframes:
            keep(frame, following)
        page = _page(book, frame, following, plays=True)
        line = draw_timeline(page.shape[1], frame.index, sorted(keyframes), video["n_frames"], book.params)
        yield np.concatenate([page, line])


def _fitting(book: _Book, frame: Frame, following: np.ndarray | None) -> _Book:
    """The book with panels as large as `_MOST_PX` allows, or the smallest."""
    tried = book
    for height in _HEIGHTS_PX:
        ratio = height / _HEIGHTS_PX[0]
        across = round(OverlayParams().max_picture_width_px * ratio)
        tried = replace(book, params=OverlayParams(height, across))
        page = _page(tried, frame, following, plays=True)
        if page.shape[1] <= _MOST_PX[0] and page.shape[0] <= _MOST_PX[1]:
            return tried
    return tried


def _page(book: _Book, frame: Frame, following: np.ndarray | None, plays: bool = False) -> np.ndarray:
    video = book.video
    if frame.image.shape[:2] != (video["height"], video["width"]):
        raise UserError(f"{video['uri']} has changed: it was {video['width']}x{video['height']} when explained")
    n_why = book.n_why
    panels = [draw_panel(_panel(book, layer, frame, following, n_why, plays), book.params) for layer in book.layers]
    where = f"{frame.time_s:.2f} s • frame {frame.index}"
    if plays:
        where += " • keyframe" if frame.index in book.keyframes else ""
    return draw_page(panels, Path(video["uri"]).name, where, book.params)


def _panel(book: _Book, layer: Layer, frame: Frame, following: np.ndarray | None, n_why: int, plays: bool) -> Panel:
    title = " • ".join([layer.model, *layer.names])
    found = layer.maps.get(frame.index)
    fades = found is None and plays and not layer.plays  # a clip's cells of time say themselves how far they reach
    found, missing = between(layer.maps, frame.index) if fades else (found, "no map for this frame")
    if fades and layer.motion and following is None:
        found, missing = None, "no frame follows"
    if found is None:  # a model of motion has no map where no frame follows
        blank = _BLANK if layer.motion else frame.image
        return Panel(blank, np.zeros((1, 1)), None, layer.scale, title, (missing, *[""] * (1 + n_why)))
    why = _why_lines(found, book.params)
    lines = (*found.lines, *why, *[""] * (n_why - len(why)))
    if layer.motion:
        picture, box = seen_by(layer, found, frame.image, following, book.flow), None
    else:
        picture, box = frame.image, (found.box.x, found.box.y, found.box.width, found.box.height)
    return Panel(as_shown(picture, found), found.saliency, box, layer.scale, title, lines, interpolated=fades)


def _why_lines(found: Map, params: OverlayParams) -> list[str]:
    return wrapped(found.why, params.picture_height_px - 2 * params.margin_px, params.font_px)
