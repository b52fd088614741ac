"""Statistics of the league against values worked out by hand and theorems."""

import numpy as np
import pytest

from operators.measures.comparison import difference, holm, interval, kendall_w, rank_distribution


def test_interval():
    rng = np.random.default_rng(0)
    found = [interval(rng.normal(3, 1, 30).tolist(), seed) for seed in range(100)]
    assert 88 <= sum(low <= 3 <= high for low, high in found) <= 99  # 95 of 100, give or take
    assert interval([1.0, 2.0, 4.0], 0) == interval([1.0, 2.0, 4.0], 0)
    assert interval([2.0, 2.0], 0) == (2, 2)
    assert interval([2.0], 0) is None
    assert interval([], 0) is None


def test_sign_flips_are_exact():
    # of 2^5 flips only the given one and its opposite reach a mean of 1
    found = difference([2, 3, 4, 5, 6], [1, 2, 3, 4, 5], 0)
    assert (found.mean, found.effect, found.wins, found.p) == (1, None, 1, pytest.approx(2 / 32))
    # 1, 2, -4: |mean| of 1/3 or more have 1 + 2 - 4 = -1, 1 - 2 + 4 = 3, -1 + 2 + 4 = 5, 7 and their opposites: all 8
    assert difference([1, 2, 0], [0, 0, 4], 0).p == 1
    # eleven persons, all for one side: 2 / 2^11
    assert difference(range(1, 12), [0] * 11, 0).p == pytest.approx(2 / 2**11)
    assert difference([1, 1], [1, 1], 0).p == 1
    assert difference([1], [0], 0) is None
    told = difference([3, 1, 2, 2], [1, 1, 1, 3], 0)
    assert (told.mean, told.wins) == (0.5, (2 + 0.5) / 4)
    assert told.effect == pytest.approx(0.5 / np.std([2, 0, 1, -1], ddof=1))


def test_holm():
    # .01 * 4, .02 * 3 = .06, .03 * 2 = .06 and no less than before, .9
    assert holm([0.9, 0.01, 0.03, 0.02]) == pytest.approx([0.9, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.5]) == [1, 1]
    assert holm([]) == []


def test_ranks():
    always = np.array([[3.0, 1, 2], [4, 0, 1], [9, 5, 8]])
    assert rank_distribution(always, 0).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    ties = rank_distribution(np.ones((4, 2)), 0)
    assert ties.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    rng = np.random.default_rng(0)
    shares = rank_distribution(rng.normal(size=(20, 5)), 0)
    assert shares.sum(0) == pytest.approx(np.ones(5))
    assert shares.sum(1) == pytest.approx(np.ones(5))


def test_concordance():
    same = np.array([[1.0, 2, 3, 4], [10, 20, 30, 40], [0.1, 0.2, 0.3, 0.4]])
    w, p = kendall_w(same)
    assert w == pytest.approx(1)
    assert p == pytest.approx(0.029, abs=1e-3)  # chi-squared of 9 with 3 degrees
    opposed = np.array([[1.0, 2, 3], [3, 2, 1]])
    assert kendall_w(opposed)[0] == 0
    # Kendall and Gibbons: two rankings' W is (1 + Spearman's rho) / 2
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5])
    rho = 1 - 6 * 4 / (5 * 24)
    assert kendall_w(np.stack([a, b]))[0] == pytest.approx((1 + rho) / 2)
    # with ties that two metrics share they still agree wholly
    assert kendall_w(np.array([[1.0, 1, 2], [5, 5, 9]]))[0] == pytest.approx(1)
    assert kendall_w(np.ones((2, 3))) is None
    assert kendall_w(same[:1]) is None
    assert kendall_w(same[:, :2]) is None
