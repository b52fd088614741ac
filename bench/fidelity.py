"""Whether faster maps are the same maps: `python -m bench.fidelity`.

What it means to hold fidelity: operators/measures/fidelity.py.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.plain import explain_one
from bench.subjects import Subject, add_subject, chosen
from operators.measures.fidelity import compare
from operators.methods.bottleneck import Bottleneck, cut_for, fit
from pipelines.config import fill

REFERENCE = Bottleneck()


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
    parser.add_argument("--layer", action="append", required=True)
    parser.add_argument("--settings", action="append", default=[], help='JSON, such as {"draws": 2}; may be repeated')
    parser.add_argument("-n", type=int, default=32, help="samples")
    parser.add_argument("--seeds", type=int, default=16)
    add_subject(parser)
    options = parser.parse_args()
    for layer in options.layer:
        subject = chosen(options, layer, options.n)
        references = reference_maps(subject, options.seeds, options.cache)
        for text in options.settings:
            values = json.loads(text)
            started = time.process_time()
            found = maps(subject, fill(REFERENCE, values, "--settings"))
            seconds = (time.process_time() - started) / options.n
            line = {"model": options.model, "layer": layer, "cpu_s_per_map": round(seconds, 3)} | values
            fidelity = compare(found, references)
            figures = {name: round(value, 5) for name, value in asdict(fidelity).items()}
            print(json.dumps(line | figures | {"holds": fidelity.holds}), flush=True)


if __name__ == "__main__":
    main()
