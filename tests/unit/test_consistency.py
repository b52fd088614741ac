"""Masks and their steadiness: figures worked out by hand, and what holds for any masks."""

from math import ceil, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from operators.measures.consistency import Consistency, consistency, overlap, video_metrics
from operators.measures.maps import heat
from operators.measures.rules import MaskRule, mask

SALIENCY = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=7),
    # few values, so that ties are common, and any other
    elements=st.one_of(st.sampled_from([0.0, 0.5, 1.0, 2.0]), st.floats(0, 1000, width=32)),
)
MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))
RULES = st.sampled_from([MaskRule.parse(name) for name in ("max0.5", "max1.0", "top0.1", "top0.5", "top1.0", "otsu")])


def frame(*rows: str) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


@pytest.mark.parametrize("name", ["max0.5", "top0.1", "otsu", "max1.0", "top0.025"])
def test_the_name_in_the_tables_reads_back(name):
    assert str(MaskRule.parse(name)) == name


@given(st.sampled_from(["max", "top"]), st.floats(0, 1, exclude_min=True))
def test_every_rule_reads_back(kind, share):
    assert MaskRule.parse(str(MaskRule(kind, share))) == MaskRule(kind, share)


def test_one_rule_has_one_name():
    assert {str(MaskRule.parse(name)) for name in ("max0.5", "max.5", "max0.50", "max5e-1")} == {"max0.5"}


@pytest.mark.parametrize(
    "name", ["", "max", "top", "max0", "max1.5", "top-0.1", "maxnan", "otsu0.5", "mean", "half0.5"]
)
def test_a_wrong_name_is_refused(name):
    with pytest.raises(ValueError, match="mask rule"):
        MaskRule.parse(name)


def test_max_takes_the_share_of_the_frames_maximum():
    assert mask(np.float32([[0, 1, 1.9], [2, 3, 4]]), MaskRule("max", 0.5)).tolist() == [[False] * 3, [True] * 3]


@pytest.mark.parametrize(("n_pixels", "share", "wanted"), [(10, 0.1, 1), (11, 0.1, 2), (30, 0.1, 3), (100, 0.07, 7)])
def test_top_rounds_the_number_of_pixels_up(n_pixels, share, wanted):
    # as floats 0.1 * 30 = 3.0000000000000004 and 0.07 * 100 = 7.000000000000001
    hottest = mask(np.arange(1, n_pixels + 1, dtype=np.float32)[None], MaskRule("top", share))
    assert hottest.tolist() == [[False] * (n_pixels - wanted) + [True] * wanted]


def test_top_breaks_ties_in_reading_order():
    assert (mask(np.float32([[1, 2, 1], [1, 1, 1]]), MaskRule("top", 0.5)) == frame("###", "...")).all()


def test_top_takes_no_zero():
    assert (mask(np.float32([[0, 0], [0, 5]]), MaskRule("top", 1.0)) == frame("..", ".#")).all()


def test_otsu_splits_two_groups():
    assert mask(np.float32([[0, 0.5, 1, 1, 9, 10]]), MaskRule("otsu")).tolist() == [[False] * 4 + [True] * 2]


def test_otsu_splits_neighbouring_floats():
    low = np.float32(1)
    assert mask(np.array([[low, np.nextafter(low, np.float32(2))]]), MaskRule("otsu")).tolist() == [[False, True]]


@pytest.mark.parametrize("name", ["max0.5", "top0.1", "otsu"])
def test_a_frame_of_zeros_has_an_empty_mask(name):
    assert not mask(np.zeros((3, 4), np.float32), MaskRule.parse(name)).any()


def test_a_constant_frame_has_no_otsu_threshold():
    assert not mask(np.full((3, 4), 7, np.float32), MaskRule("otsu")).any()


@given(SALIENCY, RULES)
def test_no_highlighted_pixel_is_colder_than_another(saliency, rule):
    highlighted = mask(saliency, rule)
    assert highlighted.shape == saliency.shape
    assert highlighted.dtype == np.bool_
    if highlighted.any() and not highlighted.all():
        assert saliency[highlighted].min() >= saliency[~highlighted].max()
    assert not highlighted[saliency == 0].any()


@given(SALIENCY, RULES)
def test_the_unit_of_saliency_does_not_matter(saliency, rule):
    assert (mask(saliency, rule) == mask(saliency * np.float32(8), rule)).all()


@given(SALIENCY)
def test_top_highlights_as_many_as_it_says(saliency):
    wanted = ceil(saliency.size / 2)
    assert mask(saliency, MaskRule("top", 0.5)).sum() == min(wanted, np.count_nonzero(saliency))


def test_overlap_by_hand():
    # |A and B| = 4, |A or B| = 12; p = q = 1/2, chance = 1/4 / (1 - 1/4) = 1/3
    a, b = frame("##..", "##..", "##..", "##.."), frame(".##.", ".##.", ".##.", ".##.")
    assert overlap(a, b) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    # p = 1/4, q = 1/2: chance = 1/8 / (3/4 - 1/8) = 1/5
    assert overlap(frame("#.", ".."), frame("##", "..")) == (pytest.approx(1 / 2), pytest.approx(1 / 5))


def test_a_clip_by_hand():
    left, middle, empty = frame(*["##.."] * 4), frame(*[".##."] * 4), frame(*["...."] * 4)
    # pairs: 1/3 (chance 1/3), and twice 0 with an empty mask (chance 0); ever highlighted are 12 pixels;
    # centroids x = 0.5, 1.5, 1.5 without the empty frame: steps 1 and 0 over the diagonal sqrt(32)
    assert consistency(np.stack([left, middle, empty, middle])) == Consistency(
        iou=pytest.approx(1 / 9),
        iou_adjusted=pytest.approx(0),
        tcs=pytest.approx(24 / 64),
        persistence=pytest.approx(24 / (4 * 12)),
        rpi=pytest.approx(0.5 / sqrt(32)),
    )


def test_a_pair_of_empty_masks_is_left_out():
    one, empty = frame("#.", ".."), frame("..", "..")
    # of three pairs one is undefined, one is 0 and one is 1
    assert consistency(np.stack([empty, empty, one, one])).iou == pytest.approx(1 / 2)


def test_nothing_highlighted():
    assert consistency(np.zeros((3, 4, 5), bool)) == Consistency(None, None, 0.0, None, None)


def test_full_masks_overlap_by_chance_alone():
    assert consistency(np.ones((3, 4, 5), bool)) == Consistency(1.0, None, 1.0, 1.0, 0.0)


def test_one_frame_has_no_pair():
    assert consistency(frame("#.", "..")[None]) == Consistency(None, None, 0.25, 1.0, None)


def test_movement_is_over_the_diagonal_of_a_frame_that_is_not_square():
    # from one corner of 4 x 3 pixels to the other: a step of (3, 2), the diagonal is 5
    assert consistency(np.stack([frame("#...", "....", "...."), frame("....", "....", "...#")])).rpi == pytest.approx(
        sqrt(13) / 5
    )


def test_independent_masks_overlap_by_chance():
    masks = np.random.default_rng(0).random((6, 300, 300)) < 0.4
    figures = consistency(masks)
    assert figures.iou == pytest.approx(0.4 / 1.6, abs=0.005)  # p / (2 - p)
    assert figures.iou_adjusted == pytest.approx(0, abs=0.005)


@given(MASKS)
def test_figures_lie_in_their_ranges(masks):
    figures = consistency(masks)
    assert 0 <= figures.tcs <= 1
    assert figures.iou is None or 0 <= figures.iou <= 1
    # the least: masks of half the frame that do not touch, (0 - 1/3) / (1 - 1/3)
    assert figures.iou_adjusted is None or -0.5 - 1e-9 <= figures.iou_adjusted <= 1
    assert figures.rpi is None or 0 <= figures.rpi < 1
    if masks.any():
        # both count the same highlighted pixels
        assert figures.persistence == pytest.approx(figures.tcs / masks.any(axis=0).mean())
    else:
        assert figures.persistence is None


@given(MASKS)
def test_time_and_axes_have_no_direction(masks):
    figures = list(vars(consistency(masks)).values())
    for same in (masks[::-1], masks.transpose(0, 2, 1), masks[:, ::-1, ::-1]):
        assert list(vars(consistency(same)).values()) == [None if f is None else pytest.approx(f) for f in figures]


def test_frames_in_another_order_cost_overlap_and_move_and_highlight_as_much():
    # a bar of three columns that goes from left to right, and the same frames with near and far ones in turn
    bars = np.zeros((8, 4, 10), bool)
    for i, each in enumerate(bars):
        each[:, i : i + 3] = True
    there, mixed = consistency(bars), consistency(bars[[0, 4, 1, 5, 2, 6, 3, 7]])
    assert (there.tcs, there.persistence) == (mixed.tcs, mixed.persistence)
    assert there.iou == pytest.approx(2 / 4)  # two of three columns stay
    assert mixed.iou == 0  # three or four columns on: nothing stays
    # steps of 1 became four of 4 and three of 3
    assert mixed.rpi == pytest.approx(there.rpi * 25 / 7)


@given(MASKS, st.integers(2, 4))
def test_what_does_not_move_is_steady(masks, n_frames):
    figures = consistency(np.repeat(masks[:1], n_frames, axis=0))
    if masks[0].any():
        assert (figures.iou, figures.persistence, figures.rpi) == (1.0, 1.0, pytest.approx(0))


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3), (3, 3)])
def test_no_frames_or_pixels_is_refused(shape):
    with pytest.raises(ValueError, match="masks must be"):
        consistency(np.zeros(shape, bool))


def test_maps_are_upsampled_between_pixel_centres():
    # along a row 0, 1 becomes 0, 1/4, 3/4, 1; corner to corner it would be 0, 1/3, 2/3, 1, by copying 0, 0, 1, 1
    row = {"saliency": np.float16([0, 1, 0, 1]), "scale": 2.0, "height": 2, "width": 2, "input_size": 4, "empty": False}
    step = heat(row)
    rows = video_metrics([step, step], [MaskRule("max", 0.3), MaskRule("max", 0.2)])
    assert [row["tcs"] for row in rows] == [2 / 4, 3 / 4]
    assert rows[0] == {
        "mask_rule": "max0.3",
        "n_frames": 2,
        "iou": 1.0,
        "iou_adjusted": 1.0,
        "tcs": 0.5,
        "persistence": 1.0,
        "rpi": 0.0,
    }
