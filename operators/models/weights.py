"""Networks with their weights: how published files map onto them, where ImageNet's come from, how ours are kept."""

import hashlib
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import timm
import torch
from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from operators.inputs.view import View
from operators.models.clips import CLIP_MODELS, create_clip_model, published_weights
from operators.models.spec import ModelSpec
from operators.storage.files import local, replacing
from operators.storage.remote import path_of

_METADATA_KEY: Final = "viba.model_spec"
#: where DeepfakeBench keeps its network
_BACKBONE: Final = "backbone."
#: what a repository of huggingface.co keeps weights in
_HUB_FILE: Final = "model.safetensors"
_IMAGENET_CLASSES: Final = 1000
#: how long a server of weights may be silent
_REPLY_S: Final = 10.0


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
        return load_model(self.spec, path_of(self.weights) if self.weights else None, self.seed)


def load_model(spec: ModelSpec, weights: Path | None = None, seed: int = 0) -> nn.Module:
    """The detector in eval mode on the CPU; without `weights` initialised from `seed` (untrained).

    Raises ValueError where the weights do not fit, naming the first keys that differ.
    """
    model = _create(spec, seed)
    if weights is not None:
        _fill(model, map_keys(read_state(weights), spec.keys), spec, weights)
    return model.eval()


def _create(spec: ModelSpec, seed: int, **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_clip_model(spec):
            return create_clip_model(spec.architecture, spec.view, len(spec.classes))
        return timm.create_model(spec.architecture, num_classes=len(spec.classes), **options)


def is_clip_model(spec: ModelSpec) -> bool:
    """Whether it is none of timm's."""
    return _clip_name(spec) in CLIP_MODELS


def _clip_name(spec: ModelSpec) -> str:
    return spec.architecture.rpartition("/")[2]


def _fill(model: nn.Module, state: dict[str, Tensor], spec: ModelSpec, source: Path) -> None:
    own = model.state_dict()
    # published BatchNorm states of old PyTorch releases lack the counter, which inference never reads
    state |= {k: v for k, v in own.items() if k.endswith("num_batches_tracked") and k not in state}
    wrong = sorted(own.keys() ^ state.keys()) or [k for k in own if own[k].shape != state[k].shape]
    if wrong:
        raise ValueError(
            f"{source} does not fit {spec.architecture} with {len(spec.classes)} classes: {len(wrong)} keys differ, "
            f"first {', '.join(wrong[:3])}"
        )
    model.load_state_dict(state)


def start_from_file(spec: ModelSpec, weights: Path, seed: int = 0) -> nn.Module:
    """The detector with `weights` of any number of classes; a head of another number than two is new, from `seed`.

    Raises ValueError where the rest does not fit, naming the first keys that differ.
    """
    model = _create(spec, seed)
    state = map_keys(read_state(weights), spec.keys)
    if is_clip_model(spec):
        classifier = CLIP_MODELS[_clip_name(spec)].head
    else:
        classifier = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    for key, value in model.state_dict().items():
        if key.rpartition(".")[0] in heads and (key not in state or state[key].shape != value.shape):
            state[key] = value
    _fill(model, state, spec, weights)
    return model


def published(spec: ModelSpec, name: str | None = None) -> tuple[str, Path]:
    """torchvision's weights of a clip model by their name there (its default unless told), as a URL and as the file
    that torch.hub keeps of it. Raises ValueError for a name it has not."""
    known = list(published_weights(spec.architecture))
    if not known:
        raise ValueError(f"nobody has published weights of {spec.architecture}: name a file, or start from scratch")
    found = known[0] if name is None else next((each for each in known if each.name == name), None)
    if found is None:
        raise ValueError(f"torchvision has no weights {name!r} of {spec.architecture}, but {_listed(known)}")
    return found.url, Path(torch.hub.get_dir()) / "checkpoints" / found.url.rpartition("/")[2]


def _listed(known: list[Any]) -> str:
    return ", ".join(each.name for each in known)


def fetch_published(spec: ModelSpec, name: str | None = None) -> Path:
    """The file of torchvision's weights of a clip model, downloaded once and kept where torch.hub keeps them.

    Raises ValueError, one line, for a name that torchvision has not, and where the file cannot be fetched.
    """
    url, path = published(spec, name)
    if not path.is_file():
        with _fetching(url, "torchvision's"):
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=path.stem.rpartition("-")[2], progress=False)
    return path


def imagenet_source(spec: ModelSpec) -> str:
    """Where timm has the architecture's weights: a repository of huggingface.co, or a URL; of a clip model where
    torchvision has those of Kinetics-400. ValueError without any."""
    if is_clip_model(spec):
        return published(spec)[0]
    known = timm.get_pretrained_cfg(spec.architecture)
    source = known and (known.hf_hub_id or known.url)
    if not isinstance(source, str) or not source:
        raise ValueError(f"timm has no weights of {spec.architecture}: name a file of them, or start from scratch")
    return source


def start_from_imagenet(spec: ModelSpec, seed: int = 0) -> nn.Module:
    """The detector with the weights timm has for the architecture under a new head from `seed`; a clip model with
    those of Kinetics-400.

    They are downloaded once and kept. Raises ValueError, one line, where there are none or they cannot be fetched.
    """
    if is_clip_model(spec):
        return start_from_file(spec, fetch_published(spec), seed)
    with _fetching(imagenet_source(spec)):
        return _create(spec, seed, pretrained=True)


def imagenet_weights(spec: ModelSpec) -> Path:
    """The file of timm's weights for the architecture, with the head for ImageNet's 1000 classes.

    It is downloaded once and kept, where huggingface_hub keeps what it downloads. Raises ValueError, one line, where
    there is none or it cannot be fetched.
    """
    source, known = imagenet_source(spec), timm.get_pretrained_cfg(spec.architecture)
    if "://" in source or known is None or known.num_classes != _IMAGENET_CLASSES:
        raise ValueError(f"{source} is no file of weights for ImageNet's 1000 classes: name one of {spec.architecture}")
    with _fetching(source):
        return Path(hf_hub_download(source, _HUB_FILE))


@contextmanager
def _fetching(source: str, whose: str = "timm's") -> Iterator[None]:
    """Inside, `source` is fetched, or what an earlier download kept of it is read; ValueError where that fails."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_REPLY_S)
    try:
        if "://" not in source and not isinstance(try_to_load_from_cache(source, _HUB_FILE), str):
            HfApi().model_info(source, timeout=_REPLY_S)  # fails at once where the download would retry for a minute
        yield
    except Exception as error:  # what a network raises comes from several libraries
        raise ValueError(
            f"cannot fetch {source} ({type(error).__name__}): connect to the internet, or name a file of "
            f"weights in {whose} layout"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict from a safetensors file or a PyTorch file, never running pickled code.

    Raises ValueError for anything else, a pickled whole model included.
    """
    if not path.is_file():
        raise ValueError(f"no weights file at {path}")
    file = local(path)
    try:
        return unwrapped(load_file(file))
    except SafetensorError:
        pass
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what its parsers raise: KeyError, RuntimeError, UnpicklingError, ...
        raise ValueError(
            f"{path} is neither safetensors nor a plain state dict ({type(error).__name__}); a pickled model has to be "
            "converted once where it is trusted: torch.save(model.state_dict(), 'state.pth')"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict")
    return unwrapped(state)


def unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network of a checkpoint of DeepfakeBench, which keeps it below `backbone.`; any other state as it is.

    Left out is `adjust_channel`, a branch that its Xception has whether or not it uses it: where it does, the head is
    another one, and does not fit.
    """
    plain = {key.removeprefix("module."): value for key, value in state.items()}
    if not plain or not all(key.startswith(_BACKBONE) for key in plain):
        return state
    found = {key.removeprefix(_BACKBONE): value for key, value in plain.items()}
    return {key: value for key, value in found.items() if not key.startswith("adjust_channel.")}


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
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with replacing(path) as file:
        save_file(state, file, metadata={_METADATA_KEY: json.dumps(asdict(spec))})


def spec_of(path: Path) -> ModelSpec | None:
    """The spec a weights file of ours carries; None for a file of other origin."""
    try:
        with safe_open(local(path), framework="pt") as file:
            metadata = (file.metadata() or {}).get(_METADATA_KEY)
    except (SafetensorError, OSError):
        return None
    if metadata is None:
        return None
    values = json.loads(metadata)
    if "view" not in values:  # files written before views: `input` was crop or flow
        values["view"] = {"size": values["input_size"], "shows": "flow" if values["input"] == "flow" else "picture"}
    values["view"] = View(**values["view"])
    known = {each.name for each in fields(ModelSpec)}
    return ModelSpec(**{key: _tuples(value) for key, value in values.items() if key in known})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def digest(path: Path) -> str:
    """SHA-256 of a weights file, hexadecimal: what a run's identity depends on, wherever the file lies."""
    with local(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
