"""The mathematics of per-sample IBA transcribed, one sample at a time, without one trick: what speed and fidelity are
measured against. It runs the whole model at every step and lets autograd make the weights' gradients, as the usual way
of working does. With `same_noise` it draws the noise that `operators.methods.bottleneck` draws."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def explain_one(
    model: nn.Module,
    layer: str,
    image: Tensor,
    target: int,
    mean: Tensor,
    std: Tensor,
    *,
    beta: float = 10.0,
    steps: int = 10,
    draws: int = 10,
    lr: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Capacity (h, w) in bits per cell of the layer for one image (3, H, W): VIBA equations 1 and 2 as written."""
    generator = torch.Generator().manual_seed(seed)
    kernel_1d = torch.tensor([math.exp(-(i**2) / 2) for i in range(-2, 3)], dtype=image.dtype, device=image.device)
    kernel = torch.outer(kernel_1d, kernel_1d)
    kernel = (kernel / kernel.sum()).expand(mean.shape[0], 1, 5, 5)
    alpha = torch.full_like(mean, 5.0).requires_grad_()
    optimizer = torch.optim.Adam([alpha], lr=lr)
    state: dict[str, Tensor] = {}

    def inject(_module: nn.Module, _inputs: object, r: Tensor) -> Tensor:
        lam = torch.sigmoid(alpha).unsqueeze(0)
        lam = F.conv2d(F.pad(lam, (2, 2, 2, 2), mode="reflect"), kernel, groups=mean.shape[0])
        r_normed = (r[:1] - mean) / std
        state["kl"] = -0.5 * (1 + torch.log((1 - lam) ** 2) - (lam * r_normed) ** 2 - (1 - lam) ** 2)
        eps = mean + std * torch.randn(draws, *mean.shape, generator=generator, dtype=torch.float32).to(image)
        return lam * r + (1 - lam) * eps

    handle = model.get_submodule(layer).register_forward_hook(inject)
    try:
        batch = image.unsqueeze(0).expand(draws, -1, -1, -1)
        targets = torch.full((draws,), target, device=image.device)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch), targets) + beta * state["kl"].mean()
            loss.backward()
            optimizer.step()
    finally:
        handle.remove()
    return (state["kl"][0].sum(0) / math.log(2)).detach()
