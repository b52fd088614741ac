"""The network as it is rewritten for a GPU is the same network, and so are its gradients; here on the CPU."""

import copy

import pytest
import timm
import torch
from torch import nn

from operators.bottleneck import Bottleneck, cut_for
from operators.gpu import as_products
from operators.split import frozen


def gradient(above: nn.Module, z: torch.Tensor, rest: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    z = z.clone().requires_grad_()
    logits = above(z.clone(), rest)
    (found,) = torch.autograd.grad(logits[:, 1].sum(), z)
    return logits.detach(), found


@pytest.mark.parametrize(
    ("name", "layer", "left"),
    [
        ("legacy_xception", "block4", 0),  # depthwise and 1x1, with stride too
        ("efficientnet_b0", "blocks.3", 7),  # depthwise ones of 5x5 stay
        ("resnet18", "layer2", 8),
    ],
)
def test_rewritten_it_gives_the_same_logits_and_gradients(name, layer, left):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=2).eval().double()
    example = torch.randn(2, 3, 96, 96, dtype=torch.float64).to(memory_format=torch.channels_last)
    with frozen(model):
        cut = cut_for(model, layer, example[:1], Bottleneck())
        with torch.no_grad():
            z, rest = cut.below(example)
        expected = gradient(cut._above, z, rest)
        rewritten = as_products(copy.deepcopy(cut._above))
        for ours, theirs in zip(gradient(rewritten, z, rest), expected, strict=True):
            assert ours.abs().max() > 0
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert sum(isinstance(each, nn.Conv2d) for each in rewritten.modules()) == left
