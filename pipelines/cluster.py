"""Where the work runs: a Ray cluster that is there, or this machine."""

import logging
import os
import signal
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.data import DataContext

from pipelines.config import Resources
from pipelines.errors import UserError
from pipelines.machine import WAITING, processors
from pipelines.watch import watched

_VIDEOS_PER_GPU_CALL: Final = 32


@dataclass(frozen=True)
class Cluster:
    """How many attribution actors there are and what each takes."""

    actors: int
    cpus_per_actor: int
    gpus_per_actor: float
    threads_per_actor: int
    batch_samples: int  # 0: as many as the GPU's free memory holds
    videos_per_call: int
    calls: int  # of an actor at a time


def connect(resources: Resources) -> Cluster:
    """Join the cluster RAY_ADDRESS names (set inside `ray job submit`), else start Ray on this machine.

    Raises UserError for a cluster with too few processors.
    """
    if not ray.is_initialized():
        options = {"log_to_driver": False, "logging_level": "ERROR"}
        terminate = signal.getsignal(signal.SIGTERM)
        if "RAY_ADDRESS" in os.environ:
            ray.init(**options, runtime_env={"env_vars": {name: os.environ[name] for name in WAITING}})
        else:
            # The actor holds logical CPUs for its threads and Ray's checkpoint filter one: with so many more than the
            # machine has, all of its processors decode while there is something to decode, also in a resumed run.
            with watched():
                ray.init(address="local", num_cpus=2 * processors() + 1, include_dashboard=False, **options)
        signal.signal(signal.SIGTERM, terminate)  # Ray's own ends the process with a dump of its stack
        _hush()
    context = DataContext.get_current()
    context.enable_progress_bars = False  # pipelines.progress speaks of our stages instead
    # The new reader of Parquet starts 32 processes to read footers. Ours is one file, and to start so many before the
    # first video took as much of the processors as all else together.
    context.use_datasource_v2 = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # an error that ends a run is told once, by `errors.told`
    available = ray.cluster_resources()
    gpus = available.get("GPU", 0)
    per_actor = resources.gpus_per_actor if gpus else 0.0
    actors = resources.actors or (int(gpus / per_actor) if gpus else 1)
    threads = resources.threads_per_actor or (1 if gpus else min(processors_of_nodes()))  # of the smallest
    # Unequal to the one CPU of a decoding task on purpose: Ray fuses a task into an actor of equal resources, and
    # then nothing is decoded but by the actor.
    cpus = 1 if gpus else threads
    needed = actors * cpus + 2
    if available.get("CPU", 0) < needed:
        raise UserError(
            f"the cluster has {available.get('CPU', 0):.0f} CPUs and needs {needed}: {cpus} per attribution actor, one "
            "for the checkpoint filter and one to decode; set resources.actors or resources.threads_per_actor lower"
        )
    samples = resources.batch_samples or (0 if gpus else 4)
    # a GPU waits neither for rows to be read and written, nor for the gap between two calls; on processors nothing is
    # won, for what reads and writes takes them from what explains
    videos = resources.videos_per_call or max(resources.videos_per_block, _VIDEOS_PER_GPU_CALL if gpus else 0)
    return Cluster(actors, cpus, per_actor, threads, samples, videos, calls=2 if gpus else 1)


def processors_of_nodes() -> list[int]:
    """Processors of every machine that runs something; at least one."""
    if "RAY_ADDRESS" not in os.environ:
        return [processors()]
    # Ray's own count minds a container's quota; a head that is to run nothing has none
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return [cpus for cpus in nodes if cpus] or [1]


@ray.remote(num_cpus=0, max_restarts=1, resources={"nowhere": 1})
class _Unborn:
    def __init__(self, argument: object) -> None: ...


def _hush() -> None:
    """Have Ray say unheard what it says once per process on standard error, whoever uses Ray Data with actors.

    That actors take arguments from the object store (ray-project/ray#53727) is Ray Data's own doing and no error of a
    run. A log level that left it out would leave out real errors, too, and say on standard error that it is set.
    """
    heard = os.dup(2)
    with open(os.devnull, "wb") as unheard:
        os.dup2(unheard.fileno(), 2)
        try:
            actor: Any = _Unborn.remote(ray.put(None))  # asks for a resource that is nowhere: no process is started
        finally:
            os.dup2(heard, 2)
            os.close(heard)
    ray.kill(actor)
