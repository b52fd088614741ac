"""What a GPU makes of the fit, in one command: `python -m bench.gpu pack FOLDER` anywhere, then `... run FOLDER` on it.

`run` needs torch, numpy, pyarrow and this repository; FOLDER has 46 MB. It prints the most important first and each
block at once, so that a run that is cut off still tells, and ends with the table of speeds. Times are medians of
several, of the device. `--device cpu` tries the program itself.
"""

import bench.bare  # noqa: F401, isort: skip  first: on a lent machine most packages are not there

import argparse
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from operators.measures.fidelity import compare
from operators.methods.bottleneck import PRESETS, Bottleneck, Noise, fit
from operators.methods.mix import Mix
from operators.models.cut import Split, _ConvolutionTracer, lowered
from operators.models.precision import tf32
from operators.models.products import as_products
from operators.models.running import fast_bfloat16

FILE = "subject.pt"
FAST, REFERENCE = PRESETS["fast"], PRESETS["reference"]
#: without the compiler's padding, which puts a copy in front of every product
COMPILED: Final[dict[str, Any]] = {"comprehensive_padding": False}
#: how many rows a compiled network is to see
ROWS: Final = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Subject:
    """A model cut at a layer, batch norm folded, in float32; N pictures and the class they are explained for."""

    cut: Split
    pixels: Tensor
    targets: Tensor
    known: tuple[Tensor, Tensor, Tensor]
    scaling: tuple[Tensor, Tensor]

    def inputs(self, n: int) -> Tensor:
        """(n, 3, S, S), over and over where there are fewer; from bytes on the device."""
        mean, std = self.scaling
        chosen = self.pixels[torch.arange(n, device=self.pixels.device) % len(self.pixels)]
        return (chosen.permute(0, 3, 1, 2).float() / 255 - mean) / std

    def classes(self, n: int) -> Tensor:
        return self.targets[torch.arange(n, device=self.targets.device) % len(self.targets)]


def pack(folder: Path, weights: Path | None, samples: Path | None, size: int, n: int = 32) -> None:
    """Write what `run` takes: Xception above and below block4, 32 held-out pictures and the layer's statistics.

    Without samples they are random, of `size`.
    """
    from bench.subjects import load
    from operators.methods import statistics
    from operators.models.cut import folded, split
    from operators.models.spec import XCEPTION
    from operators.models.weights import load_model

    spec = replace(XCEPTION, view=replace(XCEPTION.view, size=size))
    if samples is not None:
        subject = load("xception", weights, samples, "block4", n, "cpu")
        cut, images, targets, spec = subject.cut, subject.images, subject.targets, subject.spec
        known = (subject.mean, subject.std, subject.active)
    else:
        images = torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
        cut = split(load_model(spec, weights).requires_grad_(False), spec.layer, images[:1])
        targets = torch.arange(n) % 2
        with torch.no_grad():
            found = statistics.of_batch(cut.below(images[:8])[0])
        known = (found.mean.float(), found.std(), found.active())
    cut = folded(cut, images[:1])
    parts = [_of_torch_alone(part) for part in (cut._below, cut._above)]
    for module in (module for part in parts for module in part.modules()):
        assert type(module).__module__.startswith("torch"), f"{type(module)} cannot travel"
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (spec.mean, spec.std))
    pixels = ((images * std + mean).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    below, above = (part.half() for part in parts)
    torch.save((cut.layer, below, above, pixels, targets, known, (mean, std)), folder / FILE)
    pictures = "held-out" if samples else "random"
    print(f"{folder / FILE}: {(folder / FILE).stat().st_size / 1e6:.0f} MB, {pictures} pictures")


def _of_torch_alone(part: nn.Module) -> fx.GraphModule:
    """The same without a module of another package, so that it can be read where these are not installed."""
    graph = _ConvolutionTracer({}).trace(part)
    graph._tracer_cls = None  # with ours, whose constructor wants an argument, nobody could read it back
    return fx.GraphModule(part, graph)


def unpacked(folder: Path, device: torch.device) -> Subject:
    """What `pack` wrote, on the device."""
    layer, below, above, pixels, targets, known, scaling = torch.load(folder / FILE, weights_only=False)
    below, above = (part.float().eval().requires_grad_(False).to(device) for part in (below, above))
    below, above = (part.to(memory_format=torch.channels_last) for part in (below, above))
    cut = Split(layer, "graph", below, above, folded=True)
    mean, std, active = (each.to(device) for each in known)
    return Subject(
        cut, pixels.to(device), targets.to(device), (mean, std, active), tuple(e.to(device) for e in scaling)
    )


def timed(work: Callable[[], Any], device: torch.device, times: int = 10) -> float:
    """Median seconds of the device for `work`, after three that do not count; of a processor few times will do."""
    found = []
    for number in range(-3, times) if device.type == "cuda" else range(2):
        if device.type == "cuda":
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            work()
            last.record()
            torch.cuda.synchronize()
            seconds = first.elapsed_time(last) / 1e3
        else:
            started = time.perf_counter()
            work()
            seconds = time.perf_counter() - started
        if number >= 0:
            found.append(seconds)
    return median(found)


class Report:
    """Prints the blocks while there is time."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes
        self.speeds: list[str] = []

    @contextmanager
    def block(self, title: str) -> Iterator[bool]:
        """Whether there is time for it; what goes wrong in it is told, and the next one begins."""
        left = time.monotonic() < self._end
        print(f"\n## {title}" if left else f"\n## {title}: no time left", flush=True)
        try:
            yield left
        except Exception as error:
            print(f"failed: {type(error).__name__}: {error}", flush=True)


class Ceilings(NamedTuple):
    """Bytes that the memory copies, and operations of products in the lower precision, per second."""

    moved: float
    flops: float


def ceilings(device: torch.device) -> Ceilings:
    """Print and return what the memory and the products reach."""
    n = 1 << 31 if device.type == "cuda" else 1 << 26
    a, b = (torch.empty(n, dtype=torch.uint8, device=device) for _ in range(2))
    seconds = timed(partial(a.copy_, b), device)
    moved = 2 * n / seconds
    print(f"copy {moved / 1e12:.2f} TB/s", flush=True)
    del a, b
    side = 8192 if device.type == "cuda" else 1024
    best = 0.0
    for m, k, dtype in ((side, side, torch.bfloat16), (46208, 728, torch.bfloat16), (11552, 728, torch.bfloat16)):
        m = m if device.type == "cuda" else min(m, 2048)
        x, y = torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, k, device=device, dtype=dtype)
        reached = 2 * m * k * k / timed(partial(torch.matmul, x, y), device)
        best = max(best, reached)
        print(f"product {m} x {k} x {k}, bfloat16: {reached / 1e12:.2f} TFLOP/s", flush=True)
    return Ceilings(moved, best)


def fitted(subject: Subject, cut: Split, n: int, settings: Bottleneck) -> Callable[[], Any]:
    """A fit of n samples, noise kept, what crosses the cut made in it."""
    images, targets, noise = subject.inputs(n), subject.classes(n), Noise(*subject.known[:2])
    return lambda: fit(cut, images, targets, *subject.known, settings, noise=noise)


def flops(cut: Split, image: Tensor, settings: Bottleneck) -> float:
    """Floating-point operations of one map of a picture (1, 3, H, W): below once, forward and backward above per ask,
    forward at the end; for a sample that is not explained again."""
    with torch.no_grad(), FlopCounterMode(display=False) as below:
        r, rest = cut.below(image)
    with torch.no_grad(), FlopCounterMode(display=False) as forward:
        cut.above(r.clone(), rest)
    # the backward pass to the input alone costs what the forward pass costs
    return below.get_total_flops() + settings.draws * forward.get_total_flops() * (2 * len(settings.asks) + 1)


class Moved(TorchDispatchMode):
    """Adds up the bytes that kernels read and write, as if no cache held any; a view of memory moves none."""

    def __init__(self) -> None:
        super().__init__()
        self.n_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = {id(each): each for each in tree_leaves((args, kwargs, out)) if isinstance(each, Tensor)}
        if not func.is_view and func is not torch.ops.aten._unsafe_view.default:
            self.n_bytes += sum(each.nbytes for each in tensors.values())
        return out


def line(name: str, subject: Subject, cut: Split, n: int, device: torch.device, report: Report, peak: Ceilings) -> None:
    """Milliseconds per map of a fit and of its parts, and what the products and the roofline would allow: the time of
    its operations and that of the bytes of its kernels, which a compiler joins and which are not known then."""
    images, targets = subject.inputs(n), subject.classes(n)
    mean, std, active = subject.known
    with torch.no_grad(), tf32(False):
        crossing = cut.below(images)
        mix = Mix(cut, *crossing, targets, mean, std, active.float(), FAST.beta, FAST.smooth_sigma)
        alpha = torch.full_like(mix.r, 5.0)
        eps = next(iter(Noise(mean, std)(FAST)))
        state = mix.at(alpha)
        below = timed(lambda: cut.below(images), device)
        step = timed(lambda: mix.pull_of_information(mix.at(alpha)), device)
        forward = timed(lambda: mix.ask(state, eps, last=True), device)
        both = timed(lambda: mix.ask(state, eps).pull(), device)
    work = fitted(subject, cut, n, replace(FAST, sure_draws=0, quiet=0.0))
    whole = timed(work, device, times=5)
    needed = n * flops(cut, images[:1], FAST) / peak.flops
    roofline = ""
    if not isinstance(cut._above, torch._dynamo.eval_frame.OptimizedModule):
        with Moved() as moved:
            work()
        roofline = f"{(needed + moved.n_bytes / peak.moved) / whole:.0%}"
    cells = [below, step, forward, both - forward, whole]
    said = f"| {name} | {n} | " + " | ".join(f"{1e3 * each / n:.3f}" for each in cells)
    report.speeds.append(f"{said} | {n / whole:.1f} | {needed / whole:.0%} | {roofline} |")
    print(report.speeds[-1], flush=True)


class _FewShapes(nn.Module):
    """What lies above a cut, shown as many rows as the next of `sizes`: a compiler sees no other number of them."""

    def __init__(self, above: nn.Module, sizes: tuple[int, ...] = ROWS) -> None:
        super().__init__()
        self._above, self._sizes = above, sizes

    def forward(self, z: Tensor, crossing: tuple[Tensor, ...]) -> Tensor:
        n = len(z)
        more = next((size for size in self._sizes if size >= n), n) - n
        z, *rest = (torch.cat([each, each[-1:].detach().expand(more, *each.shape[1:])]) for each in (z, *crossing))
        return self._above(z, tuple(rest))[:n]


def second_looks(subject: Subject, cut: Split, device: torch.device) -> None:
    """Print what it costs to explain a doubtful sample again alone, or with others that were collected."""
    print("| samples that are explained again together | ms each |\n|---|---|")
    for n in (1, 2, 4, 8, 12):
        seconds = timed(fitted(subject, cut, n, FAST.surely), device, times=3)
        print(f"| {n} | {1e3 * seconds / n:.1f} |", flush=True)


def in_few_shapes(subject: Subject, cuts: dict[str, Split], n: int, device: torch.device) -> None:
    """Print what a whole fit by `fast` takes, with its quiet asks, whose rows vary, and its second looks."""
    print("| way | samples | ms a map |\n|---|---|---|")
    for name, cut in cuts.items():
        seconds = timed(fitted(subject, cut, n, FAST), device, times=3)
        print(f"| {name} | {n} | {1e3 * seconds / n:.3f} |", flush=True)


def profiled(work: Callable[[], Any], device: torch.device) -> None:
    """Print the kernels that take longest, how many there are, and how often the processor waits."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    work()
    with torch.profiler.profile(activities=kinds) as profile:
        work()
    order = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    print(profile.key_averages().table(sort_by=order, row_limit=15, max_name_column_width=70), flush=True)
    if device.type == "cuda":
        launches = sum(each.count for each in profile.key_averages() if "LaunchKernel" in each.key)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            work()
            torch.cuda.set_sync_debug_mode("default")
        print(f"{launches} launches, {len(said)} waits for the device", flush=True)


def convolutions(device: torch.device, compiled: bool) -> None:
    """Print what the two convolutions of Xception's middle reach alone, each way to do them: the depthwise one moves
    memory, the 1x1 computes."""
    n, c, side = (128, 728, 19) if device.type == "cuda" else (4, 728, 19)
    low = torch.bfloat16 if fast_bfloat16(device) else torch.float32
    x = torch.randn(n, c, side, side, device=device, dtype=low)
    n_bytes, n_flops = 2 * x.numel() * x.element_size(), 2 * x.numel() * c
    depthwise, pointwise = nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False), nn.Conv2d(c, c, 1, bias=False)
    for what, conv, whole, unit in (
        ("depthwise", depthwise, n_bytes / 1e9, "GB/s"),
        ("1x1", pointwise, n_flops / 1e12, "TFLOP/s"),
    ):
        conv = conv.to(device, low).requires_grad_(False)
        alone = Split("l", "graph", nn.Identity(), nn.ModuleDict({"conv": conv}))
        products = as_products(alone)._above.get_submodule("conv")
        last = x.contiguous(memory_format=torch.channels_last)
        ways: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
            "cuDNN, channels last": (conv, last),
            "channels first": (conv, x),
            "products": (products, last),
        }
        if compiled:
            ways["products, compiled"] = torch.compile(products, options=COMPILED), last
        for name, (work, given) in ways.items():
            given = given.clone().requires_grad_()
            out = work(given)
            gradient = torch.randn_like(out)
            forth = timed(partial(work, given), device)
            back = timed(partial(torch.autograd.grad, out, given, gradient, retain_graph=True), device)
            print(f"{what}, {name}: {whole / forth:.3g} {unit}, gradient {whole / back:.3g} {unit}", flush=True)


def fidelity(subject: Subject, cuts: dict[str, Split], n: int, seeds: int) -> None:
    """Print how alike the maps of `fast` and of reference runs in full float32 are."""
    everything = subject.inputs(n), subject.classes(n), *subject.known

    def maps(cut: Split, settings: Bottleneck) -> np.ndarray:
        return fit(cut, *everything, settings).bits.double().cpu().numpy()

    references = np.stack([maps(subject.cut, replace(REFERENCE, seed=seed)) for seed in range(1, seeds + 1)])
    for name, cut in cuts.items():
        found = compare(maps(cut, FAST), references)
        print(
            f"{name}: Pearson {found.pearson:.5f} (reference with itself {found.own_pearson:.5f}), least "
            f"{found.pearson_least:.4f}, IoU {found.iou:.3f} ({found.own_iou:.3f}), bits {found.bits:+.2%}, "
            f"{'holds' if found.holds else 'does not hold'}",
            flush=True,
        )


def busy(subject: Subject, cut: Split, n: int, seconds: float) -> None:
    """Print how busy two threads keep the device, one at a time on it, results on the processor at the end of each."""
    lock, worked, done = threading.Lock(), 0.0, 0
    noise, end = Noise(*subject.known[:2]), time.perf_counter() + seconds
    host = subject.pixels.cpu().numpy()
    mean, std = subject.scaling

    def work(_: int) -> None:
        nonlocal worked, done
        while time.perf_counter() < end:
            pixels = np.stack([host[i % len(host)] for i in range(n)])
            with lock:
                started = time.perf_counter()
                images = torch.tensor(pixels, device=subject.pixels.device).permute(0, 3, 1, 2).float() / 255
                found = fit(cut, (images - mean) / std, subject.classes(n), *subject.known, FAST, noise=noise)
                maps = found.capacity.cpu().numpy()
                worked, done = worked + time.perf_counter() - started, done + n
            maps.astype(np.float16).tobytes()

    started = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, range(2)))
    wall = time.perf_counter() - started
    print(f"{done / wall:.1f} maps per s, busy {worked / wall:.0%}", flush=True)


def run(folder: Path, device: torch.device, minutes: float, samples: list[int], compiled: bool) -> None:
    """All blocks, while there is time."""
    report, subject, peak = Report(minutes), unpacked(folder, device), Ceilings(float("inf"), float("inf"))
    low = torch.bfloat16 if fast_bfloat16(device) else torch.float32
    cut, products = lowered(subject.cut, low), lowered(as_products(subject.cut), low)
    shown: Any = torch.compile(products._above, options=COMPILED, dynamic=False) if compiled else cut._above
    few, most = replace(products, _above=_FewShapes(shown)), max(samples)
    with report.block("1 what runs"):
        name = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"{name}; torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
        print(f"cut by {cut.kind}, folded {cut.folded}, above in {cut.dtype}", flush=True)
    with report.block("2 ceilings") as go:
        peak = ceilings(device) if go else peak
    heads = (
        "| way | samples | below | step | above | gradient | fit, ms a map | maps per s | of the product "
        "| of the roofline |\n" + "|---" * 10 + "|"
    )
    with report.block("3 as it is") as go:
        if go:
            print(heads)
            for n in samples:
                line("as it is", subject, cut, n, device, report, peak)
            profiled(fitted(subject, cut, most, FAST), device)
    with report.block("4 without convolutions") as go:
        if go:
            print(heads)
            line("as products", subject, products, most, device, report, peak)
            if compiled:
                torch._dynamo.config.cache_size_limit = 64
                joined = replace(products, _above=torch.compile(products._above, options=COMPILED))
                line("as products, compiled", subject, joined, most, device, report, peak)
                line(
                    "as it is, compiled",
                    subject,
                    replace(cut, _above=torch.compile(cut._above)),
                    most,
                    device,
                    report,
                    peak,
                )
    with report.block("5 the whole of fast, by number of rows; second looks") as go:
        if go:
            in_few_shapes(subject, {"as it is": cut, "few shapes": few}, most, device)
            second_looks(subject, cut, device)
    with report.block("6 a depthwise and a 1x1 convolution alone") as go:
        if go:
            convolutions(device, compiled)
    with report.block("7 fidelity") as go:
        if go:
            n, seeds = (32, 16) if device.type == "cuda" else (2, 2)
            fidelity(subject, {"fast": cut, "fast, as products": products, "fast, few shapes": few}, n, seeds)
    with report.block("8 two threads") as go:
        if go:
            busy(subject, cut, most, 60 if device.type == "cuda" else 5)
    print("\n## 9 speeds\n" + heads)
    print("\n".join(report.speeds), flush=True)


def main() -> None:
    """Pack or run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pack", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, help="pack: trained weights of Xception")
    parser.add_argument("--samples", type=Path, help="pack: what train left in OUT/samples; none: random pictures")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 16, 32, 64, 128], metavar="SAMPLES")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--size", type=int, default=299, help="pack: side of random pictures; small to try the program")
    options = parser.parse_args()
    if options.what == "pack":
        pack(options.folder, options.weights, options.samples, options.size)
    else:
        device = torch.device(options.device)
        run(options.folder, device, options.minutes, options.batches, not options.no_compile)


if __name__ == "__main__":
    main()
