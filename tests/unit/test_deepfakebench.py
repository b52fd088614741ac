"""Checkpoints as DeepfakeBench lays them out give the same network; made here, for its own may not be passed on."""

import pytest
import torch
from torch import nn

from operators.models.spec import XCEPTION
from operators.models.weights import load_model


def branch(width):
    return nn.Sequential(nn.Conv2d(width, 512, 1), nn.BatchNorm2d(512)).state_dict()


def bench(state, head, wrapped=""):
    """timm's Xception under the names of DeepfakeBench: below backbone, with its head and a branch it does not use."""
    named = {key.replace("fc.", head) if key.startswith("fc.") else key: value for key, value in state.items()}
    named |= {f"adjust_channel.{key}": value for key, value in branch(2048).items()}
    return {f"{wrapped}backbone.{key}": value for key, value in named.items()}


@pytest.fixture(scope="module")
def xception():
    return load_model(XCEPTION, seed=1)


@pytest.mark.parametrize(
    ("head", "wrapped"), [("last_linear.", ""), ("last_linear.1.", "module.")], ids=["plain", "dropout, parallel"]
)
def test_an_xception_of_deepfakebench_is_the_same_network(xception, tmp_path, head, wrapped):
    torch.save(bench(xception.state_dict(), head, wrapped), tmp_path / "ckpt_best.pth")
    loaded = load_model(XCEPTION, tmp_path / "ckpt_best.pth").state_dict()
    own = xception.state_dict()
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[key], own[key]) for key in own)


def test_a_detector_with_another_head_is_refused(xception, tmp_path):
    state = bench(xception.state_dict(), "last_linear.") | {"backbone.last_linear.weight": torch.zeros(2, 512)}
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"does not fit legacy_xception with 2 classes: 1 keys differ, first fc\.weight"
    ):
        load_model(XCEPTION, tmp_path / "other.pth")
    torch.save(state | {"head_spe.mlp.0.weight": torch.zeros(1)}, tmp_path / "ucf.pth")
    with pytest.raises(ValueError, match="keys differ"):
        load_model(XCEPTION, tmp_path / "ucf.pth")
