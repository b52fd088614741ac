"""Faithfulness against answers worked out by hand, and models whose curves are known in closed form."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from operators.measures.faithfulness import (
    METRICS,
    counts,
    filled,
    mean_over_others,
    order,
    random_sets,
    removal_scores,
    removed,
    road_fill,
    scores_as_rows,
    seed_of,
    sensitivity_n,
)
from operators.measures.grid import (
    CELLS,
    SIDE,
    blurred,
    cell_of_pixel,
    common,
    complexity,
    in_time,
    relative,
    standardised,
    times,
    values,
)

RNG = np.random.default_rng(0)
TIES = RNG.permutation(CELLS)


def curves(cells, weights, steps=16):
    """Of a model whose p is the sum of the weights of what is left: shares, most and least relevant first."""
    points = counts(steps)
    first = order(cells.astype(np.float32), TIES)
    left = [weights.sum() - removed(each, points) @ weights for each in (first, first[::-1])]
    return points / CELLS, *left


def test_a_linear_models_curves_in_closed_form():
    # cell i holds 2 (i + 1) / (n (n + 1)) of p: without the k largest p is (n - k)(n - k + 1) / (n (n + 1)), without
    # the k smallest 1 - k (k + 1) / (n (n + 1))
    n = CELLS
    weights = 2 * np.arange(1, n + 1) / (n * (n + 1))
    shares, morf, lerf = curves(weights, weights, steps=n)
    k = np.arange(n + 1)
    assert morf == pytest.approx((n - k) * (n - k + 1) / (n * (n + 1)))
    assert lerf == pytest.approx(1 - k * (k + 1) / (n * (n + 1)))
    # the sum of their differences over k, by the sums of k and of k^2
    assert removal_scores(shares, morf, lerf)["srg"] == pytest.approx((n - 1) / (3 * n))


def test_all_of_p_in_one_cell():
    weights = np.zeros(CELLS)
    weights[77] = 1
    shares, morf, lerf = curves(weights, weights, steps=16)
    # gone in the first of 16 steps: half a step is left; in the other order it is there until the last
    found = removal_scores(shares, morf, lerf)
    assert found == pytest.approx({"deletion": 1 / 32, "insertion": 31 / 32, "srg": 15 / 16, "srg_norm": 15 / 16})
    worst = removal_scores(*curves(-weights, weights, steps=16))
    assert worst["srg"] == pytest.approx(-15 / 16)


def test_an_inverse_map_has_the_opposite_srg_and_a_constant_one_that_of_the_ties():
    weights = RNG.random(CELLS)
    cells = RNG.random(CELLS)
    assert removal_scores(*curves(-cells, weights))["srg"] == pytest.approx(
        -removal_scores(*curves(cells, weights))["srg"]
    )
    assert order(np.zeros(CELLS, np.float32), TIES).tolist() == np.argsort(TIES).tolist()


def test_random_orders_have_no_srg_on_average():
    weights = RNG.random(CELLS) ** 4
    weights /= weights.sum()
    found = [removal_scores(*curves(RNG.permutation(CELLS), weights))["srg"] for _ in range(400)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 20
    assert np.std(found) > 0


def test_srg_norm_needs_a_range():
    shares = np.array([0, 0.5, 1])
    assert removal_scores(shares, np.array([0.1, 0, 0]), np.array([0.1, 0.1, 0]))["srg_norm"] == pytest.approx(0.5)
    assert removal_scores(shares, np.array([0.6, 0.55, 0.55]), np.array([0.6, 0.6, 0.55]))["srg_norm"] is None
    assert removal_scores(shares, np.array([0.6, 0.4, 0.4]), np.array([0.6, 0.6, 0.4]))["srg_norm"] == pytest.approx(
        0.5
    )


@pytest.mark.parametrize("steps", [2, 7, 20, 256])
def test_what_is_inserted_is_what_is_not_removed_in_the_other_order(steps):
    points = counts(steps)
    assert (points[0], points[-1]) == (0, CELLS)
    assert (points + points[::-1] == CELLS).all()
    first = order(RNG.random(CELLS).astype(np.float32), TIES)
    assert (removed(first, points) == ~removed(first[::-1], points)[::-1]).all()
    assert removed(first, points).sum(1).tolist() == points.tolist()


def test_fills():
    image = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert filled(image, "zero").abs().max() == 0
    assert filled(image, "mean").flatten(1).std(1).max() < 1e-6
    assert filled(image, "mean").mean((1, 2)).numpy() == pytest.approx(image.mean((1, 2)).numpy())
    clip = torch.stack([image, 1 - image], 1)  # a picture and its negative: grey on average, each blurred by itself
    assert filled(clip, "mean").numpy() == pytest.approx(np.full((3, 2, 32, 32), 0.5), abs=1e-6)
    assert filled(clip, "blur")[:, 1].numpy() == pytest.approx(filled(1 - image, "blur").numpy(), abs=1e-6)
    blur = filled(torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0)), "blur")
    assert 0 < blur[:, 20:-20, 20:-20].std() < 0.06  # of uniform noise, whose own is .29
    # one white pixel, of an input of 224 and of half of that: a Gaussian of 5 pixels that ends after as many, and half
    for size, sigma, reach in ((224, 5, 5), (112, 2.5, 2)):
        dot = torch.zeros(3, size, size)
        dot[:, 50, 50] = 1
        spread = filled(dot, "blur")[1]
        rows = spread.nonzero()[:, 0]
        assert (rows.min(), rows.max()) == (50 - reach, 50 + reach)
        assert spread.sum() == pytest.approx(1, abs=1e-5)
        assert spread[50, 52] / spread[50, 50] == pytest.approx(np.exp(-2 / sigma**2), rel=1e-4)


def test_road_continues_a_constant_and_meets_its_equations():
    rng = np.random.default_rng(1)
    gone = rng.random((12, 12)) < 0.6
    flat = np.full((3, 12, 12), 0.25)
    flat_found = road_fill(np.where(gone, 9.0, flat), gone, rng, np.zeros(3))
    assert flat_found == pytest.approx(flat)
    image = rng.random((3, 12, 12))
    found = road_fill(image, gone, rng, np.zeros(3))
    assert found[:, ~gone] == pytest.approx(image[:, ~gone])
    padded = np.pad(found, ((0, 0), (1, 1), (1, 1)))
    there = np.pad(np.ones((12, 12)), 1)
    for y, x in np.argwhere(gone):
        block, weight = padded[:, y : y + 3, x : x + 3], there[y : y + 3, x : x + 3] / 12
        weight = weight * [[1, 2, 1], [2, 0, 2], [1, 2, 1]]
        assert found[:, y, x] == pytest.approx((block * weight).sum((1, 2)) / weight.sum())


def test_road_noise_has_its_deviation():
    gone = np.zeros((64, 64), bool)
    gone[::2, ::2] = True  # each by itself: no noise is passed on
    found = road_fill(np.zeros((3, 64, 64)), gone, np.random.default_rng(0), np.array([0.01, 0.02, 0.04]))
    assert found[:, gone].std(1) == pytest.approx([0.01, 0.02, 0.04], rel=0.1)


def test_sensitivity_n_of_a_linear_model_is_one():
    sets, sizes = random_sets(20, np.random.default_rng(0))
    assert sets.sum(1).tolist() == sizes.tolist()
    assert sizes.max() == round(0.8 * CELLS)
    assert len(np.unique(sizes)) == 8
    weights = RNG.normal(size=CELLS)
    assert sensitivity_n(weights.astype(np.float32), sets, sizes, sets @ weights) == pytest.approx(1)
    assert sensitivity_n(-1e-9 * weights.astype(np.float32), sets, sizes, sets @ weights) == pytest.approx(-1)
    assert sensitivity_n(np.ones(CELLS, np.float32), sets, sizes, sets @ weights) is None
    assert sensitivity_n(weights.astype(np.float32), sets, sizes, np.full(len(sets), 0.3)) is None


def test_sensitivity_n_is_a_mean_over_sizes_not_over_pairs():
    # r is 1 among sets of one cell and -1 among sets of two; over all pairs at once it would be neither
    cells = np.arange(CELLS, dtype=np.float32)
    sets = np.zeros((8, CELLS), bool)
    for row, own in enumerate([(0,), (1,), (2,), (9,), (0, 1), (2, 5), (7, 8), (1, 20)]):
        sets[row, list(own)] = True
    cost = np.concatenate([sets[:4] @ cells, -(sets[4:] @ cells)])
    assert sensitivity_n(cells, sets, sets.sum(1), cost) == pytest.approx(0)


def test_the_common_grid():
    assert common(np.full((10, 12), 3, np.float32)) == pytest.approx(np.full(CELLS, 3))
    fine = RNG.random((64, 64)).astype(np.float32)
    assert common(fine).reshape(SIDE, SIDE)[2, 3] == pytest.approx(fine[8:12, 12:16].mean())
    assert common(np.arange(CELLS, dtype=np.float32).reshape(SIDE, SIDE)).tolist() == list(range(CELLS))
    assert np.bincount(cell_of_pixel(32)).tolist() == [4] * CELLS
    assert cell_of_pixel(299).reshape(299, 299)[150, 298] == 8 * SIDE + 15
    row = {"saliency": [1.0, -0.5], "height": 1, "width": 2, "scale": 4.0, "empty": False}
    assert values(row).tolist() == [[4, -2]]
    assert not values(row | {"empty": True}).any()
    assert blurred(np.ones((5, 5), np.float32), 32, 8) == pytest.approx(np.ones((32, 32)), rel=1e-5)


def test_cells_of_time():
    assert [times(frames) for frames in (1, 4, 16, 128)] == [1, 4, 8, 8]
    one, two = np.full(CELLS, 1, np.float32), np.full(CELLS, 3, np.float32)
    assert in_time([one], 1).tolist() == one.tolist()
    # a cell of time is repeated, or the mean of those that it covers
    assert in_time([one, two], 4).reshape(4, CELLS)[:, 0].tolist() == [1, 1, 3, 3]
    assert in_time([one, two, two, one], 2).reshape(2, CELLS)[:, 7].tolist() == [2, 2]
    # pixels lie in the cells that a map's own cells of time became: 16 pictures in 8 of them
    pixel = cell_of_pixel(32, 16).reshape(16, 32, 32)
    assert np.bincount(pixel.ravel()).tolist() == [2 * 4] * 8 * CELLS
    assert (pixel[0] == cell_of_pixel(32).reshape(32, 32)).all()
    assert (pixel[5] == pixel[0] + 2 * CELLS).all()
    lone = np.arange(4, dtype=np.float32)  # one value for each of 4 cells of time of 8 pictures
    shown = in_time([np.full(CELLS, value) for value in lone], times(8))[cell_of_pixel(16, 8)].reshape(8, 16, 16)
    assert shown[:, 3, 3].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_complexity_by_hand():
    one = np.zeros(CELLS, np.float32)
    one[5] = 2
    assert complexity(one) == pytest.approx({"gini": 1 - 1 / CELLS, "entropy": 0, "half": 1 / CELLS})
    assert complexity(np.full(CELLS, 0.1, np.float32)) == pytest.approx({"gini": 0, "entropy": 1, "half": 0.5})
    # 1 and 3: sum of (2 i - n - 1) x = -1 + 3 over n sum x = 8
    assert complexity(np.array([3, 1], np.float32))["gini"] == pytest.approx(2 / 8)
    assert complexity(-one) == {"gini": None, "entropy": None, "half": None}


def test_standardised_maps_multiply_to_their_correlation():
    a, b = RNG.random(CELLS).astype(np.float32), RNG.random(CELLS).astype(np.float32) * 1e-7
    assert standardised(a) @ standardised(b) == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
    assert standardised(np.full(CELLS, 1e-7, np.float32)) is None
    assert relative(np.array([-4, 2], np.float32)).tolist() == [-1, 0.5]


def test_the_mean_map_leaves_the_video_itself_out():
    maps = np.array([[1.0, 0.0], [0.0, 4.0], [2.0, 2.0]])
    assert mean_over_others(maps.sum(0), maps[1], 3).tolist() == [1.5, 1]
    assert mean_over_others(maps[0], maps[0], 1) is None


@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_drawn_depends_on_what_it_is_for(seed):
    draw = [seed_of(seed, *what).integers(2**62) for what in (("v", 1), ("v", 1), ("v", 2), ("w", 1))]
    assert draw[0] == draw[1]
    assert len(set(draw)) == 3


def test_every_score_has_a_meaning():
    assert scores_as_rows({"srg": 0.5}, "blur") == [{"metric": "srg", "fill": "blur", "value": 0.5}]
    with pytest.raises(AssertionError):
        scores_as_rows({"sgr": 0.5}, "blur")
    assert set(removal_scores(np.array([0, 1]), np.zeros(2), np.zeros(2))) < set(METRICS)
