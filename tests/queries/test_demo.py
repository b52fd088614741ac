"""The demo's own code: who is given what. What the commands make of it is tested with each of them."""

import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from operators.inputs.view import View
from operators.methods import statistics
from operators.models.spec import spec_for
from operators.models.training import TrainParams
from operators.models.weights import load_model, save_model
from pipelines import demo as demos
from pipelines.called import called
from tests.queries.conftest import write_lake

FACES, MOTION = (replace(spec_for("test_resnet"), name=name) for name in ("faces", "motion"))
DETECTORS = (
    (replace(FACES, view=View(64)), TrainParams(max_epochs=3)),
    (replace(MOTION, view=View(64, shows="flow")), TrainParams(max_epochs=1)),
)


@pytest.fixture
def told(monkeypatch) -> dict[str, list]:
    """What each command was told, which does nothing but leave what the next one needs."""
    found: dict[str, list] = {}

    def told_to(name, leaves=lambda *_: None):
        def run(*arguments, **options):
            found.setdefault(name, []).append((arguments, options))
            return leaves(*arguments)

        monkeypatch.setattr(demos, name, run)

    def weights(spec, _params, _source, folder, *_):
        folder.mkdir(parents=True, exist_ok=True)
        save_model(load_model(spec), spec, folder / "model.safetensors")

    def noise(config, _paths, folder, _console):
        for each in config.detectors:
            path = statistics.path_in(folder, each.spec.name, each.layers[0])
            statistics.save(statistics.of_batch(torch.zeros(2, 1, 1, 1)), path, config.about_statistics(each))

    def lake(_config, manifests, folder, _console):
        videos = pq.read_table(manifests[0], columns=["video_id", "label"]).to_pylist()
        write_lake({"runs": [{}], "videos": videos}, lake=folder)

    monkeypatch.setattr(demos, "_CLIPS", 8)
    monkeypatch.setattr(demos, "_FRAMES", 2)
    monkeypatch.setattr(demos, "_DETECTORS", DETECTORS)
    told_to("train", weights)
    told_to("explain", lake)
    told_to("evaluate", lambda _lake: 0)
    told_to("render", lambda _lake, video_id: (f"{video_id}.mp4",))
    told_to("estimate", noise)
    told_to("report", lambda folder: folder / "report.html")
    for name in ("cut_samples", "judge"):
        told_to(name)
    return found


def test_detectors_are_trained_on_clips_and_explain_others(told, tmp_path):
    assert demos.demo(tmp_path, Console(quiet=True)) == 0
    clips = pq.read_table(tmp_path / "clips/manifest.parquet").to_pylist()
    assert len(clips) == 16
    assert {row["split"] for row in clips} == {"train", "val", "test"}

    source = told["cut_samples"][0][0][0]
    trained_on = {row["video_id"] for row in source.videos.to_pylist()}
    assert trained_on == {row["video_id"] for row in clips if row["split"] != "test"}
    assert [arguments[:2] for arguments, _ in told["train"]] == [*DETECTORS]

    ((config, (held_out,), lake, _), _), *_ = told["explain"]
    explained = pq.read_table(held_out).to_pylist()
    assert explained == [row for row in clips if row["split"] == "test"]
    assert {row["label"] for row in explained} == {"real", "fake"}
    assert not trained_on & {row["video_id"] for row in explained}
    assert [(each.spec.name, each.spec.view) for each in config.detectors] == [
        (spec.name, spec.view) for spec, _ in DETECTORS
    ]
    assert all(str(tmp_path / "training") in each.weights for each in config.detectors)
    assert config.methods == demos._METHODS

    # the noise is like genuine clips, and given to the run
    (((_, (estimated_from,), folder, _), options),) = told["estimate"]
    assert (estimated_from, options) == (tmp_path / "clips/manifest.parquet", {"label": "real"})
    assert config.statistics.folder == str(folder)
    assert len(config.statistics.files) == 2
    # the run is judged, and its league has a control
    assert [arguments[:2] for arguments, _ in told["judge"]] == [(lake, None)]
    assert {"iba", "centre"} < set(config.methods)
    # one genuine and one forged clip are drawn, then the page
    labels = {row["video_id"]: row["label"] for row in explained}
    assert sorted(labels[arguments[1]] for arguments, _ in told["render"]) == ["fake", "real"]
    own = (*told["judge"], *told["evaluate"], *told["render"], *told["report"])
    assert [arguments[0] for arguments, _ in own] == [lake] * 5


def test_the_demo_again_keeps_its_clips(told, tmp_path):
    demos.demo(tmp_path, Console(quiet=True))
    clips = {path: path.stat().st_mtime_ns for path in (tmp_path / "clips").rglob("*") if "held_out" not in path.name}
    demos.demo(tmp_path, Console(quiet=True))
    assert clips
    assert all(path.stat().st_mtime_ns == before for path, before in clips.items() if path.is_file())


def said_by(tmp_path, run):
    out = io.StringIO()
    run(tmp_path / "demo", Console(file=out, width=80, force_terminal=True, color_system=None))
    return out.getvalue().splitlines()


def test_the_demo_is_a_line_a_step_and_ends_in_what_to_type(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    lines = said_by(Path(), demos.demo)
    assert "five minutes on two cores" in lines[0]
    steps = [line for line in lines if re.match(r"\d/\d ", line)]
    assert [line[:3] for line in steps] == [f"{number}/8" for number in range(1, 9)]
    assert len(lines) <= 25
    assert lines[-3] == "  xdg-open demo/lake/report.html"
    weights = " ".join(f"--weights {spec.name}=demo/training/{spec.name}/model.safetensors" for spec, _ in DETECTORS)
    assert lines[-1] == f"  {called(f'explain VIDEOS --lake lake {weights}')}"
    # what commands say is kept, and tables are for who asks for them
    assert "1/8 making" in Path("demo/demo.log").read_text()
    assert all(arguments[-1].quiet for arguments, _ in (*told["explain"], *told["judge"], *told["estimate"]))
    assert told["evaluate"] == [((Path("demo/lake"),), {"brief": True})]


def test_a_video_that_failed_is_said_where_it_is_seen(told, tmp_path, monkeypatch):
    def lake(_config, _manifests, folder, _console):
        videos = [{"video_id": name, "label": name, "status": "ok"} for name in ("real", "fake")]
        write_lake({"runs": [{}], "videos": [*videos, {"video_id": "bad", "status": "error"}]}, lake=folder)

    monkeypatch.setattr(demos, "explain", lake)
    lines = said_by(tmp_path, demos.demo)
    at = lines.index("1 videos could not be explained:")
    assert lines[at + 1].startswith(f"  {called('sql --lake ')}")
    assert "1 videos could not be judged:" not in lines
