"""A job on a cluster that has yet to grow, stopped and submitted again: python -m bench.cluster OUT.

A head without a GPU on this machine; `ray job submit` with the code as its working directory; the job asks for a GPU
and waits; a node that says it has one comes; the job ends. Then the same over, stopped by `ray job stop` after its
first video, and submitted again: the tables must be the same. No GPU is needed: what the node says of itself is what
Ray goes by, and the actor explains on the node's processors.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import ROOT, Command
from operators.forging.portrait import make_clips
from pipelines.lake.layout import Layout
from pipelines.lake.read import open_lake
from schemas.tables import EXPLAIN, MASKS

_PORT, _DASHBOARD = 26379, "http://127.0.0.1:28265"
_AT = ("--address", _DASHBOARD)
_EXPLAIN = [
    *("--model", "test_resnet", "--layer", "layer3", "--max-keyframes", "2", "--set", "bottleneck.draws=1"),
    *("--set", "bottleneck.steps=3", "--set", "resources.videos_per_block=1"),
    *("--set", "resources.actors=1", "--set", "resources.gpus_per_actor=1"),
]
_WAIT_S = 300


def main() -> None:
    """One line for each thing that was seen; ends with 1 where one was not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="an empty folder")
    out = parser.parse_args().out.resolve()
    make_clips(out / "videos", n_real=3, n_fake=3, frames_per_clip=8)
    shutil.rmtree(out / "videos/masks")
    os.environ.pop("RAY_ADDRESS", None)
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ["RAY_AUTH_MODE"] = "disabled"  # nobody else reaches this machine's loopback
    head = ("--head", f"--port={_PORT}", f"--dashboard-port={_DASHBOARD[-5:]}", "--num-cpus=3", "--num-gpus=0")
    node = (f"--address=127.0.0.1:{_PORT}", "--num-cpus=3", "--num-gpus=1")
    with _node(head, out / "head"):
        _submit("first", out, "first")
        _until("the job says that it waits for a GPU", lambda: "are waited for" in _job("logs", "first"))
        with _node(node, out / "node"):
            _until("a GPU has come and the job has ended", lambda: _status("first") == "SUCCEEDED")
            _submit("second", out, "second")
            layout = Layout(out / "second")
            _until("a video of the second job is committed", lambda: _committed(layout) > 0)
            _job("stop", "second")
            _until("it is stopped", lambda: _status("second") in ("STOPPED", "FAILED"))
            print(f"  {_committed(layout)} of 6 videos are committed", flush=True)
            _submit("third", out, "second")
            _until("submitted again it has ended", lambda: _status("third") == "SUCCEEDED")
    tables = [_maps(out / name) for name in ("first", "second")]
    print(f"{'the same' if tables[0] == tables[1] else 'OTHER'} {len(tables[0])} maps in both lakes")
    if tables[0] != tables[1]:
        sys.exit(1)


@contextmanager
def _node(flags: tuple[str, ...], temp: Path) -> Iterator[None]:
    """A Ray node of its own on this machine, killed with all that it started.

    Nodes of one machine would remove each other's working directories from a folder that they share: each has `temp`.
    """
    own = Command(*flags, f"--temp-dir={temp}", "--disable-usage-stats", "--block", program=("ray", "start"))
    try:
        yield
    finally:
        own.kill(lambda *_: True)


def _submit(job: str, out: Path, lake: str) -> None:
    command = ["python", "-m", "pipelines", "explain", str(out / "videos"), "--lake", str(out / lake), *_EXPLAIN]
    flags = ("--no-wait", "--submission-id", job, "--working-dir", str(ROOT), "--", *command)
    _until(f"the {job} job is taken", lambda: "submitted successfully" in _ray("job", "submit", *_AT, *flags))


def _job(verb: str, job: str) -> str:
    return _ray("job", verb, *_AT, job)


def _ray(*words: str) -> str:
    found = subprocess.run(["ray", *words], capture_output=True, text=True, cwd=ROOT)
    return found.stdout + found.stderr


def _status(job: str) -> str:
    said = _job("status", job)
    return next((each for each in ("SUCCEEDED", "STOPPED", "FAILED") if re.search(rf"\b{each.lower()}\b", said)), "")


def _committed(layout: Layout) -> int:
    return sum(len(layout.committed(EXPLAIN, run_id)) for run_id in layout.run_ids())


def _until(what: str, seen: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not seen():
        if time.monotonic() - started > _WAIT_S:
            sys.exit(f"not within {_WAIT_S} s: {what}")
        time.sleep(0.5)
    print(f"{time.monotonic() - started:5.0f} s  {what}", flush=True)


def _maps(lake: Path) -> list[tuple[object, ...]]:
    with open_lake(lake) as connection:
        return connection.sql(f"select {', '.join(MASKS.key)} from masks order by all").fetchall()


if __name__ == "__main__":
    main()
