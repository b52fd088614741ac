"""Detectors: published weights map onto ours, ours come back as they were, and wrong ones are refused."""

import dataclasses
import json
import time
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from operators.inputs.view import View
from operators.models.imagenet import imagenet_classes
from operators.models.running import to_input
from operators.models.spec import PAPER_LAYERS, VGG11_FLOW, XCEPTION, spec_for
from operators.models.weights import (
    Detector,
    fetch_published,
    imagenet_source,
    imagenet_weights,
    load_model,
    map_keys,
    save_model,
    spec_of,
    start_from_file,
    start_from_imagenet,
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
    image = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(loaded(image), trained(image))


def test_our_file_carries_its_spec(tmp_path):
    model = timm.create_model("resnet18", num_classes=3).eval()
    spec = dataclasses.replace(spec_for("resnet18"), view=View(96, "frame"), layer="layer2", classes=("a", "b", "c"))
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


def test_a_file_from_before_views_still_loads(tmp_path):
    old = {"name": "mine", "architecture": "vgg11_bn", "input": "flow", "input_size": 128, "mean": [0.5, 0.5, 0.5]}
    old |= {"std": [0.5, 0.5, 0.5], "layer": "features.9", "keys": [["module.", ""], ["model.", ""]]}
    save_file({"a": torch.ones(1)}, tmp_path / "old.safetensors", metadata={"viba.model_spec": json.dumps(old)})
    spec = dataclasses.replace(VGG11_FLOW, name="mine", view=View(128, shows="flow"))
    assert spec_of(tmp_path / "old.safetensors") == spec


@pytest.mark.parametrize("spec", [XCEPTION, VGG11_FLOW])
def test_the_papers_layers_exist(spec):
    with torch.device("meta"):  # without the hundred million weights of VGG's head
        modules = dict(timm.create_model(spec.architecture, num_classes=2).named_modules())
    assert spec.layer == PAPER_LAYERS[spec.name][0]
    assert all(layer in modules for layer in PAPER_LAYERS[spec.name])


def test_any_timm_classifier_has_a_spec():
    spec = spec_for("convnext_atto")
    assert (spec.view, spec.layer, spec.classes) == (View(224), "stages.2", ("real", "fake"))
    assert spec.mean != (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="did you mean"):
        spec_for("resnet1")


def test_to_input_scales_each_channel():
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    pixels[..., 0] = 255
    image = to_input(pixels, dataclasses.replace(XCEPTION, mean=(0.5, 0.25, 0.5), std=(0.5, 0.5, 0.25)))
    assert image.shape == (1, 3, 2, 2)
    assert image[0, :, 0, 0].tolist() == [1.0, -0.5, -2.0]


@pytest.mark.parametrize(("name", "head"), [("resnet10t", "fc"), ("test_convnext", "head.fc")])
def test_a_start_from_a_file_keeps_everything_but_the_head(tmp_path, name, head):
    spec = spec_for(name)
    given = timm.create_model(spec.architecture, num_classes=1000).state_dict()
    save_file(given, tmp_path / "w.safetensors")
    started, fresh = start_from_file(spec, tmp_path / "w.safetensors", 3).state_dict(), load_model(spec, seed=3)
    for key, value in started.items():
        expected = fresh.state_dict()[key] if key.startswith(f"{head}.") else given[key]
        assert torch.equal(value, expected), key
    assert started[f"{head}.weight"].shape[0] == 2


def test_a_start_from_a_detector_keeps_its_head(tmp_path):
    given = load_model(spec_for("resnet10t"), seed=1)
    torch.save(given.state_dict(), tmp_path / "w.pth")
    started = start_from_file(spec_for("resnet10t"), tmp_path / "w.pth", 2)
    assert all(torch.equal(value, given.state_dict()[key]) for key, value in started.state_dict().items())
    with pytest.raises(ValueError, match="does not fit test_resnet"):
        start_from_file(spec_for("test_resnet"), tmp_path / "w.pth")


@pytest.fixture
def cut_off(monkeypatch, tmp_path):
    """No connection, and an empty folder as what huggingface_hub has kept."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_classes_have_names_of_their_own():
    with pytest.raises(ValueError, match="resnet10t has two classes named 'b': tables tell them by their names"):
        replace(spec_for("resnet10t"), classes=("a", "b", "c", "b"))


@pytest.mark.parametrize(
    ("name", "layout"), [("test_mambaout", "NHWC"), ("swin_tiny_patch4_window7_224", "NHWC"), ("resnet10t", "NCHW")]
)
def test_it_is_known_where_a_models_channels_are(name, layout):
    assert spec_for(name).layout == layout


def test_without_a_connection_there_is_one_line_and_no_waiting(cut_off):
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"cannot fetch timm/resnet10t\S+ \(\w+\): connect to the internet") as raised:
        start_from_imagenet(spec_for("resnet10t"))
    assert "\n" not in str(raised.value)
    assert time.monotonic() - started < 15


def test_weights_of_a_clip_model_are_fetched_once_and_by_their_digest(monkeypatch, tmp_path):
    asked = []

    def download(url, path, hash_prefix, progress):
        asked.append((url, hash_prefix))
        Path(path).write_bytes(b"weights")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    spec = spec_for("r3d_18", "frame")
    first, again = fetch_published(spec), fetch_published(spec)
    assert first == again == tmp_path / "hub/checkpoints/r3d_18-b3b3357e.pth"
    assert first.read_bytes() == b"weights"
    assert asked == [("https://download.pytorch.org/models/r3d_18-b3b3357e.pth", "b3b3357e")]


@pytest.fixture
def downloaded(cut_off):
    """What an earlier download of resnet10t left: the weights."""
    given = timm.create_model("resnet10t", num_classes=1000).state_dict()
    kept = cut_off / "models--timm--resnet10t.c3_in1k"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    (kept / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_file(given, kept / "snapshots" / ("0" * 40) / "model.safetensors")
    return given


def test_downloaded_weights_are_enough(downloaded):
    """Timm's own loading, from what an earlier download left."""
    given = downloaded
    started, fresh = (
        start_from_imagenet(spec_for("resnet10t"), 3).state_dict(),
        load_model(spec_for("resnet10t"), seed=3),
    )
    for key, value in started.items():
        assert torch.equal(value, fresh.state_dict()[key] if key.startswith("fc.") else given[key]), key


def test_an_imagenet_classifier_has_its_own_head_and_names(downloaded):
    spec = spec_for("resnet10t", "frame", imagenet_classes())
    assert spec.view == View(176, "frame", share=0.875)
    loaded = load_model(spec, imagenet_weights(spec))
    assert all(torch.equal(value, downloaded[key]) for key, value in loaded.state_dict().items())


def test_weights_of_other_classes_than_imagenets_are_refused(cut_off):
    with pytest.raises(ValueError, match="no file of weights for ImageNet's 1000 classes"):
        imagenet_weights(dataclasses.replace(XCEPTION, architecture="vit_small_patch14_dinov2"))


def test_names_of_imagenet_tell_its_classes_apart():
    names = imagenet_classes()
    assert len({name.lower() for name in names}) == 1000
    assert [names[index] for index in (0, 207, 281, 999)] == ["tench", "golden retriever", "tabby", "toilet tissue"]
    assert (names[134], names[517]) == ("crane n02012849", "crane n03126707")  # the bird and the machine


def test_an_architecture_without_weights_is_said():
    spec = dataclasses.replace(XCEPTION, architecture="resnet14t_unknown")
    with pytest.raises(ValueError, match="timm has no weights of"):
        imagenet_source(spec)
