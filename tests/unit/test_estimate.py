"""Which videos statistics are estimated from: what the collecting stage would be given, in the manifest it reads."""

from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from operators.methods import statistics
from pipelines import config as configs
from pipelines import estimate as estimating
from pipelines.errors import UserError

KNOWN = statistics.of_batch(torch.randn(4, 256, 11, 11, generator=torch.Generator().manual_seed(0)))
LINES = ["real,train", "fake,train", "real,val", "fake,test", "real,train"]


@pytest.fixture
def estimate(tmp_path, monkeypatch):
    """estimate(lines, label=..., ...) -> the numbers of the videos of that manifest from which were collected; those
    before `blind` show nothing."""

    def run(lines: list[str], settings: dict | None = None, label: str | None = None, blind: int = 0) -> list[int]:
        rows = [f"{tmp_path / 'v.mp4'}?{number},{number},{line}" for number, line in enumerate(lines)]
        (tmp_path / "m.csv").write_text("\n".join(["uri,video_id,label,split", *rows]))
        config = configs.build(settings or {}, ["test_resnet"], ["layer3"], {})
        seen = []

        def collect(sample, total, _config, _cluster, _console, _kept):
            now = [int(video_id) for video_id in pq.read_table(sample)["video_id"].to_pylist()]
            assert total == len(now)
            seen.extend(now)
            return {("test_resnet", "layer3"): KNOWN} if max(now) >= blind else {}

        monkeypatch.setattr(estimating, "collect", collect)
        monkeypatch.setattr(estimating, "connect", lambda *_: SimpleNamespace())
        estimating.estimate(config, [tmp_path / "m.csv"], tmp_path / "out", Console(quiet=True), label)
        return seen

    return run


def test_what_is_held_out_does_not_count(estimate, tmp_path):
    assert estimate(LINES) == [0, 1, 4]
    path = statistics.path_in(tmp_path / "out", "test_resnet", "layer3")
    assert (statistics.load(path).n, statistics.about(path)["label"]) == (4, None)
    assert estimate(LINES) == []  # it is there


def test_a_mistyped_path_is_said_before_a_model_is_loaded(tmp_path, monkeypatch):
    """It takes a model's time to load, a big one's a minute, to find that out afterwards."""
    monkeypatch.setattr(estimating, "probe", lambda _: pytest.fail("a model was loaded"))
    config = configs.build({}, ["test_resnet"], ["layer3"], {})
    with pytest.raises(UserError, match=r"no file or folder at .*mistyped\.parquet"):
        estimating.estimate(config, [tmp_path / "mistyped.parquet"], tmp_path / "out", Console(quiet=True))


def test_without_the_split_train_all_count(estimate):
    assert estimate(["real,", "fake,", "real,test"]) == [0, 1, 2]


def test_one_label_alone_which_the_file_says(estimate, tmp_path):
    assert estimate(LINES, label="real") == [0, 4]
    path = statistics.path_in(tmp_path / "out", "test_resnet", "layer3")
    assert statistics.about(path)["label"] == "real"
    assert estimate(LINES, label="real") == []
    assert estimate(LINES, label="fake") == [1]  # a file of another label is made anew
    with pytest.raises(UserError, match="no video to estimate from is labelled real"):
        estimate(["fake,train"], label="real")


def test_at_most_so_many_videos(estimate):
    assert estimate(LINES, {"statistics": {"max_videos": 2}}) == [0, 1]


def test_where_none_of_them_shows_anything_others_are_taken(estimate, tmp_path):
    """A manifest may begin with thousands of files that are not there: twice as many each time."""
    assert estimate(["real,train"] * 9, {"statistics": {"max_videos": 1}}, blind=2) == [0, 1, 2]
    statistics.path_in(tmp_path / "out", "test_resnet", "layer3").unlink()
    assert estimate(["real,train"] * 9, {"statistics": {"max_videos": 1}}, blind=3) == [0, 1, 2, 3, 4, 5, 6]
    statistics.path_in(tmp_path / "out", "test_resnet", "layer3").unlink()
    assert estimate(["real,train"] * 5, {"statistics": {"max_videos": 1}}, blind=9) == [0, 1, 2, 3, 4]  # there are none
