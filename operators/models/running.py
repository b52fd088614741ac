"""How pixels become a model's input, and what the device it runs on does fast."""

import numpy as np
import torch
from torch import Tensor

from operators.models.spec import ModelSpec


def to_input(pixels: np.ndarray, spec: ModelSpec, device: torch.device | None = None) -> Tensor:
    """(N, S, S, 3) uint8 RGB to the (N, 3, S, S) float32 the model was trained on: (x / 255 - mean) / std.

    In channels-last layout on `device` (the CPU unless given), where the bytes are sent and the rest is done.
    """
    images = torch.tensor(pixels, device=device).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (spec.mean, spec.std))
    return images.sub_(mean).div_(std)


def to_rgb(inputs: Tensor, spec: ModelSpec) -> Tensor:
    """The way back from `to_input`: (N, 3, S, S) float32 in [0, 1]."""
    mean, std = (inputs.new_tensor(each).view(1, 3, 1, 1) for each in (spec.mean, spec.std))
    return inputs * std + mean


def black(spec: ModelSpec, device: torch.device) -> Tensor:
    """(1, 3, 1, 1): a black pixel as an input."""
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (spec.mean, spec.std))
    return -mean / std


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
