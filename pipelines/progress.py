"""How far each stage is: live bars in a terminal, a line now and then in a log."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import ray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipelines.beside import beside
from pipelines.screen import log, say

_LOG_EVERY_S = 15.0
_POLL_S = 0.5
#: below it a bar and the figures of a million videos do not fit
_NARROW = 110


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class _Counter:
    """Rows that have left each stage, and what its actors have worked. One that dies, alone or with its node, begins
    anew: what was counted is only shown."""

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
    show = _bars if console.is_terminal else _lines
    try:
        with beside(partial(show, counter, stages, total, console), "progress"):
            yield counter
    finally:
        ray.kill(counter)


def busy(counter: Any) -> dict[str, float]:
    """Stage -> share of the time, from each actor's first call to the end of its last, that its actors worked."""
    return cast(dict[str, float], ray.get(counter.busy.remote()))


def _rows(counter: Any) -> dict[str, int]:
    return cast(dict[str, int], ray.get(counter.rows.remote()))


@dataclass(frozen=True)
class Pace:
    """How a stage goes: videos done, videos a minute since the start, and videos that wait for it or are in it; of a
    stage with actors the share of the time that they work."""

    done: int
    per_minute: float
    waiting: int
    busy: float | None = None

    def __str__(self) -> str:
        waits = f", {self.waiting} wait" if self.waiting else ""
        return f"{self.per_minute:.1f}/min{waits}" + ("" if self.busy is None else f", busy {self.busy:.0%}")


def paces(
    rows: dict[str, int], working: dict[str, float], stages: list[str], total: int, elapsed_s: float
) -> dict[str, Pace]:
    """From the rows that have left each stage: the stage that holds up the others is the one that most wait for.

    `working` is what `busy` says.
    """
    found, before = {}, total
    for stage in stages:
        done = rows.get(stage, 0)
        # what the first stage has not begun waits for nobody: it is the work to do
        waiting = before - done if stage != stages[0] else 0
        rate = 60 * done / elapsed_s if elapsed_s > 0 else 0.0
        found[stage] = Pace(done, rate, max(waiting, 0), working.get(stage))
        before = done
    return found


def _line(found: dict[str, Pace], total: int, elapsed_s: float) -> str:
    counts = "; ".join(f"{stage} {pace.done}/{total} ({pace})" for stage, pace in found.items())
    return f"{elapsed_s:5.0f} s, videos: {counts}"


def _columns(width: int) -> list[ProgressColumn]:
    """What stands beside each stage; where a terminal has no room for all of it, figures rather than a bar."""
    name, done, pace = TextColumn("{task.description:>10}"), MofNCompleteColumn(), TextColumn("{task.fields[pace]}")
    times = [TimeElapsedColumn(), TimeRemainingColumn()]
    if width < _NARROW:
        return [name, done, *times, pace]
    return [name, BarColumn(bar_width=12), done, TextColumn("videos"), *times, pace]


def _bars(counter: Any, stages: list[str], total: int, console: Console, done: threading.Event) -> None:
    started = noted = time.monotonic()
    with Progress(*_columns(console.width), console=console) as bars:
        tasks = {stage: bars.add_task(stage, total=total, pace="") for stage in stages}
        finished = False
        while not finished:
            finished = done.wait(_POLL_S)
            now = time.monotonic()
            found = paces(_rows(counter), busy(counter), stages, total, now - started)
            for stage, pace in found.items():
                bars.update(tasks[stage], completed=pace.done, pace=str(pace))
            if finished or now - noted >= _LOG_EVERY_S:
                log(_line(found, total, now - started))
                noted = now


def _lines(counter: Any, stages: list[str], total: int, console: Console, done: threading.Event) -> None:
    started = time.monotonic()
    finished = False
    while not finished:
        finished = done.wait(_LOG_EVERY_S)
        elapsed = time.monotonic() - started
        say(console, _line(paces(_rows(counter), busy(counter), stages, total, elapsed), total, elapsed))
