"""The controls are what they say, and know nothing of what a model looks at."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from operators.inputs.view import View
from operators.methods.centre import Centre
from operators.methods.edges import Edges
from operators.methods.face import Face
from operators.methods.method import Outputs, Place
from operators.methods.random import Random
from operators.methods.random_smooth import RandomSmooth, smooth_noise
from operators.models.spec import spec_for

SPEC = replace(spec_for("resnet10t"), view=View(256), mean=(0.5,) * 3, std=(0.5,) * 3)
NOTHING = nn.Identity()


def maps(method, inputs: Tensor, pictures: Tensor | None = None, spec=SPEC) -> Tensor:
    ready = method.ready(Place(spec, NOTHING, "", inputs[:1]))
    return ready.run(inputs, torch.zeros(len(inputs), dtype=torch.long), Outputs(pictures=pictures)).saliency[:, 0]


def pictures(n: int) -> Tensor:
    """Inputs made of bytes."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, 256, 256), generator=generator) / 127.5 - 1


@pytest.mark.parametrize("method", [Random(), RandomSmooth()])
def test_random_maps_hold_what_chance_puts_there(method):
    """Of 40 maps of 32 x 32 cells, the mean heat in a quarter of each is a quarter within 3 deviations."""
    found = maps(method, pictures(40))
    inside = found[:, :16, :16].sum((1, 2)) / found.sum((1, 2))
    assert abs(float(inside.mean()) - 0.25) < 3 * float(inside.std()) / 40**0.5
    assert found.min() >= 0
    assert found.max() <= 1
    # uniform: an eighth of the values in each eighth of the range
    shares = torch.histc(found, 8, 0, 1) / found.numel()
    assert shares.min() > 0.08
    assert shares.max() < 0.18


@pytest.mark.parametrize("kind", [Random, RandomSmooth])
def test_a_frame_has_its_own_random_map_and_always_the_same(kind):
    inputs = pictures(3)
    found = maps(kind(), inputs)
    torch.testing.assert_close(maps(kind(), inputs[1:2])[0], found[1], rtol=0, atol=0)
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(maps(kind(seed=1), inputs), found)
    # what the device rounds in the last digit makes no other map
    torch.testing.assert_close(maps(kind(), inputs + 1e-6), found, rtol=0, atol=0)


def test_random_cells_have_nothing_to_do_with_each_other():
    found = maps(Random(), pictures(8)).double() - 0.5
    neighbours = (found[:, 1:] * found[:, :-1]).mean() / found.square().mean()
    assert abs(float(neighbours)) < 0.05


def correlation(fields: Tensor, distance: int) -> float:
    across = (fields[..., distance:] * fields[..., :-distance]).mean()
    return float(across / fields.square().mean())


def test_smooth_noise_correlates_as_white_noise_through_a_gaussian():
    """exp(-d^2 / 4 sigma^2) of the normal field: at d = sigma .779, at 2 sqrt(ln 2) sigma a half."""
    own = torch.Generator().manual_seed(0)
    uniform = torch.stack([smooth_noise((60, 60), 0.05, own) for _ in range(60)])
    normal = torch.special.ndtri(uniform.double().clamp(1e-6, 1 - 1e-6))
    for distance in (1, 3, 5, 8):
        assert correlation(normal, distance) == pytest.approx(np.exp(-((distance / 3) ** 2) / 4), abs=0.05)


def test_edges_are_where_the_brightness_changes():
    """Of red from column 100 on Sobel / 8 of .299 is .1495 on two columns of cell 12, the mean over 8 columns .0374."""
    for channel, brightness in ((1, 0.587), (2, 0.114), (0, 0.299)):
        inputs = torch.full((1, 3, 256, 256), -1.0)
        inputs[:, channel, :, 100:] = 1
        found = maps(Edges(), inputs)[0]
        torch.testing.assert_close(found[:, 12], torch.full((32,), brightness / 2 * 2 / 8))
    assert max(found[:, :12].max(), found[:, 13:].max()) < 1e-6
    turned = maps(Edges(), inputs.transpose(2, 3))[0]
    torch.testing.assert_close(turned, found.T)


def test_edges_of_a_flow_map_are_those_of_the_picture():
    picture = torch.zeros(1, 3, 256, 256)
    picture[:, 0, :, 100:] = 1
    assert torch.equal(maps(Edges(), pictures(1), picture), maps(Edges(), 2 * picture - 1))


def test_the_centre_is_a_gaussian():
    found = maps(Centre(), pictures(2))
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], found[0].flip(0).T)
    # the cell 8.5 of 32 from the middle both ways
    assert float(found[0, 7, 7]) == pytest.approx(np.exp(-((8.5 / 32 / 0.25) ** 2)), rel=1e-5)


@pytest.mark.parametrize("margin", [1.3, 2.0])
def test_the_face_is_the_oval_in_the_box_before_it_was_enlarged(margin):
    found = maps(Face(margin), pictures(1))[0]
    assert float(found.mean()) == pytest.approx(np.pi / 4 / margin**2, rel=5e-3)
    assert found[16, 16] == 1
    assert found[0, 0] == 0
    edge = 0.5 - 0.5 / margin  # share of the side above the oval
    assert found[int(edge * 32) - 1, 16] == 0 < found[int(edge * 32) + 1, 16]


def test_a_model_of_the_whole_frame_has_no_face():
    with pytest.raises(ValueError, match="face is for models that look at faces; resnet10t does not"):
        maps(Face(), pictures(1), spec=replace(SPEC, view=View(256, part="frame")))
