"""What a detector is trained on is what was cut of its videos: labels, pairs, splits and pixels."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.inputs.view import View
from operators.models.spec import VGG11_FLOW, XCEPTION
from operators.samples import flatten
from pipelines import samples
from pipelines.errors import UserError
from schemas.records import SAMPLE
from schemas.tables import CLASS_FAKE, CLASS_REAL, NESTED, VIDEO_ROW

FACE, FLOW = View(2), View(3, shows="flow")


def pixels(value: int, view: View = FACE) -> bytes:
    return bytes([value]) * (3 * view.size**2)


def video(video_id: str, label: str, split: str, pair_id: str | None = None, **told) -> dict:
    inputs = [
        {"frame": frame, "span_frames": 1, "view": str(view), "pixels": pixels(frame, view)}
        | {"box_x": 0, "box_y": 0, "box_width": 2, "box_height": 2}
        for frame in (7, 4)
        for view in (FACE, FLOW)
    ]
    row = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED}
    row |= {"video_id": video_id, "uri": video_id, "dataset": "d", "status": "ok", "inputs": inputs}
    return row | {"label": label, "split": split, "pair_id": pair_id} | told


def test_a_sample_is_paired_with_its_source_at_the_same_frame():
    rows = [video("a", "real", "train"), video("b", "fake", "train", "a"), video("c", "fake", "val", status="error")]
    found = flatten(pa.Table.from_pylist(rows, schema=VIDEO_ROW)).to_pylist()
    assert [(row["video_id"], row["frame"], row["view"], row["pair"], row["label"]) for row in found] == [
        (video_id, frame, str(view), f"a:{frame}", label)
        for video_id, label in (("a", "real"), ("b", "fake"))
        for frame in (7, 4)
        for view in (FACE, FLOW)
    ]
    assert all(row["pixels"] == pixels(row["frame"], FLOW if "flow" in row["view"] else FACE) for row in found)


@pytest.fixture
def folder(tmp_path):
    """Samples of two files, the later videos first."""
    rows = [video("a", "real", "train"), video("b", "fake", "train", "a"), video("c", "fake", "val")]
    for number, row in enumerate(reversed(rows)):
        pq.write_table(flatten(pa.Table.from_pylist([row], schema=VIDEO_ROW)), tmp_path / f"{number}.parquet")
    return tmp_path


@pytest.mark.parametrize(("spec", "view"), [(XCEPTION, FACE), (VGG11_FLOW, FLOW)], ids=["face", "flow"])
def test_loaded_are_the_samples_of_a_split_that_a_model_looks_at(folder, spec, view):
    spec = replace(spec, view=view)
    found = samples.load(folder, "train", spec)
    assert found.labels.tolist() == [CLASS_REAL, CLASS_REAL, CLASS_FAKE, CLASS_FAKE]
    assert found.pairs.tolist() == ["a:4", "a:7", "a:4", "a:7"]
    assert found.pixels.shape == (4, view.size, view.size, 3)
    assert np.unique(found.pixels[[0, 2]]) == 4
    assert np.unique(found.pixels[[1, 3]]) == 7
    assert samples.load(folder, "val", spec).labels.tolist() == [CLASS_FAKE, CLASS_FAKE]
    assert samples.count(folder, spec) == {("train", "real"): 2, ("train", "fake"): 2, ("val", "fake"): 2}


def test_what_was_cut_is_known_by_its_videos(tmp_path):
    """The digest is another one for other videos, labels, splits, pairs and another number of frames."""
    lines = ["real,train,", "fake,train,v0", "real,val,", "fake,val,v2"]

    def digest(lines: list[str], frames: int = 4) -> str:
        rows = [f"{tmp_path / 'v.mp4'}?{number},v{number},{line}" for number, line in enumerate(lines)]
        (tmp_path / "m.csv").write_text("\n".join(["uri,video_id,label,split,pair_id", *rows]))
        return samples.from_manifest(tmp_path / "m.csv", (FACE,), frames).digest

    first = digest(lines)
    assert digest(lines) == first
    others = [
        digest(lines, frames=5),
        digest([*lines, "real,train,"]),
        digest([*lines[:3], "fake,val,"]),
        digest([*lines, "real,test,"]),
    ]
    assert len({first, *others[:3]}) == 4
    assert others[3] == first  # what is held out is not trained on
    with pytest.raises(UserError, match="has no fake video in the split val: training needs both in train and val"):
        digest(lines[:3])


def test_samples_have_their_schema(folder):
    assert pq.read_schema(folder / "0.parquet").equals(SAMPLE)
