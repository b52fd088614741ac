"""Maps do not depend on the batch, and memory that runs out costs nothing but time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from operators.explain import Explainer
from operators.inputs.view import View
from operators.measures.maps import cells
from operators.methods import statistics
from operators.methods.bottleneck import Bottleneck
from operators.methods.edges import Edges
from operators.methods.gradcam import GradCam
from operators.methods.gradcampp import GradCamPlusPlus
from operators.methods.iba import Iba
from operators.methods.occlusion import Occlusion
from operators.methods.ready import Files
from operators.models.batches import batch_size
from operators.models.spec import spec_for
from operators.models.weights import Detector
from schemas.errors import ERROR_CODES
from schemas.tables import NESTED, VIDEO_ROW

SPEC = replace(spec_for("test_resnet"), view=View(64))
DETECTOR = Detector(SPEC, ("layer2", "layer3"))
DRAWS = 2


@pytest.fixture(autouse=True)
def _threads():
    """The networks are too small for more than the one thread that `explainer` sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Statistics of both layers, of noise."""
    root = tmp_path_factory.mktemp("statistics")
    model = DETECTOR.load()
    for layer in DETECTOR.layers:
        caught = []
        handle = model.get_submodule(layer).register_forward_hook(lambda _m, _i, output, to=caught: to.append(output))
        with torch.no_grad():
            model(torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
        handle.remove()
        statistics.save(statistics.of_batch(caught[0]), statistics.path_in(root, SPEC.name, layer), {})
    return root


def video(name: str, frames: int, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    pixels = [rng.integers(0, 256, 64 * 64 * 3, np.uint8).tobytes() for _ in range(frames)]
    common = {"view": str(SPEC.view), "span_frames": 1, "box_x": 1, "box_y": 2, "box_width": 30, "box_height": 40}
    inputs = [common | {"frame": t, "pixels": each} for t, each in enumerate(pixels)]
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    return row | {"video_id": name, "uri": name, "dataset": "d", "status": "ok", "inputs": inputs}


def table() -> pa.Table:
    return pa.Table.from_pylist([video("a", 3, 0), video("b", 1, 1), video("c", 3, 2)], schema=VIDEO_ROW)


def explainer(folder: Path, batch_samples: int, *, targets: tuple[str, ...] = ("predicted",)) -> Explainer:
    methods = (Iba(Bottleneck(steps=3, draws=DRAWS)), GradCam())
    return Explainer((DETECTOR,), methods, targets, Files(folder, {}), batch_samples, threads=1)


@pytest.fixture
def memory_for(monkeypatch):
    """Make the detector fail where a fit has more samples than fit; a list of what then went through it."""

    def limit(samples: float, error: Exception) -> list[int]:
        passed: list[int] = []

        def check(_module, inputs) -> None:
            if len(inputs[0]) > samples * DRAWS:
                raise error
            passed.append(len(inputs[0]))

        def load(detector: Detector) -> torch.nn.Module:
            model = unlimited(detector)
            model.get_submodule("fc").register_forward_pre_hook(check)
            return model

        unlimited = Detector.load
        monkeypatch.setattr(Detector, "load", load)
        return passed

    return limit


KEYS = {
    "masks": ("frame", "method", "layer", "target"),
    "predictions": ("frame", "method", "layer", "target", "class"),
}


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    for a, b in zip(found.to_pylist(), expected.to_pylist(), strict=True):
        assert a["status"] == b["status"] == "ok"
        for name, key in KEYS.items():
            by_key = [{tuple(each[k] for k in key): each for each in row[name]} for row in (a, b)]
            assert len(by_key[0]) == len(a[name]) == len(b[name])  # nothing lost, nothing doubled
            assert by_key[0].keys() == by_key[1].keys()
            for k, one in by_key[0].items():
                assert one.pop("seconds", 0) >= 0
                for column, value in one.items():
                    if isinstance(value, float | list):
                        np.testing.assert_allclose(value, by_key[1][k][column], rtol=2e-3, atol=1e-5)
                    else:
                        assert value == by_key[1][k][column]


@pytest.fixture(scope="module")
def expected(folder) -> pa.Table:
    return explainer(folder, 7)(table())


def test_maps_are_the_same_in_every_batch(folder, expected):
    assert_same(explainer(folder, 1)(table()), expected)


def test_two_threads_give_the_maps_of_one_and_share_the_device_by_turns(folder, expected):
    found, inside = explainer(folder, 7), []
    explain_batch, lock, comes, both = found._explain_batch, found._lock, threading.Semaphore(0), []

    class Told:
        def __enter__(self):
            comes.release()
            lock.acquire()

        def __exit__(self, *_):
            lock.release()

    def watched(*given):
        inside.append(threading.get_ident())
        if not both:  # the first waits until the other wants the device, too
            both.extend(comes.acquire(timeout=60) for _ in range(2))
        rows = explain_batch(*given)
        assert inside.pop() == threading.get_ident()
        assert not inside
        return rows

    found._explain_batch, found._lock = watched, Told()
    with ThreadPoolExecutor(2) as pool:
        for one in pool.map(found, [table()] * 2):
            assert_same(one, expected)
    assert both == [True, True]
    assert found.worked_s > 0


def test_where_memory_runs_out_the_same_samples_are_explained_in_smaller_batches(folder, expected, memory_for):
    passed = memory_for(2, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    found = explainer(folder, 7)
    # 7 samples are too many for a fit and for the plain pass, 3 for a fit alone, 1 fits
    assert_same(found(table()), expected)
    before = len(passed)
    assert_same(found(table()), expected)
    assert set(passed[before:]) == {1, DRAWS}  # the smaller batch is kept: nothing is tried again


def test_a_video_of_which_one_sample_does_not_fit_is_an_error_row(folder, memory_for):
    memory_for(0.5, torch.OutOfMemoryError("CUDA out of memory."))  # the plain pass fits, a fit does not
    for row in explainer(folder, 4)(table()).to_pylist():
        assert (row["status"], row["error_stage"], row["error_code"]) == ("error", "explain", "out_of_memory")
        assert "test_resnet, face picture 64" in row["error_detail"]
        assert all(row[name] == [] for name in ("inputs", *(each.name for each in NESTED)))
    assert "out_of_memory" in ERROR_CODES


def test_a_method_without_a_layer_explains_a_model_once_and_tells_what_it_cost(folder):
    methods = (Occlusion(window=0.5, positions=2), GradCam(), GradCamPlusPlus(), Edges())
    found = Explainer((DETECTOR,), methods, ("real", "fake"), Files(folder, {}), 2, threads=1)(table())
    (masks,) = (row["masks"] for row in found.to_pylist() if row["video_id"] == "b")
    places = {(mask["method"], mask["layer"], mask["target"]): mask for mask in masks}
    assert len(places) == len(masks) == 2 * (1 + 2 + 2 + 1)
    costs = {(method, layer): mask["evaluations"] for (method, layer, _), mask in places.items()}
    of_layers = {(method, layer): 1 for method in ("gradcam", "gradcam++") for layer in ("layer2", "layer3")}
    assert costs == {("occlusion", ""): 5, ("edges", ""): 0} | of_layers
    # alone, there is no layer to cut the model at
    alone = Explainer((DETECTOR,), methods[:1], ("real", "fake"), Files(folder, {}), 2, threads=1)(table())
    (masks,) = (row["masks"] for row in alone.to_pylist() if row["video_id"] == "b")
    for mask in masks:
        assert mask["saliency"] == places[mask["method"], "", mask["target"]]["saliency"]


def test_of_a_flow_map_the_picture_of_the_same_frame_is_looked_at(folder):
    flow = replace(SPEC, view=View(64, shows="flow"))
    rows = [video("a", 3, 0), video("b", 2, 1)]
    for row in rows:
        motion = [item | {"view": str(flow.view), "pixels": bytes(64 * 64 * 3)} for item in row["inputs"]]
        row["inputs"] = motion[::-1] + row["inputs"]
    both = pa.Table.from_pylist(rows, schema=VIDEO_ROW)
    detectors = (Detector(flow, ()), Detector(replace(SPEC, name="still"), ()))
    found = Explainer(detectors, (Edges(),), ("real",), Files(folder, {}), 2, threads=1)(both)
    for row in found.to_pylist():
        by_model = {(mask["model"], mask["frame"]): cells(mask) for mask in row["masks"]}
        for (model, frame), values in by_model.items():
            assert values.max() > 0
            np.testing.assert_allclose(values, by_model["still", frame], atol=1e-3, err_msg=model)
    still = pa.Table.from_pylist([row | {"inputs": row["inputs"][-1:]} for row in rows], schema=VIDEO_ROW)
    failed = Explainer(detectors[:1], (Edges(),), ("real",), Files(folder, {}), 2, threads=1)(still)
    assert failed["error_code"].to_pylist() == ["no_flow"] * 2  # a picture alone is nothing to explain


def test_any_other_failure_is_a_crash(folder, memory_for):
    memory_for(2, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        explainer(folder, 7)(table())


def test_the_processors_message_is_torchs_own():
    with pytest.raises(RuntimeError, match="can't allocate memory: you tried to allocate"):
        torch.empty(1 << 60, dtype=torch.uint8)


def test_seventy_percent_of_the_free_memory_are_filled():
    assert batch_size(free_bytes=1000, sample_bytes=100) == 7
    assert batch_size(free_bytes=1000, sample_bytes=99) == 7
    assert batch_size(free_bytes=1000, sample_bytes=701) == 1  # one is always tried
    assert batch_size(free_bytes=10**12, sample_bytes=1) == 64
    assert batch_size(free_bytes=1000, sample_bytes=0) == 64
