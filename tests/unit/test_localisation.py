"""Localisation against answers worked out by hand, and the truth from mask file to grid."""

import av
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.forging.portrait import make_clips
from operators.inputs.clips import boxes_of
from operators.inputs.faces import Box
from operators.inputs.truth import GRID, truth_row
from operators.inputs.view import View
from operators.measure import measure
from operators.measures.localisation import (
    Localisation,
    auroc,
    effective_heat_ratio,
    heat_inside,
    localise,
    near,
    points,
    rank_accuracy,
    region,
)
from operators.measures.maps import heat
from operators.prepare import PrepareParams, prepare, prepare_video
from operators.video.encode import write_masks
from operators.video.sandbox import Limits
from schemas.errors import SampleError
from schemas.tables import LOCALISATION_FRAMES, MANIFEST, STATUS_OK, TRUTH, VIDEO_ROW, item


def drawn(*rows):
    return np.array([[float(value) for value in row] for row in rows], np.float32)


LEFT = drawn("1100", "1100", "1100", "1100") > 0  # 8 of 16 pixels


def test_heat_inside_is_a_share_of_the_heat():
    # inside 5 + 1, outside 2
    assert heat_inside(drawn("5000", "0020", "0000", "1000"), LEFT) == pytest.approx(6 / 8)


def test_rank_accuracy_takes_as_many_pixels_as_the_region_has():
    # the 8 hottest: five 9s and one 8 inside, two 8s outside
    assert rank_accuracy(drawn("9980", "9980", "9800", "1111"), LEFT) == pytest.approx(6 / 8)
    assert rank_accuracy(drawn("9911", "9911", "9911", "9911"), LEFT) == 1
    assert rank_accuracy(drawn("1199", "1199", "1199", "1199"), LEFT) == 0


def test_rank_accuracy_of_ties_is_what_chance_would_bring():
    # two 9s inside; six places for the fourteen 1s, six of which are inside
    assert rank_accuracy(drawn("9911", "1111", "1111", "1111"), LEFT) == pytest.approx((2 + 6 * 6 / 14) / 8)
    assert rank_accuracy(np.full((4, 4), 0.3, np.float32), LEFT) == 0.5


def test_pointing_forgives_15_pixels_and_no_more():
    forged = np.zeros((40, 40), bool)
    forged[:, :10] = True
    for column, hit in ((0, True), (9, True), (24, True), (25, False), (39, False)):
        heat = np.zeros((40, 40), np.float32)
        heat[7, column] = 1
        assert points(heat, forged) is hit
    corner = np.zeros((40, 40), bool)
    corner[0, 0] = True
    heat = np.zeros((40, 40), np.float32)
    heat[9, 12] = 1  # 15 px away, 9-12-15
    assert points(heat, corner)
    assert not points(np.roll(heat, 1, axis=0), corner)


def test_effective_heat_ratio_of_two_levels():
    # 4 pixels of heat 1 and 4 of 1/2 in the left half, 8 of 1/2 in the right: 16 pixels from a tenth of the maximum on.
    # Quantiles 0 to 0.7 are 1/2: all 16 pixels, (4 + 2) / 16. 0.8 to 1 are 1, taken as 0.99: 4 pixels, all inside.
    low, high = (4 + 4 / 2) / 16, 1
    heat = drawn("2111", "2111", "2111", "2111")
    assert effective_heat_ratio(heat, LEFT) == pytest.approx(0.7 * low + 0.1 * (low + high) / 2 + 0.2 * high)
    assert effective_heat_ratio(heat / 1000, LEFT) == pytest.approx(effective_heat_ratio(heat, LEFT))
    # below a tenth of the maximum nothing counts
    assert effective_heat_ratio(drawn("9900", "9900", "9900", "9900") + 0.5, LEFT) == pytest.approx(1)
    assert effective_heat_ratio(drawn("0099", "0099", "0099", "0099"), LEFT) == 0
    # all heat inside, but it fades: quantiles 0 to 0.4 take 9s and 3s, of mean 2/3, 0.5 lies halfway, where 9s are left
    faded = effective_heat_ratio(drawn("9300", "9300", "9300", "9300"), LEFT)
    assert faded == pytest.approx(0.4 * 2 / 3 + 0.1 * (2 / 3 + 1) / 2 + 0.5)


def test_auroc_counts_pairs():
    # inside 9 9 1, outside 5 1: of six pairs four are right, one ties
    values, inside = drawn("99", "15", "10"), drawn("11", "10", "00") > 0
    values[2, 1] = 1
    pairs = [(9, 5), (9, 1), (9, 1)] * 2 + [(1, 5), (1, 1), (1, 1)]
    expected = sum((a > b) + 0.5 * (a == b) for a, b in pairs) / len(pairs)
    assert auroc(values, inside) == pytest.approx(expected)
    assert auroc(inside.astype(np.float32), inside) == 1
    assert auroc(1 - inside.astype(np.float32), inside) == 0
    assert auroc(np.ones((3, 2), np.float32), inside) == 0.5
    assert auroc(values, np.ones((3, 2), bool)) is None


def test_the_chance_of_pointing_is_of_the_region_and_its_surroundings():
    forged = np.zeros((64, 64), bool)
    forged[10:20, 30] = True
    hits = []
    for index in range(forged.size):
        heat = np.zeros(forged.size, np.float32)
        heat[index] = 1
        hits.append(points(heat.reshape(64, 64), forged))
    assert near(forged).ravel().tolist() == hits
    found = localise(np.ones((64, 64), np.float32), forged)
    assert found.pointing_chance == np.mean(hits) > found.chance


def test_a_map_without_heat_has_chance_alone():
    assert localise(np.zeros((4, 4), np.float32), LEFT) == Localisation(None, None, 0.5, None, 1, None, None)


@pytest.mark.parametrize("forged", [np.zeros((4, 4), bool), np.ones((3, 4), bool)])
def test_there_is_a_region_of_the_maps_shape(forged):
    with pytest.raises(ValueError, match="region"):
        localise(np.ones((4, 4), np.float32), forged)


@given(seed=st.integers(0, 2**32 - 1), side=st.integers(2, 40), share=st.floats(0.01, 1))
def test_bounds_and_chance(seed, side, share):
    rng = np.random.default_rng(seed)
    forged = rng.random((side, side)) < share
    forged[0, 0] = True
    found = localise(rng.random((side, side), np.float32), forged)
    assert 0 <= found.heat_inside <= 1
    assert 0 <= found.rra <= 1
    flat = localise(np.full((side, side), 0.25, np.float32), forged)
    assert flat.heat_inside == pytest.approx(flat.chance)
    assert flat.rra == pytest.approx(flat.chance)
    best = localise(forged.astype(np.float32), forged)
    assert (best.heat_inside, best.rra, best.pointing) == (1, 1, True)
    assert 0 <= found.ehr <= 1
    assert flat.ehr == pytest.approx(flat.chance)
    assert best.ehr == pytest.approx(1)


def test_a_map_that_knows_nothing_scores_chance_on_average():
    rng = np.random.default_rng(0)
    forged = np.zeros((32, 32), bool)
    forged[4:12, 10:20] = True
    found = [localise(rng.random((32, 32), np.float32), forged) for _ in range(400)]
    chance = 80 / 1024
    assert np.mean([each.rra for each in found]) == pytest.approx(chance, abs=0.005)
    assert np.mean([each.heat_inside for each in found]) == pytest.approx(chance, abs=0.005)


def test_the_region_at_the_models_size():
    cells = np.zeros((64, 64), np.uint8)
    cells[:, :16] = 1  # the faintest touch counts
    for size in (64, 128, 256, 299):
        forged = region(cells, size)
        assert forged.shape == (size, size)
        # a quarter, to the pixel: nothing grows or shrinks on the way up
        assert forged.mean() == pytest.approx(1 / 4, abs=0.5 / size)
        assert forged[:, : size // 4].all()
    single = np.zeros((64, 64), np.uint8)
    single[63, 0] = 1
    small = region(single, 16)
    assert (small.sum(), small[15, 0]) == (1, True)
    wide = np.zeros((2, 4), np.uint8)
    wide[0, 0] = 1
    assert region(wide, 2).tolist() == [[True, False], [False, False]]


def test_truth_of_a_box():
    mask = np.zeros((200, 300), np.uint8)
    mask[50:100, 100:164] = 255
    mask[150, 299] = 255  # outside of the box
    row = truth_row(7, mask, Box(100, 50, 128, 128, 1.0))
    assert (row["frame"], row["height"], row["width"]) == (7, GRID, GRID)
    assert row["area"] == 50 * 64 / 128**2
    cells = row["mask"].reshape(GRID, GRID)
    assert (cells[:25, :32] == 255).all()
    assert cells[25:].max() == cells[:, 32:].max() == 0
    faint = np.zeros((128, 128), np.uint8)
    faint[0, 0], faint[2:4, 0:2] = 1, 1
    row = truth_row(0, faint, Box(0, 0, 128, 128, 1.0))
    # a quarter of 1/255 is rounded off the grid, not off the area
    assert (row["mask"].sum(), row["area"]) == (1, 5 / 128**2)


BOX = {"x": 10, "y": 20, "width": 50, "height": 60}


def mask_row(frame, saliency, size=64, model="m", **changes):
    row = {"first_frame": frame, "frame": frame, "model": model, "method": "iba", "layer": "l", "target": "fake"}
    row |= {"height": 2, "width": 2, "saliency": np.float16(saliency), "scale": 0.5, "empty": False, "span_frames": 1}
    row |= {f"box_{side}": value for side, value in BOX.items()} | {"unit": "bits per pixel", "seconds": 0.0}
    return row | {"input_size": size, "error_code": None} | changes


def measured(masks, truth):
    """What `measure` makes of one video's masks and truth."""
    row = {name: None for name in VIDEO_ROW.names} | {"video_id": "a", "uri": "u", "dataset": "d", "status": "ok"}
    row |= {name: [] for name in ("inputs", "predictions", "metrics", "localisation_frames")}
    face = {"time_s": 0.0, "keyframe_score": 0.0, "status": "ok", "has_flow": True}
    face |= {f"face_{side}": value for side, value in BOX.items()}
    row |= {"masks": masks, "truth": truth, "frames": [face | {"frame": frame} for frame in range(9)]}
    table = measure(pa.Table.from_pylist([row], VIDEO_ROW), rules=("max0.5",))
    assert table.schema.equals(VIDEO_ROW)
    (found,) = table.to_pylist()
    return found["metrics"], found["localisation_frames"]


def test_rows_are_of_forged_frames_only():
    cells = np.zeros((64, 64), np.uint8)
    cells[:, :32] = 200
    truth = [
        {"frame": 3, "height": 64, "width": 64, "mask": cells.ravel(), "area": 0.5},
        {"frame": 5, "height": 64, "width": 64, "mask": np.zeros(64**2, np.uint8), "area": 0.0},
    ]
    masks = [mask_row(3, [1.0, 0.0, 1.0, 0.0]), mask_row(4, [1.0] * 4), mask_row(5, [1.0] * 4)]
    masks.append(mask_row(3, [1.0] * 4, 128, "n"))
    masks.append(mask_row(3, [1.0] * 4, 128, "frame", box_x=0))  # the true mask is of the face alone
    _, (first, second) = measured(masks, truth)
    assert list(first) == [field.name for field in item(LOCALISATION_FRAMES)]
    assert (first["frame"], first["model"], first["chance"], first["pointing"]) == (3, "m", 0.5, True)
    # bilinear: 1 to the first cell's centre, column 15.5, then down to 0 at column 47.5, 1/2 at the border
    ramp = 1 - (np.arange(16, 48) - 15.5) / 32
    assert first["heat_inside"] == pytest.approx((16 + ramp[:16].sum()) / (16 + ramp.sum()), abs=1e-6)
    assert first["rra"] == 1
    assert (second["model"], second["heat_inside"], second["rra"], second["chance"]) == ("n", 0.5, 0.5, 0.5)
    assert measured(masks, [])[1] == []


# from the file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("clips")
    make_clips(out, n_real=1, n_fake=1, frames_per_clip=10)
    return out


def test_truth_is_the_mask_of_the_explained_frames(folder):
    found = prepare_video(str(folder / "fake/000.mp4"), PrepareParams(), (View(64),), str(folder / "masks/000.mkv"))
    faces = [frame for frame in found["frames"] if frame["status"] == STATUS_OK]
    assert [row["frame"] for row in found["truth"]] == [frame["frame"] for frame in faces] != []
    with av.open(str(folder / "masks/000.mkv")) as container:
        masks = [frame.to_ndarray() for frame in container.decode(video=0)]
    for row, face in zip(found["truth"], faces, strict=True):
        x, y, width, height = (face[f"face_{name}"] for name in ("x", "y", "width", "height"))
        inside = masks[row["frame"]][y : y + height, x : x + width]
        assert row["area"] == np.count_nonzero(inside) / inside.size > 0.01
        assert row["mask"].mean() == pytest.approx(inside.mean(), abs=0.5)
    pa.Table.from_pylist(found["truth"], pa.schema(list(item(TRUTH)))).validate(full=True)


def test_which_frames_of_a_clip_are_forged(folder, tmp_path):
    """Over the boxes that the face is followed by, from the clip's first frame on."""
    with av.open(str(folder / "masks/000.mkv")) as container:
        masks = np.stack([frame.to_ndarray() for frame in container.decode(video=0)]) / np.float32(255)
    wrong = np.arange(len(masks)) % 4 > 1
    write_masks(tmp_path / "m.mkv", masks * wrong[:, None, None], 25)
    clip = View(56, "face", "clip", frames=4, step=2)
    found = prepare_video(str(folder / "fake/000.mp4"), PrepareParams(), (clip,), str(tmp_path / "m.mkv"))
    tracks = {frame["frame"]: boxes_of(frame["track"]) for frame in found["frames"] if frame["track"] is not None}
    assert [row["frame"] for row in found["truth"]] == list(tracks) != []
    for row in found["truth"]:
        frames = range(row["frame"], row["frame"] + 7)
        assert [area > 0 for area in row["areas"]] == wrong[frames].tolist()
        last, box = masks[frames[-1]], tracks[row["frame"]][-1]
        inside = last[box.y : box.y + box.height, box.x : box.x + box.width] * wrong[frames[-1]]
        assert row["areas"][-1] == np.count_nonzero(inside) / inside.size
        assert row["areas"][0] == row["area"]
    pa.Table.from_pylist(found["truth"], pa.schema(list(item(TRUTH)))).validate(full=True)
    write_masks(tmp_path / "short.mkv", masks[: max(tracks) + 6], 25)
    with pytest.raises(SampleError, match="ends before frame"):
        prepare_video(str(folder / "fake/000.mp4"), PrepareParams(), (clip,), str(tmp_path / "short.mkv"))


def test_without_a_truth_uri_there_is_no_truth(folder):
    assert prepare_video(str(folder / "real/000.mp4"), PrepareParams(), ())["truth"] == []


def black(height, width, n_frames=10):
    return [np.zeros((height, width), np.float32)] * n_frames


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "truth_unreadable"),
        (lambda path: path.write_bytes(b"not a video"), "truth_unreadable"),
        (lambda path: write_masks(path, black(320, 322), 25), "truth_mismatch"),
    ],
)
def test_a_truth_that_does_not_fit_is_a_row_with_a_code(folder, tmp_path, make, code):
    make(tmp_path / "m.mkv")
    row = {"video_id": "a", "uri": str(folder / "fake/000.mp4"), "dataset": "d", "truth_uri": str(tmp_path / "m.mkv")}
    table = pa.Table.from_pylist([row], MANIFEST.schema)
    (found,) = prepare(table, params=PrepareParams(), limits=Limits(), views=()).to_pylist()
    assert (found["status"], found["error_stage"], found["error_code"]) == ("error", "prepare", code)
    assert str(tmp_path / "m.mkv") in found["error_detail"]
    assert found["frames"] == found["truth"] == []


def test_a_truth_that_ends_early_is_said(folder, tmp_path):
    video = str(folder / "fake/000.mp4")
    last = prepare_video(video, PrepareParams(), ())["frames"][-1]["frame"]
    assert last > 0
    write_masks(tmp_path / "short.mkv", black(320, 320, last), 25)
    with pytest.raises(SampleError, match="truth_mismatch"):
        prepare_video(video, PrepareParams(), (), str(tmp_path / "short.mkv"))


def test_maps_are_measured_apart_by_class_and_empty_ones_are_counted():
    cells = np.zeros((64, 64), np.uint8)
    cells[:32] = 9
    truth = [{"frame": t, "height": 64, "width": 64, "mask": cells.ravel(), "area": 0.5} for t in range(9)]
    top = [1.0, 1.0, 0.0, 0.0]
    masks = [mask_row(0, top), mask_row(1, [1.0] * 4, empty=True), mask_row(2, top, target="real")]
    failed = {"saliency": None, "scale": None, "empty": None, "error_code": "explain_failed"}
    masks.append(mask_row(3, top) | failed)
    metrics, localisation = measured(masks, truth)
    fake, real = sorted(metrics, key=lambda row: row["target"])
    assert (fake["n_frames"], fake["n_empty"], fake["iou"]) == (2, 1, 0)  # an empty map has an empty mask
    assert fake["tcs"] == pytest.approx(real["tcs"] / 2)
    assert (real["n_frames"], real["n_empty"], real["iou"]) == (1, 0, None)
    by_frame = {row["frame"]: row for row in localisation}
    assert by_frame.keys() == {0, 1, 2}
    assert (by_frame[0]["rra"], by_frame[0]["chance"]) == (1, 0.5)
    assert (by_frame[1]["heat_inside"], by_frame[1]["pointing"], by_frame[1]["chance"]) == (None, None, 0.5)


def test_a_scale_makes_no_difference_but_to_the_bits():
    small, large = (heat(mask_row(0, [1.0, 0.5, 0.0, 0.25], scale=scale)) for scale in (2.0**-30, 1.0))
    np.testing.assert_array_equal(small * np.float32(2**30), large)
    assert large.max() == 1
    assert heat(mask_row(0, [-1.0, 1.0, -0.5, 0.5])).min() == 0  # what speaks against the class is no heat
