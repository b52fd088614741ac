"""Captions in any script, and how much room they take."""

import math
from functools import cache
from typing import Final

import cv2
import numpy as np

QUIET: Final = (158, 158, 164)
_BACKGROUND: Final = (18, 18, 20)
_TEXT: Final = (236, 236, 236)
_REGULAR: Final = 400
_BOLD: Final = 700


def blank(height: int, width: int) -> np.ndarray:
    """An empty picture (height, width, 3) uint8 in the background's colour."""
    return np.full((height, width, 3), _BACKGROUND, np.uint8)


def text_width(text: str, font_px: int, bold: bool) -> int:
    """Pixels that `write` takes for the text."""
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _font(), font_px, _BOLD if bold else _REGULAR)
    return width


def shorten(text: str, width_px: int, font_px: int) -> str:
    """The text with its middle left out where it is too wide: both ends of a file name tell files apart."""
    shown = text
    keep = len(text)
    while keep > 2 and text_width(shown, font_px, bold=True) > width_px:
        keep -= 1
        shown = text[: math.ceil(keep / 2)] + "…" + text[len(text) - keep // 2 :]
    return shown


def wrapped(text: str, width_px: int, font_px: int, bold: bool = False) -> list[str]:
    """The text in lines that are not too wide, broken after ' ', '.', '_', '-' or '/' where one of them allows it."""
    lines = []
    while text:
        keep = len(text)
        while keep > 1 and text_width(text[:keep].rstrip(), font_px, bold) > width_px:
            keep -= 1
        if keep < len(text):
            keep = max(text.rfind(mark, 0, keep) for mark in " ._-/") + 1 or keep
        lines.append(text[:keep].rstrip())
        text = text[keep:].lstrip()
    return lines


def write(image: np.ndarray, text: str, x: int, y: int, font_px: int, bold: bool = False, quiet: bool = False) -> None:
    """Text whose line is `font_px` high and starts at the top left point (x, y)."""
    baseline = y + round(font_px * 0.8)
    cv2.putText(image, text, (x, baseline), QUIET if quiet else _TEXT, _font(), font_px, _BOLD if bold else _REGULAR)


@cache
def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")
