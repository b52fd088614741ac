"""What Ray says of a worker's error: what it was, and of which stage."""

import pyarrow as pa
import pytest
import ray

from operators.stage import Stage, apply
from pipelines.cluster import connect
from pipelines.config import Resources


class Broken:
    def __init__(self) -> None:
        raise RuntimeError("a fault of ours")


def test_an_actor_that_breaks_says_why():
    connect(Resources())
    stage = Stage("work", Broken, pa.schema([("id", pa.int64())]), batch_size=1, actors=1)
    with pytest.raises(Exception, match="RuntimeError: a fault of ours"):
        apply(ray.data.range(4), stage).take_all()
