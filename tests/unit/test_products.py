"""A network written as products is the same function, and has the same gradient."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from operators.methods.bottleneck import Bottleneck, cut_for
from operators.models.cut import Split, frozen
from operators.models.products import as_products
from operators.models.spec import XCEPTION
from operators.models.weights import load_model


def answers(cut: Split, z: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of a sum of them in which every class counts differently."""
    rows = z.clone().requires_grad_()
    logits = cut.above(rows.clone(), ())
    weights = torch.arange(1, logits.shape[1] + 1, dtype=logits.dtype)
    return logits.detach(), torch.autograd.grad((logits * weights).sum(), rows)[0]


def kinds(cut: Split) -> set[str]:
    convolutions = [module for module in cut._above.modules() if isinstance(module, nn.Conv2d)]
    return {f"{each.kernel_size[0]}x{each.kernel_size[0]}" for each in convolutions}


def test_xception_above_block4_to_every_digit_of_float64():
    model = load_model(XCEPTION)
    example = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with frozen(model):
        cut = cut_for(model, "block4", example, Bottleneck())
        r, rest = cut.below(example)
        assert (cut.kind, cut.folded, rest) == ("graph", True, ())
        cut = replace(cut, _above=cut._above.double())
        found = as_products(cut)
        assert (kinds(cut), kinds(found)) == ({"1x1", "3x3"}, set())
        z = torch.cat([r, 0.5 * r]).double().to(memory_format=torch.channels_last)
        for one, other in zip(answers(found, z), answers(cut, z), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("conv", "replaced"),
    [
        (nn.Conv2d(6, 4, 1), True),
        (nn.Conv2d(6, 4, 1, stride=2, bias=False), True),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6), True),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6, stride=2), False),
        (nn.Conv2d(6, 6, 3, padding=1, groups=6, padding_mode="reflect"), False),
        (nn.Conv2d(6, 12, 3, padding=1, groups=6), False),
        (nn.Conv2d(6, 6, 3, padding=1, groups=3), False),
        (nn.Conv2d(6, 4, 1, groups=2), False),
        (nn.Conv2d(6, 4, 1, padding=1), False),
    ],
)
def test_what_is_no_product_stays_what_it_is(conv, replaced):
    above = _Head(conv).double().requires_grad_(False)
    cut = Split("l", "graph", nn.Identity(), above)
    z = torch.randn(2, 6, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = as_products(cut)
    assert isinstance(found._above.get_submodule("conv"), nn.Conv2d) is not replaced
    for one, other in zip(answers(found, z), answers(cut, z), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


class _Head(nn.Module):
    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.relu = nn.ReLU(inplace=True)

    def forward(self, z: Tensor, _rest: tuple[Tensor, ...]) -> Tensor:
        return self.relu(self.conv(z)).flatten(2).square().mean(2)
