"""The whole way on small clips: one row per file, tables that check out, and nothing lost to kill -9."""

import random
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from pipelines.lake.read import open_lake
from schemas.tables import LAKE_TABLES, SINK_TABLES

SECONDS = {"prepare_s", "explain_s", "metrics_s"}


def rows(lake: Path, table) -> list[dict]:
    connection = open_lake(lake)
    found = connection.sql(f"select * from {table.name} order by {', '.join(table.key)}").to_arrow_table().to_pylist()
    connection.close()
    return found


def test_every_file_is_one_row(undisturbed, videos):
    found = {Path(row["uri"]).relative_to(videos).as_posix(): row for row in rows(undisturbed, SINK_TABLES[0])}
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
    masks = rows(undisturbed, next(table for table in SINK_TABLES if table.name == "masks"))
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
    for table in LAKE_TABLES:
        files = sorted((run / table.name).glob("*.parquet"))
        assert files
        for file in files:
            assert pq.read_schema(file).equals(table.schema)


def test_evaluation_and_questions(undisturbed, viba):
    done = viba.run("evaluate", "--lake", undisturbed)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("table1", "table2", "table3"):
        assert name in done.stdout
        assert (undisturbed / "evaluation" / f"{name}.parquet").is_file()
        assert (undisturbed / "evaluation" / f"{name}.csv").is_file()
    asked = viba.run("sql", "--lake", undisturbed, "select count(*) as n from videos", "--format", "csv")
    assert asked.stdout.split() == ["n", "8"]


def test_the_same_command_continues_the_run_and_adds_new_files(undisturbed, videos, viba, tmp_path):
    """Nothing is done twice: the files of the first run are untouched, and a new video is one more row."""
    lake = tmp_path / "lake"
    shutil.copytree(undisturbed, lake)
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*.parquet") if "videos" in path.parts}
    more = tmp_path / videos.name  # another mount point
    shutil.copytree(videos, more)
    shutil.copyfile(max((more / "fake").iterdir()), more / "fake" / "new.mp4")
    viba.explain(more, lake)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    for table in SINK_TABLES:
        old, new = rows(undisturbed, table), rows(lake, table)
        kept = [row for row in new if any(row["video_id"] == each["video_id"] for each in old)]
        assert kept == old
    assert len(rows(lake, SINK_TABLES[0])) == len(rows(undisturbed, SINK_TABLES[0])) + 1


def test_killed_three_times_and_resumed_as_if_nothing_had_happened(undisturbed, videos, viba, tmp_path):
    """kill -9 of driver, Ray and workers at random moments between the first commit and the last."""
    lake = tmp_path / "lake"
    rng = random.Random(time.time_ns())
    checkpoints = lake / "_checkpoints"
    for attempt in range(3):
        process = viba.start_explain(videos, lake)
        wanted = attempt * 2 + 1  # commits to wait for: each time further on, never the whole run
        deadline = time.monotonic() + 300
        while len(list(checkpoints.rglob("*.parquet"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.01)
        time.sleep(rng.random() * 0.5)
        assert viba.kill_everything() > 0, "the run was over before it was killed"
        process.communicate()
    viba.explain(videos, lake)
    for table in SINK_TABLES:
        expected, found = rows(undisturbed, table), rows(lake, table)
        assert [tuple(row[name] for name in table.key) for row in found] == [
            tuple(row[name] for name in table.key) for row in expected
        ]
        for a, b in zip(found, expected, strict=True):
            for name in a.keys() - SECONDS:
                same = np.allclose(a[name], b[name], rtol=1e-2, atol=1e-3) if _number(a[name]) else a[name] == b[name]
                assert same, (table.name, name, a[name], b[name])
    assert viba.run("evaluate", "--lake", lake).returncode == 0


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
        (["explain", "VIDEOS", "--lake", "LAKE", "--max-keyframes", "0"], "--max-keyframes"),
        (["explain", "VIDEOS/notes.txt/..", "--lake", "LAKE"], "no file or folder"),
        (["evaluate", "--lake", "LAKE"], "no lake at"),
        (["sql", "--lake", "LAKE", "select 1"], "no lake at"),
        (["render", "--lake", "LAKE", "abc"], "no lake at"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments, message, videos, tmp_path, capsys):
    lake = tmp_path / "lake"
    code = main([each.replace("VIDEOS", str(videos)).replace("LAKE", str(lake)) for each in arguments])
    err = capsys.readouterr().err
    assert code == 1
    assert message in err
    assert len(err.strip().splitlines()) == 1, err
    assert not lake.exists()
