"""How Ray runs a stage."""

import threading

import pyarrow as pa
import pytest
import ray

from operators.stage import Stage, apply
from pipelines.cluster import connect
from pipelines.config import Resources

ROW = pa.schema([pa.field("id", pa.int64(), nullable=False)])


class Meeting:
    """Lets nobody go before another one has come."""

    def __init__(self) -> None:
        self._met = threading.Barrier(2, timeout=120)

    def __call__(self, table: pa.Table) -> pa.Table:
        self._met.wait()
        return table


@pytest.mark.parametrize("rows", [2, 6])
def test_calls_of_an_actor_run_at_a_time(rows):
    connect(Resources())
    ds = ray.data.range(rows, override_num_blocks=rows)
    stage = Stage("meeting", Meeting, ROW, batch_size=1, num_cpus=2, actors=1, calls=2)
    assert sorted(row["id"] for row in apply(ds, stage).iter_rows()) == list(range(rows))
