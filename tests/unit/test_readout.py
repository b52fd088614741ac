"""The readout bottleneck learns where a planted patch is, begins where per-sample IBA begins, and keeps in a file."""

import copy
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from operators.inputs.view import View
from operators.methods import readout as readouts
from operators.methods import statistics
from operators.methods.bottleneck import ALPHA_START, Bottleneck, Explanation, fit
from operators.methods.iba import ReadoutIba
from operators.methods.method import READOUT, STATISTICS, Outputs, Place
from operators.methods.readout import Readout, ReadoutParams, Site
from operators.models.activations import LOGITS, read
from operators.models.cut import split
from operators.models.running import to_input
from operators.models.spec import XCEPTION, spec_for
from operators.models.weights import Detector, digest, load_model, save_model
from pipelines import config as configs
from pipelines.errors import UserError
from pipelines.train_readout import train_readout
from schemas.records import SAMPLE

SIDE, PATCH = 16, 4
PARAMS = ReadoutParams(epochs=12, learning_rate=3e-3, beta=1.0)
HOW = Bottleneck(beta=PARAMS.beta, smooth_sigma=PARAMS.smooth_sigma)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """The networks are too small to be shared among threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Spot(nn.Module):
    """The class is the sign of the brightest or darkest place, wherever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        box = torch.ones(3, 3) / 3
        self.layer.weight.data = torch.stack([box, -box, box / 2, -box / 2]).unsqueeze(1)
        self.deep = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        strongest = self.deep(torch.relu(self.layer(x))).amax((2, 3))
        return 2 * strongest[:, [1, 0]]


def pictures(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Noise with a patch that decides, and the patch's upper left corners (n, 2)."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 1, SIDE, SIDE, generator=generator) / 2
    corners = torch.randint(1, SIDE - PATCH, (n, 2), generator=generator)
    signs = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
    for image, (row, column), sign in zip(images, corners.tolist(), signs, strict=True):
        image[0, row : row + PATCH, column : column + PATCH] += 2 * sign
    return images, corners


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return Spot().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def known(model) -> dict[str, statistics.LayerStatistics]:
    return {
        name: statistics.of_batch(each) for name, each in read(model, ["layer", "deep"], pictures(256, 0)[0]).items()
    }


@pytest.fixture(scope="module")
def site(model, known) -> Site:
    of_layer = known["layer"]
    cut = split(model, "layer", pictures(1, 0)[0])
    return Site(model, cut, of_layer.mean.float(), of_layer.std(), of_layer.active())


@pytest.fixture(scope="module")
def trained(known, site) -> Readout:
    readout = readouts.make(known, "layer", PARAMS.seed)
    optimizer = torch.optim.Adam(readout.network.parameters(), lr=PARAMS.learning_rate)
    images, noise = pictures(256, 0)[0], torch.Generator().manual_seed(0)
    for _ in range(PARAMS.epochs):
        for batch in images.split(PARAMS.batch_size):
            optimizer.zero_grad()
            readouts.loss(readout, site, batch, PARAMS, noise).mean().backward()
            optimizer.step()
    return readout.requires_grad_(False)


def explained(readout: Readout, site: Site, images: Tensor, steps: int) -> Explanation:
    outputs = read(site.model, (*readout.layers, LOGITS), images)
    how = Bottleneck(beta=HOW.beta, steps=steps)
    targets = outputs[LOGITS].argmax(1)
    return fit(site.cut, images, targets, site.mean, site.std, site.active, how, readout(outputs))


def test_untrained_it_is_where_the_per_sample_fit_begins(known, site):
    readout = readouts.make(known, "layer", 0).requires_grad_(False)
    images = pictures(4, 2)[0]
    alpha = readout(read(site.model, readout.layers, images))
    assert torch.equal(alpha, torch.full((4, 4, SIDE, SIDE), ALPHA_START))
    targets = site.model(images).argmax(1)
    expected = fit(site.cut, images, targets, site.mean, site.std, site.active, HOW)
    found = explained(readout, site, images, HOW.steps)
    for name in ("bits", "loss_before", "loss_after", "logits"):
        assert torch.equal(getattr(found, name), getattr(expected, name))


def test_held_out_samples_lose_less_and_their_maps_point_at_the_patch(known, site, trained):
    images, corners = pictures(64, 1)
    untrained = readouts.make(known, "layer", 0)
    before, after = (readouts.validate(each, site, images, PARAMS).mean() for each in (untrained, trained))
    assert after < before / 10
    bits = explained(trained, site, images, steps=1).bits
    hits = inside = 0.0
    for each, (row, column) in zip(bits, corners.tolist(), strict=True):
        peak_row, peak_column = divmod(int(each.argmax()), SIDE)
        hits += row <= peak_row < row + PATCH and column <= peak_column < column + PATCH
        inside += float(each[row : row + PATCH, column : column + PATCH].sum() / each.sum())
    chance = (PATCH / SIDE) ** 2
    assert hits / 64 > 0.7
    assert inside / 64 > 4 * chance


def test_a_map_is_empty_where_the_readout_lets_nothing_more_pass_than_it_must(model, known, site, trained, tmp_path):
    """At alpha's bound everywhere, and there alone; not because the readout's one pass ends where it begins."""
    closed = readouts.make(known, "layer", 0)
    nn.init.constant_(closed.network[-1].bias, -ALPHA_START)
    images = pictures(16, 4)[0]
    files = {STATISTICS: tmp_path / "statistics.safetensors", READOUT: tmp_path / "readout.safetensors"}
    statistics.save(known["layer"], files[STATISTICS], {"layer": "layer"})
    maps = {}
    for name, readout in (("untrained", readouts.make(known, "layer", 0)), ("closed", closed), ("trained", trained)):
        readouts.save(readout, files[READOUT], {"model": "spot", "layer": "layer", "weights_sha256": None})
        ready = ReadoutIba(HOW).ready(Place(XCEPTION, model, "layer", images[:1], site.cut, files))
        outputs = Outputs(read(model, ready.reads, images), {"layer": site.cut.below(images)})
        maps[name] = ready.run(images, model(images).argmax(1), outputs)
    assert maps["closed"].empty.all()
    assert not maps["untrained"].empty.any()
    assert not maps["trained"].empty.any()  # the patch decides in every picture
    # KL(N(l x, (1 - l)^2) || N(0, 1)) in bits, with l = 1 / (1 + e^5)
    passed = 1 / (1 + math.exp(5))
    x = ((site.cut.below(images)[0] - site.mean) / site.std).double()
    bits = (((1 - passed) ** 2 + (passed * x) ** 2 - 1) / 2 - math.log(1 - passed)) / math.log(2)
    expected = (bits * site.active).sum((1, 2, 3))
    for each in maps.values():
        torch.testing.assert_close(each.figures["floor_bits"], expected, rtol=1e-3, atol=0)
    torch.testing.assert_close(maps["closed"].figures["total_bits"], expected, rtol=1e-3, atol=0)


def test_a_fit_that_begins_there_ends_no_higher(site, trained):
    images = pictures(16, 3)[0]
    targets = site.model(images).argmax(1)
    short = Bottleneck(beta=HOW.beta, steps=4)
    alone = fit(site.cut, images, targets, site.mean, site.std, site.active, short)
    begun = explained(trained, site, images, steps=4)
    assert begun.loss_before.mean() < alone.loss_before.mean() / 10
    assert begun.loss_after.mean() < alone.loss_after.mean()


def test_alpha_is_bounded_and_can_come_back(known):
    readout = readouts.make(known, "layer", 0)
    last = readout.network[-1]
    assert isinstance(last, nn.Conv2d)
    outputs = {name: each.mean.float().unsqueeze(0) for name, each in known.items()}
    for bias, inwards in ((9.0, 1.0), (-9.0, -1.0)):
        nn.init.constant_(last.bias, bias)
        alpha = readout(outputs)
        assert alpha.abs().max() == 5
        for direction in (1.0, -1.0):  # descent moves against the gradient
            (grad,) = torch.autograd.grad(direction * alpha.sum(), last.bias, retain_graph=True)
            assert bool((grad != 0).all()) == (direction == inwards)


def test_a_file_gives_equal_maps(site, trained, tmp_path):
    path = tmp_path / "m" / "layer.safetensors"
    readouts.save(trained, path, {"model": "spot", "layer": "layer", "weights_sha256": None})
    images = pictures(4, 4)[0]
    assert torch.equal(explained(readouts.load(path), site, images, 1).bits, explained(trained, site, images, 1).bits)
    assert readouts.about(path)["read"] == ["layer", "deep"]
    path.write_bytes(b"junk")
    with pytest.raises(ValueError, match="no readout file"):
        readouts.load(path)


def test_the_detector_is_left_as_it_was(model, known, site):
    state = copy.deepcopy(model.state_dict())
    readout = readouts.make(known, "layer", 0)
    readouts.loss(readout, site, pictures(2, 5)[0], PARAMS, torch.Generator()).mean().backward()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is not None for parameter in list(readout.network.parameters())[-2:])


@pytest.fixture
def train(tmp_path):
    """train(NAME, PARAMS) -> the file; of samples that are cut already, so that nothing is needed but the loop. Those
    of the split val are darker than any of train."""
    spec = replace(spec_for("test_resnet"), view=View(64))
    detector = Detector(spec, ("layer3", "layer4"))
    manifest, rng = tmp_path / "manifest.csv", np.random.default_rng(0)
    lines, rows = ["uri,label,split"], []
    for split_name, label in itertools.product(("train", "val"), ("real", "fake")):
        file = tmp_path / f"{split_name}-{label}.mp4"
        file.write_text(file.name)
        lines.append(f"{file},{label},{split_name}")
        common = {"video_id": file.name, "split": split_name, "label": label, "pair": "", "view": str(spec.view)}
        least, most = (128, 256) if split_name == "train" else (0, 128)
        pictures = rng.integers(least, most, (4, 64 * 64 * 3), np.uint8)
        rows += [common | {"frame": i, "pixels": each.tobytes()} for i, each in enumerate(pictures)]
    manifest.write_text("\n".join(lines) + "\n")

    def run(name: str, params: ReadoutParams) -> Path:
        samples = tmp_path / name / "test_resnet" / f"samples-{digest(manifest)[:12]}-4"
        samples.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=SAMPLE), samples / "a.parquet")
        (samples / "_done").touch()
        train_readout(detector, "layer3", params, manifest, tmp_path / name, None, 4, Console(quiet=True))
        return statistics.path_in(tmp_path / name, "test_resnet", "layer3")

    return run


def test_the_epoch_that_loses_least_on_held_out_samples_is_kept(train, monkeypatch):
    losses, seen, weights = iter([3.0, 2.0, 1.0, 1.5]), [], []  # untrained, then epoch by epoch

    def validate(readout, _site, images, _params):
        seen.append(images)
        weights.append(copy.deepcopy(readout.state_dict()))
        return torch.full((len(images),), next(losses))

    monkeypatch.setattr(readouts, "validate", validate)
    path = train("a", ReadoutParams(epochs=3, learning_rate=1e-2))
    about = readouts.about(path)
    assert (about["best_epoch"], about["val_loss"], about["val_loss_untrained"]) == (2, 1.0, 3.0)
    kept = readouts.load(path).state_dict()
    assert all(torch.equal(value, weights[2][key]) for key, value in kept.items())
    assert any(not torch.equal(value, weights[3][key]) for key, value in kept.items())
    middle = to_input(np.full((1, 1, 1, 3), 128, np.uint8), spec_for("test_resnet"))
    assert [len(images) for images in seen] == [8] * 4
    assert all((images < middle).all() for images in seen)


def test_a_killed_training_continues_to_the_same_result(train, monkeypatch):
    params = ReadoutParams(epochs=2, learning_rate=1e-3)
    whole = readouts.load(train("whole", params)).state_dict()
    save, saved = readouts.save, []

    def killed(*arguments):
        saved.append(arguments)
        if len(saved) == 2:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(readouts, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train("killed", params)
    continued = readouts.load(train("killed", params)).state_dict()
    assert len(saved) == 3
    assert all(torch.equal(continued[key], value) for key, value in whole.items())
    with pytest.raises(UserError, match="holds another training"):
        train("killed", replace(params, epochs=3))


def kept(folder: Path, layer: str, weights_sha256: str | None) -> None:
    """A readout file for test_resnet, `layer`; what it would compute is not looked at."""
    readout = Readout({layer: (torch.zeros(2, 1, 1), torch.ones(2, 1, 1))}, (2, 1, 1))
    about = {"model": "test_resnet", "layer": layer, "weights_sha256": weights_sha256}
    readouts.save(readout, statistics.path_in(folder, "test_resnet", layer), about)


def test_a_readout_belongs_to_the_run_and_to_its_weights(tmp_path):
    spec = spec_for("test_resnet")
    save_model(load_model(spec), spec, tmp_path / "weights.safetensors")

    def build(weights: Path | None = None, readout: Path | None = tmp_path, start: str = "constant", layer="layer3"):
        given = {"test_resnet": weights} if weights else {}
        return configs.build({"bottleneck": {"start": start}}, ["test_resnet"], [layer], given, readout=readout)

    kept(tmp_path, "layer3", None)
    with_readout = build()
    assert list(with_readout.readouts.paths) == [("test_resnet", "layer3")]
    assert len({with_readout.run_id, build(readout=None).run_id, build(start="readout").run_id}) == 3
    with pytest.raises(UserError, match=r"layer3\.safetensors was trained for other weights"):
        build(tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="has no readout for these detectors and layers"):
        build(layer="layer2")
    with pytest.raises(UserError, match="give one for test_resnet layer3 with --readout"):
        build(readout=None, start="readout")
    with pytest.raises(UserError, match='"middle" is not "constant" or "readout"'):
        build(start="middle")
    path = statistics.path_in(tmp_path, "test_resnet", "layer3")
    path.rename(path.with_stem("layer2"))
    with pytest.raises(UserError, match="reads out layer3, not layer2"):
        build(layer="layer2")
