"""Sanity tests on a real network: what they change, what they leave, and that methods are told apart by them."""

import gc
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from operators.inputs.view import View
from operators.judge import Explanations, Judge
from operators.judging.params import JudgeParams
from operators.judging.totals import totals
from operators.measures.grid import CELLS
from operators.measures.sanity import cascade, similarity, weighted_layers
from operators.methods import METHODS, statistics
from operators.methods.again import Again
from operators.methods.bottleneck import Bottleneck
from operators.methods.iba import Iba
from operators.methods.ready import Files
from operators.models.activations import read
from operators.models.running import to_input
from operators.models.spec import spec_for
from operators.models.weights import Detector, load_model, save_model
from schemas.tables import NESTED, VIDEO_ROW

SPEC = replace(spec_for("test_resnet"), name="toy", view=View(64))
DETECTOR = Detector(SPEC, ("layer3",))
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_similarity_is_of_ranks():
    cells = np.random.default_rng(0).random(CELLS).astype(np.float32)
    assert similarity(cells, np.exp(5 * cells)) == pytest.approx(1)
    assert similarity(cells, -cells) == pytest.approx(-1)
    # ranks 1 2 3 and 1 3 2: rho is 1 - 6 * 2 / (3 * 8)
    assert similarity(np.array([1, 2, 9], np.float32), np.array([0, 7, 5], np.float32)) == pytest.approx(0.5)
    assert similarity(cells, np.zeros(CELLS, np.float32)) == 0
    assert similarity(cells, np.full(CELLS, np.nan, np.float32)) == 0
    assert similarity(np.ones(CELLS, np.float32), cells) is None


def test_the_cascade_permutes_weights_from_the_top_and_nothing_else():
    model, before = load_model(SPEC), load_model(SPEC)
    layers = weighted_layers(model)
    assert layers[0] == "fc"
    seen = []
    for place, depth in cascade(model, 3, seed=0):
        seen.append((place, depth))
        changed = {
            name
            for name, module in model.named_modules()
            if any(
                not torch.equal(new, old)
                for new, old in zip(
                    module.parameters(recurse=False), before.get_submodule(name).parameters(False), strict=True
                )
            )
        }
        assert changed == set(layers[: layers.index(place) + 1])
        assert depth == pytest.approx(len(changed) / len(layers))
    assert [place for place, _ in seen] == [layers[0], seen[1][0], layers[-1]]
    for name, old in before.state_dict().items():
        new = model.state_dict()[name]
        assert torch.equal(new.flatten().sort().values, old.flatten().sort().values), name
    batch_norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert batch_norms
    again = load_model(SPEC)
    list(cascade(again, 1, seed=0))
    assert torch.equal(again.fc.weight, model.fc.weight)
    other = load_model(SPEC)
    list(cascade(other, 1, seed=1))
    assert not torch.equal(other.fc.weight, model.fc.weight)


def video(maps: dict, target: str, shown: dict[View, np.ndarray]) -> dict:
    """A row with these maps of frame 0, and what of each view is `shown`, (frames, 64, 64, 3)."""
    box = {"box_x": 0, "box_y": 0, "box_width": 9, "box_height": 9}
    masks = []
    for (method, layer), (values,) in maps.items():
        most = float(values.abs().max()) or 1.0
        mask = {"first_frame": 0, "frame": 0, "span_frames": 1, "model": "toy", "method": method, "layer": layer}
        mask |= {"target": target, "input_size": 64, "unit": "u", "empty": False, "seconds": 0.0}
        mask |= {"height": len(values), "width": values.shape[1], "scale": most}
        mask |= {"saliency": (values / most).numpy().ravel().astype(np.float16)}
        masks.append(dict.fromkeys(("error_code", "total_bits", "floor_bits", "loss_first", "loss_last")) | box | mask)
    inputs = [
        box | {"view": str(view), "span_frames": 1, "frame": t, "pixels": each.tobytes()}
        for view, frames in shown.items()
        for t, each in enumerate(frames)
    ]
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    return row | {"video_id": "v", "uri": "v", "dataset": "d", "status": "ok", "masks": masks, "inputs": inputs}


@pytest.fixture(scope="module")
def alive() -> list[int]:
    """How many modules there were whenever maps were made again; filled by `judged`."""
    return []


@pytest.fixture(scope="module")
def judged(tmp_path_factory, alive) -> list[dict]:
    """Rows of the table sanity of a video of two frames, of which one is explained again."""
    folder = tmp_path_factory.mktemp("statistics")
    model = load_model(SPEC).requires_grad_(False)
    images = to_input(PIXELS, SPEC)
    with torch.no_grad():
        known = statistics.of_batch(read(model, ["layer3"], images)["layer3"])
    statistics.save(known, statistics.path_in(folder, "toy", "layer3"), {})
    save_model(load_model(SPEC, seed=7), SPEC, folder / "permuted.safetensors")
    methods = (Iba(Bottleneck(draws=1, steps=3)), METHODS["gradcam"](), METHODS["edges"]())
    files = Explanations(frozenset({("v", 0)}), methods, Files(folder, {}), {"toy": folder / "permuted.safetensors"})
    again = Again(SPEC, model, ("layer3",), methods, partial(files.files.of, "toy"))
    # an untrained network's Grad-CAM of one of the classes may well be empty
    of = [again.maps(images[:1], target, None) for target in (0, 1)]
    target = int(of[1]["gradcam", "layer3"].max() > of[0]["gradcam", "layer3"].max())
    made = of[target]
    row = video(made, SPEC.classes[target], {SPEC.view: PIXELS})
    masks = row["masks"]
    params = JudgeParams(steps=2, variants=(), road=False, sensitivity_sets=0, pgd_steps=0, sanity_depths=3)
    judge = Judge((DETECTOR,), params, totals(masks, {}), frozenset(), frozenset(), None, files, 2, threads=1)

    class Counted(Again):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            alive.append(sum(isinstance(each, nn.Module) for each in gc.get_objects()))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("operators.judging.retake.Again", Counted)
        gc.disable()  # it may run at any time, or not
        found = judge(pa.Table.from_pylist([row], schema=VIDEO_ROW)).to_pylist()[0]["sanity"]
        gc.enable()
    return found


def test_no_model_that_was_changed_outlives_its_test(judged, alive):
    """For another class, for three depths, for permuted labels."""
    assert len(alive) == 5
    assert alive[1] == alive[2] == alive[3]


def test_every_method_is_explained_again(judged):
    assert {(row["method"], row["test"]) for row in judged} == {
        (method, test) for method in ("iba", "gradcam", "edges") for test in ("weights", "class", "labels")
    }
    depths = [row["depth"] for row in judged if row["method"] == "gradcam" and row["test"] == "weights"]
    assert len(depths) == 3
    assert depths == sorted(depths)
    assert depths[-1] == 1
    assert all(row["place"] != row["target"] for row in judged if row["test"] == "class")
    assert {row["frame"] for row in judged} == {0}


def test_a_control_that_asks_no_network_stays_the_same_and_grad_cam_does_not(judged):
    of = {
        method: [row["similarity"] for row in judged if row["method"] == method and row["test"] == "weights"]
        for method in ("edges", "gradcam")
    }
    assert of["edges"] == pytest.approx([1, 1, 1], abs=1e-3)
    assert abs(of["gradcam"][-1]) < 0.9
    assert [row["similarity"] for row in judged if row["method"] == "edges"] == pytest.approx([1] * 5, abs=1e-3)


def test_a_control_of_a_flow_model_is_shown_the_picture_again():
    """Edges are the face's, also where the model sees how it moves: the same map whatever the class."""
    spec = replace(SPEC, view=View(64, shows="flow"))
    model, edges = load_model(spec).requires_grad_(False), METHODS["edges"]()
    flow, picture = PIXELS
    files = Explanations(frozenset({("v", 0)}), (edges,), Files(Path(), {}), {})
    again = Again(spec, model, ("layer3",), (edges,), partial(files.files.of, "toy"))
    seen = torch.tensor(picture).permute(2, 0, 1)[None].float() / 255
    maps = again.maps(to_input(flow[None], spec), 0, seen)
    row = video(maps, spec.classes[0], {spec.view: flow[None], spec.view.picture: picture[None]})
    params = JudgeParams(steps=2, variants=(), road=False, sensitivity_sets=0, pgd_steps=0, sanity_depths=1)
    sums, detector = totals(row["masks"], {}), Detector(spec, ("layer3",))
    judge = Judge((detector,), params, sums, frozenset(), frozenset(), None, files, 2, threads=1)
    (found,) = judge(pa.Table.from_pylist([row], schema=VIDEO_ROW)).to_pylist()
    assert (found["status"], found["error_detail"]) == ("ok", None)
    told = {each["test"]: each["similarity"] for each in found["sanity"]}
    assert told == {"weights": pytest.approx(1, abs=1e-3), "class": pytest.approx(1, abs=1e-3)}
