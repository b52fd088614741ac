"""Flow: known shifts come out as known vectors, known vectors as known colours."""

from dataclasses import astuple
from typing import get_type_hints

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.inputs.faces import Box
from operators.inputs.flow import FlowParams, farneback, flow_map
from operators.inputs.view import View

PARAMS = FlowParams()


def texture(size=128):
    noise = np.random.default_rng(0).integers(0, 256, (size, size), np.uint8)
    return np.repeat(cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)[..., None], 3, -1)


@pytest.mark.parametrize("shift", [(3, 0), (0, 3), (-2, 1), (0, 0)])
def test_farneback_finds_a_shift(shift):
    image = texture()
    moved = np.roll(image, shift, axis=(1, 0))
    inner = farneback(image, moved, PARAMS)[20:-20, 20:-20]
    assert inner.dtype == np.float32
    assert np.allclose(np.median(inner, axis=(0, 1)), shift, atol=0.2)


def ends() -> list[dict[str, float]]:
    """Each field of Farneback's at each end of what it may hold."""
    hints = get_type_hints(FlowParams, include_extras=True)
    limits = [(name, limit) for name, hint in hints.items() for limit in hint.__metadata__]
    return [{name: astuple(limit)[0]} for name, limit in limits if name != "full_scale_px"]


@pytest.mark.parametrize("params", ends(), ids=str)
def test_farneback_finds_a_shift_with_all_that_is_allowed(params):
    """A window of 1 px, a Gaussian of 0.1 px find none; a scale of 1 is an error of OpenCV's."""
    image = texture()
    moved = np.roll(image, 2, axis=1)
    inner = farneback(image, moved, FlowParams(**params))[20:-20, 20:-20]
    assert np.allclose(np.median(inner, axis=(0, 1)), (2, 0), atol=0.5)


#: each field with another value than it has unless told
OTHERS = {"pyramid_scale": 0.9, "levels": 1, "window_px": 5, "iterations": 1, "poly_n_px": 3, "poly_sigma": 3.0}
OTHERS |= {"full_scale_px": 16.0}


@pytest.mark.parametrize("name", get_type_hints(FlowParams))
def test_every_parameter_counts(name):
    """In what a model of motion sees."""
    view, image = View(160, shows="flow"), texture(160)
    moved, params = np.roll(image, 5, axis=1), FlowParams(**{name: OTHERS[name]})
    default, found = (view.cut(image, moved, Box(0, 0, 160, 160, 1.0), each) for each in (PARAMS, params))
    assert not np.array_equal(found, default)
    assert np.array_equal(found, flow_map(farneback(image, moved, params), params.full_scale_px))


def test_colours_by_hand():
    """HSV with full saturation: right is hue 0 (red), down 90 degrees, left 180 (cyan), up 270."""
    flow = np.array([[[8, 0], [0, 8], [-8, 0], [0, -8], [0, 0], [4, 0], [80, 0]]], np.float32)
    colours = flow_map(flow, full_scale_px=8)[0].tolist()
    assert colours[0] == [255, 0, 0]
    assert colours[2] == [0, 255, 255]
    assert colours[1] == pytest.approx([127.5, 255, 0], abs=1)
    assert colours[3] == pytest.approx([127.5, 0, 255], abs=1)
    assert colours[4] == [0, 0, 0]
    assert colours[5] == [128, 0, 0]
    assert colours[6] == [255, 0, 0]


@given(st.floats(0, 2 * np.pi), st.floats(0, 30))
def test_value_is_the_length_on_a_fixed_scale(angle, length):
    flow = (length * np.array([np.cos(angle), np.sin(angle)], np.float32)).reshape(1, 1, 2)
    picture = flow_map(flow, full_scale_px=10)
    assert picture.shape == (1, 1, 3)
    assert picture.dtype == np.uint8
    assert picture.max() == pytest.approx(min(25.5 * length, 255), abs=1)


def test_nearly_full_circle_wraps_to_red():
    flow = np.array([[[8, -1e-4]]], np.float32)
    assert flow_map(flow, 8)[0, 0].tolist() == [255, 0, 0]
