"""What a fit moves: alpha, under Adam."""

import torch
from torch import Tensor

#: Adam's, as torch.optim has them
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8


class Alpha:
    """Alpha under Adam (Kingma and Ba 2015), as torch.optim has it."""

    def __init__(self, value: Tensor, lr: float) -> None:
        self.value, self.steps = value, 0
        self._lr = lr
        self._mean, self._square = torch.zeros_like(value), torch.zeros_like(value)

    def copy(self) -> "Alpha":
        other = Alpha(self.value.clone(), self._lr)
        other.steps, other._mean, other._square = self.steps, self._mean.clone(), self._square.clone()
        return other

    def scale(self) -> Tensor:
        """(N,) norm of what gradients are divided by."""
        return norms((self._square / (1 - _BETA_2**self.steps if self.steps else 1)).sqrt_())

    def step(self, gradient: Tensor) -> None:
        self.steps += 1
        self._mean.lerp_(gradient, 1 - _BETA_1)
        self._square.mul_(_BETA_2).addcmul_(gradient, gradient, value=1 - _BETA_2)
        size = (self._square / (1 - _BETA_2**self.steps)).sqrt_().add_(_EPSILON)
        self.value.addcdiv_(self._mean, size, value=-self._lr / (1 - _BETA_1**self.steps))


def norms(x: Tensor) -> Tensor:
    """(N, ...) -> (N,)."""
    return x.flatten(1).norm(dim=1)
