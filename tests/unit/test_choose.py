"""How many draws a layer needs is found out by fits of the samples themselves."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.choose import SAMPLES, _in_turn, choose
from operators.inputs.view import View
from operators.measures.fidelity import compare
from operators.methods import choice as choices
from operators.methods import statistics
from operators.methods.bottleneck import PRESETS, Bottleneck, cut_for, fit
from operators.methods.choice import Choice
from operators.methods.iba import Iba
from operators.methods.method import CHOICE, STATISTICS, Outputs, Place
from operators.models.cut import split
from operators.models.running import to_input
from operators.models.spec import spec_for
from operators.models.weights import Detector, load_model, save_model

SPEC = replace(spec_for("test_resnet"), view=View(64))
LAYER = "layer3"
#: without the second look, which would give each of these samples ten draws; fewer and longer steps take less time
AUTO = replace(PRESETS["auto"], precision="float32", sure_draws=0, steps=6, lr=2.0)
PIXELS = [np.random.default_rng(i).integers(0, 256, 64 * 64 * 3, np.uint8).tobytes() for i in range(10)]


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> dict[str, Path]:
    """Statistics of other inputs, as the files of the layer."""
    path = tmp_path_factory.mktemp("statistics") / "layer3.safetensors"
    caught = []
    model = load_model(SPEC)
    handle = model.get_submodule(LAYER).register_forward_hook(lambda _m, _i, output: caught.append(output))
    with torch.no_grad():
        model(torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    handle.remove()
    statistics.save(statistics.of_batch(caught[0]), path, {})
    return {STATISTICS: path}


def detector(folder: Path, sure: float) -> Detector:
    """An untrained detector that is so sure of what it says, and undecided about what the noise is like."""
    model = load_model(SPEC)
    with torch.no_grad():
        undecided = model(torch.randn(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))).mean(0)
        model.fc.bias -= undecided
        model.fc.weight *= sure
        model.fc.bias *= sure
    save_model(model, SPEC, folder / "w.safetensors")
    return Detector(SPEC, (LAYER,), str(folder / "w.safetensors"))


def test_what_it_says_is_what_fits_give(tmp_path, known):
    """The figures again, from fits of the samples with evidence; the draws taken are the first that surely hold."""
    one = detector(tmp_path, 100)
    found = choose(one, AUTO, {LAYER: known}, PIXELS, at_once=4, threads=0)[LAYER]
    tried = [each["draws"] for each in found.tried]
    assert tried == [2, 4, 6, 10][: len(tried)]
    assert len(tried) > 1

    model = one.load().requires_grad_(False)
    images = to_input(np.frombuffer(b"".join(PIXELS), np.uint8).reshape(-1, 64, 64, 3), SPEC)
    targets = model(images).argmax(1)
    file = statistics.load(known[STATISTICS])
    of_layer = file.mean.float(), file.std(), file.active()

    def maps(settings: Bottleneck, which: list[int]) -> np.ndarray:
        cut = cut_for(model, LAYER, images[:1], settings)
        return fit(cut, images[which], targets[which], *of_layer, settings).capacity.double().numpy()

    first = fit(cut_for(model, LAYER, images[:1], AUTO), images, targets, *of_layer, AUTO)
    evident = (first.capacity.sum((1, 2)) > 1.05 * first.floor).nonzero().flatten().tolist()
    which = _in_turn(evident, targets.tolist())[:SAMPLES]
    references = np.stack([maps(Bottleneck(seed=seed, steps=AUTO.steps, lr=AUTO.lr), which) for seed in (1, 2)])
    for each in found.tried:
        expected = compare(maps(replace(AUTO, draws=int(each["draws"])), which), references)
        assert each["samples"] == len(which)
        for name, value in asdict(expected).items():
            assert each[name] == pytest.approx(value, abs=2e-3), name
        assert expected.surely == (each is found.tried[-1] and found.holds) or found.draws == 10


def test_where_nothing_is_found_nothing_is_compared(tmp_path, known):
    found = choose(detector(tmp_path, 0), AUTO, {LAYER: known}, PIXELS[:4], at_once=4, threads=0)[LAYER]
    assert (found.draws, found.holds, found.tried) == (2, None, ())
    assert found.why == "0 of 4 samples have evidence, too few to compare"


def test_all_classes_have_their_turn():
    assert _in_turn([0, 1, 2, 3, 5, 6], [1, 1, 1, 0, 0, 0, 2]) == [3, 0, 6, 5, 1, 2]


def test_the_choice_is_what_is_fitted(tmp_path, known):
    """Also after it was kept in a file, with what was tried."""
    choice = Choice(4, True, None, ({"draws": 2, "samples": 6, "bits": 0.05}, {"draws": 4, "samples": 6, "bits": 0.01}))
    path = choices.path_in(tmp_path, "m", "features.9")
    choices.save(choice, path)
    assert path.name == "features.9.json"
    assert choices.load(path) == choice
    model = detector(tmp_path, 100).load().requires_grad_(False)
    images = to_input(np.frombuffer(PIXELS[0], np.uint8).reshape(1, 64, 64, 3), SPEC)
    cut = split(model, LAYER, images)
    place = Place(SPEC, model, LAYER, images, cut, known | {CHOICE: path})
    targets, outputs = model(images).argmax(1), Outputs({}, {LAYER: cut.below(images)})
    maps = [
        Iba(each).ready(place).run(images, targets, outputs).saliency
        for each in (AUTO, replace(AUTO, auto=False, draws=4), replace(AUTO, auto=False))
    ]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])


def test_two_samples_with_evidence_are_compared_and_one_is_not(tmp_path, known):
    one, few = detector(tmp_path, 40), replace(AUTO, draws=10)
    assert choose(one, few, {LAYER: known}, PIXELS[:1], at_once=4, threads=0)[LAYER].tried == ()
    (tried,) = choose(one, few, {LAYER: known}, PIXELS[:2], at_once=4, threads=0)[LAYER].tried
    assert tried["samples"] == 2
