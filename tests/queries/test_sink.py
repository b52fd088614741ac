"""What the sink writes: every row in its table's file, under the name that Ray commits, and never half a file."""

from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from ray.data.block import BlockAccessor

from pipelines.lake.layout import Layout
from pipelines.lake.sink import LakeSink, checkpointed, unnest
from schemas.conform import conform
from schemas.tables import EXPLAIN, FRAMES, JUDGE, NESTED, SINK_TABLES, VIDEO_ROW, VIDEOS

FRAME = {"time_s": 0.0, "keyframe_score": 1.0, "status": "ok", "has_flow": False}
FRAME |= dict.fromkeys(("face_x", "face_y", "face_width", "face_height", "face_score"))


def rows(**frames: list[int]) -> pa.Table:
    """Videos with frames of these numbers."""
    empty = dict.fromkeys(VIDEO_ROW.names) | {"inputs": []} | {table.name: [] for table in NESTED}
    found = [
        empty
        | {"video_id": name, "uri": name, "dataset": "d", "status": "ok"}
        | {"frames": [FRAME | {"frame": each} for each in numbers]}
        for name, numbers in frames.items()
    ]
    return pa.Table.from_pylist(found, schema=VIDEO_ROW)


def write(layout: Layout, table: pa.Table, task: int = 3) -> str:
    """As a task of Ray's does; the name that Ray itself would commit."""
    sink = LakeSink(layout, "r1", SINK_TABLES)
    task_context = SimpleNamespace(kwargs={"write_uuid": "w"}, task_idx=task)
    sink.write_block(BlockAccessor.for_block(table.drop_columns("inputs")), 0, task_context)
    return sink.filename_provider.get_filename_for_task("w", task)


def test_nested_rows_have_the_id_of_their_video(tmp_path):
    layout = Layout(tmp_path)
    name = write(layout, rows(a=[1, 5], b=[], c=[2]))
    frames = pq.read_table(layout.table("r1", "frames") / name, partitioning=None).to_pylist()
    assert [(row["run_id"], row["video_id"], row["frame"]) for row in frames] == [
        ("r1", "a", 1),
        ("r1", "a", 5),
        ("r1", "c", 2),
    ]
    videos = pq.read_table(layout.table("r1", "videos") / name, partitioning=None)
    assert videos["video_id"].to_pylist() == ["a", "b", "c"]
    assert videos.schema.equals(VIDEOS.schema)


def test_a_slice_of_a_block_keeps_its_own_rows():
    """Offsets of nested rows then begin elsewhere."""
    found = unnest(rows(a=[1, 5], b=[7], c=[2, 3]).slice(1), FRAMES, "r1").to_pylist()
    assert [(row["video_id"], row["frame"]) for row in found] == [("b", 7), ("c", 2), ("c", 3)]


def test_all_tables_of_a_block_have_the_name_that_is_committed(tmp_path):
    """By it Ray takes an unfinished block back, and `verify` finds what is missing."""
    layout = Layout(tmp_path)
    names = {write(layout, rows(a=[1]), task) for task in (0, 1)}
    assert len(names) == 2
    for table in SINK_TABLES:
        assert {path.name for path in layout.table("r1", table.name).iterdir()} == names


def test_what_is_killed_while_it_writes_leaves_no_file_that_a_reader_meets(tmp_path, monkeypatch):
    layout, write_table, written = Layout(tmp_path), pq.write_table, []

    def killed(table, file, **options):
        if len(written) == 2:
            file.write(b"PAR1 and no end")
            raise KeyboardInterrupt
        written.append(table)
        write_table(table, file, **options)

    monkeypatch.setattr("pipelines.lake.sink.pq.write_table", killed)
    with pytest.raises(KeyboardInterrupt):
        write(layout, rows(a=[1]))
    found = sorted(tmp_path.rglob("*.parquet"))
    assert len(found) == 2
    assert all(pq.read_table(path, partitioning=None).num_rows >= 0 for path in found)


def test_commits_are_a_runs_and_a_chains_own_and_end_with_the_work(tmp_path):
    layout = Layout(tmp_path)
    with checkpointed(layout, EXPLAIN, "r1"):
        config = ray.data.DataContext.get_current().checkpoint_config
        assert config.id_column == "video_id"
        assert config.checkpoint_path == str(layout.checkpoints(EXPLAIN, "r1"))
        assert not config.delete_checkpoint_on_success
    assert ray.data.DataContext.get_current().checkpoint_config is None
    with pytest.raises(KeyError), checkpointed(layout, JUDGE, "r1"):
        raise KeyError
    assert ray.data.DataContext.get_current().checkpoint_config is None
    paths = {layout.checkpoints(chain, run) for chain in (EXPLAIN, JUDGE) for run in ("r1", "r2")}
    assert len(paths) == 4


SCHEMA = pa.schema([pa.field("a", pa.int32(), nullable=False), pa.field("b", pa.string())])


def test_a_table_is_made_what_its_schema_says():
    found = conform(pa.table({"b": ["x"], "a": pa.array([1], pa.int64())}), SCHEMA)
    assert found.schema.equals(SCHEMA)
    assert found.to_pylist() == [{"a": 1, "b": "x"}]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1]}, r"columns missing: \['b'\], unknown: \[\]"),
        ({"a": [1], "b": ["x"], "c": [1]}, r"columns missing: \[\], unknown: \['c'\]"),
        ({"a": [1, None], "b": ["x", "y"]}, "a.* with null values to non-nullable"),
        ({"a": [1 << 40], "b": ["x"]}, "out of bounds|not in range"),
        ({"a": ["one"], "b": ["x"]}, "one"),
    ],
)
def test_what_is_not_as_the_schema_says_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        conform(pa.table(columns), SCHEMA)
