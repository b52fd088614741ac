"""Whether a run tries how many noise draws it needs, on which of its samples, and that it stays with what was found."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from operators.methods import choice as choices
from operators.methods.bottleneck import PRESETS
from operators.methods.choice import Choice
from pipelines import config as configs
from pipelines import fidelity
from pipelines.cluster import Cluster
from pipelines.manifest import write_table
from schemas.tables import MANIFEST

QUIET = Console(quiet=True)
MODEL, LAYERS = "resnet10t", ("layer2", "layer3")
FOUND = Choice(4, True, None, ({"draws": 4, "samples": 6, "pearson": 1.0, "own_pearson": 1.0, "bits": 0.0},))


@pytest.fixture
def keep(tmp_path, monkeypatch):
    """keep(n_videos, inputs of each, config) -> the choices; `asked` what `choose` was given, `tried` which videos."""
    asked, tried = [], []

    def run(n_videos: int, n_inputs: int = 16, config: configs.Config | None = None):
        config = config or configs.build({}, [MODEL], list(LAYERS), {})
        rows = [
            {"video_id": f"{i:04d}", "uri": f"{i}", "dataset": "d", "label": "fake" if i % 4 else "real"}
            for i in range(n_videos)
        ]
        write_table(pa.Table.from_pylist(rows, schema=MANIFEST.schema), tmp_path / "m.parquet")
        view = str(config.detectors[0].spec.view)

        @contextmanager
        def streamed(sample, _chain, _per_block, total, _console):
            ids = pq.read_table(sample)["video_id"].to_pylist()
            tried.append(ids)
            assert total == len(ids)
            own = [{"inputs": [{"view": view, "pixels": f"{name} {i}"} for i in range(n_inputs)]} for name in ids]
            yield SimpleNamespace(iter_rows=lambda: own)

        def choose(detector, bottleneck, files, pixels, at_once, threads):
            asked.append((detector.spec.name, bottleneck, tuple(files), pixels))
            return dict.fromkeys(files, FOUND)

        here = SimpleNamespace(remote=lambda **_: lambda of: SimpleNamespace(remote=of), get=lambda result: result)
        monkeypatch.setattr(fidelity, "streamed", streamed)
        monkeypatch.setattr(fidelity, "choose", choose)
        monkeypatch.setattr(fidelity, "ray", here)
        cluster = SimpleNamespace(**dict.fromkeys(Cluster.__dataclass_fields__, 1))
        return fidelity.keep_choices(config, tmp_path / "m.parquet", tmp_path / "s", (), cluster, QUIET)

    return SimpleNamespace(run=run, asked=asked, tried=tried, folder=tmp_path / "s")


def test_one_of_each_label_and_one_sample_of_each_video_in_turn(keep):
    found = keep.run(150)
    assert found == {(MODEL, layer): FOUND for layer in LAYERS}
    # every fourth video is genuine: six of these and six others, the first ones
    (ids,) = keep.tried
    assert ids == sorted(f"{i:04d}" for i in (*range(0, 24, 4), 1, 2, 3, 5, 6, 7))
    ((name, how, layers, pixels),) = keep.asked
    assert (name, how.draws, layers) == (MODEL, 2, LAYERS)
    assert pixels == [f"{name} {i}" for i in range(3) for name in ids][:32]


def test_what_was_found_is_kept_and_only_what_is_missing_is_tried(keep):
    choices.save(replace(FOUND, draws=6), choices.path_in(keep.folder, MODEL, "layer2"))
    for _ in range(2):
        found = keep.run(150)
        assert {layer: choice.draws for (_, layer), choice in found.items()} == {"layer2": 6, "layer3": 4}
    assert [layers for _, _, layers, _ in keep.asked] == [("layer3",)]


@pytest.mark.parametrize(("n_videos", "n_inputs"), [(93, 16), (94, 15), (94, 16), (150, 9), (150, 10)])
def test_a_run_that_would_not_repay_it_takes_what_the_preset_has(keep, n_videos, n_inputs):
    """Of at most 16 keyframes a video 94 may have 1,500 samples, and 150 that have ten each do."""
    found = keep.run(n_videos, n_inputs)
    enough = n_videos * n_inputs >= 1500
    assert [choice.draws for choice in found.values()] == [4 if enough else 2] * 2
    assert (len(keep.tried), len(keep.asked)) == (n_videos * 16 >= 1500, enough)
    assert all((choice.why is None) == enough for choice in found.values())


@pytest.mark.parametrize(
    "change", [{"bottleneck": PRESETS["fast"]}, {"bottleneck": PRESETS["reference"]}, {"methods": ("gradcam",)}]
)
def test_who_says_how_many_draws_or_fits_nothing_is_asked_nothing(keep, change):
    config = replace(configs.build({}, [MODEL], list(LAYERS), {}), **change)
    assert keep.run(150, config=config) == {}
    assert keep.tried == []


def test_what_was_found_is_said(keep):
    assert fidelity.in_words(FOUND).endswith("of 6 samples; taken are 4 noise draws, which hold")
    assert "which do not hold either" in fidelity.in_words(replace(FOUND, holds=False))
    assert fidelity.in_words(Choice(2, why="too few")) == "2 noise draws, not compared with the reference: too few"
