"""How pixels become a model's input, and what the device it runs on does fast."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from operators.models.spec import ModelSpec

M = TypeVar("M", bound=nn.Module)


def placed(model: M, spec: ModelSpec, device: torch.device) -> M:
    """The model on `device`, in the memory format that its convolutions are fastest in."""
    return model.to(device).to(memory_format=memory_format(len(spec.view.sides)))


def memory_format(sides: int) -> torch.memory_format:
    """Channels last, of pictures (2 sides) or clips (3)."""
    return torch.channels_last if sides == 2 else torch.channels_last_3d


def pixels_of(parts: Sequence[bytes], spec: ModelSpec) -> np.ndarray:
    """Inputs as they travel to (N, S, S, 3) uint8, of clips (N, T, S, S, 3)."""
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, *spec.view.shape)


def example(spec: ModelSpec, n: int = 1) -> Tensor:
    """`n` inputs (n, 3, S, S) or (n, 3, T, S, S) of noise, always the same."""
    return torch.rand(n, 3, *spec.view.sides, generator=torch.Generator().manual_seed(0))


def to_input(pixels: np.ndarray, spec: ModelSpec, device: torch.device | None = None) -> Tensor:
    """(N, S, S, 3) uint8 RGB to the (N, 3, S, S) float32 the model was trained on: (x / 255 - mean) / std.

    Of clips (N, T, S, S, 3) to (N, 3, T, S, S). In channels-last layout on `device` (the CPU unless given), where the
    bytes are sent and the rest is done.
    """
    images = torch.tensor(pixels, device=device).movedim(-1, 1).float().div_(255)
    return images.sub_(_channels(spec.mean, images)).div_(_channels(spec.std, images))


def to_rgb(inputs: Tensor, spec: ModelSpec) -> Tensor:
    """The way back from `to_input`: (N, 3, S, S) or (N, 3, T, S, S) float32 in [0, 1]."""
    return inputs * _channels(spec.std, inputs) + _channels(spec.mean, inputs)


def black(spec: ModelSpec, like: Tensor) -> Tensor:
    """(1, 3, 1, ...): a black pixel as an input, of as many dimensions as the inputs `like`."""
    return -_channels(spec.mean, like) / _channels(spec.std, like)


def _channels(values: Sequence[float], like: Tensor) -> Tensor:
    """(1, 3, 1, ...) float32."""
    return torch.tensor(values, device=like.device).view(1, 3, *[1] * (like.ndim - 2))


def fetched(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors on the processor, by one copy: each copy waits until the device has done all that it was told.

    They travel as float64, which holds float32, bool and counts exactly; what is not on the first one's device goes
    there before.
    """
    together = torch.cat([each.flatten().to(tensors[0].device, torch.float64) for each in tensors]).cpu()
    parts = together.split([each.numel() for each in tensors])
    return [part.view(each.shape).to(each.dtype) for part, each in zip(parts, tensors, strict=True)]


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def trains_in_bfloat16(spec: ModelSpec, device: torch.device) -> bool:
    """Whether a training multiplies in bfloat16: where that is fast, but models of clips not on a CPU.

    There torch 2.15 gives what happens to be in memory for the gradient of a 3-D convolution's weights where two cells
    of time are left, as in the last stage of r3d_18 and small3d.
    """
    return fast_bfloat16(device) and (device.type == "cuda" or len(spec.view.sides) == 2)
