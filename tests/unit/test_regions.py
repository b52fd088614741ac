"""The six regions of a face: where they fall, what share of the heat they hold, and where the landmarks come from."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
import skimage.data

from operators.inputs.faces import FaceParams, crop, find_face
from operators.inputs.landmarks import MESH_FILE, VIEW, finder, proportions
from operators.judge import Explanations, Judge
from operators.judging.params import JudgeParams
from operators.judging.totals import totals
from operators.measures.regions import region_labels, region_rows, region_shares
from operators.models.spec import XCEPTION
from operators.models.weights import Detector
from schemas.tables import FACE_REGIONS, NESTED, VIDEO_ROW

#: points of the mean face as x, y over the crop's sides, read off it by eye
PLACES = {
    "mouth": [(0.5, 0.72), (0.4, 0.72), (0.6, 0.72)],
    "edges": [(0.5, 0.065), (0.5, 0.955), (0.2, 0.77), (0.8, 0.77)],
    "brows": [(0.335, 0.345), (0.665, 0.345), (0.5, 0.2), (0.3, 0.27)],
    "nose": [(0.5, 0.55), (0.35, 0.55), (0.65, 0.55), (0.1, 0.5), (0.9, 0.5)],
    "outside": [(0.02, 0.02), (0.98, 0.02), (0.02, 0.98), (0.98, 0.98), (0.05, 0.75)],
    "chin": [(0.5, 0.85), (0.31, 0.985), (0.69, 0.985)],
}
SIZE = 299


def turned(face, degrees):
    """The same face, its crop turned about the middle."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    parts = ("outline", "eye_left", "eye_right", "nose", "mouth")
    return replace(face, **{name: (getattr(face, name) - 0.5) @ matrix + 0.5 for name in parts})


@pytest.mark.parametrize(("region", "place"), [(name, place) for name, places in PLACES.items() for place in places])
def test_the_mean_face_has_its_parts_where_they_are(region, place):
    x, y = place
    assert FACE_REGIONS[region_labels(proportions(), SIZE)[int(y * SIZE), int(x * SIZE)]] == region


def test_left_and_right_are_alike():
    labels = region_labels(proportions(), 256)
    assert (labels == labels[:, ::-1]).mean() > 0.99


@pytest.mark.parametrize("degrees", [-30, 15, 90])
def test_a_turned_head_turns_its_regions(degrees):
    upright, found = region_labels(proportions(), SIZE), region_labels(turned(proportions(), degrees), SIZE)
    centre = (SIZE - 1) / 2
    matrix = cv2.getRotationMatrix2D((centre, centre), -degrees, 1)
    expected = cv2.warpAffine(upright.astype(np.uint8), matrix, (SIZE, SIZE), flags=cv2.INTER_NEAREST)
    rows, columns = np.mgrid[:SIZE, :SIZE] - centre
    inner = np.hypot(rows, columns) < 0.48 * SIZE  # what turns out of the crop and into it is another matter
    assert (found == expected)[inner].mean() > 0.98


def test_regions_are_the_same_at_every_size():
    fine, coarse = region_labels(proportions(), 300), region_labels(proportions(), 100)
    assert (fine[1::3, 1::3] == coarse).mean() > 0.97


def test_the_ear_that_a_turned_face_hides_is_no_region():
    face = proportions()
    looks_left = replace(face, nose=face.nose - [0.2, 0])
    labels = region_labels(looks_left, SIZE)
    row = int(0.5 * SIZE)
    assert FACE_REGIONS[labels[row, int(0.07 * SIZE)]] == "outside"
    assert FACE_REGIONS[labels[row, int(0.93 * SIZE)]] == "nose"


def test_an_outline_that_leaves_the_crop_keeps_its_ring():
    face = proportions()
    near = replace(face, outline=(face.outline - 0.5) * 1.15 + 0.5)  # the hairline is above the crop by .002
    assert FACE_REGIONS[region_labels(near, SIZE)[0, SIZE // 2]] == "edges"
    outside = replace(face, outline=(face.outline - 0.5) * 1.2 + 0.5)  # by .024, of the ring's .053
    labels = region_labels(outside, SIZE)
    assert FACE_REGIONS[labels[0, SIZE // 2]] == "edges"
    # as in a crop that shows all of it, of which this one is the middle
    whole = {
        part: (getattr(outside, part) - 0.5) / 2 + 0.5 for part in ("outline", "eye_left", "eye_right", "nose", "mouth")
    }
    middle = region_labels(replace(face, **whole), 2 * SIZE)[SIZE // 2 : -SIZE // 2, SIZE // 2 : -SIZE // 2]
    assert (middle == labels).mean() > 0.98


def test_the_proportions_are_a_mirror_image_of_themselves():
    labels = region_labels(proportions(), SIZE)
    left, right = (np.asarray(getattr(proportions(), f"eye_{side}")) for side in ("left", "right"))
    assert (labels == labels[:, ::-1]).mean() > 0.97
    assert left[:, 1].max() == pytest.approx(right[:, 1].max())
    assert left[:, 1].min() == pytest.approx(right[:, 1].min())
    assert np.ptp(left[:, 0]) == pytest.approx(np.ptp(right[:, 0]))


def test_uniform_heat_scores_the_area_and_the_shares_are_a_partition():
    labels = region_labels(proportions(), SIZE)
    found = region_shares(np.full((SIZE, SIZE), 3e-4, np.float32), labels)
    assert list(found) == list(FACE_REGIONS)
    assert sum(area for _, area in found.values()) == pytest.approx(1)
    for heat, area in found.values():
        assert heat == pytest.approx(area, rel=1e-5)


def test_heat_is_where_it_is():
    labels = np.array([[0, 1], [1, 5]], np.int8)
    found = region_shares(np.array([[1.0, 0.5], [0.5, 2.0]]), labels)
    assert found["mouth"] == (0.25, 0.25)
    assert found["edges"] == (0.25, 0.5)
    assert found["chin"] == (0.5, 0.25)
    assert found["brows"] == (0.0, 0.0)
    assert {heat for heat, _ in region_shares(np.zeros((2, 2)), labels).values()} == {None}


def mask(frame, model="m", box=(10, 20, 30, 40)):
    place = {"first_frame": frame, "frame": frame, "model": model, "method": "iba", "layer": "l", "target": "fake"}
    return place | dict(zip(("box_x", "box_y", "box_width", "box_height"), box, strict=True))


def test_only_maps_over_the_face_have_regions():
    frames = [{"frame": 4, "face_x": 10, "face_y": 20, "face_width": 30, "face_height": 40}]
    frames.append({"frame": 5} | dict.fromkeys(("face_x", "face_y", "face_width", "face_height")))
    heat = np.ones((64, 64), np.float32)
    found = replace(proportions(), source="mesh")
    maps = [(mask(4), heat), (mask(4, "whole frame", (0, 0, 99, 99)), heat), (mask(5), heat)]
    rows = region_rows(maps, frames, {4: found})
    assert [(row["frame"], row["model"], row["region"], row["source"]) for row in rows] == [
        (4, "m", name, "mesh") for name in FACE_REGIONS
    ]
    assert {row["source"] for row in region_rows(maps, frames, {})} == {"box"}


def test_judging_tells_the_regions_of_every_map_and_asks_no_model_for_it():
    pixels = np.zeros((VIEW.size, VIEW.size, 3), np.uint8).tobytes()
    box = dict(zip(("box_x", "box_y", "box_width", "box_height"), (10, 20, 30, 40), strict=True))
    map_ = {"span_frames": 1, "input_size": 64, "height": 1, "width": 1, "saliency": [np.float16(1)], "scale": 1.0}
    map_ |= {"unit": "bits per pixel", "empty": False, "seconds": 0.0, "error_code": None}
    frames = [
        {"frame": frame, "time_s": 0.0, "keyframe_score": 0.0, "status": "ok", "face_score": 1.0, "has_flow": False}
        | {"face_x": 10, "face_y": 20, "face_width": 30, "face_height": 40}
        for frame in (4, 8)
    ]
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    row |= {"video_id": "v", "uri": "u", "dataset": "d", "status": "ok", "frames": frames}
    failed = map_ | dict.fromkeys(("saliency", "scale", "empty")) | {"error_code": "explain_failed", "target": "real"}
    row["masks"] = [mask(frame, "xception") | map_ for frame in (4, 8)] + [mask(8, "xception") | failed]
    row["inputs"] = [{"frame": 4, "span_frames": 1, "view": str(VIEW), "pixels": pixels} | box]
    detectors = (Detector(XCEPTION, ("block4",)),)
    whole = totals(row["masks"], {})
    judge = Judge(detectors, JudgeParams(), whole, frozenset(), frozenset(), None, Explanations(), 1, 0)
    (judged,) = judge(pa.Table.from_pylist([row], schema=VIDEO_ROW)).to_pylist()
    assert (judged["status"], judged["passes"], judged["n_frames"]) == ("ok", 0, 0)
    assert [(each["frame"], each["region"]) for each in judged["regions"]] == [
        (frame, name) for frame in (4, 8) for name in FACE_REGIONS
    ]
    assert all(each["heat"] == pytest.approx(each["area"], rel=1e-5) for each in judged["regions"])


@pytest.fixture(scope="module")
def portrait():
    """The photograph scikit-image carries, cropped as every face is."""
    picture = skimage.data.astronaut()
    box = find_face(picture, FaceParams())
    assert box is not None
    return crop(picture, box, VIEW.size), box


#: read off the photograph itself, in its pixels
EYES, NOSE, MOUTH, CHIN = ((203, 100), (247, 103)), (224, 133), (224, 147), (224, 178)


def test_the_mesh_finds_the_parts_of_the_portrait(portrait):
    if not MESH_FILE.is_file():
        pytest.skip("no face mesh here: make landmarks fetches it")
    pixels, box = portrait
    face = finder(MESH_FILE)(pixels)
    assert face.source == "mesh"

    def place(points):
        return points * [box.width, box.height] + [box.x, box.y]

    for found, known in zip((face.eye_left, face.eye_right), EYES, strict=True):
        assert place(found.mean(0)) == pytest.approx(np.array(known), abs=3)
    assert place(face.nose[0]) == pytest.approx(np.array(NOSE), abs=3)
    assert place((face.mouth.min(0) + face.mouth.max(0)) / 2) == pytest.approx(np.array(MOUTH), abs=3)
    assert place(face.outline)[:, 1].max() == pytest.approx(CHIN[1], abs=3)


def test_where_the_mesh_sees_no_face_the_box_stands_in():
    if not MESH_FILE.is_file():
        pytest.skip("no face mesh here: make landmarks fetches it")
    assert finder(MESH_FILE)(np.full((192, 192, 3), 90, np.uint8)).source == "box"


def _trained(path: Path, pixels, points):
    """A landmark file of dlib that knows one picture."""
    import dlib

    size = len(pixels)
    inner = round(size * (1 - 1 / FaceParams().margin) / 2)
    parts = [dlib.point(int(x), int(y)) for x, y in points]
    shape = dlib.full_object_detection(dlib.rectangle(inner, inner, size - inner, size - inner), parts)
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.num_trees_per_cascade_level, options.oversampling_amount = 2, 5, 1
    options.oversampling_translation_jitter = 0.0
    options.feature_pool_size, options.num_test_splits, options.num_threads = 50, 5, 1
    dlib.train_shape_predictor([pixels], [[shape]], options).save(str(path))


def _points68():
    """68 points of the mean face in dlib's order, in pixels of a crop of `VIEW`."""
    face = proportions()
    around = np.linspace(-0.55 * np.pi, 0.55 * np.pi, 17)
    jaw = np.stack([0.5 + 0.365 * np.sin(around), 0.51 + 0.445 * np.cos(around)], 1)
    brows = np.stack([np.linspace(0.25, 0.75, 10), np.full(10, 0.27)], 1)
    nose = np.concatenate([np.full((5, 2), [0.5, 0.5]), np.full((4, 2), face.nose[0])])
    lips = np.concatenate([face.mouth[::3], face.mouth[:8]])  # the outer line, then the inner one
    return np.concatenate([jaw, brows, nose, face.eye_left[::6], face.eye_right[::6], lips]) * VIEW.size


def test_a_dlib_file_gives_the_same_parts(tmp_path, portrait):
    _trained(tmp_path / "points.dat", portrait[0], _points68())
    face = finder(tmp_path / "points.dat")(portrait[0])
    assert face.source == "points.dat"
    known = proportions()
    for name in ("eye_left", "eye_right", "nose", "mouth"):
        assert getattr(face, name).mean(0) == pytest.approx(getattr(known, name).mean(0), abs=0.02)
    assert face.outline[:, 1].max() == pytest.approx(0.955, abs=0.02)
    assert face.outline[:, 1].min() < 0.15  # a forehead, of which dlib has no point
    assert (region_labels(face, SIZE) == region_labels(known, SIZE)).mean() > 0.8


def test_files_that_are_no_landmarks_are_named(tmp_path, portrait):
    for name in ("mesh.tflite", "points.dat"):
        (tmp_path / name).write_bytes(b"no landmarks")
        with pytest.raises(ValueError, match=name):
            finder(tmp_path / name)
    _trained(tmp_path / "five.dat", portrait[0], _points68()[:5])
    with pytest.raises(ValueError, match="5 points"):
        finder(tmp_path / "five.dat")(portrait[0])
