"""How pixels become a model's input, and what the device it runs on does fast."""

import numpy as np
import torch
from torch import Tensor

from operators.models.spec import ModelSpec


def to_input(pixels: np.ndarray, spec: ModelSpec) -> Tensor:
    """(N, S, S, 3) uint8 RGB to the (N, 3, S, S) float32 the detector was trained on: (x / 255 - mean) / std."""
    images = torch.tensor(pixels).permute(0, 3, 1, 2).float().div_(255)
    mean = torch.tensor(spec.mean).view(1, 3, 1, 1)
    std = torch.tensor(spec.std).view(1, 3, 1, 1)
    return images.sub_(mean).div_(std)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
