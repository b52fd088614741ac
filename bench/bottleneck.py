"""How fast maps are made, and whether they are the same: `python -m bench.bottleneck --help`.

Compared in one run on one machine: the plain engine (bench/plain.py: one sample at a time, the whole model forward and
backward in every pass, weights' gradients included, which is how IBA is usually run), the presets, each of their
tricks alone, and captum's Grad-CAM, integrated gradients and occlusion on the same samples. Engines take turns, and
the least of their times counts: whatever else the machine does makes all of them slower.
"""

import argparse
import copy
import multiprocessing
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradCam, Occlusion

from bench import fidelity
from bench.gpu import flops
from bench.plain import explain_one
from bench.subjects import Subject, add_subject, chosen
from operators.measures.fidelity import Fidelity, compare
from operators.methods.bottleneck import PRESETS, Bottleneck, cut_for, fit
from operators.models.cut import Split, lowered, split
from operators.models.running import fast_bfloat16

GROWTH = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Engine:
    """A way to make maps. `settings` None: not a bottleneck, no fidelity. `samples` go through it together."""

    name: str
    run: Callable[[Subject], Any]
    samples: int
    settings: Bottleneck | None = None


def engines(rows: int) -> list[Engine]:
    """What is compared, the plain engine first. `rows` (samples times draws) go through the network together."""
    reference, fast = PRESETS["reference"], PRESETS["fast"]
    few = {"draws": fast.draws, "antithetic": fast.antithetic}
    bottlenecks = {
        "reference": _Fit(reference),
        "reference, batch norm not folded": _Fit(reference, fold=False),
        "reference, channels first": _Fit(reference, channels_last=False),
        "reference, precision as fast": _Fit(replace(reference, precision=fast.precision)),
        "reference, asks as fast": _Fit(replace(reference, asks_from=fast.asks_from)),
        "reference, draws as fast": _Fit(replace(reference, **few)),
        "fast": _Fit(fast),
        "fast, batch norm not folded": _Fit(fast, fold=False),
        "fast, channels first": _Fit(fast, channels_last=False),
        "fast, precision as reference": _Fit(replace(fast, precision=reference.precision)),
        "fast, asks as reference": _Fit(replace(fast, asks_from=1)),
        "fast, noise not mirrored": _Fit(replace(fast, antithetic=False)),
    }
    return [
        Engine("plain engine", _plain, 1),
        *(Engine(name, run, max(rows // run.settings.draws, 1), run.settings) for name, run in bottlenecks.items()),
        Engine("captum Grad-CAM", _grad_cam, rows),
        Engine("captum integrated gradients, 50 steps", _integrated_gradients, 1),
        Engine("captum occlusion, windows of 1/8, stride 1/16", _occlusion, 1),
    ]


class _Fit:
    """Makes maps of a subject; the model is cut at the first call, as a worker does it once."""

    def __init__(self, settings: Bottleneck, fold: bool = True, channels_last: bool = True) -> None:
        self.settings = settings
        self._fold, self._layout = fold, torch.channels_last if channels_last else torch.contiguous_format
        self._cut: Split | None = None

    def __call__(self, subject: Subject) -> np.ndarray:
        images = subject.images.contiguous(memory_format=self._layout)
        self._cut = self._cut or self._cut_of(subject, images[:1])
        found = fit(self._cut, images, subject.targets, subject.mean, subject.std, subject.active, self.settings)
        return found.bits.double().cpu().numpy()

    def _cut_of(self, subject: Subject, example: torch.Tensor) -> Split:
        model = copy.deepcopy(subject.model).to(memory_format=self._layout)
        if self._fold:
            return cut_for(model, subject.layer, example, self.settings)
        cut = split(model, subject.layer, example)
        low = self.settings.precision == "fastest" and fast_bfloat16(example.device)
        return lowered(cut, torch.bfloat16) if low else cut


def _plain(subject: Subject, steps: int = 10) -> torch.Tensor:
    # outside of a benchmark, too, nobody switches the weights' gradients off
    subject.model.requires_grad_(True)
    found = explain_one(
        subject.model, subject.layer, subject.images[0], int(subject.targets[0]), subject.mean, subject.std, steps=steps
    )
    subject.model.zero_grad(set_to_none=True)
    subject.model.requires_grad_(False)
    return found.cpu()


def _grad_cam(subject: Subject) -> torch.Tensor:
    method = LayerGradCam(subject.model, subject.model.get_submodule(subject.layer))
    found = method.attribute(subject.images.clone().requires_grad_(), target=subject.targets)
    assert isinstance(found, torch.Tensor)
    return found.detach().cpu()


def _integrated_gradients(subject: Subject) -> torch.Tensor:
    method = IntegratedGradients(subject.model)
    return method.attribute(subject.images, target=subject.targets, n_steps=50, internal_batch_size=10).cpu()


def _occlusion(subject: Subject) -> torch.Tensor:
    side = subject.images.shape[-1]
    with torch.no_grad():
        return (
            Occlusion(subject.model)
            .attribute(
                subject.images,
                target=subject.targets,
                sliding_window_shapes=(3, side // 8, side // 8),
                strides=(3, side // 16, side // 16),
                perturbations_per_eval=8,
            )
            .cpu()
        )


def matmul_peak(settings: Bottleneck, device: str) -> float:
    """Floating-point operations per second of this machine's matrix product in their precision, best of several."""
    low = settings.precision == "fastest" and fast_bfloat16(torch.device(device))
    a, b = torch.randn(2, 2048, 2048, dtype=torch.bfloat16 if low else torch.float32, device=device)
    best = 0.0
    for _ in range(10):
        started = time.perf_counter()
        torch.matmul(a, b)[0, 0].item()
        best = max(best, 2 * 2048**3 / (time.perf_counter() - started))
    return best


def peak_memory(options: argparse.Namespace, name: str) -> float:
    """MiB that an engine needs beyond the model and its samples, in a process of its own; two passes are enough."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (options, name))


def _peak_memory(options: argparse.Namespace, name: str) -> float:
    engine = next(each for each in engines(options.rows) if each.name == name)
    subject = chosen(options, options.layer, options.rows, known_n=16)  # any statistics will do
    before = _reset_peak(options.device)
    if engine.name == "plain engine":
        _plain(subject, steps=2)
    elif engine.settings is not None:
        _Fit(replace(engine.settings, steps=2))(subject.part(0, engine.samples))
    else:
        engine.run(subject.part(0, engine.samples))
    return _peak(options.device) - before


def _reset_peak(device: str) -> float:
    """What is held now, in MiB: from here on, `_peak` counts."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: the most memory held becomes what is held now
    return _peak(device)


def _peak(device: str) -> float:
    """MiB held at most, of the device or of this process."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _hardware(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def _fidelity(engine: Engine, subject: Subject, references: np.ndarray, which: list[int]) -> Fidelity:
    """Of those samples."""
    images, targets = subject.images[which], subject.targets[which]
    parts = []
    for start in range(0, len(which), engine.samples):
        stop = start + engine.samples
        parts.append(engine.run(replace(subject, images=images[start:stop], targets=targets[start:stop])))
    return compare(np.concatenate(parts), references[:, which])


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layer", default="block4")
    parser.add_argument("--rows", type=int, default=16, help="samples times draws that go through the network together")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("-n", type=int, default=32, help="samples for fidelity")
    parser.add_argument("--few", type=int, help="samples for the fidelity of all lines but fast (default: -n)")
    parser.add_argument("--seeds", type=int, default=16, help="reference runs whose mean the maps are compared with")
    add_subject(parser)
    options = parser.parse_args()

    subject = chosen(options, options.layer, max(options.n, options.rows))
    peaks = {
        precision: matmul_peak(Bottleneck(precision=precision), options.device) for precision in ("float32", "fastest")
    }
    print(
        f"{options.model} {options.layer}, input {subject.spec.view.size}, "
        f"{_hardware(options.device)}, torch {torch.__version__}; "
        f"matrix product {', '.join(f'{peak / 1e9:.0f} GFLOP/s in {name}' for name, peak in peaks.items())}; "
        f"reference against the plain engine, same noise: {fidelity.difference_from_plain(subject):.1e} of the maximum",
        flush=True,
    )
    compared = engines(options.rows)
    seconds = {engine.name: float("inf") for engine in compared}
    for _ in range(options.rounds):
        for engine in compared:
            part = subject.part(0, engine.samples)
            started = time.perf_counter()
            engine.run(part)
            seconds[engine.name] = min(seconds[engine.name], (time.perf_counter() - started) / engine.samples)
    references = fidelity.reference_maps(subject.part(0, options.n), options.seeds, options.cache)
    print(
        f"\nfidelity on {options.n} held-out samples ({options.few or options.n} for all lines but fast) against the "
        f"mean of {options.seeds} reference runs\n\n"
        "| engine | s per map | maps per s | times the plain engine | share of the matrix product | MiB | Pearson | "
        "least Pearson | IoU of the hottest 10 % (one reference run) | bits | holds |\n" + "|---" * 11 + "|"
    )
    known: dict[Bottleneck, Fidelity] = {}  # folding and layout change the last digits alone
    for engine in compared:
        each = seconds[engine.name]
        line = [engine.name, f"{each:.2f}", f"{1 / each:.2f}", f"{seconds['plain engine'] / each:.1f}"]
        settings, memory = engine.settings, f"{peak_memory(options, engine.name):.0f}"
        if settings is None:
            line += ["", memory] + [""] * 5
        else:
            line += [
                f"{flops(subject.cut, subject.part(0, 1).images, settings) / each / peaks[settings.precision]:.0%}",
                memory,
            ]
            if settings not in known:
                n = options.n if engine.name == "fast" else options.few or options.n
                which = np.linspace(0, options.n - 1, n).round().astype(int).tolist()
                known[settings] = _fidelity(engine, subject, references, which)
            found = known[settings]
            line += [f"{found.pearson:.5f}", f"{found.pearson_least:.4f}"]
            line += [f"{found.iou:.3f} ({found.own_iou:.3f})", f"{found.bits:+.2%}", "yes" if found.holds else "no"]
        print("| " + " | ".join(line) + " |", flush=True)

    print("\n| samples together, preset fast | s per map |\n|---|---|")
    fast = _Fit(PRESETS["fast"])
    everything = chosen(options, options.layer, max(GROWTH))
    for n in GROWTH:
        times = []
        for _ in range(options.rounds):
            started = time.perf_counter()
            fast(everything.part(0, n))
            times.append((time.perf_counter() - started) / n)
        print(f"| {n} | {min(times):.2f} |", flush=True)


if __name__ == "__main__":
    main()
