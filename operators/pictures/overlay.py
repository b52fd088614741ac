"""Heat over pictures: saliency placed back where it was computed, with captions and a colour bar."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from operators.pictures.captions import QUIET, blank, shorten, text_width, write

cv2.setNumThreads(1)

Rectangle = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""

_OUTLINE: Final = (255, 255, 255)
_MARK: Final = "INTERPOLATED"
#: what the colour bar's heat lies over: a middle grey, as skin is
_BAR_BACKGROUND: Final = 128
#: a face smaller than this share of the picture's height is shown once more, enlarged to `_INSET` of that height
_SMALL_FACE: Final = 0.4
_INSET: Final = 0.45


@dataclass(frozen=True)
class OverlayParams:
    """How a panel looks; fonts and lines follow the picture's height."""

    picture_height_px: int = 480
    max_picture_width_px: int = 856
    max_opacity: float = 0.8

    @property
    def font_px(self) -> int:
        return max(10, round(self.picture_height_px * 0.046))

    @property
    def margin_px(self) -> int:
        return round(self.picture_height_px * 0.025)


@dataclass(frozen=True)
class Scale:
    """What the brightest colour means, and of which maps that holds."""

    top: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Panel:
    """One explained picture and what is written under it.

    `picture` (H, W, 3) uint8 RGB; `saliency` (h, w) lies over `box` of the picture, the whole of it where
    `box` is None; `scale` says what its colours mean. A panel that is `interpolated` says so, and its box is dashed.
    """

    picture: np.ndarray
    saliency: np.ndarray
    box: Rectangle | None
    scale: Scale
    title: str
    lines: tuple[str, ...]
    interpolated: bool = False


def place(saliency: np.ndarray, box: Rectangle, height: int, width: int) -> np.ndarray:
    """Saliency (h, w) over `box` of a (height, width) picture, float32: bilinear, align_corners=False; 0 outside."""
    x, y, box_width, box_height = box
    placed = np.zeros((height, width), np.float32)
    inside = cv2.resize(saliency.astype(np.float32), (box_width, box_height), interpolation=cv2.INTER_LINEAR)
    placed[y : y + box_height, x : x + box_width] = inside
    return placed


def blend(picture: np.ndarray, saliency: np.ndarray, top: float, max_opacity: float) -> np.ndarray:
    """Heat over a picture (H, W, 3) uint8 RGB; `saliency` (H, W), full heat at `top`.

    Inferno grows evenly in lightness, so that equal steps look equal; opacity grows with the heat, so that
    the picture stays visible where no information passes.
    """
    heat = np.clip(saliency / top, 0, 1) if top > 0 else np.zeros_like(saliency)
    colours = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = (max_opacity * heat)[..., None]
    return np.rint(opacity * colours + (1 - opacity) * picture).astype(np.uint8)


def fit(height: int, width: int, params: OverlayParams) -> tuple[int, int]:
    """The (height, width) at which a picture is shown: the panel's height, less where it would be too wide."""
    ratio = min(params.picture_height_px / height, params.max_picture_width_px / width)
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def draw_panel(panel: Panel, params: OverlayParams) -> np.ndarray:
    """The picture with its heat and box, captions and the colour bar below; (H, W, 3) uint8 RGB.

    All panels of the same picture size and number of lines have the same size.
    """
    height, width = fit(panel.picture.shape[0], panel.picture.shape[1], params)
    box = (0, 0, width, height) if panel.box is None else _scaled(panel.box, panel.picture.shape, height, width)
    saliency = place(panel.saliency, box, height, width)
    picture = blend(resized(panel.picture, height, width), saliency, panel.scale.top, params.max_opacity)
    if panel.box is not None:
        _outline(picture, box, params, panel.interpolated)
        _draw_inset(picture, panel, box, params)
    if panel.interpolated:
        _draw_mark(picture, params)

    font, margin = params.font_px, params.margin_px
    line_px = round(font * 1.35)
    bar = colour_bar(max(width, params.picture_height_px), panel.scale, params.font_px, params.max_opacity)
    canvas = blank(
        params.picture_height_px + margin + line_px * (1 + len(panel.lines)) + margin // 2 + bar.shape[0], bar.shape[1]
    )
    top, left = (params.picture_height_px - height) // 2, (canvas.shape[1] - width) // 2
    canvas[top : top + height, left : left + width] = picture
    y = params.picture_height_px + margin
    for number, line in enumerate((panel.title, *panel.lines)):
        write(canvas, line, margin, y, font, bold=number == 0, quiet=number > 0)
        y += line_px
    canvas[-bar.shape[0] :] = bar
    return canvas


def draw_page(panels: Sequence[np.ndarray], left: str, right: str, params: OverlayParams) -> np.ndarray:
    """Panels in a grid that is about 16:9, `left` and `right` written above them; (H, W, 3) uint8 RGB, even sides."""
    gap = params.margin_px
    height, width = (max(panel.shape[axis] for panel in panels) for axis in (0, 1))
    columns = min(range(1, len(panels) + 1), key=lambda n: _grid_cost(n, len(panels), height, width))
    rows = math.ceil(len(panels) / columns)
    widths = [max(p.shape[1] for p in panels[column::columns]) for column in range(columns)]
    header = round(params.font_px * 2.1)
    page = blank(header + rows * (height + gap), sum(widths) + gap * (columns + 1))
    page = np.pad(page, ((0, page.shape[0] % 2), (0, page.shape[1] % 2), (0, 0)), mode="edge")
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        y, x = header + row * (height + gap), gap + sum(widths[:column]) + column * gap
        page[y : y + panel.shape[0], x : x + panel.shape[1]] = panel
    font, margin = params.font_px, 2 * gap
    text_y = (header - font) // 2
    right_x = page.shape[1] - margin - text_width(right, font, bold=False)
    write(page, right, right_x, text_y, font, quiet=True)
    write(page, shorten(left, right_x - 2 * margin, font), margin, text_y, font, bold=True)
    return page


def _draw_inset(picture: np.ndarray, panel: Panel, box: Rectangle, params: OverlayParams) -> None:
    """A small face once more, enlarged, in the corner farthest from it; nothing where it would cover the face."""
    height, width = picture.shape[:2]
    x, y, box_width, box_height = box
    if panel.box is None or box_height >= _SMALL_FACE * height:
        return
    inset_height = round(_INSET * height)
    inset_width = round(inset_height * box_width / box_height)
    left = params.margin_px if x + box_width / 2 > width / 2 else width - params.margin_px - inset_width
    top = params.margin_px if y + box_height / 2 > height / 2 else height - params.margin_px - inset_height
    apart = left >= x + box_width or left + inset_width <= x or top >= y + box_height or top + inset_height <= y
    if left < 0 or left + inset_width > width or not apart:
        return
    face_x, face_y, face_width, face_height = panel.box
    face = panel.picture[face_y : face_y + face_height, face_x : face_x + face_width]
    inset = (0, 0, inset_width, inset_height)
    picture[top : top + inset_height, left : left + inset_width] = blend(
        resized(face, inset_height, inset_width),
        place(panel.saliency, inset, inset_height, inset_width),
        panel.scale.top,
        params.max_opacity,
    )
    _outline(picture, (left, top, inset_width, inset_height), params, panel.interpolated)


def nice_ticks(top: float) -> list[float]:
    """Round numbers from 0 to at most `top`, three to six of them: steps of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(top / 2))
    step = max(step for step in (power, 2 * power, 5 * power) if step <= top / 2)
    return [step * n for n in range(math.floor(top / step * (1 + 1e-9)) + 1)]


def _grid_cost(columns: int, count: int, height: int, width: int) -> float:
    """How far a grid is from 16:9, and how many of its cells are empty."""
    rows = math.ceil(count / columns)
    return abs(math.log(columns * width / (rows * height) * 9 / 16)) + (rows * columns - count) / count


def _scaled(box: Rectangle, shape: tuple[int, ...], height: int, width: int) -> Rectangle:
    """A box of a picture of `shape` in the same picture of (height, width), at least one pixel of it."""
    x, y, box_width, box_height = box
    across, down = width / shape[1], height / shape[0]
    left, top = min(round(x * across), width - 1), min(round(y * down), height - 1)
    right, bottom = min(round((x + box_width) * across), width), min(round((y + box_height) * down), height)
    return left, top, max(1, right - left), max(1, bottom - top)


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture (H, W, 3) at another size, without aliasing where it shrinks."""
    smaller = height * width < picture.shape[0] * picture.shape[1]
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4)


def _outline(picture: np.ndarray, box: Rectangle, params: OverlayParams, dashed: bool) -> None:
    x, y, width, height = box
    thickness = max(1, params.picture_height_px // 240)
    right, bottom = x + width - 1, y + height - 1
    if not dashed:
        cv2.rectangle(picture, (x, y), (right, bottom), _OUTLINE, thickness)
        return
    dash = 4 * thickness
    for at in range(x, right, 2 * dash):
        for level in (y, bottom):
            cv2.line(picture, (at, level), (min(at + dash, right), level), _OUTLINE, thickness)
    for at in range(y, bottom, 2 * dash):
        for level in (x, right):
            cv2.line(picture, (level, at), (level, min(at + dash, bottom)), _OUTLINE, thickness)


def _draw_mark(picture: np.ndarray, params: OverlayParams) -> None:
    """INTERPOLATED, in the corner at the left bottom, on a ground of its own."""
    font, margin = params.font_px, params.margin_px // 2
    label = blank(font + 2 * margin, text_width(_MARK, font, bold=True) + 2 * margin)
    write(label, _MARK, margin, margin, font, bold=True)
    height, width = min(label.shape[0], picture.shape[0]), min(label.shape[1], picture.shape[1])
    picture[picture.shape[0] - height :, :width] = label[:height, :width]


def draw_timeline(width: int, frame: int, keyframes: Sequence[int], n_frames: int, params: OverlayParams) -> np.ndarray:
    """A line for a video of `n_frames`, a stroke at each keyframe and a dot at `frame`, full at a keyframe alone.

    (h, width, 3) uint8, h even.
    """
    height, margin = 2 * round(params.font_px * 0.7), 2 * params.margin_px
    line = blank(height, width)
    middle, last = height // 2, max(n_frames - 1, 1)

    def x(of: int) -> int:
        return margin + round(min(of / last, 1) * (width - 1 - 2 * margin))

    cv2.line(line, (margin, middle), (width - 1 - margin, middle), QUIET, 1)
    for each in keyframes:
        cv2.line(line, (x(each), middle - height // 3), (x(each), middle + height // 3), _OUTLINE, 2)
    filled = cv2.FILLED if frame in keyframes else 2
    cv2.circle(line, (x(frame), middle), height // 3, _OUTLINE, filled, cv2.LINE_AA)
    return line


def colour_bar(width: int, scale: Scale, font_px: int, max_opacity: float) -> np.ndarray:
    """What the heat means: the colours over grey, with ticks in its unit; (h, width, 3), h from the font."""
    font, margin = round(font_px * 0.85), round(font_px * 0.55)
    thickness = round(font_px * 0.7)
    noted_y = thickness + round(font * 1.9)
    bar = blank(noted_y + round(font * 1.4) * bool(scale.note), width)
    unit_width = text_width(scale.unit, font, bold=False)
    length = width - 3 * margin - unit_width
    ramp = np.tile(np.linspace(0, 1, length, dtype=np.float32), (thickness, 1))
    grey = np.full((thickness, length, 3), _BAR_BACKGROUND, np.uint8)
    bar[:thickness, margin : margin + length] = blend(grey, ramp, 1.0, max_opacity)
    write(bar, scale.unit, width - margin - unit_width, (thickness - font) // 2, font, quiet=True)
    if scale.note:
        write(bar, scale.note, margin, noted_y, font, quiet=True)
    if scale.top <= 0:
        return bar
    free_x = 0  # a label that would touch the one before it is left out
    for tick in nice_ticks(scale.top):
        x = margin + round(tick / scale.top * (length - 1))
        cv2.line(bar, (x, thickness), (x, thickness + font // 3), QUIET, max(1, font // 12), cv2.LINE_AA)
        label = f"{tick:.3g}"
        label_width = text_width(label, font, bold=False)
        label_x = min(max(x - label_width // 2, margin), margin + length - label_width)
        if label_x >= free_x:
            write(bar, label, label_x, thickness + font // 2, font, quiet=True)
            free_x = label_x + label_width + font // 2
    return bar
