"""Per-sample Information Bottleneck Attribution as a method, and its readout form."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from operators.methods import choice, statistics
from operators.methods.bottleneck import AT_ITS_FLOOR, PRESETS, Bottleneck, Explanation, Noise, fit, prepared
from operators.methods.gradients import of_time
from operators.methods.method import CHOICE, LAYER, READOUT, STATISTICS, Maps, Outputs, Place
from operators.methods.readout import Readout, least_bits, load
from operators.models.cut import Split


@dataclass(frozen=True)
class Site:
    """A cut model with the statistics (C, h, w), of clips (C, t, h, w), of the layer's output, on its device."""

    layer: str
    cut: Split
    mean: Tensor
    std: Tensor
    active: Tensor
    noise: Noise

    @classmethod
    def of(cls, place: Place, bottleneck: Bottleneck) -> "Site":
        """The place cut as the bottleneck wants it, with the statistics in its file."""
        known = statistics.load(place.files[STATISTICS])
        device = place.example.device
        mean, std, active = known.mean.float().to(device), known.std().to(device), known.active().to(device)
        assert place.cut is not None, "a bottleneck needs a layer"
        return cls(place.layer, prepared(place.cut, place.example, bottleneck), mean, std, active, Noise(mean, std))

    def fit(
        self, inputs: Tensor, targets: Tensor, outputs: Outputs, bottleneck: Bottleneck, start: Tensor | None
    ) -> Explanation:
        """`bottleneck.fit` here."""
        known = (self.mean, self.std, self.active)
        return fit(self.cut, inputs, targets, *known, bottleneck, start, outputs.crossings[self.layer], self.noise)


@dataclass(frozen=True)
class Iba:
    """The bottleneck is fitted anew for every sample (VIBA section 3.3); with `auto`, as the place's choice says."""

    name: ClassVar[str] = "iba"
    unit: ClassVar[str] = "bits per pixel"

    bottleneck: Bottleneck = field(default=PRESETS["fast"])

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LAYER, STATISTICS} | ({READOUT} if self.bottleneck.start == "readout" else set()))

    def ready(self, place: Place) -> "_ReadyIba":
        readout = load(place.files[READOUT]).to(place.example.device) if READOUT in self.needs else None
        bottleneck = self.bottleneck
        if bottleneck.auto:
            bottleneck = replace(bottleneck, draws=choice.load(place.files[CHOICE]).draws)
        return _ReadyIba(Site.of(place, bottleneck), bottleneck, readout)


@dataclass(frozen=True)
class _ReadyIba:
    site: Site
    bottleneck: Bottleneck
    readout: Readout | None

    @property
    def reads(self) -> tuple[str, ...]:
        return self.readout.layers if self.readout is not None else ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        with torch.no_grad():
            start = None if self.readout is None else self.readout(outputs.layers)
        return maps_of(self.site.fit(inputs, targets, outputs, self.bottleneck, start), inputs)


@dataclass(frozen=True)
class ReadoutIba:
    """A trained readout predicts the bottleneck from a plain pass (Schulz et al. 2020, section 3.2)."""

    name: ClassVar[str] = "readout"
    unit: ClassVar[str] = "bits per pixel"

    bottleneck: Bottleneck = field(default=PRESETS["fast"])

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({LAYER, STATISTICS, READOUT})

    def ready(self, place: Place) -> "_ReadyReadout":
        once = replace(self.bottleneck, steps=1)
        return _ReadyReadout(Site.of(place, once), once, load(place.files[READOUT]).to(place.example.device))


@dataclass(frozen=True)
class _ReadyReadout:
    site: Site
    bottleneck: Bottleneck
    readout: Readout

    @property
    def reads(self) -> tuple[str, ...]:
        return self.readout.layers

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        with torch.no_grad():
            start = self.readout(outputs.layers)
            r, _ = outputs.crossings[self.site.layer]
            floor = least_bits(r, self.site.mean, self.site.std, self.site.active)
        found = self.site.fit(inputs, targets, outputs, self.bottleneck, start)
        maps = maps_of(replace(found, floor=floor), inputs)  # not the fit's own, which is where the readout begins it
        # without a step there is but one pass, and its loss is the last
        return replace(maps, figures={name: each for name, each in maps.figures.items() if name != "loss_first"})


def maps_of(found: Explanation, inputs: Tensor) -> Maps:
    """What a fit found, in bits per input pixel at the layer's size; empty where no more than the floor passes.

    A clip has a map for each of the layer's cells of time, and its pixels are those of all its pictures.
    """
    cells_per_pixel = found.capacity.shape[1:].numel() / inputs.shape[2:].numel()
    total = found.capacity.double().flatten(1).sum(1)
    figures = {
        "total_bits": total,
        "floor_bits": found.floor.double(),
        "loss_first": found.loss_before,
        "loss_last": found.loss_after,
        "evaluations": found.evaluations,
    }
    saliency = found.capacity.clamp(min=0) * cells_per_pixel  # rounding can go below 0
    empty = total <= AT_ITS_FLOOR * found.floor.double()
    return Maps(of_time(saliency), figures, empty, found.logits, found.probabilities)
