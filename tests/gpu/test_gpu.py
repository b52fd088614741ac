"""On a CUDA device: the same maps as on the processor."""

import pytest
import torch

from operators.bottleneck import explain
from operators.models import XCEPTION, load_model
from operators.split import split
from operators.statistics import of_batch

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]


def test_maps_on_the_gpu_are_those_of_the_processor():
    model = load_model(XCEPTION)
    images = torch.randn(2, 3, 149, 149, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        known = of_batch(split(model, "block4", images[:1]).below(images)[0])
    mean, std, targets = known.mean.float(), known.std(), torch.tensor([0, 1])
    expected = explain(model, "block4", images, targets, mean, std, draws=2)
    found = explain(model.cuda(), "block4", images.cuda(), targets.cuda(), mean.cuda(), std.cuda(), draws=2)
    assert found.bits.is_cuda
    a, b = expected.capacity.flatten(), found.capacity.cpu().flatten()
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.999
    torch.testing.assert_close(b.sum(), a.sum(), rtol=1e-2, atol=0)
