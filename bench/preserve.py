"""What batches make of extremal perturbation and F-EP: `python -m bench.preserve WEIGHTS VIDEOS`.

WEIGHTS is a file of a clip model that `train` wrote, VIDEOS a folder of clips for it (those of `bench.motion`, say).
Beside the product stands a plain transcription, one clip and one area at a time, that does in every step what the
papers say: a smooth maximum over all cells for every pixel, the blur between two levels for every pixel, torch's SGD.
It takes all steps; so does the product where it is compared mask by mask. The transcription is compared with itself as
well, begun a thousandth beside a half: so much a search decides by chance, and no other can be nearer to it. Then the
product goes as it does, and leaves masks that are settled.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from operators.methods.extremal import Extremal, settings
from operators.methods.fep import Fep
from operators.methods.preserve import Found, Modulation, Search, search
from operators.models.running import pixels_of, placed, to_input
from operators.models.weights import load_model, spec_of
from operators.prepare import PrepareParams, prepare_video
from operators.video.keyframes import KeyframeParams

T = TypeVar("T")
_BESIDE: Final = 1e-3
_METHODS: Final = {"extremal": Extremal, "fep": Fep}


def plain(
    model: nn.Module, clip: Tensor, target: int, area: float, how: Search, modulate: Modulation | None, beside: float
) -> Tensor:
    """The mask (T, H, W) of one clip (3, T, H, W) and one area, after all steps. Written from the papers. Parameters
    begin up to `beside` from a half."""
    times, height, width = clip.shape[1:]
    step, sigma = max(round(how.step_px * width / 112), 1), how.sigma_px * width / 112
    rows, columns = math.ceil(height / step), math.ceil(width / step)
    more = math.floor((3 * sigma + step / 2) / step + 0.5)  # cells beyond the edge that reach into the picture
    along, across = (_kernel(side, n, more, step, sigma) for side, n in ((height, rows), (width, columns)))
    kernel = torch.einsum("ya,xb->yxab", along, across).flatten(2).flatten(0, 1)
    pictures, reach = (
        clip.transpose(0, 1),
        lambda deviation: min(2 * math.ceil(3 * deviation) + 1, 2 * ((width - 1) // 2) + 1),
    )
    deviations = [20.0 * width / 224 * (1 - level / 7) for level in range(7)]
    levels = torch.stack([*(gaussian_blur(pictures, [reach(d)] * 2, [d] * 2) for d in deviations), pictures])
    torch.manual_seed(0)
    parameters = (0.5 + beside * (2 * torch.rand(times, rows * columns) - 1)).requires_grad_()
    optimizer = torch.optim.SGD([parameters], lr=how.lr, momentum=0.9, dampening=0.9)
    n = times * height * width
    reference = (torch.arange(n) >= round(n - area * n)).float()

    def mask() -> Tensor:
        plane = F.pad(parameters.view(times, 1, rows, columns), (more,) * 4, mode="replicate")
        values = kernel * plane.flatten(1)[:, None, :]
        return (values * (values * 20).softmax(-1)).sum(-1).view(times, height, width)

    for index in range(how.steps):
        optimizer.zero_grad()
        now = mask()
        place = (now * 7).clamp(0, 7)
        below = place.detach().floor().clamp(max=6).long()
        share = (place - below).unsqueeze(1)
        picked = [levels.gather(0, each[None, :, None].expand(1, -1, 3, -1, -1))[0] for each in (below, below + 1)]
        shown = (picked[0] * (1 - share) + picked[1] * share).transpose(0, 1)[None]
        weight = how.weight * how.growth ** (index / how.steps) * (index > 0)
        loss = (
            -model(shown)[0].log_softmax(0)[target] + weight * (now.flatten().sort().values - reference).square().mean()
        )
        loss.backward()
        if modulate is not None:
            assert parameters.grad is not None
            grid = parameters.grad.view(1, times, rows, columns)
            parameters.grad = modulate(grid).reshape(times, rows * columns)
        optimizer.step()
        parameters.data.clamp_(0, 1)
    return mask().detach()


def _kernel(side: int, cells: int, more: int, step: int, sigma: float) -> Tensor:
    """(side, cells and `more` on both ends): 1 within a cell, a Gaussian beyond it."""
    points, middles = torch.arange(side) + 0.5, (torch.arange(-more, cells + more) + 0.5) * side / cells
    return torch.exp(-0.5 * (((points[:, None] - middles).abs() - step / 2).clamp(min=0) / sigma).square())


def whole(found: Found, size: int) -> Tensor:
    """(N, areas, T, S, S), as a mask lies over its clip."""
    masks = found.masks
    large = F.interpolate(masks.flatten(0, 1), size=(size, size), mode="bilinear", align_corners=False)
    return large.unflatten(0, masks.shape[:2])


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it gives and the seconds of processor it takes: others may be at work."""
    started = time.process_time()
    found = work()
    return found, time.process_time() - started


def pearson(a: Tensor, b: Tensor) -> list[float]:
    """Of each mask of (N, areas, ...) with its like."""
    pairs = zip(a.flatten(0, 1), b.flatten(0, 1), strict=True)
    return [float(np.corrcoef(one.flatten().numpy(), other.flatten().numpy())[0, 1]) for one, other in pairs]


def main() -> None:
    """Time and compare both methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("-n", type=int, default=8, help="clips of the product's batch")
    parser.add_argument("--plain", type=int, default=1, help="of these so many by the transcription")
    parser.add_argument("--steps", type=int, default=Extremal().steps)
    parser.add_argument("--method", action="append", choices=list(_METHODS), help="default: both")
    options = parser.parse_args()
    spec = spec_of(options.weights)
    if spec is None:
        raise SystemExit(f"{options.weights} is no file of `train`")
    model = placed(load_model(spec, options.weights), spec, torch.device("cpu")).requires_grad_(False)
    one = PrepareParams(KeyframeParams(selection="uniform", max_keyframes=1))
    files = sorted(options.videos.glob("*.mp4"))[: options.n]
    inputs = [prepare_video(str(file), one, (spec.view,))["inputs"][0]["pixels"] for file in files]
    clips = to_input(pixels_of(inputs, spec), spec)
    with torch.no_grad():
        targets = model(clips).argmax(1)
    size, cores = f"{spec.view.frames} x {spec.view.size} x {spec.view.size}", len(os.sched_getaffinity(0))
    threads = torch.get_num_threads()
    print(f"{spec.name}, clips of {size}, {len(clips)} in a batch, {cores} cores, {threads} threads, ", end="")
    print(f"{options.steps} steps, areas {Extremal().areas}")
    print("s: seconds of processor per clip; r: Pearson of masks, mean and least\n")
    columns = ("method", "plain, s", "batched, s", "times", "settled, s", "times", "r with plain", "plain with itself")
    print(f"| {' | '.join((*columns, 'r settled', 'steps taken'))} |\n|{'---|' * (len(columns) + 2)}")
    for method in (_METHODS[name](steps=options.steps) for name in options.method or _METHODS):
        modulate = method.modulated if isinstance(method, Fep) else None
        how = settings(method)

        def transcribed(beside: float, how: Search = how, modulate: Modulation | None = modulate) -> Tensor:
            some = list(zip(clips[: options.plain], targets.tolist(), strict=False))
            areas = [[plain(model, *each, area, how, modulate, beside) for area in how.areas] for each in some]
            return torch.stack([torch.stack(each) for each in areas])

        masks, plain_s = timed(lambda: transcribed(0.0))
        own = pearson(masks, transcribed(_BESIDE))
        plain_s /= options.plain
        all_steps = replace(how, settled=0.0)
        full, full_s = timed(lambda how=all_steps, modulate=modulate: search(model, clips, targets, how, modulate))
        short, short_s = timed(lambda how=how, modulate=modulate: search(model, clips, targets, how, modulate))
        full_s, short_s = full_s / len(clips), short_s / len(clips)
        ours = whole(full, spec.view.size)
        same = pearson(masks, ours[: options.plain])
        stopped = pearson(ours, whole(short, spec.view.size))
        print(
            f"| {method.name} | {plain_s:.1f} | {full_s:.2f} | {plain_s / full_s:.1f} | {short_s:.2f} | "
            f"{plain_s / short_s:.1f} | {np.mean(same):.4f}, {min(same):.4f} | {np.mean(own):.4f}, {min(own):.4f} | "
            f"{np.mean(stopped):.4f}, {min(stopped):.4f} | {float(short.steps.float().mean()):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
