"""How often the network is asked for the gradient of its class, and how sure of it a fit can be."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.methods.alpha import norms
from operators.methods.mix import Mix, State

#: Lambda moves little between the first two asks: the cosine of their gradients tells how much of them is noise. It was
#: .77 and more, with two draws, where maps kept their fidelity, .61 and less where they lost it (bench/RESULTS.md).
_AGREEMENT: Final = 0.7
#: a class that never pulls with more than this share of Adam's step moves no map, however noisy its gradient
_PULL: Final = 0.05
#: nats of cross-entropy below which the class is so sure that its first asks tell nothing of the later ones
_SILENT: Final = 1e-3
#: pull per nat of cross-entropy of a sample of which no gradient is known: more than was ever seen (bench/RESULTS.md)
_SENSITIVITY: Final = 15.0
#: by how much it may have grown since it was last known
_GROWTH: Final = 6.0


class Asking:
    """Asks the network how the class pulls at each of N samples, and remembers what it said.

    `quiet` is that of `bottleneck.Bottleneck`. `evaluations` (N,) counts the noisy versions of
    each that were asked about.
    """

    def __init__(self, mix: Mix, quiet: float) -> None:
        n = len(mix.r)
        self._mix, self._quiet = mix, quiet
        self._awake = torch.full((n,), quiet == 0)  # on the CPU: it decides what is run
        self._asked = torch.zeros(n, dtype=torch.long)
        self._sensitivity = mix.r.new_full((n,), _SENSITIVITY)
        self._first = torch.zeros_like(mix.r)
        self._agreement, self._most = mix.r.new_ones(n), mix.r.new_zeros(n)
        self.evaluations = torch.zeros(n, dtype=torch.long, device=mix.r.device)
        self._asks, self._silent = 0, torch.ones(n, dtype=torch.bool, device=mix.r.device)

    def ask(self, state: State, eps: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy (N,) and its derivative by alpha (N, h, w, C), 0 for who sleeps; `scale` (N,) is Adam's."""
        pull = torch.zeros_like(self._mix.r)
        cross_entropy = pull.new_zeros(len(pull), dtype=torch.float32)
        awake, asleep = (which.nonzero().flatten() for which in (self._awake, ~self._awake))
        if len(awake):
            which = self._on_device(awake)
            asked = self._mix.ask(state, eps, which)
            cross_entropy[which], pull[which] = asked.cross_entropy, asked.pull()
            self.evaluations[which] += len(eps)
            self._learn(awake, which, cross_entropy, pull, scale)
        if len(asleep):
            which = self._on_device(asleep)
            asked = self._mix.ask(state, eps[:1], which)
            cross_entropy[which] = asked.cross_entropy
            self.evaluations[which] += 1
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
                    self.evaluations[which] += len(eps) - 1
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
        share = norms(pull[which]) / scale[which]
        self._sensitivity[which] = _GROWTH * share / cross_entropy[which]
        return share

    def _on_device(self, samples: Tensor) -> Tensor | slice:
        return _index(samples, len(self._asked), self._mix.r.device)


def _index(chosen: Tensor, n: int, device: torch.device) -> Tensor | slice:
    """`chosen` of n, ascending, for tensors on the device; all of them need no copy there."""
    return slice(None) if len(chosen) == n else chosen.to(device)
