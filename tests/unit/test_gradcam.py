"""Grad-CAM and Grad-CAM++ against what is made by hand from a network's own hooks."""

from dataclasses import replace

import pytest
import timm
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torchvision.models.video import r3d_18

from operators.inputs.view import View
from operators.methods.gradcam import GradCam
from operators.methods.gradcampp import GradCamPlusPlus
from operators.methods.method import Outputs, Place
from operators.models.cut import split_all
from operators.models.spec import VGG11_FLOW, XCEPTION, ModelSpec, spec_for
from operators.models.weights import load_model

SPECS = {spec.name: replace(spec, view=replace(spec.view, size=64)) for spec in (XCEPTION, VGG11_FLOW)}
TARGETS = torch.tensor([0, 1])


def images(n: int, size: int = 64) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=[("xception", ("block4", "bn3")), ("vgg11-flow", ("features.9",))], ids=str)
def network(request) -> tuple[ModelSpec, tuple[str, ...], nn.Module]:
    """Of each, layers that a ReLU follows which works in place; and one that none does."""
    name, layers = request.param
    if name == "xception":
        return SPECS[name], layers, load_model(SPECS[name]).requires_grad_(False)
    torch.manual_seed(0)  # with a hundredth of the hundred million weights above its convolutions
    vgg = timm.create_model(SPECS[name].architecture, num_classes=2, mlp_ratio=0.01)
    return SPECS[name], layers, vgg.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def by_hand(network) -> dict[str, tuple[Tensor, Tensor]]:
    """layer -> (A, d y_c / d A) as the layer gives A, before anything works on it in place."""
    _, layers, model = network
    kept: dict[str, list[Tensor]] = {layer: [] for layer in layers}

    def keep(layer: str, output: Tensor) -> None:
        kept[layer].append(output.detach().clone())
        output.register_hook(kept[layer].append)

    handles = [
        model.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output, at=layer: keep(at, output))
        for layer in layers
    ]
    model(images(2).requires_grad_())[range(2), TARGETS].sum().backward()
    for handle in handles:
        handle.remove()
    return {layer: (a, gradient) for layer, (a, gradient) in kept.items()}


def maps(spec: ModelSpec, layers: tuple[str, ...], model: nn.Module, inputs: Tensor, targets: Tensor):
    """map_of(method, layer) -> the maps of all inputs; the cuts are made once."""
    plain, cuts = split_all(model, layers, inputs[:1])
    with torch.no_grad():
        outputs = Outputs({}, plain(inputs)[1])
    return lambda method, layer: (
        method.ready(Place(spec, model, layer, inputs[:1], cuts[layer])).run(inputs, targets, outputs).saliency
    )


@pytest.fixture(scope="module")
def map_of(network):
    return maps(*network, images(2), TARGETS)


def test_grad_cam_is_that_made_by_hand(by_hand, map_of):
    for layer, (a, gradient) in by_hand.items():
        expected = (gradient.mean((2, 3), keepdim=True) * a).sum(1, keepdim=True).relu()
        assert expected.amax((1, 2, 3)).min() > 0
        map_ = map_of(GradCam(), layer)
        torch.testing.assert_close(map_, expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


def test_grad_cam_plus_plus_is_its_formula(by_hand, map_of):
    """Equation 19 as it is printed, cell by cell in doubles."""
    for layer, kept in by_hand.items():
        a, g = (each.double() for each in kept)
        # in front of a ReLU the sum is over what it will let pass
        alpha = g**2 / (2 * g**2 + a.relu().sum((2, 3), keepdim=True) * g**3)
        weights = (alpha * g.relu()).nan_to_num().sum((2, 3), keepdim=True)
        expected = (weights * a).sum(1, keepdim=True).relu()
        assert expected.max() > 0
        map_ = map_of(GradCamPlusPlus(), layer)
        torch.testing.assert_close(map_.double(), expected, rtol=1e-4, atol=1e-4 * float(expected.max()))


class Summed(nn.Module):
    """y_0 = 3 A_00 + A_11 of a 2 x 2 picture's first channel, A the layer `relu`; y_1 is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        a = self.relu(images[:, :1])
        y = 3 * a[:, 0, 0, 0] + a[:, 0, 1, 1]
        return torch.stack([y, 0 * y], 1)


def test_grad_cam_plus_plus_worked_out():
    """A = [[1, 2], [0, 3]], sum 6; g = 3 and 1: weight 3 / (2 + 18) + 1 / (2 + 6) = .275."""
    inputs = torch.zeros(1, 3, 2, 2)
    inputs[0, 0] = torch.tensor([[1.0, 2.0], [-4.0, 3.0]])
    spec = replace(spec_for("resnet10t"), view=View(2))
    map_of = maps(spec, ("relu",), Summed().eval(), inputs, torch.tensor([0]))
    plus, plain = map_of(GradCamPlusPlus(), "relu"), map_of(GradCam(), "relu")
    torch.testing.assert_close(plus[0, 0], 0.275 * torch.tensor([[1.0, 2.0], [0.0, 3.0]]))
    torch.testing.assert_close(plain[0, 0], torch.tensor([[1.0, 2.0], [0.0, 3.0]]))  # (3 + 0 + 0 + 1) / 4


def test_grad_cam_keeps_the_cells_of_time_of_a_clip_model():
    torch.manual_seed(0)
    network = r3d_18(num_classes=3).eval().requires_grad_(False)
    clips = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([2, 0])
    expected = LayerGradCam(network, network.layer2).attribute(
        clips.clone().requires_grad_(), targets, relu_attributions=True
    )
    found = maps(XCEPTION, ("layer2",), network, clips, targets)(GradCam(), "layer2")
    assert found.shape == (2, 2, 8, 8)
    assert expected.max() > 0
    torch.testing.assert_close(found, expected.squeeze(1).detach())
