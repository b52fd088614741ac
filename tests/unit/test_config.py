"""A run's identity is what its results depend on, and nothing else."""

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import timm
import torch

from operators.forge import ForgeriesParams
from operators.forging.blend import ForgeParams
from operators.inputs.faces import FaceParams
from operators.inputs.view import View
from operators.measures.rules import MaskRule
from operators.methods import statistics
from operators.methods.bottleneck import PRESETS
from operators.methods.budget import BUDGETS, Budget
from operators.methods.face import Face
from operators.methods.iba import Iba, ReadoutIba
from operators.methods.lime import Lime
from operators.methods.readout import ReadoutParams
from operators.methods.rise import Rise
from operators.models.spec import spec_for
from operators.models.training import XCEPTION_PARAMS, TrainParams
from operators.models.weights import save_model
from operators.video.keyframes import KeyframeParams
from operators.video.sandbox import Limits
from pipelines import config as configs
from pipelines.config import Config, GivenReadouts
from pipelines.errors import UserError
from pipelines.samples import from_manifest

DOCS = Path(__file__).resolve().parents[2] / "docs"
FLAGS = {"statistics": "--statistics", "readouts": "--readout"}


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


def test_given_statistics_are_part_of_a_run_wherever_they_lie(tmp_path):
    for number, folder in enumerate(("a", "moved", "other")):
        known = statistics.of_batch(torch.full((2, 3, 2, 2), float(number // 2)))
        statistics.save(known, statistics.path_in(tmp_path / folder, "resnet10t", "layer3"), {})

    def run_id(folder: str) -> str:
        return configs.build({}, ["resnet10t"], ["layer3"], {}, tmp_path / folder).run_id

    assert run_id("a") == run_id("moved")
    assert len({build(layers=["layer3"]).run_id, run_id("a"), run_id("other")}) == 3


def test_a_weights_file_says_what_its_model_looks_at_and_tells_apart(tmp_path):
    spec, path = spec_for("resnet10t", "frame", ("a", "b", "c")), tmp_path / "w.safetensors"
    save_model(timm.create_model("resnet10t", num_classes=3), spec, path)
    told = {"weights": {"resnet10t": path}, "view": "frame", "classes": ("a", "b", "c")}
    assert configs.build({}, ["resnet10t"], [], **told).run_id == build(weights=told["weights"]).run_id
    with pytest.raises(UserError, match=r"--view face: the model in .* looks at the frame"):
        configs.build({}, ["resnet10t"], [], **told | {"view": "face"})
    with pytest.raises(UserError, match=r"--classes: the model in .* has its own, a, b, c"):
        configs.build({}, ["resnet10t"], [], **told | {"classes": ("a", "b")})


def test_layers_go_to_the_models_that_have_them():
    config = build(models=["xception", "vgg11-flow"], layers=["block4", "bn3", "features.12"])
    assert [each.layers for each in config.detectors] == [("block4", "bn3"), ("features.12",)]
    assert [str(view) for view in config.views] == ["face flow 256", "face picture 299"]


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
    ("setting", "message"),
    [
        ("botleneck.draws=2", "unknown config section 'botleneck'; there are prepare, limits, bottleneck"),
        ("draws=2", "--set draws=2: write section.key=value; sections are prepare, limits, bottleneck"),
        ("bottleneck.draw=1", "unknown config field bottleneck.draw; there are beta, steps, draws"),
        ("prepare.faces.size=1", "unknown config field prepare.faces.size; there are upsample"),
        ('bottleneck.draws="many"', 'bottleneck.draws: "many" is not a whole number'),
        ("bottleneck.draws=2.0", "bottleneck.draws: 2.0 is not a whole number"),
        ("bottleneck.draws=true", "bottleneck.draws: true is not a whole number"),
        ("bottleneck.antithetic=1", "bottleneck.antithetic: 1 is not true or false"),
        ("bottleneck=3", "bottleneck: 3 is not a table"),
        ("prepare.keyframes=3", "prepare.keyframes: 3 is not a table"),
        ('mask_rules="otsu"', 'mask_rules: "otsu" is not an array'),
        ('mask_rules=["otsu", "warm0.5"]', r"mask_rules\[1\]: unknown mask rule 'warm0.5': use max0.5"),
        ("mask_rules=[]", r"mask_rules: \[\] is not an array of at least 1"),
        ('mask_rules=["max0.5", "max.5"]', "mask_rules: a mask rule is named twice"),
        ('prepare.keyframes.selection="all"', '"all" is not "peaks" or "uniform"'),
        ('bottleneck.preset="slow"', 'bottleneck.preset: "slow" is not "auto" or "fast" or "reference"'),
        ("bottleneck.preset=[1]", r"bottleneck.preset: \[1\] is not"),
        ('bottleneck.precision="float16"', '"float16" is not "float32" or "fastest"'),
        ('budget.preset="slow"', 'budget.preset: "slow" is not "fast" or "paper"'),
        ("budget.rize.masks=9", "unknown config field budget.rize; there are ig, smoothgrad, occlusion, rise, lime"),
        (
            "budget.rise.mask=9",
            "unknown config field budget.rise.mask; there are masks, cells, keep, cells_of_time, seed",
        ),
        ("budget.rise.masks=1", "budget.rise.masks: 1 is not a whole number from 2"),
        ("budget.rise=3", "budget.rise: 3 is not a table"),
        ("budget=3", "budget: 3 is not a table"),
        ("budget.occlusion.positions=2", "budget.occlusion: 2 windows of 0.25 leave gaps along a side"),
        ("bottleneck.draws=0", "0 is not a whole number from 1 up to 100"),
        ("bottleneck.beta=nan", "bottleneck.beta: NaN is not a number from 0"),
        ("bottleneck.lr=-1", "bottleneck.lr: -1 is not a number above 0"),
        ("bottleneck.lr=inf", "bottleneck.lr: Infinity is not a number"),
        ("bottleneck.smooth_sigma=1e9", "1000000000.0 is not a number from 0 up to 8"),
        ("bottleneck.seed=-1", "bottleneck.seed: -1 is not a whole number from 0"),
        ("prepare.keyframes.max_keyframes=0", "max_keyframes: 0 is not a whole number from 1 up to 1024"),
        ("prepare.keyframes.max_keyframes=-1", "max_keyframes: -1 is not"),
        ("prepare.keyframes.max_keyframes=100000", "max_keyframes: 100000 is not"),
        ("prepare.keyframes.blur_px=8", "prepare.keyframes.blur_px: 8 is not odd"),
        ("prepare.keyframes.threshold=1.5", "threshold: 1.5 is not a number from 0 up to 1"),
        ("prepare.faces.margin=0", "prepare.faces.margin: 0 is not a number from 0.5"),
        ("prepare.flow.poly_sigma=0.0", "prepare.flow.poly_sigma: 0.0 is not"),
        ("limits.timeout_s=-inf", "limits.timeout_s: -Infinity is not a number from 1"),
        ("limits.stall_s=1e300", "limits.stall_s: 1e[+]300 is not a number"),
        ("limits.memory_mb=1", "limits.memory_mb: 1 is not"),
        ("statistics.max_videos=0", "statistics.max_videos: 0 is not"),
        ('statistics.folder="s"', "statistics: its folder and files are set by --statistics DIR"),
        ('readouts.files=["x"]', "readouts: its folder and files are set by --readout DIR"),
        ("resources.gpus_per_actor=0", "resources.gpus_per_actor: 0 is not a number from 0.01 up to 1"),
        ("resources.videos_per_block=0", "resources.videos_per_block: 0 is not"),
        ("resources.batch_samples=-1", "resources.batch_samples: -1 is not"),
    ],
)
def test_a_wrong_field_is_named(setting, message):
    with pytest.raises(UserError, match=message) as raised:
        build(configs.load(None, [setting]))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("default", "setting", "message"),
    [
        (TrainParams(), 'train.optimizer="sgd"', 'train.optimizer: "sgd" is not "adam" or "adamw"'),
        (TrainParams(), 'train.schedule="cosine"', 'train.schedule: "cosine" is not "constant" or "one_cycle"'),
        (TrainParams(), "train.learning_rate=nan", "train.learning_rate: NaN is not a number above 0"),
        (TrainParams(), "train.batch_size=7", "train.batch_size: 7 is not .* divisible by 2"),
        (TrainParams(), "train.max_epochs=0", "train.max_epochs: 0 is not"),
        (TrainParams(), "train.patience_epochs=0", "train.patience_epochs: 0 is not"),
        (TrainParams(), "train.epochs=3", "unknown config field train.epochs; there are optimizer"),
        (TrainParams(), "train=3", "train: 3 is not a table"),
        (ReadoutParams(), "readout.epochs=0", "readout.epochs: 0 is not"),
        (ReadoutParams(), "readout.batch_size=0", "readout.batch_size: 0 is not"),
        (ReadoutParams(), "readout.learning_rate=-1", "readout.learning_rate: -1 is not"),
    ],
)
def test_a_wrong_field_of_a_training_is_named(default, setting, message):
    section = setting.partition(".")[0].partition("=")[0]
    with pytest.raises(UserError, match=message):
        configs.fill(default, configs.load(None, [setting])[section], section)


def test_one_value_of_a_table_leaves_the_others():
    assert configs.fill(XCEPTION_PARAMS, {"max_epochs": 2}, "train") == dataclasses.replace(
        XCEPTION_PARAMS, max_epochs=2
    )
    assert build({"bottleneck": {"beta": 3}}).bottleneck == dataclasses.replace(PRESETS["auto"], beta=3.0)
    for name, preset in PRESETS.items():
        assert build({"bottleneck": {"preset": name}}).bottleneck == preset
        found = build({"bottleneck": {"preset": name, "beta": 3}}).bottleneck
        assert found == dataclasses.replace(preset, beta=3.0)


def test_a_budget_is_a_preset_with_values_over_it():
    config = build({"budget": {"preset": "paper", "rise": {"cells": 5}}, "methods": ["rise", "lime"]})
    assert config.made_methods == (Rise(masks=4000, cells=5), Lime(samples=1000))
    ids = {build(each).run_id for each in ({}, {"budget": {"preset": "paper"}}, {"budget": {"rise": {"seed": 1}}})}
    assert len(ids) == 3


def test_every_method_with_a_budget_is_made_as_it_is_set():
    names = [each.name for each in dataclasses.fields(Budget)]
    seeds = {name: {"seed": 7} for name in names if hasattr(getattr(Budget(), name), "seed")}
    made = build({"budget": {"preset": "paper"} | seeds, "methods": names}).made_methods
    paper = [getattr(BUDGETS["paper"], name) for name in names]
    assert list(made) == [dataclasses.replace(each, seed=7) if each.name in seeds else each for each in paper]
    assert not set(made) & set(Budget())  # none is what it is unless told


def test_the_bottleneck_is_fitted_as_it_is_set():
    config = build({"bottleneck": {"preset": "reference", "beta": 3, "lr": 0.5}})
    told = dataclasses.replace(PRESETS["reference"], beta=3.0, lr=0.5)
    assert config.made_methods == (Iba(told),)
    given = dataclasses.replace(config, readouts=GivenReadouts("folder", ("resnet10t/layer3 0",)))
    assert given.made_methods == (Iba(told), ReadoutIba(told))


def test_the_face_is_where_the_crop_was_enlarged_from():
    config = build({"methods": ["face"], "prepare": {"faces": {"margin": 2.0}}})
    assert config.made_methods == (Face(2.0),)


def test_of_flow_maps_the_pictures_are_cut_where_a_method_wants_them():
    views = [build({"methods": methods}, ["vgg11-flow"]).views for methods in (["rise"], ["iba", "lime"])]
    assert [[str(view) for view in each] for each in views] == [
        ["face flow 256"],
        ["face flow 256", "face picture 256"],
    ]


def test_one_file_for_every_command(tmp_path):
    file = tmp_path / "viba.toml"
    file.write_text("[train]\nmax_epochs = 2\n[readout]\nepochs = 3\n[bottleneck]\ndraws = 4\n")
    tables = configs.load(file, [])
    assert configs.fill(TrainParams(), tables["train"], "train").max_epochs == 2
    assert configs.fill(ReadoutParams(), tables["readout"], "readout").epochs == 3
    assert build(tables).bottleneck.draws == 4
    assert build(tables).run_id == build({"bottleneck": {"draws": 4}}).run_id
    file.write_text("[trian]\nmax_epochs = 2\n")
    with pytest.raises(UserError, match=r"unknown config section 'trian'; there are .*, train, readout"):
        configs.load(file, [])


def test_a_field_of_what_is_no_table():
    with pytest.raises(UserError, match="max_keyframes=2: prepare was set to 3, which has no fields"):
        configs.load(None, ["prepare=3", "prepare.keyframes.max_keyframes=2"])


@pytest.mark.parametrize("setting", ["prepare", "bottleneck.draws=", "run.name=two words", "a.b=" + "9" * 5000])
def test_a_setting_that_is_not_toml(setting):
    with pytest.raises(UserError, match=r"cannot read --set .*: write section.key=value, texts in quotes"):
        configs.load(None, [setting])


def test_a_word_needs_no_quotes():
    bare, quoted = (configs.load(None, [f"bottleneck.start={start}"]) for start in ("readout", '"readout"'))
    assert bare == quoted == {"bottleneck": {"start": "readout"}}
    assert configs.load(None, ["train.mirror=false"]) == {"train": {"mirror": False}}
    with pytest.raises(UserError, match=r"bottleneck\.draws"):
        build(configs.load(None, ["bottleneck.draws=two"]))


def test_a_config_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(UserError, match=r"cannot read the config .*: (Is a|No such)"):
            configs.load(path, [])


def test_a_row_has_an_end():
    """Of Xception and flow 3 * (299^2 + 256^2) = 464,811 bytes per keyframe: 288 of them are 133.9 million bytes."""
    both = ["xception", "vgg11-flow"]
    assert build({"prepare": {"keyframes": {"max_keyframes": 288}}}, both).prepare.keyframes.max_keyframes == 288
    with pytest.raises(UserError, match=r"289 keyframes of 0.46 MB each are more than the 134 MB that .* at most 288"):
        build({"prepare": {"keyframes": {"max_keyframes": 289}}}, both)
    assert build({"prepare": {"keyframes": {"max_keyframes": 289}}}, both[:1]).prepare.keyframes.max_keyframes == 289


def test_training_samples_keep_to_a_row_too(tmp_path):
    """448 frames of 3 * 316^2 = 299,568 bytes fit."""
    views = (View(316),)
    with pytest.raises(UserError, match=r"449 keyframes of 0.3 MB each are more .* at most 448 with these inputs"):
        from_manifest(tmp_path / "none.csv", views, 449)
    with pytest.raises(UserError, match="max_keyframes: 5000 is not a whole number from 1 up to 1024"):
        from_manifest(tmp_path / "none.csv", views, 5000)
    with pytest.raises(UserError, match="no file or folder"):
        from_manifest(tmp_path / "none.csv", views, 448)


@pytest.mark.parametrize(
    "make",
    [
        lambda: KeyframeParams(selection="all"),
        lambda: KeyframeParams(blur_px=8),
        lambda: FaceParams(margin=float("nan")),
        lambda: Limits(memory_mb=0),
        lambda: dataclasses.replace(PRESETS["fast"], draws=0),
        lambda: TrainParams(optimizer="sgd"),
        lambda: ForgeParams(strengths=()),
        lambda: ForgeParams(strengths=(1.5,)),
        lambda: ForgeParams(faults=("blink",)),
        lambda: ForgeriesParams(max_frames=0),
        lambda: MaskRule("max", 0.0),
        lambda: MaskRule("max"),
        lambda: MaskRule("otsu", 0.5),
    ],
)
def test_a_wrong_value_is_refused_in_python_too(make):
    with pytest.raises(ValueError):
        make()


def leaves(default, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Every field of a filled dataclass with its type and value."""
    found = {}
    hints = get_type_hints(type(default), include_extras=True)
    for name in (each.name for each in dataclasses.fields(default)):
        hint, value = hints[name], getattr(default, name)
        if dataclasses.is_dataclass(value):
            found |= leaves(value, f"{prefix}{name}.")
        elif name != "detectors":
            found[f"{prefix}{name}"] = hint, value
    return found


def documented(page: str) -> dict[str, list[str]]:
    """The other cells of every row that begins with a field."""
    rows = re.findall(r"^\| `([a-z_.]+)` \|(.*)\|$", (DOCS / page).read_text(), re.MULTILINE)
    return {name: [cell.strip().replace("`", "") for cell in rest.split("|")] for name, rest in rows}


def written(value) -> str:
    return "none" if value in (None, ()) else json.dumps(value)


def test_every_field_is_documented_with_its_default_and_what_it_may_be():
    rows = documented("config.md")
    presets = {"reference": leaves(PRESETS["reference"], "bottleneck."), "paper": leaves(BUDGETS["paper"], "budget.")}
    for name, (hint, value) in leaves(Config(())).items():
        others = {preset: fields[name][1] for preset, fields in presets.items() if name in fields}
        told = [written(value), *(f"{preset} {written(each)}" for preset, each in others.items() if each != value)]
        default = "; ".join(told)
        section, _, field = name.partition(".")
        flag = FLAGS.get(section) if field in ("folder", "files") else None
        assert rows[name][:2] == [default, f"only by {flag}" if flag else configs.allowed(hint)], name
    rows = documented("readout.md")
    for name, (hint, value) in leaves(ReadoutParams()).items():
        assert rows[name][:2] == [written(value), configs.allowed(hint)], name
    rows, others = documented("train.md"), leaves(XCEPTION_PARAMS)
    for name, (hint, value) in leaves(TrainParams()).items():
        assert rows[name][:3] == [written(value), written(others[name][1]), configs.allowed(hint)], name
