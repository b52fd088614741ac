"""Training a detector: the loop through Ray Train, what it leaves behind, and how a killed one continues."""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import ray
import ray.train
import torch
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer, get_device, prepare_model
from rich.console import Console
from torch import nn

from operators.measures.calibration import (
    balanced_accuracy,
    best_threshold,
    expected_calibration_error,
    fit_temperature,
)
from operators.models import training
from operators.models.running import placed, to_input, trains_in_bfloat16
from operators.models.spec import ModelSpec
from operators.models.training import TrainParams
from operators.models.weights import (
    digest,
    imagenet_source,
    load_model,
    save_model,
    start_from_file,
    start_from_imagenet,
)
from operators.pictures.curves import draw_curves
from pipelines import samples as cuttings
from pipelines.beside import beside
from pipelines.cluster import connect
from pipelines.config import Resources
from pipelines.errors import UserError
from pipelines.lake.layout import Layout
from pipelines.machine import processors
from pipelines.manifest import write_table
from pipelines.samples import SPLITS, Source, cut_samples
from pipelines.screen import logged, say
from schemas.tables import CLASS_FAKE, CURVES, LABELS

#: instead of a file of weights: those timm has
IMAGENET: Final = "imagenet"
#: a threshold this near to 0 or 1 reads as one in two decimals, or nearly
_NEAR: Final = 0.01


def train(
    spec: ModelSpec,
    params: TrainParams,
    source: Source,
    out: Path,
    workers: int,
    console: Console,
    *,
    samples: Path | None = None,
    pretrained: str | None = None,
    lake: Path | None = None,
) -> dict[str, Any]:
    """Train `spec` on the train split of `source`, stop on its val split, and write OUT/model.safetensors.

    Also written: OUT/curves.parquet and curves.png (one point per epoch), OUT/report.json (threshold, ECE and
    temperature on the val split), OUT/train.log (what was said), and the rows of the table `curves` of `lake`.
    `samples` is a folder that `cut_samples` filled; OUT/samples is filled where none is given. `pretrained` is IMAGENET
    or a file of weights to start from. The same command again continues after a kill, to the same result. Raises
    UserError for an OUT that another training wrote, samples of one class alone, too many workers, and weights that
    cannot be had.
    """
    out = out.resolve()
    start = out / "start.safetensors"
    origin, identity = _origin(spec, pretrained)
    network = None if pretrained is None or start.is_file() else _pretrained(spec, params.seed, pretrained)
    identity = {"spec": asdict(spec), "params": asdict(params), "start": identity, "videos": source.digest}
    training_id = claim(out / "training.json", identity)
    if network is not None:
        save_model(network, spec, start)
    if lake is not None:
        try:
            Layout(lake).trainings.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write the lake {lake}: {error.strerror}") from error
    with logged(out / "train.log"):
        say(console, f"{spec.name} starts from {origin}")
        if samples is None:
            samples = out / "samples"
            cut_samples(source, samples, console)
        connect(Resources())
        gpu = _check(spec, params, samples, workers)
        config = {"spec": spec, "params": params, "samples": samples.resolve(), "out": out}
        config["start"] = None if pretrained is None else start
        # 0: in this process, which spares the start of two others; where Ray is a cluster, the GPUs are elsewhere
        processes = 0 if workers == 1 and "RAY_ADDRESS" not in os.environ else workers
        with tempfile.TemporaryDirectory() as storage, _epochs(out, params, console):
            TorchTrainer(
                _worker,
                train_loop_config=config,
                scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpu),
                run_config=ray.train.RunConfig(storage_path=storage, name="viba"),
            ).fit()
        _write_curves(out, training_id, spec, lake)
        return _report(spec, out, samples, params.seed, origin, console)


def default_params(spec: ModelSpec) -> TrainParams:
    """How a detector is trained unless told otherwise: the paper's parameters for flow, ours for pictures."""
    return TrainParams() if spec.view.shows == "flow" else training.XCEPTION_PARAMS


def _origin(spec: ModelSpec, pretrained: str | None) -> tuple[str, str]:
    """What the weights start from: in words, and as part of the training's identity."""
    if pretrained is None:
        return "scratch: no pretrained weights", "scratch"
    try:
        if pretrained == IMAGENET:
            return f"pretrained weights: {imagenet_source(spec)}", imagenet_source(spec)
        return f"pretrained weights: {pretrained}", digest(Path(pretrained))
    except (ValueError, OSError) as error:
        raise UserError(f"--pretrained: {error}") from error


def _pretrained(spec: ModelSpec, seed: int, pretrained: str) -> nn.Module:
    try:
        if pretrained == IMAGENET:
            return start_from_imagenet(spec, seed)
        return start_from_file(spec, Path(pretrained), seed)
    except ValueError as error:
        raise UserError(f"--pretrained: {error}") from error


def claim(path: Path, identity: dict[str, Any]) -> str:
    """The training's id; raises UserError where the folder holds another."""
    text = json.dumps(identity, sort_keys=True, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.read_text() != text:
        raise UserError(f"{path.parent} holds another training: choose another --out, or remove it")
    path.write_text(text)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _check(spec: ModelSpec, params: TrainParams, samples: Path, workers: int) -> bool:
    """Whether GPUs train. Raises UserError for samples of one class alone, and for more workers than there is for."""
    counts = cuttings.count(samples, spec)
    for split in SPLITS:
        for label in LABELS:
            if not counts[split, label]:
                raise UserError(f"no {label} video in the split {split} gave a sample: there is nothing to train on")
    pairs = min(max(params.batch_size // 2, 1), max(counts["train", label] for label in LABELS))
    if not 1 <= workers <= pairs:
        raise UserError(f"--workers {workers}: a batch of {pairs} pairs takes 1 to {pairs}; see train.batch_size")
    there = ray.cluster_resources()
    kind = "GPU" if there.get("GPU", 0) else "CPU"
    if there[kind] < workers:
        raise UserError(f"--workers {workers}: each takes one {kind}, and there are {there[kind]:.0f}")
    return kind == "GPU"


def _worker(config: dict[str, Any]) -> None:
    """The loop of one process; all of them see the same global batches. Rank 0 writes the checkpoint."""
    spec, params, out = config["spec"], config["params"], config["out"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = get_device()
    if device.type == "cpu":  # Ray gives a worker one thread for the one CPU it asks for
        torch.set_num_threads(max(processors() // context.get_local_world_size(), 1))
    autocast = trains_in_bfloat16(spec, device)
    samples, held_out = (cuttings.load(config["samples"], split, spec) for split in SPLITS)
    if params.permute_labels:
        samples = training.permuted(samples, params.seed)
    shown = training.epoch_order(held_out, params.seed, 0).ravel()
    network = placed(load_model(spec, config["start"], params.seed), spec, device)
    model = prepare_model(network)
    optimizer = training.make_optimizer(model, params)
    schedule = training.make_schedule(optimizer, params, training.steps_per_epoch(samples, params))
    checkpoint = out / "checkpoint.pt"
    state: dict[str, Any] = {"epoch": 0, "best": float("inf"), "best_epoch": 0, "stale": 0, "curves": []}
    if checkpoint.is_file():
        kept = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(kept["model"])
        state = kept["state"]
        if not _is_over(state, params):
            optimizer.load_state_dict(kept["optimizer"])
            schedule.load_state_dict(kept["schedule"])
    while not _is_over(state, params):
        torch.manual_seed(params.seed * 100_003 + state["epoch"])  # dropout after a resume as without one
        model.train()
        losses = []
        for pixels, labels, weight in training.batches(samples, params, state["epoch"], rank, world):
            images = to_input(pixels, spec, device)
            losses.append(training.train_step(model, optimizer, schedule, images, labels.to(device), autocast, weight))
        train_loss = torch.tensor(np.mean(losses), dtype=torch.float32, device=device)
        if world > 1:
            torch.distributed.all_reduce(train_loss)
        if rank == 0:
            training.settle_batch_norm(network, samples, spec, params, device, autocast)
            logits = training.predict(network, held_out.pixels, spec, device)
            _note_epoch(state, float(train_loss) / world, logits[shown], held_out.labels[shown])
            if state["stale"] == 0:
                save_model(network, spec, out / "model.safetensors")
            kept = {"model": network.state_dict(), "state": state}
            if not _is_over(state, params):  # what moves on needs twice the room of the weights
                kept |= {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
            temporary = checkpoint.with_suffix(".tmp")
            torch.save(kept, temporary)
            temporary.replace(checkpoint)
        if world > 1:  # everyone stops in the same epoch
            shared = [state]
            torch.distributed.broadcast_object_list(shared, src=0)
            state = shared[0]
    ray.train.report({"epoch": state["epoch"]})


def _is_over(state: dict[str, Any], params: TrainParams) -> bool:
    return state["epoch"] >= params.max_epochs or state["stale"] >= params.patience_epochs


def _note_epoch(state: dict[str, Any], train_loss: float, logits: np.ndarray, labels: np.ndarray) -> None:
    values = torch.from_numpy(logits)
    val_loss = float(torch.nn.functional.cross_entropy(values, torch.from_numpy(labels)))
    state["curves"].append(
        {
            "epoch": state["epoch"],
            "train_loss": train_loss,
            "val_loss": val_loss,
            "val_accuracy": float((logits.argmax(1) == labels).mean()),
        }
    )
    state["epoch"] += 1
    # after temperature scaling: one that is right more often but too sure of itself is the better detector
    scaled = values / fit_temperature(logits, labels)
    calibrated = float(torch.nn.functional.cross_entropy(scaled, torch.from_numpy(labels)))
    if calibrated < state["best"]:
        state |= {"best": calibrated, "best_epoch": state["epoch"] - 1, "stale": 0}
    else:
        state["stale"] += 1


@contextmanager
def _epochs(out: Path, params: TrainParams, console: Console) -> Iterator[None]:
    """Prints each epoch as the checkpoint shows it."""

    def watch(done: threading.Event) -> None:
        shown = 0
        finished = False
        while not finished:
            finished = done.wait(1.0)
            for point in _curves(out)[shown:]:
                say(
                    console,
                    f"epoch {point['epoch'] + 1}/{params.max_epochs}: train loss {point['train_loss']:.3f}, "
                    f"val loss {point['val_loss']:.3f}, val accuracy {point['val_accuracy']:.2f}",
                )
                shown += 1

    with beside(watch, "epochs"):
        yield


def _state(out: Path) -> dict[str, Any]:
    """Of the training in `out` after its last epoch."""
    return torch.load(out / "checkpoint.pt", map_location="cpu", weights_only=True, mmap=True)["state"]


def _curves(out: Path) -> list[dict[str, Any]]:
    return _state(out)["curves"] if (out / "checkpoint.pt").is_file() else []


def _write_curves(out: Path, training_id: str, spec: ModelSpec, lake: Path | None) -> None:
    """OUT/curves.parquet and curves.png, and the table `curves` of the lake."""
    points = _curves(out)
    rows = [{"training_id": training_id, "model": spec.name} | point for point in points]
    table = pa.Table.from_pylist(rows, schema=CURVES.schema)
    write_table(table, out / "curves.parquet")
    draw_curves(points, spec.name, out / "curves.png")
    if lake is not None:
        write_table(table, Layout(lake).trainings / f"{training_id}.parquet")


def _report(spec: ModelSpec, out: Path, samples: Path, seed: int, origin: str, console: Console) -> dict[str, Any]:
    """Calibration of the best weights on the val split, its classes balanced as after each epoch."""
    curves = _curves(out)
    held_out = cuttings.load(samples, "val", spec)
    model = placed(load_model(spec, out / "model.safetensors"), spec, torch.device("cpu"))
    shown = training.epoch_order(held_out, seed, 0).ravel()
    logits = training.predict(model, held_out.pixels, spec, torch.device("cpu"))[shown]
    labels = held_out.labels[shown]
    temperature = fit_temperature(logits, labels)
    probabilities, calibrated = (
        torch.from_numpy(logits / t).softmax(1).numpy().astype(np.float64) for t in (1.0, temperature)
    )
    report = {
        "model": spec.name,
        "start": origin,
        "epochs": len(curves),
        "best_epoch": _state(out)["best_epoch"],
        "n_val": len(held_out.labels),
        "val_accuracy": float((logits.argmax(1) == labels).mean()),
        "threshold": best_threshold(probabilities[:, CLASS_FAKE], labels),
        "ece": expected_calibration_error(probabilities, labels),
        "temperature": temperature,
        "ece_with_temperature": expected_calibration_error(calibrated, labels),
    }
    (out / "report.json").write_text(json.dumps(report, indent=1))
    helped = report["ece_with_temperature"] < report["ece"]
    say(
        console,
        f"{spec.name}: best epoch {report['best_epoch'] + 1} of {report['epochs']}, accuracy "
        f"{report['val_accuracy']:.2f} on {report['n_val']} samples of the split val, ECE {report['ece']:.3f}"
        + (f" ({report['ece_with_temperature']:.3f} at temperature {temperature:.2f})" if helped else "")
        + f", {threshold_says(report['threshold'], probabilities[:, CLASS_FAKE], labels, temperature)}",
    )
    return report


def threshold_says(threshold: float, prob_fake: np.ndarray, labels: np.ndarray, temperature: float) -> str:
    """What the best threshold brings beside .5, and why it lies at an end, where it does."""
    best, usual = (balanced_accuracy(prob_fake, labels, each) for each in (threshold, 0.5))
    if best <= 0.5:
        return "no threshold tells forged from genuine"
    if best <= usual:
        return "no threshold better than 0.5"
    end = round(threshold)
    near = abs(threshold - end)
    said = f"{threshold:.2f}" if near >= _NEAR else f"{near:.1g}" if end == 0 else f"1 - {near:.1g}"
    told = f"best threshold {said} (balanced accuracy {best:.2f}, at 0.5 {usual:.2f})"
    if near < _NEAR and temperature > 1:
        told += f": so near {end}, for the detector is surer of itself than it is right (temperature {temperature:.2f})"
    return told
