"""Cutting a model changes nothing: below and above together are the model."""

from functools import cache

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.fx._symbolic_trace import is_fx_tracing

from operators.models.cut import folded, frozen, lowered, split, split_all

IMAGE = (2, 3, 64, 64)
CLIP = (2, 3, 4, 32, 32)
CLIPS = [("r3d_18", "layer2"), ("r3d_18", "layer3.0.conv1"), ("swin3d_t", "features.2")]
TIMM = [
    ("legacy_xception", "block4"),
    ("legacy_xception", "bn3"),
    ("legacy_xception", "block12"),
    ("vgg11_bn", "features.9"),
    ("vgg11_bn", "features.16"),
    ("resnet18", "layer3"),
    ("resnet18", "layer2.0.conv1"),  # the block's residual path crosses the cut
    ("efficientnet_b0", "blocks.3"),
    ("convnext_atto", "stages.2"),
    ("mobilenetv3_small_100", "blocks.3.1.conv_dw"),
    ("densenet121", "features.denseblock2"),
    ("inception_v3", "Mixed_5c"),
    ("regnetx_002", "s3"),
    ("repvgg_a0", "stages.1"),
    ("vit_tiny_patch16_224", "blocks.5"),
    ("ghostnet_050", "blocks.4"),
]


#: a ViT of small pictures, VGG's linear layers, a hundred million weights, with a hundredth of them, a small Swin
SMALLER = {
    "vit": {"img_size": 64, "depth": 7},
    "vgg": {"mlp_ratio": 0.01},
    "swin": {"img_size": 112, "depths": (1, 2, 1, 1), "embed_dim": 48},
}


@cache
def untrained(name: str) -> nn.Module:
    """With two classes, for all: whoever cuts a network leaves it as it was."""
    return created(name)


def created(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name in dict(CLIPS):
        return getattr(torchvision.models.video, name)(num_classes=2).eval().requires_grad_(False)
    keywords = next((each for kind, each in SMALLER.items() if name.startswith(kind)), {})
    return timm.create_model(name, num_classes=2, **keywords).eval().requires_grad_(False)


@pytest.mark.parametrize(("name", "layer"), TIMM)
def test_timm_models_are_cut_by_graph_and_stay_themselves(name, layer):
    model = untrained(name)
    torch.manual_seed(0)
    _equal(model, layer, torch.randn((2, 3, 96, 96) if name == "inception_v3" else IMAGE), "graph")


@pytest.mark.parametrize(("name", "layer"), CLIPS)
def test_video_models_are_cut_by_graph_and_stay_themselves(name, layer):
    model = untrained(name)
    torch.manual_seed(0)
    _equal(model, layer, torch.randn(CLIP), "graph")


def _equal(model: nn.Module, layer: str, example: torch.Tensor, kind: str) -> None:
    with frozen(model), torch.no_grad():
        expected = model(example)
        cut = split(model, layer, example[:1])
        r, rest = cut.below(example)
        found = cut.above(r.clone(), rest)
        ours = folded(cut, example[:1])
        without_norms = ours.above(r.clone(), rest)
        after = model(example)
    assert cut.kind == kind
    assert ours.folded == (kind == "graph")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(without_norms, expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(after, expected)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "layer", "size"),
    [("legacy_xception", "block4", 64), ("vgg11_bn", "features.9", 64), ("resnet18", "layer2.0.conv1", 64)],
)
def test_batch_norms_after_convolutions_are_folded_into_them(name, layer, size):
    """Also with running statistics and scales of a trained model, which are not 0 and 1."""
    model = created(name)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    example = torch.randn(2, 3, size, size)
    with frozen(model), torch.no_grad():
        cut = split(model, layer, example[:1])
        ours = folded(cut, example[:1])
        r, rest = cut.below(example)
        found = ours.above(r.clone(), rest)
        torch.testing.assert_close(found, model(example), rtol=1e-3, atol=1e-4)
    assert (cut.folded, ours.folded, ours.slower) == (False, True, None)
    assert "not folded" in str(cut.slower)
    above = [module for module in ours._above.modules() if isinstance(module, nn.BatchNorm2d)]
    # in resnet's cut block the first norm follows the cut itself and stays
    assert len(above) == {"legacy_xception": 0, "vgg11_bn": 0, "resnet18": 1}[name]


@pytest.mark.parametrize("layer", ["layer3", "layer2.0.conv1"])
def test_the_part_above_can_be_lowered_and_the_model_is_not(layer):
    model = untrained("resnet18")
    torch.manual_seed(0)
    example = torch.randn(2, 3, 64, 64)
    with frozen(model), torch.no_grad():
        cut = folded(split(model, layer, example[:1]), example[:1])
        r, rest = cut.below(example)
        expected, found = cut.above(r.clone(), rest), lowered(cut, torch.bfloat16).above(r.clone(), rest)
    assert (cut.dtype, lowered(cut, torch.bfloat16).dtype) == (torch.float32, torch.bfloat16)
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.05 * expected.abs().max()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


class Branching(nn.Module):
    """Cannot be traced around the layer: which way it goes depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.mean() > 100:
            x = x * 2
        return self.head(self.layer(x).relu().mean((2, 3)))


def test_an_untraceable_model_is_cut_by_hooks():
    torch.manual_seed(0)
    _equal(Branching().eval(), "layer", torch.randn(IMAGE), "hooks")
    cut = split(Branching().eval(), "layer", torch.randn(IMAGE))
    assert "several times as long" in str(cut.slower)


class NormedBesideBranching(nn.Module):
    """Above the layer a batch norm that can be folded, and a module that cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3)
        self.normed = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
        self.branching = Branching()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.branching(self.normed(self.layer(x)))


def test_batch_norms_beside_what_cannot_be_traced_are_folded():
    torch.manual_seed(0)
    model, images = NormedBesideBranching().eval(), torch.randn(IMAGE)
    nn.init.uniform_(model.normed[1].running_var, 0.5, 1.5)
    _equal(model, "layer", images, "graph")
    with frozen(model):
        ours = folded(split(model, "layer", images[:1]), images[:1])
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ours._above.modules())
    assert any(isinstance(module, Branching) for module in ours._above.modules())


class AnotherWhileTraced(nn.Module):
    """Can be traced, but the graph computes something else."""

    def __init__(self, wrong: nn.Module | None = None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.between = wrong or nn.Identity()
        self.head = nn.Linear(4, 2)
        self.itself = wrong is None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.head(self.between(self.layer(x)).mean((2, 3)))
        return found + 1 if self.itself and is_fx_tracing() else found


class Normed(nn.Module):
    """Stays one opaque call until batch norm is folded, and then is another one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.norm(self.conv(x))
        return found + 1 if is_fx_tracing() else found


def test_a_graph_is_compared_with_the_model_before_it_is_trusted():
    torch.manual_seed(0)
    model = AnotherWhileTraced().eval()
    _equal(model, "layer", torch.randn(IMAGE), "hooks")
    images = torch.randn(IMAGE)
    with torch.no_grad():
        plain, cuts = split_all(model, ["layer"], images[:1])
        torch.testing.assert_close(plain(images)[0], model(images))
    assert cuts["layer"].kind == "hooks"


def test_folding_is_compared_with_the_cut_before_it_is_trusted():
    torch.manual_seed(0)
    model, images = AnotherWhileTraced(Normed()).eval(), torch.randn(IMAGE)
    with frozen(model), torch.no_grad():
        cut = split(model, "layer", images[:1])
        found = folded(cut, images[:1])
        r, rest = cut.below(images)
        torch.testing.assert_close(found.above(r, rest), model(images))
    assert (cut.kind, found.folded) == ("graph", False)


class BatchInShape(nn.Module):
    """Carries the number of rows over the cut: right for one batch size, wrong above for another."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0]
        return self.head(self.layer(x).mean((2, 3)).reshape(rows, 4))


def test_a_graph_that_is_wrong_for_more_rows_is_not_trusted():
    torch.manual_seed(0)
    _equal(BatchInShape().eval(), "layer", torch.randn(IMAGE), "hooks")


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.layer(x)).mean((2, 3))


def test_a_layer_that_runs_twice_is_refused():
    model = Twice().eval()
    with pytest.raises(ValueError, match="run 2 times"):
        split(model, "layer", torch.randn(IMAGE))


@pytest.mark.parametrize(
    ("name", "layers", "size"),
    [
        ("legacy_xception", ("block4", "bn3", "conv3"), 64),
        ("vgg11_bn", ("features.9", "features.16"), 64),
        ("test_resnet", ("layer2.0.bn1", "layer3"), 64),  # bn1 is followed by a ReLU that works in place
        ("swin_s3_tiny_224", ("layers.1",), 112),
    ],
)
def test_one_pass_gives_what_every_cut_gives_of_its_own(name, layers, size):
    model = untrained(name)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    layout = "NHWC" if name.startswith("swin") else "NCHW"
    with torch.no_grad():
        plain, cuts = split_all(model, layers, images[:1], layout)
        logits, crossings = plain(images)
        torch.testing.assert_close(logits, model(images))
        assert crossings.keys() == set(layers)
        for layer in layers:
            r, rest = crossings[layer]
            alone = split(model, layer, images[:1], layout)
            torch.testing.assert_close(r, alone.below(images)[0])
            torch.testing.assert_close(cuts[layer].above(r, rest), logits)


def test_a_layer_with_its_channels_last_is_turned_for_everyone_else():
    model = untrained("swin_s3_tiny_224")
    images = torch.randn(1, 3, 112, 112)
    cut = split(model, "layers.1", images, "NHWC")
    with torch.no_grad():
        r, rest = cut.below(images)
        assert r.shape == (1, 96, 14, 14)
        changed = cut.above(r + 1, rest)
        raw = []
        handle = model.layers[1].register_forward_hook(lambda _m, _i, output: raw.append(output) or output + 1)
        torch.testing.assert_close(changed, model(images))
        handle.remove()
    torch.testing.assert_close(raw[0].permute(0, 3, 1, 2), r)
