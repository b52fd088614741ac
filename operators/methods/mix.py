"""What a bottleneck lets through: the layer's output mixed with noise, how much information that is, both gradients."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.methods.smoothing import Smoothing
from operators.models.cut import Split


@dataclass(frozen=True)
class State:
    """Of one alpha: its sigmoid, and what is smoothed from it: lambda and 1 - lambda, all (N, h, w, C)."""

    sigmoid: Tensor
    passed: Tensor
    blocked: Tensor


class Mix:
    """Z = lambda R + (1 - lambda) eps of N samples, and both gradients to alpha in closed form.

    Everything is (N, h, w, C), so that the network above gets rows in channels-last layout without a copy; of clips it
    is (N, t, h, w, C). With S the smoothing, s = sigmoid(alpha), p = S s, b = S sigmoid(-alpha) = 1 - p and
    r = (R - mean) / std:

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
        beta: float,
        smooth_sigma: float,
    ) -> None:
        self._cut, self._rest, self._targets, self._beta = cut, rest, targets, beta
        sides = mean.ndim - 1
        self.r, self._switch = channels_last(r, sides), channels_last(switch, sides)
        normed = (self.r - channels_last(mean, sides)) / channels_last(std, sides)
        self._squared = normed.square() * self._switch
        self._elements = mean.numel()
        self._smooth = Smoothing(smooth_sigma, self.r)

    def at(self, alpha: Tensor) -> State:
        sigmoid, blocked = torch.sigmoid(alpha), torch.sigmoid(-alpha)  # no cancellation where lambda is near 1
        return State(sigmoid, self._smooth(sigmoid), self._smooth(blocked))

    def information(self, state: State) -> Tensor:
        """KL(N(lambda r, (1 - lambda)^2) || N(0, 1)) per element in nats."""
        b = state.blocked
        return -0.5 * ((1 + 2 * b.log() - b.square()) * self._switch - state.passed.square() * self._squared)

    def penalty(self, information: Tensor) -> Tensor:
        """beta times the mean KL, (N,)."""
        return self._beta * information.mean(tuple(range(1, information.ndim)))

    def pull_of_information(self, state: State) -> Tensor:
        """d penalty / d alpha."""
        b = state.blocked
        by_passed = (state.passed * self._squared).addcmul_(1 / b - b, self._switch)
        return self._to_alpha(state.sigmoid, by_passed.mul_(self._beta / self._elements))

    def ask(self, state: State, eps: Tensor, which: Tensor | slice = slice(None), *, last: bool = False) -> "Asked":
        """Send Z of the samples `which` through the network; eps (draws, h, w, C). The `last` is not asked to pull."""
        r, passed, blocked = (each[which] for each in (self.r, state.passed, state.blocked))
        z = (passed * r).unsqueeze(1) + blocked.unsqueeze(1) * eps
        rows = z.mul_(self._switch).flatten(0, 1).movedim(-1, 1)
        rest = tuple(each[which].repeat_interleave(len(eps), 0) for each in self._rest)
        targets = self._targets[which].repeat_interleave(len(eps))
        with torch.set_grad_enabled(not last):
            rows.requires_grad_(not last)
            # the network may begin in place; one of lower precision begins with a copy
            logits = self._cut.above(rows.clone() if self._cut.dtype == rows.dtype else rows, rest).float()
            cross_entropy = F.cross_entropy(logits, targets, reduction="none").unflatten(0, (-1, len(eps))).mean(1)

        def pull() -> Tensor:
            (by_z,) = torch.autograd.grad(cross_entropy, rows, torch.ones_like(cross_entropy))
            by_z = by_z.movedim(1, -1).unflatten(0, (-1, len(eps)))
            by_passed = (r * by_z.sum(1) - (by_z * eps).sum(1)) * self._switch
            return self._to_alpha(state.sigmoid[which], by_passed)

        return Asked(logits.detach().unflatten(0, (-1, len(eps))), cross_entropy.detach(), pull)

    def _to_alpha(self, sigmoid: Tensor, by_passed: Tensor) -> Tensor:
        return self._smooth.adjoint(by_passed).mul_(sigmoid - sigmoid.square())


@dataclass(frozen=True)
class Asked:
    """What the network says to M samples: logits (M, draws, classes), cross-entropy (M,), mean over the draws, and on
    demand its derivative by alpha (M, h, w, C)."""

    logits: Tensor
    cross_entropy: Tensor
    pull: Callable[[], Tensor]


def channels_last(x: Tensor, sides: int) -> Tensor:
    """(..., C, h, w) to contiguous (..., h, w, C); of 3 `sides` there is t before h."""
    return x.movedim(-1 - sides, -1).contiguous()


def information(passed: Tensor, blocked: Tensor, r_normed: Tensor) -> Tensor:
    """KL(N(lambda r, (1 - lambda)^2) || N(0, 1)) per element in nats; of lambda, 1 - lambda, r = (R - mean) / std."""
    return -0.5 * (1 + 2 * torch.log(blocked) - (passed * r_normed).square() - blocked.square())
