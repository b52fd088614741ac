"""How Ray runs a stage."""

import threading
import time

import pyarrow as pa
import ray
from ray.data import DataContext
from rich.console import Console

from operators.stage import Stage, apply
from pipelines.cluster import connect
from pipelines.config import Resources
from pipelines.progress import busy, progress

ROW = pa.schema([pa.field("id", pa.int64(), nullable=False)])


class Meeting:
    """Lets nobody go before another one has come."""

    def __init__(self) -> None:
        self._met = threading.Barrier(2, timeout=120)

    def __call__(self, table: pa.Table) -> pa.Table:
        self._met.wait()
        return table


def slow(table: pa.Table) -> pa.Table:
    time.sleep(6)
    return table


def test_calls_of_an_actor_run_at_a_time():
    connect(Resources())
    ds = ray.data.range(6, override_num_blocks=6)
    stage = Stage("meeting", Meeting, ROW, batch_size=1, num_cpus=2, actors=1, calls=2)
    assert sorted(row["id"] for row in apply(ds, stage).iter_rows()) == list(range(6))


def test_a_call_takes_as_long_as_it_takes(monkeypatch):
    """Ray ends a run that has made no progress for half an hour, unless told; here it would after a second."""
    monkeypatch.setattr(DataContext.get_current(), "execution_no_progress_timeout_s", 1)
    connect(Resources())
    found = apply(ray.data.range(1), Stage("slow", slow, ROW, batch_size=1, num_cpus=1))
    assert found.take_all() == [{"id": 0}]


def test_the_counter_may_die_while_others_count():
    """It lives on some node of the cluster, and that may go: what it shows is not worth a run."""
    connect(Resources())
    with progress(["meeting"], 2, Console(quiet=True)) as counter:
        counter.add.remote("meeting", 1)
        ray.kill(counter, no_restart=False)
        counter.worked.remote("meeting", "actor", 1.0, 2.0)
        assert busy(counter) == {"meeting": 0.5}
