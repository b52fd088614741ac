"""Statistics by all workers are those of one pass over everything."""

from pathlib import Path

import numpy as np
import pytest
import torch

from operators.methods import statistics
from operators.models.activations import read
from operators.models.running import to_input
from operators.models.spec import spec_for
from operators.models.weights import load_model, save_model
from operators.prepare import PrepareParams, prepare_video
from operators.video.keyframes import KeyframeParams

LAYERS = ("layer2", "layer3")


@pytest.fixture(scope="module")
def estimated(videos: Path, viba, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("estimated") / "statistics"
    # two workers, and one sample at a time: convolutions of another batch size round otherwise
    split = ("--set", "resources.videos_per_block=1", "--set", "resources.actors=2")
    alone = ("--set", "resources.batch_samples=1", "--set", "resources.threads_per_actor=1")
    said = viba(*arguments(videos, out), *split, *alone)
    few = "test_resnet layer2: n = 14; below 1000 samples"
    assert few in said.out
    assert few in (out / "estimate.log").read_text()
    return out


def arguments(videos: Path, out: Path) -> list[str]:
    layers = [part for layer in LAYERS for part in ("--layer", layer)]
    frames = ["--set", "prepare.keyframes.max_keyframes=2", "--set", 'prepare.keyframes.selection="uniform"']
    return ["estimate", str(videos), "--out", str(out), "--model", "test_resnet", *layers, *frames]


@torch.no_grad()
def test_the_same_as_two_passes_over_all_samples(estimated, videos):
    spec = spec_for("test_resnet")
    model = load_model(spec).to(memory_format=torch.channels_last)
    params = PrepareParams(KeyframeParams(selection="uniform", max_keyframes=2))
    wanted = (spec.view,)
    values: dict[str, list[torch.Tensor]] = {layer: [] for layer in LAYERS}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for file in videos.rglob("*/*.mp4"):
        for item in prepare_video(str(file), params, wanted)["inputs"]:
            pixels = np.frombuffer(item["pixels"], np.uint8).reshape(1, spec.view.size, spec.view.size, 3)
            for layer, output in read(model, LAYERS, to_input(pixels, spec)).items():
                values[layer].append(output.double())
    torch.set_num_threads(threads)
    for layer in LAYERS:
        samples = torch.cat(values[layer])
        mean = samples.mean(0)
        found = statistics.load(statistics.path_in(estimated, "test_resnet", layer))
        assert found.n == len(samples) == 14
        torch.testing.assert_close(found.mean, mean, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(found.m2, (samples - mean).square().sum(0), rtol=1e-12, atol=1e-15)
        assert torch.equal(found.nonzero, (samples != 0).sum(0))


def test_a_file_is_kept_unless_it_is_of_other_weights(estimated, videos, viba, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in estimated.rglob("*.safetensors")}
    assert "layer2: kept, n = 14" in viba(*arguments(videos, estimated)).out
    assert {path: path.stat().st_mtime_ns for path in estimated.rglob("*.safetensors")} == before

    spec = spec_for("test_resnet")
    weights = tmp_path / "other.safetensors"
    save_model(load_model(spec, seed=1), spec, weights)
    given = ["--model", "test_resnet", "--layer", "layer3", "--weights", f"test_resnet={weights}"]
    said = viba("explain", videos, "--lake", tmp_path / "lake", *given, "--statistics", estimated, code=1)
    assert "layer3.safetensors is of other weights: estimate it for test_resnet" in said.err
    # of these weights, but of other crops
    of_peaks = ["explain", videos, "--lake", tmp_path / "lake", "--model", "test_resnet", "--layer", "layer3"]
    said = viba(*of_peaks, "--statistics", estimated, code=1)
    assert "is of other crops: selection is uniform, not peaks" in said.err
    wide = ("--set", 'prepare.keyframes.selection="uniform"', "--set", "prepare.faces.margin=1.5")
    said = viba(*of_peaks, *wide, "--statistics", estimated, code=1)
    assert "is of other crops: faces.margin is 1.3, not 1.5" in said.err
    assert not (tmp_path / "lake").exists()
    # nothing to estimate from: it has got past what is there
    said = viba("estimate", tmp_path / "none", "--out", estimated, *given, code=1)
    assert "is of other weights, estimating it again" in said.out.replace("\n", " ")
    assert "no file or folder" in said.err


def test_of_a_label_that_no_video_has(videos, viba, tmp_path):
    said = viba(*arguments(videos / "fake", tmp_path / "other"), "--label", "real", code=1)
    assert "no video to estimate from is labelled real" in said.err
