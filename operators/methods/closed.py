"""What a model says where its bottleneck is closed: of noise alone."""

from typing import Final

import torch
from torch import Tensor

from operators.models.cut import Split

#: noise draws that the probabilities are means over
CLOSED_DRAWS: Final = 64
_AT_ONCE: Final = 8


@torch.no_grad()
def noise_alone(cut: Split, examples: Tensor, mean: Tensor, std: Tensor, active: Tensor, seed: int) -> Tensor | None:
    """(classes,) float64: softmax of the logits of Z = eps (lambda 0), mean over CLOSED_DRAWS draws that `seed` makes.

    mean, std and active (C, h, w) as `operators.methods.bottleneck.explain` takes them; `examples` (2, 3, ..., H, W)
    are two different inputs. None where the logits are not the same for both: then other paths lead round the layer,
    and with the bottleneck closed the model still sees its input.
    """
    _, rest = cut.below(examples)
    one, other = (tuple(each[i : i + 1] for each in rest) for i in (0, 1))
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same noise on every device
    found = []
    for start in range(0, CLOSED_DRAWS, _AT_ONCE):
        n = min(_AT_ONCE, CLOSED_DRAWS - start)
        noise = torch.randn((n, *mean.shape), generator=generator, dtype=torch.float32).to(mean)
        z = (mean + std * noise) * active
        logits = cut.above(z.clone(), tuple(each.repeat_interleave(n, 0) for each in one))
        if not start and rest:
            again = cut.above(z.clone(), tuple(each.repeat_interleave(n, 0) for each in other))
            if not torch.allclose(logits, again, rtol=1e-4, atol=1e-5):
                return None
        found.append(logits.double().softmax(1))
    return torch.cat(found).mean(0)
