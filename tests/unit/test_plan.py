"""What a run will take, worked out by hand from what another took."""

import math
from dataclasses import replace

import pyarrow as pa
import pytest

from pipelines.errors import UserError
from pipelines.plan import Machines, Mean, Prices, Taken, mean_of, plan, rows, sample, sizes


def exact(value: float) -> Mean:
    return Mean(value, 0.0, 4)


def a_run(cores_s=4.0, gpus_s=2.0, slack=1.25, fixed_s=30.0) -> Taken:
    return Taken("r", 4, 1.0, exact(cores_s), exact(gpus_s), exact(5e6), slack, fixed_s, 0.0, 4)


def test_the_error_of_a_mean_is_that_of_its_groups():
    """Means of two equal groups 3 and 5: deviation sqrt(2), of their mean 1. Videos of a group tell nothing more."""
    found = mean_of([2, 2], [6, 10])
    assert (found.value, found.error, found.n) == (4, pytest.approx(1), 4)
    assert mean_of([2], [6]) == Mean(3, None, 2)


def test_groups_of_unequal_size_weigh_as_they_are_large():
    """Ten videos of 1 s and one of 12 s: 2 s a video. Off by 10 - 20 and 12 - 2: sqrt(2 (100 + 100)) / 11."""
    found = mean_of([10, 1], [10, 12])
    assert (found.value, found.error) == (2, pytest.approx(20 / 11))


def test_a_sum_is_uncertain_by_what_was_measured_and_by_its_own_videos():
    """Four measured, error 1 of 4 s: their deviation is 2 s. The sum of 12 others has 2 sqrt(12) of its own, 12 from
    the mean: sqrt(48 + 144) = 13.86 of 48 s."""
    found = Mean(4, 1, 4).total(12)
    assert found.value == 48
    assert found.share == pytest.approx(1.96 * math.sqrt(48 + 144) / 48)
    assert Mean(4, None, 4).total(12).share is None


def figures(found):
    return {what: total.value for (what, _), total in found.figures.items()}


def test_the_gpus_decide():
    """1000 videos: 4000 s of 14 cores that no actor holds, 286 s; 2000 s of two GPUs, 1000 s, times 1.25, and 30 s."""
    found = plan(a_run(), 1000, exact(2e6), Machines(16, 2), 0, Prices(gpu=3, gb=0.02))
    assert figures(found) == {
        "wall time": pytest.approx(1280 / 3600),
        "GPUs that explain": pytest.approx(2000 / 3600),
        "GPUs that are there": pytest.approx(2560 / 3600),
        "cores that work": pytest.approx(4000 / 3600),
        "cores that are there": pytest.approx(16 * 1280 / 3600),
        "videos read": pytest.approx(2),
        "lake written": pytest.approx(5),
        "price of GPUs": pytest.approx(2560 / 3600 * 3),
        "price of the lake": pytest.approx(0.1),
    }
    assert found.busy_gpus == 1
    assert found.busy_cores == pytest.approx(4000 / 14 / 1000)
    assert found.cores_for_gpus == pytest.approx(4 + 2)


def test_the_cores_decide_until_there_are_enough():
    """Four cores, two of them held by actors: 2000 s, and GPUs work half of the time. With six they always do."""
    found = plan(a_run(), 1000, None, Machines(4, 2), 0, Prices())
    assert figures(found)["wall time"] == pytest.approx((2000 * 1.25 + 30) / 3600)
    assert (found.busy_gpus, found.busy_cores) == (pytest.approx(0.5), 1)
    enough = plan(a_run(), 1000, None, Machines(found.cores_for_gpus, 2), 0, Prices())
    assert enough.busy_gpus == enough.busy_cores == pytest.approx(1)
    assert "videos read" not in figures(found)


def test_actors_that_share_a_gpu_hold_a_core_each():
    """Two actors on one GPU: of four cores two decode."""
    found = plan(a_run(), 1000, None, Machines(4, 1, 0.5), 0, Prices())
    assert figures(found)["wall time"] == pytest.approx((2000 * 1.25 + 30) / 3600)  # the GPU, and the cores, both 2000
    with pytest.raises(UserError, match="2 cores leave none to decode beside 1 GPUs"):
        plan(a_run(), 1000, None, Machines(2, 1, 0.5), 0, Prices())


def test_processors_alone():
    """A run whose stages slowed each other down is planned so: twice the cores take half as long."""
    was = a_run(cores_s=10, gpus_s=0, slack=0.8, fixed_s=0)
    one, two = (figures(plan(was, 360, None, Machines(16 * nodes), nodes, Prices(gpu=9, node=2))) for nodes in (1, 2))
    assert one["wall time"] == pytest.approx(3600 / 16 * 0.8 / 3600)
    assert one["wall time"] == pytest.approx(2 * two["wall time"])
    assert one["price of CPU nodes"] == two["price of CPU nodes"] == pytest.approx(0.05 * 2)
    assert "price of GPUs" not in one


@pytest.mark.parametrize(("gpus_s", "gpus"), [(2.0, 0), (0.0, 1)])
def test_what_was_measured_on_one_says_nothing_of_the_other(gpus_s, gpus):
    with pytest.raises(UserError, match="plan from a run on such"):
        plan(a_run(gpus_s=gpus_s), 10, None, Machines(16, gpus), 1, Prices())


def test_the_bar_of_the_wall_time_has_what_two_runs_differ_by_and_none_is_below_zero():
    was = Taken("r", 4, 1.0, Mean(4, 4, 4), exact(0), Mean(5, None, 4), 1.0, 0.0, 0.0, 4)
    found = plan(was, 10**9, None, Machines(16), 1, Prices())
    said = {row["what"]: row for row in rows(found).to_pylist()}
    work, wall = said["cores that work"], said["wall time"]
    assert work["high"] / work["estimate"] == pytest.approx(1 + 1.96)
    assert work["low"] == 0
    assert wall["high"] / wall["estimate"] == pytest.approx(1 + math.hypot(1.96, 0.1))
    assert (said["lake written"]["low"], said["lake written"]["high"]) == (None, None)


def test_a_sample_is_the_same_every_time_and_files_that_are_away_have_no_size(tmp_path):
    (tmp_path / "a").write_bytes(b"123")
    manifest = pa.table({"uri": [str(tmp_path / "a"), "s3://b/c", *map(str, range(8))]})
    chosen = sample(manifest, 3)
    assert len(chosen) == 3
    assert chosen == sample(manifest, 3)
    assert sample(manifest, 99) == manifest
    assert sizes(manifest) == Mean(3, None, 1)
    assert sizes(manifest.slice(1)) is None


def test_a_lake_has_fewer_blocks_than_were_written_where_there_are_many():
    """Of a video 10 bytes, of a block 400. Four to a block 200 videos have 50; 4,000 would have 1,000, which are then
    written together, 2,000 videos to one. What is uncertain is the videos' part."""
    was = replace(a_run(), bytes=Mean(10.0, 1.0, 4), block_bytes=400.0)
    assert was.written(200).value == 200 * 10 + 50 * 400
    assert was.written(4000).value == 4000 * 10 + 2 * 400
    assert was.written(200).share == pytest.approx((was.bytes.total(200).share or 0) * 2000 / 22000)
    assert was.written(200).share
