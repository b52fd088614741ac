"""Integrated gradients and SmoothGrad against sums that are known."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from operators.inputs.view import View
from operators.methods import grid
from operators.methods.integrated_gradients import IntegratedGradients
from operators.methods.method import Outputs, Place
from operators.methods.smoothgrad import SmoothGrad
from operators.models.running import black
from operators.models.spec import spec_for
from operators.models.weights import load_model

SIZE = 36  # 5 x 5 cells of 7.2 pixels: some lie in two
SPEC = replace(spec_for("resnet10t"), view=View(SIZE))


class Linear(nn.Module):
    """y_0 = sum w x, y_1 = -y_0; begins in place, as a network may."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))

    def forward(self, images: Tensor) -> Tensor:
        y = (images.mul_(1) * self.w).sum((1, 2, 3))
        return torch.stack([y, -y], 1)


def images(n: int, size: int = SIZE) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


def maps(method, model: nn.Module, inputs: Tensor, targets: Tensor, spec=SPEC) -> Tensor:
    return method.ready(Place(spec, model, "", inputs[:1])).run(inputs, targets, Outputs()).saliency


def by_hand(values: Tensor) -> Tensor:
    """Sums over 5 x 5 cells of 36 x 36 pixels, each of which is cut into 5 x 5 parts first."""
    fine = values.repeat_interleave(5, -1).repeat_interleave(5, -2) / 25
    return fine.unflatten(-1, (5, 36)).sum(-1).unflatten(-2, (5, 36)).sum(-2)


def test_cells_share_the_pixels_between_them():
    values = images(2)[:, 0]
    torch.testing.assert_close(grid.sums(values), by_hand(values))
    torch.testing.assert_close(grid.means(torch.ones(1, SIZE, SIZE)), torch.ones(1, 5, 5))
    assert [grid.cells(pixels) for pixels in (8, 9, 64, 256, 299)] == [1, 2, 8, 32, 38]


@pytest.mark.parametrize("target", [0, 1])
def test_integrated_gradients_of_a_linear_model_are_its_terms(target):
    model, inputs = Linear(), images(2)
    found = maps(IntegratedGradients(steps=1), model, inputs, torch.tensor([target] * 2))
    terms = ((inputs - black(SPEC, inputs)) * model.w).sum(1) * (1 - 2 * target)
    torch.testing.assert_close(found[:, 0], by_hand(terms), rtol=1e-4, atol=1e-3)


def test_integrated_gradients_are_complete():
    """Their sum is the difference of the logits; of a network with ReLUs as far as the steps tell."""
    torch.manual_seed(0)
    spec = replace(SPEC, view=View(64))
    model, inputs, targets = load_model(spec).requires_grad_(False), images(3, 64), torch.tensor([0, 1, 1])
    with torch.no_grad():
        logits = [model(each)[range(3), targets] for each in (inputs, black(spec, inputs).expand_as(inputs))]
    difference = logits[0] - logits[1]
    errors = [
        (maps(IntegratedGradients(steps), model, inputs, targets, spec).sum((1, 2, 3)) - difference).abs().max()
        for steps in (2, 32)
    ]
    assert errors[1] < 0.05 * difference.abs().max() < errors[0]


def test_smooth_grad_without_noise_is_the_gradient():
    torch.manual_seed(0)
    spec = replace(SPEC, view=View(64))
    model, inputs, targets = load_model(spec).requires_grad_(False), images(2, 64), torch.tensor([0, 1])
    asked = inputs.clone().requires_grad_()
    model(asked)[range(2), targets].sum().backward()
    sizes = asked.grad.abs().amax(1)
    found = maps(SmoothGrad(draws=2, noise=0.0), model, inputs, targets, spec)
    torch.testing.assert_close(found[:, 0], sizes.unfold(1, 8, 8).unfold(2, 8, 8).mean((3, 4)), rtol=1e-4, atol=1e-7)


class Squared(nn.Module):
    """y_0 = sum x^2 / 2: the gradient is x, and its mean over copies x + sigma * the mean noise."""

    def forward(self, images: Tensor) -> Tensor:
        y = images.square().sum((1, 2, 3)) / 2
        return torch.stack([y, 0 * y], 1)


def test_smooth_grads_noise_is_a_share_of_the_inputs_range():
    inputs, zeros = images(1), torch.tensor([0])
    small, large = (maps(SmoothGrad(draws=4, noise=noise), Squared(), inputs, zeros) for noise in (0.0, 0.5))
    ready = SmoothGrad(draws=4, noise=0.5).ready(Place(SPEC, Squared(), "", inputs))
    mean = ready.noise.mean(0, keepdim=True)
    assert abs(float(ready.noise.std()) - 1) < 0.03
    expected = (inputs + 0.5 * (inputs.max() - inputs.min()) * mean).abs().amax(1)
    torch.testing.assert_close(large[:, 0], grid.means(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(small[:, 0], grid.means(inputs.abs().amax(1)), rtol=1e-4, atol=1e-5)
