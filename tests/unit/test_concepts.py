"""Concept clips: what is in a box, followed and standing still, found by a CSV or a detector, and clips of nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchvision.models as zoo

from operators.concepts import ObjectConcepts, Objects
from operators.inputs.faces import Box
from operators.tcav.clips import FACE, REGIONS, ConceptParams, Found, concept_clips
from operators.tcav.objects import coco_classes, find_objects, load_detector
from operators.video.encode import write_video
from operators.video.sandbox import Limits
from pipelines.__main__ import main

NAME = "ssdlite320_mobilenet_v3_large"
FEW = ConceptParams(frames=4, step=2, size=24, per_video=2, random_per_video=3)
SIDE, FRAMES = 96, 12


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> str:
    """A bright square that goes right by two pixels a frame over a picture of noise."""
    noise = np.random.default_rng(0).integers(0, 120, (SIDE, SIDE, 3), np.uint8)
    frames = np.repeat(noise[None], FRAMES, 0)
    for t in range(FRAMES):
        frames[t, 30:54, 20 + 2 * t : 44 + 2 * t] = 250
        frames[t, 40:44, 28 + 2 * t : 32 + 2 * t] = 10  # something to follow
    path = tmp_path_factory.mktemp("concepts") / "a.mp4"
    write_video(path, frames, 25, 5)
    return str(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """torchvision's layout with random weights that take every place for a `dog`."""
    torch.manual_seed(0)
    model = zoo.get_model(NAME, weights=None, weights_backbone=None)
    outputs = zoo.get_model_weights(NAME).DEFAULT.meta["categories"]
    for head in model.head.classification_head.module_list:
        head[1].bias.data.view(-1, len(outputs))[:, outputs.index("dog")] += 30
    path = tmp_path_factory.mktemp("weights") / "ssdlite.pth"
    torch.save(model.state_dict(), path)
    return path


def pixels(row: dict) -> np.ndarray:
    return np.frombuffer(row["pixels"], np.uint8).reshape(FEW.frames, FEW.size, FEW.size, 3)


def test_what_is_in_a_box_is_followed_and_stands_still(video):
    rows = concept_clips(video, "v", FEW, [Found("square", 0, Box(16, 26, 32, 32, 1.0))])
    moving, still = rows[:2]
    assert [(row["concept"], row["kind"], row["frame"]) for row in rows[:2]] == [
        ("square", "dynamic", 0),
        ("square", "static", 0),
    ]
    np.testing.assert_array_equal(pixels(still), np.repeat(pixels(moving)[:1], FEW.frames, 0))
    # the crop goes with the square, which has moved by 12 pixels of 32 after 6 frames; a box that stays loses half
    assert pixels(moving)[-1, 6:18, 6:18].mean() > 200
    assert [row["concept"] for row in rows[2:]] == ["random"] * FEW.random_per_video


def test_parts_of_a_face_lie_in_its_box(video):
    face = Found(FACE, 0, Box(16, 26, 32, 24, 1.0))
    rows = concept_clips(video, "v", replace(FEW, regions=True), [face])
    boxes = {row["concept"]: tuple(row[side] for side in ("x", "y", "width", "height")) for row in rows}
    x, y, width, height = boxes[FACE]
    for name, (left, top, right, bottom) in REGIONS.items():
        shares = left * width, top * height, (right - left) * width, (bottom - top) * height
        assert boxes[name] == pytest.approx(np.add(shares, (x, y, 0, 0)), abs=1)


def test_random_clips_are_a_videos_own(video):
    def drawn(video_id: str) -> list[tuple]:
        rows = concept_clips(video, video_id, FEW, ())
        return [(row["frame"], row["x"], row["y"], row["width"]) for row in rows]

    assert drawn("v") == drawn("v")
    assert not set(drawn("v")) & set(drawn("w"))


class Sees(torch.nn.Module):
    """A detector that is sure of a person in one box of a white picture."""

    def __init__(self, box):
        super().__init__()
        self.boxes = torch.nn.Parameter(torch.tensor([box]))

    def forward(self, images):
        assert [(each.shape, each.min(), each.max()) for each in images] == [((3, 60, 90), 1, 1)]
        return [{"boxes": self.boxes, "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}]


def test_a_box_ends_with_the_picture_and_one_without_area_is_none():
    wide = np.full((60, 90, 3), 255, np.uint8)
    (box,) = find_objects(Sees((80.0, 50.0, 99.0, 99.0)), NAME, wide, ("person",)).values()
    assert (box.x, box.y, box.width, box.height) == (80, 50, 10, 10)
    for thin in ((10.0, 10.0, 10.2, 30.0), (10.0, 10.0, 30.0, 10.2)):
        assert find_objects(Sees(thin), NAME, wide, ("person",)) == {}


def test_a_detector_finds_the_classes_that_are_wanted_inside_the_picture(video, weights):
    model = load_detector(NAME, weights)
    image = np.random.default_rng(1).integers(0, 255, (60, 90, 3), np.uint8)
    found = find_objects(model, NAME, image, ("dog", "person"))
    assert list(found) == ["dog"]
    box = found["dog"]
    assert box.score > 0.5
    assert 0 <= box.x < box.x + box.width <= 90
    assert 0 <= box.y < box.y + box.height <= 60
    assert find_objects(model, NAME, image, ("person",)) == {}
    # the one that it is surest of, of all that it shows
    with torch.no_grad():
        (seen,) = model([torch.tensor(image).permute(2, 0, 1) / 255])
    assert box.score == pytest.approx(float(seen["scores"].max()))
    assert {"person", "tennis racket"} < set(coco_classes(NAME))
    assert not {"N/A", "__background__"} & set(coco_classes(NAME))


def test_what_a_detector_finds_is_a_concept(video, weights):
    table = pa.table({"video_id": ["v", "gone"], "uri": [video, "/nowhere.mp4"]})
    stage = ObjectConcepts(Objects(NAME, weights, ("dog",)), FEW, Limits(), threads=1)
    rows = stage(table).to_pylist()
    kinds = [(row["video_id"], row["concept"], row["kind"], row["frame"]) for row in rows]
    places = (0, FRAMES - FEW.span)
    assert kinds[:4] == [("v", "dog", kind, frame) for frame in places for kind in ("dynamic", "static")]
    assert len(rows) == 4 + FEW.random_per_video


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--find", "dog"), "say with --detector NAME=FILE what looks for it"),
        (("--detector", "{file}"), "write NAME=FILE"),
        (
            ("--detector", "yolo={file}", "--find", "dog"),
            "no detector of COCO's classes named 'yolo': there are fasterr",
        ),
        (("--detector", "{name}={file}", "--find", "dgo"), "COCO has no such class; there are person, bicycle"),
        (("--detector", "{name}={file}"), "--detector needs a --find"),
        (("--detector", "{name}=/nowhere", "--find", "dog"), "no weights file at /nowhere"),
        (
            ("--detector", "fasterrcnn_mobilenet_v3_large_320_fpn={file}", "--find", "dog"),
            "holds other weights than those of torchvision's fasterrcnn_mobilenet",
        ),
        (("--detector", "{name}={file}", "--find", "dog", "--boxes", "b.csv"), "give one of them"),
    ],
)
def test_a_detector_that_cannot_be_had_is_one_line(flags, says, weights, tmp_path, capsys):
    given = [each.format(name=NAME, file=weights) for each in flags]
    assert main(["concepts", "make", str(tmp_path), "--out", str(tmp_path / "out"), *given]) == 1
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
