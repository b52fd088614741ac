"""Merged statistics are those of all samples, whatever the split."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators import collect
from operators.methods import statistics
from operators.methods.statistics import LayerStatistics, merge, of_batch


@settings(max_examples=50)
@given(cuts=st.lists(st.integers(1, 39), max_size=6, unique=True), scale=st.sampled_from([1e-3, 1.0, 1e4]))
def test_any_split_gives_the_two_pass_result(cuts, scale):
    values = torch.randn(40, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * scale + 1e3
    values[:, 0] = values[:, 0].clamp(min=1e3)
    edges = [0, *sorted(cuts), 40]
    found = merge([of_batch(values[a:b]) for a, b in itertools.pairwise(edges)])
    assert found.n == 40
    torch.testing.assert_close(found.mean, values.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(found.m2, (values - values.mean(0)).square().sum(0), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found.nonzero, (values != 0).sum(0))


def test_deviation_by_hand():
    found = of_batch(torch.tensor([1.0, 2.0, 3.0, 6.0]).view(4, 1, 1, 1))
    assert found.mean.item() == 3.0
    assert found.std().item() == pytest.approx((14 / 3) ** 0.5)  # 4 + 1 + 0 + 9 over n - 1
    assert of_batch(torch.zeros(4, 1, 1, 1)).std().item() == pytest.approx(0.01)
    assert of_batch(torch.ones(1, 1, 1, 1)).std().item() == pytest.approx(0.01)


def test_an_element_that_is_hardly_ever_on_is_switched_off():
    values = torch.zeros(200, 1, 1, 3)
    values[:2, ..., 1] = 1  # 1 % of the samples: off
    values[:3, ..., 2] = 1
    assert of_batch(values).active().flatten().tolist() == [False, False, True]


def test_a_file_gives_back_what_was_saved(tmp_path):
    kept = of_batch(torch.randn(6, 2, 3, 3))
    path = statistics.path_in(tmp_path, "toy", "layer")
    statistics.save(kept, path, {"model": "toy"})
    found = statistics.load(path)
    assert found.n == 6
    assert all(torch.equal(getattr(found, name), getattr(kept, name)) for name in ("mean", "m2", "nonzero"))
    path.write_bytes(b"junk")
    with pytest.raises(ValueError, match="no layer statistics"):
        statistics.load(path)


def test_a_worker_hands_over_what_it_found():
    kept = of_batch(torch.randn(6, 2, 3, 3))
    row = collect._partial("toy", "layer", kept)
    found = collect.from_partial(row)
    assert isinstance(found, LayerStatistics)
    assert torch.equal(found.m2, kept.m2)
    assert torch.equal(found.nonzero, kept.nonzero)
