"""How far each stage is: live bars in a terminal, a line now and then in a log."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import ray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipelines.screen import log, say

_LOG_EVERY_S = 15.0
_POLL_S = 0.5


@ray.remote(num_cpus=0)
class _Counter:
    """Rows that have left each stage."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}

    def add(self, stage: str, rows: int) -> None:
        self._rows[stage] = self._rows.get(stage, 0) + rows

    def rows(self) -> dict[str, int]:
        return self._rows


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


def _rows(counter: Any) -> dict[str, int]:
    return cast(dict[str, int], ray.get(counter.rows.remote()))


@dataclass(frozen=True)
class Pace:
    """How a stage goes: videos done, videos a minute since the start, and videos that wait for it or are in it."""

    done: int
    per_minute: float
    waiting: int

    def __str__(self) -> str:
        return f"{self.per_minute:.1f}/min" + (f", {self.waiting} wait or are in it" if self.waiting else "")


def paces(rows: dict[str, int], stages: list[str], total: int, elapsed_s: float) -> dict[str, Pace]:
    """From the rows that have left each stage: the stage that holds up the others is the one that most wait for."""
    found, before = {}, total
    for stage in stages:
        done = rows.get(stage, 0)
        # what the first stage has not begun waits for nobody: it is the work to do
        waiting = before - done if stage != stages[0] else 0
        found[stage] = Pace(done, 60 * done / elapsed_s if elapsed_s > 0 else 0.0, max(waiting, 0))
        before = done
    return found


def _line(rows: dict[str, int], stages: list[str], total: int, elapsed_s: float) -> str:
    found = paces(rows, stages, total, elapsed_s)
    counts = "; ".join(f"{stage} {pace.done}/{total} ({pace})" for stage, pace in found.items())
    return f"{elapsed_s:5.0f} s, videos: {counts}"


def _bars(counter: Any, stages: list[str], total: int, console: Console, done: threading.Event) -> None:
    started = noted = time.monotonic()
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TextColumn("videos"))
    ends = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[pace]}"))
    with Progress(*columns, *ends, console=console) as bars:
        tasks = {stage: bars.add_task(stage, total=total, pace="") for stage in stages}
        finished = False
        while not finished:
            finished = done.wait(_POLL_S)
            rows, now = _rows(counter), time.monotonic()
            for stage, pace in paces(rows, stages, total, now - started).items():
                bars.update(tasks[stage], completed=pace.done, pace=str(pace))
            if finished or now - noted >= _LOG_EVERY_S:
                log(_line(rows, stages, total, now - started))
                noted = now


def _lines(counter: Any, stages: list[str], total: int, console: Console, done: threading.Event) -> None:
    started = time.monotonic()
    finished = False
    while not finished:
        finished = done.wait(_LOG_EVERY_S)
        say(console, _line(_rows(counter), stages, total, time.monotonic() - started))
