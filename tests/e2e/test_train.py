"""Training from the command line: what it leaves behind, and that a kill changes nothing."""

import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from operators.models import spec_of

TRAIN = (
    *("--model", "resnet10t", "--input-size", "64", "--frames", "3"),
    *("--set", "train.max_epochs=3", "--set", "train.batch_size=4", "--set", 'train.schedule="constant"'),
)


@pytest.fixture(scope="module")
def manifest(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two genuine clips with their forgeries to train on, one of each to validate."""
    path = tmp_path_factory.mktemp("manifest") / "manifest.csv"
    lines = ["uri,label,split"]
    for label in ("real", "fake"):
        for number, file in enumerate(sorted((videos / label).iterdir())):
            lines.append(f"{file},{label},{'train' if number < 2 else 'val'}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_killed_training_continues_to_the_same_result(manifest, viba, tmp_path):
    def arguments(out: Path) -> tuple[str | Path, ...]:
        return ("train", *TRAIN, "--manifest", manifest, "--out", out)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = viba.run(*arguments(whole))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "epoch 3/3" in done.stdout

    process = viba.start(*arguments(killed))
    deadline = time.monotonic() + 300
    while not (killed / "checkpoint.pt").is_file() and process.poll() is None:
        assert time.monotonic() < deadline, "no epoch in time"
        time.sleep(0.02)
    assert viba.kill_everything() > 0
    process.communicate()
    assert not (killed / "report.json").is_file()
    assert viba.run(*arguments(killed)).returncode == 0

    expected, found = (pq.read_table(folder / "curves.parquet").to_pydict() for folder in (whole, killed))
    assert found["epoch"] == [0, 1, 2]
    for column in ("train_loss", "val_loss"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-3)

    spec = spec_of(killed / "model.safetensors")
    assert spec is not None
    assert (spec.name, spec.input_size) == ("resnet10t", 64)
    report = json.loads((killed / "report.json").read_text())
    assert report["n_val"] == 6
    assert (killed / "curves.png").stat().st_size > 0

    other = viba.run(*arguments(killed), "--set", "train.seed=1")
    assert other.returncode == 1
    assert "holds another training" in other.stderr


def test_a_manifest_without_both_labels_is_refused(videos, viba, tmp_path):
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"uri,label,split\n{min((videos / 'real').iterdir())},real,train\n")
    done = viba.run("train", *TRAIN, "--manifest", manifest, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "no fake video in the split train" in done.stderr
