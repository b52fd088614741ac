"""A contact sheet: what several layers look at, side by side, keyframe below keyframe."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import cv2
import numpy as np

from operators.pictures.captions import QUIET, blank, shorten, wrapped, write
from operators.pictures.overlay import OverlayParams, Scale, blend, colour_bar, place, resized

#: side of every picture of a sheet
CELL_PX: Final = 208
_FONT_PX: Final = 14
_TITLE_PX: Final = 20
_LINE_PX: Final = 19
_GAP_PX: Final = 10
_LABELS_PX: Final = 136
_MAX_OPACITY: Final = OverlayParams.max_opacity


@dataclass(frozen=True)
class Column:
    """Neighbours of one `group` share its heading; `scale` says what the heat means, None: no heat."""

    group: str
    title: str
    line: str = ""
    scale: Scale | None = None


@dataclass(frozen=True)
class Cell:
    """`picture` (H, W, 3) uint8 RGB, shown square, `line` below it; `saliency` (h, w) lies over the whole of it."""

    picture: np.ndarray
    line: str = ""
    saliency: np.ndarray | None = None


@dataclass(frozen=True)
class Row:
    """What is written at the left, the first line louder, and a cell for each column."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]


def draw_sheet(columns: Sequence[Column], rows: Sequence[Row], title: str, note: str) -> np.ndarray:
    """All rows below the columns' headings, `title` and `note` above; (H, W, 3) uint8 RGB.

    Captions that are too wide for their place are broken into lines; only the title is shortened.
    """
    lefts = _lefts(columns)
    width = lefts[-1] + CELL_PX + _GAP_PX
    strips = [_row(row, columns, lefts, width) for row in rows]
    return np.concatenate([_header(title, note, width), _headings(columns, lefts, width), *strips])


def _lefts(columns: Sequence[Column]) -> list[int]:
    """Where each column begins: groups stand further apart than their columns."""
    lefts, x = [], _GAP_PX + _LABELS_PX + _GAP_PX
    for number, column in enumerate(columns):
        if number and column.group != columns[number - 1].group:
            x += 2 * _GAP_PX
        lefts.append(x)
        x += CELL_PX + _GAP_PX
    return lefts


def _header(title: str, note: str, width: int) -> np.ndarray:
    inside = width - 2 * _GAP_PX
    lines = wrapped(note, inside, _FONT_PX)
    header = blank(_GAP_PX + round(_TITLE_PX * 1.5) + _LINE_PX * len(lines) + _GAP_PX, width)
    write(header, shorten(title, inside, _TITLE_PX), _GAP_PX, _GAP_PX, _TITLE_PX, bold=True)
    _write_lines(header, lines, _GAP_PX, _GAP_PX + round(_TITLE_PX * 1.5), quiet=True)
    return header


def _headings(columns: Sequence[Column], lefts: list[int], width: int) -> np.ndarray:
    """The groups' names over a line as wide as they are, then each column's name, line and colour scale."""
    groups = []
    for name, members in groupby(range(len(columns)), lambda number: columns[number].group):
        numbers = list(members)
        left, right = lefts[numbers[0]], lefts[numbers[-1]] + CELL_PX
        groups.append((wrapped(name, right - left, _FONT_PX, bold=True), left, right))
    titles = [wrapped(column.title, CELL_PX, _FONT_PX, bold=True) for column in columns]
    lines = [wrapped(column.line, CELL_PX, _FONT_PX) for column in columns]
    bars = [
        None if column.scale is None else colour_bar(CELL_PX, column.scale, _FONT_PX, _MAX_OPACITY)
        for column in columns
    ]
    ruled_y = max(len(name) for name, _, _ in groups) * _LINE_PX
    text_y = ruled_y + _GAP_PX
    bar_y = text_y + max(len(a) + len(b) for a, b in zip(titles, lines, strict=True)) * _LINE_PX + _GAP_PX // 2
    height = bar_y + max((bar.shape[0] for bar in bars if bar is not None), default=0) + _GAP_PX // 2
    headings = blank(height, width)
    for name, left, right in groups:
        _write_lines(headings, name, left, 0, bold=True)
        if name:
            cv2.line(headings, (left, ruled_y), (right - 1, ruled_y), QUIET, 1)
    for left, column_title, line, bar in zip(lefts, titles, lines, bars, strict=True):
        _write_lines(headings, column_title, left, text_y, bold=True)
        _write_lines(headings, line, left, text_y + len(column_title) * _LINE_PX, quiet=True)
        if bar is not None:
            headings[bar_y : bar_y + bar.shape[0], left : left + CELL_PX] = bar
    return headings


def _row(row: Row, columns: Sequence[Column], lefts: list[int], width: int) -> np.ndarray:
    first, *others = row.labels
    loud = wrapped(first, _LABELS_PX, _FONT_PX, bold=True)
    quiet = [line for label in others for line in wrapped(label, _LABELS_PX, _FONT_PX)]
    below = [wrapped(cell.line, CELL_PX, _FONT_PX) for cell in row.cells]
    most = max(1, *map(len, below))
    height = max(CELL_PX + round(_LINE_PX * (most + 0.2)), (len(loud) + len(quiet)) * _LINE_PX) + _GAP_PX
    strip = blank(height, width)
    _write_lines(strip, loud, _GAP_PX, 0, bold=True)
    _write_lines(strip, quiet, _GAP_PX, len(loud) * _LINE_PX, quiet=True)
    for left, column, cell, lines in zip(lefts, columns, row.cells, below, strict=True):
        picture = resized(cell.picture, CELL_PX, CELL_PX)
        if cell.saliency is not None and column.scale is not None:
            heat = place(cell.saliency, (0, 0, CELL_PX, CELL_PX), CELL_PX, CELL_PX)
            picture = blend(picture, heat, column.scale.top, _MAX_OPACITY)
        strip[:CELL_PX, left : left + CELL_PX] = picture
        _write_lines(strip, lines, left, CELL_PX + _LINE_PX - _FONT_PX, quiet=True)
    return strip


def _write_lines(image: np.ndarray, lines: list[str], x: int, y: int, bold: bool = False, quiet: bool = False) -> None:
    for number, line in enumerate(lines):
        write(image, line, x, y + number * _LINE_PX, _FONT_PX, bold=bold, quiet=quiet)
