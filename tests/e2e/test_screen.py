"""What Ray says on standard error of its own accord stays off the screen, and what is our fault does not."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys
import pyarrow as pa
import ray
from operators.stage import Stage, apply
from pipelines.cluster import connect
from pipelines.config import Resources

class Same:
    def __call__(self, table):
        return table

class Broken:
    def __init__(self):
        raise RuntimeError("a fault of ours")

connect(Resources())
for fn in (Same, Broken):
    apply(ray.data.range(4), Stage("work", fn, pa.schema([("id", pa.int64())]), batch_size=1, actors=1)).take_all()
    print(fn.__name__, "is done", file=sys.stderr, flush=True)
"""


def test_an_actor_that_works_says_nothing_and_one_that_breaks_says_why():
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    for name in ("RAY_ADDRESS", "RAY_BACKEND_LOG_LEVEL"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    said = done.stderr.splitlines()
    assert said[0] == "Same is done", done.stderr
    assert said[-1] == "RuntimeError: a fault of ours"
    assert "Broken is done" not in said
    assert done.returncode == 1
