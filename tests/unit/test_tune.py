"""Cut-offs of F-EP are tried on a model whose answers are known, and ranked by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from operators.inputs.view import View
from operators.measures.faithfulness import counts, order, removal_scores, removed
from operators.measures.grid import CELLS, cell_of_pixel, common, in_time
from operators.methods.fep import Fep
from operators.methods.method import Outputs, Place
from operators.models.running import example, to_input
from operators.models.spec import spec_for
from operators.models.weights import Detector
from operators.tune import Cutoffs
from pipelines.tune_fep import ranked
from schemas.tables import NESTED, VIDEO_ROW

FRAMES, SIZE, SIDE = 4, 32, 8
VIEW = View(SIZE, "frame", "clip", frames=FRAMES)
SPEC = replace(spec_for("small3d", "frame"), view=VIEW, mean=(0.0,) * 3, std=(1.0,) * 3)
CHEQUERED = torch.tensor(np.indices((SIZE, SIZE)).sum(0) % 2 * 2 - 1)
FEW = {"areas": (0.1,), "steps": 40, "settled": 0.0, "step_px": 14, "sigma_px": 9.0, "perturbation": "fade"}


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def planted() -> Tensor:
    """(T, S, S): a patch that jumps from corner to corner, in every second picture."""
    where = torch.zeros(FRAMES, SIZE, SIZE)
    where[0, :SIDE, :SIDE] = 1
    where[2, -SIDE:, -SIDE:] = 1
    return where


class Patch(nn.Module):
    """fake is how much of a chequerboard there is where the patch is: what a blur takes away."""

    def forward(self, x: Tensor) -> Tensor:
        where = planted()
        seen = (x[:, 0] * where * CHEQUERED).sum((1, 2, 3)) / where.sum() * 20 - 3
        return torch.stack([torch.zeros_like(seen), seen], 1)


def test_each_pair_is_scored_by_removing_what_it_finds(monkeypatch):
    monkeypatch.setattr(Detector, "load", lambda self: Patch())
    rng = np.random.default_rng(0)
    pixels = (
        (planted() * (CHEQUERED > 0))[..., None].numpy() * 200 + rng.uniform(0, 50, (FRAMES, SIZE, SIZE, 3))
    ).astype(np.uint8)
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    item = {"frame": 7, "span_frames": FRAMES, "view": str(VIEW), "box_x": 0, "box_y": 0, "box_width": 9}
    item |= {"box_height": 9, "boxes": None, "pixels": pixels.tobytes()}
    row |= {"video_id": "v", "uri": "v", "dataset": "d", "label": "fake", "status": "ok", "inputs": [item]}
    pairs = ((1.0, 1.0), (0.25, 1.0), (1.0, 0.25))
    stage = Cutoffs(Detector(SPEC, ("layer2",)), Fep(**FEW), pairs, batch_samples=8, threads=1)
    found = stage(pa.Table.from_pylist([row], schema=VIDEO_ROW)).to_pylist()
    assert [(each["video_id"], each["frame"], each["keep_time"], each["keep_space"]) for each in found] == [
        ("v", 7, *pair) for pair in pairs
    ]
    # what each pair finds is removed here by hand, in another permutation of ties and before another blur
    inputs, place = to_input(pixels[None], SPEC), Place(SPEC, Patch(), "", example(SPEC))
    blurred = torch.nn.functional.avg_pool3d(inputs, (1, 3, 3), 1, (0, 1, 1))
    points, pixel = counts(20, 4 * CELLS), cell_of_pixel(SIZE, FRAMES)
    by_hand = {}
    for time, space in pairs:
        ready = Fep(**FEW, keep_time=time, keep_space=space).ready(place)
        maps = ready.run(inputs, torch.tensor([1]), Outputs()).saliency[0]
        first = order(in_time([common(each.numpy()) for each in maps], FRAMES), rng.permutation(FRAMES * CELLS))
        curves = []
        for which in (first, first[::-1]):
            gone = torch.tensor(removed(which, points)[:, pixel]).view(-1, 1, FRAMES, SIZE, SIZE)
            curves.append(Patch()(torch.where(gone, blurred, inputs)).softmax(1)[:, 1].numpy())
        by_hand[time, space] = removal_scores(points / (FRAMES * CELLS), *curves)["srg"]
    scores = {(each["keep_time"], each["keep_space"]): each["srg"] for each in found}
    assert scores == pytest.approx(by_hand, abs=0.03)
    assert scores[1.0, 1.0] > scores[0.25, 1.0] + 0.05
    assert abs(scores[1.0, 0.25] - scores[0.25, 1.0]) > 0.06


def test_videos_count_alike_and_of_equals_what_keeps_less_comes_first():
    def row(video, time, space, srg, frame=0):
        return {"video_id": video, "frame": frame, "keep_time": time, "keep_space": space, "srg": srg}

    rows = [row("a", 1.0, 1.0, 0.0), row("a", 1.0, 1.0, 0.2, frame=9), row("b", 1.0, 1.0, 0.5)]
    rows += [row(video, *pair, 0.4) for pair in ((1.0, 0.5), (0.5, 0.25)) for video in "ab"]
    found = ranked(rows).to_pylist()
    assert [(each["keep_time"], each["keep_space"]) for each in found] == [(0.5, 0.25), (1.0, 0.5), (1.0, 1.0)]
    assert found[-1]["srg"] == pytest.approx(0.3)
    assert found[-1]["n_videos"] == 2
    assert found[-1]["srg_low"] <= 0.3 <= found[-1]["srg_high"]
