"""Keyframes: the signal counted by hand, the baseline by its definition, the peaks by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.signal import find_peaks

from operators.video.keyframes import ChangeSignal, KeyframeParams, _peaks, baseline, pick_keyframes

PARAMS = KeyframeParams()


def signal_of(frames, **params):
    signal = ChangeSignal(KeyframeParams(**params))
    for frame in frames:
        signal.update(frame)
    return signal.values()


def test_signal_is_the_share_of_pixels_that_got_brighter():
    """Without blur: 3 of 20 pixels brighter, then the same 3 darker (saturated to nothing), then nothing, then all."""
    dark = np.full((4, 5), 10, np.uint8)
    bright = dark.copy()
    bright[0, :3] += 1
    values = signal_of([dark, bright, dark, dark, dark + 5], blur_px=1)
    assert values.tolist() == [0, 3 / 20, 0, 0, 1]


def test_blur_spreads_a_change_over_its_kernel():
    dark = np.zeros((40, 40), np.uint8)
    bright = dark.copy()
    bright[20, 20] = 255
    plain, blurred = signal_of([dark, bright], blur_px=1)[1], signal_of([dark, bright], blur_px=9)[1]
    assert plain == 1 / 1600
    assert 9 / 1600 < blurred <= 81 / 1600


def test_another_size_is_a_full_change():
    small, large = np.zeros((4, 4), np.uint8), np.zeros((8, 8), np.uint8)
    assert signal_of([small, large, large, small]).tolist() == [0, 1, 0, 1]


def test_signal_keeps_one_number_per_frame():
    """A thousand frames of 256 kB leave nothing behind but the last."""
    import tracemalloc

    frame = np.zeros((512, 512), np.uint8)
    signal = ChangeSignal(PARAMS)
    signal.update(frame)
    tracemalloc.start()
    for _ in range(1000):
        signal.update(frame.copy())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * frame.nbytes


@pytest.mark.parametrize("coefficients", [(0.2,), (0.1, 0.5), (0.3, -0.2, 0.1)])
def test_baseline_of_a_polynomial_is_itself(coefficients):
    signal = np.polynomial.Polynomial(coefficients)(np.linspace(0, 1, 100))
    assert np.allclose(baseline(signal, 2), signal)


def test_baseline_runs_under_the_peaks():
    ground = np.linspace(0.2, 0.4, 200)
    signal = ground.copy()
    signal[[30, 90, 91, 150]] += 0.5
    fitted_once = np.polynomial.Polynomial.fit(np.arange(200), signal, 2)(np.arange(200))
    assert np.abs(baseline(signal, 2) - ground).max() < 2e-3 < np.abs(fitted_once - ground).max()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_baseline_of_few_points_goes_through_them(n):
    assert np.allclose(baseline(np.arange(n) ** 2.0, 2), np.arange(n) ** 2.0)


def peaks(positions, n=200, ground=0.1):
    """A signal with given heights at given frames."""
    signal = np.full(n, ground)
    for frame, height in positions.items():
        signal[frame] += height
    return signal


def test_picks_the_peaks_in_time_order_with_their_heights():
    indices, scores = pick_keyframes(peaks({150: 0.4, 40: 0.5, 90: 0.3}), PARAMS)
    assert indices.tolist() == [40, 90, 150]
    assert scores == pytest.approx([0.5, 0.3, 0.4], abs=0.01)


def test_threshold_is_relative_to_the_highest():
    signal = peaks({40: 1.0, 90: 0.35, 150: 0.25})
    assert pick_keyframes(signal, PARAMS)[0].tolist() == [40, 90]
    assert pick_keyframes(signal / 50, PARAMS)[0].tolist() == [40, 90]
    assert pick_keyframes(signal, KeyframeParams(threshold=0.2))[0].tolist() == [40, 90, 150]


def test_close_peaks_give_way_to_the_higher():
    signal = peaks({40: 0.5, 44: 0.6, 60: 0.4})
    assert pick_keyframes(signal, PARAMS)[0].tolist() == [44, 60]
    assert pick_keyframes(signal, KeyframeParams(min_distance_frames=1))[0].tolist() == [40, 44, 60]


def test_at_most_max_keyframes_the_highest():
    signal = peaks({20: 0.4, 60: 0.6, 100: 0.5, 140: 0.7})
    assert pick_keyframes(signal, KeyframeParams(max_keyframes=2))[0].tolist() == [60, 140]


def test_of_equal_peaks_the_earlier():
    """Symmetric about the middle, so that the fitted baseline is as well."""
    signal = peaks({20: 0.5, 80: 0.5, 120: 0.5, 180: 0.5}, n=201)
    params = KeyframeParams(max_keyframes=1, baseline_degree=0)
    assert pick_keyframes(signal, params)[0].tolist() == [20]


@pytest.mark.parametrize("signal", [[0.0], [0.0, 0.7], [0.0] * 50, [0.3] * 50, np.linspace(0, 0.5, 50)])
def test_without_a_peak_it_is_the_first_frame(signal):
    indices, scores = pick_keyframes(np.array(signal), PARAMS)
    assert (indices.tolist(), scores.tolist()) == ([0], [0])


def test_no_frames_no_keyframes():
    assert len(pick_keyframes(np.empty(0), PARAMS)[0]) == 0


@given(arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 1, width=16)), st.integers(1, 5))
def test_picks_are_few_ordered_and_within(signal, max_keyframes):
    indices, scores = pick_keyframes(signal, KeyframeParams(max_keyframes=max_keyframes))
    assert 1 <= len(indices) <= max_keyframes
    assert len(scores) == len(indices)
    assert np.all(np.isfinite(scores))
    assert np.all(np.diff(indices) >= PARAMS.min_distance_frames)
    assert 0 <= indices[0] <= indices[-1] < len(signal)


@given(arrays(np.float64, st.integers(2, 60), elements=st.integers(0, 9)), st.integers(1, 12), st.integers(0, 9))
def test_peaks_are_those_of_scipy(height, distance, least):
    """Flat tops and ends too; of equal peaks that are near each other scipy keeps any, so here the later are higher."""
    flat = np.flatnonzero(np.diff(height)) + 1
    height = height + np.searchsorted(flat, np.arange(len(height)), "right") * 1e-6
    expected, _ = find_peaks(height, height=least, distance=distance)
    assert _peaks(height, least, distance).tolist() == expected.tolist()


def test_of_equal_peaks_that_are_near_the_later():
    assert _peaks(np.array([0.0, 1, 0, 1, 0, 0, 1, 1, 1, 0]), 0.5, 3).tolist() == [3, 7]
