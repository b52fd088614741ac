"""A map is stored as halves over a scale and comes back, however small or large it is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.measures.maps import cells, heat, stored


@given(exponent=st.integers(-36, 36), shape=st.sampled_from([(1, 1), (2, 3), (7, 7)]), seed=st.integers(0, 99))
def test_a_map_comes_back_to_three_digits(exponent, shape, seed):
    values = np.random.default_rng(seed).normal(size=shape) * 10.0**exponent
    row = stored(values)
    most = np.abs(values).max()
    assert row["saliency"].dtype == np.float16
    assert 0.5 <= np.abs(row["saliency"]).max() <= 1  # the whole range of a half is below it
    assert math.frexp(row["scale"])[0] == 0.5  # a power of two
    assert cells(row).dtype == np.float32
    np.testing.assert_allclose(cells(row), values, rtol=0, atol=most * 2**-11)


@pytest.mark.parametrize(("most", "scale"), [(0.0, 1.0), (1.0, 1.0), (1.01, 2.0), (1e-45, 2.0**-126), (3e38, 2.0**127)])
def test_the_scale_is_what_a_float_holds(most, scale):
    assert stored(np.array([[most, -most / 2]]))["scale"] == scale


def test_heat_is_what_is_above_zero_at_the_models_input():
    """Two cells over four pixels: between the middles of the cells it rises evenly."""
    row = stored(np.array([[-8.0, 4.0]])) | {"input_size": 4, "empty": False}
    assert heat(row).tolist() == [[0.0, 1.0, 3.0, 4.0]] * 4
    assert not heat(row | {"empty": True}).any()
    assert heat(row | {"empty": True}).shape == (4, 4)
