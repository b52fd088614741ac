"""What maps cost and whether they hold where most footage is genuine: `python -m bench.footage`.

Held-out samples, most of them genuine, noise of genuine ones (as of `estimate --label real`), in batches of four as an
actor on processors has them. Maps with evidence and empty ones, as the reference tells them, are told apart. Times are
the processor's.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.plain import explain_one
from bench.subjects import Subject, joined, load
from operators.measures.fidelity import compare
from operators.methods.bottleneck import AT_ITS_FLOOR, PRESETS, Bottleneck, cut_for, fit
from operators.models.cut import Split

_AT_ONCE = 4


def maps(subject: Subject, cut: Split, settings: Bottleneck) -> tuple[np.ndarray, np.ndarray, float]:
    """Maps (N, H, W) in bits per pixel, which are empty (N,), and seconds of the processor for all."""
    bits, empty, started = [], [], time.process_time()
    for start in range(0, len(subject.images), _AT_ONCE):
        part = subject.part(start, start + _AT_ONCE)
        found = fit(cut, part.images, part.targets, part.mean, part.std, part.active, settings)
        bits.append(found.bits.double().numpy())
        empty.append((found.capacity.flatten(1).sum(1) <= AT_ITS_FLOOR * found.floor).numpy())
    return np.concatenate(bits), np.concatenate(empty), time.process_time() - started


def plain_s(subject: Subject) -> float:
    """Seconds of the processor for one map by the plain engine, least of two."""
    subject.model.requires_grad_(True)
    found = []
    for _ in range(2):
        started = time.process_time()
        known = subject.mean, subject.std
        explain_one(subject.model, subject.layer, subject.images[0], int(subject.targets[0]), *known)
        found.append(time.process_time() - started)
        subject.model.zero_grad(set_to_none=True)
    subject.model.requires_grad_(False)
    return min(found)


def main() -> None:
    """Print what was measured, a line of a table for each number of draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="what train left in OUT/samples")
    parser.add_argument("--layer", required=True)
    parser.add_argument("--real", type=int, default=18, help="genuine samples (default: 18)")
    parser.add_argument("--fake", type=int, default=2, help="forged samples (default: 2)")
    parser.add_argument("--draws", type=int, nargs="+", default=[2], help="of the preset fast otherwise")
    parser.add_argument("--seeds", type=int, default=2, help="reference runs")
    options = parser.parse_args()

    torch.set_num_threads(1)
    of = options.model, options.weights, options.samples, options.layer
    numbers = {"real": options.real, "fake": options.fake}
    subject = joined([load(*of, n, "cpu", label=label, noise="real") for label, n in numbers.items() if n])
    cut = cut_for(subject.model, subject.layer, subject.images[:1], PRESETS["reference"])
    runs = [maps(subject, cut, replace(PRESETS["reference"], seed=seed)) for seed in range(1, options.seeds + 1)]
    references, seconds = np.stack([bits for bits, _, _ in runs]), sum(each for _, _, each in runs)
    empty = np.asarray(np.stack([each for _, each, _ in runs]).all(0))
    plain, n = plain_s(subject), len(empty)
    print(
        f"{options.model} {options.layer}, {subject.spec.view}: {options.real} genuine and {options.fake} forged "
        f"samples, {empty.sum()} maps are empty; CPU s per map: plain engine {plain:.2f}, reference "
        f"{seconds / n / options.seeds:.2f}\n\n"
        "| draws | s per map | times the plain engine | with evidence, s | empty, s | Pearson (reference with itself) "
        "| least | IoU (reference) | bits | holds | bits of empty maps, at most |\n" + "|---" * 11 + "|",
        flush=True,
    )
    for draws in options.draws:
        settings = replace(PRESETS["fast"], draws=draws)
        cut = cut_for(subject.model, subject.layer, subject.images[:1], settings)
        found, _, seconds = maps(subject, cut, settings)
        each = [
            maps(subject.of(which), cut, settings)[2] / which.sum() if which.any() else 0 for which in (~empty, empty)
        ]
        line = [f"{draws}", f"{seconds / n:.3f}", f"{plain * n / seconds:.1f}", *(f"{one:.3f}" for one in each)]
        if (~empty).sum() > 1:
            held = compare(found[~empty], references[:, ~empty])
            line += [f"{held.pearson:.4f} ({held.own_pearson:.4f})", f"{held.pearson_least:.4f}"]
            line += [f"{held.iou:.3f} ({held.own_iou:.3f})", f"{held.bits:+.1%} ({held.bits_error:.1%})"]
            line += ["yes" if held.holds else "no"]
        else:
            line += [""] * 5
        totals = found.sum((1, 2)) / references.mean(0).sum((1, 2)) - 1
        line += [f"{totals[empty].mean():+.2%}, {np.abs(totals[empty]).max():.2%}" if empty.any() else ""]
        print("| " + " | ".join(line) + " |", flush=True)


if __name__ == "__main__":
    main()
