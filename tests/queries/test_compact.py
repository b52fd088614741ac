"""Many small blocks become a large one: a reader sees the same rows before, meanwhile and afterwards."""

import os

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from pipelines.lake import blocks, compact
from pipelines.lake.layout import PENDING, Layout
from pipelines.lake.read import open_lake
from schemas.tables import EXPLAIN, INPUTS, SINK_TABLES

TABLES = [table.name for table in SINK_TABLES]


def make(make_lake, names):
    for name in names:
        rows = {table: [{"video_id": f"v{name}"}] for table in TABLES}
        folder = make_lake({"runs": [{}]} | rows, name=name)
    return Layout(folder)


def rows(layout):
    with open_lake(layout.root) as connection:
        return {table: connection.sql(f"select * from {table} order by all").fetchall() for table in TABLES}


def files(layout):
    folders = [layout.checkpoints(EXPLAIN, "r1"), *(layout.table("r1", table) for table in TABLES)]
    return sum(len(list(folder.iterdir())) for folder in folders)


@pytest.fixture
def lake(make_lake):
    return make(make_lake, "abcdefg")


def test_the_rows_are_the_same_in_fewer_files(lake, make_lake):
    before, n_files = rows(lake), files(lake)
    with open_lake(lake.root) as open_since_before:
        assert (
            compact.compact(lake, EXPLAIN, "r1", many=7, large=3) == 6
        )  # three and three; the last has none beside it
        assert rows(lake) == before
        assert not blocks.damage(lake, EXPLAIN, "r1", thorough=True)
        assert open_since_before.sql("select count(*) from masks").fetchall() == [(7,)]
        compact.sweep(lake, EXPLAIN, "r1")
        assert files(lake) > n_files  # replaced an instant ago: somebody may read them
        assert open_since_before.sql("select count(*) from masks").fetchall() == [(7,)]
    compact.sweep(lake, EXPLAIN, "r1", older_than_s=0)
    assert files(lake) == n_files * 3 / 7
    assert rows(lake) == before
    assert not blocks.damage(lake, EXPLAIN, "r1", thorough=True)
    assert compact.compact(lake, EXPLAIN, "r1", many=1, large=3) == 0  # what is large stays
    make(make_lake, "hij")
    assert compact.compact(lake, EXPLAIN, "r1", many=4, large=100) == 6  # of a rewritten block, too
    compact.sweep(lake, EXPLAIN, "r1", older_than_s=0)
    assert files(lake) == n_files / 7
    assert len(rows(lake)["videos"]) == 10


def test_beside_a_run_small_blocks_become_large_ones_and_what_they_replaced_long_ago_goes(lake, monkeypatch):
    monkeypatch.setattr(compact, "MANY", 7)
    before, n_files = rows(lake), files(lake)
    compact.compact(lake, EXPLAIN, "r1", many=7, large=3)
    (first, _) = [each for each in blocks.committed(lake, EXPLAIN, "r1")[0] if blocks.replaced_by(each)]
    long_ago = first.stat().st_mtime - 24 * 3600
    os.utime(first, (long_ago, long_ago))
    with compact.compacting(lake, EXPLAIN, "r1", Console(quiet=True)):
        pass
    # one is alone, two were made of three each, and beside the later one its three still lie
    assert files(lake) == n_files * (1 + 2 + 3) / 7
    assert rows(lake) == before
    assert not blocks.damage(lake, EXPLAIN, "r1", thorough=True)


def test_blocks_whose_inputs_others_read_stay(lake):
    lake.table("r1", INPUTS.name).mkdir(exist_ok=True)
    assert compact.compact(lake, EXPLAIN, "r1", many=2, large=100) == 0


def test_few_blocks_stay_as_they_are(lake):
    assert compact.compact(lake, EXPLAIN, "r1", many=8) == 0


@pytest.mark.parametrize("after", [0, 1, len(TABLES) - 1, len(TABLES)])
def test_killed_anywhere_nothing_is_lost_or_doubled(make_lake, monkeypatch, after):
    """The new block is pending until all of it is there; what it left is cleared away like that of a killed run.

    Killed at the first table, at the second, at the last, and as all of it is committed.
    """

    class Killed(BaseException):
        pass

    lake = make(make_lake, "ab")
    before, opened = rows(lake), []

    class Writer(pq.ParquetWriter):
        def __init__(self, *args, **kwargs):
            if len(opened) == after:
                raise Killed
            opened.append(args)
            super().__init__(*args, **kwargs)

    if after < len(TABLES):
        monkeypatch.setattr(compact.pq, "ParquetWriter", Writer)
    else:
        monkeypatch.setattr(type(lake.root), "replace", lambda *_: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        compact.rewrite(lake, EXPLAIN, "r1", lake.committed(EXPLAIN, "r1"))
    assert rows(lake) == before
    (pending,) = lake.pending(EXPLAIN, "r1")
    # as Ray does when the run goes on
    for table in TABLES:
        for path in lake.table("r1", table).glob(f"{pending}*"):
            path.unlink()
    (lake.checkpoints(EXPLAIN, "r1") / f"{pending}{PENDING}").unlink()
    assert rows(lake) == before
    assert not blocks.damage(lake, EXPLAIN, "r1", thorough=True)


def test_a_damaged_block_is_left_for_who_mends_it(lake):
    gone = lake.table("r1", "masks") / "c.parquet"
    gone.unlink()
    assert compact.compact(lake, EXPLAIN, "r1", many=2, large=100) == 6
    assert [path.name for path in blocks.damage(lake, EXPLAIN, "r1").lost] == ["c.parquet"]


def test_a_large_block_that_is_lost_is_not_the_old_ones(lake):
    """They come back while they are there; afterwards their videos are done again."""
    before = rows(lake)
    compact.rewrite(lake, EXPLAIN, "r1", lake.committed(EXPLAIN, "r1"))
    (new,), _ = blocks.committed(lake, EXPLAIN, "r1")
    (lake.table("r1", "masks") / new.name).unlink()
    found = blocks.damage(lake, EXPLAIN, "r1")
    assert list(found.lost) == [new]
    blocks.clear(lake, EXPLAIN, "r1", found)
    assert rows(lake) == before
