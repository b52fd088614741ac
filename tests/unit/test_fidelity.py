"""What it means to hold fidelity, on maps whose figures are known."""

from dataclasses import replace

import numpy as np
import pytest

from operators.measures.fidelity import Fidelity, compare, overlap, pearson

RNG = np.random.default_rng(0)
MAPS = RNG.gamma(1.0, size=(8, 10, 10))


def test_the_same_maps_hold_and_are_sure():
    found = compare(MAPS, np.stack([MAPS, MAPS]))
    assert (found.pearson, found.own_pearson, found.iou) == (pytest.approx(1), pytest.approx(1), 1)
    assert (found.bits, found.bits_error) == (pytest.approx(0), pytest.approx(0))
    assert found.holds
    assert found.surely


@pytest.mark.parametrize(("factor", "holds"), [(1.02, True), (0.98, True), (1.04, False), (0.96, False)])
def test_bits_hold_within_three_percent(factor, holds):
    found = compare(factor * MAPS, np.stack([MAPS, MAPS]))
    assert found.bits == pytest.approx(factor - 1)
    assert found.holds is holds


def test_bits_that_scatter_hold_and_are_not_sure():
    """Plus 10 % and minus 6 % in turn: 2 % on average, of which eight samples are not sure to 1 %."""
    factors = np.array([1.10, 0.94] * 4)
    found = compare(MAPS * factors[:, None, None], np.stack([MAPS, MAPS]))
    assert found.bits == pytest.approx(0.02)
    assert found.bits_error == pytest.approx(0.08 * (8 / 7) ** 0.5 / 8**0.5)
    assert found.holds
    assert not found.surely


def test_nobody_has_to_agree_better_than_the_reference_with_itself():
    found = Fidelity(
        0.990, 0.980, own_pearson=0.985, own_pearson_least=0.975, iou=0.9, own_iou=0.91, bits=0, bits_error=0
    )
    assert found.holds
    for name, value in (("own_pearson", 0.995), ("own_pearson_least", 0.985), ("own_iou", 0.93)):
        assert not replace(found, **{name: value}).holds
    assert replace(found, pearson=0.9991, pearson_least=0.996, own_pearson=1, own_pearson_least=1).holds


def test_one_lost_map_is_too_many():
    found = MAPS.copy()
    found[3] = found[3, ::-1]
    lost = compare(found, np.stack([MAPS, MAPS]))
    assert lost.pearson_least < 0.5
    assert not lost.holds


def test_a_map_that_is_not_finite_does_not_hold():
    found = MAPS.copy()
    found[0, 0, 0] = np.nan
    assert not compare(found, np.stack([MAPS, MAPS])).holds


def test_correlation_and_overlap_by_hand():
    ramp = np.arange(100.0).reshape(1, 10, 10)
    assert pearson(ramp, -2 * ramp + 3) == pytest.approx(-1)
    moved = ramp.copy()
    moved[0, 9, :5], moved[0, 0, :5] = ramp[0, 0, :5], ramp[0, 9, :5]  # five of the ten hottest change places
    assert overlap(ramp, moved) == pytest.approx(5 / 15)
