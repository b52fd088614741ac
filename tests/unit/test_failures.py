"""A process whose GPU is lost says why and ends; any other error is left to the caller."""

import os

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


def test_a_lost_gpu_ends_the_process(monkeypatch, capfd):
    """There is none here: the driver's answer after an illegal access is put in its place.

    By `os._exit`: nothing of the process runs any more, however many errors are caught.
    """
    error = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    def synchronize() -> None:
        raise error

    class Ended(BaseException):
        pass

    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended) as ended:
        leave_a_lost_device(error)
    assert ended.value.args == (1,)
    assert "illegal memory access" in capfd.readouterr().err


def test_other_errors_do_not():
    error = RuntimeError("CUDA error: device-side assert triggered")
    assert not out_of_memory(error)
    assert leave_a_lost_device(error) is None
    assert not torch.cuda.is_initialized()
