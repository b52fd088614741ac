"""Calibration against cases worked out by hand."""

import numpy as np
import pytest

from operators.measures.calibration import best_threshold, expected_calibration_error, fit_temperature


def two(p: list[float]) -> np.ndarray:
    return np.stack([1 - np.array(p), np.array(p)], 1)


def test_ece_by_hand():
    # confidences .9 (right), .9 (wrong), .7 (right): bins 14 and 11; 2/3 * |1/2 - .9| + 1/3 * |1 - .7|
    found = expected_calibration_error(two([0.9, 0.1, 0.7]), np.array([1, 1, 1]))
    assert found == pytest.approx(2 / 3 * 0.4 + 1 / 3 * 0.3)


def test_there_are_fifteen_bins():
    # .61 and .69 lie in two of 15 bins, (.6, .667] and (.667, .733], and in one of 10: |1/2 - .65| = .15
    found = expected_calibration_error(two([0.61, 0.69]), np.array([1, 0]))
    assert found == pytest.approx(0.39 / 2 + 0.69 / 2)


def test_ece_puts_an_edge_into_the_bin_below():
    # .8 = 12/15 is the upper edge of bin 12; .81 lies in bin 13
    together = expected_calibration_error(two([0.8, 0.79]), np.array([1, 0]))
    assert together == pytest.approx(abs(0.5 - 0.795))
    apart = expected_calibration_error(two([0.8, 0.81]), np.array([1, 0]))
    assert apart == pytest.approx(0.5 * 0.2 + 0.5 * 0.81)
    assert expected_calibration_error(two([0.8, 0.79]).astype(np.float32), np.array([1, 0])) == pytest.approx(together)


def test_temperature_of_logits_that_were_scaled():
    """Logits are 3 times the true log-odds: three of four right at +-3 log 3, so T = 3 by the closed form."""
    logits = np.array([[0, 3 * np.log(3)]] * 4)
    labels = np.array([1, 1, 1, 0])
    assert fit_temperature(logits, labels) == pytest.approx(3.0, rel=1e-4)


def test_temperature_keeps_the_decision_and_lowers_ece():
    rng = np.random.default_rng(0)
    odds = rng.normal(size=4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-odds))).astype(int)
    logits = np.stack([np.zeros(4000), 4 * odds], 1)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(4.0, rel=0.1)

    def softmax(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum(1, keepdims=True)

    before, after = softmax(logits), softmax(logits / temperature)
    assert (before.argmax(1) == after.argmax(1)).all()
    assert expected_calibration_error(after, labels) < expected_calibration_error(before, labels) / 3


def test_the_temperature_of_what_is_always_right_or_wrong_is_an_end_of_where_it_is_searched():
    logits = np.array([[0.0, 1.0]] * 2)
    assert fit_temperature(logits, np.array([1, 1])) == pytest.approx(0.05, rel=1e-4)
    assert fit_temperature(logits, np.array([0, 0])) == pytest.approx(20, rel=1e-4)


def test_threshold_by_hand():
    assert best_threshold(np.array([0.1, 0.3, 0.35, 0.9]), np.array([0, 0, 1, 1])) == pytest.approx(0.325)
    assert best_threshold(np.array([0.1, 0.4]), np.array([1, 1])) == 0.5


def test_the_threshold_is_that_of_balanced_accuracy():
    """Of one genuine sample and four forged ones, two of these below it: to call all forged is right 4 times of 5, but
    in half of each class's cases; above .5, where the genuine one is, it is right in 3 of 5 and 3/4 on average."""
    assert best_threshold(np.array([0.5, 0.2, 0.3, 0.8, 0.9]), np.array([0, 1, 1, 1, 1])) == pytest.approx(0.65)


def test_of_thresholds_as_good_the_one_nearest_to_a_half_is_taken():
    """Between the first two and between the last two each class is right in all and in half of its cases."""
    assert best_threshold(np.array([0.1, 0.2, 0.6, 0.7]), np.array([0, 1, 0, 1])) == pytest.approx(0.65)
    assert best_threshold(np.array([0.3, 0.4, 0.8, 0.9]), np.array([0, 1, 0, 1])) == pytest.approx(0.35)


def test_nothing_to_calibrate_is_an_error():
    with pytest.raises(ValueError, match="no predictions"):
        expected_calibration_error(np.zeros((0, 2)), np.zeros(0, int))
