"""Readout bottleneck (Schulz et al. 2020): a small network tells from a plain forward pass what has to get through.

Per-sample IBA fits alpha anew for every sample. Here three 1x1 convolutions read the normalised outputs of several
layers and predict alpha; they are trained once, with the same loss, and a sample then costs one pass with noise.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, cast

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from operators.methods.bottleneck import ALPHA_START, Beta, Bottleneck, Sigma, fit
from operators.methods.mix import information
from operators.methods.smoothing import Smoothing
from operators.methods.statistics import LayerStatistics
from operators.models.activations import LOGITS, read
from operators.models.cut import Split
from operators.storage.files import local, replacing
from schemas.params import Seed, checked

ALPHA_BOUND: Final = 5.0
#: layers that are read unless told: the bottleneck's neighbourhood, and what the decision is made of
READ_LAYERS: Final = {
    "xception": ("block4", "block8", "block12", "bn4"),
    "vgg11-flow": ("features.9", "features.16", "features.26"),
}
_METADATA_KEY: Final = "viba.readout"
_VALIDATION_DRAWS: Final = 2


@checked
class ReadoutParams:
    """How a readout is trained."""

    epochs: Annotated[int, Ge(1), Le(10_000)] = 10
    batch_size: Annotated[int, Ge(1), Le(1024)] = 8
    # Schulz et al. take 1e-5 over the million pictures of ImageNet. Here a few hundred steps have to bring alpha down
    # from 5: on a ResNet-10 and 160 samples (20 steps an epoch) that took 3 epochs at 1e-4, 2 at 3e-4 and 1 at 1e-3.
    learning_rate: Annotated[float, Gt(0), Le(1)] = 3e-4
    beta: Beta = 10.0
    smooth_sigma: Sigma = 1.0
    seed: Seed = 0


@dataclass(frozen=True)
class Site:
    """A bottleneck's place: a frozen model, cut at a layer, with mean, std and active (C, h, w) of its output."""

    model: nn.Module
    cut: Split
    mean: Tensor
    std: Tensor
    active: Tensor


class _Bounded(torch.autograd.Function):
    """Clamps alpha to [-5, 5] with the gradient that leads back inside.

    A plain clamp has none at its bounds, where training begins, and what is once beyond them would stay there.
    """

    @staticmethod
    def forward(ctx: Any, alpha: Tensor) -> Tensor:
        ctx.save_for_backward(alpha)
        return alpha.clamp(-ALPHA_BOUND, ALPHA_BOUND)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (grad,), (alpha,) = grad_outputs, ctx.saved_tensors
        outwards = ((alpha >= ALPHA_BOUND) & (grad < 0)) | ((alpha <= -ALPHA_BOUND) & (grad > 0))
        return grad.masked_fill(outwards, 0)


class Readout(nn.Module):
    """Alpha of one layer from the outputs of `layers`. Begins as alpha = 5 everywhere, where per-sample IBA begins."""

    def __init__(self, read: Mapping[str, tuple[Tensor, Tensor]], shape: Sequence[int]) -> None:
        """`read`: mean and std (C, h, w) float32 of each layer that is read; `shape` (C, h, w) of the bottleneck.

        Of clips all of them have t before h. Raises ValueError for a layer without these dimensions.
        """
        super().__init__()
        self.layers = tuple(read)
        self.shape = tuple(shape)
        for name, (mean, _) in read.items():
            if mean.ndim != len(shape):
                raise ValueError(
                    f"layer {name!r} gives {tuple(mean.shape)} per sample, a readout reads (C, h, w), of clips "
                    "(C, t, h, w)"
                )
        conv, self._how = (nn.Conv2d, "bilinear") if len(shape) == 3 else (nn.Conv3d, "trilinear")
        self.means = nn.ParameterList(nn.Parameter(mean.clone(), requires_grad=False) for mean, _ in read.values())
        self.stds = nn.ParameterList(nn.Parameter(std.clone(), requires_grad=False) for _, std in read.values())
        channels_in, channels = sum(len(mean) for mean, _ in read.values()), shape[0]
        last = conv(2 * channels, channels, 1)
        self.network = nn.Sequential(
            conv(channels_in, channels_in // 2, 1),
            nn.ReLU(),
            conv(channels_in // 2, 2 * channels, 1),
            nn.ReLU(),
            last,
        )
        nn.init.zeros_(last.weight)
        nn.init.constant_(cast(Tensor, last.bias), ALPHA_START)

    def forward(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Outputs (N, C, h, w) of `layers` by name -> alpha (N, *shape), in [-5, 5]."""
        normed = [
            F.interpolate((outputs[name] - mean) / std, size=self.shape[1:], mode=self._how, align_corners=False)
            for name, mean, std in zip(self.layers, self.means, self.stds, strict=True)
        ]
        return cast(Tensor, _Bounded.apply(self.network(torch.cat(normed, 1))))


def make(known: Mapping[str, LayerStatistics], layer: str, seed: int) -> Readout:
    """An untrained readout for `layer`, reading the layers of `known`, `layer` among them; `seed` makes its weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Readout({name: (each.mean.float(), each.std()) for name, each in known.items()}, known[layer].mean.shape)


def loss(readout: Readout, site: Site, images: Tensor, params: ReadoutParams, generator: torch.Generator) -> Tensor:
    """Cross-entropy of the predicted class under noise + beta * mean KL, of each image (N,), with one draw for each.

    What is backpropagated to the readout; images (N, 3, H, W). `generator` (on the CPU) makes the noise.
    """
    with torch.no_grad():
        outputs = read(site.model, (*readout.layers, LOGITS), images, site.cut.layout)
        r, rest = site.cut.below(images)
    switch = site.active.to(r.dtype)
    alpha = readout(outputs)
    smooth = Smoothing(params.smooth_sigma, r.movedim(1, -1))
    passed, blocked = (smooth(torch.sigmoid(each).movedim(1, -1)).movedim(-1, 1) for each in (alpha, -alpha))
    kl = information(passed, blocked, (r - site.mean) / site.std) * switch
    noise = torch.randn(r.shape, generator=generator, dtype=torch.float32).to(r)
    logits = site.cut.above((passed * r + blocked * (site.mean + site.std * noise)) * switch, rest)
    cross_entropy = F.cross_entropy(logits, outputs[LOGITS].argmax(1), reduction="none")
    return cross_entropy + params.beta * kl.flatten(1).mean(1)


def least_bits(r: Tensor, mean: Tensor, std: Tensor, active: Tensor) -> Tensor:
    """(N,) bits that pass where alpha is at its lower bound everywhere, r (N, C, h, w) being the layer's output.

    That is where training would bring a readout that no class pulls: the information grows with lambda.
    """
    passed = torch.tensor(-ALPHA_BOUND, dtype=r.dtype, device=r.device).sigmoid()
    nats = information(passed, 1 - passed, (r - mean) / std) * active
    return nats.flatten(1).sum(1) / math.log(2)


@torch.no_grad()
def validate(readout: Readout, site: Site, images: Tensor, params: ReadoutParams) -> Tensor:
    """The loss (N,) as the table `masks` has it: of the pass that makes the map, with noise of a fixed seed."""
    outputs = read(site.model, (*readout.layers, LOGITS), images, site.cut.layout)
    once = Bottleneck(params.beta, steps=1, draws=_VALIDATION_DRAWS, smooth_sigma=params.smooth_sigma)
    targets = outputs[LOGITS].argmax(1)
    return fit(site.cut, images, targets, site.mean, site.std, site.active, once, readout(outputs)).loss_after


def save(readout: Readout, path: Path, about: Mapping[str, Any]) -> None:
    """Write as safetensors, replaced in one step; `about` (model, layer, weights_sha256, params, ...) with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in readout.state_dict().items()}
    metadata = {_METADATA_KEY: json.dumps({**about, "read": readout.layers, "shape": readout.shape})}
    with replacing(path) as file:
        save_file(state, file, metadata=metadata)


def about(path: Path) -> dict[str, Any]:
    """What `save` wrote beside the weights. Raises ValueError for another file."""
    try:
        with safe_open(local(path), framework="pt") as file:
            return json.loads((file.metadata() or {})[_METADATA_KEY])
    except Exception as error:
        raise ValueError(f"{path} is no readout file ({type(error).__name__}: {error})") from error


def why_not(about: Mapping[str, Any], layer: str, weights_sha256: str | None) -> str | None:
    """Why a readout does not serve this layer of a detector with these weights; None where it does."""
    if about["layer"] != layer:
        return f"reads out {about['layer']}, not {layer}"
    return None if about["weights_sha256"] == weights_sha256 else "was trained for other weights"


def load(path: Path) -> Readout:
    """The readout that `save` wrote, on the CPU, frozen. Raises ValueError for another file."""
    known = about(path)
    with safe_open(local(path), framework="pt") as file:
        state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    read = {name: (state[f"means.{i}"], state[f"stds.{i}"]) for i, name in enumerate(known["read"])}
    readout = Readout(read, known["shape"])
    readout.load_state_dict(state)
    return readout.eval().requires_grad_(False)
