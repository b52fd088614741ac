"""Per-sample Information Bottleneck Attribution (Schulz et al. 2020; VIBA section 3.3), many samples at once.

For each sample the layer's output R is mixed with noise, Z = lambda * R + (1 - lambda) * eps (VIBA eq. 1), and lambda
is fitted so that the class survives while as little information as possible passes (eq. 2). What passes, in bits, is
the map.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.models import fast_bfloat16
from operators.precision import tf32
from operators.split import Split, folded, frozen, lowered, split

ALPHA_START: Final = 5.0


@dataclass(frozen=True)
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

    beta: float = 10.0
    steps: int = 10
    draws: int = 10
    lr: float = 1.0
    smooth_sigma: float = 1.0
    seed: int = 0
    start: Literal["constant", "readout"] = "constant"
    asks_from: int = 1
    antithetic: bool = False
    precision: Literal["float32", "fastest"] = "float32"
    sure_draws: int = 0

    def __post_init__(self) -> None:
        if self.start not in ("constant", "readout"):
            raise ValueError(f"start is constant or readout, not {self.start!r}")
        if self.precision not in ("float32", "fastest"):
            raise ValueError(f"precision is float32 or fastest, not {self.precision!r}")
        if self.steps < 1 or self.draws < 1:
            raise ValueError("steps and draws are at least 1")
        if self.asks_from < 1:
            raise ValueError("asks_from is at least 1")
        if self.sure_draws < 0:
            raise ValueError("sure_draws is at least 0")

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
#: Adam's, as torch.optim has them
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


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
    found, doubtful = fit_once(cut, images, targets, mean, std, active, settings, start)
    if settings.sure_draws > settings.draws and doubtful.any():
        # no more rows through the network together than in the first fit
        at_once = max(len(images) * settings.draws // settings.sure_draws, 1)
        for which in doubtful.nonzero().flatten().split(at_once):
            begin = None if start is None else start[which]
            again, _ = fit_once(cut, images[which], targets[which], mean, std, active, settings.surely, begin)
            for each in fields(found):
                getattr(found, each.name)[which] = getattr(again, each.name)
    return found


def fit_once(
    cut: Split,
    images: Tensor,
    targets: Tensor,
    mean: Tensor,
    std: Tensor,
    active: Tensor | None,
    settings: Bottleneck,
    start: Tensor | None = None,
    noise: Iterable[Tensor] | None = None,
) -> tuple[Explanation, Tensor]:
    """`fit`, and which samples (N,) bool are doubtful; none is explained again. Nothing here waits for the device.

    `noise` is what `noise_draws` gives for these settings and statistics, for a caller that keeps it.
    """
    with torch.no_grad(), tf32(settings.precision == "fastest"):
        r, rest = cut.below(images)
        if r.ndim != 4 or r.shape[1:] != mean.shape or mean.shape != std.shape:
            raise ValueError(
                f"layer {cut.layer!r} gives {tuple(r.shape)}, statistics are {tuple(mean.shape)}: IBA needs "
                "(N, C, h, w) and statistics (C, h, w)"
            )
        switch = torch.ones_like(mean) if active is None else active.to(mean.dtype)
        mix = _Mix(cut, r, rest, targets, mean, std, switch, settings)
        begin = torch.full_like(mix.r, ALPHA_START) if start is None else _channels_last(start).to(mix.r, copy=True)
        alpha = _Alpha(begin, settings.lr)
        draws = iter(noise_draws(settings, mean, std) if noise is None else noise)
        of_class = torch.zeros_like(mix.r)
        before: Tensor | None = None
        first_pulls: list[Tensor] = []
        most = r.new_zeros(len(r))  # the class's pull at most, as a share of the KL's
        for number in range(1, settings.steps):  # the map belongs to the pass before the last step, which nothing needs
            state = mix.at(alpha.value)
            of_information = mix.pull_of_information(state)
            if number in settings.asks:
                cross_entropy, of_class = mix.pull_of_class(state, next(draws))
                before = cross_entropy + mix.penalty(mix.information(state)) if before is None else before
                most = torch.maximum(most, _norms(of_class) / _norms(of_information))
                if len(first_pulls) < 2:
                    first_pulls.append(of_class)
            alpha.step(of_information + of_class)
        doubtful = torch.zeros_like(most, dtype=torch.bool)
        if len(first_pulls) == 2:
            first, second = (each.flatten(1) for each in first_pulls)
            doubtful = (F.cosine_similarity(first, second) < _AGREEMENT) & (most > _PULL)
        state = mix.at(alpha.value)
        kl = mix.information(state)
        logits, cross_entropy = mix.ask(mix.rows(state, next(draws)))
        after = cross_entropy + mix.penalty(kl)
        capacity = kl.sum(3) / math.log(2)
        cells_per_pixel = r.shape[2] * r.shape[3] / (images.shape[2] * images.shape[3])
        bits = F.interpolate(
            capacity.unsqueeze(1) * cells_per_pixel, size=images.shape[2:], mode="bilinear", align_corners=False
        )
    return Explanation(
        bits.squeeze(1).float(),
        capacity.float(),
        (after if before is None else before).float(),
        after.float(),
        logits.mean(1),
        logits.softmax(-1).mean(1),
    ), doubtful


@dataclass(frozen=True)
class _State:
    """Of one alpha: its sigmoid, and what is smoothed from it: lambda and 1 - lambda, all (N, h, w, C)."""

    sigmoid: Tensor
    passed: Tensor
    blocked: Tensor


class _Mix:
    """Z = lambda R + (1 - lambda) eps of N samples, and both gradients to alpha in closed form.

    Everything is (N, h, w, C), so that the network above gets rows in channels-last layout without a copy. With S the
    smoothing, s = sigmoid(alpha), p = S s, b = S sigmoid(-alpha) = 1 - p and r = (R - mean) / std:

        d KL / d alpha = s (1 - s) S^T (p r^2 + 1 / b - b)
        d cross-entropy / d alpha = s (1 - s) S^T sum over draws of (d cross-entropy / d Z) (R - eps)
    """

    def __init__(
        self,
        cut: Split,
        r: Tensor,
        rest: tuple[Tensor, ...],
        targets: Tensor,
        mean: Tensor,
        std: Tensor,
        switch: Tensor,
        settings: Bottleneck,
    ) -> None:
        self._cut, self._draws, self._beta = cut, settings.draws, settings.beta
        self.r, self._switch = _channels_last(r), _channels_last(switch)
        self._squared = ((self.r - _channels_last(mean)) / _channels_last(std)).square() * self._switch
        self._elements = mean.numel()
        self._smooth = Smoothing(settings.smooth_sigma, self.r)
        self._rest = tuple(tensor.repeat_interleave(self._draws, 0) for tensor in rest)
        self._targets = targets.repeat_interleave(self._draws)

    def at(self, alpha: Tensor) -> _State:
        sigmoid, blocked = torch.sigmoid(alpha), torch.sigmoid(-alpha)  # no cancellation where lambda is near 1
        return _State(sigmoid, self._smooth(sigmoid), self._smooth(blocked))

    def information(self, state: _State) -> Tensor:
        """KL(N(lambda r, (1 - lambda)^2) || N(0, 1)) per element in nats."""
        b = state.blocked
        return -0.5 * ((1 + 2 * b.log() - b.square()) * self._switch - state.passed.square() * self._squared)

    def penalty(self, information: Tensor) -> Tensor:
        """beta times the mean KL, (N,)."""
        return self._beta * information.mean((1, 2, 3))

    def pull_of_information(self, state: _State) -> Tensor:
        """d penalty / d alpha."""
        b = state.blocked
        by_passed = (state.passed * self._squared).addcmul_(1 / b - b, self._switch)
        return self._to_alpha(state, by_passed.mul_(self._beta / self._elements))

    def pull_of_class(self, state: _State, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy (N,), mean over the draws, and its derivative by alpha."""
        rows = self.rows(state, eps)
        with torch.enable_grad():
            rows.requires_grad_()
            # the network may begin in place; one of lower precision begins with a copy
            _, cross_entropy = self.ask(rows.clone() if self._cut.dtype == rows.dtype else rows)
            (by_z,) = torch.autograd.grad(cross_entropy.sum(), rows)
        by_z = by_z.permute(0, 2, 3, 1).unflatten(0, (-1, self._draws))
        by_passed = self.r * by_z.sum(1) - (by_z * eps).sum(1)
        return cross_entropy.detach(), self._to_alpha(state, by_passed * self._switch)

    def rows(self, state: _State, eps: Tensor) -> Tensor:
        """Z (N * draws, C, h, w), the draws of a sample one after the other; eps (draws, h, w, C)."""
        z = (state.passed * self.r).unsqueeze(1) + state.blocked.unsqueeze(1) * eps
        return z.mul_(self._switch).flatten(0, 1).permute(0, 3, 1, 2)

    def ask(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, draws, classes) and cross-entropy (N,), mean over the draws."""
        logits = self._cut.above(rows, self._rest).float()
        cross_entropy = F.cross_entropy(logits, self._targets, reduction="none")
        return logits.unflatten(0, (-1, self._draws)), cross_entropy.unflatten(0, (-1, self._draws)).mean(1)

    def _to_alpha(self, state: _State, by_passed: Tensor) -> Tensor:
        s = state.sigmoid
        return self._smooth.adjoint(by_passed).mul_(s - s.square())


class _Alpha:
    """Alpha under Adam (Kingma and Ba 2015), as torch.optim has it."""

    def __init__(self, value: Tensor, lr: float) -> None:
        self.value = value
        self._lr, self._steps = lr, 0
        self._mean, self._square = torch.zeros_like(value), torch.zeros_like(value)

    def step(self, gradient: Tensor) -> None:
        self._steps += 1
        self._mean.lerp_(gradient, 1 - _BETA_1)
        self._square.mul_(_BETA_2).addcmul_(gradient, gradient, value=1 - _BETA_2)
        size = (self._square / (1 - _BETA_2**self._steps)).sqrt_().add_(_EPSILON)
        self.value.addcdiv_(self._mean, size, value=-self._lr / (1 - _BETA_1**self._steps))


def noise_draws(settings: Bottleneck, mean: Tensor, std: Tensor) -> Iterator[Tensor]:
    """eps ~ N(mean, std^2) of each pass that asks and of the last, (draws, h, w, C): the same for every sample, batch
    and device."""
    generator = torch.Generator().manual_seed(settings.seed)  # on the CPU: the same noise on every device
    mirror: Tensor | None = None
    for _ in range(len(settings.asks) + 1):
        shape = (settings.draws, *mean.shape)
        if not settings.antithetic:
            yield _channels_last(mean + std * _normal(generator, shape, mean))
            continue
        parts = []
        for _ in range(settings.draws):
            parts.append(_normal(generator, (1, *mean.shape), mean) if mirror is None else mirror)
            mirror = -parts[-1] if mirror is None else None
        yield _channels_last(mean + std * torch.cat(parts))


def _normal(generator: torch.Generator, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(like)


def _channels_last(x: Tensor) -> Tensor:
    """(..., C, h, w) to contiguous (..., h, w, C)."""
    return x.movedim(-3, -1).contiguous()


def _norms(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)


def information(passed: Tensor, blocked: Tensor, r_normed: Tensor) -> Tensor:
    """KL(N(lambda r, (1 - lambda)^2) || N(0, 1)) per element in nats; of lambda, 1 - lambda, r = (R - mean) / std."""
    return -0.5 * (1 + 2 * torch.log(blocked) - (passed * r_normed).square() - blocked.square())


class Smoothing:
    """Gaussian over (N, h, w, C), kernel of 2 sigma to each side, reflected at the borders; identity for sigma 0.

    As one matrix for the rows and one for the columns: the adjoint is their transposes, without a scattering sum whose
    order a GPU leaves open.
    """

    def __init__(self, sigma: float, like: Tensor) -> None:
        self._sides = tuple(smoothing_matrix(sigma, size).to(like) for size in like.shape[1:3]) if sigma else ()
        self._turned = tuple(side.T.contiguous() for side in self._sides)

    def __call__(self, x: Tensor) -> Tensor:
        return _apply(self._sides, x)

    def adjoint(self, x: Tensor) -> Tensor:
        return _apply(self._turned, x)


def _apply(sides: tuple[Tensor, ...], x: Tensor) -> Tensor:
    if not sides:
        return x
    rows, columns = sides
    n, h, w, c = x.shape
    x = torch.matmul(rows, x.reshape(n, h, w * c)).view(n * h, w, c)
    return torch.matmul(columns, x).view(n, h, w, c)


def smoothing_matrix(sigma: float, size: int) -> Tensor:
    """(size, size) float64: a Gaussian kernel of 2 sigma to each side along one side, reflected at both ends."""
    radius = round(2 * sigma)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma).square())
    period = max(2 * (size - 1), 1)
    places = torch.arange(size).unsqueeze(1) + torch.arange(-radius, radius + 1)
    places = (places % period).minimum(-places % period)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, places, (kernel / kernel.sum()).expand(size, -1))
