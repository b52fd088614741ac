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
from operators.models.running import to_input
from operators.models.spec import spec_for
from operators.models.training import Samples, TrainParams, augment, batches, epoch_order, steps_per_epoch


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


def test_augmentation_keeps_shape_and_reproduces():
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    a, b = (augment(picture, np.random.default_rng(5)) for _ in range(2))
    assert a.shape == picture.shape
    assert a.dtype == np.uint8
    assert np.array_equal(a, b)


def test_a_planted_patch_is_learned():
    """Grey noise, and in the forged half a patch ten levels brighter: a small net finds it on pictures it never saw."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(100, 140, (96, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(96) % 2
    pixels[labels == 1, 10:22, 10:22] += 20
    samples = Samples(pixels[:64], labels[:64], np.array([str(i // 2) for i in range(64)], object))
    spec = dataclasses.replace(spec_for("resnet10t"), view=View(32))
    params = TrainParams(learning_rate=1e-3, batch_size=16, max_epochs=12)
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=2)
    optimizer = training.make_optimizer(model, params)
    schedule = training.make_schedule(optimizer, params, steps_per_epoch(samples, params))
    for epoch in range(params.max_epochs):
        model.train()
        for chosen, targets, _ in batches(samples, params, epoch, 0, 1):
            training.train_step(model, optimizer, schedule, to_input(chosen, spec), targets, False)
    logits = training.predict(model, pixels[64:], spec, torch.device("cpu"))
    assert (logits.argmax(1) == labels[64:]).mean() >= 0.9
    assert model.training  # predict puts the mode back


def test_batch_norm_settles_on_as_many_genuine_as_forged_samples():
    samples = make(2, 12)
    samples.pixels[samples.labels == 0], samples.pixels[samples.labels == 1] = 0, 255
    norm, spec = torch.nn.BatchNorm2d(3), spec_for("xception")
    training.settle_batch_norm(norm, samples, spec, TrainParams(batch_size=4), torch.device("cpu"))
    middle = to_input(np.stack([samples.pixels[0], samples.pixels[-1]]), spec).mean((0, 2, 3))
    torch.testing.assert_close(norm.running_mean, middle)
