"""Per-sample IBA against closed forms, against its own transcription, and against a planted cause."""

import copy
import itertools
import math
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from bench.plain import explain_one
from operators.inputs.view import View
from operators.methods.bottleneck import PRESETS, Bottleneck, cut_for, explain, fit, noise_draws
from operators.methods.smoothing import Smoothing
from operators.models.cut import frozen
from operators.models.spec import spec_for
from operators.models.weights import load_model


class Toy(nn.Module):
    """One convolution, the layer, and a linear read-out of it."""

    def __init__(self, channels: int = 4, size: int = 12) -> None:
        super().__init__()
        self.below = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.layer = nn.Identity()
        self.head = nn.Linear(channels * (size // 2) ** 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.layer(self.below(x))).flatten(1))


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(0)
    return Toy().double()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def statistics(toy: Toy) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        r = toy.below(torch.randn(64, 3, 12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64))
    return r.mean(0), r.std(0).clamp(min=0.01)


def kl(passed: float, r: torch.Tensor) -> torch.Tensor:
    return -0.5 * (1 + math.log((1 - passed) ** 2) - (passed * r) ** 2 - (1 - passed) ** 2)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_first_pass_is_the_closed_form(toy, images):
    """One step: lambda is sigmoid(5) everywhere, smoothing a constant changes nothing, the map needs no gradient."""
    mean, std = statistics(toy)
    found = explain(toy, "layer", images, torch.zeros(5, dtype=torch.long), mean, std, steps=1, beta=3.0)
    r = (toy.below(images) - mean) / std
    expected = kl(sigmoid(5), r)
    torch.testing.assert_close(found.capacity, (expected.sum(1) / math.log(2)).float())
    z = found.probabilities
    assert ((z >= 0) & (z <= 1)).all()
    torch.testing.assert_close(z.sum(1), torch.ones(5))
    torch.testing.assert_close(found.loss_before, found.loss_after)


def test_a_class_nothing_decides_loses_a_bit_of_alpha_per_step(toy, images):
    """With a head of zeros only the KL pulls: Adam's steps then have size lr, so alpha is 5, 4 after one step."""
    nn.init.zeros_(toy.head.weight)
    nn.init.zeros_(toy.head.bias)
    mean, std = statistics(toy)
    found = explain(toy, "layer", images, torch.ones(5, dtype=torch.long), mean, std, steps=2, beta=10.0)
    r = (toy.below(images) - mean) / std
    first, second = kl(sigmoid(5), r), kl(sigmoid(4), r)
    torch.testing.assert_close(found.capacity, (second.sum(1) / math.log(2)).float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.loss_before, (math.log(2) + 10 * first.mean((1, 2, 3))).float())
    torch.testing.assert_close(found.loss_after, (math.log(2) + 10 * second.mean((1, 2, 3))).float(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("lr", [0.5, 2.0])
def test_alpha_moves_by_lr(toy, images, lr):
    nn.init.zeros_(toy.head.weight)
    nn.init.zeros_(toy.head.bias)
    mean, std = statistics(toy)
    found = explain(toy, "layer", images, torch.ones(5, dtype=torch.long), mean, std, steps=2, lr=lr)
    expected = kl(sigmoid(5 - lr), (toy.below(images) - mean) / std)
    torch.testing.assert_close(found.capacity, (expected.sum(1) / math.log(2)).float(), rtol=1e-4, atol=1e-4)


def test_what_passes_is_judged_by_every_draw_alone(toy, images):
    """The mean of the probabilities, not the probability of the mean logits: from the first pass's own noise."""
    mean, std = statistics(toy)
    with torch.no_grad():
        toy.head.weight *= 3000  # the noise that is left decides of the first picture
        toy.head.bias -= toy(images[:1])[0] - torch.tensor([0.0, 2.0])
        how = Bottleneck(steps=1, draws=4, seed=5)
        noise = next(noise_draws(how, mean, std)).permute(0, 3, 1, 2)
        passed = sigmoid(5)
        z = passed * toy.below(images).unsqueeze(1) + (1 - passed) * noise
        logits = toy.head(torch.relu(z).flatten(2)).float()
    found = explain(toy, "layer", images, torch.zeros(5, dtype=torch.long), mean, std, steps=1, draws=4, seed=5)
    torch.testing.assert_close(found.logits, logits.mean(1))
    torch.testing.assert_close(found.probabilities, logits.softmax(2).mean(1))
    assert (found.probabilities - logits.mean(1).softmax(1)).abs().max() > 0.01


def test_only_fits_that_ask_for_it_are_of_low_precision(toy, images, monkeypatch):
    """On a processor that multiplies bfloat16: fast and auto do, the published algorithm does not."""
    monkeypatch.setattr("operators.methods.bottleneck.fast_bfloat16", lambda _device: True)
    with frozen(toy):
        found = {
            name: cut_for(toy.float(), "layer", images[:1].float(), preset).dtype for name, preset in PRESETS.items()
        }
    assert found == {"auto": torch.bfloat16, "fast": torch.bfloat16, "reference": torch.float32}


@pytest.mark.parametrize("how", [{}, {"beta": 2.5, "lr": 0.7}], ids=["published", "other"])
def test_equals_the_transcription(toy, images, how):
    """Below once, frozen weights, all samples together: the same maps as one at a time through the whole model."""
    mean, std = statistics(toy)
    targets = torch.tensor([0, 1, 0, 1, 1])
    found = explain(toy, "layer", images, targets, mean, std, steps=10, draws=3, seed=7, **how)
    for i in range(5):
        plain = explain_one(toy, "layer", images[i], int(targets[i]), mean, std, draws=3, seed=7, **how)
        torch.testing.assert_close(found.capacity[i], plain.float(), rtol=1e-6, atol=1e-6)


def test_batched_equals_one_at_a_time(toy, images):
    mean, std = statistics(toy)
    targets = torch.tensor([0, 1, 0, 1, 1])
    together = explain(toy, "layer", images, targets, mean, std, seed=3)
    for i in range(5):
        alone = explain(toy, "layer", images[i : i + 1], targets[i : i + 1], mean, std, seed=3)
        for name in ("bits", "capacity", "loss_before", "loss_after", "logits", "probabilities"):
            torch.testing.assert_close(getattr(together, name)[i : i + 1], getattr(alone, name), rtol=1e-5, atol=1e-5)


def test_seed_makes_the_noise(toy, images):
    mean, std = statistics(toy)
    targets = torch.zeros(5, dtype=torch.long)
    one, same, other = (explain(toy, "layer", images, targets, mean, std, seed=s).capacity for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, rtol=1e-4)


def test_the_model_is_left_exactly_as_it_was(toy, images):
    mean, std = statistics(toy)
    toy.train()
    toy.below.weight.requires_grad_(False)
    state, output = copy.deepcopy(toy.state_dict()), toy(images)
    explain(toy, "layer", images, torch.zeros(5, dtype=torch.long), mean, std, steps=3)
    with pytest.raises(ValueError, match="statistics"):
        explain(toy, "layer", images, torch.zeros(5, dtype=torch.long), mean[:1], std[:1])
    assert torch.equal(toy(images), output)
    assert all(torch.equal(value, state[key]) for key, value in toy.state_dict().items())
    assert toy.training
    assert toy.head.training
    assert not toy.below.weight.requires_grad
    assert toy.head.weight.requires_grad
    assert all(parameter.grad is None for parameter in toy.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in toy.modules())


class Residual(Toy):
    """What lies below the layer also goes past it, to the head."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        r = self.below(x)
        return self.head(torch.relu(self.layer(r) + 3 * r.flip(1)).flatten(1))


def test_what_goes_past_the_layer_stays_with_its_sample(images):
    """With several draws each sample has several rows, and so have its residual tensors."""
    torch.manual_seed(0)
    toy = Residual().double()
    mean, std = statistics(toy)
    targets = torch.tensor([0, 1, 0, 1, 1])
    cut = cut_for(toy, "layer", images[:1], Bottleneck())
    assert len(cut.below(images)[1]) == 1
    together = explain(toy, "layer", images, targets, mean, std, draws=3)
    for i in range(5):
        alone = explain_one(toy, "layer", images[i], int(targets[i]), mean, std, draws=3)
        torch.testing.assert_close(together.capacity[i], alone.float(), rtol=1e-5, atol=1e-5)


class Patch(nn.Module):
    """The class is decided by the mean of rows 2-4, columns 7-9 alone."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, channels, 1, bias=False)
        nn.init.ones_(self.layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        evidence = self.layer(x)[:, :, 2:5, 7:10].mean((1, 2, 3))
        return torch.stack([-8 * evidence, 8 * evidence], 1)


def test_a_planted_patch_gets_most_of_the_bits():
    model = Patch()
    image = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    image[:, :, 2:5, 7:10] = 1.5
    mean, std = torch.zeros(1, 12, 12), torch.ones(1, 12, 12)
    found = explain(model, "layer", image, torch.tensor([1]), mean, std, beta=1.0, steps=30, smooth_sigma=0.5)
    inside = found.bits[0, 2:5, 7:10].sum() / found.bits.sum()
    assert inside > 0.5  # chance: 9 of 144 pixels, 0.06
    row, column = divmod(int(found.bits[0].argmax()), 12)
    assert 2 <= row < 5
    assert 7 <= column < 10


@pytest.mark.parametrize(
    ("steps", "first", "asks"),
    [(10, 1, range(1, 10)), (10, 4, range(4, 10)), (3, 4, (2,)), (2, 4, (1,)), (1, 1, ())],
)
def test_which_passes_ask(steps, first, asks):
    assert list(Bottleneck(steps=steps, asks_from=first).asks) == list(asks)


def test_before_the_first_ask_there_is_only_the_kl(toy, images):
    """Against the loop written out for one sample: before the first ask the KL pulls alone."""
    mean, std = statistics(toy)
    asks, steps, beta = (3, 4, 5), 6, 10.0
    target = torch.tensor([1])
    r = toy.below(images[:1]).detach()
    generator = torch.Generator().manual_seed(0)
    alpha = torch.full_like(r, 5.0).requires_grad_()
    optimizer = torch.optim.Adam([alpha], lr=1.0)
    slope, noise = torch.zeros_like(r), torch.zeros_like(r)
    for number in range(1, steps + 1):
        lam = torch.sigmoid(alpha)
        information = -0.5 * (1 + torch.log((1 - lam) ** 2) - (lam * (r - mean) / std) ** 2 - (1 - lam) ** 2)
        if number in asks:
            noise = mean + std * torch.randn(1, *mean.shape, generator=generator).double()
            z = (lam * r + (1 - lam) * noise).detach().requires_grad_()
            loss = nn.functional.cross_entropy(toy.head(torch.relu(z).flatten(1)), target)
            (slope,) = torch.autograd.grad(loss, z)
        if number < steps:
            optimizer.zero_grad()
            ((slope * (lam * r + (1 - lam) * noise)).sum() + beta * information.mean()).backward()
            optimizer.step()
    how = {"steps": steps, "draws": 1, "asks_from": 3, "smooth_sigma": 0.0, "beta": beta}
    found = explain(toy, "layer", images[:1], target, mean, std, **how)
    torch.testing.assert_close(found.capacity, (information.sum(1) / math.log(2)).float(), rtol=1e-4, atol=1e-5)


def test_mirrored_noise_is_noise_and_its_mirror_image():
    mean, std = torch.full((2, 3, 3), 7.0), torch.full((2, 3, 3), 0.5)
    pair = next(noise_draws(Bottleneck(draws=2, antithetic=True, seed=4), mean, std)) - 7
    assert pair.shape == (2, 3, 3, 2)
    torch.testing.assert_close(pair[0], -pair[1])
    assert pair[0].abs().max() > 0.1
    alone = noise_draws(Bottleneck(draws=1, antithetic=True, seed=4), mean, std)
    first, second, third = (next(alone) - 7 for _ in range(3))
    torch.testing.assert_close(first, -second)
    torch.testing.assert_close(first, pair[:1])
    assert (third - first).abs().max() > 0.1
    assert (third - second).abs().max() > 0.1


def test_a_sample_whose_first_gradients_disagree_is_explained_again(images):
    """And only where there is something to find; in every batch the same."""
    torch.manual_seed(1)
    toy = Toy().double()
    mean, std = statistics(toy)
    with torch.no_grad():
        toy.head.weight *= 20
        targets = toy(images).argmax(1)
    few = {"draws": 2, "asks_from": 4, "antithetic": True}
    once = explain(toy, "layer", images, targets, mean, std, **few)
    surely = explain(toy, "layer", images, targets, mean, std, draws=10, antithetic=True).capacity
    whole = explain(toy, "layer", images, targets, mean, std, **few, sure_draws=10)
    assert whole.evaluations.tolist() == [6 * 2 + 2] * 4 + [6 * 2 + 2 + 9 * 10 + 10]
    found = whole.capacity
    assert once.capacity[2].sum() < 1.05 * once.floor[2]  # its gradients disagree too: there is nothing but noise
    assert not torch.isclose(once.capacity[4], surely[4], rtol=1e-3).all()
    rows = []
    handle = toy.head.register_forward_pre_hook(lambda _module, inputs: rows.append(len(inputs[0])))
    some = (torch.cat([images[4:]] * 5), targets[4:].repeat(5), mean, std)
    explain(toy, "layer", *some, **few, sure_draws=10)
    handle.remove()
    assert max(rows) == 5 * 2  # all five again, one by one: never more rows together than in the first fit
    for i, again in enumerate((False, False, False, False, True)):
        torch.testing.assert_close(found[i], (surely if again else once.capacity)[i])
        alone = explain(toy, "layer", images[i : i + 1], targets[i : i + 1], mean, std, **few, sure_draws=10).capacity
        torch.testing.assert_close(alone[0], found[i])


def test_the_floor_is_what_passes_where_nothing_decides(toy, images):
    mean, std = statistics(toy)
    targets = torch.tensor([0, 1, 0, 1, 1])
    found = explain(toy, "layer", images, targets, mean, std, asks_from=3)
    for parameter in (toy.head.weight, toy.head.bias):
        nn.init.zeros_(parameter)
    unpulled = explain(toy, "layer", images, targets, mean, std)
    torch.testing.assert_close(found.floor, unpulled.floor)
    torch.testing.assert_close(unpulled.floor, unpulled.capacity.sum((1, 2)))
    assert not torch.allclose(found.floor, found.capacity.sum((1, 2)), rtol=1e-3)


class Counted(Toy):
    """Counts the rows that go through its head."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

        def count(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            self.rows += len(inputs[0])

        self.head.register_forward_pre_hook(count)


def test_a_sample_is_asked_with_one_draw_until_its_class_pulls(images):
    """One of the two has no evidence: one row in each ask, two in the last pass. The other is asked as without `quiet`
    once it pulls, and both maps are those of asking everything."""
    torch.manual_seed(0)
    toy = Counted().double()
    mean, std = statistics(toy)
    with torch.no_grad():
        toy.head.weight *= 100
    few = {"draws": 2, "asks_from": 4, "antithetic": True}
    rows, found, loud = [], [], []
    for i, target in ((3, 1), (3, 0)):
        some = images[i : i + 1], torch.tensor([target]), mean, std
        loud.append(explain(toy, "layer", *some, **few))
        with frozen(toy):
            cut = cut_for(toy, "layer", images[:1], Bottleneck())
            toy.rows = 0
            found.append(fit(cut, *some, None, Bottleneck(**few, quiet=0.05)))
        rows.append(toy.rows)
    empty, evident = found
    assert rows[0] == 6 * 1 + 2
    assert [int(each.evaluations) for each in found] == rows
    assert rows[0] < rows[1] <= 6 * 2 + 2
    torch.testing.assert_close(empty.capacity.sum((1, 2)), empty.floor, rtol=1e-2, atol=0)
    torch.testing.assert_close(empty.floor, loud[0].capacity.sum((1, 2)), rtol=1e-2, atol=0)
    assert evident.capacity.sum() > 5 * evident.floor
    torch.testing.assert_close(evident.bits.sum(), loud[1].bits.sum(), rtol=0.02, atol=0)


@pytest.mark.parametrize("scale", [5, 20, 100])
def test_quiet_neighbours_change_nothing(images, scale):
    """Some of a batch wake, some stir, some sleep: each is asked as if it were alone."""
    torch.manual_seed(0)
    toy = Toy().double()
    mean, std = statistics(toy)
    with torch.no_grad():
        toy.head.weight *= scale
    targets, few = torch.tensor([0, 1, 1, 1, 1]), {"draws": 2, "asks_from": 4, "antithetic": True, "quiet": 0.05}
    together = explain(toy, "layer", images, targets, mean, std, **few)
    for i in range(5):
        alone = explain(toy, "layer", images[i : i + 1], targets[i : i + 1], mean, std, **few)
        for name in ("capacity", "loss_before", "logits", "floor", "evaluations"):
            torch.testing.assert_close(getattr(together, name)[i : i + 1], getattr(alone, name), rtol=1e-5, atol=1e-5)


def test_who_is_never_quiet_is_asked_as_without_it(toy, images):
    """One draw first and the others after it are all of them together."""
    mean, std = statistics(toy)
    some = (images, torch.tensor([0, 1, 0, 1, 1]), mean, std)
    for few in ({"draws": 2, "antithetic": True}, {"draws": 3, "asks_from": 4}):
        loud, found = (explain(toy, "layer", *some, **few, quiet=quiet) for quiet in (0.0, 1e-12))
        torch.testing.assert_close(found.capacity, loud.capacity)
        torch.testing.assert_close(found.loss_before, loud.loss_before)


def test_presets_point_at_the_same_place():
    model = Patch(channels=64)  # one draw of as many elements as a real layer has says what all say
    image = torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    image[:, :, 2:5, 7:10] = 1.5
    mean, std = torch.zeros(64, 12, 12), torch.ones(64, 12, 12)
    maps = []
    for preset in (PRESETS["reference"], PRESETS["fast"]):
        settings = {name: value for name, value in asdict(preset).items() if name not in ("start", "seed", "auto")}
        found = [explain(model, "layer", image, torch.tensor([1]), mean, std, **settings, seed=seed) for seed in (0, 1)]
        maps.append(torch.stack([each.bits[0].flatten() for each in found]).mean(0))
    assert torch.corrcoef(torch.stack(maps))[0, 1] > 0.99


def test_switched_off_elements_pass_nothing(toy, images):
    mean, std = statistics(toy)
    active = torch.ones_like(mean, dtype=torch.bool)
    active[:, 3:, :] = False
    found = explain(toy, "layer", images, torch.zeros(5, dtype=torch.long), mean, std, active=active)
    assert (found.capacity[:, 3:] == 0).all()
    assert (found.capacity[:, :3] > 0).all()


def test_bits_per_pixel_add_up_to_the_capacity(toy):
    """A map without structure: resizing moves nothing, so the pixels hold the layer's bits exactly."""
    mean, std = statistics(toy)
    flat = torch.zeros(1, 3, 12, 12, dtype=torch.float64)
    nn.init.zeros_(toy.below.bias)
    found = explain(toy, "layer", flat, torch.tensor([0]), torch.zeros_like(mean), torch.ones_like(std), steps=1)
    torch.testing.assert_close(found.bits.sum(), found.capacity.sum())
    assert found.bits.shape == (1, 12, 12)
    assert found.capacity.shape == (1, 6, 6)


def test_smoother_is_a_five_tap_gaussian_with_reflected_borders():
    impulse = torch.zeros(1, 9, 9, 1, dtype=torch.float64)
    impulse[0, 4, 4] = 1
    found = Smoothing(1.0, impulse)(impulse)[0, ..., 0]
    taps = torch.tensor([math.exp(-(i**2) / 2) for i in range(-2, 3)], dtype=torch.float64)
    taps /= taps.sum()
    expected = torch.zeros(9, 9, dtype=torch.float64)
    expected[2:7, 2:7] = torch.outer(taps, taps)
    torch.testing.assert_close(found, expected)
    corner = torch.zeros(1, 9, 9, 1, dtype=torch.float64)
    corner[0, 1, 1] = 1  # reflected to (-1, -1): reaches (0, 0) from both sides, twice per axis
    torch.testing.assert_close(Smoothing(1.0, corner)(corner)[0, 0, 0, 0], (2 * taps[1]) ** 2)


@pytest.mark.parametrize("size", [(6, 9), (2, 3), (1, 1)])
def test_smoothing_is_that_of_reflected_padding_and_its_adjoint_the_transpose(size):
    """Where padding can reflect; sides shorter than the kernel reflect more than once and still add up to one."""
    x, y = torch.randn(2, 2, *size, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    smooth = Smoothing(1.0, x)
    torch.testing.assert_close((smooth(x) * y).sum(), (x * smooth.adjoint(y)).sum())
    torch.testing.assert_close(smooth(torch.ones_like(x)), torch.ones_like(x))
    if min(size) > 2:
        padded = nn.functional.pad(x.movedim(-1, 1), (2, 2, 2, 2), mode="reflect")
        taps = torch.tensor([math.exp(-(i**2) / 2) for i in range(-2, 3)], dtype=torch.float64)
        kernel = torch.outer(taps, taps) / taps.sum() ** 2
        expected = nn.functional.conv2d(padded, kernel.expand(3, 1, 5, 5), groups=3)
        torch.testing.assert_close(smooth(x).movedim(-1, 1), expected)


def reflected(place: int, size: int) -> int:
    """Where a walk of so many places from the border ends that turns around at both, as often as it has to."""
    step, at = 1, 0
    for _ in range(abs(place)):
        if size == 1:
            return 0
        if at + step not in range(size):
            step = -step
        at += step
    return at


@pytest.mark.parametrize("side", [1, 2, 3])
def test_a_layer_with_fewer_cells_than_the_kernel_is_smoothed_by_walking_back_and_forth(side):
    """Tap by tap."""
    x = torch.rand(1, side, side, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    taps = {i: math.exp(-(i**2) / 2) for i in range(-2, 3)}
    total = sum(taps.values())
    expected = torch.zeros_like(x)
    for row, column in itertools.product(range(side), repeat=2):
        for (i, a), (j, b) in itertools.product(taps.items(), repeat=2):
            at = reflected(row + i, side), reflected(column + j, side)
            expected[0, row, column] += a * b / total**2 * x[0, *at]
    torch.testing.assert_close(Smoothing(1.0, x)(x), expected)


@pytest.mark.parametrize(("size", "cells"), [(64, 2), (32, 1)])
def test_a_layer_of_one_or_four_cells_is_explained(size, cells):
    spec = replace(spec_for("resnet10t"), view=View(size))
    model = load_model(spec)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    mean, std = torch.zeros(512, cells, cells), torch.ones(512, cells, cells)
    for preset in (PRESETS["reference"], PRESETS["fast"]):
        how = {name: value for name, value in asdict(preset).items() if name not in ("start", "auto")}
        found = explain(model, "layer4", images, torch.zeros(2, dtype=torch.long), mean, std, **how)
        assert found.capacity.shape == (2, cells, cells)
        assert found.capacity.isfinite().all()
        assert (found.floor > 0).all()


def test_unknown_layer_is_named(toy, images):
    with pytest.raises(ValueError, match="no layer 'blok4'"):
        explain(toy, "blok4", images, torch.zeros(5, dtype=torch.long), torch.zeros(1), torch.ones(1))
