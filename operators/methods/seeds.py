"""Random numbers by seed and method, never torch's own: the same in every batch, process and after a resume."""

import hashlib

import torch
from torch import Tensor


def generator(seed: int, method: str, of: bytes = b"") -> torch.Generator:
    """A generator of the method's own, on the CPU, so that every device gets the same numbers; `of` tells more."""
    digest = hashlib.blake2b(f"{method} {seed} ".encode() + of, digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def of_each(seed: int, method: str, rgb: Tensor) -> list[torch.Generator]:
    """A generator for each of (N, 3, ..., W) in [0, 1], by its bytes: the same in every batch, another for others."""
    pixels = rgb.mul(255).round().byte().cpu().contiguous().numpy()
    return [generator(seed, method, each.tobytes()) for each in pixels]
