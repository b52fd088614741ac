"""What holds of every attribution method."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from operators.inputs.view import View
from operators.methods import CONTROLS, METHODS, readout, statistics
from operators.methods.bottleneck import Bottleneck
from operators.methods.extremal import Extremal
from operators.methods.fep import Fep
from operators.methods.iba import Iba
from operators.methods.integrated_gradients import IntegratedGradients
from operators.methods.lime import Lime
from operators.methods.method import LAYER as A_LAYER
from operators.methods.method import READOUT, STATISTICS, Maps, Method, Outputs, Place
from operators.methods.occlusion import Occlusion
from operators.methods.rise import Rise
from operators.methods.smoothgrad import SmoothGrad
from operators.models.activations import read
from operators.models.cut import Plain, Split, split_all
from operators.models.spec import spec_for
from operators.models.weights import load_model
from schemas import methods as methods_by_name

SPEC = replace(spec_for("test_resnet"), view=View(64))
LAYER = "layer2"
#: few steps: what is tested is what every method promises, not the attribution
BOTTLENECK = Bottleneck(draws=2, steps=4, antithetic=True)
FEW = {
    "ig": IntegratedGradients(steps=3),
    "smoothgrad": SmoothGrad(draws=3),
    "occlusion": Occlusion(window=0.5, positions=3),
    "rise": Rise(masks=12),
    "lime": Lime(samples=12, segments=6),
    "extremal": Extremal(steps=3, areas=(0.1, 0.3)),
    "fep": Fep(steps=3, areas=(0.1, 0.3)),
}


def images(n: int, size: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return load_model(SPEC).requires_grad_(False)


@pytest.fixture(scope="module")
def weights(model) -> dict[str, Tensor]:
    """The model's, before anything is explained."""
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def split_model(model) -> tuple[Plain, Split]:
    plain, cuts = split_all(model, [LAYER], images(1, seed=2))
    return plain, cuts[LAYER]


@pytest.fixture(scope="module")
def files(model, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    with torch.no_grad():
        known = statistics.of_batch(read(model, [LAYER], images(16, seed=1))[LAYER])
    statistics.save(known, folder / "statistics.safetensors", {})
    about = {"model": SPEC.name, "layer": LAYER, "weights_sha256": None}
    trained = readout.make({LAYER: known}, LAYER, seed=0)
    nn.init.normal_(trained.network[-1].weight, std=0.01)
    readout.save(trained, folder / "readout.safetensors", about)
    return {STATISTICS: folder / "statistics.safetensors", READOUT: folder / "readout.safetensors"}


def made(name: str) -> Method:
    kind = METHODS[name]
    takes = {field.name for field in fields(kind)}
    return FEW.get(name) or kind(**({"bottleneck": BOTTLENECK} if "bottleneck" in takes else {}))


@pytest.fixture(scope="module")
def explain(model, weights, split_model, files) -> Callable[[str, Tensor, Tensor], Maps]:
    """explain(name, inputs, targets) -> the maps of a method that is made ready anew."""
    plain, cut = split_model

    def maps(name: str, inputs: Tensor, targets: Tensor) -> Maps:
        method = made(name)
        where = (LAYER, images(1, seed=2), cut, files) if A_LAYER in method.needs else ("", images(1, seed=2), None, {})
        ready = method.ready(Place(SPEC, model, *where))
        with torch.no_grad():
            _, crossings = plain(inputs)
            layers = read(model, ready.reads, inputs) if ready.reads else {}
        return ready.run(inputs, targets, Outputs(layers, crossings))

    return maps


#: what all tests ask for; the target is now one class, now the other
INPUTS, TARGETS = images(8), torch.arange(8) % 2


@pytest.fixture(scope="module")
def maps_of(explain) -> Callable[[str], Maps]:
    """maps_of(name) -> the maps of all inputs by a method, made once."""
    return cache(lambda name: explain(name, INPUTS, TARGETS))


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_its_parameters(name):
    assert is_dataclass(METHODS[name])
    assert METHODS[name].name == name
    assert made(name) == made(name)
    assert hash(made(name)) == hash(made(name))


@pytest.mark.parametrize("name", METHODS)
def test_maps_are_finite_and_of_the_samples(name, maps_of):
    maps = maps_of(name)
    assert maps.saliency.dtype == torch.float32
    assert maps.saliency.shape[:2] == (8, 1)
    assert maps.saliency.isfinite().all()
    assert maps.saliency.abs().sum() > 0
    assert all(values.shape == (8,) and values.isfinite().all() for values in maps.figures.values())
    if maps.logits is not None:
        assert maps.logits.shape == maps.probabilities.shape == (8, 2)


@pytest.mark.parametrize("name", ["iba", "readout"])
def test_bits_per_pixel_over_all_pixels_are_the_bits_in_all(name, maps_of):
    """To float32 and what rounding leaves below 0; a cell's value is that of each of its pixels."""
    maps = maps_of(name)
    pixels = INPUTS.shape[2] * INPUTS.shape[3]
    assert maps.saliency.shape[2:].numel() < pixels
    found = maps.saliency.mean((1, 2, 3)) * pixels
    assert found.tolist() == pytest.approx(maps.figures["total_bits"].tolist(), rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_a_sample_has_the_same_map_in_every_batch_and_after_a_resume(name, maps_of, explain):
    together = maps_of(name).saliency
    torch.rand(3)  # what else draws from the global generator makes no difference
    assert torch.equal(explain(name, INPUTS, TARGETS).saliency, together)  # ready anew, as after a resume
    for i in (0, 7):
        torch.rand(3)
        alone = explain(name, INPUTS[i : i + 1], TARGETS[i : i + 1]).saliency[0]
        torch.testing.assert_close(alone, together[i], rtol=5e-3, atol=5e-3 * float(together[i].abs().max()))


@pytest.mark.parametrize("name", METHODS)
def test_the_target_decides_what_is_explained(name, maps_of, explain):
    same = (explain(name, INPUTS, 1 - TARGETS).saliency == maps_of(name).saliency).flatten(1).all(1)
    # a readout predicts the bottleneck of the class that the model predicts, whatever is asked; controls ask nothing
    assert same.tolist() == [name == "readout" or METHODS[name] in CONTROLS] * 8


@pytest.mark.parametrize("name", METHODS)
def test_the_model_is_left_as_it_was(name, model, weights, maps_of):
    maps_of(name)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_pages_know_of_methods_by_name_is_what_they_are():
    assert tuple(each.name for each in CONTROLS) == methods_by_name.CONTROLS
    assert Iba.name == methods_by_name.IBA
