"""Attacks on models that can be worked out by hand."""

import numpy as np
import pytest
import torch

from operators.measures.adversarial import NES_PROBES, inside, most_relevant, nes, pgd, segments

STEP, REACH = 1 / 255, 16 / 255


def test_a_picture_has_about_fifty_segments_of_about_one_size():
    y, x = np.mgrid[:96, :96]
    picture = np.stack([2 * y, 2 * x, 190 - y - x // 2], 2).astype(float)
    picture[:, :48] += np.random.default_rng(0).normal(0, 60, (96, 48, 3))  # also where it is rough
    parts = segments(picture.clip(0, 255).astype(np.uint8))
    sizes = np.bincount(parts.ravel())
    assert parts.shape == (96, 96)
    assert 36 <= len(sizes) <= 64
    assert sizes.min() > 0  # numbered from 0, none left out
    assert sizes.max() < 3 * sizes.min()


def test_segments_follow_the_mean_and_equal_ones_the_draw():
    parts = np.array([[0, 0, 1], [2, 2, 1]])
    relevance = np.array([[1.0, 3.0, 5.0], [2.0, 2.0, 0.0]])  # means 2, 2.5, 2
    assert most_relevant(parts, relevance, np.array([0, 1, 2, 3])) == [1, 0, 2]
    assert most_relevant(parts, relevance, np.array([2, 1, 0, 3])) == [1, 2, 0]
    assert inside(parts, [1, 2]).tolist() == [[False, False, True], [True, True, True]]


#: p is a sum of pixels with these weights: which way each has to go
WEIGHTS = torch.tensor([[1.0, -2.0], [3.0, 0.5]]).expand(1, 3, 2, 2)
WHERE = torch.tensor([[[[1.0, 1.0], [0.0, 1.0]]]])


def linear(images):
    return (images * WEIGHTS).sum((1, 2, 3))


@pytest.mark.parametrize("steps", [1, 3, 40])
def test_every_pixel_of_the_segments_goes_down_the_gradient_up_to_its_reach(steps):
    images = torch.full((1, 3, 2, 2), 0.5)
    way = min(steps * STEP, REACH)
    expected = 0.5 - way * WEIGHTS.sign() * WHERE
    torch.testing.assert_close(pgd(linear, images, WHERE, steps), expected)


def test_an_attacked_picture_is_one_still():
    """Where a pixel is nearly black or white it goes no further than that."""
    images = torch.full((1, 3, 2, 2), 2 * STEP)
    images[..., 0, 1] = 1 - 2 * STEP
    found = pgd(linear, images, WHERE, 10)
    torch.testing.assert_close(found[0, 0], torch.tensor([[0.0, 1.0], [2 * STEP, 0.0]]))


def test_an_estimated_gradient_of_one_pixel_is_that_pixels():
    """p depends on one pixel alone: of pairs of probes the estimate there is a sum of squares times its weight."""
    weight = torch.zeros(1, 3, 2, 2)
    weight[0, 1, 0, 1] = -2.0
    asked = []

    def one(images):
        asked.append(len(images))
        return (images * weight).sum((1, 2, 3)) + 0.5

    images = torch.full((1, 3, 2, 2), 0.5)
    where = torch.zeros(1, 1, 2, 2)
    where[..., 0, 1] = 1
    generator = torch.Generator().manual_seed(0)
    found = nes(one, images, where, 3, generator)
    assert found[0, 1, 0, 1].item() == pytest.approx(0.5 + 3 * STEP)
    assert torch.equal(found[where.expand_as(found) == 0], images[where.expand_as(found) == 0])
    assert len(asked) == 3 * NES_PROBES


def test_an_estimated_attack_is_drawn_by_its_generator():
    images = torch.full((1, 3, 2, 2), 0.5)
    a, b, other = (nes(linear, images, WHERE, 5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, other)
    assert linear(a) < linear(images)
