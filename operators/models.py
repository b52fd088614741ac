"""Detectors: which network, what it sees, and how published weights map onto it."""

import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import timm
import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from schemas.tables import CLASS_FAKE, CLASS_REAL

InputKind = Literal["crop", "flow"]
N_CLASSES: Final = 2
assert (CLASS_REAL, CLASS_FAKE) == (0, 1)  # the order of the published FaceForensics++ detectors
_METADATA_KEY: Final = "viba.model_spec"
#: how long a server of weights may be silent
_REPLY_S: Final = 10.0


@dataclass(frozen=True)
class ModelSpec:
    """What must travel with a detector so that nobody guesses it.

    `mean` and `std` apply to RGB scaled to [0, 1]; `layer` is the dotted name of the default bottleneck layer; `keys`
    are the beginnings of published weights' keys and what they become, tried in order, each once.
    """

    name: str
    architecture: str
    input: InputKind
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layer: str
    keys: tuple[tuple[str, str], ...] = (("module.", ""), ("model.", ""))


_HALF: Final = (0.5, 0.5, 0.5)
#: the published FaceForensics++ Xception keeps its head in a Sequential after a dropout
_FFPP_KEYS: Final = (("module.", ""), ("model.", ""), ("last_linear.1.", "fc."), ("last_linear.", "fc."))
XCEPTION: Final = ModelSpec("xception", "legacy_xception", "crop", 299, _HALF, _HALF, "block4", _FFPP_KEYS)
VGG11_FLOW: Final = ModelSpec("vgg11-flow", "vgg11_bn", "flow", 256, _HALF, _HALF, "features.9")
#: the layers the paper compares (VIBA appendix E and F)
PAPER_LAYERS: Final = {
    "xception": ("block4", "bn3", "conv3", "block12", "bn4"),
    "vgg11-flow": ("features.9", "features.12", "features.16"),
}


@dataclass(frozen=True)
class Detector:
    """A spec with its weights and the layers to explain. `weights` None: untrained, initialised from `seed`.

    The path of the weights is no part of a run's identity, their digest is.
    """

    spec: ModelSpec
    layers: tuple[str, ...]
    weights: str | None = field(default=None, metadata={"identity": False})
    weights_sha256: str | None = None
    seed: int = 0

    def load(self) -> nn.Module:
        """The network in eval mode on the CPU."""
        return load_model(self.spec, Path(self.weights) if self.weights else None, self.seed)


def spec_for(name: str) -> ModelSpec:
    """The spec of `xception`, `vgg11-flow` or any timm classifier, whose own input size, mean and std are taken.

    Raises ValueError for a name timm does not know and for an architecture without a spatial layer to explain.
    """
    for spec in (XCEPTION, VGG11_FLOW):
        if name == spec.name:
            return spec
    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:5]
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ValueError(f"no detector named {name!r}: use xception, vgg11-flow or a timm architecture{hint}")
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=N_CLASSES)
    data = resolve_model_data_config(model)
    return ModelSpec(
        name, name, "crop", max(data["input_size"][1:]), tuple(data["mean"]), tuple(data["std"]), _default_layer(model)
    )


def _default_layer(model: nn.Module) -> str:
    """The deepest stage that still has a cell for every 16 pixels or fewer, as block4 of Xception has."""
    modules = dict(model.named_modules())
    stages = [
        info["module"]
        for info in getattr(model, "feature_info", None) or []
        if isinstance(info, Mapping) and info["reduction"] <= 16 and info["module"] in modules
    ]
    if not stages:
        raise ValueError(f"{type(model).__name__} names no stages in timm: give the layer to explain with --layer")
    return stages[-1]


def load_model(spec: ModelSpec, weights: Path | None = None, seed: int = 0) -> nn.Module:
    """The detector in eval mode on the CPU, two classes; without `weights` initialised from `seed` (untrained).

    Raises ValueError where the weights do not fit, naming the first keys that differ.
    """
    model = _create(spec, seed)
    if weights is not None:
        _fill(model, map_keys(read_state(weights), spec.keys), spec, weights)
    return model.eval()


def _create(spec: ModelSpec, seed: int, **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(spec.architecture, num_classes=N_CLASSES, **options)


def _fill(model: nn.Module, state: dict[str, Tensor], spec: ModelSpec, source: Path) -> None:
    own = model.state_dict()
    # published BatchNorm states of old PyTorch releases lack the counter, which inference never reads
    state |= {k: v for k, v in own.items() if k.endswith("num_batches_tracked") and k not in state}
    wrong = sorted(own.keys() ^ state.keys()) or [k for k in own if own[k].shape != state[k].shape]
    if wrong:
        raise ValueError(
            f"{source} does not fit {spec.architecture} with {N_CLASSES} classes: {len(wrong)} keys differ, "
            f"first {', '.join(wrong[:3])}"
        )
    model.load_state_dict(state)


def start_from_file(spec: ModelSpec, weights: Path, seed: int = 0) -> nn.Module:
    """The detector with `weights` of any number of classes; a head of another number than two is new, from `seed`.

    Raises ValueError where the rest does not fit, naming the first keys that differ.
    """
    model = _create(spec, seed)
    state = map_keys(read_state(weights), spec.keys)
    classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    for key, value in model.state_dict().items():
        if key.rpartition(".")[0] in heads and (key not in state or state[key].shape != value.shape):
            state[key] = value
    _fill(model, state, spec, weights)
    return model


def imagenet_source(spec: ModelSpec) -> str:
    """Where timm has the architecture's weights: a repository of huggingface.co, or a URL. ValueError without any."""
    known = timm.get_pretrained_cfg(spec.architecture)
    source = known and (known.hf_hub_id or known.url)
    if not isinstance(source, str) or not source:
        raise ValueError(f"timm has no weights of {spec.architecture}: name a file of them, or start from scratch")
    return source


def start_from_imagenet(spec: ModelSpec, seed: int = 0) -> nn.Module:
    """The detector with the weights timm has for the architecture under a new head from `seed`.

    They are downloaded once and kept. Raises ValueError, one line, where there are none or they cannot be fetched.
    """
    source = imagenet_source(spec)
    on_hub = "://" not in source
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_REPLY_S)
    try:
        if on_hub and not isinstance(try_to_load_from_cache(source, "model.safetensors"), str):
            HfApi().model_info(source, timeout=_REPLY_S)  # fails at once where the download would retry for a minute
        return _create(spec, seed, pretrained=True)
    except Exception as error:  # what a network raises comes from several libraries
        raise ValueError(
            f"cannot fetch {source} ({type(error).__name__}): connect to the internet, name a file of weights in "
            "timm's layout, or start from scratch"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict from a safetensors file or a PyTorch file, never running pickled code.

    Raises ValueError for anything else, a pickled whole model included.
    """
    if not path.is_file():
        raise ValueError(f"no weights file at {path}")
    try:
        return load_file(path)
    except SafetensorError:
        pass
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its parsers raise: KeyError, RuntimeError, UnpicklingError, ...
        raise ValueError(
            f"{path} is neither safetensors nor a plain state dict ({type(error).__name__}); a pickled model has to be "
            "converted once where it is trusted: torch.save(model.state_dict(), 'state.pth')"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict")
    return state


def map_keys(state: Mapping[str, Tensor], keys: tuple[tuple[str, str], ...]) -> dict[str, Tensor]:
    """Published weights under timm's names; ours pass through.

    2-D pointwise kernels (out, in) of the first Xception releases become (out, in, 1, 1).
    """
    mapped = {}
    for key, value in state.items():
        for beginning, replacement in keys:
            if key.startswith(beginning):
                key = replacement + key.removeprefix(beginning)
        if key.endswith("pointwise.weight") and value.ndim == 2:
            value = value[:, :, None, None]
        mapped[key] = value
    return mapped


def save_model(model: nn.Module, spec: ModelSpec, path: Path) -> None:
    """Weights as safetensors with the spec in the file's metadata, replaced in one step."""
    temporary = path.with_name(path.name + ".tmp")
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    save_file(state, temporary, metadata={_METADATA_KEY: json.dumps(asdict(spec))})
    temporary.replace(path)


def spec_of(path: Path) -> ModelSpec | None:
    """The spec a weights file of ours carries; None for a file of other origin."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(_METADATA_KEY)
    except (SafetensorError, OSError):
        return None
    if metadata is None:
        return None
    values = json.loads(metadata)
    known = {each.name for each in fields(ModelSpec)}
    return ModelSpec(**{key: _tuples(value) for key, value in values.items() if key in known})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def digest(path: Path) -> str:
    """SHA-256 of a weights file, hexadecimal: what a run's identity depends on, wherever the file lies."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_input(pixels: np.ndarray, spec: ModelSpec, device: torch.device | None = None) -> Tensor:
    """(N, S, S, 3) uint8 RGB to the (N, 3, S, S) float32 the detector was trained on: (x / 255 - mean) / std.

    In channels-last layout on `device` (the CPU unless given), where the bytes are sent and the rest is done.
    """
    images = torch.tensor(pixels, device=device).permute(0, 3, 1, 2).float().div_(255)
    mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (spec.mean, spec.std))
    return images.sub_(mean).div_(std)


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
