"""How far probabilities can be trusted, and one number that mends them (Guo et al. 2017)."""

import numpy as np
import torch
import torch.nn.functional as F

_BINS = 15


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = _BINS) -> float:
    """sum_m |B_m| / n * |accuracy(B_m) - confidence(B_m)| over equal-width bins (lo, hi] of the confidence.

    probabilities (N, classes) float, labels (N,) int; a fraction, not a percentage. Raises ValueError for N = 0.
    """
    if len(labels) == 0:
        raise ValueError("no predictions to calibrate")
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    # what differs from an edge by float32 rounding alone lies on the edge
    bin_of = np.ceil(np.round(confidence.astype(np.float64) * bins, 5)).astype(int)
    gaps = [
        abs(right[bin_of == each].mean() - confidence[bin_of == each].mean()) * (bin_of == each).mean()
        for each in np.unique(bin_of)
    ]
    return float(sum(gaps))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 that minimises the negative log-likelihood of softmax(logits / T), searched within 0.05 to 20.

    logits (N, classes) float, labels (N,) int. The ends of the interval are what separable data run into. Raises
    ValueError for N = 0.
    """
    if len(labels) == 0:
        raise ValueError("no predictions to calibrate")
    values, targets = torch.from_numpy(logits).double(), torch.from_numpy(labels).long()
    low, high = np.log(0.05), np.log(20.0)
    # The likelihood is unimodal in log T (convex in 1 / T): golden section needs no gradient and cannot diverge.
    ratio = (np.sqrt(5) - 1) / 2

    def loss(log_t: float) -> float:
        return float(F.cross_entropy(values / np.exp(log_t), targets))

    while high - low > 1e-6:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) <= loss(b) else (a, high)
    return float(np.exp((low + high) / 2))


def balanced_accuracy(prob_fake: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """The mean of the shares of both classes that a threshold on the probability of class 1 gets right.

    prob_fake (N,), labels (N,) of 0 and 1, each at least once.
    """
    predicted = prob_fake > threshold
    return float((predicted[labels == 1].mean() + (~predicted[labels == 0]).mean()) / 2)


def best_threshold(prob_fake: np.ndarray, labels: np.ndarray) -> float:
    """The threshold on the probability of class 1 with the highest balanced accuracy; the middle of the best gap.

    prob_fake (N,), labels (N,) of 0 and 1, each at least once (else 0.5). Ties go to the threshold nearest 0.5.
    """
    if len(np.unique(labels)) < 2:
        return 0.5
    values = np.unique(prob_fake)
    edges = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2, [1.0]])

    scores = np.array([balanced_accuracy(prob_fake, labels, edge) for edge in edges])
    best = edges[scores >= scores.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])
