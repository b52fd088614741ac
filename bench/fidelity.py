"""Whether faster maps are the same maps: `python -m bench.fidelity`.

M is the mean map of the reference settings (10 draws, 10 passes, float32) over several seeds. Settings hold fidelity
when their Pearson correlation with M is at least .999 on average and .995 on every sample, the overlap (IoU) of the
hottest 10 % is within .02 of what a single reference run reaches, and the total bits are within 3 %.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from bench.plain import explain_one
from bench.subjects import Subject, load
from operators.methods.bottleneck import Bottleneck, cut_for, fit
from pipelines.config import fill

REFERENCE = Bottleneck()
HOTTEST = 0.1


def maps(subject: Subject, settings: Bottleneck, rows: int = 32) -> np.ndarray:
    """(N, H, W) float64 bits per pixel; so many rows (samples times draws) go through the network together."""
    parts, batch = [], max(rows // settings.draws, 1)
    cut = cut_for(subject.model, subject.layer, subject.images[:1], settings)
    for start in range(0, len(subject.images), batch):
        part = subject.part(start, start + batch)
        found = fit(cut, part.images, part.targets, subject.mean, subject.std, subject.active, settings)
        parts.append(found.bits.double().cpu().numpy())
    return np.concatenate(parts)


def reference_maps(subject: Subject, seeds: int, cache: Path) -> np.ndarray:
    """(seeds, N, H, W): the reference settings with seeds 1, 2, ...; kept in `cache`, one file per seed."""
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for seed in range(1, seeds + 1):
        path = cache / f"{subject.spec.name}-{subject.spec.view.size}-{subject.layer}-{len(subject.images)}-{seed}.npy"
        if not path.is_file():
            started = time.perf_counter()
            np.save(path, maps(subject, Bottleneck(seed=seed)).astype(np.float32))
            print(f"{path.name}: {time.perf_counter() - started:.0f} s", flush=True)
        found.append(np.load(path).astype(np.float64))
    return np.stack(found)


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of each of N maps (N, H, W) with its partner, (N,)."""
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(1, keepdims=True) for x in (a, b))
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of the hottest 10 % of each of N maps (N, H, W) with its partner's, (N,)."""
    hot = [x.reshape(len(x), -1) >= np.quantile(x.reshape(len(x), -1), 1 - HOTTEST, axis=1)[:, None] for x in (a, b)]
    return (hot[0] & hot[1]).sum(1) / (hot[0] | hot[1]).sum(1)


def compare(found: np.ndarray, references: np.ndarray) -> dict[str, float | bool]:
    """The fidelity of maps (N, H, W) against reference maps (seeds, N, H, W), seeds that `found` did not use.

    The overlap is taken with the mean of all seeds but one, for `found` as for the seed left out.
    """
    mean = references.mean(0)
    correlation = pearson(found, mean)
    ours, single = [], []
    for left_out in range(len(references)):
        others = np.delete(references, left_out, 0).mean(0)
        ours.append(overlap(found, others).mean())
        single.append(overlap(references[left_out], others).mean())
    bits = found.sum((1, 2)) / mean.sum((1, 2)) - 1
    result = {
        "pearson": float(correlation.mean()),
        "pearson_least": float(correlation.min()),
        "iou": float(np.mean(ours)),
        "iou_of_one_reference_run": float(np.mean(single)),
        "bits": float(bits.mean()),
        "bits_most": float(np.abs(bits).max()),
    }
    held = (
        result["pearson"] >= 0.999
        and result["pearson_least"] >= 0.995
        and result["iou"] >= result["iou_of_one_reference_run"] - 0.02
        and abs(result["bits"]) <= 0.03
    )
    return result | {"holds": bool(held)}


def difference_from_plain(subject: Subject) -> float:
    """Largest difference between the reference settings' capacity and the plain engine's on one sample, relative to
    the largest value; the same noise."""
    part = subject.part(0, 1)
    found = fit(subject.cut, part.images, part.targets, subject.mean, subject.std, None, REFERENCE).capacity[0]
    plain = explain_one(subject.model, subject.layer, part.images[0], int(part.targets[0]), subject.mean, subject.std)
    return float((found - plain).abs().max() / plain.abs().max())


def main() -> None:
    """One line of JSON per layer and settings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", type=Path, help="trained weights; none: untrained, which measures little")
    parser.add_argument("--samples", type=Path, required=True, help="what train left in OUT/samples")
    parser.add_argument("--layer", action="append", required=True)
    parser.add_argument("--settings", action="append", default=[], help='JSON, such as {"draws": 2}; may be repeated')
    parser.add_argument("-n", type=int, default=32, help="samples")
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps reference maps")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    options = parser.parse_args()
    for layer in options.layer:
        subject = load(options.model, options.weights, options.samples, layer, options.n, options.device)
        references = reference_maps(subject, options.seeds, options.cache)
        for text in options.settings:
            values = json.loads(text)
            started = time.process_time()
            found = maps(subject, fill(REFERENCE, values, "--settings"))
            seconds = (time.process_time() - started) / options.n
            line = {"model": options.model, "layer": layer, "cpu_s_per_map": round(seconds, 3)} | values
            print(json.dumps(line | {k: round(v, 5) for k, v in compare(found, references).items()}), flush=True)


if __name__ == "__main__":
    main()
