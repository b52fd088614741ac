"""A contact sheet can be read: nothing is cut off, nothing overlaps, every cell is where its column says."""

import numpy as np
import pytest

from operators.pictures.captions import text_width, wrapped
from operators.pictures.overlay import Scale
from operators.pictures.sheet import CELL_PX, Cell, Column, Row, draw_sheet

LONG = "stages.2.blocks.17.token_mixer.reparam_conv_list.0.projection"


def bits(top):
    return Scale(top, "bits per pixel")


def _cell(grey, line="", heat=None):
    return Cell(np.full((64, 64, 3), grey, np.uint8), line, heat)


@pytest.mark.parametrize(
    "text", [LONG, "x" * 100, "convnextv2_base.fcmae_ft_in22k_in1k_384", "видео 顔 🎬 " * 9, "block4"]
)
def test_wrapped_lines_fit_and_hold_every_letter(text):
    lines = wrapped(text, 150, 14, bold=True)
    assert all(text_width(line, 14, bold=True) <= 150 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert len(lines) == 1 or text_width(text, 14, bold=True) > 150


def test_lines_break_after_a_mark_where_there_is_one():
    assert wrapped("stages.2.token_mixer.reparam", text_width("stages.2.token_mix", 14, False), 14) == [
        "stages.2.token_",
        "mixer.reparam",
    ]
    assert wrapped("", 100, 14) == []


@pytest.mark.parametrize("name", ["block4", LONG])
def test_every_picture_is_whole_and_below_its_heading(name):
    columns = [
        Column("", "crop"),
        Column(name, name, "iba • mean 123,456,789 bits", bits(0.5)),
        Column("b", name, "", bits(2.0)),
    ]
    labels = ("1.00 s", "frame 7", *(name, "prob fake 0.50") * 4)
    rows = [Row(labels, (_cell(100), _cell(110, "9 bits"), _cell(120, "no map"))) for _ in range(2)]
    sheet = draw_sheet(columns, rows, name * 9, "a note " * 30)
    for grey in (100, 110, 120):
        shown = (sheet == grey).all(-1)
        assert (shown.sum(0) >= 2 * CELL_PX).sum() == CELL_PX
        assert (shown.sum(1) >= CELL_PX).sum() == 2 * CELL_PX
    assert (sheet[:, -8:] == sheet[0, 0]).all()  # nothing runs out at the right
    assert (sheet[:, :8] == sheet[0, 0]).all()


def test_labels_longer_than_a_picture_make_the_row_higher():
    columns = [Column("", "crop")]
    short, long = (draw_sheet(columns, [Row(("1 s",) * count, (_cell(100),))], "a", "b").shape[0] for count in (2, 40))
    assert long > short + 20 * 14


def test_heat_is_blended_on_the_columns_scale():
    heat = np.ones((2, 2), np.float32)
    columns = [Column("a", name, "", bits(top)) for name, top in (("x", 1.0), ("y", 1e9), ("z", 0.0))]
    sheet = draw_sheet(columns, [Row(("1 s",), tuple(_cell(100, "", heat) for _ in columns))], "a", "b")
    row = sheet[-CELL_PX // 2]
    lefts = [156 + 218 * number + CELL_PX // 2 for number in range(3)]
    assert row[lefts[0]].tolist() == [222, 224, 151]  # 0.8 of inferno's top (252, 255, 164), 0.2 of the picture
    assert row[lefts[1]].tolist() == [100, 100, 100]
    assert row[lefts[2]].tolist() == [100, 100, 100]
