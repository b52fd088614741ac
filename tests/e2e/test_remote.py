"""Ray's workers write a lake on a real S3 server that fails one request in ten: nothing is lost and nothing doubled."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from operators.storage import parquet
from operators.storage.remote import path_of
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from schemas.tables import EXPLAIN, NESTED, VIDEO_ROW

ROOT = Path(__file__).resolve().parents[2]
#: `explain` without its stages, in a process of its own: its workers have its environment
WRITE = """
import sys, time
import ray
from operators.storage.parquet import where
from operators.storage.remote import path_of
from pipelines.lake import blocks
from pipelines.lake.layout import Layout
from pipelines.lake.lock import locked
from pipelines.lake.sink import LakeSink, checkpointed
from schemas.tables import EXPLAIN, SINK_TABLES

layout, broken = Layout(path_of(sys.argv[1])), sys.argv[2]

def work(table):
    if broken in table["video_id"].to_pylist():
        while len(layout.committed(EXPLAIN, "r1")) < 2:
            time.sleep(0.1)
        raise RuntimeError("a worker fails")
    return table

ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
name, system = where(layout.manifest("r1"))
with locked(layout, EXPLAIN, "r1"):
    blocks.clear(layout, EXPLAIN, "r1", blocks.damage(layout, EXPLAIN, "r1"))
    with checkpointed(layout, EXPLAIN, "r1"):
        videos = ray.data.read_parquet(name, filesystem=system).repartition(target_num_rows_per_block=1)
        videos.map_batches(work, batch_format="pyarrow", num_cpus=1).write_datasink(LakeSink(layout, "r1", SINK_TABLES))
"""


@pytest.mark.faults
def test_what_fails_is_done_again_and_nothing_is_written_twice(s3, secret):
    layout = Layout(path_of(s3.bucket) / "lake")
    empty = dict.fromkeys(VIDEO_ROW.names) | {table.name: [] for table in NESTED} | {"inputs": []}
    names = [f"v{number}" for number in range(4)]
    rows = [empty | {"video_id": name, "uri": name, "dataset": "d", "status": "ok"} for name in names]
    table = pa.Table.from_pylist(rows, schema=VIDEO_ROW).drop_columns(["inputs"])
    parquet.write_table(table, layout.manifest("r1"))
    s3.fail_every = 10

    def write(broken: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WRITE, str(layout.root), broken]
        env = os.environ | {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=500)

    said = write(names[-1])
    assert "a worker fails" in said.stderr
    finished = set(layout.committed(EXPLAIN, "r1"))
    assert 2 <= len(finished) < len(names)
    said = write("")
    assert said.returncode == 0, said.stderr[-3000:]
    assert finished <= set(layout.committed(EXPLAIN, "r1"))  # these were not done again
    with open_lake(layout.root) as connection:
        assert [name for (name,) in connection.sql("select video_id from videos order by 1").fetchall()] == names
    assert s3.failed
    assert secret not in said.stdout + said.stderr
    for path, info in layout.root.listed(recursive=True):
        assert not info.is_file or secret.encode() not in path.read_bytes()
