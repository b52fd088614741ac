"""What a finished run took, from its lake, and the command that plans with it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from pipelines import config as configs
from pipelines.__main__ import main
from pipelines.errors import UserError
from pipelines.plan import taken

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def make_run(make_lake, monkeypatch):
    """A run of four videos in two blocks, 16 s before and after explaining them and 8 s of explaining: on a GPU with
    8 processors, or on so many processors."""

    def make(gpus=1, processors=(8,), per_block=2, ended_s=40.0, busy=0.8, starts=1, **resources):
        tables = {"resources": {"videos_per_block": per_block, "videos_per_call": per_block} | resources}
        config = configs.build(tables, ["resnet10t"], [], {}).to_json()
        hardware = json.dumps({"processors": processors, "cluster": {"CPU": 99, **({"GPU": gpus} if gpus else {})}})
        start = {"started_at": STARTED, "versions": "{}", "hardware": hardware}
        row = {"started_at": STARTED, "config": config, "busy": busy, "starts": [start] * starts}
        row["ended_at"] = None if ended_s is None else STARTED + timedelta(seconds=ended_s)
        for name, prepare_s in {"a": 2.5, "b": 4.5}.items():
            own = {"prepare_s": prepare_s, "metrics_s": 0.5}
            videos = [own | {"video_id": f"{name}{explain_s}", "explain_s": explain_s} for explain_s in (1.0, 3.0)]
            make_lake({"videos": videos} | ({"runs": [row]} if name == "a" else {}), name=name)
        return make_lake({}, name="empty")

    return make


def test_a_run_on_a_gpu(make_run):
    """8 s of explaining by an actor that is busy for 80 %: 10 s. A GPU that never waits takes 8 s, so a quarter more;
    seven processors decode meanwhile. Blocks of 6 and 10 s: 4 s a video, give or take 1 s."""
    was = taken(make_run())
    assert (was.cores_s.value, was.cores_s.error, was.cores_s.n) == (4, pytest.approx(1), 4)
    assert (was.gpus_s.value, was.gpus_s.error) == (2, pytest.approx(0))
    assert was.slack == pytest.approx(10 / 8)
    assert was.fixed_s == pytest.approx(30)
    assert 0 < was.bytes.value < was.block_bytes  # nearly all of so small a lake is names and types
    assert was.per_block == 2


def test_two_actors_on_one_gpu_take_half_of_it_each(make_run):
    was = taken(make_run(gpus_per_actor=0.5))
    assert was.gpus_s.value == 1
    assert was.gpus_per_actor == 0.5
    assert was.slack == pytest.approx((8 / 2 / 0.8) / 4)  # 16 s of decoding on six processors are less


def test_threads_of_an_actor_are_processors_too(make_run):
    """16 s of one processor and 8 s of four: 48 s of four take 12 s where none waits, and took 8 s / .8."""
    was = taken(make_run(gpus=0, processors=(4,)))
    assert (was.cores_s.value, was.gpus_s.value) == (12, 0)
    assert was.slack == pytest.approx(10 / 12)
    # an actor for each of two machines, the smaller of which has four
    was = taken(make_run(gpus=0, processors=(4, 6), actors=2))
    assert was.slack == pytest.approx((8 / 2 / 0.8) / (48 / 10))


def test_a_gpu_that_was_not_there(make_run):
    """Four times as fast as the four threads were: 2 s a video become half a second of a GPU."""
    was = taken(make_run(gpus=0, processors=(4,)), gpu_speedup=4.0)
    assert (was.cores_s.value, was.gpus_s.value) == (4, 0.5)
    with pytest.raises(UserError, match="--gpu-speedup is for one without"):
        taken(make_run(), gpu_speedup=4.0)


def test_of_several_starts_it_is_not_known_what_they_took(make_run):
    assert taken(make_run(starts=2)).fixed_s == 0


def test_videos_that_were_not_explained_count(make_lake, make_run):
    lake = make_run()
    make_lake({"videos": [{"video_id": "c", "status": "error", "prepare_s": 1.0, "explain_s": None}]}, name="c")
    was = taken(lake)
    assert was.n_videos == 5
    assert (was.cores_s.value, was.gpus_s.value) == (pytest.approx(17 / 5), pytest.approx(8 / 5))


@pytest.mark.parametrize(
    ("said", "message"),
    [({"ended_s": None}, "has not ended"), ({"busy": None}, "has not ended")],
)
def test_a_run_that_says_nothing(make_run, said, message):
    with pytest.raises(UserError, match=message):
        taken(make_run(**said))


def test_the_command(make_run, tmp_path, capsys):
    """The GPU decides: 100 videos take it 200 s, a quarter more, and half a minute."""
    (tmp_path / "m.csv").write_text("uri\n" + "\n".join(f"nowhere/{number}" for number in range(100)))
    asked = ["plan", "--manifest", str(tmp_path / "m.csv"), "--lake", str(make_run())]
    assert main([*asked, "--gpus", "1", "--gpu-price", "36"]) == 0
    said = capsys.readouterr().out
    assert "100 videos on 8 cores and 1 GPUs" in said
    assert "the GPUs decide" in said
    (price,) = [line for line in said.splitlines() if "price of GPUs" in line]
    assert "2.8" in price  # 280 s
    assert main([*asked, "--cpu-nodes", "1"]) == 1
    assert "for processors plan from a run on such" in capsys.readouterr().err
    assert main(asked) == 1
    assert "say on what to plan" in capsys.readouterr().err
