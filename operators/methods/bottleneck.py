"""Per-sample Information Bottleneck Attribution (Schulz et al. 2020; VIBA section 3.3), many samples at once.

For each sample the layer's output R is mixed with noise, Z = lambda * R + (1 - lambda) * eps (VIBA eq. 1), and lambda
is fitted so that the class survives while as little information as possible passes (eq. 2). What passes, in bits, is
the map.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Annotated, Final, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from operators.models.cut import Split, folded, frozen, lowered, split
from operators.models.running import fast_bfloat16
from schemas.params import Seed, checked

ALPHA_START: Final = 5.0
Beta = Annotated[float, Ge(0), Le(1_000_000)]
#: a Gaussian of 2 sigma to each side; its kernel grows with it
Sigma = Annotated[float, Ge(0), Le(8)]


@checked
class Bottleneck:
    """How the bottleneck is fitted: what the explanation depends on besides the model and its input.

    start       where alpha begins: at a constant, or where a readout bottleneck puts it, which the caller then gives
    asks_from   first pass (from 1) that asks the network for the gradient of the cross-entropy; before it there is only
                the KL's. With fewer steps the last pass before the map asks
    antithetic  every second noise draw is the one before it with the other sign, across passes too
    precision   of the network above the layer: float32, or bfloat16 where the hardware multiplies it; the KL is float32
    sure_draws  noise draws with which a sample is explained again, asking in every pass, where the gradients of the
                first two asks disagree: with so few draws they were mostly noise. 0: none is explained again
    """

    beta: Beta = 10.0
    steps: Annotated[int, Ge(1), Le(1000)] = 10
    draws: Annotated[int, Ge(1), Le(100)] = 10
    lr: Annotated[float, Gt(0), Le(100)] = 1.0
    smooth_sigma: Sigma = 1.0
    seed: Seed = 0
    start: Literal["constant", "readout"] = "constant"
    asks_from: Annotated[int, Ge(1), Le(1000)] = 1
    antithetic: bool = False
    precision: Literal["float32", "fastest"] = "float32"
    sure_draws: Annotated[int, Ge(0), Le(100)] = 0

    @property
    def asks(self) -> range:
        """The passes that ask for a gradient: one at least, where there is a pass before the map."""
        return range(min(self.asks_from, self.steps - 1) or 1, self.steps)

    @property
    def surely(self) -> "Bottleneck":
        """How a doubtful sample is explained again."""
        return replace(self, draws=self.sure_draws, asks_from=1, sure_draws=0)


#: `reference` is the published algorithm, `fast` gives nearly its maps for a fraction of the time (bench/RESULTS.md)
PRESETS: Final = {
    "reference": Bottleneck(),
    "fast": Bottleneck(draws=2, asks_from=4, antithetic=True, precision="fastest", sure_draws=10),
}
DEFAULT_PRESET: Final = "fast"
#: Lambda moves little between the first two asks: the cosine of their gradients tells how much of them is noise. It was
#: .77 and more, with two draws, where maps kept their fidelity, .61 and less where they lost it (bench/RESULTS.md).
_AGREEMENT: Final = 0.7
#: a class that never pulls harder than this share of the KL moves no map, however noisy its gradient
_PULL: Final = 0.03


@dataclass(frozen=True)
class Explanation:
    """N explanations; everything belongs to one state, the last forward pass of the fit.

    bits          (N, H, W) float32, bits per input pixel at the input's size
    capacity      (N, h, w) float32, bits per cell of the layer, summed over channels
    loss_before   (N,) float32, cross-entropy + beta * mean KL in nats, first pass that asks the network
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
    asks_from: int = 1,
    antithetic: bool = False,
    precision: Literal["float32", "fastest"] = "float32",
    sure_draws: int = 0,
    start: Tensor | None = None,
) -> Explanation:
    """Explain why `model` assigns `targets` to `images`, at `layer`; the model is left exactly as it was.

    images (N, 3, H, W) float; targets (N,) int64 class indices; mean, std (C, h, w) of the layer's output over
    training data, std > 0; active (C, h, w) bool, False switches an element off; start (N, C, h, w) is the alpha to
    begin from, 5 everywhere unless given. The others are those of `Bottleneck`, by default the published algorithm.
    The noise depends on `seed`, the pass and the draw alone, so a sample's map is the same in every batch.

    Raises ValueError for an unknown layer, a layer whose output is not (N, C, h, w), and statistics of another shape.
    """
    with frozen(model):
        settings = Bottleneck(
            beta=beta,
            steps=steps,
            draws=draws,
            lr=lr,
            smooth_sigma=smooth_sigma,
            seed=seed,
            asks_from=asks_from,
            antithetic=antithetic,
            precision=precision,
            sure_draws=sure_draws,
        )
        cut = cut_for(model, layer, images[:1], settings)
        return fit(cut, images, targets, mean, std, active, settings, start)


def cut_for(model: nn.Module, layer: str, example: Tensor, settings: Bottleneck) -> Split:
    """`model` cut at `layer`, batch norm above it folded and in the precision of `settings`: what `fit` runs on.

    `example` (1, 3, H, W) is on the model's device. Raises ValueError as `split` does.
    """
    cut = folded(split(model, layer, example), example)
    low = settings.precision == "fastest" and fast_bfloat16(example.device)
    return lowered(cut, torch.bfloat16) if low else cut


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
    found, doubtful = _fit_once(cut, images, targets, mean, std, active, settings, start)
    if settings.sure_draws > settings.draws and doubtful.any():
        # no more rows through the network together than in the first fit
        at_once = max(len(images) * settings.draws // settings.sure_draws, 1)
        for which in doubtful.nonzero().flatten().split(at_once):
            begin = None if start is None else start[which]
            again, _ = _fit_once(cut, images[which], targets[which], mean, std, active, settings.surely, begin)
            for each in fields(found):
                getattr(found, each.name)[which] = getattr(again, each.name)
    return found


def _fit_once(
    cut: Split,
    images: Tensor,
    targets: Tensor,
    mean: Tensor,
    std: Tensor,
    active: Tensor | None,
    settings: Bottleneck,
    start: Tensor | None,
) -> tuple[Explanation, Tensor]:
    """`fit`, and which samples (N,) bool are doubtful; none is explained again."""
    with torch.no_grad():
        r, rest = cut.below(images)
    if r.ndim != 4 or r.shape[1:] != mean.shape or mean.shape != std.shape:
        raise ValueError(
            f"layer {cut.layer!r} gives {tuple(r.shape)}, statistics are {tuple(mean.shape)}: IBA needs (N, C, h, w) "
            "and statistics (C, h, w)"
        )
    n, draws = len(r), settings.draws
    r_normed = (r - mean) / std
    switch = torch.ones_like(mean) if active is None else active.to(mean.dtype)
    smooth = gaussian_smoother(settings.smooth_sigma, r)
    rest = tuple(tensor.repeat_interleave(draws, 0) for tensor in rest)
    noises = _Noise(settings, mean, std)
    channels_last = r.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def ask(passed: Tensor, blocked: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Z (N, draws, C, h, w), logits (N, draws, classes) and cross-entropy (N,), mean over the draws."""
        z = (passed * r).unsqueeze(1) + blocked.unsqueeze(1) * noise
        z.requires_grad_(torch.is_grad_enabled())
        switched = (z * switch).flatten(0, 1).contiguous(memory_format=layout)
        logits = cut.above(switched, rest).float()
        cross_entropy = F.cross_entropy(logits, targets.repeat_interleave(draws), reduction="none")
        return z, logits.view(n, draws, -1), cross_entropy.view(n, draws).mean(1)

    def penalty(passed: Tensor, blocked: Tensor) -> tuple[Tensor, Tensor]:
        """KL(N(lambda r, (1 - lambda)^2) || N(0, 1)) per element in nats, and beta times its mean (N,)."""
        kl = information(passed, blocked, r_normed) * switch
        return kl, settings.beta * kl.mean((1, 2, 3))

    alpha = torch.full_like(r, ALPHA_START) if start is None else start.detach().to(r, copy=True)
    alpha.requires_grad_()
    optimizer = torch.optim.Adam([alpha], lr=settings.lr)
    # d cross-entropy / d lambda and d (1 - lambda), of the last pass that asked the network
    by_passed, by_blocked = torch.zeros_like(r), torch.zeros_like(r)
    before: Tensor | None = None
    first_pulls: list[Tensor] = []
    most = r.new_zeros(n)  # the class's pull at most, as a share of the KL's
    for number in range(1, settings.steps):  # the map belongs to the pass before the last step, which nothing needs
        passed = smooth(torch.sigmoid(alpha))  # lambda
        blocked = smooth(torch.sigmoid(-alpha))  # 1 - lambda, without cancellation where lambda is near 1
        _, cost = penalty(passed, blocked)
        if number in settings.asks:
            noise = noises.next()
            z, _, cross_entropy = ask(passed.detach(), blocked.detach(), noise)
            (by_z,) = torch.autograd.grad(cross_entropy.sum(), z)
            by_passed, by_blocked = by_z.sum(1) * r, (by_z * noise).sum(1)
            before = (cross_entropy + cost).detach() if before is None else before
        (of_information,) = torch.autograd.grad(cost.sum(), alpha, retain_graph=True)
        (of_class,) = torch.autograd.grad((by_passed * passed + by_blocked * blocked).sum(), alpha)
        if number in settings.asks:
            most = torch.maximum(most, _norms(of_class) / _norms(of_information))
            if len(first_pulls) < 2:
                first_pulls.append(of_class)
        alpha.grad = of_information + of_class
        optimizer.step()
    doubtful = torch.zeros_like(most, dtype=torch.bool)
    if len(first_pulls) == 2:
        first, second = (each.flatten(1) for each in first_pulls)
        doubtful = (F.cosine_similarity(first, second) < _AGREEMENT) & (most > _PULL)
    with torch.no_grad():
        passed, blocked = smooth(torch.sigmoid(alpha)), smooth(torch.sigmoid(-alpha))
        kl, cost = penalty(passed, blocked)
        _, logits, cross_entropy = ask(passed, blocked, noises.next())
        after = cross_entropy + cost
        capacity = kl.sum(1) / math.log(2)
        cells_per_pixel = r.shape[2] * r.shape[3] / (images.shape[2] * images.shape[3])
        bits = F.interpolate(
            capacity.unsqueeze(1) * cells_per_pixel, size=images.shape[2:], mode="bilinear", align_corners=False
        )
        found = Explanation(
            bits.squeeze(1).float(),
            capacity.float(),
            (after if before is None else before).float(),
            after.float(),
            logits.mean(1),
            logits.softmax(-1).mean(1),
        )
    return found, doubtful


def _norms(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


class _Noise:
    """The sequence of noise draws of a fit, the same for every sample, batch and device."""

    def __init__(self, settings: Bottleneck, mean: Tensor, std: Tensor) -> None:
        self._generator = torch.Generator().manual_seed(settings.seed)  # on the CPU: the same noise on every device
        self._draws, self._antithetic = settings.draws, settings.antithetic
        self._mean, self._std = mean, std
        self._mirror: Tensor | None = None

    def next(self) -> Tensor:
        """eps ~ N(mean, std^2), (draws, C, h, w)."""
        if not self._antithetic:
            return self._mean + self._std * self._normal(self._draws)
        parts = []
        for _ in range(self._draws):
            if self._mirror is None:
                parts.append(self._normal(1))
                self._mirror = -parts[-1]
            else:
                parts.append(self._mirror)
                self._mirror = None
        return self._mean + self._std * torch.cat(parts)

    def _normal(self, draws: int) -> Tensor:
        shape = (draws, *self._mean.shape)
        return torch.randn(shape, generator=self._generator, dtype=torch.float32).to(self._mean)


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
