"""LIME (Ribeiro et al. 2016) on SLIC segments (Achanta et al. 2012)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Le
from skimage.segmentation import slic
from torch import Tensor

from operators.methods import grid, hidden
from operators.methods.method import PICTURE, STILL, Maps, Outputs, Place, evaluations
from operators.methods.seeds import generator
from schemas.params import Seed, checked


@checked
class Lime:
    """The weight of each segment in a linear model of the class's probability, fitted around the input.

    About `segments` segments of even size (SLIC with slic_zero, of the picture the input was cut from), `samples`
    inputs in which each is hidden behind its own mean colour with probability .5, the first with none hidden. Samples
    weigh exp(-d^2 / 2 `width`^2), d the cosine distance to the whole input, and the fit is a ridge regression with
    penalty `ridge` and an intercept: what the authors' own code does for pictures. Signed; a cell (`grid`) has the mean
    of its pixels' segments.
    """

    name: ClassVar[str] = "lime"
    unit: ClassVar[str] = "probability"

    samples: Annotated[int, Ge(2), Le(100_000)] = 200
    segments: Annotated[int, Ge(2), Le(1000)] = 50
    width: Annotated[float, Gt(0), Le(10)] = 0.25
    ridge: Annotated[float, Gt(0), Le(1000)] = 1.0
    seed: Seed = 0

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({PICTURE, STILL})

    def ready(self, place: Place) -> "_Ready":
        return _Ready(self, place)

    def design(self, n_segments: int) -> Tensor:
        """(samples, n_segments) float32 of 0 and 1: what each sample shows."""
        shown = torch.rand(self.samples, n_segments, generator=generator(self.seed, self.name)) < 0.5
        shown[0] = True
        return shown.float()

    def weights(self, shown: Tensor, n_segments: Tensor) -> Tensor:
        """(N, samples) float64 of designs (N, samples, K), of which each has `n_segments` (N,) columns."""
        distance = 1 - (shown.double().sum(2) / n_segments[:, None]).sqrt()
        return torch.exp(-0.5 * (distance / self.width).square())


@dataclass(frozen=True)
class _Ready:
    method: Lime
    place: Place
    reads: tuple[str, ...] = ()

    def run(self, inputs: Tensor, targets: Tensor, outputs: Outputs) -> Maps:
        model, device = self.place.model, inputs.device
        segments = [segmented(each, self.method.segments) for each in outputs.rgb(inputs, self.place.spec).cpu()]
        counts = torch.tensor([int(each.max()) + 1 for each in segments])
        fill = torch.stack([_mean_colours(*each) for each in zip(inputs.cpu(), segments, strict=True)]).to(device)
        # columns of segments that a sample has not are 0, and so are their weights
        shown = torch.zeros(len(inputs), self.method.samples, int(counts.max()))
        for each, n in zip(shown, counts.tolist(), strict=True):
            each[:, :n] = self.method.design(n)
        where, design = torch.stack(segments).to(device), shown.to(device)
        parts = []
        for part in hidden.chunks(self.method.samples, len(inputs)):
            masks = torch.stack([each[part][:, places] for each, places in zip(design, where, strict=True)])
            parts.append(hidden.of_class(hidden.ask(model, inputs, masks, fill).softmax(2), targets))
        scores = torch.cat(parts, 1).double().cpu()
        found = ridge(shown.double(), scores, self.method.weights(shown, counts), self.method.ridge).to(device)
        pixels = torch.stack([each[places] for each, places in zip(found.float(), where, strict=True)])
        return Maps(grid.means(pixels).unsqueeze(1), evaluations(inputs, self.method.samples))


def segmented(rgb: Tensor, n_segments: int) -> Tensor:
    """(H, W) int64, the segment of each pixel of a picture (3, H, W) in [0, 1], from 0 without gaps."""
    labels = slic(rgb.permute(1, 2, 0).double().numpy(), n_segments, slic_zero=True, start_label=0, channel_axis=-1)
    return torch.from_numpy(np.unique(labels, return_inverse=True)[1].reshape(labels.shape))


def ridge(design: Tensor, scores: Tensor, weights: Tensor, penalty: float) -> Tensor:
    """(N, K) coefficients b of min sum_i w_i (y_i - a - x_i b)^2 + penalty |b|^2; the intercept a is free.

    design (N, M, K), scores and weights (N, M), float64: one solve for the whole batch.
    """
    weights = weights.unsqueeze(2)
    total = weights.sum(1, keepdim=True)
    centred = design - (weights * design).sum(1, keepdim=True) / total
    turned = (weights * centred).transpose(1, 2)
    left = turned @ centred + penalty * torch.eye(design.shape[2], dtype=design.dtype)
    # what is centred on one side needs not be on the other
    return torch.linalg.solve(left, turned @ scores.unsqueeze(2)).squeeze(2)


def _mean_colours(pixels: Tensor, segments: Tensor) -> Tensor:
    """(3, H, W): each pixel of (3, H, W) replaced by the mean of its segment."""
    flat = segments.flatten().numpy()
    sizes = np.bincount(flat)
    means = [np.bincount(flat, channel.flatten().numpy()) / sizes for channel in pixels]
    return torch.from_numpy(np.stack(means)[:, segments.numpy()]).float()
