"""What a device's error means: too little memory, which smaller batches cure, or a device lost to the process."""

import os
import sys
from typing import Final

import torch

#: allocators that have no exception of their own: the CPU's, and those inside cuDNN and cuBLAS
_OUT_OF_MEMORY: Final = (
    "memory: you tried to allocate",  # Linux: can't allocate memory, Windows: not enough memory
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether the same work in smaller batches may succeed."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def leave_a_lost_device(error: RuntimeError) -> None:
    """End the process where its GPU no longer answers: after an illegal access every later call fails as well, and only
    a fresh process, which Ray starts for an actor that died, can go on."""
    if not torch.cuda.is_initialized():
        return
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        print(f"viba: the GPU is lost to this process, which ends: {error}", file=sys.stderr, flush=True)
        os._exit(1)
