"""Judging the maps of a run: the tables check out, nothing is explained again, and a kill costs nothing."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from operators.judging.params import JudgeParams
from pipelines.judge import settings
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from schemas.tables import JUDGE, JUDGE_TABLES, SINK_TABLES

FEW = [
    *("--max-frames", "2", "--set", "judge.steps=4", "--set", "judge.sensitivity_sets=2", "--set", "judge.pgd_steps=2"),
    *("--set", "judge.sanity_frames=1", "--set", "judge.sanity_depths=2", "--set", 'judge.variants=["mean_map"]'),
    *("--set", "resources.videos_per_block=1"),
]
SECONDS = {"judge_s"}


def rows(lake: Path) -> dict[str, list[dict]]:
    with open_lake(lake) as connection:
        found = {}
        for table in JUDGE_TABLES:
            key = ", ".join(table.key)
            kept = [name for name in table.schema.names if name not in SECONDS]
            sql = f"select {', '.join(kept)} from {table.name} order by {key}"
            found[table.name] = connection.sql(sql).to_arrow_table().to_pylist()
        return found


@pytest.fixture(scope="module")
def explained(videos, explain, tmp_path_factory) -> Path:
    """A lake with a run of two methods, one of them a control, over three videos."""
    lake = tmp_path_factory.mktemp("explained") / "lake"
    explain(videos / "fake", lake, "--method", "gradcam", "--method", "centre")
    return lake


@pytest.fixture(scope="module")
def judged(explained, viba, tmp_path_factory) -> tuple[Path, str]:
    lake = tmp_path_factory.mktemp("judged") / "lake"
    shutil.copytree(explained, lake)
    return lake, viba("judge", "--lake", lake, *FEW).out


def test_judged_from_the_lake_alone(judged, explained):
    lake, said = judged
    assert "models are asked about 2 of 3 explained frames" in said
    # Grad-CAM's one pass, at two depths and for the other class
    assert "1 of them are explained again 3 times by every method, some 3 passes more" in " ".join(said.split())
    (log,) = (lake / "_logs").glob("*-judge.log")  # every notice, and how far it was
    assert [line[20:] in said for line in log.read_text().splitlines()].count(False) == 0
    assert "judge 3/3" in log.read_text()
    with open_lake(lake) as connection:
        (n_maps, n_variants, n_frames, passes, failed) = connection.sql(
            "select (select count(*) from masks), (select count(*) from judged_maps), sum(n_frames), sum(passes), "
            "count(error_code) from judged"
        ).fetchall()[0]
        metrics = dict(
            connection.sql("select metric, count(distinct (video_id, frame)) from faithfulness group by all").fetchall()
        )
        methods = connection.sql("select distinct method, variant from faithfulness order by all").fetchall()
    assert (n_variants, n_frames, failed) == (2 * n_maps, 2, 0)
    assert passes > 0
    assert {metrics[name] for name in ("srg", "insertion", "deletion", "road", "sensitivity_n")} == {2}
    assert methods == [("centre", ""), ("centre", "mean_map"), ("gradcam", ""), ("gradcam", "mean_map")]
    for table in SINK_TABLES:  # nothing is explained again
        for path in explained.rglob(f"run_id=*/{table.name}/*.parquet"):
            assert (lake / path.relative_to(explained)).read_bytes() == path.read_bytes()


def test_the_league_follows(judged, viba):
    lake, _ = judged
    said = viba("evaluate", "--lake", lake).out
    assert "league: " in said
    league = {row["method"]: row for row in pq.read_table(lake / "evaluation/league.parquet").to_pylist()}
    assert set(league) == {"gradcam", "centre", "gradcam+mean_map", "centre+mean_map"}
    assert league["centre"]["sanity"].startswith("fails: the map stays 1.00 the same")
    assert league["gradcam"]["n_frames"] == 2
    assert league["gradcam"]["srg_low"] <= league["gradcam"]["srg"] <= league["gradcam"]["srg_high"]


def test_what_a_kill_leaves_is_gone_on_from_as_if_nothing_had_happened(judged, viba, tmp_path):
    """One video of three is committed; of the second half the tables are written, the third was not begun. That a kill
    leaves no other state of these files, test_explain shows: it is the same sink."""
    lake = tmp_path / "lake"
    shutil.copytree(judged[0], lake)
    layout = Layout(lake)
    (run_id,) = layout.run_ids()
    finished, begun, untouched = layout.committed(JUDGE, run_id)
    begun.rename(begun.with_suffix(".pending.parquet"))
    untouched.unlink()
    for number, table in enumerate(JUDGE_TABLES):
        (layout.table(run_id, table.name) / untouched.name).unlink()
        if number > len(JUDGE_TABLES) // 2:
            (layout.table(run_id, table.name) / begun.name).rename(
                layout.table(run_id, table.name) / f"{begun.name}.part"
            )
    layout.maps_to_judge(run_id).write_bytes(b"cut short")
    kept = [layout.table(run_id, table.name) / finished.name for table in JUDGE_TABLES]
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert rows(lake)["judged"] == [row for row in rows(judged[0])["judged"] if row["video_id"] == video_of(finished)]

    assert "2 videos to do" in viba("judge", "--lake", lake, *FEW).out
    assert rows(lake) == rows(judged[0])  # nothing lost, nothing doubled
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    assert not list(lake.rglob("*.part"))
    assert not layout.maps_to_judge(run_id).exists()


@pytest.mark.faults
def test_killed_in_mid_run_and_gone_on_with_as_if_nothing_had_happened(explained, judged, killable, viba, tmp_path):
    """kill -9 of driver, Ray and workers at a random moment from the first file of a table to the first commit, or up
    to half a second later."""
    seed = time.time_ns()
    print(f"seed {seed}")
    rng = random.Random(seed)
    lake = tmp_path / "lake"
    shutil.copytree(explained, lake)
    layout, command = Layout(lake), ("judge", "--lake", lake, *FEW)
    (run_id,) = layout.run_ids()
    n_files = rng.randint(1, len(JUDGE_TABLES))

    def begun() -> bool:
        folders = [layout.table(run_id, table.name) for table in JUDGE_TABLES]
        return sum(1 for folder in folders for _ in folder.glob("*")) >= n_files

    assert killable(*command).kill_when(begun, rng) == (-signal.SIGKILL, "")
    finished = layout.committed(JUDGE, run_id)
    assert len(finished) < 3, "nothing was left to do"
    kept = [layout.table(run_id, table.name) / each.name for each in finished for table in JUDGE_TABLES]
    stamps = [path.stat().st_mtime_ns for path in kept]
    assert f"{3 - len(finished)} videos to do" in viba(*command).out
    assert rows(lake) == rows(judged[0])
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    assert not list(lake.rglob("*.part"))


def video_of(checkpoint: Path) -> str:
    (video_id,) = pq.read_table(checkpoint)["video_id"].to_pylist()
    return video_id


def test_other_settings_are_refused_until_it_is_judged_again(judged, viba, tmp_path):
    lake = tmp_path / "lake"
    shutil.copytree(judged[0], lake)
    said = viba("judge", "--lake", lake, *FEW[2:], "--max-frames", "1", code=1)
    assert "was judged with other max_frames: --again drops that" in said.err
    viba("judge", "--lake", lake, *FEW[2:], "--max-frames", "1", "--again")
    assert sum(row["n_frames"] for row in rows(lake)["judged"]) == 1
    (params,) = (lake / "_judging").iterdir()
    assert json.loads(params.read_text())["params"]["max_frames"] == 1


def test_another_file_of_the_same_name_is_another_setting(tmp_path):
    found = []
    for text in ("a", "b"):
        path = tmp_path / "file"
        path.write_text(text)
        found += [settings(JudgeParams(), path, {}), settings(JudgeParams(), None, {"toy": path})]
    assert len({json.dumps(each) for each in found}) == 4


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--run", "r9"], "no run r9"),
        (["--weights", "other=x"], "which is not among the run's models test_resnet"),
        (["--set", 'judge.fills=["mean"]'], "judge.fills has no 'blur'"),
        (["--set", "judge.steps=1"], "config judge.steps: 1 is not a whole number from 2"),
    ],
)
def test_a_mistake_is_one_line(explained, viba, flags, message):
    said = viba("judge", "--lake", explained, *flags, code=1)
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
