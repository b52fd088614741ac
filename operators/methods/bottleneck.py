"""Per-sample Information Bottleneck Attribution (Schulz et al. 2020; VIBA section 3.3), many samples at once.

For each sample the layer's output R is mixed with noise, Z = lambda * R + (1 - lambda) * eps (VIBA eq. 1), and lambda
is fitted so that the class survives while as little information as possible passes (eq. 2). What passes, in bits, is
the map.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Annotated, Final, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from operators.models.cut import Crossing, Split, folded, frozen, lowered, split
from operators.models.precision import tf32
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
    quiet       while its class pulls with less than this share of Adam's step, a sample is asked with one draw, and for
                a gradient only where its cross-entropy lets expect more. 0: every ask is of all draws
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
    quiet: Annotated[float, Ge(0), Le(1)] = 0.0

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
    "fast": Bottleneck(draws=2, asks_from=4, antithetic=True, precision="fastest", sure_draws=10, quiet=0.05),
}
DEFAULT_PRESET: Final = "fast"
#: Lambda moves little between the first two asks: the cosine of their gradients tells how much of them is noise. It was
#: .77 and more, with two draws, where maps kept their fidelity, .61 and less where they lost it (bench/RESULTS.md).
_AGREEMENT: Final = 0.7
#: a class that never pulls with more than this share of Adam's step moves no map, however noisy its gradient
_PULL: Final = 0.05
#: nor does one whose map ends within this of the bits that pass without a class
AT_ITS_FLOOR: Final = 1.05
#: nats of cross-entropy below which the class is so sure that its first asks tell nothing of the later ones
_SILENT: Final = 1e-3
#: pull per nat of cross-entropy of a sample of which no gradient is known: more than was ever seen (bench/RESULTS.md)
_SENSITIVITY: Final = 15.0
#: by how much it may have grown since it was last known
_GROWTH: Final = 6.0
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
    floor         (N,) float32, bits that pass in all where no class pulls: the same fit without the network
    """

    bits: Tensor
    capacity: Tensor
    loss_before: Tensor
    loss_after: Tensor
    logits: Tensor
    probabilities: Tensor
    floor: Tensor


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
    quiet: float = 0.0,
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
            quiet=quiet,
        )
        cut = cut_for(model, layer, images[:1], settings)
        return fit(cut, images, targets, mean, std, active, settings, start)


def cut_for(model: nn.Module, layer: str, example: Tensor, settings: Bottleneck) -> Split:
    """`model` cut at `layer`, as `prepared`. `example` (1, 3, H, W) is on its device. ValueError as of `split`."""
    return prepared(split(model, layer, example), example, settings)


def prepared(cut: Split, example: Tensor, settings: Bottleneck) -> Split:
    """The cut with batch norm above it folded and in the precision of `settings`: what `fit` runs on."""
    cut = folded(cut, example)
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
    crossing: Crossing | None = None,
) -> Explanation:
    """`explain` for a model that is already cut and frozen: what a worker calls batch after batch.

    `crossing` is what `cut.below` gives of the images, for a caller that has it.
    """
    found, doubtful = fit_once(cut, images, targets, mean, std, active, settings, start, crossing=crossing)
    if settings.sure_draws > settings.draws and doubtful.any():
        # no more rows through the network together than in the first fit
        at_once = max(len(images) * settings.draws // settings.sure_draws, 1)
        for which in doubtful.nonzero().flatten().split(at_once):
            begin = None if start is None else start[which]
            known = None if crossing is None else (crossing[0][which], tuple(each[which] for each in crossing[1]))
            again, _ = fit_once(
                cut, images[which], targets[which], mean, std, active, settings.surely, begin, crossing=known
            )
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
    crossing: Crossing | None = None,
) -> tuple[Explanation, Tensor]:
    """`fit`, and which samples (N,) bool are doubtful; none is explained again. Nothing here waits for the device.

    `noise` is what `noise_draws` gives for these settings and statistics, for a caller that keeps it. With
    `settings.quiet` it waits for the device once or twice per ask, to learn who is to be asked how.
    """
    with torch.no_grad(), tf32(settings.precision == "fastest"):
        r, rest = cut.below(images) if crossing is None else crossing
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
        asking = _Asking(mix, settings)
        unpulled, before = alpha, None
        for number in range(1, settings.steps):  # the map belongs to the pass before the last step, which nothing needs
            state = mix.at(alpha.value)
            gradient = mix.pull_of_information(state)
            if number in settings.asks:
                if before is None:
                    unpulled = alpha.copy()
                    unpulled.step(gradient)
                cross_entropy, of_class = asking.ask(state, next(draws), alpha.scale())
                before = cross_entropy + mix.penalty(mix.information(state)) if before is None else before
                gradient = gradient + of_class
            alpha.step(gradient)
        state = mix.at(alpha.value)
        kl = mix.information(state)
        last = mix.ask(state, next(draws), last=True)
        after = last.cross_entropy + mix.penalty(kl)
        capacity = kl.sum(3) / math.log(2)
        floor = _bits_without_a_class(mix, unpulled, settings)
        cells_per_pixel = r.shape[2] * r.shape[3] / (images.shape[2] * images.shape[3])
        bits = F.interpolate(
            capacity.unsqueeze(1) * cells_per_pixel, size=images.shape[2:], mode="bilinear", align_corners=False
        )
    found = Explanation(
        bits.squeeze(1).float(),
        capacity.float(),
        (after if before is None else before).float(),
        after.float(),
        last.logits.mean(1),
        last.logits.softmax(-1).mean(1),
        floor.float(),
    )
    return found, asking.doubtful() & (found.capacity.sum((1, 2)) > AT_ITS_FLOOR * found.floor)


def _bits_without_a_class(mix: "_Mix", alpha: "_Alpha", settings: Bottleneck) -> Tensor:
    """(N,) total bits where alpha goes on to the last pass by the KL alone."""
    while alpha.steps < settings.steps - 1:
        alpha.step(mix.pull_of_information(mix.at(alpha.value)))
    return mix.information(mix.at(alpha.value)).sum((1, 2, 3)) / math.log(2)


class _Asking:
    """Asks the network how the class pulls at each of N samples, and remembers what it said."""

    def __init__(self, mix: "_Mix", settings: Bottleneck) -> None:
        n = len(mix.r)
        self._mix, self._quiet = mix, settings.quiet
        self._awake = torch.full((n,), settings.quiet == 0)  # on the CPU: it decides what is run
        self._asked = torch.zeros(n, dtype=torch.long)
        self._sensitivity = mix.r.new_full((n,), _SENSITIVITY)
        self._first = torch.zeros_like(mix.r)
        self._agreement, self._most = mix.r.new_ones(n), mix.r.new_zeros(n)
        self._asks, self._silent = 0, torch.ones(n, dtype=torch.bool, device=mix.r.device)

    def ask(self, state: "_State", eps: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy (N,) and its derivative by alpha (N, h, w, C), 0 for who sleeps; `scale` (N,) is Adam's."""
        pull = torch.zeros_like(self._mix.r)
        cross_entropy = pull.new_zeros(len(pull), dtype=torch.float32)
        awake, asleep = (which.nonzero().flatten() for which in (self._awake, ~self._awake))
        if len(awake):
            which = self._on_device(awake)
            asked = self._mix.ask(state, eps, which)
            cross_entropy[which], pull[which] = asked.cross_entropy, asked.pull()
            self._learn(awake, which, cross_entropy, pull, scale)
        if len(asleep):
            which = self._on_device(asleep)
            asked = self._mix.ask(state, eps[:1], which)
            cross_entropy[which] = asked.cross_entropy
            stirs = (asked.cross_entropy * self._sensitivity[which] > self._quiet).cpu()
            if stirs.any():
                moved, which = asleep[stirs], self._on_device(asleep[stirs])
                if 2 * len(moved) < len(asleep):  # asking the few again costs less than gradients of all
                    pull[which] = self._mix.ask(state, eps[:1], which).pull()
                else:
                    pull[which] = asked.pull()[_index(stirs.nonzero().flatten(), len(stirs), pull.device)]
                wakes = (self._share(which, cross_entropy, pull, scale) > self._quiet).cpu()
                if wakes.any() and len(eps) > 1:
                    woken, which = moved[wakes], self._on_device(moved[wakes])
                    asked = self._mix.ask(state, eps[1:], which)
                    for mean, more in ((cross_entropy, asked.cross_entropy), (pull, asked.pull())):
                        mean[which] += (more - mean[which]) * ((len(eps) - 1) / len(eps))
                    self._learn(woken, which, cross_entropy, pull, scale)
        self._asks += 1
        if self._asks <= 2:
            self._silent &= cross_entropy < _SILENT
        return cross_entropy, pull

    def doubtful(self) -> Tensor:
        """(N,) bool: the class pulls, but its first two pulls disagree, or it was silent in the first two asks."""
        told_nothing = self._silent if self._asks > 1 else torch.zeros_like(self._silent)
        return ((self._agreement < _AGREEMENT) | told_nothing) & (self._most > _PULL)

    def _learn(
        self, samples: Tensor, which: Tensor | slice, cross_entropy: Tensor, pull: Tensor, scale: Tensor
    ) -> None:
        """From an ask of all draws; `which` are the `samples` on the device."""
        share = self._share(which, cross_entropy, pull, scale)
        self._most[which] = torch.maximum(self._most[which], share)
        if self._quiet:
            self._awake[samples] = (share > self._quiet).cpu()
        for number in (0, 1):
            these = samples[self._asked[samples] == number]
            if len(these):
                now = self._on_device(these)
                if number:
                    self._agreement[now] = F.cosine_similarity(self._first[now].flatten(1), pull[now].flatten(1))
                else:
                    self._first[now] = pull[now]
        self._asked[samples] += 1

    def _share(self, which: Tensor | slice, cross_entropy: Tensor, pull: Tensor, scale: Tensor) -> Tensor:
        """The pull as a share of Adam's step, which also tells how much of it comes with a nat."""
        share = _norms(pull[which]) / scale[which]
        self._sensitivity[which] = _GROWTH * share / cross_entropy[which]
        return share

    def _on_device(self, samples: Tensor) -> Tensor | slice:
        return _index(samples, len(self._asked), self._mix.r.device)


def _index(chosen: Tensor, n: int, device: torch.device) -> Tensor | slice:
    """`chosen` of n, ascending, for tensors on the device; all of them need no copy there."""
    return slice(None) if len(chosen) == n else chosen.to(device)


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
        self._cut, self._rest, self._targets, self._beta = cut, rest, targets, settings.beta
        self.r, self._switch = _channels_last(r), _channels_last(switch)
        self._squared = ((self.r - _channels_last(mean)) / _channels_last(std)).square() * self._switch
        self._elements = mean.numel()
        self._smooth = Smoothing(settings.smooth_sigma, self.r)

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
        return self._to_alpha(state.sigmoid, by_passed.mul_(self._beta / self._elements))

    def ask(self, state: _State, eps: Tensor, which: Tensor | slice = slice(None), *, last: bool = False) -> "_Asked":
        """Send Z of the samples `which` through the network; eps (draws, h, w, C). The `last` is not asked to pull."""
        r, passed, blocked = (each[which] for each in (self.r, state.passed, state.blocked))
        z = (passed * r).unsqueeze(1) + blocked.unsqueeze(1) * eps
        rows = z.mul_(self._switch).flatten(0, 1).permute(0, 3, 1, 2)
        rest = tuple(each[which].repeat_interleave(len(eps), 0) for each in self._rest)
        targets = self._targets[which].repeat_interleave(len(eps))
        with torch.set_grad_enabled(not last):
            rows.requires_grad_(not last)
            # the network may begin in place; one of lower precision begins with a copy
            logits = self._cut.above(rows.clone() if self._cut.dtype == rows.dtype else rows, rest).float()
            cross_entropy = F.cross_entropy(logits, targets, reduction="none").unflatten(0, (-1, len(eps))).mean(1)

        def pull() -> Tensor:
            (by_z,) = torch.autograd.grad(cross_entropy, rows, torch.ones_like(cross_entropy))
            by_z = by_z.permute(0, 2, 3, 1).unflatten(0, (-1, len(eps)))
            by_passed = (r * by_z.sum(1) - (by_z * eps).sum(1)) * self._switch
            return self._to_alpha(state.sigmoid[which], by_passed)

        return _Asked(logits.detach().unflatten(0, (-1, len(eps))), cross_entropy.detach(), pull)

    def _to_alpha(self, sigmoid: Tensor, by_passed: Tensor) -> Tensor:
        return self._smooth.adjoint(by_passed).mul_(sigmoid - sigmoid.square())


@dataclass(frozen=True)
class _Asked:
    """What the network says to M samples: logits (M, draws, classes), cross-entropy (M,), mean over the draws, and on
    demand its derivative by alpha (M, h, w, C)."""

    logits: Tensor
    cross_entropy: Tensor
    pull: Callable[[], Tensor]


class _Alpha:
    """Alpha under Adam (Kingma and Ba 2015), as torch.optim has it."""

    def __init__(self, value: Tensor, lr: float) -> None:
        self.value, self.steps = value, 0
        self._lr = lr
        self._mean, self._square = torch.zeros_like(value), torch.zeros_like(value)

    def copy(self) -> "_Alpha":
        other = _Alpha(self.value.clone(), self._lr)
        other.steps, other._mean, other._square = self.steps, self._mean.clone(), self._square.clone()
        return other

    def scale(self) -> Tensor:
        """(N,) norm of what gradients are divided by."""
        return _norms((self._square / (1 - _BETA_2**self.steps if self.steps else 1)).sqrt_())

    def step(self, gradient: Tensor) -> None:
        self.steps += 1
        self._mean.lerp_(gradient, 1 - _BETA_1)
        self._square.mul_(_BETA_2).addcmul_(gradient, gradient, value=1 - _BETA_2)
        size = (self._square / (1 - _BETA_2**self.steps)).sqrt_().add_(_EPSILON)
        self.value.addcdiv_(self._mean, size, value=-self._lr / (1 - _BETA_1**self.steps))


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
