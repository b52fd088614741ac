"""Where the work runs: a Ray cluster that is there, or this machine."""

import logging
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import ray
from ray.data import DataContext
from rich.console import Console

from pipelines.config import Resources
from pipelines.errors import UserError
from pipelines.machine import WAITING, processors
from pipelines.screen import say
from pipelines.watch import watched

_VIDEOS_PER_GPU_CALL: Final = 32


@dataclass(frozen=True)
class Cluster:
    """How many attribution actors there are and what each takes."""

    actors: int
    cpus_per_actor: float
    gpus_per_actor: float
    threads_per_actor: int
    batch_samples: int  # 0: as many as the GPU's free memory holds
    videos_per_call: int
    calls: int  # of an actor at a time


def connect(resources: Resources, console: Console | None = None) -> Cluster:
    """Join the cluster RAY_ADDRESS names (set inside `ray job submit`), else start Ray on this machine.

    `console` hears what attribution actors run on where that is not what is there already. Raises UserError for a
    cluster with too few processors, and for GPUs that are asked for where none can be.
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
    # A call may take as long as it takes, and so may a GPU that has still to come: by itself Ray gives up after half
    # an hour in which nothing left a stage.
    context.execution_no_progress_timeout_s = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # an error that ends a run is told once, by `errors.told`
    there, nodes = ray.cluster_resources(), processors_of_nodes()
    found = shared_out(resources, there, nodes, grows="RAY_ADDRESS" in os.environ)
    if console is not None:
        _announce(found, there.get("GPU", 0), console)
    return found


def shared_out(resources: Resources, there: Mapping[str, float], nodes: Sequence[int], grows: bool) -> Cluster:
    """What actors get of a cluster with the resources that are `there`, and `nodes` with so many processors.

    A share of a GPU that is asked for is waited for where more may come (`grows`). UserError as `connect`.
    """
    gpus, share = there.get("GPU", 0), resources.gpus_per_actor
    if share is not None and not gpus and not grows:
        raise UserError(f"resources.gpus_per_actor={share:g}: this machine has no GPU")
    if share is not None and not gpus and not resources.actors:
        raise UserError(
            f"resources.gpus_per_actor={share:g}: the cluster has no GPU yet; say with resources.actors for how many "
            "actors GPUs will come"
        )
    per_actor = share if share is not None else 1.0 if gpus else 0.0
    actors = resources.actors or (int(gpus / per_actor) if per_actor else 1)
    threads = resources.threads_per_actor or (1 if per_actor else min(nodes))  # of the smallest
    # Unequal to the one CPU of a decoding task on purpose: Ray fuses a task into an actor of equal resources, and
    # then nothing is decoded but by the actor. A GPU makes them unequal, too.
    cpus = 1 if per_actor else 0.99 if threads == 1 else threads
    # those whose GPU is to come bring their processors along
    needed = (min(actors, int(gpus / per_actor)) if per_actor else actors) * cpus + 2
    if there.get("CPU", 0) < needed:
        raise UserError(
            f"the cluster has {there.get('CPU', 0):.0f} CPUs and needs {needed:g}: {cpus:g} per attribution actor, one "
            "for the checkpoint filter and one to decode; set resources.actors or resources.threads_per_actor lower"
        )
    samples = resources.batch_samples or (0 if per_actor else 4)
    # a GPU waits neither for rows to be read and written, nor for the gap between two calls; on processors nothing is
    # won, for what reads and writes takes them from what explains
    videos = resources.videos_per_call or max(resources.videos_per_block, _VIDEOS_PER_GPU_CALL if per_actor else 0)
    return Cluster(actors, cpus, per_actor, threads, samples, videos, calls=2 if per_actor else 1)


def _announce(cluster: Cluster, gpus: float, console: Console) -> None:
    """That GPUs are waited for, or that none is where one might be thought."""
    needed = cluster.actors * cluster.gpus_per_actor
    if needed > gpus:
        say(console, f"the cluster has {gpus:g} of the {needed:g} GPUs that were asked for: the others are waited for")
    elif not needed and "RAY_ADDRESS" in os.environ:
        say(
            console,
            "the cluster has no GPU: explaining on processors; with --set resources.gpus_per_actor=1 and "
            "resources.actors=N it waits for N GPUs",
            "yellow",
        )


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
