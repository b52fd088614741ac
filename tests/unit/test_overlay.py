"""Heat lies where its saliency was computed, cold pixels keep the picture, and the page can be read."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.pictures.overlay import OverlayParams, Panel, Scale, blend, draw_page, draw_panel, fit, nice_ticks, place

PARAMS = OverlayParams()


def test_place_is_bilinear_without_aligned_corners():
    saliency = np.random.default_rng(0).random((19, 19))
    placed = place(saliency, (30, 20, 111, 95), 200, 300)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(saliency)[None, None].float(), size=(95, 111), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(placed[20:115, 30:141], expected[0, 0].numpy(), atol=1e-5)
    placed[20:115, 30:141] = 0
    assert not placed.any()


def test_blend_leaves_cold_pixels_alone_and_covers_hot_ones():
    picture = np.full((1, 3, 3), 100, np.uint8)
    blended = blend(picture, np.array([[0.0, 0.5, 1.0]], np.float32), 1.0, max_opacity=1.0)
    assert blended[0, 0].tolist() == [100, 100, 100]
    assert blended[0, 2].tolist() == [252, 255, 164]  # the top of inferno
    # half heat is half opaque: 0.5 * inferno's middle (188, 55, 84) + 0.5 * 100
    assert np.abs(blended[0, 1].astype(int) - [144, 78, 92]).max() <= 2


def test_heat_above_the_scale_is_full_heat_and_no_heat_at_all_is_no_error():
    picture = np.full((2, 2, 3), 100, np.uint8)
    full = blend(picture, np.ones((2, 2), np.float32), 1.0, 0.85)
    np.testing.assert_array_equal(blend(picture, np.full((2, 2), 9.0, np.float32), 1.0, 0.85), full)
    np.testing.assert_array_equal(blend(picture, np.zeros((2, 2), np.float32), 0.0, 0.85), picture)


def test_lightness_grows_with_bits():
    grey = np.full((1, 64, 3), 0, np.uint8)
    lightness = blend(grey, np.linspace(0, 1, 64, dtype=np.float32)[None], 1.0, 0.85).mean(-1)[0]
    assert (np.diff(lightness) >= -1).all()
    assert lightness[-1] > 150


@given(st.floats(1e-6, 1e6))
def test_ticks_are_round_and_within_the_scale(top):
    ticks = nice_ticks(top)
    assert ticks[0] == 0
    assert ticks[-1] <= top * 1.0001
    assert 3 <= len(ticks) <= 6
    assert float(f"{ticks[1]:.0e}") == pytest.approx(ticks[1])


def test_ticks_by_hand():
    assert nice_ticks(0.0115) == [0, 0.005, 0.01]
    assert nice_ticks(4) == [0, 2, 4]


@settings(max_examples=40)
@given(st.integers(1, 4000), st.integers(1, 4000))
def test_pictures_fit_the_panel(height, width):
    shown_height, shown_width = fit(height, width, PARAMS)
    assert 1 <= shown_height <= 480
    assert 1 <= shown_width <= 856
    assert shown_height == 480 or shown_width == 856


LINES = ("explains fake", "prob fake 0.93")


def _panel(picture, saliency, box, scale=1.0):
    return Panel(
        picture, saliency, box, Scale(scale, "bits per pixel"), "xception • block4", ("explains fake", "prob fake 0.93")
    )


def test_a_panel_shows_the_heat_at_the_box():
    saliency = np.zeros((8, 8))
    saliency[:4, :4] = 1
    picture = np.full((960, 960, 3), 90, np.uint8)  # shown at half its size
    panel = draw_panel(_panel(picture, saliency, (400, 200, 480, 480)), PARAMS)
    changed = np.abs(panel[:480, :480].astype(int) - 90).max(-1) > 60
    inside = changed[104:204, 204:304]  # the quarter of the box, its outline and soft edge left out
    assert inside.all()
    changed[98:342, 198:442] = False
    assert not changed.any()
    assert np.abs(panel[237:335, 204:435].astype(int) - 90).max() <= 1  # the cold half keeps the picture


def test_a_small_face_is_shown_once_more_away_from_it():
    picture = np.full((480, 850, 3), 90, np.uint8)
    picture[100:180, 100:180] = (0, 200, 0)
    panel = draw_panel(_panel(picture, np.zeros((4, 4)), (100, 100, 80, 80)), PARAMS)
    green = (panel[:480] == (0, 200, 0)).all(-1)
    assert green[104:176, 104:176].all()
    assert green[300:440, 650:800].all()  # enlarged, at the other end
    assert not green[:, 200:600].any()


@pytest.mark.parametrize("shape", [(2160, 3840), (8, 8), (480, 2), (2, 480), (1920, 1080)])
def test_any_picture_makes_a_panel(shape):
    height, width = shape
    box = (0, 0, max(1, width // 3), max(1, height // 3))
    panel = draw_panel(_panel(np.zeros((*shape, 3), np.uint8), np.ones((3, 3)), box), PARAMS)
    assert panel.shape[0] == draw_panel(_panel(np.zeros((64, 64, 3), np.uint8), np.ones((3, 3)), None), PARAMS).shape[0]
    assert 480 <= panel.shape[1] <= 856


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_a_page_holds_every_panel_whole(count):
    panels = [np.full((600, 480, 3), 40 + 20 * n, np.uint8) for n in range(count)]
    page = draw_page(panels, "clip.mp4", "1.00 s", PARAMS)
    assert page.shape[0] % 2 == page.shape[1] % 2 == 0
    for n in range(count):
        assert (page == 40 + 20 * n).all(-1).sum() == 600 * 480


def test_long_and_foreign_names_stay_inside_the_page():
    panels = [np.full((600, 480, 3), 40, np.uint8)]
    for name in ("x" * 300 + ".mp4", "odd name with spaces ünïcode видео 顔 🎬.mp4", ""):
        page = draw_page(panels, name, "1.00 s • frame 25", PARAMS)
        header = page[:40]
        assert (header[:, -14:] == page[0, 0]).all()
        assert (header[:, :14] == page[0, 0]).all()


def test_fonts_follow_the_panel():
    for height in (360, 1080):
        params = OverlayParams(picture_height_px=height, max_picture_width_px=2 * height)
        panel = draw_panel(_panel(np.zeros((90, 160, 3), np.uint8), np.zeros((3, 3)), None), params)
        title = panel[height : height + round(height * 0.08)]
        written_rows = np.flatnonzero((title.max(-1) > 150).any(1))
        assert 0.025 * height < np.ptp(written_rows) < 0.06 * height
