"""On a CUDA device: the same maps as on the processor, in batches that its memory decides."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from operators.explain import Explainer
from operators.inputs.view import View
from operators.methods import choice
from operators.methods.bottleneck import DEFAULT_PRESET, PRESETS, Bottleneck, explain
from operators.methods.iba import Iba
from operators.methods.ready import Files
from operators.methods.statistics import of_batch, path_in, save
from operators.models.cut import split
from operators.models.spec import XCEPTION
from operators.models.weights import Detector, load_model
from schemas.tables import NESTED, VIDEO_ROW

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


def test_maps_on_the_gpu_are_those_of_the_processor():
    model = load_model(XCEPTION)
    images = torch.randn(2, 3, 149, 149, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        known = of_batch(split(model, "block4", images[:1]).below(images)[0])
    mean, std, targets = known.mean.float(), known.std(), torch.tensor([0, 1])
    expected = explain(model, "block4", images, targets, mean, std, draws=2)
    found = explain(model.cuda(), "block4", images.cuda(), targets.cuda(), mean.cuda(), std.cuda(), draws=2)
    assert found.bits.is_cuda
    a, b = expected.capacity.flatten(), found.capacity.cpu().flatten()
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.999
    torch.testing.assert_close(b.sum(), a.sum(), rtol=1e-2, atol=0)


def explained(tmp_path, batch_samples, how=Bottleneck(draws=2)):  # noqa: B008, it is frozen
    """An explainer that has explained one video of 12 frames, and what came out."""
    detector = Detector(replace(XCEPTION, view=View(149)), ("block4",))
    path = path_in(tmp_path, "xception", "block4")
    if not path.is_file():
        images = torch.randn(4, 3, 149, 149, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            save(of_batch(split(detector.load(), "block4", images[:1]).below(images)[0]), path, {})
    choice.save(choice.Choice(how.draws), choice.path_in(tmp_path, "xception", "block4"))  # what `auto` found
    methods = (Iba(how),)
    explainer = Explainer((detector,), methods, ("predicted",), Files(tmp_path, {}), batch_samples, threads=0)
    return explainer, explainer(video()).to_pylist()[0]


def video() -> pa.Table:
    """A row of 12 frames."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 149 * 149 * 3), np.uint8)
    common = {"view": str(View(149)), "span_frames": 1}
    common |= {"box_x": 0, "box_y": 0, "box_width": 149, "box_height": 149}
    inputs = [common | {"frame": t, "pixels": each.tobytes()} for t, each in enumerate(pixels)]
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    row |= {"video_id": "a", "uri": "a", "dataset": "d", "status": "ok", "inputs": inputs}
    return pa.Table.from_pylist([row], schema=VIDEO_ROW)


def batch(explainer: Explainer) -> int:
    """How many samples go through the model together by now."""
    _, batches = explainer._loaded["xception"]
    return batches.size


def assert_same_maps(found, expected):
    assert found["status"] == expected["status"] == "ok"
    maps = [
        {mask["frame"]: np.float32(mask["saliency"]) * mask["scale"] for mask in row["masks"]}
        for row in (found, expected)
    ]
    assert len(found["masks"]) == len(maps[0]) == len(maps[1]) == 12
    for frame, one in maps[0].items():
        assert np.corrcoef(one, maps[1][frame])[0, 1] > 0.999


def test_the_batch_follows_the_free_memory(tmp_path):
    explainer, found = explained(tmp_path, 0)
    assert 2 < batch(explainer) <= 64
    assert_same_maps(found, explained(tmp_path, 1)[1])


def test_what_runs_unless_told_gives_the_same_maps_in_every_batch(tmp_path):
    """In bfloat16, where the device multiplies it."""
    default = PRESETS[DEFAULT_PRESET]
    assert_same_maps(explained(tmp_path, 0, default)[1], explained(tmp_path, 1, default)[1])


def test_two_calls_at_a_time_give_the_maps_of_one(tmp_path):
    explainer, expected = explained(tmp_path, 4)
    table = video()
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(explainer, [table] * 4):
            assert_same_maps(found.to_pylist()[0], expected)


def test_a_batch_too_large_for_the_memory_is_made_smaller(tmp_path):
    torch.cuda.reset_peak_memory_stats()
    explainer, expected = explained(tmp_path, 12)
    assert batch(explainer) == 12
    enough = torch.cuda.max_memory_allocated()
    del explainer
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.6 * enough / torch.cuda.get_device_properties(0).total_memory)
    try:
        explainer, found = explained(tmp_path, 12)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert batch(explainer) < 12
    assert_same_maps(found, expected)
