"""How many samples go through a model together: what the memory holds, and less where it runs out."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import torch

from operators.models.failures import leave_a_lost_device, out_of_memory

#: the first batch on a GPU, whose peak tells how many samples the next ones may have
_FIRST_BATCH: Final = 2
_MOST_SAMPLES: Final = 64
#: the rest is for what the allocator cannot use, and for others on the same GPU
_MEMORY_SHARE: Final = 0.7

S = TypeVar("S")
R = TypeVar("R")


class Batches:
    """Batches of one model on one device; what it learns of the memory it keeps.

    `at_once` samples go together; 0: as many as the free memory of the GPU holds.
    """

    def __init__(self, device: torch.device, at_once: int) -> None:
        self._device = device
        self.size = at_once

    def run(self, samples: list[S], work: Callable[[list[S]], R]) -> Iterator[tuple[list[S], R | None]]:
        """Each batch of `samples` with `work(batch)`; None for a batch of one that does not fit into memory.

        `samples` is emptied from the front; whoever asks for the next batch may have taken out what need not be done.
        """
        while samples:
            batch = samples[: self.size or _FIRST_BATCH]
            if self._device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            found, fits = self._try(work, batch)
            if fits and self._device.type == "cuda" and not self.size:
                self.size = _samples_that_fit(len(batch))
            if fits or len(batch) == 1:
                del samples[: len(batch)]
                yield batch, found
            else:
                self.size = len(batch) // 2

    def _try(self, work: Callable[[list[S]], R], batch: list[S]) -> tuple[R | None, bool]:
        try:
            return work(batch), True
        except RuntimeError as error:
            if not out_of_memory(error):
                leave_a_lost_device(error)
                raise
        # only here, with the error and its traceback gone, nothing holds the tensors any more
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return None, False


def _samples_that_fit(n_measured: int) -> int:
    """The batch size for this GPU after a batch of `n_measured` samples: the peak since, and what is free now."""
    used_bytes = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()  # without the weights
    torch.cuda.empty_cache()
    free_bytes, _ = torch.cuda.mem_get_info()
    return batch_size(free_bytes, used_bytes / n_measured)


def batch_size(free_bytes: int, sample_bytes: float) -> int:
    """How many samples fill 70 % of the free memory: at least 1, at most 64."""
    return min(max(int(_MEMORY_SHARE * free_bytes / max(sample_bytes, 1)), 1), _MOST_SAMPLES)
