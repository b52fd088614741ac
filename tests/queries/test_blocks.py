"""What is lost, damaged or left over of a lake's files is found, named and taken back."""

import os
import shutil

import pytest

from pipelines.__main__ import main
from pipelines.errors import UserError
from pipelines.lake import blocks
from pipelines.lake.compact import take_back
from pipelines.lake.layout import Layout
from pipelines.lake.lock import locked
from pipelines.lake.read import committed, open_lake
from schemas.errors import TRANSIENT
from schemas.tables import EXPLAIN, INPUTS, JUDGE, JUDGE_TABLES, SINK_TABLES

TABLES = (*SINK_TABLES, INPUTS)


def rows_of(video_id: str) -> dict:
    tables = {table.name: [{"video_id": video_id}] for table in TABLES}
    return {"runs": [{}]} | tables


@pytest.fixture
def lake(make_lake):
    """Two committed blocks, a and b, of one video each."""
    for name in ("a", "b"):
        folder = make_lake(rows_of(name), name=name)
    return folder


def found(lake, thorough=False):
    return blocks.damage(Layout(lake), EXPLAIN, "r1", thorough=thorough)


def files(lake, name):
    """The files of a block, its checkpoint first."""
    layout = Layout(lake)
    folders = [layout.checkpoints(EXPLAIN, "r1"), *(layout.table("r1", table.name) for table in TABLES)]
    return [folder / f"{name}.parquet" for folder in folders if (folder / f"{name}.parquet").is_file()]


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-20])


def test_a_whole_lake_has_no_damage_and_a_pending_block_is_none(lake, make_lake):
    assert not found(lake, thorough=True)
    make_lake(rows_of("c"), name="c", pending=True)
    assert not found(lake, thorough=True)


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_a_table_file_that_is_gone_takes_its_block_back(lake, table):
    layout = Layout(lake)
    gone = layout.table("r1", table) / "b.parquet"
    gone.unlink()
    (checkpoint,) = [path for path in layout.committed(EXPLAIN, "r1") if path.stem == "b"]
    damage = found(lake)
    assert (damage.lost, damage.stray) == ({checkpoint: [gone]}, [])
    blocks.clear(layout, EXPLAIN, "r1", damage)
    assert not files(lake, "b")  # nothing of the block is left, so nothing can be doubled
    assert len(files(lake, "a")) == 1 + len(TABLES)  # and of the other one everything
    with open_lake(lake) as connection:
        assert connection.sql("select video_id from videos").fetchall() == [("a",)]


def test_of_a_few_videos_the_blocks_of_others_are_not_read(lake):
    for path in files(lake, "b")[1:]:
        path.write_bytes(b"nobody reads this")
    with open_lake(lake, "r1", ["a", "lost"]) as connection:
        for table in SINK_TABLES:
            assert {row[0] for row in connection.sql(f"select video_id from {table.name}").fetchall()} <= {"a"}
        assert connection.sql("select video_id from videos").fetchall() == [("a",)]


def test_a_run_whose_inputs_were_deleted_is_whole(lake):
    """They are most of a lake, and nobody needs them to read it."""
    shutil.rmtree(Layout(lake).table("r1", INPUTS.name))
    assert not found(lake, thorough=True)
    with open_lake(lake) as connection:
        assert connection.sql("select count(*) from inputs").fetchall() == [(0,)]


def test_a_checkpoint_that_is_gone_leaves_strays(lake):
    layout = Layout(lake)
    (layout.checkpoints(EXPLAIN, "r1") / "a.parquet").unlink()
    damage = found(lake)
    assert not damage.lost
    assert sorted(damage.stray) == sorted(layout.table("r1", table.name) / "a.parquet" for table in TABLES)
    blocks.clear(layout, EXPLAIN, "r1", damage)
    assert not found(lake, thorough=True)
    assert [path.name for path in layout.table("r1", "masks").iterdir()] == ["b.parquet"]


def test_a_checkpoint_cut_short_is_named_and_taken_back(lake):
    layout = Layout(lake)
    checkpoint = layout.checkpoints(EXPLAIN, "r1") / "a.parquet"
    cut_short(checkpoint)
    with open_lake(lake) as connection:  # its rows are whole
        assert connection.sql("select count(*) from videos").fetchall() == [(2,)]
    with pytest.raises(UserError, match=r"a\.parquet is damaged"):
        committed(Layout(lake), EXPLAIN, ["r1"])
    damage = found(lake)
    assert damage.lost == {checkpoint: [checkpoint]}
    blocks.clear(layout, EXPLAIN, "r1", damage)
    assert not found(lake, thorough=True)


def lake_of(make_lake, blocks_of):
    for name, videos in blocks_of.items():
        tables = {table.name: [{"video_id": each["video_id"]} for each in videos] for table in SINK_TABLES}
        for each in videos:
            make_lake({table.name: [{"video_id": each["video_id"]}] for table in JUDGE_TABLES}, name=each["video_id"])
        folder = make_lake({"runs": [{}]} | tables | {"videos": videos}, name=name)
    return folder


def test_a_file_that_has_changed_and_an_error_that_may_not_come_again_are_taken_back(make_lake):
    """And what was judged of them; their neighbours stay."""
    gone = {"status": "error", "error_stage": "prepare", "error_code": "not_found", "error_detail": "no file"}
    broken = gone | {"error_code": "not_a_video"}
    lake = lake_of(
        make_lake,
        {
            "a": [{"video_id": "v1", "uri": "/one"}, {"video_id": "v2", "uri": "/two"}],
            "b": [{"video_id": "v3", "uri": "/three"} | gone],
            "c": [{"video_id": "v4", "uri": "/four"} | broken, {"video_id": "v5", "uri": "/five"}],
        },
    )
    layout = Layout(lake)
    same = {"/one": "v1", "/two": "v2", "/three": "v3", "/four": "v4"}  # five is not asked for today: it stays
    assert not blocks.stale(layout, "r1", same, frozenset())
    found = blocks.stale(layout, "r1", same | {"/two": "other"}, TRANSIENT)
    assert {path.stem: videos for path, videos in found.items()} == {"a": ["v2"], "b": ["v3"]}
    take_back(layout, "r1", found)
    with open_lake(lake) as connection:
        assert connection.sql("select video_id from videos order by all").fetchall() == [("v1",), ("v4",), ("v5",)]
        masks = connection.sql("select video_id from masks order by all").fetchall()
        judged = connection.sql("select video_id from judged order by all").fetchall()
    assert judged == masks == [("v1",), ("v4",), ("v5",)]
    assert not blocks.damage(layout, EXPLAIN, "r1", thorough=True)
    assert not blocks.damage(layout, JUDGE, "r1", thorough=True)


@pytest.mark.parametrize("garbage", [False, True])
def test_a_table_file_that_cannot_be_read_is_named_by_verify_and_repaired(lake, capsys, garbage):
    file = Layout(lake).table("r1", "masks") / "a.parquet"
    if garbage:  # of the right length, with its footer: only who reads the values notices
        content = bytearray(file.read_bytes())
        content[4:200] = bytes(196)
        file.write_bytes(content)
    else:
        cut_short(file)
    assert not found(lake)  # this looks at names alone
    assert main(["verify", "--lake", str(lake)]) == 1
    assert f"{file}: damaged" in capsys.readouterr().out.replace("\n", "")
    assert main(["verify", "--lake", str(lake), "--repair"]) == 0
    assert main(["verify", "--lake", str(lake)]) == 0
    assert "every file is whole" in capsys.readouterr().out
    assert not files(lake, "a")


def test_a_damaged_file_is_one_line_in_every_command(lake, capsys):
    cut_short(Layout(lake).table("r1", "masks") / "a.parquet")
    assert main(["evaluate", "--lake", str(lake)]) == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "masks/a.parquet" in said
    assert "verify --lake LAKE" in said


def test_evaluate_says_that_files_are_lost(lake, capsys):
    (Layout(lake).table("r1", "masks") / "a.parquet").unlink()
    assert main(["evaluate", "--lake", str(lake)]) == 1
    assert "check files: 1 of finished videos are gone" in capsys.readouterr().out


def test_a_run_has_one_writer(lake):
    layout = Layout(lake)
    with locked(layout, EXPLAIN, "r1"):
        with pytest.raises(UserError, match="run r1 is being written by process"), locked(layout, EXPLAIN, "r1"):
            pass
        with locked(layout, EXPLAIN, "r2"):  # other runs go on side by side
            pass
    layout.lock(EXPLAIN, "r1").write_text("process 1234567890 on a machine of a long name\n" * 9)
    with locked(layout, EXPLAIN, "r1"):  # and the next one may, in whose name alone it then is
        assert layout.lock(EXPLAIN, "r1").read_text().startswith(f"process {os.getpid()} on ")
        assert "long" not in layout.lock(EXPLAIN, "r1").read_text()
    assert main(["verify", "--lake", str(lake), "--repair"]) == 0


def test_repair_waits_for_no_writer(lake, capsys):
    with locked(Layout(lake), EXPLAIN, "r1"):
        assert main(["verify", "--lake", str(lake), "--repair"]) == 1
    assert "is being written by process" in capsys.readouterr().err
