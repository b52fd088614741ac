"""What a training sees, in which order, and that it learns what was planted."""

import dataclasses

import numpy as np
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.inputs.view import View
from operators.models import training
from operators.models.running import to_input, trains_in_bfloat16
from operators.models.spec import spec_for
from operators.models.training import Samples, TrainParams, augment, batches, epoch_order, steps_per_epoch
from operators.models.weights import load_model


def make(n_real: int, n_fake: int, pairs: list[str] | None = None, size: int = 8) -> Samples:
    labels = np.array([0] * n_real + [1] * n_fake)
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones((1, size, size, 3), np.uint8)
    return Samples(pixels, labels, np.array(pairs or [str(i) for i in range(len(labels))], object))


@settings(max_examples=60)
@given(n_real=st.integers(1, 20), n_fake=st.integers(1, 20), epoch=st.integers(0, 5))
def test_an_epoch_is_balanced_and_shows_everything(n_real, n_fake, epoch):
    samples = make(n_real, n_fake)
    order = epoch_order(samples, 3, epoch)
    assert order.shape == (max(n_real, n_fake), 2)
    assert (samples.labels[order[:, 0]] == 0).all()
    assert (samples.labels[order[:, 1]] == 1).all()
    assert set(order.ravel()) == set(range(n_real + n_fake))
    assert np.array_equal(order, epoch_order(samples, 3, epoch))


def test_a_forgery_stands_beside_its_own_source():
    samples = make(3, 6, ["a", "b", "c", "a", "a", "b", "b", "c", "c"])
    for epoch in range(4):
        order = epoch_order(samples, 0, epoch)
        assert (samples.pairs[order[:, 0]] == samples.pairs[order[:, 1]]).all()
    assert not np.array_equal(epoch_order(samples, 0, 0), epoch_order(samples, 0, 1))


def test_permuted_labels_are_as_many_and_others():
    samples = make(20, 30, [str(i % 5) for i in range(50)])
    found = training.permuted(samples, 4)
    assert found.labels.sum() == 30
    assert 5 <= (found.labels != samples.labels).sum() <= 40
    assert found.pixels is samples.pixels
    assert found.pairs is samples.pairs
    assert np.array_equal(found.labels, training.permuted(samples, 4).labels)
    assert not np.array_equal(found.labels, training.permuted(samples, 5).labels)


def test_one_class_alone_is_refused():
    with pytest.raises(ValueError, match="genuine and forged"):
        epoch_order(make(3, 0), 0, 0)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_workers_share_the_same_global_batches(world):
    samples = make(7, 9)
    params = TrainParams(batch_size=6)
    alone = [pixels[:, 0, 0, 0].tolist() for pixels, _, _ in batches(samples, params, 2, 0, 1)]
    shares = [
        [pixels[:, 0, 0, 0].tolist() for pixels, _, _ in batches(samples, params, 2, r, world)] for r in range(world)
    ]
    assert len(alone) == steps_per_epoch(samples, params) == 3
    for step, whole in enumerate(alone):
        assert sorted(each for share in shares for each in share[step]) == sorted(whole)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_gradients_of_workers_average_to_those_of_the_global_batch(world):
    """Also where 4 pairs are 2 + 1 + 1, or one batch is all there is."""
    samples, params = make(5, 5), TrainParams(batch_size=8)
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)

    def gradient(rank, world):
        ((pixels, labels, weight),) = batches(samples, params, 0, rank, world)
        model.zero_grad()
        outputs = model(torch.tensor(pixels[:, 0, 0] / 255, dtype=torch.float32))
        (weight * torch.nn.functional.cross_entropy(outputs, labels)).backward()
        return model.weight.grad.clone()

    mean = torch.stack([gradient(rank, world) for rank in range(world)]).mean(0)
    torch.testing.assert_close(mean, gradient(0, 1))


def test_more_workers_than_pairs_are_refused():
    with pytest.raises(ValueError, match="too few for 3 workers"):
        next(batches(make(2, 2), TrainParams(batch_size=8), 0, 0, 3))


def test_both_of_a_pair_are_varied_alike():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    samples = Samples(np.stack([picture, picture]), np.array([0, 1]), np.array(["a", "a"], object))
    seen = [pixels for epoch in range(3) for pixels, _, _ in batches(samples, TrainParams(augment=True), epoch, 0, 1)]
    assert all(np.array_equal(each[0], each[1]) for each in seen)
    assert not np.array_equal(seen[0], seen[1])


def test_adamw_draws_weights_to_zero_and_adam_does_not():
    """Without a gradient Adam stands still; AdamW takes the share learning rate * 0.05 of every weight away."""
    for name, expected in (("adam", 2.0), ("adamw", 2.0 * (1 - 0.1 * 0.05))):
        model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(model.weight, 2.0)
        optimizer = training.make_optimizer(model, TrainParams(optimizer=name, learning_rate=0.1))
        model.weight.grad = torch.zeros_like(model.weight)
        optimizer.step()
        assert model.weight.item() == pytest.approx(expected), name


def test_one_cycle_rises_to_the_learning_rate_and_falls_and_constant_stays():
    """Over all steps of all epochs, of which it rises in three tenths."""
    rates = {}
    for name in ("constant", "one_cycle"):
        params = TrainParams(schedule=name, learning_rate=0.1, max_epochs=5)
        optimizer = training.make_optimizer(torch.nn.Linear(1, 1), params)
        schedule = training.make_schedule(optimizer, params, steps_per_epoch=4)
        rates[name] = []
        for _ in range(20):
            rates[name].append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
    assert rates["constant"] == [0.1] * 20
    cycle = np.array(rates["one_cycle"])
    assert cycle.argmax() == 5
    assert cycle.max() == pytest.approx(0.1)
    assert cycle[0] == pytest.approx(0.1 / 25)
    assert cycle[-1] < 1e-5
    assert (np.diff(cycle[:6]) > 0).all()
    assert (np.diff(cycle[5:]) < 0).all()


def test_a_step_weighs_its_batch_and_moves_down():
    """One Adam step of the size of the learning rate against the gradient; the loss is weighted."""
    model = torch.nn.Linear(1, 2, bias=False)
    torch.nn.init.zeros_(model.weight)
    params = TrainParams(optimizer="adam", schedule="constant", learning_rate=0.01)
    optimizer = training.make_optimizer(model, params)
    schedule = training.make_schedule(optimizer, params, 1)
    images, labels = torch.ones(3, 1), torch.tensor([1, 1, 1])
    loss = training.train_step(model, optimizer, schedule, images, labels, False, weight=0.5)
    assert loss == pytest.approx(0.5 * np.log(2))
    np.testing.assert_allclose(model.weight.detach().flatten(), [-0.01, 0.01], rtol=1e-4)


def test_predictions_are_made_in_eval_mode():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2), torch.nn.Dropout(0.5))
    spec = dataclasses.replace(spec_for("xception"), view=View(1))
    pixels = np.arange(40 * 3, dtype=np.uint8).reshape(40, 1, 1, 3)
    found = training.predict(model.train(), pixels, spec, torch.device("cpu"))
    expected = model[1](to_input(pixels, spec).flatten(1)).detach()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert model.training  # it puts the mode back
    training.predict(model.eval(), pixels, spec, torch.device("cpu"))
    assert not model.training


def test_a_class_that_is_a_direction_keeps_it_where_it_is_told_to():
    """Ramps that rise to the right: some of what is augmented falls, and nothing with `mirror=False`."""
    ramp = np.broadcast_to(np.arange(0, 240, 5)[None, :, None], (48, 48, 3)).astype(np.uint8)
    samples = Samples(np.stack([ramp] * 16), np.arange(16) % 2, np.array([str(n // 2) for n in range(16)], object))

    def falling(params: TrainParams) -> set[bool]:
        shown = [each for pixels, _, _ in batches(samples, params, 0, 0, 1) for each in pixels.astype(float)]
        return {bool(each[:, 0].mean() > each[:, -1].mean()) for each in shown}

    assert falling(TrainParams(augment=True)) == {True, False}
    assert falling(TrainParams(augment=True, mirror=False)) == {False}


def test_augmentation_flips_half_zooms_a_little_and_shifts_colours_a_little():
    """A ramp from left to right, 1 level a column, and no other change than is said; the same state gives the same."""
    ramp = np.broadcast_to((60 + np.arange(100))[None, :, None], (100, 100, 3)).astype(np.uint8)
    found = [augment(ramp, np.random.default_rng(seed)) for seed in range(200)]
    assert all(each.shape == ramp.shape and each.dtype == np.uint8 for each in found)
    assert np.array_equal(found[5], augment(ramp, np.random.default_rng(5)))
    middle = np.stack([each.astype(float)[25:75].mean(0) for each in found])  # (200, columns, colours)
    slopes = (middle[:, -1] - middle[:, 0]) / 99  # a zoom makes it flatter, a colour's factor a tenth more or less
    assert 70 < (slopes < 0).all(1).sum() < 130
    assert ((slopes > 0).all(1) | (slopes < 0).all(1)).all()
    sizes = np.abs(slopes)
    assert 0.85 * 0.9 - 0.03 < sizes.min() < 0.8
    assert 1.03 < sizes.max() < 1.1 + 0.03
    # of the factor and the shift of every colour alone: the middle of the ramp, 110, goes 11 + 12 up or down, and 8 for
    # where the zoom looks
    centres = middle[:, 45:55].mean(1)
    assert 110 - 23 - 9 < centres.min() < 90
    assert 130 < centres.max() < 110 + 23 + 9
    assert np.ptp(centres, axis=1).mean() > 8
    # half of them went through JPEG: of a line of levels it makes another one, up to some levels beside it
    lines = middle[:, :1] + slopes[:, None] * np.arange(100)[:, None]
    assert 60 < (np.abs(middle - lines).max((1, 2)) > 2).sum() < 120


def test_augmentation_exchanges_no_colours():
    orange = np.broadcast_to(np.array([220, 120, 40], np.uint8), (64, 64, 3))
    means = np.array([augment(orange, np.random.default_rng(seed)).mean((0, 1)) for seed in range(40)])
    # a tenth and 12 up or down, and what JPEG makes of a plain colour
    assert (np.abs(means - [220, 120, 40]) <= [38, 28, 20]).all()


def test_a_planted_patch_is_learned():
    """Grey noise, and in the forged half a patch ten levels brighter: a small net finds it on pictures it never saw."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 140, (96, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(96) % 2
    pixels[labels == 1, 10:22, 10:22] += 20
    samples = Samples(pixels[:64], labels[:64], np.array([str(i // 2) for i in range(64)], object))
    spec = dataclasses.replace(spec_for("test_resnet"), view=View(32))
    params = TrainParams(learning_rate=1e-2, batch_size=16, max_epochs=12)
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=2)
    optimizer = training.make_optimizer(model, params)
    schedule = training.make_schedule(optimizer, params, steps_per_epoch(samples, params))
    for epoch in range(params.max_epochs):
        model.train()
        for chosen, targets, _ in batches(samples, params, epoch, 0, 1):
            training.train_step(model, optimizer, schedule, to_input(chosen, spec), targets, False)
    logits = training.predict(model, pixels[64:], spec, torch.device("cpu"))
    assert (logits.argmax(1) == labels[64:]).mean() >= 0.9


def test_batch_norm_settles_on_as_many_genuine_as_forged_samples():
    samples = make(2, 12)
    samples.pixels[samples.labels == 0], samples.pixels[samples.labels == 1] = 0, 255
    norm, spec = torch.nn.BatchNorm2d(3), spec_for("xception")
    training.settle_batch_norm(norm, samples, spec, TrainParams(batch_size=4), torch.device("cpu"), autocast=False)
    middle = to_input(np.stack([samples.pixels[0], samples.pixels[-1]]), spec).mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, middle)


def test_where_bfloat16_is_fast_pictures_are_trained_in_it_and_clips_on_a_gpu_alone(monkeypatch):
    picture, clip = spec_for("resnet10t"), spec_for("small3d", "frame")
    for fast in (True, False):
        monkeypatch.setattr("operators.models.running.fast_bfloat16", lambda _, fast=fast: fast)
        found = [trains_in_bfloat16(spec, torch.device(kind)) for spec in (picture, clip) for kind in ("cpu", "cuda")]
        assert found == [fast, fast, False, fast]


def test_the_gradient_of_a_clip_models_weights_is_not_what_was_in_memory():
    """A processor's bfloat16 leaves it so where two cells of time are left."""
    spec, device = spec_for("small3d", "frame"), torch.device("cpu")
    model = load_model(spec).train()
    clips = torch.randn(4, 3, *spec.view.sides, generator=torch.Generator().manual_seed(0))

    def gradient(autocast: bool) -> torch.Tensor:
        model.zero_grad()
        for size in (10**5, 10**6):  # what is handed out next
            torch.full((size,), float("nan"))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(clips)
        torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 0, 1])).backward()
        return model.layer3.conv2.weight.grad.clone()

    exact = gradient(autocast=False)
    for _ in range(4):
        torch.testing.assert_close(
            gradient(trains_in_bfloat16(spec, device)), exact, rtol=0, atol=0.05 * float(exact.abs().max())
        )
