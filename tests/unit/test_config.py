"""A run's identity is what its results depend on, and nothing else."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import timm

from operators.methods.readout import ReadoutParams
from operators.models.spec import spec_for
from operators.models.training import TrainParams
from operators.models.weights import save_model
from pipelines import config as configs
from pipelines.config import Config
from pipelines.errors import UserError

DOCS = Path(__file__).resolve().parents[2] / "docs"


def build(tables=None, models=("resnet10t",), layers=(), weights=None) -> Config:
    return configs.build(tables or {}, list(models), list(layers), weights or {})


def test_the_run_id_follows_what_changes_results():
    base = build()
    assert base.run_id == build().run_id
    assert base.run_id == build({"resources": {"batch_samples": 7}}).run_id
    changed = [
        build({"bottleneck": {"draws": 3}}),
        build({"prepare": {"faces": {"margin": 1.4}}}),
        build({"mask_rules": ["otsu"]}),
        build(layers=["layer2"]),
        build(models=["resnet18"]),
    ]
    assert len({each.run_id for each in [base, *changed]}) == 6


def test_the_run_id_follows_the_content_of_weights_and_not_their_path(tmp_path):
    spec = spec_for("resnet10t")
    save_model(timm.create_model("resnet10t", num_classes=2), spec, tmp_path / "a.safetensors")
    save_model(timm.create_model("resnet10t", num_classes=2), spec, tmp_path / "other.safetensors")
    (tmp_path / "moved").mkdir()
    shutil.copyfile(tmp_path / "a.safetensors", tmp_path / "moved" / "b.safetensors")
    a, moved, other = (
        build(weights={"resnet10t": tmp_path / name}).run_id
        for name in ("a.safetensors", "moved/b.safetensors", "other.safetensors")
    )
    assert a == moved
    assert a != other


def test_layers_go_to_the_models_that_have_them():
    config = build(models=["xception", "vgg11-flow"], layers=["block4", "bn3", "features.12"])
    assert [each.layers for each in config.detectors] == [("block4", "bn3"), ("features.12",)]
    assert [(each.kind, each.size) for each in config.inputs] == [("crop", 299), ("flow", 256)]


def test_the_order_of_layers_is_the_models_whatever_order_they_are_named_in():
    a, b = (build(models=["xception"], layers=layers) for layers in (["bn3", "block4", "bn3"], ["block4", "bn3"]))
    assert a.detectors[0].layers == ("block4", "bn3")
    assert a.run_id == b.run_id


def test_the_papers_layers_by_one_word():
    config = build(models=["vgg11-flow", "xception"], layers=["paper", "block8"])
    assert [each.layers for each in config.detectors] == [
        ("features.9", "features.12", "features.16"),
        ("block4", "block8", "block12", "conv3", "bn3", "bn4"),
    ]
    with pytest.raises(UserError, match="--layer paper: the paper compares layers of xception and vgg11-flow; name"):
        build(models=["xception", "resnet10t"], layers=["paper"])


def test_a_toml_file_and_settings(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[bottleneck]\ndraws = 4\nbeta = 5\n[prepare.keyframes]\nmax_keyframes = 2\n")
    config = build(configs.load(file, ["bottleneck.draws=6", 'mask_rules=["max0.25"]']))
    assert (config.bottleneck.draws, config.bottleneck.beta) == (6, 5.0)
    assert config.prepare.keyframes.max_keyframes == 2
    assert config.mask_rules == ("max0.25",)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"botleneck": {}}, "unknown config section 'botleneck'"),
        ({"bottleneck": {"draw": 1}}, "unknown config field bottleneck.draw"),
        ({"bottleneck": {"draws": "many"}}, "bottleneck.draws is int"),
        ({"bottleneck": {"draws": 0}}, "at least 1"),
        ({"bottleneck": 3}, "bottleneck is a table"),
        ({"mask_rules": "otsu"}, "mask_rules is an array"),
        ({"mask_rules": ["warm0.5"]}, "mask_rules"),
        ({"prepare": {"keyframes": {"selection": "all"}}}, "peaks or uniform"),
    ],
)
def test_a_wrong_field_is_named(tables, message):
    with pytest.raises(UserError, match=message):
        build(tables)


def leaves(kind: type, prefix: str = "") -> list[str]:
    names = []
    for each in dataclasses.fields(kind):
        default = each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
        if dataclasses.is_dataclass(default):
            names += leaves(type(default), f"{prefix}{each.name}.")
        elif each.name != "detectors":
            names.append(f"{prefix}{each.name}")
    return names


def test_every_field_is_documented():
    text = (DOCS / "config.md").read_text()
    assert [name for name in leaves(Config) if f"| `{name}` |" not in text] == []
    text = (DOCS / "readout.md").read_text()
    assert [name for name in leaves(ReadoutParams) if f"| `{name}` |" not in text] == []
    text = (DOCS / "train.md").read_text()
    assert [name for name in leaves(TrainParams) if f"| `{name}` |" not in text] == []
