"""A readout from the command line: trained on a manifest, then beside per-sample IBA in the tables of a run."""

from pathlib import Path

import numpy as np
import pytest

from operators.methods import readout as readouts
from pipelines.lake.read import open_lake

MODEL = ("--model", "test_resnet", "--layer", "layer3")


@pytest.fixture(scope="module")
def manifest(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("readout") / "manifest.csv"
    rows = [
        f"{file},{label},{split}"
        for label in ("real", "fake")
        for file, split in zip(sorted((videos / label).iterdir()), ("train", "val", "test"), strict=True)
    ]
    path.write_text("\n".join(["uri,label,split", *rows]) + "\n")
    return path


def test_trained_and_explained_with(manifest, viba, tmp_path):
    out, lake = tmp_path / "readouts", tmp_path / "lake"
    arguments = ("train-readout", *MODEL, "--read", "layer4", "--manifest", manifest, "--out", out)
    settings = ("--frames", "3", "--epochs", "2", "--set", "readout.learning_rate=1e-3")
    said = viba(*arguments, *settings)
    assert "6 samples to train on, 6 to validate on" in said.out
    path = out / "test_resnet" / "layer3.safetensors"
    about = readouts.about(path)
    assert about["read"] == ["layer3", "layer4"]
    assert about["val_loss"] < about["val_loss_untrained"]
    assert "epoch 1/2" not in viba(*arguments, *settings).out  # nothing is left to do

    statistics = out / "test_resnet" / "layer3.training" / "statistics"
    steps = ("--set", "bottleneck.draws=1", "--set", "bottleneck.steps=1", "--set", 'bottleneck.start="readout"')
    given = ("--readout", out, "--statistics", statistics, "--max-keyframes", "1")
    viba("explain", manifest, "--lake", lake, *MODEL, *given, *steps)
    connection = open_lake(lake)
    masks = connection.sql("select * from masks order by video_id, method").to_arrow_table().to_pylist()
    connection.close()
    assert [mask["method"] for mask in masks] == ["iba", "readout"] * 6
    for fitted, predicted in zip(masks[::2], masks[1::2], strict=True):
        # a fit of one step that begins at the readout's alpha is the readout
        maps = [np.array(mask["saliency"], float) * mask["scale"] for mask in (fitted, predicted)]
        np.testing.assert_allclose(*maps, rtol=1e-3)
        assert predicted["loss_first"] is None
        assert predicted["loss_last"] == pytest.approx(fitted["loss_last"], rel=1e-4)
    viba("evaluate", "--lake", lake)
