"""Per-sample Information Bottleneck Attribution (Schulz et al. 2020; VIBA section 3.3), many samples at once.

For each sample the layer's output R is mixed with noise, Z = lambda * R + (1 - lambda) * eps (VIBA eq. 1), and lambda
is fitted so that the class survives while as little information as possible passes (eq. 2). What passes, in bits, is
the map.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Annotated, Final, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from operators.methods.alpha import Alpha
from operators.methods.asking import Asking
from operators.methods.mix import Mix, channels_last
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
    auto        a run compares a few of its own samples with the reference first, and takes more draws where these do
                not hold (`operators.choose`); a fit itself takes `draws`
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
    auto: bool = False

    @property
    def asks(self) -> range:
        """The passes that ask for a gradient: one at least, where there is a pass before the map."""
        return range(min(self.asks_from, self.steps - 1) or 1, self.steps)

    @property
    def surely(self) -> "Bottleneck":
        """How a doubtful sample is explained again."""
        return replace(self, draws=self.sure_draws, asks_from=1, sure_draws=0)


_FAST: Final = Bottleneck(draws=2, asks_from=4, antithetic=True, precision="fastest", sure_draws=10, quiet=0.05)
#: `reference` is the published algorithm, `fast` gives nearly its maps for a fraction of the time (bench/RESULTS.md),
#: `auto` makes sure of that
PRESETS: Final = {"auto": replace(_FAST, auto=True), "fast": _FAST, "reference": Bottleneck()}
DEFAULT_PRESET: Final = "auto"
#: of noise that is kept at a layer: 15 MB are those of `fast` at Xception's block4, 105 MB those of a second look, and
#: 419 MB those at VGG11's features.9 at 256, which a GPU has room for
_KEPT_BYTES: Final = 128 << 20
_KEPT_BYTES_ON_GPU: Final = 1 << 30
#: a map that ends within this of the bits that pass without a class is one of nothing
AT_ITS_FLOOR: Final = 1.05


@dataclass(frozen=True)
class Explanation:
    """N explanations; everything belongs to one state, the last forward pass of the fit.

    bits          (N, H, W) float32, bits per input pixel at the input's size; of a clip (N, t, H, W)
    capacity      (N, h, w) float32, bits per cell of the layer, summed over channels; of a clip (N, t, h, w)
    loss_before   (N,) float32, cross-entropy + beta * mean KL in nats, first pass that asks the network
    loss_after    (N,) float32, the same at the last pass
    logits        (N, classes) float32, prediction from Z, mean over the noise draws
    probabilities (N, classes) float32, softmax of each draw, then the mean over the draws
    floor         (N,) float32, bits that pass in all where no class pulls: the same fit without the network
    evaluations   (N,) int64, noisy versions of the sample that the network above the layer was shown
    """

    bits: Tensor
    capacity: Tensor
    loss_before: Tensor
    loss_after: Tensor
    logits: Tensor
    probabilities: Tensor
    floor: Tensor
    evaluations: Tensor


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

    images (N, 3, H, W) or clips (N, 3, T, H, W) float; targets (N,) int64 class indices; mean, std (C, h, w) of the
    layer's output over training data, std > 0; active (C, h, w) bool, False switches an element off; start (N, C, h, w)
    is the alpha to begin from, 5 everywhere unless given. The others are those of `Bottleneck`, by default the
    published algorithm. The noise depends on `seed`, the pass and the draw alone, so a sample's map is the same in
    every batch.

    Of a clip all that has h and w has t before them. Raises ValueError for an unknown layer, a layer whose output is
    not (N, C, h, w), and statistics of another shape.
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
    noise: "Noise | None" = None,
) -> Explanation:
    """`explain` for a model that is already cut and frozen: what a worker calls batch after batch.

    `crossing` is what `cut.below` gives of the images, `noise` that of these statistics, for a caller that has them.
    """
    noise = noise or Noise(mean, std)
    found, doubtful = fit_once(
        cut, images, targets, mean, std, active, settings, start, noise(settings), crossing=crossing
    )
    if settings.sure_draws > settings.draws and doubtful.any():
        # no more rows through the network together than in the first fit
        at_once = max(len(images) * settings.draws // settings.sure_draws, 1)
        for which in doubtful.nonzero().flatten().split(at_once):
            begin = None if start is None else start[which]
            known = None if crossing is None else (crossing[0][which], tuple(each[which] for each in crossing[1]))
            surely, given = settings.surely, (images[which], targets[which], mean, std, active)
            again, _ = fit_once(cut, *given, surely, begin, noise(surely), crossing=known)
            again = replace(again, evaluations=found.evaluations[which] + again.evaluations)
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
    with torch.no_grad(), tf32(False):  # what is not lowered is exact: the plain pass, the smoothing, the KL
        r, rest = cut.below(images) if crossing is None else crossing
        if r.ndim not in (4, 5) or r.shape[1:] != mean.shape or mean.shape != std.shape:
            raise ValueError(
                f"layer {cut.layer!r} gives {tuple(r.shape)}, statistics are {tuple(mean.shape)}: IBA needs "
                "(N, C, h, w) or (N, C, t, h, w) and statistics of the same shape"
            )
        switch = torch.ones_like(mean) if active is None else active.to(mean.dtype)
        mix = Mix(cut, r, rest, targets, mean, std, switch, settings.beta, settings.smooth_sigma)
        begin = (
            torch.full_like(mix.r, ALPHA_START)
            if start is None
            else channels_last(start, mean.ndim - 1).to(mix.r, copy=True)
        )
        alpha = Alpha(begin, settings.lr)
        draws = iter(noise_draws(settings, mean, std) if noise is None else noise)
        asking = Asking(mix, settings.quiet)
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
        capacity = kl.sum(-1) / math.log(2)
        floor = _bits_without_a_class(mix, unpulled, settings)
        cells_per_pixel = r.shape[2:].numel() / images.shape[2:].numel()
        cells = (capacity * cells_per_pixel).view(-1, 1, *capacity.shape[-2:])  # those of time one by one
        bits = F.interpolate(cells, size=images.shape[-2:], mode="bilinear", align_corners=False)
    found = Explanation(
        bits.view(*capacity.shape[:-2], *images.shape[-2:]).float(),
        capacity.float(),
        (after if before is None else before).float(),
        after.float(),
        last.logits.mean(1),
        last.logits.softmax(-1).mean(1),
        floor.float(),
        asking.evaluations + settings.draws,
    )
    return found, asking.doubtful() & (found.capacity.flatten(1).sum(1) > AT_ITS_FLOOR * found.floor)


def _bits_without_a_class(mix: Mix, alpha: Alpha, settings: Bottleneck) -> Tensor:
    """(N,) total bits where alpha goes on to the last pass by the KL alone."""
    while alpha.steps < settings.steps - 1:
        alpha.step(mix.pull_of_information(mix.at(alpha.value)))
    return mix.information(mix.at(alpha.value)).flatten(1).sum(1) / math.log(2)


def noise_draws(settings: Bottleneck, mean: Tensor, std: Tensor) -> Iterator[Tensor]:
    """eps ~ N(mean, std^2) of each pass that asks and of the last, (draws, h, w, C): the same for every sample, batch
    and device."""
    sides = mean.ndim - 1
    generator = torch.Generator().manual_seed(settings.seed)  # on the CPU: the same noise on every device
    mirror: Tensor | None = None
    for _ in range(len(settings.asks) + 1):
        shape = (settings.draws, *mean.shape)
        if not settings.antithetic:
            yield channels_last(mean + std * _normal(generator, shape, mean), sides)
            continue
        parts = []
        for _ in range(settings.draws):
            parts.append(_normal(generator, (1, *mean.shape), mean) if mirror is None else mirror)
            mirror = -parts[-1] if mirror is None else None
        yield channels_last(mean + std * torch.cat(parts), sides)


class Noise:
    """`noise_draws` of one layer's statistics: made once where it is small, for it is the same for every batch."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self._mean, self._std = mean, std
        self._kept: dict[Bottleneck, tuple[Tensor, ...]] = {}

    def __call__(self, settings: Bottleneck) -> Iterable[Tensor]:
        if settings not in self._kept:
            draws = noise_draws(settings, self._mean, self._std)
            n_bytes = (len(settings.asks) + 1) * settings.draws * self._mean.numel() * self._mean.element_size()
            if n_bytes > (_KEPT_BYTES if self._mean.device.type == "cpu" else _KEPT_BYTES_ON_GPU):
                return draws
            self._kept[settings] = tuple(draws)
        return self._kept[settings]


def _normal(generator: torch.Generator, shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(like)
