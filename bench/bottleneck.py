"""How fast maps are made, and whether they are the same: `python -m bench.bottleneck --help`.

Compared in one run on one machine: the plain engine (bench/plain.py: one sample at a time, the whole model forward and
backward in every pass, weights' gradients included, which is how IBA is usually run), the presets, each of their
tricks alone, and captum's Grad-CAM, integrated gradients and occlusion on the same samples. Engines take turns, and
the least of their times counts: whatever else the machine does makes all of them slower.
"""

import argparse
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion
from torch.utils.flop_counter import FlopCounterMode

from bench import fidelity
from bench.plain import explain_one
from bench.subjects import Subject, load
from operators.bottleneck import PRESETS, Bottleneck, cut_for, fit

GROWTH = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Engine:
    """A way to make maps. `settings` None: not a bottleneck, no fidelity. `samples` go through it together."""

    name: str
    run: Callable[[Subject], object]
    samples: int
    settings: Bottleneck | None = None


def engines(batch: int) -> list[Engine]:
    """What is compared, the plain engine first."""
    fast = PRESETS["fast"]
    tricks = {
        "reference": PRESETS["reference"],
        "fast": fast,
        "fast, without folding batch norm": fast,
        "reference, asks as fast": replace(PRESETS["reference"], asks_from=fast.asks_from),
        "reference, draws as fast": replace(PRESETS["reference"], draws=fast.draws, antithetic=fast.antithetic),
        "fast, without mirrored noise": replace(fast, antithetic=False),
    }
    found = [Engine("plain engine", _plain, 1)]
    for name, settings in tricks.items():
        fold = not name.endswith("batch norm")
        size = max(batch // settings.draws, 1)
        found.append(Engine(name, _Fit(settings, fold), size, settings))
    return [
        *found,
        Engine("captum Grad-CAM", _grad_cam, batch),
        Engine("captum integrated gradients, 50 steps", _integrated_gradients, 1),
        Engine("captum occlusion, windows of 1/8, stride 1/16", _occlusion, 1),
    ]


class _Fit:
    def __init__(self, settings: Bottleneck, fold: bool = True) -> None:
        self.settings, self.fold = settings, fold

    def __call__(self, subject: Subject) -> np.ndarray:
        cut = subject.cut
        if self.fold:
            cut = cut_for(subject.model, subject.layer, subject.images[:1], self.settings)
        found = fit(cut, subject.images, subject.targets, subject.mean, subject.std, subject.active, self.settings)
        return found.bits.double().numpy()


def _plain(subject: Subject, steps: int = 10) -> None:
    # outside of a benchmark, too, nobody switches the weights' gradients off
    subject.model.requires_grad_(True)
    explain_one(
        subject.model, subject.layer, subject.images[0], int(subject.targets[0]), subject.mean, subject.std, steps=steps
    )
    subject.model.zero_grad(set_to_none=True)
    subject.model.requires_grad_(False)


def _grad_cam(subject: Subject) -> None:
    method = LayerGradCam(subject.model, subject.model.get_submodule(subject.layer))
    method.attribute(subject.images.clone().requires_grad_(), target=subject.targets)


def _integrated_gradients(subject: Subject) -> None:
    method = IntegratedGradients(subject.model)
    method.attribute(subject.images, target=subject.targets, n_steps=50, internal_batch_size=10)


def _occlusion(subject: Subject) -> None:
    side = subject.images.shape[-1]
    window, stride = (3, side // 8, side // 8), (3, side // 16, side // 16)
    with torch.no_grad():
        Occlusion(subject.model).attribute(
            subject.images,
            target=subject.targets,
            sliding_window_shapes=window,
            strides=stride,
            perturbations_per_eval=8,
        )


def flops(subject: Subject, settings: Bottleneck) -> float:
    """Floating-point operations of one map: below once, forward and backward above per ask, forward at the end."""
    image = subject.part(0, 1).images
    with torch.no_grad(), FlopCounterMode(display=False) as below:
        r, rest = subject.cut.below(image)
    with torch.no_grad(), FlopCounterMode(display=False) as forward:
        subject.cut.above(r.clone(), rest)
    # the backward pass to the input alone costs what the forward pass costs
    return below.get_total_flops() + settings.draws * forward.get_total_flops() * (2 * len(settings.asks) + 1)


def matmul_peak() -> float:
    """Floating-point operations per second of this machine's float32 matrix product, best of several."""
    a, b = torch.randn(2, 2048, 2048)
    best = 0.0
    for _ in range(10):
        started = time.perf_counter()
        torch.matmul(a, b)
        best = max(best, 2 * 2048**3 / (time.perf_counter() - started))
    return best


def peak_memory(options: argparse.Namespace, name: str) -> float:
    """MiB that an engine needs beyond the model and its samples, in a process of its own; two passes are enough."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (options, name))


def _peak_memory(options: argparse.Namespace, name: str) -> float:
    engine = next(each for each in engines(options.batch) if each.name == name)
    subject = load(options.model, options.weights, options.samples, options.layer, options.batch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if engine.name == "plain engine":
        _plain(subject, steps=2)
    elif engine.settings is not None:
        settings = replace(engine.settings, steps=2)
        _Fit(settings)(subject.part(0, engine.samples))
    else:
        engine.run(subject.part(0, engine.samples))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="xception")
    parser.add_argument("--weights", type=Path, help="trained weights; none: untrained, and fidelity measures little")
    parser.add_argument("--samples", type=Path, required=True, help="what train left in OUT/samples")
    parser.add_argument("--layer", default="block4")
    parser.add_argument("--batch", type=int, default=8, help="rows (samples times draws) that go through together")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("-n", type=int, default=32, help="samples for fidelity")
    parser.add_argument("--seeds", type=int, default=16, help="reference runs whose mean the maps are compared with")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps reference maps")
    options = parser.parse_args()

    subject = load(options.model, options.weights, options.samples, options.layer, max(options.n, options.batch))
    peak = matmul_peak()
    print(
        f"{options.model} {options.layer}, input {subject.spec.input_size}, {platform.machine()}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}; "
        f"float32 matrix product {peak / 1e9:.0f} GFLOP/s; "
        f"reference against the plain engine, same noise: {fidelity.difference_from_plain(subject):.1e} of the maximum",
        flush=True,
    )
    compared = engines(options.batch)
    seconds = {engine.name: float("inf") for engine in compared}
    for _ in range(options.rounds):
        for engine in compared:
            part = subject.part(0, engine.samples)
            started = time.perf_counter()
            engine.run(part)
            seconds[engine.name] = min(seconds[engine.name], (time.perf_counter() - started) / engine.samples)
    references = fidelity.reference_maps(subject.part(0, options.n), options.seeds, options.cache)
    print(
        f"\nfidelity on {options.n} held-out samples against the mean of {options.seeds} reference runs\n\n"
        "| engine | s per map | maps per s | times the plain engine | share of the matrix product | MiB | Pearson | "
        "least Pearson | IoU of the hottest 10 % (one reference run) | bits | holds |\n" + "|---" * 11 + "|"
    )
    for engine in compared:
        each = seconds[engine.name]
        line = [engine.name, f"{each:.2f}", f"{1 / each:.2f}", f"{seconds['plain engine'] / each:.1f}"]
        share = flops(subject, engine.settings) / each / peak if engine.settings else None
        line += [f"{share:.0%}" if share else "", f"{peak_memory(options, engine.name):.0f}"]
        if engine.settings is None:
            line += [""] * 5
        else:
            found = fidelity.compare(fidelity.maps(subject.part(0, options.n), engine.settings), references)
            line += [f"{found['pearson']:.5f}", f"{found['pearson_least']:.4f}"]
            line += [f"{found['iou']:.3f} ({found['iou_of_one_reference_run']:.3f})", f"{found['bits']:+.2%}"]
            line += ["yes" if found["holds"] else "no"]
        print("| " + " | ".join(line) + " |", flush=True)

    print("\n| samples together, preset fast | s per map |\n|---|---|")
    everything = load(options.model, options.weights, options.samples, options.layer, max(GROWTH))
    for n in GROWTH:
        times = []
        for _ in range(options.rounds):
            started = time.perf_counter()
            _Fit(PRESETS["fast"])(everything.part(0, n))
            times.append((time.perf_counter() - started) / n)
        print(f"| {n} | {min(times):.2f} |", flush=True)


if __name__ == "__main__":
    main()
