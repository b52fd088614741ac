"""A table on disk through a chain of stages, with progress: how every command runs its work."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import ray
from ray.data import DataContext, Dataset
from rich.console import Console

from operators.stage import Stage, apply
from operators.storage.parquet import where
from pipelines.progress import busy, progress


@contextmanager
def streamed(
    rows: Path,
    chain: Sequence[Stage],
    per_block: int,
    total: int,
    console: Console,
    shares: dict[str, float] | None = None,
) -> Iterator[Dataset]:
    """The rows of a Parquet file in blocks of `per_block`, through the chain; what is read in it shows its progress.

    `total` is how many of the rows are still to do. At the end `shares` is told how busy actors were, by stage.
    """
    with progress([stage.name for stage in chain], total, console) as counter:
        name, system = where(rows)
        # a file that is read without repartition is one block, and saves no progress before its end
        dataset = ray.data.read_parquet(name, filesystem=system).repartition(target_num_rows_per_block=per_block)
        for stage in chain:
            dataset = apply(dataset, replace(stage, counter=counter))
        yield dataset
        if shares is not None:
            shares |= busy(counter)


@contextmanager
def in_order() -> Iterator[None]:
    """Inside, rows leave a chain in the order in which they were read."""
    options = DataContext.get_current().execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield
    finally:
        options.preserve_order = before
