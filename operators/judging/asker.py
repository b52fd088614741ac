"""A model that is asked about many variations of one input."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from operators.models.batches import Batches
from operators.models.precision import tf32
from operators.models.running import memory_format, placed
from operators.models.weights import Detector
from schemas.errors import SampleError

#: (indices) -> inputs (n, 3, S, S), of clips (n, 3, T, S, S)
Make = Callable[[list[int]], Tensor]

#: without gradients no layer's values are kept: so many times the samples of a fit go together, which share the reading
#: of the weights (VGG11's are half a gigabyte)
_WITHOUT_GRADIENTS: Final = 4


class Asker:
    """A model that is asked about many variations of one input; counts how many."""

    def __init__(self, detector: Detector, device: torch.device, batch_samples: int) -> None:
        self.spec = detector.spec
        self.device = device
        self.model: nn.Module = placed(detector.load(), detector.spec, device).requires_grad_(False)
        self._forward = Batches(device, _WITHOUT_GRADIENTS * batch_samples)
        self._attack = Batches(device, batch_samples)
        self.passes = 0

    def ask(self, make: Make, n: int) -> np.ndarray:
        """Probabilities (n, classes) of the inputs that `make` gives of indices below n."""

        format_ = memory_format(len(self.spec.view.sides))

        @torch.no_grad()
        def work(batch: list[int]) -> np.ndarray:
            with tf32(False):
                logits = self.model(make(batch).contiguous(memory_format=format_))
            return logits.float().softmax(1).cpu().numpy()

        return self._run(self._forward, work, n, 1)

    def attack(self, make: Make, n: int, passes: int) -> np.ndarray:
        """The same of inputs whose making takes so many `passes` each."""

        def work(batch: list[int]) -> np.ndarray:
            with tf32(False):
                attacked = make(batch)
                with torch.no_grad():
                    return self.logits_of(attacked).softmax(1).cpu().numpy()

        return self._run(self._attack, work, n, passes)

    def logits_of(self, images: Tensor) -> Tensor:
        """Logits of (M, 3, S, S) in [0, 1]."""
        mean, std = (
            torch.tensor(each, device=images.device).view(1, 3, 1, 1) for each in (self.spec.mean, self.spec.std)
        )
        return self.model(((images - mean) / std).contiguous(memory_format=torch.channels_last)).float()

    def _run(self, batches: Batches, work: Callable[[list[int]], np.ndarray], n: int, passes: int) -> np.ndarray:
        found = np.empty((n, len(self.spec.classes)))
        for batch, got in batches.run(list(range(n)), work):
            if got is None:
                raise SampleError("out_of_memory", f"one sample of {self.spec.name} needs more than there is")
            found[batch] = got
            self.passes += passes * len(batch)
        return found
