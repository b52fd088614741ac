"""How far each stage is: live bars in a terminal, a line now and then in a log."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.screen import say

_LOG_EVERY_S = 15.0
_POLL_S = 0.5


@ray.remote(num_cpus=0)
class _Counter:
    """Rows that have left each stage, and what its actors have worked."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._worked: dict[str, dict[str, tuple[float, float]]] = {}

    def add(self, stage: str, rows: int) -> None:
        self._rows[stage] = self._rows.get(stage, 0) + rows

    def rows(self) -> dict[str, int]:
        return self._rows

    def worked(self, stage: str, actor: str, worked_s: float, since_s: float) -> None:
        self._worked.setdefault(stage, {})[actor] = worked_s, since_s

    def busy(self) -> dict[str, float]:
        sums = {stage: map(sum, zip(*each.values(), strict=True)) for stage, each in self._worked.items()}
        return {stage: worked_s / since_s for stage, (worked_s, since_s) in sums.items()}


@contextmanager
def progress(stages: list[str], total: int, console: Console) -> Iterator[Any]:
    """Shows the progress of `stages` over `total` videos while the block runs; yields the counter stages report to."""
    counter: Any = _Counter.remote()
    done = threading.Event()
    show = _bars if console.is_terminal else _lines
    thread = threading.Thread(target=show, args=(counter, stages, total, console, done), daemon=True)
    thread.start()
    try:
        yield counter
    finally:
        done.set()
        thread.join()
        ray.kill(counter)


def busy(counter: Any) -> dict[str, float]:
    """Stage -> share of the time, from each actor's first call to the end of its last, that its actors worked."""
    return cast(dict[str, float], ray.get(counter.busy.remote()))


def _rows(counter: Any) -> dict[str, int]:
    return cast(dict[str, int], ray.get(counter.rows.remote()))


def _bars(counter: Any, stages: list[str], total: int, console: Console, done: threading.Event) -> None:
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bars:
        tasks = {stage: bars.add_task(stage, total=total) for stage in stages}
        finished = False
        while not finished:
            finished = done.wait(_POLL_S)
            for stage, rows in _rows(counter).items():
                bars.update(tasks[stage], completed=rows)


def _lines(counter: Any, stages: list[str], total: int, console: Console, done: threading.Event) -> None:
    started = time.monotonic()
    finished = False
    while not finished:
        finished = done.wait(_LOG_EVERY_S)
        rows = _rows(counter)
        counts = ", ".join(f"{stage} {rows.get(stage, 0)}/{total}" for stage in stages)
        say(console, f"{time.monotonic() - started:5.0f} s: {counts} videos")
