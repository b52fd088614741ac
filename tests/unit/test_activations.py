"""Reading layers of a forward pass: their own outputs, and nothing left behind."""

import pytest
import torch
from torch import nn

from operators.models.activations import LOGITS, read


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.Linear(8, 2))


@torch.no_grad()
def test_layers_are_read_as_they_leave_the_module(model):
    images = torch.randn(5, 3, 6, 6)
    found = read(model, ["2", "0", LOGITS], images)
    below = model[0](images)
    assert (below < 0).any()  # what the ReLU behind it would have taken
    assert torch.equal(found["0"], below)
    assert torch.equal(found["2"], model[2](torch.relu(below)))
    assert torch.equal(found[LOGITS], model(images))


@torch.no_grad()
def test_the_pass_ends_where_nothing_more_is_read(model):
    ran = []
    model[4].register_forward_hook(lambda *_: ran.append(True))
    read(model, ["0"], torch.randn(1, 3, 6, 6))
    assert not ran


def test_no_hook_is_left_and_mistakes_are_named(model):
    images = torch.randn(1, 3, 6, 6)
    read(model, ["0"], images)
    with pytest.raises(ValueError, match="no layer 'block4'"):
        read(model, ["0", "block4"], images)
    model.add_module("unused", nn.Identity())
    model.forward = lambda x: model[0](x)
    with pytest.raises(ValueError, match="layer 'unused' gives no tensor"):
        read(model, ["0", "unused"], images)
    assert not any(module._forward_hooks for module in model.modules())
