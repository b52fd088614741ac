"""Masks that keep a class: their mathematics against plain ones, and a planted patch that they find."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.fft import dctn, idctn
from torch import Tensor, nn

from operators.methods.extremal import Extremal, settings
from operators.methods.fep import Fep, dct, weights
from operators.methods.preserve import Perturbation, out_of_area, search
from operators.methods.upsampling import Upsampling, _SmoothMaximum

SMALL = {"areas": (0.1, 0.2), "steps": 60, "settled": 0.0, "step_px": 14, "sigma_px": 9.0}


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Patch(nn.Module):
    """Class 1 is how much red there is where `where` (T, H, W) says, class 0 a constant."""

    def __init__(self, where: Tensor) -> None:
        super().__init__()
        self.register_buffer("where", where / where.sum())

    def forward(self, x: Tensor) -> Tensor:
        red = (x[:, 0] * self.where).sum((1, 2, 3))
        return torch.stack([torch.full_like(red, 0.5), red], 1) * 12


def moving(frames: int = 4, size: int = 32, side: int = 8) -> Tensor:
    """A patch that goes from the upper left to the lower right."""
    where = torch.zeros(frames, size, size)
    for frame in range(frames):
        at = round(frame * (size - side) / (frames - 1))
        where[frame, at : at + side, at : at + side] = 1
    return where


def clips(where: Tensor, n: int = 1) -> Tensor:
    noise = torch.rand(n, 3, *where.shape, generator=torch.Generator().manual_seed(0)) * 0.2
    noise[:, 0] += where
    return noise


def test_the_dct_is_scipys():
    values = np.random.default_rng(0).normal(size=(4, 7, 5))
    ours = np.einsum("at,by,cx,tyx->abc", *(dct(side).numpy() for side in values.shape), values)
    np.testing.assert_allclose(ours, dctn(values, type=2, norm="ortho"), atol=1e-12)


@pytest.mark.parametrize("window", ["box", "gaussian"])
def test_a_modulated_gradient_is_scipys_low_pass_and_keeps_its_mean(window):
    gradient = torch.randn(2, 6, 9, 8, generator=torch.Generator().manual_seed(0))
    method = Fep(keep_time=0.34, keep_space=0.3, window=window)
    keep = [weights(side, share, window).numpy() for side, share in ((6, 0.34), (9, 0.3), (8, 0.3))]
    expected = [
        idctn(dctn(each.numpy(), norm="ortho") * np.einsum("a,b,c->abc", *keep), norm="ortho") for each in gradient
    ]
    found = method.modulated(gradient)
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=1e-5)
    torch.testing.assert_close(found.mean((1, 2, 3)), gradient.mean((1, 2, 3)), rtol=1e-4, atol=1e-6)
    assert float(found.diff(dim=1).abs().mean()) < float(gradient.diff(dim=1).abs().mean())
    torch.testing.assert_close(Fep(keep_time=1, keep_space=1).modulated(gradient), gradient, rtol=1e-4, atol=1e-5)


def test_keeping_all_frequencies_is_extremal_perturbation_step_by_step():
    where = moving()
    model = Patch(where)
    for steps in (1, 2, 7, 20):
        plain = search(model, clips(where), torch.tensor([1]), settings(Extremal(**SMALL | {"steps": steps})))
        whole = Fep(**SMALL | {"steps": steps}, keep_time=1.0, keep_space=1.0)
        same = search(model, clips(where), torch.tensor([1]), settings(whole), whole.modulated)
        torch.testing.assert_close(same.masks, plain.masks, rtol=1e-4, atol=1e-4)


def test_a_mask_of_ones_shows_all_and_one_cell_a_smooth_spot():
    up = Upsampling(32, 48, 7, 4.0, torch.device("cpu"))
    assert up.cells == (5, 7)
    assert up.lattice == (10, 14)
    ones = torch.ones(1, 2, 5, 7)
    torch.testing.assert_close(up(ones), torch.ones(1, 2, 10, 14), rtol=0.02, atol=0.02)
    assert up(torch.zeros(1, 2, 5, 7)).abs().max() == 0
    spot = torch.zeros(1, 1, 5, 7)
    spot[..., 2, 3] = 1
    mask = up(spot)[0, 0]
    assert mask[4:6, 6:8].min() > 0.95
    assert mask[4, 6] > mask[4, 4] > mask[4, 2] > mask[4, 0]
    # the plain transcription: every point against every cell, and those that go on beyond the edge
    along, across = (
        torch.exp(-0.5 * (((points[:, None] - middles).abs() - 3.5).clamp(min=0) / 4).square())
        for points, middles in (
            ((torch.arange(2 * n) + 0.5) * side / (2 * n), (torch.arange(-2, n + 2) + 0.5) * side / n)
            for side, n in ((32, 5), (48, 7))
        )
    )
    parameters = torch.rand(5, 7, generator=torch.Generator().manual_seed(0))
    plane = F.pad(parameters[None], (2, 2, 2, 2), mode="replicate")[0]
    values = torch.einsum("ya,xb,ab->yxab", along, across, plane).flatten(2)
    for share in (1.0, 0.2):
        expected = (values * share * (values * share * 20).softmax(-1)).sum(-1)
        # what a cell has beyond its reach of three deviations is a hundredth
        torch.testing.assert_close(up(share * parameters[None, None])[0, 0], expected, rtol=0.02, atol=2e-3)


def test_a_uniform_mask_has_no_largest_place():
    """What is sorted by size would else begin with it, whatever the model says."""
    up = Upsampling(56, 56, 4, 5.5, torch.device("cpu"))
    for value in (0.05, 0.5, 0.9):
        mask = up(torch.full((1, 1, 14, 14), value))
        assert mask.max() - mask.min() < 0.02 * mask.mean()
        corner, middle = mask[0, 0, :2, :2], mask[0, 0, 12:14, 12:14]
        torch.testing.assert_close(corner, middle)


def test_the_gradient_of_the_smooth_maximum_is_that_of_its_differences():
    generator = torch.Generator().manual_seed(0)
    around = torch.rand(2, 5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(5, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda each: _SmoothMaximum.apply(each, weight, 9), around)


def test_what_hides_is_the_mean_colour_or_the_stronger_blur():
    pixels = torch.rand(2, 3, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    for kind in ("fade", "blur"):
        hide = Perturbation(pixels, kind)
        rows = torch.tensor([1, 0])
        torch.testing.assert_close(hide(rows, torch.ones(2, 2, 16, 16)), pixels[rows])
        spread = [hide(rows, torch.full((2, 2, 16, 16), share)).std((3, 4)).mean() for share in (0.0, 0.3, 0.7, 1.0)]
        assert spread == sorted(spread)
    hidden = Perturbation(pixels, "fade")(torch.tensor([0]), torch.zeros(1, 2, 16, 16))
    torch.testing.assert_close(hidden, pixels[:1].mean((2, 3, 4), keepdim=True).expand_as(hidden))


@pytest.mark.parametrize("kind", ["fade", "blur"])
def test_the_gradient_of_what_hides_is_that_of_its_differences(kind):
    generator = torch.Generator().manual_seed(0)
    hide = Perturbation(torch.rand(2, 3, 1, 8, 8, generator=generator, dtype=torch.float64), kind)
    masks = torch.rand(3, 1, 8, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    which = torch.tensor([1, 0, 1])
    assert torch.autograd.gradcheck(lambda each: hide(which, each), masks)
    # what is wholly shown or hidden has the slope of what is nearly so
    ends = [torch.full((3, 1, 8, 8), end, dtype=torch.float64, requires_grad=True) for end in (0, 1e-9, 1, 1 - 1e-9)]
    slopes = [torch.autograd.grad(hide(which, end).square().sum(), end)[0] for end in ends]
    torch.testing.assert_close(slopes[0], slopes[1])
    torch.testing.assert_close(slopes[2], slopes[3])


def test_out_of_area_is_nought_for_the_very_share_and_of_each_frame_where_told():
    masks = torch.zeros(1, 2, 5, 4)
    masks[0, 0, :2] = 1  # 8 of 40, all in the first of two frames
    area = torch.tensor([0.2])
    assert out_of_area(masks, area, "volume") == 0
    assert out_of_area(masks, area, "frame") == pytest.approx((4 + 4) / 40)
    assert out_of_area(masks, torch.tensor([0.3]), "volume") == pytest.approx(4 / 40)


@pytest.mark.parametrize("constraint", ["volume", "frame"])
@pytest.mark.parametrize("perturbation", ["blur", "fade"])
def test_a_planted_moving_patch_is_found_and_the_area_is_kept(constraint, perturbation):
    where = moving()
    model = Patch(where)
    method = Extremal(**SMALL | {"steps": 150, "constraint": constraint, "perturbation": perturbation})
    found = search(model, clips(where), torch.tensor([1]), settings(method))
    for mask, area in zip(found.masks[0], SMALL["areas"], strict=True):
        assert float(mask.mean()) == pytest.approx(area, abs=0.03)
        if constraint == "frame":
            np.testing.assert_allclose(mask.mean((1, 2)), area, atol=0.03)
    if perturbation == "fade":  # a blur leaves a red patch of eight pixels where it was
        truth = F.adaptive_avg_pool2d(where[None], found.masks.shape[-2:])[0]
        heat = found.masks[0].mean(0)
        inside = float((heat * truth).sum() / heat.sum())
        assert inside > 5 * float(truth.mean())  # the patch is a sixteenth


def test_rows_do_not_see_each_other_and_a_settled_mask_stays():
    where = moving()
    model = Patch(where)
    both = torch.cat([clips(where), clips(where.flip(2)).mul(0.8)])
    targets = torch.tensor([1, 0])
    method = Extremal(**SMALL)
    together = search(model, both, targets, settings(method))
    alone = search(model, both[1:], targets[1:], settings(method))
    torch.testing.assert_close(together.masks[1:], alone.masks, rtol=1e-3, atol=1e-3)
    assert (together.steps == 60).all()
    long = settings(Extremal(**SMALL | {"steps": 300}))
    early = settings(Extremal(**SMALL | {"steps": 300, "settled": 0.002}))
    whole, short = (search(model, both[:1], targets[:1], each) for each in (long, early))
    assert int(short.steps.max()) < 300
    r = np.corrcoef(whole.masks.flatten().numpy(), short.masks.flatten().numpy())[0, 1]
    assert r > 0.98


def test_low_frequencies_make_a_mask_smoother_in_time():
    where = moving(frames=8)
    where = where * (torch.arange(8) % 2 == 0)[:, None, None]  # every second frame says nothing
    model = Patch(where)
    few = SMALL | {"steps": 80}
    plain = search(model, clips(where), torch.tensor([1]), settings(Extremal(**few)))
    method = Fep(**few, keep_time=0.3, keep_space=1.0)
    low = search(model, clips(where), torch.tensor([1]), settings(method), method.modulated)
    step = [float(each.masks.diff(dim=2).abs().mean()) for each in (plain, low)]
    assert step[1] < 0.7 * step[0]
