"""The one abstraction: what runs, apart from how it is scheduled. The only operator module that knows Ray."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
from ray.actor import ActorHandle
from ray.data import ActorPoolStrategy, Dataset

from schemas.conform import conform
from schemas.tables import STATUS_ERROR

TableFunction = Callable[..., pa.Table]
_JOINED_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class Stage:
    """One step of a pipeline.

    `fn` is a function `(table, **kwargs) -> table`, or, with `actors`, a class that is made once per actor by
    `fn(**kwargs)` and called with each table, by so many `calls` at a time, each in a thread of its own. `batch_size`
    counts rows; `num_cpus` and `num_gpus` are per task or actor. `counter.add(name, rows)` is told of every batch that
    is done, and `counter.worked(name, actor, worked_s, since_s)` of what an actor with the attribute `worked_s` has
    worked since it was first called.
    """

    name: str
    fn: TableFunction | type
    schema: pa.Schema
    batch_size: int
    num_cpus: float = 1
    num_gpus: float = 0
    actors: int | None = None
    calls: int = 1
    counter: ActorHandle | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def apply(ds: Dataset, stage: Stage) -> Dataset:
    """Run `stage` over the rows that have not failed; every batch that leaves it has the stage's schema."""
    options: dict[str, Any] = {"batch_format": "pyarrow", "zero_copy_batch": True, "num_cpus": stage.num_cpus}
    if stage.num_gpus:
        options["num_gpus"] = stage.num_gpus
    if stage.actors is None:

        def run(table: pa.Table) -> pa.Table:
            size = stage.batch_size
            parts = [table.slice(first, size) for first in range(0, len(table), size)]
            return _joined([run_table(stage, stage.fn, part, stage.kwargs) for part in parts], stage.schema)

        run.__name__ = stage.name  # what Ray's progress bars show
        return ds.map_batches(run, batch_size=None, **options)

    class Actor:
        def __init__(self) -> None:
            self._fn = stage.fn(**stage.kwargs)
            self._id, self._since = uuid.uuid4().hex, None

        def __call__(self, table: pa.Table) -> pa.Table:
            self._since = time.perf_counter() if self._since is None else self._since
            found = run_table(stage, self._fn, table, {})
            if stage.counter is not None and hasattr(self._fn, "worked_s"):
                since_s = time.perf_counter() - self._since
                stage.counter.worked.remote(stage.name, self._id, self._fn.worked_s, since_s)
            return found

    Actor.__name__ = stage.name
    # without true multi-threading a second call waits for the first one to end
    threads = {"max_concurrent_calls_per_actor": stage.calls, "enable_true_multi_threading": stage.calls > 1}
    actors = ActorPoolStrategy(size=stage.actors, **threads)
    return ds.map_batches(Actor, compute=actors, batch_size=stage.batch_size, **options)


def _joined(parts: list[pa.Table], schema: pa.Schema) -> pa.Table:
    """One table of all. Ray takes milliseconds for a chunk of nested rows each time that it moves a block, whatever is
    in it: small ones are copied together."""
    table = pa.concat_tables([schema.empty_table(), *parts])
    return table.combine_chunks() if table.nbytes < _JOINED_BYTES else table


def run_table(stage: Stage, fn: TableFunction, table: pa.Table, kwargs: Mapping[str, Any]) -> pa.Table:
    """One batch through a stage: failed rows pass by (or end, in a stage without status), the rest goes through `fn`.

    Raises ValueError where `fn` returns a table that is not of the stage's schema.
    """
    parts = []
    todo = table
    if "status" in table.column_names:
        failed = [status == STATUS_ERROR for status in table["status"].to_pylist()]
        todo = table.filter(pa.array([not each for each in failed], pa.bool_()))
        if "status" in stage.schema.names:
            parts.append(_passing(table.filter(pa.array(failed, pa.bool_())), stage.schema))
    parts.append(conform(fn(todo, **kwargs), stage.schema) if len(todo) else stage.schema.empty_table())
    if stage.counter is not None:
        stage.counter.add.remote(stage.name, len(table))
    return pa.concat_tables(parts)


def _passing(failed: pa.Table, schema: pa.Schema) -> pa.Table:
    """Failed rows as `schema` has them: what they lack is NULL, or a list of nothing."""
    for column in schema:
        if column.name not in failed.column_names:
            nothing = [[] if pa.types.is_list(column.type) else None] * len(failed)
            failed = failed.append_column(column, pa.array(nothing, column.type))
    return conform(failed.select(schema.names), schema)
