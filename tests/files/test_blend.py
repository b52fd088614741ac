"""The forger's mask is the truth: untouched outside, changed inside, bounded, smooth or faulty in time as asked."""

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gamma

from operators.forging.blend import (
    MOTION_ONLY,
    REGIONS,
    ForgeParams,
    _region_mask,
    draw,
    forge_clip,
    forge_masks,
    smooth_boxes,
)
from operators.video.encode import read_masks, write_masks

BOX = (90, 70, 80, 80)
N = 24
SHAPE = (220, 260)


def _texture(seed=0):
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(60, 196, (28, 33, 3), dtype=np.uint8), SHAPE[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def still():
    """A camera and a face that do not move at all: every change in time is the forger's."""
    return [_texture()] * N


@pytest.fixture(scope="module")
def lively():
    """The same place with new noise in every frame."""
    rng = np.random.default_rng(1)
    return [np.clip(_texture() + rng.normal(0, 10, (*SHAPE, 3)), 0, 255).astype(np.uint8) for _ in range(N)]


def _forge(frames, seed=0, boxes=None, base=None, **params):
    pairs = list(forge_clip(frames, boxes or [BOX] * len(frames), replace(base or ForgeParams(), **params), seed))
    return np.stack([forged for forged, _ in pairs]), np.stack([mask for _, mask in pairs])


def _steps(clip, masks):
    """Mean absolute difference between consecutive frames where the mask is nearly 1 in all of them, (T-1,)."""
    inside = masks.min(0) > 0.9
    return np.abs(np.diff(clip.astype(float), axis=0))[:, inside].mean((1, 2))


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    region=st.sampled_from(sorted(REGIONS)),
    fault=st.sampled_from(["none", "none", "flicker", "jump", "frozen"]),
    box=st.tuples(st.integers(-30, 200), st.integers(-30, 160), st.integers(24, 120), st.integers(24, 120)),
)
def test_outside_the_mask_nothing_changes(seed, region, fault, box):
    frames = [_texture(seed % 7)] * 3
    forged, masks = _forge(frames, seed, boxes=[box] * 3, regions=(region,), faults=(fault,))
    assert forged.shape == (3, *SHAPE, 3)
    assert forged.dtype == np.uint8
    assert masks.dtype == np.float32
    assert 0 <= masks.min() <= masks.max() <= 1
    np.testing.assert_array_equal(forged[masks == 0], np.stack(frames)[masks == 0])


@pytest.mark.parametrize("region", sorted(REGIONS))
@pytest.mark.parametrize("seed", range(6))
def test_inside_the_mask_pixels_differ_and_the_area_is_the_regions(still, region, seed):
    forged, masks = _forge(still[:2], seed, regions=(region,), strengths=(1.0,))
    change = np.abs(forged.astype(int) - np.stack(still[:2])).mean(-1)
    assert change[masks > 0.9].mean() > 4
    assert (change[masks > 0.9] > 0).mean() > 0.9
    centre_x, centre_y, half_width, half_height = REGIONS[region]
    area = (masks > 0.5).sum((1, 2)) / (BOX[2] * BOX[3])
    assert (area > 0.5 * np.pi * half_width * half_height).all()
    assert (area < 1.4 * np.pi * half_width * half_height).all()
    rows, columns = np.nonzero(masks[0] > 0.5)
    assert abs(columns.mean() - (BOX[0] + centre_x * BOX[2])) < 0.08 * BOX[2]
    assert abs(rows.mean() - (BOX[1] + centre_y * BOX[3])) < 0.1 * BOX[3]


@pytest.mark.parametrize("strength", [0.25, 0.5, 0.75, 1.0])
def test_strength_is_the_masks_maximum_and_the_share_of_the_change(still, strength):
    full, _ = _forge(still[:1], 3, regions=("face",), strengths=(1.0,))
    part, mask = _forge(still[:1], 3, regions=("face",), strengths=(strength,))
    assert mask.max() == pytest.approx(strength, abs=1 / 255)
    middle = mask[0] > 0.98 * strength
    ratio = (part[0].astype(float) - still[0])[middle].sum() / (full[0].astype(float) - still[0])[middle].sum()
    assert ratio == pytest.approx(strength, abs=0.02)


def test_the_mask_survives_its_file_exactly(still, tmp_path):
    _, masks = _forge(still, 5)
    write_masks(tmp_path / "m.mkv", masks, 25)
    np.testing.assert_array_equal(read_masks(tmp_path / "m.mkv"), masks)


def test_blending_is_m_source_plus_rest_target(still):
    # a flat frame stays flat under every warp, blur and sharpening, so the source is one known colour
    flat = [np.full((*SHAPE, 3), 100, np.uint8)] * 2
    params = ForgeParams(strengths=(0.75,))
    forgery = draw(params, 2, 11)
    forged, masks = _forge(flat, 11, strengths=(0.75,))
    for t in range(2):
        source = 100 * forgery.gain[t] + forgery.colour[t]
        expected = masks[t][..., None] * source + (1 - masks[t][..., None]) * 100
        assert np.abs(forged[t] - expected).max() <= 0.51


@pytest.mark.parametrize("seed", range(3))
def test_detail_is_sharper_or_softer_than_the_same_forgery_without(still, seed):
    """By the mean square of the Laplacian where the mask is 1."""
    sharpness = {}
    for detail in ("none", "sharpen", "downscale"):
        forged, masks = _forge(still[:1], seed, regions=("face",), strengths=(1.0,), details=(detail,))
        edges = cv2.Laplacian(forged[0].astype(np.float32), cv2.CV_32F)
        sharpness[detail] = np.square(edges)[masks[0] > 0.95].mean()
    assert sharpness["sharpen"] > 1.3 * sharpness["none"]
    assert sharpness["downscale"] < 0.7 * sharpness["none"]


def test_a_seed_gives_the_same_pixels_and_another_one_others(lively):
    first, masks = _forge(lively, 7)
    again, masks_again = _forge(lively, 7)
    other, _ = _forge(lively, 8)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(masks, masks_again)
    assert (first != other).any()
    drawn = {draw(ForgeParams(), 4, seed).region for seed in range(40)}
    assert drawn == set(REGIONS)


def test_without_a_fault_the_forgery_drifts_smoothly(still):
    forged, masks = _forge(still, 2, regions=("face",), strengths=(1.0,))
    steps = _steps(forged, masks)
    assert 0 < steps.max() < 4
    assert np.abs(np.diff(masks, axis=0)).mean() < 0.01
    assert np.abs(forged[-1].astype(float) - forged[0])[masks.min(0) > 0.9].mean() > steps.mean()


def test_flicker_changes_every_frame_and_outside_stays(still):
    smooth, masks_smooth = _forge(still, 4, regions=("face",), strengths=(1.0,))
    forged, masks = _forge(still, 4, base=MOTION_ONLY, regions=("face",), faults=("flicker",))
    assert _steps(forged, masks).mean() > 5 * _steps(smooth, masks_smooth).mean()
    np.testing.assert_array_equal(masks, masks[:1].repeat(N, 0))
    levels = (forged.astype(float) - np.stack(still))[:, masks[0] > 0.9].mean((1, 2))
    assert (np.abs(levels) > 5).all()
    assert (np.abs(levels) < 13).all()
    assert {-1.0, 1.0} == set(np.sign(levels))


def test_jump_moves_the_region_at_the_runs_and_only_there(still):
    forged, masks = _forge(still, 4, base=MOTION_ONLY, regions=("face",), faults=("jump",), run_frames=8)
    steps = _steps(forged, masks)
    cuts = np.zeros(N - 1, bool)
    cuts[[7, 15]] = True
    assert (steps[~cuts] == 0).all()
    assert (steps[cuts] > 2).all()
    shifts = draw(replace(MOTION_ONLY, faults=("jump",)), N, 4).shift
    np.testing.assert_allclose(np.hypot(*shifts.T), 0.03)


def test_frozen_holds_the_region_while_the_rest_lives(lively):
    forged, masks = _forge(lively, 4, base=MOTION_ONLY, regions=("face",), faults=("frozen",), run_frames=8)
    full = masks.min(0) == 1
    assert full.sum() > 500
    steps = np.abs(np.diff(forged.astype(float), axis=0))
    within = [t for t in range(N - 1) if (t + 1) % 8]
    assert (steps[within][:, full] == 0).all()
    assert (steps[[7, 15]][:, full].mean((1, 2)) > 5).all()
    assert (steps[:, masks.max(0) == 0].mean((1, 2)) > 5).all()


@pytest.mark.parametrize("fault", ["flicker", "jump", "frozen"])
def test_a_fault_comes_in_runs_and_the_masks_say_when(lively, fault):
    run, pause = 4, 5
    base = replace(MOTION_ONLY, run_frames=run, pause_frames=pause)
    begins = set()
    for seed in range(12):
        forged, masks = _forge(lively, seed, base=base, regions=("face",), faults=(fault,))
        wrong = masks.any((1, 2))
        np.testing.assert_array_equal(forged[~wrong], np.stack(lively)[~wrong])
        change = np.abs(forged.astype(float) - np.stack(lively))[wrong]
        assert (change[:, masks[wrong].min(0) > 0.9].mean((1, 2)) > 2).all()
        first = int(wrong.argmax())
        begins.add(first)
        assert 1 <= first <= run + pause
        expected = [(t - first) % (run + pause) < run and t >= first for t in range(N)]
        assert wrong.tolist() == expected
        if fault == "frozen":
            # the last true picture is held, so that none of the run is true
            inside = masks[first : first + run].min(0) == 1
            held = forged[first : first + run][:, inside]
            np.testing.assert_array_equal(held, np.stack([lively[first - 1][inside]] * run))
    assert len(begins) > 4


def test_frozen_follows_the_face():
    frames = [np.roll(_texture(), 3 * t, axis=1) for t in range(9)]
    boxes = [(BOX[0] + 3 * t, *BOX[1:]) for t in range(9)]
    forged, masks = _forge(
        frames, 4, boxes, base=MOTION_ONLY, regions=("face",), faults=("frozen",), run_frames=3, box_smoothing_frames=0
    )
    # the face moves rigidly, so a held copy that follows it is the picture itself
    assert np.abs(forged.astype(int) - np.stack(frames))[masks > 0].max() <= 1


def test_a_face_that_wobbles_is_smoothed_and_gaps_are_filled():
    rng = np.random.default_rng(0)
    boxes = [(100 + 2 * t + int(rng.integers(-3, 4)), 50, 60, 60) for t in range(40)]
    smoothed = smooth_boxes(boxes, 3.0)
    assert np.diff(smoothed[:, 0], 2).std() < 0.1 * np.diff([box[0] for box in boxes], 2).std()
    gaps = [None, (10, 0, 20, 20), None, None, (40, 0, 20, 20), None]
    assert smooth_boxes(gaps, 0)[:, 0].tolist() == [20, 20, 30, 40, 50, 50]
    with pytest.raises(ValueError, match="no frame has a face box"):
        smooth_boxes([None, None], 3.0)


@pytest.mark.parametrize("pause", [0, 3])
@pytest.mark.parametrize("fault", ["none", "jump", "frozen"])
def test_masks_alone_are_those_of_the_clip(still, fault, pause):
    boxes = [None, *[(BOX[0] + 4 * t, *BOX[1:]) for t in range(N - 1)]]
    params = ForgeParams(faults=(fault,), pause_frames=pause)
    _, masks = _forge(still, 6, boxes, params)
    np.testing.assert_array_equal(np.stack(list(forge_masks(SHAPE, boxes, params, 6))), masks)


def test_frames_and_boxes_must_be_as_many(still):
    with pytest.raises(ValueError, match="zip"):
        list(forge_clip(still[:3], [BOX] * 2, ForgeParams(), 0))


class _Even:
    """Draws the middle of every interval, and of the elastic warp none."""

    def uniform(self, low, high, size=None):
        return (low + high) / 2 if size is None else np.zeros(size)


@pytest.mark.parametrize("region", ["eyes", "nose", "mouth"])
def test_a_region_is_a_superellipse_with_a_border_as_soft_as_two_blurs(region):
    """Of |x/a|^2.3 + |y/b|^2.3 <= 1, eroded by 2 round(.065 r) + 1 pixels and blurred by .085 r before and after; r is
    the lesser of a and b. Its area in closed form, and the slope of the border where the mask is a half."""
    even: Any = _Even()
    mask, (centre_x, centre_y, *halves) = _region_mask(region, even), REGIONS[region]
    a, b = (160 * half for half in halves)
    radius = min(a, b)
    eroded = round(0.065 * radius)
    p, (a, b) = 2.3, (a - eroded, b - eroded)
    area = 4 * a * b * gamma(1 + 1 / p) ** 2 / gamma(1 + 2 / p)
    assert (mask > 0.5).sum() == pytest.approx(area, rel=0.03)
    row, column = (round((centre - 0.5) * 160 + 127.5) for centre in (centre_y, centre_x))
    up = mask[: row + 1, column]
    across = mask[row, column:]
    slope = max(np.diff(up).max(), -np.diff(across).min())
    assert slope == pytest.approx(1 / (np.sqrt(2 * np.pi) * np.hypot(0.085, 0.085) * radius), rel=0.1)
