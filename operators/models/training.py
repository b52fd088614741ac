"""Training a detector: in which order it sees samples, how they are varied, one epoch, and when to stop."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le, MultipleOf
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from operators.models.running import to_input
from operators.models.spec import ModelSpec
from schemas.params import Seed, checked
from schemas.tables import CLASS_FAKE, CLASS_REAL

cv2.setNumThreads(1)


@checked
class TrainParams:
    """How a detector is trained. The defaults are the paper's for its flow model (VIBA appendix A)."""

    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: Annotated[float, Gt(0), Le(1)] = 0.001
    schedule: Literal["constant", "one_cycle"] = "constant"
    batch_size: Annotated[int, Ge(2), Le(4096), MultipleOf(2)] = 16  #: pairs of a genuine and a forged sample
    max_epochs: Annotated[int, Ge(1), Le(10_000)] = 50
    patience_epochs: Annotated[int, Ge(1), Le(10_000)] = 7
    augment: bool = False
    mirror: bool = True  #: half of what is augmented: false where a class is a direction
    permute_labels: bool = False  #: among the samples of train: a detector for the sanity test, which knows nothing
    seed: Seed = 0


#: what trains Xception from scratch: it learns nothing at the flow model's learning rate
XCEPTION_PARAMS: Final = TrainParams("adamw", 3e-4, "one_cycle", 12, 30, 30, augment=True)


@dataclass(frozen=True)
class Samples:
    """Model inputs held in memory: pixels (N, S, S, 3) or, of clips, (N, T, S, S, 3) uint8 RGB, labels (N,) int64 0
    real 1 fake, and per sample the name of what it is paired with: a genuine sample and its forgeries have the same
    one."""

    pixels: np.ndarray
    labels: np.ndarray
    pairs: np.ndarray


def permuted(samples: Samples, seed: int) -> Samples:
    """The same samples with their labels in a random order (Adebayo et al. 2018, section 5): what is left to learn is
    each sample by heart."""
    return replace(samples, labels=np.random.default_rng(seed).permutation(samples.labels))


def epoch_order(samples: Samples, seed: int, epoch: int) -> np.ndarray:
    """Which samples an epoch shows, as (units, 2) indices: genuine, then forged, its own forgery if it has one.

    Every sample of the larger class is shown once and those of the smaller class are repeated, so classes are
    balanced whatever the data. Raises ValueError where a class is missing.
    """
    rng = np.random.default_rng([seed, epoch])
    classes = [np.flatnonzero(samples.labels == label) for label in (CLASS_REAL, CLASS_FAKE)]
    if any(len(each) == 0 for each in classes):
        raise ValueError("training needs genuine and forged samples")
    larger = int(len(classes[1]) > len(classes[0]))
    leading, others = rng.permutation(classes[larger]), classes[1 - larger]
    partners: dict[str, list[int]] = {}
    for index in others.tolist():
        partners.setdefault(str(samples.pairs[index]), []).append(index)
    repeated = iter(np.resize(rng.permutation(others), len(leading)))
    units = []
    for index in leading.tolist():
        anyone = next(repeated)
        own = partners.get(str(samples.pairs[index]))
        units.append((index, own[rng.integers(len(own))] if own else anyone))
    order = np.array(units)
    return order if larger == 0 else order[:, ::-1]


def batches(
    samples: Samples, params: TrainParams, epoch: int, rank: int, world: int
) -> Iterator[tuple[np.ndarray, Tensor, float]]:
    """(pixels (B, S, S, 3) uint8, labels (B,), weight) of this worker's share of each global batch of `batch_size`.

    The mean over the workers of weight * (mean over B) is the mean over the global batch, whether or not it divides
    evenly. Depends on the seed, the epoch and the position alone, so that a resumed training sees what it would have
    seen. Raises ValueError where a batch has fewer pairs than there are workers.
    """
    order = epoch_order(samples, params.seed, epoch)
    per_batch = min(max(params.batch_size // 2, 1), len(order))
    if per_batch < world:
        raise ValueError(f"{per_batch} pairs in a batch are too few for {world} workers")
    for start in range(0, len(order) - len(order) % per_batch, per_batch):
        units = order[start : start + per_batch]
        own = range(rank, len(units), world)
        pictures, labels = [], []
        for position in own:
            for index in units[position]:
                picture = samples.pixels[index]
                if params.augment:  # both of a pair alike: what is left between them is the forgery
                    picture = _augmented(picture, [params.seed, epoch, start + position], params.mirror)
                pictures.append(picture)
                labels.append(samples.labels[index])
        yield np.stack(pictures), torch.tensor(labels), len(own) * world / len(units)


def _augmented(pixels: np.ndarray, seed: list[int], mirror: bool) -> np.ndarray:
    """A picture, or all of a clip alike."""
    if pixels.ndim == 4:
        return np.stack([augment(each, np.random.default_rng(seed), mirror) for each in pixels])
    return augment(pixels, np.random.default_rng(seed), mirror)


def augment(picture: np.ndarray, rng: np.random.Generator, mirror: bool = True) -> np.ndarray:
    """Mirror image, zoom, colour and JPEG of a picture (S, S, 3) uint8 RGB; the same generator state gives the same."""
    size = picture.shape[0]
    if rng.random() < 0.5 and mirror:
        picture = picture[:, ::-1]
    side = int(size * rng.uniform(0.85, 1.0))
    x, y = rng.integers(0, size - side + 1, 2)
    picture = cv2.resize(picture[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_LINEAR)
    colour = picture * rng.uniform(0.9, 1.1, 3) + rng.uniform(-12, 12, 3)
    picture = np.clip(np.rint(colour), 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))])
        picture = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))[..., ::-1]
    return np.ascontiguousarray(picture)


def make_optimizer(model: nn.Module, params: TrainParams) -> torch.optim.Optimizer:
    """Adam or AdamW over all parameters, in one pass over the memory."""
    if params.optimizer == "adamw":
        return torch.optim.AdamW(model.parameters(), lr=params.learning_rate, weight_decay=0.05, fused=True)
    return torch.optim.Adam(model.parameters(), lr=params.learning_rate, fused=True)


def make_schedule(
    optimizer: torch.optim.Optimizer, params: TrainParams, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate per step: constant, or one cycle over all epochs (Smith and Topin 2018)."""
    if params.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, params.learning_rate, total_steps=max(params.max_epochs * steps_per_epoch, 1)
        )
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def steps_per_epoch(samples: Samples, params: TrainParams) -> int:
    """Batches that `batches` gives in one epoch."""
    units = int(max((samples.labels == CLASS_REAL).sum(), (samples.labels == CLASS_FAKE).sum()))
    return max(units // max(params.batch_size // 2, 1), 1)


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    images: Tensor,
    labels: Tensor,
    autocast: bool,
    weight: float = 1.0,
) -> float:
    """One step on `weight` times the cross-entropy of a batch; its value in nats."""
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=autocast):
        loss = weight * F.cross_entropy(model(images).float(), labels)
    loss.backward()
    optimizer.step()
    schedule.step()
    return float(loss.detach())


def settle_batch_norm(
    model: nn.Module, samples: Samples, spec: ModelSpec, params: TrainParams, device: torch.device, autocast: bool
) -> None:
    """Replace the running statistics of batch norm by those of the present weights over up to 128 training samples.

    Running averages lag behind weights that still move fast, and then a network that has learned predicts at chance.
    So it does with the statistics of mostly forged samples: they are balanced as the batches are, and computed in the
    precision of the training.
    """
    pixels = samples.pixels[epoch_order(samples, params.seed, 0)[:64].ravel()]
    parts = (pixels[start : start + params.batch_size] for start in range(0, len(pixels), params.batch_size))
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        update_bn((to_input(part, spec, device) for part in parts), model)


@torch.no_grad()
def predict(model: nn.Module, pixels: np.ndarray, spec: ModelSpec, device: torch.device, batch: int = 16) -> np.ndarray:
    """Logits (N, classes) float32 of pixels (N, ..., S, S, 3) uint8, in eval mode; the mode is put back."""
    training = model.training
    model.eval()
    parts = []
    for start in range(0, len(pixels), batch):
        images = to_input(pixels[start : start + batch], spec, device)
        parts.append(model(images).float().cpu().numpy())
    model.train(training)
    return np.concatenate(parts) if parts else np.zeros((0, 2), np.float32)
