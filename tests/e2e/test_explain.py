"""The whole way on small clips: one row per file, tables that check out, and nothing lost to kill -9."""

import json
import math
import random
import shutil
import signal
import time
import tomllib
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch

from bench.processes import is_raylet
from operators.forging.portrait import make_clips
from operators.inputs.view import View
from operators.models.spec import spec_for
from operators.models.weights import load_model, save_model
from operators.video.encode import write_video
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from schemas.tables import EXPLAIN, FRAMES, MASKS, PREDICTIONS, RUNS, SINK_TABLES, VIDEOS

SECONDS = {"prepare_s", "explain_s", "metrics_s", "seconds"}


def rows(lake: Path, table) -> list[dict]:
    """In the order of the table's key; maps as they are, not as they are stored."""
    connection = open_lake(lake)
    key = ", ".join(f'"{name}"' for name in table.key)
    found = connection.sql(f"select * from {table.name} order by {key}").to_arrow_table().to_pylist()
    connection.close()
    if table is MASKS:
        for row in found:
            row["saliency"] = (np.array(row["saliency"], float) * row.pop("scale")).tolist()
    return found


def test_every_file_is_one_row(undisturbed, videos):
    found = {Path(row["uri"]).relative_to(videos).as_posix(): row for row in rows(undisturbed, VIDEOS)}
    expected = {path.relative_to(videos).as_posix() for path in videos.rglob("*") if path.is_file()} - {"notes.txt"}
    assert set(found) == expected
    assert found["broken.mp4"]["status"] == "error"
    assert found["broken.mp4"]["error_code"] == "not_a_video"
    assert all(row["status"] == "ok" for name, row in found.items() if name != "broken.mp4")
    assert {row["label"] for name, row in found.items() if name.startswith("fake/")} == {"fake"}
    assert {row["label"] for name, row in found.items() if name.startswith("real/")} == {"real"}
    assert found["broken.mp4"]["label"] is None
    assert len({row["video_id"] for row in found.values()}) == len(found)  # the twin too


def test_maps_are_finite_and_positive(undisturbed):
    masks = rows(undisturbed, MASKS)
    assert masks
    for mask in masks:
        saliency = np.array(mask["saliency"])
        assert len(saliency) == mask["height"] * mask["width"]
        assert np.isfinite(saliency).all()
        assert (saliency >= 0).all()
        assert mask["total_bits"] > 0
        # bits per pixel over the pixels are the bits of the map, to the precision of half floats
        cells = saliency.sum() * mask["input_size"] ** 2 / len(saliency)
        assert cells == pytest.approx(mask["total_bits"], rel=2e-3)


def test_files_on_disk_have_the_written_schemas(undisturbed):
    run = next(undisturbed.glob("run_id=*"))
    for table in (RUNS, *SINK_TABLES):
        files = sorted((run / table.name).glob("*.parquet"))
        assert files
        for file in files:
            assert pq.read_schema(file).equals(table.schema)


def test_evaluation_and_questions(undisturbed, viba):
    said = viba("evaluate", "--lake", undisturbed)
    for name in ("table1", "table2", "table3"):
        assert name in said.out
        assert (undisturbed / "evaluation" / f"{name}.parquet").is_file()
        assert (undisturbed / "evaluation" / f"{name}.csv").is_file()
    asked = viba("sql", "--lake", undisturbed, "select count(*) as n from videos", "--format", "csv")
    assert asked.out.split() == ["n", "8"]


def test_the_same_command_continues_the_run_and_adds_new_files(undisturbed, videos, explain, tmp_path):
    """Nothing is done twice: the files of the first run are untouched, and a new video is one more row. What the run
    began with, and on, stays beside what it goes on with."""
    own = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    lake = tmp_path / "lake"
    shutil.copytree(undisturbed, lake)
    (file,) = lake.glob("run_id=*/runs/*.parquet")
    row = pq.read_table(file).to_pylist()[0]
    assert row["ended_at"] > row["started_at"]
    assert 0 < row["busy"] <= 1
    assert [json.loads(start["versions"])["viba"] for start in row["starts"]] == [own]
    row["starts"][0]["versions"] = json.dumps({"viba": "0.0.1"})  # as if an older one had begun
    pq.write_table(pa.Table.from_pylist([row], schema=RUNS.schema), file)

    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet") if "videos" in path.parts}
    more = tmp_path / videos.name  # another mount point
    shutil.copytree(videos, more)
    shutil.copyfile(max((more / "fake").iterdir()), more / "fake" / "new.mp4")
    explain(more, lake)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    for table in SINK_TABLES:
        old, new = rows(undisturbed, table), rows(lake, table)
        kept = [row for row in new if any(row["video_id"] == each["video_id"] for each in old)]
        assert kept == old
    assert len(rows(lake, VIDEOS)) == len(rows(undisturbed, VIDEOS)) + 1

    (found,) = rows(lake, RUNS)
    assert {name: found[name] for name in ("run_id", "started_at", "config")} == {
        name: row[name] for name in ("run_id", "started_at", "config")
    }
    first, second = found["starts"]
    assert first == row["starts"][0]
    assert json.loads(second["versions"])["viba"] == own
    assert row["ended_at"] < second["started_at"] < found["ended_at"]
    (layer,) = found["layers"]
    assert (layer["model"], layer["layer"], layer["cut"], layer["folded"]) == ("test_resnet", "layer3", "graph", True)


def test_a_finished_run_has_nothing_to_do_and_starts_nothing(undisturbed, videos, explain, tmp_path, monkeypatch):
    """Neither Ray nor a model is touched; a run that was killed after its last video ends now."""
    lake = tmp_path / "lake"
    shutil.copytree(undisturbed, lake)
    (file,) = lake.glob("run_id=*/runs/*.parquet")
    row = pq.read_table(file).to_pylist()[0]
    monkeypatch.setattr("pipelines.explain._run", None)
    assert "7 of 8 videos explained, 1 failed" in explain(videos, lake).out
    assert rows(lake, RUNS) == [row]
    pq.write_table(pa.Table.from_pylist([row | {"ended_at": None}], schema=RUNS.schema), file)
    explain(videos, lake)
    (found,) = rows(lake, RUNS)
    assert found["ended_at"] > row["ended_at"]
    assert found | {"ended_at": None} == row | {"ended_at": None}


def test_a_small_run_takes_the_draws_it_is_told_and_says_so(undisturbed):
    (log,) = undisturbed.glob("_logs/*.log")
    said = "test_resnet layer3: 1 noise draws, not compared with the reference: fewer than 1,500 samples"
    assert said in log.read_text()
    (layer,) = rows(undisturbed, RUNS)[0]["layers"]
    assert (layer["draws"], layer["holds"], layer["tried"]) == (1, None, [])


def test_a_run_compares_some_of_its_samples_and_keeps_what_it_chose(videos, explain, known, tmp_path, monkeypatch):
    """Under statistics that are given, too. What it chose stays when the run goes on, even if it were another."""
    monkeypatch.setattr("pipelines.fidelity.LEAST_SAMPLES", 1)
    lake, given = tmp_path / "lake", ("--statistics", known, "--max-keyframes", "1")
    said = explain(videos / "real", lake, *given)
    assert "comparing fits of a few samples with the reference, of 3 videos" in said.out
    (layer,) = rows(lake, RUNS)[0]["layers"]
    assert layer["draws"] in (1, 4, 6, 10)
    (file,) = lake.glob("_statistics/run_id=*/test_resnet/layer3.json")
    choice = json.loads(file.read_text())
    assert (choice["draws"], choice["holds"], choice["tried"]) == (layer["draws"], layer["holds"], layer["tried"])
    assert choice["tried"] or choice["why"]

    file.write_text(json.dumps(choice | {"draws": 3}))
    Layout(lake).committed(EXPLAIN, file.parent.parent.name.removeprefix("run_id="))[0].unlink()  # of one video
    said = explain(videos / "real", lake, *given)
    assert "comparing" not in said.out
    (run,) = rows(lake, RUNS)
    assert run["layers"][0]["draws"] == 3


@pytest.fixture(scope="module")
def two_models(videos, viba, tmp_path_factory) -> Path:
    """A lake of three clips, one of them without a face, by a model of faces and one whose weights say that it looks at
    whole frames; asked for three targets."""
    folder = tmp_path_factory.mktemp("two")
    make_clips(folder, n_real=0, n_fake=1, frames_per_clip=6)
    faceless = (folder / "masks" / "000.mkv").rename(folder / "fake" / "faceless.mkv")
    spec = replace(spec_for("test_convnext"), view=View(64, part="frame", share=0.5))
    save_model(load_model(spec), spec, folder / "weights.safetensors")
    clips = [faceless, *(min((videos / label).iterdir()) for label in ("real", "fake"))]
    models = ("--model", "test_resnet", "--layer", "layer3", "--model", "test_convnext", "--max-keyframes", "2")
    models = (*models, "--weights", f"test_convnext={folder / 'weights.safetensors'}", "--method", "gradcam")
    targets = ("--target", "fake", "--target", "predicted", "--target", "label")
    said = viba("explain", *clips, "--lake", folder / "lake", *models, *targets)
    assert "estimating" not in said.out  # Grad-CAM needs no statistics
    viba("evaluate", "--lake", folder / "lake")
    return folder / "lake"


def test_one_map_for_each_class_that_is_asked_about(two_models):
    """Grad-CAM of `fake`, of what is predicted and of what the video is labelled: a class named twice has one map."""
    labels = {row["video_id"]: row["label"] for row in rows(two_models, VIDEOS)}
    expected = {
        (row["video_id"], row["frame"], row["model"]): sorted({"fake", row["class"], labels[row["video_id"]]})
        for row in rows(two_models, PREDICTIONS)
        if row["rank"] == 1
    }
    assert {video_id for video_id, *_ in expected} == set(labels)
    found = defaultdict(list)
    for mask in rows(two_models, MASKS):
        layer = {"test_resnet": "layer3", "test_convnext": "stages.2"}[mask["model"]]
        assert (mask["method"], mask["layer"]) == ("gradcam", layer)
        assert mask["error_code"] is mask["total_bits"] is None
        assert np.isfinite(mask["saliency"]).all()
        assert len(mask["saliency"]) == mask["height"] * mask["width"] > 1
        found[mask["video_id"], mask["frame"], mask["model"]].append(mask["target"])
    assert dict(found) == expected


def test_whole_frames_need_no_face(two_models):
    """The view travels with the weights: of a clip without a face the middle square is explained."""
    (faceless,) = [row for row in rows(two_models, VIDEOS) if row["uri"].endswith("faceless.mkv")]
    frames, masks = (
        [row for row in rows(two_models, table) if row["video_id"] == faceless["video_id"]] for table in (FRAMES, MASKS)
    )
    assert faceless["status"] == "ok"
    assert {row["face_x"] for row in frames} == {None}
    assert {mask["model"] for mask in masks} == {"test_convnext"}
    for mask in masks:
        assert [mask[f"box_{side}"] for side in ("x", "y", "width", "height")] == [80, 80, 160, 160]
        assert mask["input_size"] == 64


def test_a_folder_of_videos_with_seventeen_labels(viba, tmp_path):
    """Whole frames, classes by name from a file, folders as labels. The network says the same of everything: class 3
    with p = 1/2. Of class 3 there are three videos, of each other one."""
    names = [f"kind {number}" for number in range(17)]
    rng, videos = np.random.default_rng(0), tmp_path / "videos"
    for number, name in enumerate([*names, names[3].upper(), names[3]]):
        pictures = rng.integers(0, 256, (2, 48, 64, 3), np.uint8)
        write_video(videos / name / f"{number}.mp4", iter(pictures), 10)
    (tmp_path / "names.txt").write_text("\n".join(names))
    state = timm.create_model("test_resnet", num_classes=17).state_dict()
    state["fc.weight"].zero_()
    state["fc.bias"].fill_(math.log(1 / 32))[3] = math.log(1 / 2)
    torch.save(state, tmp_path / "weights.pth")
    lake = tmp_path / "lake"
    own = ("--model", "test_resnet", "--weights", f"test_resnet={tmp_path / 'weights.pth'}", "--classes")
    flags = (*own, tmp_path / "names.txt", "--view", "frame", "--method", "gradcam", "--max-keyframes", "1")
    viba("explain", videos, "--lake", lake, *flags)
    viba("evaluate", "--lake", lake)
    counted, (scored,) = (
        pq.read_table(lake / "evaluation" / f"{name}.parquet").to_pylist() for name in ("table1", "table2")
    )
    assert {row["label"]: row["n_videos"] for row in counted} == {name: 1 for name in names} | {"kind 3": 3}
    # precision of class 3 is 3/19, recall 1; both are 0 for the other sixteen
    assert scored == {"model": "test_resnet", "method": "", "n": 19, "accuracy": pytest.approx(3 / 19)} | {
        "precision": pytest.approx(3 / 19 / 17),
        "recall": pytest.approx(1 / 17),
        "ece": pytest.approx(1 / 2 - 3 / 19),
    }


@pytest.mark.faults
def test_killed_and_killed_again_and_resumed_as_if_nothing_had_happened(
    undisturbed, videos, killable, fast, viba, tmp_path
):
    """kill -9 of driver, Ray and workers at a random moment between the first commit and the last, and of the raylet
    of the run that goes on; then a table's file and a checkpoint are lost, and another process, on another Ray, ends
    it."""
    seed = time.time_ns()
    print(f"seed {seed}")
    rng = random.Random(seed)
    lake = tmp_path / "lake"
    command = ("explain", videos, "--lake", lake, *fast)
    run_id = Layout(undisturbed).run_ids()[0]
    # what is killed is the explaining, not the estimating
    shutil.copytree(Layout(undisturbed).statistics(run_id), Layout(lake).statistics(run_id))

    def committed() -> list[Path]:
        return Layout(lake).committed(EXPLAIN, run_id)

    assert killable(*command).kill_when(lambda: bool(committed()), rng) == (-signal.SIGKILL, "")
    before = len(committed())
    code, said = killable(*command).kill_when(lambda: len(committed()) > before, rng, is_raylet)
    assert (code, said.count("\n")) == (1, 1)
    assert "viba: Ray was killed (its raylet); what is finished is kept" in said
    assert len(committed()) < len(rows(undisturbed, VIDEOS)), "nothing was left to do"
    without_masks, without_checkpoint = committed()[:2]
    (Layout(lake).table(run_id, MASKS.name) / without_masks.name).unlink()
    without_checkpoint.unlink()
    assert "1 files of finished videos are gone" in viba(*command).out
    for table in SINK_TABLES:
        expected, found = rows(undisturbed, table), rows(lake, table)
        assert [tuple(row[name] for name in table.key) for row in found] == [
            tuple(row[name] for name in table.key) for row in expected
        ]
        for a, b in zip(found, expected, strict=True):
            for name in a.keys() - SECONDS:
                same = np.allclose(a[name], b[name], rtol=1e-2, atol=1e-3) if _number(a[name]) else a[name] == b[name]
                assert same, (table.name, name, a[name], b[name])
    assert "table1" in killable("evaluate", "--lake", lake).end()


def _number(value: object) -> bool:
    return isinstance(value, float | list) and not isinstance(value, bool)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "no/such/folder", "--lake", "LAKE"], "no file or folder at no/such/folder"),
        (["explain", "VIDEOS", "--lake", "LAKE", "--model", "xceptoin"], "no detector named 'xceptoin'"),
        (["explain", "VIDEOS", "--lake", "LAKE", "--layer", "block99"], "no model has a layer named block99"),
        (["explain", "VIDEOS", "--lake", "LAKE", "--weights", "xception=/no/file"], "no weights file at /no/file"),
        (
            ["explain", "VIDEOS", "--lake", "LAKE", "--set", "bottleneck.setps=3"],
            "unknown config field bottleneck.setps",
        ),
        (["explain", "VIDEOS", "--lake", "LAKE", "--set", 'mask_rules=["hot"]'], "hot"),
        (["explain", "VIDEOS", "--lake", "LAKE", "--max-keyframes", "0"], "max_keyframes"),
        (["explain", "VIDEOS/notes.txt/..", "--lake", "LAKE"], "no file or folder"),
        (["evaluate", "--lake", "LAKE"], "no lake at"),
        (["sql", "--lake", "LAKE", "select 1"], "no lake at"),
        (["render", "--lake", "LAKE", "abc"], "no lake at"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments, message, videos, viba, tmp_path):
    lake = tmp_path / "lake"
    said = viba(*[each.replace("VIDEOS", str(videos)).replace("LAKE", str(lake)) for each in arguments], code=1)
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1, said.err
    assert not lake.exists()
