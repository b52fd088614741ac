"""The loop of a training: which epoch is the best, when it ends, and that it goes on after a kill as if there was none.

In this process: what Ray Train would tell a worker is told by the test, and what the network says of the held-out
samples where an epoch is to be better or worse than another."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from operators.inputs.view import View
from operators.measures.calibration import best_threshold
from operators.models.spec import spec_for
from operators.models.training import TrainParams
from pipelines import train
from schemas.records import SAMPLE

SPEC = replace(spec_for("test_convnext"), view=View(32))
PARAMS = TrainParams(learning_rate=1e-3, batch_size=4, max_epochs=6, patience_epochs=2, schedule="constant")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """What `_worker` is given: four samples to train on; held out are one genuine and three forged ones."""
    rng = np.random.default_rng(0)
    rows = [
        {"video_id": f"{split}{number}", "split": split, "label": label, "pair": f"{split}{number}", "frame": 0}
        | {"view": str(SPEC.view), "pixels": rng.bytes(3 * 32 * 32)}
        for split, labels in (("train", ("real", "real", "fake", "fake")), ("val", ("fake", "fake", "fake", "real")))
        for number, label in enumerate(labels)
    ]
    (tmp_path / "samples").mkdir()
    pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLE), tmp_path / "samples" / "a.parquet")
    one = SimpleNamespace(get_world_rank=lambda: 0, get_world_size=lambda: 1, get_local_world_size=lambda: 1)
    monkeypatch.setattr("ray.train.get_context", lambda: one)
    monkeypatch.setattr("ray.train.report", lambda metrics: None)
    monkeypatch.setattr(train, "get_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(train, "prepare_model", lambda model: model)
    monkeypatch.setattr(train, "processors", lambda: 1)  # the network is too small for more
    before = torch.get_num_threads()
    yield {"spec": SPEC, "params": PARAMS, "samples": tmp_path / "samples", "out": tmp_path, "start": None}
    torch.set_num_threads(before)


def says(monkeypatch, evidence: list[list[float]]) -> list[dict]:
    """Let the network say this of each held-out sample in each epoch; the weights it had then, epoch by epoch."""
    seen = []

    def predict(model, pixels, spec, device):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        fake = np.array(evidence[min(len(seen), len(evidence)) - 1], np.float32)
        return np.stack([0 * fake, fake], 1)

    monkeypatch.setattr(train.training, "predict", predict)
    return seen


#: of three forged samples and a genuine one: two mistakes; one; none, if not very sure; and so on
POOR, BETTER, BEST = [-1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0]


def test_the_best_epoch_is_kept_and_patience_ends_it(config, monkeypatch):
    seen = says(monkeypatch, [POOR, BEST, BETTER, POOR, BEST, BEST])
    train._worker(config)
    state = train._state(config["out"])
    assert state["best_epoch"] == 1
    assert [point["epoch"] for point in state["curves"]] == [0, 1, 2, 3]  # two epochs without a better one
    kept = load_file(config["out"] / "model.safetensors")
    assert all(torch.equal(value, seen[1][name]) for name, value in kept.items())
    assert any(not torch.equal(value, seen[3][name]) for name, value in kept.items())


def test_it_ends_after_its_epochs_at_the_latest(config, monkeypatch):
    says(monkeypatch, [[number / 9 * each for each in BEST] for number in range(1, 9)])  # ever surer of what is right
    train._worker(config | {"params": replace(PARAMS, max_epochs=3, patience_epochs=1)})
    assert len(train._state(config["out"])["curves"]) == 3


def test_classes_weigh_alike_in_the_validation(config, monkeypatch):
    """Three forged samples are right and the one genuine is wrong: half of what counts."""
    says(monkeypatch, [BETTER])
    train._worker(config | {"params": replace(PARAMS, max_epochs=1)})
    (point,) = train._state(config["out"])["curves"]
    assert point["val_accuracy"] == 0.5
    # a mistake costs log(1 + e), what is right log(1 + 1/e)
    assert point["val_loss"] == pytest.approx((np.log1p(np.e) + np.log1p(1 / np.e)) / 2)
    report = train._report(SPEC, config["out"], config["samples"], 0, "scratch", Console(quiet=True))
    assert (report["val_accuracy"], report["n_val"], report["best_epoch"]) == (0.5, 4, 0)
    assert report["ece"] == pytest.approx(1 / (1 + np.exp(-1)) - 0.5)
    assert json.loads((config["out"] / "report.json").read_text()) == report


class Killed(BaseException):
    pass


def test_a_killed_training_goes_on_to_the_same_weights(config, monkeypatch):
    """Killed in the middle of the second epoch of three: that epoch is done again, from the end of the first."""
    params = replace(PARAMS, max_epochs=3, augment=True, schedule="one_cycle")
    folders = [config["out"] / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    train._worker(config | {"params": params, "out": folders[0]})
    step, steps = train.training.train_step, []

    def killed(*arguments):
        steps.append(1)
        if len(steps) == 2:
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(train.training, "train_step", killed)
    with pytest.raises(Killed):
        train._worker(config | {"params": params, "out": folders[1]})
    assert train._state(folders[1])["epoch"] == 1
    train._worker(config | {"params": params, "out": folders[1]})
    assert len(steps) == 4
    whole, gone_on = (torch.load(folder / "checkpoint.pt", weights_only=True) for folder in folders)
    assert gone_on["state"] == whole["state"]
    assert "optimizer" not in whole  # of 130 million weights one gigabyte that nothing asks for any more
    assert all(torch.equal(value, gone_on["model"][name]) for name, value in whole["model"].items())


SURE = "surer of itself than it is right (temperature 5.50)"


@pytest.mark.parametrize(
    ("prob_fake", "temperature", "says"),
    [
        ([0.1, 0.3, 0.35, 0.9], 1.0, "best threshold 0.32 (balanced accuracy 1.00, at 0.5 0.75)"),
        (
            [1e-9, 2e-6, 4e-4, 1.0],
            5.5,
            f"best threshold 0.0002 (balanced accuracy 1.00, at 0.5 0.75): so near 0, for the detector is {SURE}",
        ),
        (
            [1e-9, 1 - 4e-4, 1 - 2e-6, 1.0],
            5.5,
            f"best threshold 1 - 0.0002 (balanced accuracy 1.00, at 0.5 0.75): so near 1, for the detector is {SURE}",
        ),
        ([1e-9, 2e-6, 4e-4, 1.0], 0.5, "best threshold 0.0002 (balanced accuracy 1.00, at 0.5 0.75)"),
        ([0.1, 0.2, 0.7, 0.9], 1.0, "no threshold better than 0.5"),
        ([0.9, 0.8, 0.2, 0.1], 1.0, "no threshold tells forged from genuine"),
    ],
)
def test_the_best_threshold_is_told_with_what_it_brings(prob_fake, temperature, says):
    values, labels = np.array(prob_fake), np.array([0, 0, 1, 1])
    assert train.threshold_says(best_threshold(values, labels), values, labels, temperature) == says


@pytest.mark.parametrize("permute", [False, True])
def test_labels_are_permuted_in_what_is_trained_on_alone(config, monkeypatch, permute):
    """The seed exchanges labels of the four samples; held-out ones keep theirs, or no accuracy would say .5."""
    says(monkeypatch, [BEST])
    taught, batches = [], train.training.batches

    def watched(samples, *arguments):
        taught.append(samples.labels.tolist())
        return batches(samples, *arguments)

    monkeypatch.setattr(train.training, "batches", watched)
    train._worker(config | {"params": replace(PARAMS, max_epochs=1, permute_labels=permute)})
    assert sorted(taught[0]) == [0, 0, 1, 1]
    assert (taught[0] == [0, 0, 1, 1]) is not permute
    assert train._state(config["out"])["curves"][0]["val_accuracy"] == 1
