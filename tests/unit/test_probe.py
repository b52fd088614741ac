"""What a worker could not do is said before the work begins."""

import gc
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from operators.inputs.view import View
from operators.methods import statistics
from operators.models.spec import spec_for
from operators.models.weights import Detector, load_model, save_model
from pipelines import config as configs
from pipelines.cluster import Cluster
from pipelines.errors import UserError
from pipelines.probe import Cut, cuts_there, probe


def config(model: str, *layers: str, tables: dict | None = None, **given) -> configs.Config:
    return configs.build(tables or {}, [model], list(layers), given.pop("weights", {}), **given)


def test_layers_with_their_channels_last_serve_and_tokens_do_not():
    probe(config("test_mambaout", "stages.1"))
    with pytest.raises(UserError, match=r"^test_vit blocks.5 gives \(101, 64\) for each input, and maps"):
        probe(config("test_vit", "blocks.5"))


def test_it_tells_how_each_layer_is_cut(monkeypatch):
    run = config("resnet10t", "layer2", "layer3")
    assert set(probe(run)) == {("resnet10t", "layer2"), ("resnet10t", "layer3")}
    assert set(probe(run).values()) == {Cut("graph", True, None)}
    assert set(probe(replace(run, methods=("gradcam",))).values()) == {Cut("graph", None, None)}
    monkeypatch.setattr(Detector, "load", untraceable(Detector.load))
    for cut in probe(run).values():
        assert (cut.kind, cut.folded) == ("hooks", False)
        assert "several times as long" in str(cut.slower)


def test_on_a_gpu_it_is_known_how_a_layer_is_cut_there(monkeypatch):
    run = config("resnet10t", "layer3")
    here, asked = probe(run), []

    def remote(**resources):
        asked.append(resources)
        monkeypatch.setattr(Detector, "load", untraceable(Detector.load))  # as a GPU's kernels might have it
        return lambda work: SimpleNamespace(remote=work)

    monkeypatch.setattr("pipelines.probe.ray", SimpleNamespace(remote=remote, get=lambda result: result))
    cluster = Cluster(1, 4, 0, 4, 8, 4, 1)
    assert cuts_there(run, cluster, here) == here
    assert cuts_there(run, replace(cluster, gpus_per_actor=1), {}) == {}
    assert not asked
    (cut,) = cuts_there(run, replace(cluster, gpus_per_actor=0.5), here).values()
    assert (cut.kind, cut.folded) == ("hooks", False)
    assert asked == [{"num_cpus": 4, "num_gpus": 0.5}]


def test_nothing_of_a_model_stays_in_memory():
    """What it is cut into refers to itself: with VGG11 a gigabyte in a driver that has no use for it."""
    gc.collect()
    before = sum(isinstance(each, torch.nn.Module) for each in gc.get_objects())
    gc.disable()
    try:
        probe(config("test_resnet", "layer3"))
        assert sum(isinstance(each, torch.nn.Module) for each in gc.get_objects()) == before
    finally:
        gc.enable()


def untraceable(load):
    """A `load` whose models decide by their input's values what they run."""

    def loaded(detector: Detector) -> torch.nn.Module:
        model = load(detector)
        forward = type(model).forward

        class Branching(type(model)):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return forward(self, 2 * x if x.mean() > 100 else x)

        model.__class__ = Branching
        return model

    return loaded


def test_weights_that_give_nothing_finite_are_refused(tmp_path):
    spec = replace(spec_for("resnet10t"), view=View(64))
    model = load_model(spec)
    with torch.no_grad():
        model.fc.bias[1] = float("nan")
    save_model(model, spec, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"w\.safetensors: a black picture gives logits that are not finite"):
        probe(config("resnet10t", weights={"resnet10t": tmp_path / "w.safetensors"}))


@pytest.fixture
def given(tmp_path) -> Path:
    """Statistics of resnet10t's layer3 that do not say of which crops they are."""
    folder = tmp_path / "statistics"
    activations = torch.randn(3, 256, 4, 4, generator=torch.Generator().manual_seed(0))
    path = statistics.path_in(folder, "resnet10t", "layer3")
    statistics.save(statistics.of_batch(activations), path, {"weights_sha256": None})
    return folder


def test_statistics_of_another_size_are_refused(given):
    with pytest.raises(UserError, match=r"layer3\.safetensors is of \(256, 4, 4\), and resnet10t layer3 gives"):
        probe(config("resnet10t", "layer3", statistics=given))


def test_statistics_of_other_crops_are_refused(given):
    path = statistics.path_in(given, "resnet10t", "layer3")
    known = statistics.load(path)
    run = config("resnet10t", "layer3")
    about = run.about_statistics(run.detectors[0])
    statistics.save(known, path, about)
    assert config("resnet10t", "layer3", statistics=given).statistics.files
    for name, value in (("faces.margin", 1.5), ("selection", "uniform"), ("view", "frame picture 224")):
        statistics.save(known, path, about | {"crops": about["crops"] | {name: value}})
        with pytest.raises(UserError, match=rf"is of other crops: {name} is {value}, not"):
            config("resnet10t", "layer3", statistics=given)
