"""Per-sample Information Bottleneck Attribution (Schulz et al. 2020; VIBA section 3.3), many samples at once.

For each sample the layer's output R is mixed with noise, Z = lambda * R + (1 - lambda) * eps (VIBA eq. 1), and lambda
is fitted so that the class survives while as little information as possible passes (eq. 2). What passes, in bits, is
the map.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.split import Split, frozen, split

ALPHA_START: Final = 5.0


@dataclass(frozen=True)
class Bottleneck:
    """How the bottleneck is fitted: what the explanation depends on besides the model and its input.

    `start` says where alpha begins: at a constant, or where a readout bottleneck puts it, which the caller then gives.
    """

    beta: float = 10.0
    steps: int = 10
    draws: int = 10
    lr: float = 1.0
    smooth_sigma: float = 1.0
    seed: int = 0
    start: Literal["constant", "readout"] = "constant"

    def __post_init__(self) -> None:
        if self.start not in ("constant", "readout"):
            raise ValueError(f"start is constant or readout, not {self.start!r}")
        if self.steps < 1 or self.draws < 1:
            raise ValueError("steps and draws are at least 1")


@dataclass(frozen=True)
class Explanation:
    """N explanations; everything belongs to one state, the last forward pass of the fit.

    bits          (N, H, W) float32, bits per input pixel at the input's size
    capacity      (N, h, w) float32, bits per cell of the layer, summed over channels
    loss_before   (N,) float32, cross-entropy + beta * mean KL in nats, first pass
    loss_after    (N,) float32, the same at the last pass
    logits        (N, classes) float32, prediction from Z, mean over the noise draws
    probabilities (N, classes) float32, softmax of each draw, then the mean over the draws
    """

    bits: Tensor
    capacity: Tensor
    loss_before: Tensor
    loss_after: Tensor
    logits: Tensor
    probabilities: Tensor


def explain(
    model: nn.Module,
    layer: str,
    images: Tensor,
    targets: Tensor,
    mean: Tensor,
    std: Tensor,
    *,
    active: Tensor | None = None,
    beta: float = 10.0,
    steps: int = 10,
    draws: int = 10,
    lr: float = 1.0,
    smooth_sigma: float = 1.0,
    seed: int = 0,
    start: Tensor | None = None,
) -> Explanation:
    """Explain why `model` assigns `targets` to `images`, at `layer`; the model is left exactly as it was.

    images (N, 3, H, W) float; targets (N,) int64 class indices; mean, std (C, h, w) of the layer's output over
    training data, std > 0; active (C, h, w) bool, False switches an element off; start (N, C, h, w) is the alpha to
    begin from, 5 everywhere unless given. The noise depends on `seed`, the step and the draw alone, so a sample's map
    is the same in every batch.

    Raises ValueError for an unknown layer, a layer whose output is not (N, C, h, w), and statistics of another shape.
    """
    with frozen(model):
        cut = split(model, layer, images[:1])
        settings = Bottleneck(beta, steps, draws, lr, smooth_sigma, seed)
        return fit(cut, images, targets, mean, std, active, settings, start)


def fit(
    cut: Split,
    images: Tensor,
    targets: Tensor,
    mean: Tensor,
    std: Tensor,
    active: Tensor | None,
    settings: Bottleneck,
    start: Tensor | None = None,
) -> Explanation:
    """`explain` for a model that is already cut and frozen: what a worker calls batch after batch."""
    with torch.no_grad():
        r, rest = cut.below(images)
    if r.ndim != 4 or r.shape[1:] != mean.shape or mean.shape != std.shape:
        raise ValueError(
            f"layer {cut.layer!r} gives {tuple(r.shape)}, statistics are {tuple(mean.shape)}: IBA needs (N, C, h, w) "
            "and statistics (C, h, w)"
        )
    n, (height, width) = len(r), r.shape[2:]
    draws = settings.draws
    r_normed = (r - mean) / std
    switch = torch.ones_like(mean) if active is None else active.to(mean.dtype)
    smooth = gaussian_smoother(settings.smooth_sigma, r)
    rest = tuple(tensor.repeat_interleave(draws, 0) for tensor in rest)
    repeated_targets = targets.repeat_interleave(draws)
    generator = torch.Generator().manual_seed(settings.seed)  # on the CPU: the same noise on every device

    def forward(alpha: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One pass with fresh noise: KL per element (N, C, h, w), logits (N * draws, classes), loss (N,)."""
        passed = smooth(torch.sigmoid(alpha))  # lambda
        blocked = smooth(torch.sigmoid(-alpha))  # 1 - lambda, without cancellation where lambda is near 1
        kl = information(passed, blocked, r_normed) * switch
        noise = torch.randn(draws, *mean.shape, generator=generator, dtype=torch.float32).to(r)
        z = (passed * r).unsqueeze(1) + blocked.unsqueeze(1) * (mean + std * noise)
        logits = cut.above((z * switch).flatten(0, 1), rest)
        cross_entropy = F.cross_entropy(logits, repeated_targets, reduction="none").view(n, draws).mean(1)
        return kl, logits, cross_entropy + settings.beta * kl.mean((1, 2, 3))

    alpha = torch.full_like(r, ALPHA_START) if start is None else start.detach().to(r, copy=True)
    alpha.requires_grad_()
    optimizer = torch.optim.Adam([alpha], lr=settings.lr)
    before: Tensor | None = None
    for _ in range(settings.steps - 1):  # the map belongs to the pass before the last step, which nothing needs
        _, _, loss = forward(alpha)
        before = loss.detach() if before is None else before
        (alpha.grad,) = torch.autograd.grad(loss.sum(), alpha)
        optimizer.step()
    with torch.no_grad():
        kl, logits, after = forward(alpha)
        capacity = kl.sum(1) / math.log(2)
        cells_per_pixel = height * width / (images.shape[2] * images.shape[3])
        bits = F.interpolate(
            capacity.unsqueeze(1) * cells_per_pixel, size=images.shape[2:], mode="bilinear", align_corners=False
        )
        logits = logits.view(n, draws, -1)
        return Explanation(
            bits.squeeze(1).float(),
            capacity.float(),
            (after if before is None else before).float(),
            after.float(),
            logits.mean(1).float(),
            logits.softmax(-1).mean(1).float(),
        )


def information(passed: Tensor, blocked: Tensor, r_normed: Tensor) -> Tensor:
    """KL(N(lambda r, (1 - lambda)^2) || N(0, 1)) per element in nats; of lambda, 1 - lambda, r = (R - mean) / std."""
    return -0.5 * (1 + 2 * torch.log(blocked) - (passed * r_normed).square() - blocked.square())


def gaussian_smoother(sigma: float, like: Tensor) -> Callable[[Tensor], Tensor]:
    """Depthwise Gaussian over (N, C, H, W), kernel of 2 sigma to each side, reflect padding; identity for sigma 0."""
    radius = round(2 * sigma)
    if radius == 0:
        return lambda x: x
    offsets = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    kernel = kernel / kernel.sum()
    channels = like.shape[1]
    rows = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    columns = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)

    def smooth(x: Tensor) -> Tensor:
        x = F.pad(x, (radius,) * 4, mode="reflect")
        return F.conv2d(F.conv2d(x, rows, groups=channels), columns, groups=channels)

    return smooth
