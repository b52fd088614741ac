"""What other tools get is what the lake has: numbers, pictures, and a folder that FiftyOne reads."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from pipelines.errors import UserError
from pipelines.export import export
from tests.queries import report_lake


@pytest.fixture
def tables(portraits, tmp_path):
    return report_lake.rows(tmp_path / "clips", portraits)


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_numbers_are_those_of_the_lake_in_their_unit(make_lake, tables, tmp_path):
    for row in tables["masks"]:
        row["scale"] = 8.0 if row["model"] == "flow" else 2.0
    # no video is asked: the file may be gone
    for video in tables["videos"]:
        Path(video["uri"]).unlink()
    export(make_lake(tables), tmp_path / "out", "npz", console=Console(quiet=True))
    index = json.loads((tmp_path / "out/index.json").read_text())
    assert index["run_id"] == "r1"
    assert [video["video_id"] for video in index["videos"]] == ["fake-000", "fake-001", "real-000", "real-001"]
    assert index["videos"][0]["label"] == "fake"
    series = {(each["model"], each["method"]): each for each in index["videos"][3]["series"]}
    arrays = np.load(tmp_path / "out" / index["videos"][3]["file"])
    zoo, flow = series["zoo", "iba"], series["flow", "gradcam"]
    assert arrays[zoo["key"]].tolist() == [[[2.0, 0.0], [0.0, 0.0]]] * 2
    assert arrays[flow["key"]].tolist() == [[[0.0, 8.0], [8.0, 8.0]]] * 2
    assert (zoo["frames"], zoo["times_s"], zoo["empty"]) == ([1, 4], [0.04, 0.16], [False, True])
    assert (zoo["boxes"][0], zoo["layer"], zoo["target"]) == ([60, 20, 160, 160], "l", "real")
    assert (flow["unit"], flow["total_bits"]) == ("logits per cell", [None, None])


def test_pictures_are_hot_where_the_map_is(make_lake, tables, tmp_path):
    export(make_lake(tables), tmp_path / "out", "png", console=Console(quiet=True))
    index = json.loads((tmp_path / "out/index.json").read_text())
    (iba,) = [each for each in index["videos"][0]["series"] if (each["model"], each["method"]) == ("zoo", "iba")]
    (cam,) = [each for each in index["videos"][0]["series"] if (each["model"], each["method"]) == ("zoo", "gradcam")]
    hot, other = (read(tmp_path / "out" / each["files"][0]).astype(int) for each in (iba, cam))
    assert hot.shape == (64, 64, 3)
    # inferno's full heat is a light yellow: much green, where the other map has none
    assert hot[4:20, 4:20, 1].mean() > other[4:20, 4:20, 1].mean() + 40
    assert other[44:, 44:, 1].mean() > hot[44:, 44:, 1].mean() + 40
    (empty,) = [each for each in index["videos"][3]["series"] if (each["model"], each["method"]) == ("zoo", "iba")]
    full, nothing = (read(tmp_path / "out" / each).astype(int) for each in empty["files"])
    assert full[4:20, 4:20, 1].mean() > nothing[4:20, 4:20, 1].mean() + 40
    # an empty map is no picture without heat, which could be a fit that failed: it is grey
    assert np.ptp(full, axis=2).mean() > 10
    assert np.ptp(nothing, axis=2).max() == 0
    assert nothing.std() > 10


def test_the_folder_for_fiftyone_has_what_its_importer_asks_for(make_lake, tables, tmp_path):
    out = tmp_path / "out"
    export(make_lake(tables), out, "fiftyone", console=Console(quiet=True))
    # without a version its importer takes the folder for the JSON form
    assert "version" not in json.loads((out / "metadata.json").read_text())
    samples = json.loads((out / "samples.json").read_text())["samples"]
    assert len(samples) == 4 * 2 * 2  # videos, keyframes, views
    fields = {folder.name for folder in (out / "fields").iterdir()}
    assert fields == {
        f"{model}_{method}_l_{label}"
        for model in ("zoo", "flow")
        for method in ("iba", "gradcam")
        for label in ("real", "fake")
    }
    for sample in samples:
        assert (out / sample["filepath"]).is_file()
        heats = {name: value for name, value in sample.items() if name in fields}
        assert heats
        for name, heat in heats.items():
            assert (heat["_cls"], heat["range"]) == ("Heatmap", [0, 255])
            assert heat["map_path"].startswith(f"fields/{name}/")
            assert read(out / heat["map_path"]).shape == (2, 2)
    (one,) = [each for each in samples if (each["video_id"], each["frame_number"]) == ("fake-001", 1) and "zoo" in each]
    assert one["ground_truth"] == {"_cls": "Classification", "label": "fake"}
    assert one["zoo"] == {"_cls": "Classification", "label": "fake", "confidence": 0.75}
    assert read(out / one["zoo_iba_l_fake"]["map_path"]).tolist() == [[255, 0], [0, 0]]
    assert one["zoo_iba_l_fake"]["full_heat"] == 2.0
    # what is left in an empty map is no heat
    own = [each for each in samples if (each["video_id"], each["frame_number"]) == ("real-001", 4)]
    (none,) = [each["zoo_iba_l_real"] for each in own if "zoo_iba_l_real" in each]
    assert none["empty"]
    assert not read(out / none["map_path"]).any()


@pytest.mark.parametrize("to", ["npz", "fiftyone"])
def test_a_video_at_a_time_is_what_all_at_once_are(make_lake, tables, tmp_path, monkeypatch, to):
    lake, outs = make_lake(tables), [tmp_path / "all", tmp_path / "one"]
    for at_once, out in zip((100, 1), outs, strict=True):
        monkeypatch.setattr("pipelines.export._AT_ONCE", at_once)
        export(lake, out, to, console=Console(quiet=True))
    files = [{path.relative_to(out): path for path in out.rglob("*") if path.is_file()} for out in outs]
    assert len(files[0]) > 4
    assert files[0].keys() == files[1].keys()
    for name, path in files[0].items():
        if path.suffix == ".npz":  # an archive has the time of its writing
            a, b = np.load(path), np.load(files[1][name])
            assert {key: a[key].tolist() for key in a} == {key: b[key].tolist() for key in b}
        else:
            assert path.read_bytes() == files[1][name].read_bytes()


def test_what_cannot_be_cut_again_is_named_and_left_out(make_lake, tables, tmp_path, capsys):
    Path(tables["videos"][0]["uri"]).unlink()
    export(make_lake(tables), tmp_path / "out", "png")
    assert len(json.loads((tmp_path / "out/index.json").read_text())["videos"]) == 3
    said = capsys.readouterr().out
    assert "3 of 4 videos of run r1" in said
    assert "(not_found)" in said


def test_no_id_leaves_the_folder(make_lake, tables, tmp_path):
    hostile = "../../etc/passwd"
    for rows in tables.values():
        for row in rows:
            if row.get("video_id") == "fake-000":
                row["video_id"] = hostile
    export(make_lake(tables), tmp_path / "out", "npz", console=Console(quiet=True))
    index = json.loads((tmp_path / "out/index.json").read_text())
    (file,) = [video["file"] for video in index["videos"] if video["video_id"] == hostile]
    assert "/" not in file
    assert (tmp_path / "out" / file).is_file()


def test_a_folder_with_something_in_it_and_a_run_without_a_map(make_lake, tables, tmp_path):
    with pytest.raises(UserError, match="is not empty"):
        export(make_lake(tables), tmp_path, "npz")
    empty = make_lake({"runs": [{}], "videos": [{}]}, lake=tmp_path / "empty")
    with pytest.raises(UserError, match="no map to write"):
        export(empty, tmp_path / "out", "npz")
