"""What a fit would do on a GPU, seen without one: the meta device computes nothing, and what waits for it stops."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from operators.methods.bottleneck import PRESETS, Bottleneck, Noise, cut_for, fit, fit_once, noise_draws
from operators.methods.statistics import merge, of_batch
from operators.models.cut import Split, frozen, lowered
from operators.models.spec import XCEPTION
from operators.models.weights import load_model

#: operations that give the same memory another shape: no kernel
VIEWS = {
    *("view", "_unsafe_view", "expand", "unsqueeze", "squeeze", "permute", "slice", "select", "t", "transpose"),
    *("detach", "alias", "split", "as_strided", "unbind", "_reshape_alias", "unflatten", "lift_fresh"),
}


class Log(TorchDispatchMode):
    """Counts kernels on the device and what crosses between it and the processor."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = 0
        self.crossings: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.__name__.split(".")[0]
        kinds = {each.device.type for each in tree_leaves((args, kwargs, out)) if isinstance(each, torch.Tensor)}
        self.kernels += kinds == {"meta"} and name not in VIEWS
        if kinds == {"cpu", "meta"} or "rand" in name:
            self.crossings[name] += 1
        return out


@pytest.fixture(scope="module")
def cut() -> Split:
    """Xception at block4, where nothing but R crosses the cut, on the meta device; in bfloat16 as on a GPU."""
    model = load_model(XCEPTION)
    example = torch.randn(1, 3, 149, 149)
    with frozen(model):
        found = lowered(cut_for(model, "block4", example, Bottleneck()), torch.bfloat16)
    assert (found.kind, found.folded) == ("graph", True)
    return replace(found, _below=found._below.to("meta"), _above=found._above.to("meta"))


@pytest.mark.parametrize(("preset", "bound"), [("reference", 3000), ("fast", 2000)])
def test_a_fit_never_waits_for_the_device_and_copies_nothing_to_it(cut, preset, bound):
    """But for the few numbers that tell who is quiet."""
    settings = replace(PRESETS[preset], quiet=0.0)
    mean, std = torch.zeros(728, 9, 9, device="meta"), torch.ones(728, 9, 9, device="meta")
    active = torch.ones(728, 9, 9, device="meta", dtype=torch.bool)
    images, targets = torch.empty(8, 3, 149, 149, device="meta"), torch.zeros(8, dtype=torch.long, device="meta")
    noise = tuple(noise_draws(settings, mean, std))
    with Log() as log:
        found, doubtful = fit_once(cut, images, targets, mean, std, active, settings, noise=noise)
    assert found.capacity.shape == (8, 9, 9)
    assert doubtful.shape == (8,)
    assert log.crossings == {"_to_copy": 2}  # the two sides of the smoothing, before the first pass
    print(log.kernels)
    assert log.kernels < bound


def test_the_noise_of_a_layer_is_made_and_sent_to_the_device_once(cut):
    settings = replace(PRESETS["fast"], quiet=0.0, sure_draws=0)
    mean, std = torch.zeros(728, 9, 9, device="meta"), torch.ones(728, 9, 9, device="meta")
    images, targets = torch.empty(2, 3, 149, 149, device="meta"), torch.zeros(2, dtype=torch.long, device="meta")
    noise, crossings = Noise(mean, std), []
    for _ in range(2):
        with Log() as log:
            fit(cut, images, targets, mean, std, None, settings, noise=noise)
        crossings.append(log.crossings)
    assert crossings[0]["randn"] > 0
    assert crossings[1] == {"_to_copy": 2}
    # so much that nobody would want to keep it
    large = Noise(torch.zeros(2048, 64, 64, device="meta"), torch.ones(2048, 64, 64, device="meta"))
    large(replace(settings, draws=100))
    assert not large._kept


def test_statistics_stay_on_the_device_until_they_are_handed_over():
    with Log() as log:
        found = merge([of_batch(torch.empty(4, 8, 3, 3, device="meta")) for _ in range(3)])
    assert (found.n, found.m2.device.type, found.nonzero.device.type) == (12, "meta", "meta")
    assert not log.crossings
