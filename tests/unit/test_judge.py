"""The stage that judges, on a model whose answers are known: it sees the mean brightness of one quarter."""

import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from operators.inputs.view import View
from operators.judge import Explanations, Judge
from operators.judging.params import JudgeParams
from operators.judging.totals import Totals, totals
from operators.measures.grid import CELLS, SIDE
from operators.models.spec import spec_for
from operators.models.weights import Detector
from operators.stage import Stage, run_table
from schemas.conform import conform
from schemas.tables import JUDGED_ROW, NESTED, VIDEO_ROW

SIZE = 32
SPEC = replace(spec_for("resnet10t"), name="toy", view=View(SIZE), mean=(0.0,) * 3, std=(1.0,) * 3)
DETECTOR = Detector(SPEC, ("l",))
PARAMS = JudgeParams(steps=8, fills=("zero",), sensitivity_sets=8, pgd_steps=2, variants=())


class Corner(nn.Module):
    """logit of fake = 8 times the mean of the upper left quarter - 2."""

    def forward(self, images: Tensor) -> Tensor:
        seen = 8 * images[:, :, : SIDE // 2 * 2, : SIDE // 2 * 2].mean((1, 2, 3)) - 2
        return torch.stack([torch.zeros_like(seen), seen], 1)


@pytest.fixture(autouse=True)
def _model(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setattr(Detector, "load", lambda self: Corner())
    yield
    torch.set_num_threads(before)


def mask(method: str, cells: np.ndarray, frame: int = 0, **told) -> dict:
    side = round(len(cells.ravel()) ** 0.5)
    row = {"first_frame": frame, "frame": frame, "span_frames": 1, "model": "toy", "method": method, "layer": "l"}
    row |= {"target": "fake", "box_x": 0, "box_y": 0, "box_width": 9, "box_height": 9, "input_size": SIZE}
    row |= {"height": side, "width": side, "saliency": cells.ravel().astype(np.float16), "scale": 1.0}
    row |= {"unit": "u", "empty": False, "seconds": 0.0}
    return dict.fromkeys(("error_code", "total_bits", "floor_bits", "loss_first", "loss_last")) | row | told


def perfect() -> np.ndarray:
    found = np.zeros((SIDE, SIDE))
    found[: SIDE // 2, : SIDE // 2] = 1
    return found


def video(name: str, masks: list[dict], *, pixels: int = 255, truth: bool = True) -> dict:
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    where = {"view": str(SPEC.view), "span_frames": 1, "box_x": 0, "box_y": 0, "box_width": 9, "box_height": 9}
    shown = np.full((SIZE, SIZE, 3), pixels, np.uint8).tobytes()
    known = (255 * perfect()).astype(np.uint8)
    truths = [{"frame": 0, "height": SIDE, "width": SIDE, "mask": known.ravel(), "area": 0.25}] if truth else []
    row |= {"video_id": name, "uri": name, "dataset": "d", "label": "fake", "status": "ok", "truth": truths}
    return row | {"masks": masks, "inputs": [where | {"frame": 0, "pixels": shown}]}


def judged(
    *videos: dict,
    params: JudgeParams = PARAMS,
    batch: int = 3,
    nes: frozenset = frozenset(),
    again: Explanations | None = None,
) -> list[dict]:
    whole: dict = {}
    for each in videos:
        whole = totals(each["masks"], whole)
    table = pa.Table.from_pylist(list(videos), schema=VIDEO_ROW)
    chosen = frozenset((each["video_id"], 0) for each in videos)
    found = Judge((DETECTOR,), params, whole, chosen, nes, None, again or Explanations(), batch, threads=1)(table)
    return conform(found, JUDGED_ROW).to_pylist()


def scores(row: dict) -> dict:
    return {
        (each["method"], each["variant"], each["metric"], each["fill"]): each["value"] for each in row["faithfulness"]
    }


RANDOM = np.random.default_rng(0).random((SIDE, SIDE))


def test_without_a_video_all_is_as_if_it_had_never_been():
    rng = np.random.default_rng(0)
    one, other = rng.random((2, CELLS)), rng.random((3, CELLS))
    left = Totals().plus(list(one)).plus(list(other)).minus(Totals().plus(list(one)))
    alone = Totals().plus(list(other))
    assert (left.n_videos, left.n_standard) == (alone.n_videos, alone.n_standard) == (1, 3)
    assert left.relative == pytest.approx(alone.relative)
    assert left.standard == pytest.approx(alone.standard)


def test_a_perfect_map_its_inverse_and_chance():
    of = {"best": perfect(), "worst": -perfect(), "flat": np.ones((SIDE, SIDE)), "any": RANDOM}
    (row,) = judged(video("v", [mask(name, cells) for name, cells in of.items()]))
    found = scores(row)
    srg = {name: found[name, "", "srg", "zero"] for name in of}
    # a quarter of the cells is all that counts: with it gone p is 1 / (1 + e^2), with three quarters gone all is there
    before, after = 1 / (1 + np.exp(-6)), 1 / (1 + np.exp(2))
    curves = {(each["method"], each["removal"]): each["probability"] for each in row["faithfulness_curves"]}
    assert curves["best", "morf"][2:] == pytest.approx([after] * 7)
    assert curves["best", "lerf"][:7] == pytest.approx([before] * 7)
    assert curves["best", "lerf"][7] < before
    assert srg["best"] > max(srg.values()) - 1e-9
    # each is the other read backwards, but for the ties inside and outside the quarter
    assert srg["worst"] == pytest.approx(-srg["best"], abs=0.05)
    assert abs(srg["flat"]) < 0.3 * srg["best"]
    assert abs(srg["any"]) < 0.3 * srg["best"]
    figures = {each["method"]: each for each in row["judged_maps"]}
    assert [figures[name]["auroc"] for name in ("best", "worst", "flat")] == [1, 0.5, 0.5]
    assert figures["best"]["gini"] == pytest.approx(0.75)
    assert (figures["worst"]["gini"], figures["worst"]["half"]) == (None, None)
    assert figures["best"]["half"] == pytest.approx(1 / 8, abs=1 / CELLS)
    assert row["n_frames"] == 1


def test_attacks_work_where_the_model_looks_and_nowhere_else():
    (row,) = judged(
        video("v", [mask("best", perfect()), mask("worst", -perfect())], pixels=80), nes=frozenset({("v", 0)})
    )
    found = scores(row)
    for kind in ("pgd", "nes"):
        one, two, three = (found["best", "", metric, kind] for metric in ("adv_drop_1", "adv_drop_2", "adv_drop"))
        assert three > two > one > 0
        assert found["worst", "", "adv_drop", kind] == pytest.approx(0, abs=1e-6)
        assert found["best", "", "adv_drop", kind] > found["best", "", "adv_chance", kind] >= 0
        assert found["best", "", "adv_flip", kind] == 0
    # the gradient has one sign everywhere: an estimate of it finds the same
    assert found["best", "", "adv_drop", "nes"] >= found["best", "", "adv_drop", "pgd"] * 0.5


@pytest.mark.parametrize("change", [{"label": "real"}, {"label": None}, {"inputs": "dark"}])
def test_only_what_is_rightly_judged_forged_is_attacked(change):
    row = video("v", [mask("best", perfect())], pixels=20 if change.get("inputs") else 255)
    (found,) = judged(row | {key: value for key, value in change.items() if key != "inputs"})
    assert found["faithfulness"]
    assert not any(each["metric"].startswith("adv") for each in found["faithfulness"])


def test_nothing_depends_on_the_batch_or_on_the_other_maps():
    maps = [mask("best", perfect()), mask("any", RANDOM)]
    params = replace(PARAMS, variants=("mean_map", "blur8"), fills=("blur", "mean"))
    other = video("w", [mask("best", RANDOM), mask("any", perfect())])
    (one, _), (two, _) = (judged(video("v", maps), other, params=params, batch=size) for size in (1, 5))
    assert scores(one) == pytest.approx(scores(two), abs=1e-6, nan_ok=False)
    (alone, _) = judged(video("v", maps[1:]), other, params=params)
    shared = {key: value for key, value in scores(one).items() if key[0] == "any"}
    assert scores(alone) == pytest.approx(shared, abs=1e-6)


def test_variants():
    maps = {"v": perfect(), "w": RANDOM, "x": 3 * RANDOM.T}
    rows = judged(
        *(video(name, [mask("m", each)]) for name, each in maps.items()),
        params=replace(PARAMS, variants=("mean_map", "blur16")),
    )
    first = {each["variant"]: each for each in rows[0]["judged_maps"]}
    assert set(first) == {"", "mean_map", "blur16"}
    # the mean of the others over their maxima, which says nothing of this video
    half = [maps["w"].astype(np.float16), maps["x"].astype(np.float16)]
    expected = [np.corrcoef(perfect().ravel(), each.ravel())[0, 1] for each in half]
    assert first[""]["same_map"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert first["mean_map"]["auroc"] != first[""]["auroc"] == 1
    means = [
        row["auroc"]
        for row in judged(video("v", [mask("m", sum(each / each.max() for each in half))]))[0]["judged_maps"]
    ]
    assert first["mean_map"]["auroc"] == pytest.approx(means[0], abs=2e-3)  # its own, at the input
    assert first["blur16"]["gini"] < first[""]["gini"]
    assert first["blur16"]["same_map"] is None
    (alone,) = judged(video("v", [mask("m", perfect())]), params=replace(PARAMS, variants=("mean_map",)))
    assert [(each["variant"], each["same_map"]) for each in alone["judged_maps"]] == [("", None)]


def test_blur_gains_by_road_what_it_loses_of_the_truth(monkeypatch):
    """The model sees every other cell of a bright quarter. Alone they are filled in again from their neighbours; what a
    blurred map takes away with them is not. Removal that leaves holes says that the exact map is the better one."""
    exact = perfect() * (np.indices((SIDE, SIDE)).sum(0) % 2)
    seen = torch.tensor(exact).repeat_interleave(2, 0).repeat_interleave(2, 1).float()

    def forward(self, images):
        logit = 8 * (images * seen).sum((1, 2, 3)) / (3 * seen.sum()) - 4
        return torch.stack([torch.zeros_like(logit), logit], 1)

    monkeypatch.setattr(Corner, "forward", forward)
    row = video("v", [mask("exact", exact)])
    bright = np.kron(perfect(), np.full((2, 2), 255)).astype(np.uint8)
    row["inputs"][0]["pixels"] = np.repeat(bright[:, :, None], 3, 2).tobytes()
    params = replace(PARAMS, steps=CELLS, variants=("blur8",), pgd_steps=0)
    found = scores(judged(row, params=params)[0])
    assert found["exact", "blur8", "road", "road"] > found["exact", "", "road", "road"] + 0.1
    assert found["exact", "blur8", "srg", "zero"] < found["exact", "", "srg", "zero"] - 0.02


class Late(nn.Module):
    """The same of the second half of a clip's pictures."""

    def forward(self, clips: Tensor) -> Tensor:
        return Corner()(clips[:, :, clips.shape[2] // 2 :].mean(2))


def test_a_clip_is_judged_over_all_of_its_time(monkeypatch):
    frames = 4
    view = View(SIZE, "frame", "clip", frames=frames)
    detector = Detector(replace(SPEC, view=view), ("l",))
    monkeypatch.setattr(Detector, "load", lambda self: Late())
    zero, corner = np.zeros((SIDE, SIDE)), perfect()
    # cells of time in any order: two, or one that says nothing of when
    of = {"best": {2: corner, 0: zero}, "early": {0: corner, 2: zero}, "always": {0: corner}}
    masks = [mask(name, cells, frame=0) | {"frame": at} for name, own in of.items() for at, cells in own.items()]
    row = video("v", masks, truth=False)
    row["inputs"][0] |= {"view": str(view), "pixels": np.full((frames, SIZE, SIZE, 3), 255, np.uint8).tobytes()}
    table = pa.Table.from_pylist([row], schema=VIDEO_ROW)
    asked = frozenset({("v", 0)}), frozenset()
    judge = Judge((detector,), PARAMS, totals(masks, {}), *asked, None, Explanations(), 3, threads=1)
    (found,) = conform(judge(table), JUDGED_ROW).to_pylist()
    assert found["status"] == "ok", found["error_detail"]
    assert len(found["judged_maps"]) == len(masks)
    curves = {(each["method"], each["removal"]): each["probability"] for each in found["faithfulness_curves"]}
    # an eighth of the cells is all that counts, and so much goes with each of 8 steps
    before, after = 1 / (1 + np.exp(-6)), 1 / (1 + np.exp(2))
    assert curves["best", "morf"] == pytest.approx([before] + [after] * 8)
    assert curves["best", "lerf"] == pytest.approx([before] * 8 + [after])
    # who says nothing of time loses half of it in the first step, as ties fall
    assert after < curves["always", "morf"][1] < before
    assert curves["always", "morf"][2:] == pytest.approx([after] * 7)
    srg = {name: scores(found)[name, "", "srg", "zero"] for name in of}
    assert srg["best"] == pytest.approx((before - after) * 7 / 8)
    assert srg["best"] > srg["always"] > srg["early"]
    assert abs(srg["early"]) < 0.2  # what counts is the last half of its zeros, or their first, as ties fall
    metrics = {each["metric"] for each in found["faithfulness"]}
    assert metrics == {"deletion", "insertion", "srg", "srg_norm", "sensitivity_n"}
    assert found["passes"] <= PARAMS.passes(3, nes=False, still=False)


def test_empty_and_failed_maps():
    empty, failed = mask("empty", RANDOM, empty=True), mask("bad", RANDOM, saliency=None, error_code="explain_failed")
    (row,) = judged(video("v", [empty, failed]))
    assert {each["method"] for each in row["judged_maps"]} == {"empty"}
    assert row["judged_maps"][0]["auroc"] == 0.5
    assert scores(row)["empty", "", "sensitivity_n", "zero"] is None
    assert abs(scores(row)["empty", "", "srg", "zero"]) < 0.2


def test_frames_that_were_not_chosen_are_judged_without_a_model():
    row = video("v", [mask("best", perfect()), mask("best", RANDOM, frame=4)], truth=False)
    (found,) = judged(row)
    assert [(each["frame"], each["auroc"]) for each in found["judged_maps"]] == [(0, None), (4, None)]
    assert {each["frame"] for each in found["faithfulness"]} == {0}


def test_passes_and_seconds_are_not_more_than_announced(monkeypatch):
    seen = []
    monkeypatch.setattr(
        Corner, "forward", lambda self, x, before=Corner.forward: (seen.append(len(x)), before(self, x))[1]
    )
    params = replace(PARAMS, variants=("blur8",), fills=("blur", "mean"))
    before = time.perf_counter()
    (row,) = judged(video("v", [mask("best", perfect()), mask("any", RANDOM)]), params=params)
    assert 0 < row["judge_s"] < time.perf_counter() - before
    # an attack asks once more, what it has come to
    attacks = 3 * 4 + 5
    assert row["passes"] <= params.passes(4, nes=False)
    assert row["passes"] <= sum(seen) <= row["passes"] + attacks


def test_passes_by_hand():
    """One plain, full and empty ends for each fill, 8 sizes of 6 sets; of 3 maps two orders of 3 steps between the ends
    and ROAD's five shares in both; top 1, 2, 3 of each map and 5 by chance are attacked by 2 steps."""
    params = JudgeParams(steps=4, fills=("blur", "mean"), sensitivity_sets=6, pgd_steps=2, nes_steps=7)
    removal = 1 + 2 * 2 + 8 * 6 + 3 * (2 * 2 * 3)
    road, attacks = 3 * 2 * 5, 3 * 3 + 5
    assert params.passes(3, nes=False) == removal + road + attacks * 2
    assert params.passes(3, nes=True) == removal + road + attacks * (2 + 40 * 7)
    assert replace(params, road=False).passes(3, nes=False) == removal + attacks * 2
    assert params.passes(3, nes=True, still=False) == removal  # of a clip


def test_no_memory_is_an_error_row(monkeypatch):
    def fails(self, images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Corner, "forward", fails)
    (row,) = judged(video("v", [mask("best", perfect())]))
    assert (row["status"], row["error_stage"], row["error_code"]) == ("error", "judge", "out_of_memory")
    assert row["judged_maps"] == row["faithfulness"] == []


def test_a_video_that_could_not_be_cut_again_passes_as_a_row():
    failed = video("v", [mask("best", perfect())]) | {"status": "error", "error_stage": "recut"}
    failed |= {"error_code": "changed", "error_detail": "another file", "inputs": []}
    table = pa.Table.from_pylist([failed], schema=VIDEO_ROW)
    (row,) = run_table(Stage("judge", Judge, JUDGED_ROW, 1), Judge, table, {}).to_pylist()
    assert (row["status"], row["error_code"], row["judged_maps"]) == ("error", "changed", [])
