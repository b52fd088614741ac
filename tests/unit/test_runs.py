"""The run's row: what is known of its starts and its end stays when it goes on, and what it chose is noted."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from operators.methods.choice import Choice
from pipelines import config as configs
from pipelines.lake import runs
from pipelines.lake.kept import _cuts_alike
from pipelines.lake.layout import Layout
from pipelines.probe import Cut
from schemas.tables import RUNS

CUTS = {("resnet10t", "layer2"): Cut("graph", True, None), ("resnet10t", "layer3"): Cut("hooks", False, "slow")}


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_hardware", lambda: {"cpus": 2})
    return Layout(tmp_path)


def config(**bottleneck):
    return configs.build({"bottleneck": bottleneck}, ["resnet10t"], ["layer2", "layer3"], {})


def row(layout, run_id):
    (found,) = pq.read_table(layout.table(run_id, "runs"), schema=RUNS.schema, partitioning=None).to_pylist()
    return found


def test_a_run_that_goes_on_has_another_start_and_keeps_the_first(layout):
    run = config()
    runs.begin(run, layout, CUTS)
    first = row(layout, run.run_id)
    assert (first["run_id"], first["ended_at"], len(first["starts"])) == (run.run_id, None, 1)
    assert json.loads(first["config"]) == json.loads(run.to_json())
    assert {"viba", "commit", "python", "torch"} <= json.loads(first["starts"][0]["versions"]).keys()
    runs.end(run, layout, None)
    ended = row(layout, run.run_id)
    assert ended == first | {"ended_at": ended["ended_at"]}
    assert ended["ended_at"] > ended["started_at"]
    runs.begin(run, layout, CUTS)
    again = row(layout, run.run_id)
    assert (again["started_at"], again["ended_at"]) == (first["started_at"], ended["ended_at"])
    assert again["starts"][0] == first["starts"][0]
    assert len(again["starts"]) == 2
    assert again["starts"][1]["started_at"] > ended["ended_at"]


def test_a_row_that_was_cut_short_costs_its_starts_alone(layout):
    run = config()
    runs.begin(run, layout, CUTS)
    (path,) = layout.table(run.run_id, "runs").iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    runs.begin(run, layout, CUTS)
    assert len(row(layout, run.run_id)["starts"]) == 1


def test_layers_say_how_they_are_cut_and_how_many_draws_they_take(layout):
    told, left = config(preset="fast", draws=3), config()
    for run, draws in ((told, 3), (left, None)):
        runs.begin(run, layout, CUTS)
        found = {each["layer"]: each for each in row(layout, run.run_id)["layers"]}
        assert [(found[name]["cut"], found[name]["folded"]) for name in ("layer2", "layer3")] == [
            ("graph", True),
            ("hooks", False),
        ]
        assert {each["draws"] for each in found.values()} == {draws}
    runs.choose(left, layout, {("resnet10t", "layer3"): Choice(4, True)})
    found = {each["layer"]: each for each in row(layout, left.run_id)["layers"]}
    assert (found["layer3"]["draws"], found["layer3"]["holds"]) == (4, True)
    assert (found["layer2"]["draws"], found["layer2"]["holds"]) == (None, None)


def test_a_tree_that_is_in_no_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "_ROOT", tmp_path)
    assert runs._commit() is None


def test_what_a_run_kept_is_for_those_that_look_at_the_same_parts_and_no_more_views():
    """Frames of a run that looks for faces are others than those of one that does not: a face has to be there."""
    face, frame = (configs.build({}, ["resnet10t"], ["layer2"], {}, view=part) for part in ("face", "frame"))
    other_size = configs.build({}, ["xception"], ["block4"], {})
    both_sizes, both_parts = (replace(face, detectors=face.detectors + each.detectors) for each in (other_size, frame))
    for kept, wanted, alike in (
        (face, face, True),
        (both_sizes, face, True),
        (face, both_sizes, False),
        (both_parts, face, False),
        (both_parts, frame, False),
        (frame, face, False),
        (face, replace(face, prepare=replace(face.prepare, faces=replace(face.prepare.faces, margin=0.9))), False),
    ):
        assert _cuts_alike(kept, wanted) == alike
