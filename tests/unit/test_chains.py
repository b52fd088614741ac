"""What a config, a plan and a cluster say reaches the operators: nothing is run, the stages hold what they hand on."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from operators.explain import Explainer
from operators.inputs.landmarks import VIEW as LANDMARK_VIEW
from operators.inputs.view import View
from operators.judge import Explanations, Judge
from operators.judging.params import JudgeParams
from operators.judging.totals import Totals
from operators.kept import Kept
from operators.measure import measure
from operators.methods.iba import Iba, ReadoutIba
from operators.methods.ready import Files
from operators.methods.rise import Rise
from operators.prepare import prepare, recut
from pipelines import config as configs
from pipelines import explain, judge
from pipelines.cluster import Cluster
from pipelines.config import GivenReadouts
from schemas.tables import JUDGED_ROW, VIDEO_ROW

#: nothing here is what it is unless told, and no two numbers are the same
TABLES = {
    "methods": ["rise", "iba"],
    "targets": ["label", "fake"],
    "mask_rules": ["top0.3", "otsu"],
    "bottleneck": {"preset": "reference", "beta": 3},
    "budget": {"rise": {"masks": 11}},
    "prepare": {"keyframes": {"max_keyframes": 13}, "flow": {"full_scale_px": 5.0}},
    "limits": {"timeout_s": 17.0},
    "resources": {"videos_per_block": 19},
}
CONFIG = replace(
    configs.build(TABLES, ["test_resnet", "vgg11-flow"], ["layer2", "features.9"], {}),
    readouts=GivenReadouts("given", ("test_resnet/layer2 0",)),
)
RISE, IBA = Rise(masks=11), Iba(CONFIG.bottleneck)
CLUSTER = Cluster(2, 3.0, 0.5, 4, batch_samples=5, videos_per_call=6, calls=7)
KEPT = Kept(Path("run_id=r0"), {"a": "block"}, frozenset({"face picture 4"}))
FLOW = View(256, shows="flow")
STATISTICS = Path("statistics")


def test_videos_are_explained_as_the_config_says():
    first, second, third = explain.stages(CONFIG, STATISTICS, (KEPT,), False, CLUSTER)
    assert [each.fn for each in (first, second, third)] == [prepare, Explainer, measure]
    assert {each.schema for each in (first, second, third)} == {VIDEO_ROW}
    assert first.kwargs == {"params": CONFIG.prepare, "limits": CONFIG.limits, "views": CONFIG.views, "kept": (KEPT,)}
    assert (CONFIG.prepare.keyframes.max_keyframes, CONFIG.limits.timeout_s) == (13, 17.0)
    assert second.kwargs == {
        "detectors": CONFIG.detectors,
        "methods": (RISE, IBA, ReadoutIba(CONFIG.bottleneck)),
        "targets": ("label", "fake"),
        "files": Files(STATISTICS, {("test_resnet", "layer2"): Path("given/test_resnet/layer2.safetensors")}),
        "batch_samples": 5,
        "threads": 4,
        "keep": False,
    }
    assert [(each.spec.name, each.layers) for each in CONFIG.detectors] == [
        ("test_resnet", ("layer2",)),
        ("vgg11-flow", ("features.9",)),
    ]
    assert (second.actors, second.num_cpus, second.num_gpus, second.batch_size, second.calls) == (2, 3.0, 0.5, 6, 7)
    assert third.kwargs == {"rules": ("top0.3", "otsu")}


def test_a_run_that_keeps_its_inputs_keeps_all_that_may_be_asked_for():
    """Of flow maps the pictures, too, and what landmarks are found in."""
    plain = replace(CONFIG, methods=("iba",))
    first, second, _ = explain.stages(plain, STATISTICS, (), True, CLUSTER)
    assert set(first.kwargs["views"]) == {*plain.views, FLOW.picture, LANDMARK_VIEW}
    assert FLOW.picture not in plain.views
    assert second.kwargs["keep"] is True


def test_maps_are_judged_as_they_were_planned_to_be():
    params = JudgeParams(max_frames=4, nes_frames=2, steps=9, sanity_frames=1)
    chosen = [("b", 3), ("a", 0), ("b", 0), ("a", 7)]
    plan = judge._Plan(["a", "b"], chosen, 5, 6, Counter(), 8)
    whole = {("test_resnet", "rise", "", "fake"): Totals(n_videos=2)}
    again = Explanations(frozenset(chosen[:1]), CONFIG.made_methods, Files(STATISTICS, {}), {"test_resnet": Path("p")})
    first, second = judge.stages(CONFIG, params, plan, whole, Path("mesh"), again, KEPT, CLUSTER)
    assert [each.fn for each in (first, second)] == [recut, Judge]
    assert [each.schema for each in (first, second)] == [VIDEO_ROW, JUDGED_ROW]
    assert first.kwargs == {
        "flows": {"a": CONFIG.prepare.flow, "b": CONFIG.prepare.flow},
        "limits": CONFIG.limits,
        "views": judge._views(CONFIG, params),
        "kept": KEPT,
    }
    assert CONFIG.prepare.flow.full_scale_px == 5.0
    assert second.kwargs == {
        "detectors": CONFIG.detectors,
        "params": params,
        "whole": whole,
        "chosen": frozenset(chosen),
        "landmarks": Path("mesh"),
        "nes": {("b", 3), ("a", 0)},  # the first of the order by hash, not of the names
        "again": again,
        "batch_samples": 5,
        "threads": 4,
    }
    assert (second.actors, second.num_cpus, second.num_gpus, second.batch_size) == (2, 3.0, 0.5, 19)
