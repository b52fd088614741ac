"""Calibration against values worked out by hand."""

import numpy as np
import pytest

from operators.measures.reliability import corp, ece, percentiles, resampled


def test_corp_by_hand():
    p, y = np.array([0.1, 0.4, 0.6, 0.9]), np.array([0.0, 1.0, 0.0, 1.0])
    found = corp(p, y)
    # .4 and .6 are in the wrong order: both become 1/2
    assert found.calibrated.tolist() == [0, 0.5, 0.5, 1]
    assert found.brier == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert found.uncertainty == 0.25
    assert found.discrimination == pytest.approx(0.25 - 0.125)
    assert found.miscalibration == pytest.approx(found.brier - 0.125)
    assert found.brier == pytest.approx(found.miscalibration - found.discrimination + found.uncertainty)


def test_equal_probabilities_become_equal_ones():
    assert corp(np.full(4, 0.3), np.array([0.0, 1, 1, 1])).calibrated.tolist() == [0.75] * 4
    assert corp(np.array([0.2, 0.8]), np.array([0.0, 1.0])).miscalibration == pytest.approx(0.04)
    assert corp(np.array([0.2, 0.8]), np.array([1.0, 0.0])).calibrated.tolist() == [0.5, 0.5]


def test_ece_is_that_of_table_2():
    # one bin of confidence .75 where half are right, and one of .9 where all are
    assert ece(np.array([0.75, 0.25, 0.9, 0.9]), np.array([1.0, 1.0, 1.0, 1.0])) == pytest.approx(0.25 / 2 + 0.1 / 2)
    # .61 and .69 lie in two of 15 bins and in one of 10; .8 = 12/15 and .79 in one, of which .8 is the upper edge
    assert ece(np.array([0.61, 0.69]), np.array([1.0, 0.0])) == pytest.approx(0.39 / 2 + 0.69 / 2)
    assert ece(np.array([0.8, 0.79]), np.array([1.0, 0.0])) == pytest.approx(0.795 - 0.5)


def test_persons_are_drawn_with_all_their_rows():
    persons = np.array([0, 0, 0, 1])
    found = resampled(persons, lambda rows: np.array([len(rows)]), 0)
    assert set(found.ravel()) == {2, 4, 6}
    low, high = percentiles(found)
    assert (low[0], high[0]) == (2, 6)
    # a quarter of the draws are the one person twice, a quarter the other
    assert found.shape == (2000, 1)
    assert found.mean() == pytest.approx(4, abs=0.2)
    assert percentiles(np.arange(1001.0)) == (25, 975)
