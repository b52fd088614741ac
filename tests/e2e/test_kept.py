"""Cut once, explain and judge often: what a run kept stands for videos that are no longer there."""

import shutil
from pathlib import Path

import pytest

from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from schemas.tables import EXPLAIN, FRAMES, INPUTS, JUDGE_TABLES, MASKS, PREDICTIONS, Table

SECONDS = {"seconds", "judge_s"}
FEW = [
    *("--max-frames", "2", "--set", "judge.steps=4", "--set", "judge.sensitivity_sets=2", "--set", "judge.pgd_steps=1"),
    *("--set", "judge.sanity_frames=0", "--set", "judge.variants=[]"),
]


def rows(lake: Path, run_id: str, table: Table) -> list[dict]:
    names = [name for name in table.schema.names if name not in SECONDS | {"run_id"}]
    with open_lake(lake, run_id) as connection:
        wanted = ", ".join(f'"{name}"' for name in names)
        return connection.sql(f"select {wanted} from {table.name} order by all").to_arrow_table().to_pylist()


@pytest.fixture(scope="module")
def lake(videos, explain, viba, known, tmp_path_factory) -> tuple[Path, Path]:
    """A lake whose run kept what it cut, and a copy as if it had not, judged from the videos; these are then gone."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(videos, folder / "videos")
    flags = ("--statistics", known, "--method", "gradcam")
    explain(folder / "videos" / "real", folder / "lake", *flags, "--keep-crops")
    explain(folder / "videos", folder / "lake", *flags)  # goes on as it began
    shutil.copytree(folder / "lake", folder / "plain")
    (run_id,) = Layout(folder / "plain").run_ids()
    shutil.rmtree(Layout(folder / "plain").table(run_id, INPUTS.name))
    viba("judge", "--lake", folder / "plain", *FEW)
    shutil.rmtree(folder / "videos")
    return folder / "lake", folder / "plain"


def test_another_method_explains_what_was_kept(lake, undisturbed, explain, known):
    kept, _ = lake
    (first,) = Layout(kept).run_ids()
    said = explain(Layout(kept).manifest(first), kept, "--statistics", known)
    assert "8 of 8 videos are in a run that kept what it cut" in said.out
    (second,) = {*Layout(kept).run_ids()} - {first}
    (plain,) = Layout(undisturbed).run_ids()
    for table in (FRAMES, MASKS, PREDICTIONS):
        assert rows(kept, second, table) == rows(undisturbed, plain, table) != []  # to the last bit
    with open_lake(kept) as connection:
        (files,) = connection.sql(
            "select count(*), count(distinct run_id), min(octet_length(pixels)) from inputs"
        ).fetchall()
        views = connection.sql("select distinct view from inputs order by all").fetchall()
    assert files[1:] == (1, 3 * 160 * 160)  # the run that was not asked to keep anything kept nothing
    assert views == [("face picture 160",), ("face picture 192",)]


def test_judged_from_what_was_kept(lake, viba):
    kept, plain = lake
    run_id = min(Layout(kept).run_ids(), key=lambda each: not Layout(kept).table(each, INPUTS.name).is_dir())
    viba("judge", "--lake", kept, "--run", run_id, *FEW)
    for table in JUDGE_TABLES:
        assert rows(kept, run_id, table) == rows(plain, run_id, table)
    assert rows(kept, run_id, JUDGE_TABLES[0]) != []


def test_a_run_that_went_on_kept_the_inputs_of_all_of_its_videos(lake, viba):
    layout = Layout(lake[0])
    (run_id,) = Layout(lake[1]).run_ids()
    files = {path.name for path in layout.committed(EXPLAIN, run_id)}
    assert {path.name for path in layout.table(run_id, INPUTS.name).glob("*.parquet")} == files
    assert viba("verify", "--lake", layout.root).out


def test_a_run_that_was_begun_without_keeps_none(undisturbed, videos, explain, tmp_path):
    lake = tmp_path / "lake"
    shutil.copytree(undisturbed, lake)
    said = explain(videos, lake, "--keep-crops")
    assert "was begun without --keep-crops, so it keeps none" in said.out.replace("\n", " ")
