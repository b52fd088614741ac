"""What a fit would do on a GPU, seen without one: the meta device computes nothing, and what waits for it stops."""

from collections import Counter
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from operators.explain import Explainer
from operators.inputs.view import View
from operators.methods import smoothing
from operators.methods.bottleneck import PRESETS, Bottleneck, Noise, cut_for, fit, fit_once, noise_draws
from operators.methods.gradcam import GradCam
from operators.methods.iba import Iba, Site
from operators.methods.ready import Files, ReadyMethods
from operators.methods.statistics import merge, of_batch, path_in, save
from operators.models.cut import Split, frozen, lowered, split
from operators.models.running import example, fetched
from operators.models.spec import XCEPTION, spec_for
from operators.models.weights import Detector, load_model

#: operations that give the same memory another shape: no kernel
VIEWS = {
    *("view", "_unsafe_view", "expand", "unsqueeze", "squeeze", "permute", "slice", "select", "t", "transpose"),
    *("detach", "alias", "split", "as_strided", "unbind", "_reshape_alias", "unflatten", "lift_fresh"),
}


class Log(TorchDispatchMode):
    """Counts kernels on the device and the bytes they read and write, what crosses between it and the processor, and
    what of that comes back: zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = self.moved = self.fetched = 0
        self.crossings: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        kwargs = kwargs or {}
        if name == "_to_copy" and args[0].is_meta and kwargs.get("device", args[0].device).type == "cpu":
            self.fetched += 1
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        out = func(*args, **kwargs)
        tensors = [each for each in tree_leaves((args, kwargs, out)) if isinstance(each, torch.Tensor)]
        kinds = {each.device.type for each in tensors}
        if kinds == {"meta"} and name not in VIEWS:
            self.kernels += 1
            self.moved += sum(each.nbytes for each in {id(each): each for each in tensors}.values())
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
    return _moved(found)


@pytest.mark.parametrize(("preset", "kernels", "gigabytes"), [("reference", 3000, 45), ("fast", 2000, 9)])
def test_a_fit_never_waits_for_the_device_and_copies_nothing_to_it(cut, preset, kernels, gigabytes):
    """But for the few numbers that tell who is quiet. Bytes are those of eight samples, as if no cache held any."""
    settings = replace(PRESETS[preset], quiet=0.0)
    mean, std = torch.zeros(728, 9, 9, device="meta"), torch.ones(728, 9, 9, device="meta")
    active = torch.ones(728, 9, 9, device="meta", dtype=torch.bool)
    images, targets = torch.empty(8, 3, 149, 149, device="meta"), torch.zeros(8, dtype=torch.long, device="meta")
    noise = tuple(noise_draws(settings, mean, std))
    smoothing.Smoothing(settings.smooth_sigma, mean.movedim(0, -1))  # sent there once
    with Log() as log:
        found, doubtful = fit_once(cut, images, targets, mean, std, active, settings, noise=noise)
    assert found.capacity.shape == (8, 9, 9)
    assert doubtful.shape == (8,)
    assert not log.crossings
    assert log.kernels < kernels
    assert log.moved < gigabytes * 1e9


def test_the_noise_of_a_layer_is_made_and_sent_to_the_device_once(cut):
    settings = replace(PRESETS["fast"], steps=2, quiet=0.0, sure_draws=0)
    mean, std = torch.zeros(728, 9, 9, device="meta"), torch.ones(728, 9, 9, device="meta")
    images, targets = torch.empty(2, 3, 149, 149, device="meta"), torch.zeros(2, dtype=torch.long, device="meta")
    noise, crossings = Noise(mean, std), []
    for _ in range(2):
        with Log() as log:
            fit(cut, images, targets, mean, std, None, settings, noise=noise)
        crossings.append(log.crossings)
    assert crossings[0]["randn"] > 0
    assert not crossings[1]
    # so much that nobody would want to keep it
    large = Noise(torch.zeros(2048, 64, 64, device="meta"), torch.ones(2048, 64, 64, device="meta"))
    large(replace(settings, draws=100))
    assert not large._kept


def test_what_a_batch_gives_comes_back_in_one_copy_for_each_method_and_layer(tmp_path):
    """And one of the logits, which say what is explained; of the bottleneck they were nine."""
    spec = replace(spec_for("test_resnet"), view=View(64))
    detector, layers = Detector(spec, ()), ("layer2", "layer3")
    model, pictures = detector.load().requires_grad_(False), example(spec, 4)
    for layer in layers:
        save(of_batch(split(model, layer, pictures).below(pictures)[0]), path_in(tmp_path, spec.name, layer), {})
    methods = (Iba(replace(PRESETS["fast"], steps=2, quiet=0.0, sure_draws=0)), GradCam())
    ready = ReadyMethods(spec, model, layers, methods, partial(Files(tmp_path, {}).of, spec.name))
    assert ready._plain._together is not None
    ready._plain._together.to("meta")
    ready.each = [(method, layer, _on_the_meta_device(each)) for method, layer, each in ready.each]
    explainer = Explainer((detector,), methods, ("predicted",), Files(tmp_path, {}), 4, threads=0)
    explainer._device = torch.device("meta")
    batch = [({"label": None}, {"frame": i, "pixels": bytes(64 * 64 * 3)}) for i in range(3)]
    loaded: Any = SimpleNamespace(spec=spec, ready=ready, picture=None)
    with Log() as log:
        found = explainer._explain_batch(loaded, batch)
    assert [(method.name, layer) for method, layer, _, _ in found.maps] == [
        (name, layer) for name in ("iba", "gradcam") for layer in layers
    ]
    assert log.fetched == 1 + 4
    assert {each.device.type for _, _, maps, _ in found.maps for each in (maps.saliency, *maps.figures.values())} == {
        "cpu"
    }


def _on_the_meta_device(ready: Any) -> Any:
    """A method that is ready at a place, as if the place were there; what it needs of the model is in its cut."""
    if isinstance(getattr(ready, "site", None), Site):
        site = ready.site
        mean, std, active = (each.to("meta") for each in (site.mean, site.std, site.active))
        return replace(ready, site=Site(site.layer, _moved(site.cut), mean, std, active, Noise(mean, std)))
    return replace(ready, cut=_moved(ready.cut))


def _moved(cut: Split) -> Split:
    return replace(cut, _below=cut._below.to("meta"), _above=cut._above.to("meta"))


def test_what_is_fetched_is_what_was_there():
    numbers = torch.Generator().manual_seed(0)
    given = [
        torch.randn(3, 1, 2, 2, generator=numbers),
        torch.tensor([1e-38, float("nan"), float("inf")]),
        torch.tensor([True, False]),
        torch.arange(3) + 2**40,
        torch.randn(2, generator=numbers).bfloat16(),
        torch.zeros(0, 4),
    ]
    for one, other in zip(fetched(given), given, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_statistics_stay_on_the_device_until_they_are_handed_over():
    with Log() as log:
        found = merge([of_batch(torch.empty(4, 8, 3, 3, device="meta")) for _ in range(3)])
    assert (found.n, found.m2.device.type, found.nonzero.device.type) == (12, "meta", "meta")
    assert not log.crossings
