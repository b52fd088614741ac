"""How Ray feeds an attribution actor: `python -m bench.feeding`.

Nothing is computed: stages sleep as long as a GPU machine's would take, four prepare at a time, so that any machine
tells how busy an actor is kept by so many videos a call and so many calls at a time.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from operators.stage import Stage
from pipelines.cluster import connect
from pipelines.config import Resources
from pipelines.stream import streamed

ROW = pa.schema([pa.field("id", pa.int64(), nullable=False)])
PER_BLOCK = 4


def prepare(table: pa.Table, *, seconds: float) -> pa.Table:
    """Sleeps for each row."""
    time.sleep(seconds * len(table))
    return table


class Actor:
    """Reads, works and writes; works for one call at a time."""

    worked_s = 0.0

    def __init__(self, beside_s: float, work_s: float) -> None:
        self._beside_s, self._work_s = beside_s, work_s
        self._lock = threading.Lock()

    def __call__(self, table: pa.Table) -> pa.Table:
        """Sleeps for each row: before and after the work, and for it."""
        time.sleep(self._beside_s / 2 * len(table))
        with self._lock:
            started = time.perf_counter()
            time.sleep(self._work_s * len(table))
            self.worked_s += time.perf_counter() - started
        time.sleep(self._beside_s / 2 * len(table))
        return table


def main() -> None:
    """Print a line for each way to feed it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=160)
    parser.add_argument("--prepare", type=float, default=0.08, help="seconds to prepare a video, four at a time")
    parser.add_argument("--work", type=float, default=0.03, help="seconds of the GPU for a video")
    parser.add_argument("--beside", type=float, default=0.006, help="seconds to read its rows and to write its maps")
    options = parser.parse_args()
    connect(Resources())
    quiet = Console(quiet=True)
    print("| videos a call | calls at a time | busy |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.parquet"
        pq.write_table(pa.table({"id": range(options.videos)}, schema=ROW), rows)
        for per_call, calls in ((4, 1), (16, 1), (16, 2), (32, 2)):
            work = {"beside_s": options.beside, "work_s": options.work}
            chain = [
                Stage("prepare", prepare, ROW, batch_size=1, num_cpus=0.5, kwargs={"seconds": options.prepare}),
                Stage("explain", Actor, ROW, batch_size=per_call, num_cpus=1, actors=1, calls=calls, kwargs=work),
            ]
            shares: dict[str, float] = {}
            with streamed(rows, chain, PER_BLOCK, options.videos, quiet, shares) as videos:
                videos.materialize()
            print(f"| {per_call} | {calls} | {shares['explain']:.0%} |", flush=True)


if __name__ == "__main__":
    main()
