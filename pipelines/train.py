"""Training a detector on the videos of a manifest: samples through Ray Data, the loop through Ray Train."""

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.train
import torch
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer, get_device, prepare_model
from rich.console import Console

from operators import training
from operators.calibration import best_threshold, expected_calibration_error, fit_temperature
from operators.keyframes import KeyframeParams
from operators.models import ModelSpec, load_model, save_model, to_input
from operators.prepare import ModelInput, PrepareParams, prepare
from operators.sandbox import Limits
from operators.stage import Stage, apply
from operators.training import Samples, TrainParams
from pipelines import manifest as manifests
from pipelines.cluster import connect
from pipelines.config import Resources
from pipelines.curves import draw_curves
from pipelines.errors import UserError
from pipelines.progress import progress
from schemas.tables import CLASS_FAKE, CLASS_REAL, STATUS_OK, VIDEO_ROW

#: one row per model input cut for training
SAMPLE = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("pair", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("size", pa.int32(), nullable=False),
        pa.field("pixels", pa.binary(), nullable=False),
    ]
)
#: one row per epoch
CURVES = pa.schema(
    [
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("train_loss", pa.float64(), nullable=False),
        pa.field("val_loss", pa.float64(), nullable=False),
        pa.field("val_accuracy", pa.float64(), nullable=False),
    ]
)


def train(
    spec: ModelSpec,
    params: TrainParams,
    manifest: Path,
    out: Path,
    frames_per_video: int,
    workers: int,
    console: Console,
    samples: Path | None = None,
) -> dict[str, Any]:
    """Train `spec` on the train split of `manifest`, stop on its val split, and write OUT/model.safetensors.

    Also written: OUT/curves.parquet and curves.png (one point per epoch), OUT/report.json (threshold, ECE and
    temperature on the val split). `samples` is a folder that `cut_samples` filled; OUT/samples is filled where none is
    given. The same command again continues after a kill, to the same result. Raises UserError for a manifest without
    both labels in both splits, and for an OUT that another training wrote.
    """
    out = out.resolve()
    identity = {"spec": asdict(spec), "params": asdict(params), "frames_per_video": frames_per_video}
    claim(out / "training.json", identity)
    if samples is None:
        samples = out / "samples"
        cut_samples(manifest, (ModelInput(spec.input, spec.input_size),), frames_per_video, samples, console)
    connect(Resources())
    config = {"spec": spec, "params": params, "samples": samples.resolve(), "out": out}
    gpu = ray.cluster_resources().get("GPU", 0) > 0
    with tempfile.TemporaryDirectory() as storage, _epochs(out, params, console):
        TorchTrainer(
            _worker,
            train_loop_config=config,
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=gpu),
            run_config=ray.train.RunConfig(storage_path=storage, name="viba"),
        ).fit()
    return _report(spec, out, samples, console)


def cut_samples(
    manifest: Path, inputs: tuple[ModelInput, ...], frames_per_video: int, folder: Path, console: Console
) -> None:
    """SAMPLE rows of the manifest's splits train and val as Parquet in `folder`, once; `_done` is written last.

    Raises UserError for a manifest without both labels in both splits.
    """
    table = _labelled(manifests.build([manifest]).table, manifest)
    if (folder / "_done").is_file():
        return
    connect(Resources())
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.parquet"):
        stale.unlink()
    source = folder / "_manifest.parquet"
    pq.write_table(table, source)
    keyframes = KeyframeParams(selection="uniform", max_keyframes=frames_per_video)
    kwargs = {"params": PrepareParams(keyframes), "limits": Limits(), "inputs": inputs}
    cut = Stage("prepare", prepare, VIDEO_ROW, batch_size=1, kwargs=kwargs)
    with progress([cut.name], len(table), console) as counter:
        videos = ray.data.read_parquet(str(source)).repartition(target_num_rows_per_block=4)
        videos = apply(videos, replace(cut, counter=counter))
        videos.map_batches(flatten, batch_format="pyarrow", batch_size=None, num_cpus=1).write_parquet(str(folder))
    (folder / "_done").touch()


def default_params(spec: ModelSpec) -> TrainParams:
    """How a detector is trained unless told otherwise: the paper's parameters for flow, ours for pictures."""
    return TrainParams() if spec.input == "flow" else training.XCEPTION_PARAMS


def claim(path: Path, identity: dict[str, Any]) -> None:
    """Note in `path` what its folder is trained as. Raises UserError where that is something else."""
    text = json.dumps(identity, sort_keys=True, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file() and path.read_text() != text:
        raise UserError(f"{path.parent} holds another training: choose another --out, or remove it")
    path.write_text(text)


def _labelled(table: pa.Table, manifest: Path) -> pa.Table:
    rows = [row for row in table.to_pylist() if row["label"] is not None and row["split"] in ("train", "val")]
    found = {(row["split"], row["label"]) for row in rows}
    for split in ("train", "val"):
        for label in ("real", "fake"):
            if (split, label) not in found:
                raise UserError(
                    f"{manifest} has no {label} video in the split {split}: training needs both in train and val"
                )
    return pa.Table.from_pylist(rows, schema=table.schema)


def flatten(table: pa.Table) -> pa.Table:
    """VIDEO_ROW to SAMPLE: one row per input of a video with a face."""
    rows = []
    for row in table.to_pylist():
        if row["status"] == STATUS_OK:
            ids = {"video_id": row["video_id"], "split": row["split"], "label": row["label"]}
            source = row["pair_id"] or row["video_id"]
            rows += [
                ids | {"pair": f"{source}:{item['frame']}"} | item  # frame, kind, size, pixels
                for item in row["inputs"]
            ]
    return pa.Table.from_pylist(rows, schema=SAMPLE)


def load_samples(folder: Path, split: str, spec: ModelSpec) -> Samples:
    """The samples of one split that `spec` looks at, in a fixed order."""
    wanted = [("split", "=", split), ("kind", "=", spec.input), ("size", "=", spec.input_size)]
    table = pq.read_table(folder, schema=SAMPLE, filters=wanted)
    table = table.sort_by([("video_id", "ascending"), ("frame", "ascending")])
    pixels = np.frombuffer(b"".join(table["pixels"].to_pylist()), np.uint8).reshape(
        -1, spec.input_size, spec.input_size, 3
    )
    labels = np.array([CLASS_FAKE if label == "fake" else CLASS_REAL for label in table["label"].to_pylist()])
    return Samples(pixels, labels, np.array(table["pair"].to_pylist(), object))


def _worker(config: dict[str, Any]) -> None:
    """The loop of one process; all of them see the same global batches. Rank 0 writes the checkpoint."""
    spec, params, out = config["spec"], config["params"], config["out"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = get_device()
    if device.type == "cpu":  # Ray gives a worker one thread for the one CPU it asks for
        torch.set_num_threads(max((os.cpu_count() or 1) // context.get_local_world_size(), 1))
    autocast = training.fast_bfloat16(device)
    samples, held_out = (load_samples(config["samples"], split, spec) for split in ("train", "val"))
    network = load_model(spec, seed=params.seed).to(device).to(memory_format=torch.channels_last)
    model = prepare_model(network)
    optimizer = training.make_optimizer(model, params)
    schedule = training.make_schedule(optimizer, params, training.steps_per_epoch(samples, params))
    checkpoint = out / "checkpoint.pt"
    state: dict[str, Any] = {"epoch": 0, "best": float("inf"), "stale": 0, "curves": []}
    if checkpoint.is_file():
        kept = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        schedule.load_state_dict(kept["schedule"])
        state = kept["state"]
    while state["epoch"] < params.max_epochs and state["stale"] < params.patience_epochs:
        torch.manual_seed(params.seed * 100_003 + state["epoch"])  # dropout after a resume as without one
        model.train()
        losses = []
        for pixels, labels in training.batches(samples, params, state["epoch"], rank, world):
            images = to_input(pixels, spec).to(device, memory_format=torch.channels_last)
            losses.append(training.train_step(model, optimizer, schedule, images, labels.to(device), autocast))
        if rank == 0:
            training.settle_batch_norm(network, samples, spec, params, device)
            logits = training.predict(network, held_out.pixels, spec, device)
            _note_epoch(state, losses, logits, held_out.labels)
            if state["stale"] == 0:
                save_model(network, spec, out / "model.safetensors")
            kept = {
                "model": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
            }
            temporary = checkpoint.with_suffix(".tmp")
            torch.save(kept | {"state": state}, temporary)
            temporary.replace(checkpoint)
        if world > 1:  # everyone stops in the same epoch
            shared = [state]
            torch.distributed.broadcast_object_list(shared, src=0)
            state = shared[0]
    ray.train.report({"epoch": state["epoch"]})


def _note_epoch(state: dict[str, Any], losses: list[float], logits: np.ndarray, labels: np.ndarray) -> None:
    values = torch.from_numpy(logits)
    val_loss = float(torch.nn.functional.cross_entropy(values, torch.from_numpy(labels)))
    state["curves"].append(
        {
            "epoch": state["epoch"],
            "train_loss": float(np.mean(losses)),
            "val_loss": val_loss,
            "val_accuracy": float((logits.argmax(1) == labels).mean()),
        }
    )
    state["epoch"] += 1
    state["stale"] = 0 if val_loss < state["best"] else state["stale"] + 1
    state["best"] = min(val_loss, state["best"])


@contextmanager
def _epochs(out: Path, params: TrainParams, console: Console) -> Iterator[None]:
    """Prints each epoch as the checkpoint shows it."""
    done = threading.Event()

    def watch() -> None:
        shown = 0
        finished = False
        while not finished:
            finished = done.wait(1.0)
            for point in _curves(out)[shown:]:
                console.print(
                    f"epoch {point['epoch'] + 1}/{params.max_epochs}: train loss {point['train_loss']:.3f}, "
                    f"val loss {point['val_loss']:.3f}, val accuracy {point['val_accuracy']:.2f}",
                    highlight=False,
                )
                shown += 1

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _curves(out: Path) -> list[dict[str, Any]]:
    checkpoint = out / "checkpoint.pt"
    if not checkpoint.is_file():
        return []
    return torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["state"]["curves"]


def _report(spec: ModelSpec, out: Path, samples: Path, console: Console) -> dict[str, Any]:
    """Curves, and calibration of the best weights on the val split."""
    curves = _curves(out)
    pq.write_table(pa.Table.from_pylist(curves, schema=CURVES), out / "curves.parquet")
    draw_curves(curves, spec.name, out / "curves.png")
    held_out = load_samples(samples, "val", spec)
    model = load_model(spec, out / "model.safetensors").to(memory_format=torch.channels_last)
    logits = training.predict(model, held_out.pixels, spec, torch.device("cpu"))
    temperature = fit_temperature(logits, held_out.labels)
    probabilities, calibrated = (
        torch.from_numpy(logits / t).softmax(1).numpy().astype(np.float64) for t in (1.0, temperature)
    )
    report = {
        "model": spec.name,
        "epochs": len(curves),
        "best_epoch": int(np.argmin([point["val_loss"] for point in curves])),
        "n_val": len(held_out.labels),
        "val_accuracy": float((logits.argmax(1) == held_out.labels).mean()),
        "threshold": best_threshold(probabilities[:, CLASS_FAKE], held_out.labels),
        "ece": expected_calibration_error(probabilities, held_out.labels),
        "temperature": temperature,
        "ece_with_temperature": expected_calibration_error(calibrated, held_out.labels),
    }
    (out / "report.json").write_text(json.dumps(report, indent=1))
    console.print(
        f"{spec.name}: best epoch {report['best_epoch'] + 1} of {report['epochs']}, accuracy "
        f"{report['val_accuracy']:.2f} on {report['n_val']} samples of the split val, ECE {report['ece']:.3f} "
        f"({report['ece_with_temperature']:.3f} at temperature {temperature:.2f}), best threshold "
        f"{report['threshold']:.2f}",
        highlight=False,
    )
    return report
