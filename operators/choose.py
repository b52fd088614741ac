"""How many noise draws the layers of a detector need: some samples are fitted by the reference, too."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from operators.measures.fidelity import Fidelity, compare
from operators.methods.bottleneck import PRESETS, Bottleneck
from operators.methods.choice import Choice
from operators.methods.iba import Iba
from operators.methods.method import Outputs, Place
from operators.models.activations import read
from operators.models.cut import split_all
from operators.models.precision import tf32
from operators.models.running import pixels_of, placed, to_input
from operators.models.weights import Detector

#: samples with evidence that are compared, and among how many they are looked for
SAMPLES: Final = 6
CANDIDATES: Final = 32
#: draws that are tried, one after the other, where those of the settings do not hold
_MORE_DRAWS: Final = (4, 6, 10)
_SEEDS: Final = 2


def choose(
    detector: Detector,
    bottleneck: Bottleneck,
    files: Mapping[str, Mapping[str, Path]],
    pixels: Sequence[bytes],
    at_once: int,
    threads: int,
) -> dict[str, Choice]:
    """The fewest draws with which `bottleneck` holds fidelity at each layer of `files`, the files that methods need.

    `pixels` are inputs of the detector, (S, S, 3) bytes each; they are explained for the class that it predicts,
    `at_once` together. Only those whose map is not empty are compared, of all predicted classes in turn.
    """
    if threads:
        torch.set_num_threads(threads)
    samples = _Samples(detector, tuple(files), pixels, at_once)
    return {layer: _choice(samples, layer, replace(bottleneck, auto=False), given) for layer, given in files.items()}


class _Samples:
    """Inputs of a detector that is cut at `layers`, with the class it predicts of each."""

    def __init__(self, detector: Detector, layers: tuple[str, ...], pixels: Sequence[bytes], at_once: int) -> None:
        self._spec, self._at_once = detector.spec, at_once
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = placed(detector.load(), self._spec, device).requires_grad_(False)
        self._images = to_input(pixels_of(pixels, self._spec), self._spec, device)
        self._plain, self._cuts = split_all(self._model, layers, self._images[:1], self._spec.layout)
        with torch.no_grad(), tf32(False):
            self.predicted = [int(self._model(each[None]).argmax()) for each in self._images]

    def maps(
        self, layer: str, settings: Bottleneck, files: Mapping[str, Path], chosen: Sequence[int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Saliency (N, h, w) float64 of the chosen samples, cells of time below each other, and which maps are empty
        (N,)."""
        place = Place(self._spec, self._model, layer, self._images[:1], self._cuts[layer], files)
        ready = Iba(settings).ready(place)
        together = max(self._at_once * PRESETS["fast"].draws // settings.draws, 1)  # no more rows than in a run
        parts = []
        for some in torch.tensor(chosen, device=self._images.device).split(together):
            inputs = self._images[some]
            targets = torch.tensor([self.predicted[i] for i in some.tolist()], device=inputs.device)
            with torch.no_grad(), tf32(False):
                _, crossings = self._plain(inputs)
                layers = read(self._model, ready.reads, inputs, self._spec.layout) if ready.reads else {}
            parts.append(ready.run(inputs, targets, Outputs(layers, crossings)))
        saliency = torch.cat([each.saliency.flatten(1, 2).double().cpu() for each in parts])
        return saliency.numpy(), np.concatenate([each.empty.cpu().numpy() for each in parts if each.empty is not None])


def _choice(samples: _Samples, layer: str, bottleneck: Bottleneck, files: Mapping[str, Path]) -> Choice:
    first, empty = samples.maps(layer, bottleneck, files, range(len(samples.predicted)))
    chosen = _in_turn(np.flatnonzero(~empty).tolist(), samples.predicted)[:SAMPLES]
    if len(chosen) < 2:
        return Choice(bottleneck.draws, why=f"{len(chosen)} of {len(empty)} samples have evidence, too few to compare")
    kept = {name: getattr(bottleneck, name) for name in ("beta", "steps", "lr", "smooth_sigma", "start")}
    published = replace(PRESETS["reference"], **kept)
    seeds = range(bottleneck.seed + 1, bottleneck.seed + 1 + _SEEDS)
    references = np.stack([samples.maps(layer, replace(published, seed=seed), files, chosen)[0] for seed in seeds])
    tried: list[tuple[int, Fidelity]] = []
    for draws in (bottleneck.draws, *(each for each in _MORE_DRAWS if each > bottleneck.draws)):
        found = samples.maps(layer, replace(bottleneck, draws=draws), files, chosen)[0] if tried else first[chosen]
        tried.append((draws, compare(found, references)))
        if tried[-1][1].surely:
            break
    surely = [draws for draws, fidelity in tried if fidelity.surely]
    holding = [draws for draws, fidelity in tried if fidelity.holds]
    draws = (surely or holding or [tried[-1][0]])[0]
    figures: list[dict[str, Any]] = [
        {"draws": draws, "samples": len(chosen)} | asdict(fidelity) for draws, fidelity in tried
    ]
    return Choice(draws, bool(holding), None, tuple(figures))


def _in_turn(samples: Sequence[int], classes: Sequence[int]) -> list[int]:
    """The samples in another order: one of each class, then the next of each."""
    by_class = {each: [i for i in samples if classes[i] == each] for each in sorted(set(classes))}
    return sorted(samples, key=lambda i: (by_class[classes[i]].index(i), classes[i]))
