"""Detectors: published weights map onto ours, ours come back as they were, and wrong ones are refused."""

import dataclasses

import numpy as np
import pytest
import timm
import torch

from operators.models import (
    PAPER_LAYERS,
    VGG11_FLOW,
    XCEPTION,
    Detector,
    load_model,
    map_keys,
    save_model,
    spec_for,
    spec_of,
    to_input,
)


def published_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A timm state as the FaceForensics++ Xception files name it."""
    out = {}
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            continue  # the release predates it
        if key.endswith("pointwise.weight"):
            value = value[:, :, 0, 0]
        out["model." + key.replace("fc.", "last_linear.1.")] = value
    return out


def test_published_faceforensics_xception_is_recognised(tmp_path):
    trained = load_model(XCEPTION, seed=5)
    path = tmp_path / "xception.pth"
    torch.save(published_layout(trained.state_dict()), path)
    loaded = load_model(XCEPTION, path, seed=6)
    image = torch.randn(1, 3, 299, 299)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), trained(image))


def test_our_file_carries_its_spec(tmp_path):
    model = timm.create_model("resnet18", num_classes=2).eval()
    spec = dataclasses.replace(spec_for("resnet18"), input_size=96, layer="layer2")
    save_model(model, spec, tmp_path / "w.safetensors")
    assert spec_of(tmp_path / "w.safetensors") == spec
    loaded = load_model(spec, tmp_path / "w.safetensors")
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_untrained_weights_come_from_the_seed():
    spec = spec_for("resnet18")
    before = torch.random.get_rng_state()
    a, b, c = (Detector(spec, ("layer3",), seed=seed).load().conv1.weight for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(before, torch.random.get_rng_state())


def test_weights_that_do_not_fit_are_refused_by_name(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(timm.create_model("resnet18", num_classes=1000).state_dict(), path)
    with pytest.raises(ValueError, match=r"does not fit resnet18 .* fc\."):
        load_model(spec_for("resnet18"), path)


def test_pickled_code_is_never_run(tmp_path):
    path = tmp_path / "model.p"
    torch.save(torch.nn.Linear(2, 2), path)  # a pickled module, as some releases are
    with pytest.raises(ValueError, match="state dict"):
        load_model(XCEPTION, path)
    path.write_bytes(b"not weights at all")
    with pytest.raises(ValueError, match="neither safetensors nor"):
        load_model(XCEPTION, path)


def test_map_keys_strips_dataparallel_too():
    assert set(map_keys({"module.model.bn1.weight": torch.ones(1)}, XCEPTION.keys)) == {"bn1.weight"}


@pytest.mark.parametrize("spec", [XCEPTION, VGG11_FLOW])
def test_the_papers_layers_exist(spec):
    modules = dict(timm.create_model(spec.architecture, num_classes=2).named_modules())
    assert spec.layer == PAPER_LAYERS[spec.name][0]
    assert all(layer in modules for layer in PAPER_LAYERS[spec.name])


def test_any_timm_classifier_has_a_spec():
    spec = spec_for("convnext_atto")
    assert (spec.input_size, spec.input, spec.layer) == (224, "crop", "stages.2")
    assert spec.mean != (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="did you mean"):
        spec_for("resnet1")


def test_to_input_scales_each_channel():
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[..., 0] = 255
    image = to_input(pixels, dataclasses.replace(XCEPTION, mean=(0.5, 0.25, 0.5), std=(0.5, 0.5, 0.25)))
    assert image.shape == (1, 3, 2, 2)
    assert image[0, :, 0, 0].tolist() == [1.0, -0.5, -2.0]
