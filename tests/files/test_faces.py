"""Faces: found where they are, whatever the size of the frame; boxes by hand."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.data import astronaut

from operators.inputs.faces import Box, FaceParams, crop, enlarge, find_face

PARAMS = FaceParams()
#: by eye: the face of the portrait, hair to chin
FACE = (175, 60, 280, 195)


def test_finds_the_face_of_the_portrait():
    box = find_face(astronaut(), PARAMS)
    assert box is not None
    centre = (box.x + box.width / 2, box.y + box.height / 2)
    assert FACE[0] < centre[0] < FACE[2]
    assert FACE[1] < centre[1] < FACE[3]
    assert 90 < box.width < 190
    assert box.score > 0


def test_margin_enlarges_about_the_same_centre():
    tight, wide = (find_face(astronaut(), FaceParams(margin=margin)) for margin in (1.0, 1.3))
    assert tight is not None
    assert wide is not None
    assert abs(wide.width - 1.3 * tight.width) <= 1
    assert abs((wide.x + wide.width / 2) - (tight.x + tight.width / 2)) <= 1


def test_large_frames_give_the_same_box_in_their_own_pixels():
    small = find_face(astronaut(), PARAMS)
    large = find_face(cv2.resize(astronaut(), None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC), PARAMS)
    assert small is not None
    assert large is not None
    for edge in ("x", "y", "width", "height"):
        assert getattr(large, edge) == pytest.approx(5 * getattr(small, edge), abs=75)


def test_small_faces_are_found_by_upsampling():
    tiny = cv2.resize(astronaut(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    assert find_face(tiny, FaceParams(upsample=0)) is None
    assert find_face(tiny, PARAMS) is not None


def test_of_two_faces_the_larger():
    half = cv2.resize(astronaut(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = np.zeros((512, 768, 3), np.uint8)
    both[:256, :256], both[:, 256:] = half, astronaut()
    box = find_face(both, PARAMS)
    assert box is not None
    assert box.x > 256


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (2, 480), (480, 2), (1, 4000), (240, 320)])
def test_no_face(shape):
    assert find_face(np.zeros((*shape, 3), np.uint8), PARAMS) is None


def test_enlarge_by_hand():
    assert enlarge((40, 20, 60, 40), 1.5, 200, 100, 0.7) == Box(35, 15, 30, 30, 0.7)
    assert enlarge((0, 90, 20, 110), 1.5, 200, 100, 0.7) == Box(0, 85, 25, 15, 0.7)
    assert enlarge((-10, -10, 300, 300), 1.0, 200, 100, 0.7) == Box(0, 0, 200, 100, 0.7)


@given(st.integers(-50, 149), st.integers(-50, 79), st.integers(51, 400), st.floats(1, 3))
def test_enlarged_box_is_within_the_frame_and_not_empty(left, top, side, margin):
    box = enlarge((left, top, left + side, top + side), margin, 150, 80, 0.0)
    assert 0 <= box.x < box.x + box.width <= 150
    assert 0 <= box.y < box.y + box.height <= 80


@pytest.mark.parametrize("size", [10, 20, 64])
def test_crop_cuts_the_box_and_nothing_else(size):
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:30, 40:60] = (9, 120, 250)
    out = crop(image, Box(40, 10, 20, 20, 0.0), size)
    assert out.shape == (size, size, 3)
    assert out.dtype == np.uint8
    assert np.all(out == (9, 120, 250))


def test_crop_averages_when_it_shrinks():
    """Two bright columns in eight become an even quarter, where interpolation would see the bright ones alone."""
    stripes = np.zeros((80, 80, 3), np.uint8)
    stripes[:, 3::8] = stripes[:, 4::8] = 200
    assert np.all(crop(stripes, Box(0, 0, 80, 80, 0.0), 10) == 50)
