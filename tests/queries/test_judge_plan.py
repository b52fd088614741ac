"""What a pass of judging takes from a lake: which frames it asks models about, and the maps of every video."""

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from operators.inputs.landmarks import VIEW as LANDMARK_VIEW
from operators.inputs.view import View
from operators.judging.params import JudgeParams
from operators.judging.totals import totals
from operators.models.spec import VGG11_FLOW
from operators.models.weights import Detector
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.judge import _begin, _plan, _views, _write_maps
from pipelines.lake.layout import Layout
from pipelines.lake.read import queries
from schemas.tables import JUDGE, VIDEO_ROW

PARAMS = JudgeParams(max_frames=3, nes_frames=1, variants=("mean_map",), steps=4, pgd_steps=2, sanity_frames=0)
#: (video, frame) -> its maps, as (method, saliency); the last one failed
MAPS = {
    ("a", 0): [("iba", [1.0, 0.0]), ("centre", [0.5, 1.0])],
    ("a", 7): [("iba", [0.25, 1.0])],
    ("b", 0): [("iba", [1.0, 1.0])],
    ("b", 3): [("iba", [0.0, 1.0]), ("centre", [1.0, 0.0])],
    ("c", 5): [("iba", None)],
}


def tables():
    masks = []
    for (video, frame), maps in MAPS.items():
        for method, saliency in maps:
            row = {"video_id": video, "frame": frame, "method": method, "saliency": saliency}
            lost = {"error_code": "explain_failed", "scale": None, "empty": None}
            masks.append(row | (lost if saliency is None else {}))
    frames = [{"video_id": video, "frame": frame, "keyframe_score": float(frame)} for video, frame in MAPS]
    videos = [{"video_id": video, "uri": f"{video}.mp4", "label": "fake"} for video in "abc"]
    return {"videos": videos, "frames": frames, "masks": masks, "truth": [{"video_id": "b", "frame": 3}]}


def in_order(frames):
    return sorted(frames, key=lambda each: hashlib.md5(f"{each[0]} {each[1]}".encode()).hexdigest())


def test_frames_are_chosen_by_a_hash_and_passes_counted_of_those_alone(views):
    explained = in_order([each for each, maps in MAPS.items() if maps[0][1] is not None])
    with views(**tables()) as lake:
        of_all = replace(PARAMS, max_frames=99, nes_frames=0)
        plan, all_of_them = (_plan(lake, each, set()) for each in (PARAMS, of_all))
    assert plan.chosen == explained[:3]
    assert all_of_them.chosen == explained
    for found in (plan, all_of_them):
        assert (found.videos, found.n_explained, found.n_maps) == (["a", "b"], 4, 6)
    # each map is also judged as the mean of the others, and one frame of all is attacked by an estimated gradient
    n_maps = {frame: 2 * len(MAPS[frame]) for frame in explained}
    passes = [PARAMS.passes(n_maps[frame], nes=place == 0) for place, frame in enumerate(explained[:3])]
    assert plan.passes == {"m": sum(passes)}
    assert all_of_them.passes == {"m": sum(PARAMS.passes(each, nes=False) for each in n_maps.values())}


def test_what_explaining_again_costs_is_what_the_maps_of_its_frames_took(views):
    """Grad-CAM knows it, of two layers; what a method of an older version took is not known and nothing. A clip's cells
    of time are one map, with what all of them took."""
    frame = {"video_id": "v", "frame": 0, "saliency": [1.0, 0.0]}
    masks = [frame | {"layer": layer, "evaluations": n} for layer, n in (("a", 3), ("b", 5), ("c", None))]
    masks.append(frame | {"frame": 4, "first_frame": 4, "evaluations": None})
    cells = [frame | {"video_id": "w", "frame": cell, "first_frame": 0, "evaluations": 3} for cell in (0, 2, 4)]
    with views(videos=[{"video_id": "v"}, {"video_id": "w"}], masks=masks + cells) as lake:
        found = lake.sql(queries("judge")["samples"]).fetchall()
    assert sorted(found) == [("v", 0, "m", "fake", 3, 8), ("v", 4, "m", "fake", 1, 0), ("w", 0, "m", "fake", 1, 9)]


def test_every_video_is_judged_with_its_own_maps_and_their_sum(views, tmp_path, monkeypatch):
    """Also where not all videos are read at once."""
    monkeypatch.setattr("pipelines.judge._VIDEOS_AT_ONCE", 1)
    with views(**tables()) as lake:
        whole = _write_maps(lake, _plan(lake, PARAMS, set()), tmp_path / "maps.parquet")
        own = {row["video_id"]: row for row in pq.read_table(tmp_path / "maps.parquet").to_pylist()}
    assert pq.read_schema(tmp_path / "maps.parquet").equals(VIDEO_ROW)
    assert list(own) == ["a", "b"]
    for video, row in own.items():
        expected = {
            (frame, method): saliency
            for (name, frame), maps in MAPS.items()
            for method, saliency in maps
            if name == video
        }
        assert {(each["frame"], each["method"]): each["saliency"] for each in row["masks"]} == expected
        assert [each["frame"] for each in row["frames"]] == sorted({frame for frame, _ in expected})
        assert [each["frame"] for each in row["truth"]] == ([3] if video == "b" else [])
        assert (row["uri"], row["label"], row["inputs"], row["predictions"]) == (f"{video}.mp4", "fake", [], [])
    expected = totals(own["b"]["masks"], totals(own["a"]["masks"], {}))
    assert whole.keys() == expected.keys() == {("m", method, "l", "fake") for method in ("iba", "centre")}
    for key, each in whole.items():
        assert (each.n_videos, each.n_standard) == (2, expected[key].n_standard)
        np.testing.assert_allclose(each.relative, expected[key].relative)
    assert whole["m", "iba", "l", "fake"].n_standard == 3  # one map is constant


def test_a_run_is_judged_one_way_until_that_is_dropped(views, tmp_path):
    layout = Layout(tmp_path / "other")
    with views(**tables()) as lake:
        plan = _plan(lake, PARAMS, set())
    written = layout.table("r1", "judged") / "a.parquet"
    commit = layout.checkpoints(JUDGE, "r1") / "a.parquet"

    def begin(params=PARAMS, plan=plan, again=False):
        _begin(layout, "r1", params, plan, None, {}, again)

    begin()
    for path in (written, commit):
        path.parent.mkdir(parents=True)
        path.touch()
    begin()  # the same again continues, also one that was to drop another before it was killed
    begin(again=True)
    with pytest.raises(UserError, match=r"run r1 was judged with other steps, road: --again drops that"):
        begin(replace(PARAMS, steps=5, road=False))
    with pytest.raises(UserError, match="before it had all of its videos"):
        begin(plan=replace(plan, videos=["a"]))
    assert written.exists()
    assert commit.exists()
    begin(replace(PARAMS, steps=5), again=True)
    assert not written.exists()
    assert not commit.exists()
    begin(replace(PARAMS, steps=5))
    with pytest.raises(UserError, match="with other steps"):
        begin()


@pytest.mark.parametrize(
    ("told", "pictures"), [({}, True), ({"nes_frames": 0}, True), ({"pgd_steps": 0}, True), (None, False)]
)
def test_pictures_of_a_flow_map_are_cut_where_segments_are_attacked(told, pictures):
    params = replace(PARAMS, **({"pgd_steps": 0, "nes_frames": 0} if told is None else told))
    flow = VGG11_FLOW.view
    found = _views(Config((Detector(VGG11_FLOW, ("features.9",)),)), params)
    assert {flow, LANDMARK_VIEW} <= set(found)
    assert (View(flow.size) in found) == pictures
