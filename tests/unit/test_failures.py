"""A process whose GPU is lost says why and ends; any other error is left to the caller."""

import subprocess
import sys
import textwrap

import pytest
import torch

from operators.models.failures import leave_a_lost_device, out_of_memory

CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: {}: you tried to allocate 9 bytes."


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(CPU_MESSAGE.format("can't allocate memory")),
        RuntimeError(CPU_MESSAGE.format("not enough memory")),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        torch.AcceleratorError("CUDA error: out of memory"),
    ],
)
def test_too_little_memory_has_many_words(error):
    assert out_of_memory(error)


def test_a_lost_gpu_ends_the_process():
    """There is none here: the driver's answer after an illegal access is put in its place."""
    program = """
        import torch
        from operators.models.failures import leave_a_lost_device
        error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
        def synchronize():
            raise error
        torch.cuda.is_initialized, torch.cuda.synchronize = lambda: True, synchronize
        try:
            leave_a_lost_device(error)
        finally:
            print("cleaned up")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.returncode == 1
    assert "illegal memory access" in done.stderr
    assert not done.stdout  # nothing of this process runs any more, however many errors are caught


def test_other_errors_do_not():
    error = RuntimeError("CUDA error: device-side assert triggered")
    assert not out_of_memory(error)
    assert leave_a_lost_device(error) is None
    assert not torch.cuda.is_initialized()
