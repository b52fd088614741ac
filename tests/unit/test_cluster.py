"""How a cluster is shared out: what is there, what is asked for, and what may still come."""

import pytest

from pipelines.cluster import Cluster, shared_out
from pipelines.config import Resources
from pipelines.errors import UserError

LAPTOP = {"CPU": 9.0}
HEAD = {"CPU": 4.0}
TWO_GPUS = {"CPU": 20.0, "GPU": 2.0}


def test_processors_alone_are_one_actor_with_the_threads_of_the_smallest_machine():
    found = shared_out(Resources(), {"CPU": 40.0}, [8, 4, 16], grows=True)
    assert found == Cluster(1, 4, 0.0, 4, batch_samples=4, videos_per_call=4, calls=1)


def test_an_actor_of_one_thread_asks_for_another_share_than_a_task():
    found = shared_out(Resources(actors=4, threads_per_actor=1), LAPTOP, [4], grows=False)
    assert found.cpus_per_actor not in (0, 1)  # with equal ones Ray has the actor decode, and nothing else
    assert shared_out(Resources(), {"CPU": 3.0}, [1], grows=False).threads_per_actor == 1


def test_every_gpu_has_an_actor_and_a_share_makes_more_of_them():
    found = shared_out(Resources(), TWO_GPUS, [10, 10], grows=True)
    assert found == Cluster(2, 1, 1.0, 1, batch_samples=0, videos_per_call=32, calls=2)
    assert shared_out(Resources(gpus_per_actor=0.5), TWO_GPUS, [10, 10], grows=True).actors == 4


def test_gpus_that_are_asked_for_may_come_later_and_bring_their_processors():
    asked = Resources(actors=16, gpus_per_actor=1.0)
    found = shared_out(asked, HEAD, [4], grows=True)
    assert (found.actors, found.gpus_per_actor, found.threads_per_actor, found.calls) == (16, 1.0, 1, 2)
    assert shared_out(asked, TWO_GPUS, [10, 10], grows=True).actors == 16
    with pytest.raises(UserError, match="has 3 CPUs and needs 4"):  # of the two that are there
        shared_out(asked, {"CPU": 3.0, "GPU": 2.0}, [3], grows=True)


def test_actors_alone_ask_for_no_gpu():
    assert shared_out(Resources(actors=2), {"CPU": 12.0}, [4], grows=True).gpus_per_actor == 0
    with pytest.raises(UserError, match="has 9 CPUs and needs 10: 4 per attribution actor"):
        shared_out(Resources(actors=2), LAPTOP, [4], grows=False)


def test_gpus_that_cannot_be_are_refused_in_a_line():
    with pytest.raises(UserError, match=r"gpus_per_actor=0\.5: this machine has no GPU"):
        shared_out(Resources(actors=1, gpus_per_actor=0.5), LAPTOP, [4], grows=False)
    with pytest.raises(UserError, match=r"the cluster has no GPU yet; say with resources\.actors for how many"):
        shared_out(Resources(gpus_per_actor=1.0), HEAD, [4], grows=True)
