"""What is said of noise alone is what the layers above say of it, whatever the input."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from operators.methods.closed import CLOSED_DRAWS, noise_alone
from operators.models.cut import split

EXAMPLES = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class Linear(nn.Module):
    """Logits (x, 0), x being the sum of the layer's only channel; `beside` lets the input itself come to it, too."""

    def __init__(self, beside: bool = False) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 1, 1)
        self.beside = beside

    def forward(self, images: Tensor) -> Tensor:
        x = self.layer(images).sum((1, 2, 3))
        if self.beside:
            x = x + images.mean((1, 2, 3))
        return torch.stack([x, torch.zeros_like(x)], 1)


def said(model: nn.Module, mean: float, std: float, active: float = 1.0, seed: int = 0) -> Tensor | None:
    cut = split(model.eval().requires_grad_(False), "layer", EXAMPLES[:1])
    return noise_alone(cut, EXAMPLES, *(torch.full((1, 4, 4), value) for value in (mean, std, active)), seed)


def test_noise_without_spread_is_its_mean():
    found = said(Linear(), 0.125, 1e-9)
    assert found.tolist() == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))])  # 16 cells of 1/8
    assert said(Linear(), 0.125, 1e-9, active=0.0).tolist() == [0.5, 0.5]


def test_it_is_the_mean_of_the_probabilities_over_the_noise():
    # x ~ N(2, 4^2): by quadrature the sigmoid of it is .660 on average, and that of its mean would be .881
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    values = 1 / (1 + np.exp(-(2 + 4 * nodes)))
    mean = float(values @ weights / weights.sum())
    error = math.sqrt(float((values - mean) ** 2 @ weights / weights.sum()) / CLOSED_DRAWS)
    found = said(Linear(), 0.125, 1.0)
    assert abs(found[0].item() - mean) < 4 * error
    assert abs(found[0].item() - 0.881) > 0.03
    assert torch.equal(found, said(Linear(), 0.125, 1.0))
    assert not torch.equal(found, said(Linear(), 0.125, 1.0, seed=1))


def test_of_so_many_draws_in_one_order_however_many_go_through_at_a_time():
    noise = torch.randn((CLOSED_DRAWS, 16), generator=torch.Generator().manual_seed(3))
    plain = torch.sigmoid((0.125 + noise).sum(1)).double().mean()
    assert said(Linear(), 0.125, 1.0, seed=3)[0].item() == pytest.approx(plain.item(), abs=1e-6)


def test_nothing_is_said_where_the_input_comes_by_another_path():
    assert said(Linear(beside=True), 0.125, 1.0) is None
