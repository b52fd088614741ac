"""One fit on a CUDA device: how the model is cut, that nothing waits, that it is repeated bit by bit, what it costs."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from operators.methods.bottleneck import PRESETS, Noise, cut_for, fit, fit_once, noise_draws
from operators.methods.statistics import of_batch
from operators.models.cut import Split, folded, frozen, lowered, split
from operators.models.precision import tf32
from operators.models.products import as_products
from operators.models.spec import PAPER_LAYERS, VGG11_FLOW, XCEPTION
from operators.models.weights import load_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
DEVICE = torch.device("cuda")
FAST = replace(PRESETS["fast"], quiet=0.0, sure_draws=0)


def pictures(n: int, side: int = 149) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(0))


class Subject:
    """Xception at block4 as an actor has it, with noise of its own activations."""

    def __init__(self, device: torch.device, precision: str) -> None:
        self.device, self.model = device, load_model(XCEPTION).to(device)
        self.model.requires_grad_(False)
        settings = replace(FAST, precision=precision)
        self.cut = cut_for(self.model, "block4", pictures(1).to(device), settings)
        known = of_batch(split(load_model(XCEPTION), "block4", pictures(1)).below(pictures(4))[0])
        self.known = known.mean.float().to(device), known.std().to(device), known.active().to(device)

    def fit(self, images: torch.Tensor, settings=FAST, cut: Split | None = None):
        targets = torch.arange(len(images), device=self.device) % 2
        with frozen(self.model):
            return fit(cut or self.cut, images.to(self.device), targets, *self.known, settings)


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject(DEVICE, "fastest")


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("spec", [XCEPTION, VGG11_FLOW])
def test_every_layer_of_the_paper_is_cut_by_graph_and_folded(spec, allowed):
    """Whatever the setting of TF32 was: the comparison that decides on it is made without."""
    model = load_model(spec).to(DEVICE)
    side = 149 if spec is XCEPTION else 128
    example = pictures(1, side).to(DEVICE)
    with frozen(model), tf32(allowed):
        for layer in PAPER_LAYERS[spec.name]:
            cut = folded(split(model, layer, example), example)
            assert (layer, cut.kind, cut.folded) == (layer, "graph", True)


@pytest.mark.parametrize("n", [1, 64])
def test_a_fit_is_repeated_to_the_last_bit(subject, n):
    first, second = (subject.fit(pictures(n)) for _ in range(2))
    for name in ("capacity", "loss_after", "logits", "floor"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


def test_the_reference_is_that_of_the_processor():
    images = pictures(2)
    maps = [
        Subject(torch.device(name), "float32").fit(images, replace(PRESETS["reference"], draws=2)).capacity.cpu()
        for name in ("cpu", DEVICE)
    ]
    torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=5e-3 * float(maps[0].max()))


def test_nothing_inside_a_fit_waits_for_the_device(subject):
    images, targets = pictures(8).to(DEVICE), torch.zeros(8, dtype=torch.long, device=DEVICE)
    noise = tuple(noise_draws(FAST, *subject.known[:2]))
    subject.fit(pictures(8))  # what is chosen once, as cuDNN's algorithms
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found, _ = fit_once(subject.cut, images, targets, *subject.known, FAST, noise=noise)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(found.capacity).all()


def compiled(cut: Split, dtype: torch.dtype = torch.float32) -> Split:
    """What lies above without convolutions, joined by the compiler."""
    products = lowered(as_products(cut), dtype)
    return replace(products, _above=torch.compile(products._above, options={"comprehensive_padding": False}))


def test_without_convolutions_and_compiled_it_is_the_same_function():
    cut = Subject(DEVICE, "float32").cut
    z, rest = cut.below(pictures(4).to(DEVICE))
    found = []
    for each in (cut, compiled(cut)):
        with torch.enable_grad(), tf32(False):
            begin = z.clone().requires_grad_()
            logits = each.above(begin, rest)
            (gradient,) = torch.autograd.grad(logits[:, 0].sum(), begin)
        found.append((logits.detach(), gradient))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-2 * float(one.abs().max()))


def launches(work) -> int:
    work()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        work()
    return sum(each.count for each in seen.key_averages() if "LaunchKernel" in each.key)


def test_a_pass_that_asks_is_few_kernels(subject):
    """The difference that two more passes make; as it is 190 for the network alone, compiled 120."""
    noise = Noise(*subject.known[:2])
    targets = torch.zeros(8, dtype=torch.long, device=DEVICE)
    images = pictures(8).to(DEVICE)

    def counted(cut: Split) -> float:
        settings = [replace(FAST, steps=steps) for steps in (8, 10)]
        few, more = (
            launches(lambda each=each: fit(cut, images, targets, *subject.known, each, noise=noise))
            for each in settings
        )
        return (more - few) / 2

    assert counted(subject.cut) <= 250
    assert counted(compiled(Subject(DEVICE, "float32").cut, torch.bfloat16)) <= 140


def test_memory_grows_with_the_samples_and_no_faster(subject):
    peaks = []
    for n in (8, 32, 64):
        images = pictures(n)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        subject.fit(images)
        peaks.append((torch.cuda.max_memory_allocated() - before) / 2**20)
    for (fewer, less), (more, much) in pairwise(zip((8, 32, 64), peaks, strict=True)):
        assert (much - less) / (more - fewer) < 150 / 4  # 150 MB are those of an input of 299, four times as large
