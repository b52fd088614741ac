"""Occlusion, RISE and LIME on models of which is known what they look at."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import Occlusion as Captums
from torch import Tensor, nn

from operators.inputs.view import View
from operators.methods import grid, hidden
from operators.methods.lime import Lime, ridge, segmented
from operators.methods.method import Outputs, Place
from operators.methods.occlusion import Occlusion
from operators.methods.rise import Bank, Rise
from operators.models.running import to_rgb
from operators.models.spec import spec_for
from operators.models.weights import load_model

SIZE = 32  # 4 x 4 cells
SPEC = replace(spec_for("resnet10t"), view=View(SIZE))
FIRST = torch.tensor([0])


class Pixel(nn.Module):
    """p_0 is .5 + .1 times the red of one pixel; logits are their logarithms."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__()
        self.place = row, column

    def forward(self, images: Tensor) -> Tensor:
        p = 0.5 + 0.1 * images[:, 0, *self.place]
        return torch.stack([p, 1 - p], 1).log()


class Linear(nn.Module):
    """y_0 = sum w x, y_1 = -y_0."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))

    def forward(self, images: Tensor) -> Tensor:
        y = (images * self.w).sum((1, 2, 3))
        return torch.stack([y, -y], 1)


class Blind(nn.Module):
    """Says the same whatever it is shown."""

    def forward(self, images: Tensor) -> Tensor:
        return images.new_tensor([1.0, -2.0]).expand(len(images), 2)


def images(n: int, size: int = SIZE) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)


def maps(method, model: nn.Module, inputs: Tensor, targets: Tensor, pictures: Tensor | None = None) -> Tensor:
    return method.ready(Place(SPEC, model, "", inputs[:1])).run(inputs, targets, Outputs(pictures=pictures)).saliency


def test_what_is_hidden_shows_the_fill():
    seen: list[Tensor] = []

    class Camera(Blind):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return super().forward(images)

    inputs, masks = images(2), torch.zeros(1, 3, SIZE, SIZE)
    masks[:, 1], masks[:, 2] = 1, 0.25
    logits = hidden.ask(Camera(), inputs, masks, hidden.colour(inputs))
    assert logits.shape == (2, 3, 2)
    rows = seen[0].unflatten(0, (2, 3))
    torch.testing.assert_close(rows[:, 1], inputs)
    mean = inputs.mean((2, 3), keepdim=True).expand_as(inputs)
    torch.testing.assert_close(rows[:, 0], mean)
    torch.testing.assert_close(rows[:, 2], 0.25 * inputs + 0.75 * mean)


def test_every_mask_is_asked_once_whatever_the_batch():
    for n_masks, n_samples in itertools.product((1, 31, 32, 33, 100), (1, 3, 33, 64)):
        parts = [range(n_masks)[part] for part in hidden.chunks(n_masks, n_samples)]
        assert [each for part in parts for each in part] == list(range(n_masks))
        assert max(map(len, parts)) * n_samples <= max(32, n_samples)


def test_occlusion_of_a_linear_model_is_what_its_windows_hold():
    """Windows of one cell each, side by side: a cell has the sum of w (x - the mean colour) over it."""
    model, inputs = Linear(), images(2)
    found = maps(Occlusion(window=0.25, positions=4), model, inputs, torch.tensor([0, 1]))
    terms = (model.w * (inputs - inputs.mean((2, 3), keepdim=True))).sum(1)
    expected = terms.unfold(1, 8, 8).unfold(2, 8, 8).sum((3, 4)) * torch.tensor([1.0, -1.0])[:, None, None]
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-3, atol=1e-3)


def test_occlusion_is_captums():
    """Windows that overlap by half, on a real network."""
    torch.manual_seed(0)
    model, inputs, targets = load_model(SPEC).requires_grad_(False), images(2), torch.tensor([0, 1])
    found = maps(Occlusion(window=0.25, positions=7), model, inputs, targets)
    colour = inputs.mean((2, 3), keepdim=True).expand_as(inputs)
    captums = Captums(model).attribute(inputs, (3, 8, 8), (3, 4, 4), colour, targets)
    expected = grid.means(captums[:, 0]).float()
    assert expected.abs().max() > 0
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("side", [29, 64, 299])
@pytest.mark.parametrize("method", [Occlusion(), Occlusion(0.125, 15), Occlusion(0.1, 10), Occlusion(1.0, 1)])
def test_windows_leave_no_gap(method, side):
    windows = method.along(side)
    assert (windows.sum(0) > 0).all()
    assert len(set(windows.sum(1).tolist())) == 1  # none is cut off at an edge


def test_rise_is_the_mean_weighted_by_its_masks():
    """By the definition, mask by mask in doubles."""
    method, inputs, model = Rise(masks=50, cells=4), images(2), Linear()
    model.w *= 0.02
    targets = torch.tensor([0, 1])
    masks = Bank(method, inputs[:1])[0:50].double()
    assert (masks >= 0).all()
    assert (masks < 1 + 1e-6).all()
    colour = inputs.mean((2, 3), keepdim=True)
    scores = torch.stack(
        [
            torch.stack([model(x[None] * m.float() + c * (1 - m.float())).softmax(1)[0, t] for m in masks])
            for x, c, t in zip(inputs, colour, targets, strict=True)
        ]
    ).double()
    seen = masks.unfold(1, 8, 8).unfold(2, 8, 8).mean((3, 4))
    weighted = torch.einsum("nm,mhw->nhw", scores, seen) / seen.sum(0)
    expected = weighted - scores.mean(1)[:, None, None]
    torch.testing.assert_close(maps(method, model, inputs, targets)[:, 0].double(), expected, rtol=1e-3, atol=1e-5)


def test_the_masks_are_cells_that_are_open_with_a_probability_and_shifted():
    bank = Bank(Rise(masks=600, cells=7, keep=0.3), images(1, 64))
    masks = bank[0:600]
    assert masks.shape == (600, 64, 64)
    assert abs(float(masks.mean()) - 0.3) < 0.01
    torch.testing.assert_close(masks.mean(0), torch.full((64, 64), 0.3), rtol=0, atol=0.1)  # everywhere, edges too
    torch.testing.assert_close(bank[7:9], masks[7:9], rtol=0, atol=0)  # in whatever parts


def test_rise_finds_the_pixel_that_a_model_looks_at():
    inputs = torch.full((1, 3, SIZE, SIZE), -1.0)
    inputs[0, 0, 4:8, 20:24] = 4.0
    found = maps(Rise(masks=1000), Pixel(6, 22), inputs, FIRST)[0, 0]
    assert np.unravel_index(int(found.argmax()), found.shape) == (0, 2)
    against = maps(Rise(masks=1000), Pixel(6, 22), inputs, torch.tensor([1]))[0, 0]
    torch.testing.assert_close(against, -found, rtol=1e-3, atol=1e-6)
    # the mask over a cell two away is another cell's
    assert found[3].abs().max() < 0.2 * found.max()


@pytest.mark.parametrize("method", [Rise(masks=64), Lime(samples=64), Occlusion()])
def test_of_a_model_that_sees_nothing_nothing_is_shown(method):
    assert maps(method, Blind(), images(1), FIRST).abs().max() < 1e-6


def test_lime_finds_the_weight_of_the_segment_that_a_model_looks_at():
    """p is linear in what is shown: its weight is .1 (the pixel - its segment's mean), all others' are 0."""
    method, inputs = Lime(samples=60, segments=9, ridge=1e-6), images(2)
    pictures = torch.zeros(2, 3, SIZE, SIZE)
    segments = segmented(pictures[0], 9)
    own = segments == segments[5, 20]
    found = maps(method, Pixel(5, 20), inputs, torch.tensor([0, 1]), pictures)
    for x, map_, sign in zip(inputs, found, (1, -1), strict=True):
        weight = sign * 0.1 * (x[0, 5, 20] - x[0][own].mean())
        torch.testing.assert_close(map_[0], grid.means(weight * own.float()), rtol=1e-3, atol=1e-4)


def test_lime_segments_the_picture_and_not_the_flow():
    """Two halves of one colour each: no segment has pixels of both."""
    picture = torch.zeros(3, 64, 64)
    picture[0, :, :29] = 1
    segments = segmented(picture, 12)
    assert not set(segments[:, :29].unique().tolist()) & set(segments[:, 29:].unique().tolist())
    assert segments.unique().tolist() == list(range(int(segments.max()) + 1))
    assert 8 <= len(segments.unique()) <= 16
    inputs = images(1)
    by_picture = maps(Lime(samples=40), Linear(), inputs, FIRST, torch.zeros(1, 3, SIZE, SIZE))
    assert not torch.equal(by_picture, maps(Lime(samples=40), Linear(), inputs, FIRST))


def test_the_ridge_of_a_batch_is_that_of_each():
    """The normal equations with an intercept that costs nothing, as least squares over rows of the penalty."""
    rng = np.random.default_rng(0)
    designs, scores, weights = (rng.random(shape) for shape in ((2, 30, 5), (2, 30), (2, 30)))
    designs[1, :, 3:] = 0  # a sample of three segments among one of five
    found = ridge(*map(torch.from_numpy, (designs, scores, weights)), penalty=0.7).numpy()
    for design, y, w, b in zip(designs, scores, weights, found, strict=True):
        root = np.sqrt(w)[:, None]
        rows = np.vstack([root * np.column_stack([np.ones(30), design]), np.sqrt(0.7) * np.eye(6)[1:]])
        expected = np.linalg.lstsq(rows, np.concatenate([root[:, 0] * y, np.zeros(5)]), rcond=None)[0][1:]
        np.testing.assert_allclose(b, expected, atol=1e-10)
    np.testing.assert_allclose(found[1, 3:], 0, atol=1e-12)


def test_limes_samples_weigh_by_how_much_they_show():
    """cos = sqrt(shown / all): all shown weighs 1, a quarter exp(-.5 (.5 / .25)^2), nothing exp(-.5 (1 / .25)^2)."""
    shown = torch.tensor([[[1.0, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]]])
    weights = Lime().weights(shown, torch.tensor([4]))
    torch.testing.assert_close(weights, torch.tensor([[0.0, -2.0, -8.0]], dtype=torch.float64).exp())


def test_an_input_is_its_picture():
    rgb = torch.rand(1, 3, 4, 4)
    spec = replace(SPEC, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (spec.mean, spec.std))
    torch.testing.assert_close(to_rgb((rgb - mean) / std, spec), rgb)
