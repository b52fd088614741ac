"""How exactly a GPU multiplies float32 matrices; processors always do it in full."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Inside, float32 convolutions and matrix products round their factors to 10 bits of mantissa, or do not.

    A setting of the whole process, which PyTorch begins with allowed for convolutions and not for matrix products.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    try:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
