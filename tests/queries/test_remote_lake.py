"""A lake on a store: what is committed counts, a rename is a copy and a removal, and claims stand for locks."""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pyarrow as pa
import pytest
import ray
from ray.data.block import BlockAccessor
from rich.console import Console

from operators.storage import parquet, remote
from operators.storage.remote import path_of
from pipelines.__main__ import main
from pipelines.errors import UserError
from pipelines.lake import blocks, compact, lock
from pipelines.lake.layout import PENDING, Layout
from pipelines.lake.lock import locked
from pipelines.lake.read import open_lake
from pipelines.lake.sink import LakeSink, checkpointed
from pipelines.screen import logged, say
from schemas.tables import EXPLAIN, NESTED, SINK_TABLES, VIDEO_ROW


@pytest.fixture
def layout(s3) -> Layout:
    return Layout(path_of(s3.bucket) / "lake")


def block(*names: str) -> pa.Table:
    empty = dict.fromkeys(VIDEO_ROW.names) | {"inputs": []} | {table.name: [] for table in NESTED}
    rows = [empty | {"video_id": name, "uri": name, "dataset": "d", "status": "ok"} for name in names]
    return pa.Table.from_pylist(rows, schema=VIDEO_ROW)


def write(layout: Layout, task: int, *names: str, commit: bool = True) -> str:
    """A block as a task of Ray's writes it; the name of its files."""
    sink = LakeSink(layout, "r1", SINK_TABLES)
    context = SimpleNamespace(kwargs={"write_uuid": "w"}, task_idx=task)
    name = sink.filename_provider.get_filename_for_task("w", task)
    ids = pa.table({"video_id": list(names)})
    pending = layout.checkpoints(EXPLAIN, "r1") / name.replace(".parquet", PENDING)
    parquet.write_table(ids, pending)
    sink.write_block(BlockAccessor.for_block(block(*names).drop_columns("inputs")), 0, context)
    if commit:
        pending.replace(pending.with_name(name))
    return name


def videos(layout: Layout) -> list[str]:
    with open_lake(layout.root) as connection:
        return [name for (name,) in connection.sql("select video_id from videos order by 1").fetchall()]


def test_a_reader_sees_committed_blocks_alone_and_new_ones_at_once(layout, s3):
    s3.fail_every = 10
    write(layout, 0, "a", "b")
    assert videos(layout) == ["a", "b"]
    write(layout, 1, "c", commit=False)
    assert videos(layout) == ["a", "b"]
    write(layout, 2, "d")
    assert videos(layout) == ["a", "b", "d"]
    assert layout.run_ids() == ["r1"]
    assert s3.failed
    found = blocks.damage(layout, EXPLAIN, "r1", thorough=True)
    assert not found


def test_a_commit_that_was_killed_between_copy_and_removal_is_one(layout):
    """Ray takes a block with a pending checkpoint for unfinished and removes its files, committed or not."""
    name = write(layout, 0, "a", "b")
    checkpoints = layout.checkpoints(EXPLAIN, "r1")
    twin = checkpoints / name.replace(".parquet", PENDING)
    twin.write_bytes((checkpoints / name).read_bytes())
    unfinished = write(layout, 1, "c", commit=False)
    blocks.clear(layout, EXPLAIN, "r1", blocks.damage(layout, EXPLAIN, "r1"))
    assert not twin.exists()
    assert layout.pending(EXPLAIN, "r1") == (unfinished.removesuffix(".parquet"),)
    assert videos(layout) == ["a", "b"]


def test_small_blocks_become_a_large_one(layout):
    for number in range(3):
        write(layout, number, f"v{number}")
    with open_lake(layout.root) as open_before:
        assert compact.compact(layout, EXPLAIN, "r1", many=2) == 3
        assert videos(layout) == ["v0", "v1", "v2"]
        assert len(open_before.sql("select * from videos").fetchall()) == 3
    (live,), replaced = blocks.committed(layout, EXPLAIN, "r1")
    assert len(replaced) == 3
    compact.sweep(layout, EXPLAIN, "r1", older_than_s=-60)
    assert layout.committed(EXPLAIN, "r1") == [live]
    assert videos(layout) == ["v0", "v1", "v2"]


def test_a_lost_file_of_a_committed_block_is_found_and_its_videos_are_done_again(layout):
    name = write(layout, 0, "a")
    write(layout, 1, "b")
    (layout.table("r1", "frames") / name).unlink()
    found = blocks.damage(layout, EXPLAIN, "r1")
    assert [[path.parent.name for path in paths] for paths in found.lost.values()] == [["frames"]]
    blocks.clear(layout, EXPLAIN, "r1", found)
    assert videos(layout) == ["b"]
    assert not (layout.table("r1", "videos") / name).exists()


def test_one_of_two_has_the_run(layout):
    with locked(layout, EXPLAIN, "r1"):
        with pytest.raises(UserError, match=rf"run r1 is being written by process {os.getpid()} on "):
            locked(layout, EXPLAIN, "r1").__enter__()
        with locked(layout, EXPLAIN, "r2"):
            pass
    with locked(layout, EXPLAIN, "r1"):
        pass
    assert list(layout.lock(EXPLAIN, "r1").rglob("*")) == []


def test_a_claim_of_a_process_that_is_gone_is_none(layout, monkeypatch):
    folder = layout.lock(EXPLAIN, "r1")
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (folder / "gone").write_text(json.dumps([gone.pid, "here", lock._machine()]))
    with locked(layout, EXPLAIN, "r1"):
        assert not (folder / "gone").exists()
    # of another machine's process is known only when it last renewed its claim
    (folder / "elsewhere").write_text(json.dumps([gone.pid, "there", "another machine"]))
    with pytest.raises(UserError, match=f"process {gone.pid} on there"):
        locked(layout, EXPLAIN, "r1").__enter__()
    monkeypatch.setattr(lock, "_DEAD_S", 1.0)
    time.sleep(3)
    with locked(layout, EXPLAIN, "r1"):
        assert not (folder / "elsewhere").exists()


def test_a_claim_is_renewed(layout, monkeypatch):
    monkeypatch.setattr(lock, "_RENEWED_S", 0.2)
    monkeypatch.setattr(lock, "_DEAD_S", 2.0)
    monkeypatch.setattr(lock, "_machine", iter(f"machine {number}" for number in range(99)).__next__)
    with locked(layout, EXPLAIN, "r1"):
        time.sleep(4)
        with pytest.raises(UserError, match="is being written by"):
            locked(layout, EXPLAIN, "r1").__enter__()


def test_a_log_is_kept_after_an_error_and_goes_on(layout):
    console = Console(quiet=True)

    def fails() -> None:
        with logged(layout.log(EXPLAIN, "r1")):
            say(console, "one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with logged(layout.log(EXPLAIN, "r1")):
        say(console, "two")
    assert [line.split()[-1] for line in layout.log(EXPLAIN, "r1").read_text().splitlines()] == ["one", "two"]


def test_what_ray_is_told(layout):
    with checkpointed(layout, EXPLAIN, "r1"):
        config = ray.data.DataContext.get_current().checkpoint_config
        assert config.filesystem.type_name == "py::s3"
        assert f"s3://{config.checkpoint_path}" == str(layout.checkpoints(EXPLAIN, "r1"))


def test_a_store_that_stays_away_is_one_line(layout, s3, monkeypatch, capsys, secret):
    write(layout, 0, "a")
    monkeypatch.setattr(remote, "_ATTEMPTS", 2)
    remote._system.cache_clear()
    s3.fail_every = 1
    assert main(["sql", "--lake", str(layout.root), "select 1"]) == 1
    said = capsys.readouterr()
    remote._system.cache_clear()
    assert said.err.startswith("viba: ")
    assert "AWS Error" in said.err
    assert said.err.count("\n") == 1
    assert secret not in said.err
